"""Where scripts/train.py puts a model: no two trainings in one file silently, nothing lost at the end.

It writes no model (`export` does). What it compares is the note that train.py writes beside each model.
"""

import hashlib
import json
import os
import shutil
import tempfile
import textwrap
from pathlib import Path

from . import home
from .files import digest

NOTE, BESIDE = ".json", (".json", ".txt", ".tflite")


def plain(name: str, training: dict, digest: str = "") -> Path:
    """`models/pets-mobilenet_v2-frozen.keras` below TRANSFER_HOME, or with a digest after the name."""
    parts = [name, digest, training["backbone"], training["method"]]
    return home("models", "-".join(part for part in parts if part) + ".keras")


def choose(output: Path | None, name: str, training: dict, said: str = "") -> tuple[Path, str]:
    """The path for this training's model; what is there already is said.

    The plain name is taken when it is free or holds a model of the same training; otherwise the name
    gets a few digits of the settings. An `output` that was asked for stays.

    Args:
        output: what --output says, or None.
        name: of the data set.
        training: what decides the result (folders, classes, backbone, method, seed …), for JSON; once
            they are known, "photographs" is a digest of these.
        said: what it said before, which it does not repeat.

    Returns:
        The path, and the sentence, "" where nothing is to be said.
    """
    path, sentence = _choose(output, name, training)
    if sentence not in ("", said):
        print(sentence)
    return path, sentence


def _choose(output: Path | None, name: str, training: dict) -> tuple[Path, str]:
    path = output or plain(name, training)
    there, same = _holds(path, training)
    if output or same:
        return path, there and f"{path} holds {there}; it is replaced."
    settings = json.dumps(training | {"photographs": ""}, sort_keys=True)
    own = plain(name, training, hashlib.sha256(settings.encode()).hexdigest()[:8])
    replaced = _holds(own, training)[0]
    return own, (f"{path.name} holds {there}, so this model is called {own.name}"
                 + (f" (there is {replaced}, which is replaced)." if replaced else "."))


def _holds(path: Path, training: dict) -> tuple[str, bool]:
    """In words, whose model is at `path` ("" where none is or the same), and whether it may go there."""
    if not os.path.exists(path):  # also where the name is too long, of which `check` speaks
        return "", True
    note = read_note(path)
    noted = note.get("training", {})
    if not noted or note.get("model") != digest(path):
        return "a model of a training that is not known", False
    other = [key for key in training if key != "photographs" and noted.get(key) != training[key]]
    if other:
        settings = ", ".join(textwrap.shorten(f"{key} {noted.get(key)}", 80) for key in other)
        return f"a model of another training ({settings})", False
    if training.get("photographs") not in (None, noted.get("photographs")):
        return "a model of other photographs in the same folder", True
    return "", True


def read_note(path: Path) -> dict:
    """What train.py noted beside a model; {} where there is nothing of the kind."""
    try:
        note = json.loads(path.with_suffix(NOTE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) and "settings" in note else {}


def check(path: Path, size: float = 0) -> None:
    """Whether a model can be written here, before an hour is spent on its training.

    Args:
        path: of the model.
        size: how many bytes it will take, with what is written beside it.

    Raises:
        ValueError: it cannot, or files of something else would be overwritten; the message says why.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".partial-", dir=path.parent) as folder:
            Path(folder, path.with_suffix(".tflite").name).touch()
    except OSError as error:
        raise ValueError(f"{path} cannot be written ({error.strerror}); choose another --output") from error
    if size > (free := shutil.disk_usage(path.parent).free):
        raise ValueError(f"{path} needs about {size / 1e6:.0f} MB and the disk has {free / 1e6:.0f} MB free: "
                         "make room, or choose an --output on another disk")
    found = [one for one in (path, *map(path.with_suffix, BESIDE)) if one.exists()]
    if folders := [one for one in found if not one.is_file()]:
        raise ValueError(f"{folders[0]} is a folder; choose another --output")
    if found and not path.exists() and not read_note(path):
        raise ValueError(f"{found[0]} is there and belongs to no model of train.py: it would be overwritten; "
                         "choose another --output")


def set_stale_apart(path: Path, training: dict) -> None:
    """A .tflite file of another training does not stay under this model's name."""
    lite = path.with_suffix(".tflite")
    if lite.exists() and read_note(path).get("training") != training:
        os.replace(lite, lite.with_name(lite.name + ".old"))
        print(f"{lite} is of the model that is replaced; its name is {lite.name}.old now. --litert writes a "
              "new one.")
