"""Classify photographs with an exported model, with LiteRT, Pillow and NumPy alone (lesson 05).

    pip install ai-edge-litert pillow numpy
    python scripts/predict_litert.py build/models/fine_tuning-mini-int8.tflite photograph.jpg …

Copy this file and the model wherever you like: its class names are inside. A .tflite file without names
needs a .txt of the same name beside it, one class a line.
"""

import argparse
import contextlib
import hashlib
import importlib
import io
import json
import os
import sys
import time
import zipfile
from pathlib import Path

try:
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter
    from PIL import Image, PngImagePlugin
except ModuleNotFoundError as error:
    sys.exit(f"error: there is no {error.name} here: pip install ai-edge-litert pillow numpy")


# Not PostScript, which Pillow would start a program for.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "MPO", "TIFF", "AVIF", "JPEG2000", "HEIF")
TURNS = dict(zip(range(2, 9), [Image.Transpose(number) for number in (0, 3, 1, 5, 4, 6, 2)]))  # EXIF's marks
Image.MAX_IMAGE_PIXELS = 150_000_000  # of twice as many Pillow says that it may be an attack
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = 2**26


def read(path: str, size: tuple[int, int], white: int = 0) -> np.ndarray:
    """(1, height, width, 3) float32 RGB in 0–255, as the lessons read it (`transfer.images.decode`).

    Raises:
        ValueError: the file is damaged or is no image; the message names it.
    """
    try:
        if Path(path).exists() and not Path(path).is_file():  # a pipe would be waited for
            raise OSError("it is no file but a folder, a pipe or a device")
        with contextlib.suppress(ImportError):  # HEIC, the format of iPhones
            importlib.import_module("pillow_heif").register_heif_opener()
        Image.init()
        formats = [kind for kind in FORMATS if kind in Image.OPEN]
        with open(path, "rb") as file, Image.open(file, formats=formats) as image:
            image.load()
            try:
                turn = TURNS.get(int(image.getexif().get(274, 1)))
            except Exception:  # odd metadata says nothing of the pixels
                turn = None
            image = rgb(image, white)
            image = image if turn is None else image.transpose(turn)
            return np.asarray(image.resize(size[::-1], Image.Resampling.BILINEAR), dtype="float32")[None]
    except Exception as error:  # Pillow's plug-ins raise many kinds
        raise ValueError(f"cannot read the image {path}: {error}") from error


def rgb(image: Image.Image, white: int) -> Image.Image:
    """On white where it is transparent; `white` is the value of 16-bit grey that is white, 0 its own."""
    if image.mode[0] in "IF":  # Pillow's own conversion would clip it
        values, clear = np.asarray(image), image.info.get("transparency")
        if image.mode == "F" or values.min() < 0 or values.max() > 65_535:
            raise ValueError("its values are those of a measurement: save it as grey of 8 or 16 bits")
        some = values.ravel()[::max(1, values.size // 1_000_000)]
        own = max(255, 2 ** int(np.quantile(some, 0.99, method="higher")).bit_length() - 1)
        grey = (np.minimum(values, white or own).astype("uint32") * 255 // (white or own)).astype("uint8")
        if getattr(image, "tag_v2", {}).get(262) == 0:  # a TIFF that says: 0 is white
            grey = 255 - grey
        grey[values == (clear if isinstance(clear, int) else -1)] = 255
        return Image.fromarray(grey).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def unpack(path: Path) -> tuple[bytes, list[str] | None, int]:
    """The model in a .tflite file, and from the zip behind it its class names (None where there is none) and
    the value of 16-bit grey that is white.

    Raises:
        ValueError, OSError: the file is missing or damaged; the message names it.
    """
    if not path.is_file():
        raise ValueError(f"there is no model {path}; lesson 05 and scripts/train.py --litert export one")
    if path.suffix == ".keras":
        raise ValueError(f"{path} is a .keras model: scripts/predict.py asks it, or export it as .tflite")
    content = path.read_bytes()
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as behind:
            about = json.loads(behind.read("classes.json"))
        model, names = content[:about["bytes"]], [str(name) for name in about["classes"]]
        whole, white = hashlib.sha256(model).hexdigest() == about["sha256"], int(about.get("white", 0))
    except Exception as error:  # zipfile and json each raise their own
        nothing = isinstance(error, (zipfile.BadZipFile, KeyError)) and b"classes.json" not in content
        whole = nothing and len(content) > 0
        model, names, white = content, None, 0
    if not whole:
        raise ValueError(f"{path} is damaged; copy or export it again")
    return model, names, white


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
        model, names, self.white = unpack(path)
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
        self.class_names = read_names(path.with_suffix(".txt")) if names is None else names
        if len(self.class_names) != answered[1]:
            raise ValueError(f"{path} has {answered[1]} outputs and there are {len(self.class_names)} class "
                             "names: they are not of the same training")

    def __call__(self, photograph: str) -> tuple[np.ndarray, float]:
        """Probabilities per class, and the milliseconds that the model took (without reading).

        Raises:
            ValueError: the file is missing, damaged or no image; the message names it.
        """
        pixels = read(photograph, tuple(self.input["shape"][1:3]), self.white)
        start = time.perf_counter()
        self.interpreter.set_tensor(self.input["index"], pixels)
        self.interpreter.invoke()
        return self.interpreter.get_tensor(self.output)[0], 1000 * (time.perf_counter() - start)


def asked_for() -> list[str]:
    """The paths on standard input, one a line, whatever letters and line ends they have."""
    stdin = getattr(sys.stdin, "buffer", None)  # there is none in a program without a terminal
    text = os.fsdecode(stdin.read()) if stdin else ""
    return [line for line in text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n") if line]


def answer(arguments) -> int:
    """Print what the model says of each photograph; 1 where one could not be read."""
    classify, failed = Classifier(arguments.model), 0
    photographs = arguments.photographs or asked_for()
    if not photographs:
        raise ValueError("no photographs; name them, or give their paths on standard input, one a line")
    for photograph in photographs:
        try:
            probabilities, milliseconds = classify(photograph)
        except ValueError as error:  # missing or damaged; the others are still answered
            print(printable(str(error)), file=sys.stderr)
            failed = 1
            continue
        if arguments.json:
            print(json.dumps({"file": photograph, "milliseconds": round(milliseconds, 2),
                              "probabilities": probabilities.tolist()}), flush=True)
        else:
            best = np.argsort(probabilities)[::-1][:3]
            print(f"{printable(photograph)}: " + ", ".join(
                f"{printable(classify.class_names[i])} {probabilities[i]:.1%}" for i in best), flush=True)
    return failed


def main() -> None:
    if sys.stdout:  # it may be closed; a name that the terminal cannot show stops nothing
        sys.stdout.reconfigure(errors="backslashreplace")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="a .tflite file")
    parser.add_argument("photographs", nargs="*", help="none: their paths are read from standard input")
    parser.add_argument("--json", action="store_true", help="one line of JSON per photograph")
    arguments = parser.parse_args()
    try:
        sys.exit(answer(arguments))
    except BrokenPipeError:  # as of `| head`: what Python writes at its end has to go somewhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit("\ninterrupted")
    except (ValueError, OSError, RuntimeError, MemoryError) as error:
        sys.exit(f"error: {printable(str(error)) or 'not enough memory for this model'}")


if __name__ == "__main__":
    main()
