"""A trained model as a file that can be carried away, with its class names inside (lessons 05, 07, 08).

`loading` reads what `save` writes; scripts/predict_litert.py reads what `export_litert` writes. Keras and
TensorFlow are imported where they are needed only, so that a check of two processes at once is quick.
"""

import contextlib
import hashlib
import io
import json
import os
import subprocess
import sys
import tempfile
import unicodedata
import warnings
import zipfile
from pathlib import Path

import numpy as np

from . import ROOT, home, quiet, short
from .files import alone, new_whole, write_whole

MEMBER = "classes.json"  # in the zip that a .keras file is, and in the one behind a .tflite model
# The converter's word for itself becomes one, as long, that says to scripts/predict_litert.py: a zip follows.
DESCRIPTION = b"MLIR Converted.", b"& classes.json."


def check_class_names(class_names: list[str], outputs: int | None = None) -> None:
    """One name for each output, all different, each on a line of its own.

    Raises:
        ValueError: it is not so; the message says what is wrong.
    """
    names = list(class_names)
    if outputs is not None:
        check_number(names, outputs)
    for name in names:
        if any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in name):
            raise ValueError(f"the class name {name!r} holds a line break or another control character; "
                             "rename the folder.")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"two classes have the name {twice[0]!r}; rename one of the folders.")


def check_number(class_names: list[str], outputs: int) -> None:
    """As many names as outputs, or a ValueError that says both numbers."""
    if len(class_names) != outputs:
        raise ValueError(f"the model has {outputs} outputs and there are {len(class_names)} class names: "
                         "they are not of the same training.")


def lock(path: Path):
    """Held by whoever changes files that belong together; it lies below TRANSFER_HOME, not beside them."""
    place = str(Path(path).resolve()).encode("utf-8", "surrogateescape")
    return alone(home("locks", hashlib.sha256(place).hexdigest()[:16] + ".lock"), "writes the same model")


def save(model, path: Path, class_names: list[str], white: int = 0) -> Path:
    """Write a `.keras` file, whole or not at all, with its classes inside and beside it.

    Inside they cannot be parted from the model: `classes.json` in the zip. Beside it, a .txt with one
    class a line is for people and for other programs; a file of that name that is not ours stays.

    Args:
        model: a built Keras model with one output, (n, classes).
        path: ends in .keras; its folder is created.
        class_names: in the order of the outputs.
        white: of 16-bit grey, as in the photographs that it has learned from (`Dataset.white`).

    Returns:
        The path.

    Raises:
        ValueError: the names do not fit the model, or one of them is no name; nothing is written.
    """
    outputs = model.output_shape[-1]
    return _write(path, class_names, outputs, lambda beside: model.save(beside) or {"white": white})


def export_litert(model, path: Path, class_names: list[str], int8: bool = False,
                  white: int = 0) -> Path:
    """Write a model as a LiteRT file for telephones and small computers, its classes inside and beside it.

    Inside means behind: LiteRT reads the model from the front and passes over the small zip that
    follows, where TFLite's metadata has its labels too. The zip also holds the model's SHA-256, for
    the format itself has no checksum.

    Args:
        model: takes one photograph after another.
        path: ends in .tflite; the class names also go into a .txt of the same name.
        class_names: in the order of the outputs.
        int8: keep the weights as whole numbers of 8 bits (dynamic range quantization): a quarter
            of the size. Without it, the file computes what the model computes.
        white: as of `save`.

    Returns:
        The path.

    Raises:
        ValueError: the names do not fit the model, or one of them is no name; nothing is written.
    """
    import tensorflow as tf

    def fill(beside: Path) -> dict:
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        converter.optimizations = [tf.lite.Optimize.DEFAULT] if int8 else []
        with quiet(), warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")  # on where the converter will live one day
            content = converter.convert()
        content = content.replace(*DESCRIPTION, 1)  # so a file whose zip was cut off is told
        beside.write_bytes(content)
        return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest(), "white": white}

    return _write(path, class_names, model.output_shape[-1], fill)


def _write(path: Path, class_names: list[str], outputs: int, fill) -> Path:
    """What `fill` writes, with its classes and what it returns inside, and the classes beside it."""
    path, class_names = Path(path), list(class_names)
    check_class_names(class_names, outputs)
    path.parent.mkdir(parents=True, exist_ok=True)
    with lock(path.with_suffix("")):
        beside, text = path.with_suffix(".txt"), _lines({"classes": class_names})
        ours = not os.path.lexists(beside) or any(
            beside.is_file() and beside.read_bytes() == names.encode()
            for names in (text, *(_lines(inside(path.with_suffix(end))) for end in (".keras", ".tflite"))))
        with new_whole(path) as new:
            about = fill(new)
            with zipfile.ZipFile(new, "a") as archive:
                archive.writestr(MEMBER, json.dumps({"classes": class_names} | about))
        if ours:
            write_whole(beside, text)
        else:
            print(f"{beside} was not written with a model, so it stays as it is; the class names are inside "
                  f"{path.name} too.")
    return path


def inside(path: Path) -> dict:
    """What `save` and `export_litert` write into a model: classes and white; nothing where there is none."""
    try:
        with zipfile.ZipFile(path) as archive:
            return dict(json.loads(archive.read(MEMBER)))
    except Exception:  # zipfile, zlib and json each raise their own
        return {}


def _lines(about: dict) -> str:
    return "".join(f"{name}\n" for name in about.get("classes", ()))


def read_txt(path: Path) -> list[str]:
    """The class names in the .txt beside a model; with or without a byte-order mark.

    Raises:
        ValueError: it is missing or no text; the message names it.
    """
    beside = path.with_suffix(".txt")
    try:
        text = beside.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise ValueError(f"{beside} is missing, and {path.name} has no class names inside: the earlier "
                         "version of scripts/train.py writes them side by side") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{beside} cannot be read as class names, one a line in UTF-8 ({error})") from error
    return text.replace("\r\n", "\n").removesuffix("\n").split("\n")


def run_litert(path: Path, photographs: list[str]) -> tuple[np.ndarray, float]:
    """Classify files with scripts/predict_litert.py, a process that knows no TensorFlow.

    Returns:
        (n, classes) probabilities, and the median of the milliseconds an image took.
    """
    run = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "predict_litert.py"), str(path), "--json"],
        input="\n".join(photographs), capture_output=True, text=True)
    if run.returncode != 0:
        raise RuntimeError(f"{short(path)}: {run.stderr[-2000:]}")
    answers = [json.loads(line) for line in run.stdout.splitlines()]
    return (np.array([answer["probabilities"] for answer in answers]),
            float(np.median([answer["milliseconds"] for answer in answers])))


def predict_in_fresh_process(model_path: Path, images: np.ndarray) -> np.ndarray:
    """Load a saved model in a new Python process and predict there.

    A model that only works in the notebook that made it is of no use. The new process knows
    nothing but the file: no helper, no custom layer, no variable of the notebook.

    Args:
        model_path: a `.keras` file.
        images: (n, height, width, 3), what the model takes.

    Returns:
        (n, classes) predictions.
    """
    program = (
        "import sys, numpy, keras\n"
        "model = keras.models.load_model(sys.argv[1])\n"
        "images = numpy.load(sys.argv[2])['images']\n"
        "numpy.savez(sys.argv[2], predictions=model.predict(images, verbose=0))\n")
    with tempfile.TemporaryDirectory() as folder:
        scratch = str(Path(folder, "images.npz"))
        np.savez(scratch, images=images)
        run = subprocess.run([sys.executable, "-c", program, str(model_path), scratch],
                             capture_output=True, text=True)
        if run.returncode != 0:
            raise RuntimeError(f"{short(model_path)} does not load on its own:\n{run.stderr[-2000:]}")
        with np.load(scratch) as result:
            return result["predictions"]
