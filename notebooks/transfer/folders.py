"""What a folder holds: class folders, photographs, and what is neither (lessons 01 and 08).

It looks at names only. No photograph is opened here, and nothing is changed.
"""

import os
import re
import shlex
import unicodedata
from collections import Counter
from pathlib import Path

EXTENSIONS = (".jpg", ".jpeg", ".jfif", ".jpe", ".pjpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff",
              ".jp2", ".avif", ".heic", ".heif")
DEPTH = 6  # so many folders inside one another are looked into for class folders
BREADTH = 500  # and so many side by side: a whole disk is not searched

_LEARN = {"train", "training", "treino", "treinamento", "entrenamiento"}
_ASK = {"test", "testing", "teste", "prueba", "val", "valid", "validation", "validação", "dev", "eval"}
_PART = (r"(seg[ _-])?(train|training|treino|treinamento|val|valid|validation|valida[cç][aã]o|dev|eval"
         r"|evaluation|test|testing|teste)([ _-]?(set|data|images|imgs))?[ _-]?\d*")
_CAMERAS = {"img", "image", "dsc", "dscn", "dscf", "pxl", "photo", "foto", "picture", "screenshot", "wa", "p"}


def composed(name: str) -> str:
    """The same letters as other systems write them: a Mac takes an accent apart from its letter."""
    return unicodedata.normalize("NFC", name)


def inside(folder: Path) -> tuple[list[str], list[str]]:
    """Names of the folders and of the files directly inside, sorted; none where it may not be opened.

    What systems and programs put there themselves is left out: names that begin with ".", folders
    that begin with "@" (thumbnails of a network drive) and a Mac's `__MACOSX`.
    """
    folders, files = [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                (folders if _is_folder(entry) else files).append(entry.name)
    except OSError:
        return [], []
    return (sorted(name for name in folders if not is_hidden(name)),
            sorted(name for name in files if not name.startswith(".")))


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads in a circle
        return False


def is_hidden(folder: str) -> bool:
    """Whether a folder of this name is never a class."""
    return folder.startswith((".", "@")) or folder == "__MACOSX"


def photographs(folder: Path) -> list[str]:
    """Names of the photographs directly inside, sorted: those with an ending that is read."""
    return [name for name in inside(folder)[1] if Path(name).suffix.lower() in EXTENSIONS]


def classes(root: Path) -> dict[str, list[str]]:
    """Class folder -> its photographs: every folder with a photograph directly inside is a class."""
    found = {folder: photographs(Path(root, folder)) for folder in inside(root)[0]}
    return {folder: names for folder, names in found.items() if names}


def are_parts(names) -> bool:
    """Whether these are the parts of a split: nothing but train, test1, valid …, or both kinds among others.

    A class that happens to be called "train" is none of a split without something to test on.
    """
    names = [composed(name) for name in names]
    return bool(names) and (
        all(re.fullmatch(_PART + r"|fold[ _-]?\d+", name, re.IGNORECASE) for name in names)
        or any(_words(name) & _LEARN for name in names) and any(_words(name) & _ASK for name in names))


def _words(name: str) -> set[str]:
    """images_train and trainA have the word train, PublicTest has test."""
    name = name.lower() if name.isupper() else name
    return {word.lower() for word in re.findall(r"[A-Z]?[^\W\d_A-Z]+", name)}


def descend(folder: Path) -> Path:
    """Down to where the class folders are, as long as there is one folder inside and no photograph."""
    for _ in range(DEPTH):
        names = inside(folder)[0]
        if len(names) != 1 or photographs(folder) or not inside(Path(folder, names[0]))[0]:
            break
        folder = Path(folder, names[0])
    return folder


def data_sets(root: Path) -> list[Path]:
    """Folders below `root` that hold two class folders or more, the nearest ones first."""
    level, found, seen = [Path(root)], [], set()
    for _ in range(DEPTH):
        below = []
        for folder in (Path(one, name) for one in level for name in inside(one)[0]):
            if len(seen) == BREADTH or (real := os.path.realpath(folder)) in seen:
                continue
            seen.add(real)
            names = classes(folder)
            is_one = len(names) > 1 and not are_parts(names)
            (found if is_one else below).append(folder)
        level = below
    return found


def explain(root: Path, found: dict[str, list[str]]) -> str:
    """Why this folder is no data set, and what to do: one sentence.

    Args:
        root: the folder.
        found: what `classes` says of it.
    """
    what = (f"{root} needs at least two folders (one per class) with photographs directly inside; found "
            f"{list(found) or 'none'}. Endings read: {', '.join(EXTENSIONS)}.")
    if below := data_sets(root):
        return _explain_below(root, below, what)
    parts = are_parts(found) and len(found) > 1
    if parts:
        what = f"{root} is divided into {_listed(found)}, which are parts of a data set and no classes."
    folder = Path(root, max(found, key=lambda name: len(found[name]))) if found else Path(root)
    if command := _sort_by_name(folder):
        return (f"{what} The classes seem to be in the names of the files: `{command}` makes folders of "
                f"them. Then give {_give(folder)}.")
    if parts:
        return (f"{what} Sort the photographs of each into one folder per class, then give "
                f"{_train_and_test({name: Path(root, name) for name in found})}.")
    return what + _where_they_are(Path(root), found)


def _where_they_are(root: Path, found: dict[str, list[str]]) -> str:
    """What to do with photographs that lie beside or below the place of class folders."""
    folders = inside(root)[0]
    inner = {folder: inside(root / folder)[0] for folder in folders}
    if {"labels", "annotations"} & {name.lower() for name in sum(inner.values(), folders)}:
        return (" Labels in files beside the photographs are for finding objects; here a class is a folder: "
                "sort the photographs into one folder per class.")
    up = [folder for folder in folders if folder not in found and len(inner[folder]) == 1
          and photographs(root / folder / inner[folder][0])]
    if len(up) + len(found) > 1 and not are_parts(folders):
        places = [[shlex.quote(str(path)) for path in (root / folder / inner[folder][0], root / folder)]
                  for folder in up]
        moves = " && ".join(f"mv {deep}/* {folder}/" for deep, folder in places)
        return f" Photographs lie one folder too deep: `{moves}` moves them up."
    if loose := len(photographs(root)):
        some = " ".join(shlex.quote(str(root / name)) for name in ("cat", "dog"))
        return (f" Photographs directly in it: {loose}. Make a folder for each class, as `mkdir {some}`, and "
                "move each photograph into its own.")
    return ""


def _explain_below(root: Path, below: list[Path], what: str) -> str:
    for top in (root, below[0].parent):  # the parts may lie below a folder among others
        parts = {path.relative_to(top).parts[0]: path for path in reversed(below) if path.is_relative_to(top)}
        if are_parts(parts) and all(path.is_relative_to(top) for path in below):
            return (f"{top} is divided already, into {_listed(parts)}, and the classes are inside: "
                    f"give {_train_and_test(parts)}.")
    return f"{what} Further down there are such folders; give {' or '.join(map(str, below[:5]))} instead."


def _train_and_test(parts: dict[str, Path]) -> str:
    """What to give where these parts of a split are found: name -> folder."""
    def first(words, *beginnings):
        return next((path for name, path in sorted(parts.items())
                     if _words(name) & words or name.lower().startswith(beginnings)), None)

    train = first(_LEARN, "tr") or next(iter(parts.values()))
    test = first({"test", "testing", "teste", "prueba"}, "te") or first(_ASK, "val", "dev", "eval")
    return _give(train, test if test != train else None)


def _give(train: Path, test: Path | None = None) -> str:
    train, test = shlex.quote(str(train)), f" --test {shlex.quote(str(test))}" if test else ""
    return f"`--dataset {train}{test}` to scripts/train.py, or TRANSFER_DATASET={train} to a lesson"


def _listed(names) -> str:
    *most, last = sorted(names)
    return f"{', '.join(most)} and {last}" if most else last


def _sort_by_name(folder: Path) -> str:
    """A command line that sorts cat.0.jpg, dog.0.jpg … into folders; "" where names tell no classes."""
    files = photographs(folder)
    found = [re.match(r"([^\W\d_]+)([ ._-]*)\d", name) for name in files]
    starts = Counter(match.groups() for match in found if match and match[1].lower() not in _CAMERAS)
    starts = {start: count for start, count in starts.items() if count >= max(2, len(files) / 20)}
    if len(starts) < 2 or sum(starts.values()) < 0.9 * len(files):
        return ""
    words = " ".join(sorted({word for word, _ in starts}))
    moves = [f"mv {shlex.quote(word + gap)}[0-9]* {word}/" for word, gap in sorted(starts)]
    return f"cd {shlex.quote(str(folder))} && mkdir -p {words} && {' && '.join(moves)}"


def passed_over(root: Path) -> list[str]:
    """What lies in a data set's folder and is in no class, one sentence each (lesson 08).

    It knows by the names alone: a photograph that cannot be decoded is not its business.
    """
    root = Path(root)
    found, said = classes(root), []
    if loose := photographs(root):
        said.append(f"Photographs in no class, directly in {root.name}: {len(loose)} ({loose[0]} …). "
                    "Move each into its class folder.")
    for folder in inside(root)[0]:
        deeper = _below(root / folder)
        if deeper:
            said.append(f"{folder}: photographs in folders inside it, which are not read: {deeper}. "
                        f"Move them up into {folder}.")
        if folder not in found and (why := _no_class(root / folder, deeper)):
            said.append(f"{folder} is no class: {why}.")
    return said


def _no_class(folder: Path, deeper: int) -> str:
    try:
        os.listdir(folder)
    except OSError as error:
        return f"it cannot be opened ({error.strerror})"
    if files := inside(folder)[1]:
        endings = sorted({Path(name).suffix.lower() or "no ending" for name in files})
        return (f"none of its {len(files)} files has an ending that is read ({', '.join(EXTENSIONS)}); "
                f"there are {', '.join(endings[:5])}")
    return "" if deeper else "it is empty"


def _below(folder: Path) -> int:
    """How many photographs lie in folders inside this one."""
    return sum(len(photographs(Path(path))) for path, _, _ in list(os.walk(folder))[1:]
               if not any(is_hidden(part) for part in Path(path).relative_to(folder).parts))
