"""Classify photographs with an exported model, with LiteRT, Pillow and NumPy alone (lesson 05).

    pip install ai-edge-litert pillow numpy
    python scripts/predict_litert.py build/models/fine_tuning-mini-int8.tflite photograph.jpg …

Copy this file and the model wherever you like: its class names are inside. A .tflite file without names
needs a .txt of the same name beside it, one class a line.
"""

import argparse
import hashlib
import io
import json
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image, ImageOps


def read(path: str, size: tuple[int, int]) -> np.ndarray:
    """(1, height, width, 3) float32 RGB in 0–255, as the lessons read it (`transfer.pipeline.decode`).

    Raises:
        ValueError: the file is damaged or is no image; the message names it.
    """
    try:
        if Path(path).exists() and not Path(path).is_file():  # a pipe would be waited for
            raise OSError("it is no file but a folder, a pipe or a device")
        Image.init()
        wanted = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "MPO", "TIFF", "AVIF", "JPEG2000")
        formats = [kind for kind in wanted if kind in Image.OPEN]  # not PostScript, which starts a program
        with Image.open(path, formats=formats) as image:
            image = ImageOps.exif_transpose(image)
            if image.mode.startswith("I"):  # 16-bit grey: Pillow's own conversion would clip it
                image = Image.fromarray((np.asarray(image) // 257).astype("uint8"))
            if image.has_transparency_data:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            image = image.convert("RGB").resize(size[::-1], Image.Resampling.BILINEAR)
            return np.asarray(image, dtype="float32")[None]
    except Exception as error:  # Pillow's plug-ins raise many kinds
        raise ValueError(f"cannot read the image {path}: {error}") from error


def unpack(path: Path) -> tuple[bytes, list[str]]:
    """The model in a .tflite file, and its class names from the zip behind it or the .txt beside it.

    Raises:
        ValueError, OSError: the file is missing or damaged, or there are no names; the message names it.
    """
    if not path.is_file():
        raise ValueError(f"there is no model {path}; lesson 05 and scripts/train.py --litert export one")
    content = path.read_bytes()
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as behind:
            about = json.loads(behind.read("classes.json"))
        model, names = content[:about["bytes"]], [str(name) for name in about["classes"]]
        whole = hashlib.sha256(model).hexdigest() == about["sha256"]
    except Exception as error:  # zipfile and json each raise their own
        nothing = isinstance(error, (zipfile.BadZipFile, KeyError)) and b"classes.json" not in content
        whole = nothing and len(content) > 0
        model, names = content, None
    if not whole:
        raise ValueError(f"{path} is damaged; copy or export it again")
    return model, read_names(path.with_suffix(".txt")) if names is None else names


def read_names(path: Path) -> list[str]:
    """One class a line, in UTF-8, with or without a byte-order mark."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise ValueError(f"{path} is missing; it holds the class names, one a line") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read as class names, one a line in UTF-8 ({error})") from error
    return text.replace("\r\n", "\n").removesuffix("\n").split("\n")


def printable(text: str) -> str:
    """For the terminal: control characters are written out, as `\\x1b`."""
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


class Classifier:
    """An exported model: what it was trained to see, and how to ask it.

    Raises:
        ValueError, OSError: the file is no whole model of photographs, or has not as many names as outputs.
    """

    def __init__(self, path: Path, threads: int = 2):
        model, self.class_names = unpack(path)
        try:
            self.interpreter = Interpreter(model_content=model, num_threads=threads)
            self.interpreter.allocate_tensors()
            (self.input,), (output,) = (self.interpreter.get_input_details(),
                                        self.interpreter.get_output_details())
        except Exception as error:  # LiteRT's messages are of several kinds
            raise ValueError(f"{path} is damaged or no .tflite model ({error}); copy or export it "
                             "again") from error
        taken, answered, self.output = tuple(self.input["shape"]), tuple(output["shape"]), output["index"]
        if len(taken) != 4 or taken[3] != 3 or self.input["dtype"] is not np.float32 or len(answered) != 2:
            raise ValueError(f"{path} is no classifier of photographs: it takes {taken} and answers "
                             f"{answered}")
        if len(self.class_names) != answered[1]:
            raise ValueError(f"{path} has {answered[1]} outputs and there are {len(self.class_names)} class "
                             "names: they are not of the same training")

    def __call__(self, photograph: str) -> tuple[np.ndarray, float]:
        """Probabilities per class, and the milliseconds that the model took (without reading).

        Raises:
            ValueError: the file is missing, damaged or no image; the message names it.
        """
        pixels = read(photograph, tuple(self.input["shape"][1:3]))
        start = time.perf_counter()
        self.interpreter.set_tensor(self.input["index"], pixels)
        self.interpreter.invoke()
        return self.interpreter.get_tensor(self.output)[0], 1000 * (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="a .tflite file")
    parser.add_argument("photographs", nargs="*", help="none: their paths are read from standard input")
    parser.add_argument("--json", action="store_true", help="one line of JSON per photograph")
    arguments = parser.parse_args()
    try:
        classify, failed = Classifier(arguments.model), 0
    except (ValueError, OSError) as error:
        sys.exit(f"error: {printable(str(error))}")
    photographs = arguments.photographs or [line for line in sys.stdin.read().split("\n") if line]
    if not photographs:
        sys.exit("error: no photographs; name them, or give their paths on standard input, one a line")
    for photograph in photographs:
        try:
            probabilities, milliseconds = classify(photograph)
        except ValueError as error:  # missing or damaged; the others are still answered
            print(printable(str(error)), file=sys.stderr)
            failed += 1
            continue
        if arguments.json:
            print(json.dumps({"file": photograph, "milliseconds": round(milliseconds, 2),
                              "probabilities": probabilities.tolist()}))
        else:
            best = np.argsort(probabilities)[::-1][:3]
            print(f"{printable(photograph)}: " + ", ".join(
                f"{printable(classify.class_names[i])} {probabilities[i]:.1%}" for i in best))
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
