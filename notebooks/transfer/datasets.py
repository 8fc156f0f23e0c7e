"""Find or download a data set: a folder with one folder of photographs per class (lesson 01).

It does not open the photographs (`audit` does) and does not split them (`audit.split`).
"""

import csv
import difflib
import io
import json
import os
import unicodedata
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path, PureWindowsPath

import numpy as np
from PIL import Image

from . import ROOT, dataset_choice, language, write_whole
from .downloads import DOWNLOADS, animals10, cats_vs_dogs, check_download  # noqa: F401
from .files import alone, digest
from .folders import (  # noqa: F401  lessons look for them here
    EXTENSIONS,
    are_parts,
    classes,
    composed,
    descend,
    explain,
    inside,
    passed_over,
)
from .uploads import unpack, uploaded  # noqa: F401  lessons look for them here

IMAGE_SIZE = (224, 224)  # (height, width) in pixels: what both backbones were trained with

# Folder on disk -> name in each language. A set with other folders keeps all of its names.
CLASS_NAMES = {
    "cane": {"en": "dog", "pt-BR": "cachorro"},
    "cavallo": {"en": "horse", "pt-BR": "cavalo"},
    "elefante": {"en": "elephant", "pt-BR": "elefante"},
    "farfalla": {"en": "butterfly", "pt-BR": "borboleta"},
    "gallina": {"en": "chicken", "pt-BR": "galinha"},
    "gatto": {"en": "cat", "pt-BR": "gato"},
    "mucca": {"en": "cow", "pt-BR": "vaca"},
    "pecora": {"en": "sheep", "pt-BR": "ovelha"},
    "ragno": {"en": "spider", "pt-BR": "aranha"},
    "scoiattolo": {"en": "squirrel", "pt-BR": "esquilo"},
    "Cat": {"en": "cat", "pt-BR": "gato"},
    "Dog": {"en": "dog", "pt-BR": "cachorro"},
}


NO_GROUP = {"", "?", "-", "–", "—", ".", "n/a", "na", "nan", "none", "null", "unknown", "nenhum",
            "desconhecido"}  # in a table


@dataclass(frozen=True)
class Dataset:
    """Photographs of one data set, or of a part of it; nothing is decoded yet.

    Attributes:
        name: "mini", "animals10", "cats_vs_dogs" or the folder's name.
        root: the folder that holds the class folders.
        files: (n,) paths below root, with "/", sorted.
        labels: (n,) int64, an index into `class_folders`.
        class_folders: the class folders' names, sorted, as on disk.
        groups: (n,) a name for what must stay in one split; by default the file itself.
        white: the value of 16-bit grey that is shown as white, as `audit` measures it over the set;
            0 where there is none: then each picture has its own.
    """

    name: str
    root: Path
    files: np.ndarray
    labels: np.ndarray
    class_folders: tuple[str, ...]
    groups: np.ndarray
    white: int = 0

    def __len__(self) -> int:
        return len(self.files)

    @property
    def paths(self) -> list[str]:
        """Every file's full path."""
        return [str(self.root / file) for file in self.files]

    @property
    def class_names(self) -> list[str]:
        """The classes in the reader's language, in the order of the labels."""
        return names(self.class_folders)

    def select(self, which) -> "Dataset":
        """The part with these indices (or this boolean mask), in this order."""
        return replace(self, files=self.files[which], labels=self.labels[which],
                       groups=self.groups[which])

    def few(self, per_class: int, seed: int = 0) -> "Dataset":
        """So many photographs of each class, or all where there are fewer; five are among the ten.

        Raises:
            ValueError: `per_class` is no whole number from 1 on, or `seed` none from 0 on.
        """
        check_whole("per_class", per_class, 1)
        check_whole("seed", seed)
        order = np.random.default_rng(seed).permutation(len(self))
        return self.select(np.sort(np.concatenate(
            [order[self.labels[order] == label][:per_class] for label in np.unique(self.labels)])))

    def only(self, class_folders: list[str]) -> "Dataset":
        """The photographs of these classes alone, named as on disk; labels are counted anew.

        An accent may be composed in another way than on disk, as Macs do.

        Raises:
            ValueError: there is no such class, or fewer than two are left.
        """
        if isinstance(class_folders, str):
            raise ValueError(f"give a list of class folders, such as {list(self.class_folders[:2])}, not the "
                             f"text {class_folders!r}.")
        here = {composed(folder): folder for folder in self.class_folders}
        here |= {folder: folder for folder in self.class_folders}
        folders = in_order({here.get(one, here.get(composed(one), one))
                            for one in (str(one).rstrip("/") for one in class_folders)})
        unknown = [folder for folder in folders if folder not in self.class_folders]
        if unknown or len(folders) < 2:
            raise ValueError(f"at least two of the classes {', '.join(self.class_folders)} are needed; "
                             f"{'unknown' if unknown else 'given'}: {', '.join(unknown or folders)}.")
        which = np.isin(self.labels, [self.class_folders.index(folder) for folder in folders])
        kept = self.select(which)
        labels = [folders.index(file.split("/")[0]) for file in kept.files]
        return replace(kept, labels=np.array(labels), class_folders=folders)


def names(class_folders) -> list[str]:
    """Classes in the reader's language, where they are Animals-10's or Microsoft's; others keep their names.

    So do those that would get the same name (Cat and gatto are both "cat" in English).
    """
    shown = _shown(class_folders)
    often = Counter(map(composed, shown))
    return [folder if often[composed(name)] > 1 else name for folder, name in zip(class_folders, shown)]


def _shown(folders) -> list[str]:
    """Translated where all are listed: in a set of the reader's own, "gallina" is the reader's word."""
    listed = all(folder in CLASS_NAMES for folder in folders)
    return [CLASS_NAMES[folder][language()] if listed else folder for folder in folders]


def in_order(folders) -> tuple[str, ...]:
    """Class folders in the order of the labels, which does not hang on how accents are composed."""
    return tuple(sorted(folders, key=lambda name: (composed(name), name)))


def check_whole(name: str, value, least: int = 0, most: int = 2**32 - 1) -> None:
    """A whole number within these bounds, or a ValueError that says so."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not least <= value <= most:
        raise ValueError(f"{name} is a whole number from {least} to {most}, not {value!r}.")


def load(choice: str = "") -> Dataset:
    """The chosen data set, downloaded first where that is needed.

    Args:
        choice: "mini", "animals10", "cats_vs_dogs" or a folder of class folders (a relative one
            is meant from the repository's root, `~` is the user's home); by default what the set-up
            cell chose.

    Raises:
        FileNotFoundError: the folder is missing or holds no class folders with photographs.
        ValueError: a class folder has a name that cannot be shown; a download is not whole.
        RuntimeError, OSError: the download failed.
    """
    choice = str(choice) or dataset_choice()
    find = {"mini": lambda: ROOT / "data" / "mini", "animals10": animals10, "cats_vs_dogs": cats_vs_dogs}
    root = find[choice]() if choice in find else (ROOT / Path(choice).expanduser()).resolve()
    return from_folder(root, choice if choice in find else root.name)


def load_from_here(choice: str) -> Dataset:
    """As `load`, for a command line: a relative folder is meant from where the command is given."""
    here = Path(choice).expanduser()
    named = choice in ("", "mini", "animals10", "cats_vs_dogs") and not (choice and here.is_dir())
    return load(choice if named else str(here.absolute()))


def from_folder(root: Path, name: str) -> Dataset:
    """List a folder of class folders. Group names come from a SOURCES.csv, where there is one.

    Where the folder holds one folder only, the class folders are looked for in there.

    Raises:
        FileNotFoundError: as `load`; the message names what was found, and what to do.
        ValueError: a class folder's name holds a line break or another control character.
    """
    if not root.is_dir():
        raise FileNotFoundError(_missing(root))
    found, inner = classes(root), descend(root)
    if len(found) < 2 and inner != root and len(classes(inner)) > 1:
        print(f"{root} holds one folder only; the class folders are those in {inner}")
        return from_folder(inner, name)
    if len(found) < 2 or are_parts(found):
        raise FileNotFoundError(explain(root, found))
    folders = in_order(found)
    _check_names(root, folders)
    files = sorted(f"{folder}/{file}" for folder in folders for file in found[folder])
    labels = [folders.index(file.split("/")[0]) for file in files]
    table = root / next((file for file in inside(root)[1] if file.lower() == "sources.csv"), "SOURCES.csv")
    group_of = _groups(table)
    groups = [group_of.get(composed(file)) or file for file in files]
    without = [file for file in files if composed(file) not in group_of]
    if group_of and without:
        print(f"{table} names " + (
            "none of the photographs, so it says nothing of their groups" if len(without) == len(files) else
            f"no group of {len(without)} of {len(files)} photographs, which have no row there")
            + f"; its column file should read like {without[0]}")
    return Dataset(name, root, np.array(files), np.array(labels), folders, np.array(groups))


def _check_names(root: Path, folders: tuple[str, ...]) -> None:
    """Names go to plain text files, one a line, and to the screen."""
    for folder in folders:
        if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in folder):
            raise ValueError(f"the class folder {folder!r} in {root} has a line break, a control character "
                             "or a letter that is no UTF-8 in its name: rename it.")
    shown = _shown(folders)
    for one, count in Counter(map(composed, shown)).items():
        if count > 1:
            alike = [folder for folder, name in zip(folders, shown) if composed(name) == one]
            print(f"the folders {' and '.join(alike)} would all be called {one!r}: each keeps its folder's "
                  "name. If they are one class, put their photographs into one folder.")


def _missing(root: Path) -> str:
    """Why this is no folder, and which is meant perhaps."""
    if root.exists():
        packed = root.suffix.lower() in (".zip", ".tar", ".gz", ".tgz", ".rar", ".7z")
        return (f"{root} is a file; {'unpack it first, and ' * packed}give the folder that holds one folder "
                "of photographs per class.")
    wrong = next(one for one in (root, *root.parents) if one.parent.is_dir())
    near = difflib.get_close_matches(wrong.name, inside(wrong.parent)[0])
    meant = f" ({wrong.parent} holds {' and '.join(near)})" if near else ""
    return (f"there is no folder {root}{meant}. Give a folder with one folder of photographs per class; "
            "--dataset and TRANSFER_DATASET also take mini, animals10 and cats_vs_dogs.")


def _groups(table: Path) -> dict[str, str]:
    """File -> group, "" where the table knows none; one of the reader's own for something else is not used.

    Excel writes what the computer's country is used to: semicolons, and UTF-8 with a mark or cp1252.
    """
    if not table.is_file():
        return {}
    try:
        content = table.read_bytes()
        try:
            text = content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8")
        except UnicodeDecodeError:
            text = content.decode("cp1252", "replace")
        text = text.removeprefix("\ufeff")
        for delimiter in ",;\t|":
            lines = io.StringIO(text.removeprefix(f"sep={delimiter}").lstrip(), newline="")
            rows = csv.DictReader(lines, delimiter=delimiter, skipinitialspace=True)
            rows.fieldnames = [name.strip().lower() for name in rows.fieldnames or ()]
            if {"file", "group"} <= set(rows.fieldnames):
                return {_as_file(row["file"]): _as_group(row["group"]) for row in rows if row["file"]}
        why = "it is no table with the columns file and group"
    except (OSError, csv.Error) as error:
        why = str(error)
    print(f"{table} is not used: {why}.")
    return {}


def _as_file(cell: str) -> str:
    return composed(PureWindowsPath(cell.strip()).as_posix())  # knows \\ and /, and passes over ./


def _as_group(cell: str | None) -> str:
    group = composed((cell or "").strip())
    return "" if group.lower() in NO_GROUP or group.startswith("#") else group  # #N/D is Excel's


def as_folder(photographs: Dataset, folder: Path) -> Path:
    """These photographs as a folder of class folders, for loaders that want one (lesson 07).

    Every file is decoded and written as PNG, scaled down to at most 500 pixels, so that any loader
    reads it. What is there already and has not changed stays; what does not belong goes.

    Args:
        photographs: of one data set.
        folder: to be filled; it is empty, or was filled here before.

    Raises:
        ValueError: it holds something else (nothing is deleted then), or a photograph cannot be decoded.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with alone(folder.with_name(f"{folder.name}.lock"), "fills the same folder"):
        _fill(photographs, folder)
    return folder


def _fill(photographs: Dataset, folder: Path) -> None:
    from .images import decode

    note = folder.with_name(f"{folder.name}.json")  # what was written here, and what it was made of
    made = _read_note(note)
    wanted = {f"{file}.png": path for file, path in zip(photographs.files, photographs.paths)}
    found = [Path(path, name).relative_to(folder) for path, _, names in os.walk(folder) for name in names]
    strays = [path for path in found if path.as_posix() not in wanted]
    foreign = [path for path in strays if path.as_posix() not in made
               and not (made and any(part.startswith(".partial-") for part in path.parts))]
    if foreign:
        raise ValueError(f"{folder} holds {foreign[0]}, which was not made here, so nothing in it is "
                         "touched: give another folder, or delete this one.")
    write_whole(note, json.dumps(made | {name: made.get(name) for name in wanted}))
    for stray in strays:
        (folder / stray).unlink()
    for path, _, _ in os.walk(folder, topdown=False):
        if not os.listdir(path):
            os.rmdir(path)  # a loader would count it as a class
    now = {name: [path, os.stat(path).st_size, os.stat(path).st_mtime_ns] for name, path in wanted.items()}
    for name, state in now.items():
        if (folder / name).is_file() and [*state, digest(folder / name)] == made.get(name):
            now[name] = made[name]
        else:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            image = Image.fromarray(decode(state[0], white=photographs.white))
            image.thumbnail((500, 500))
            content = io.BytesIO()
            image.save(content, "png")
            write_whole(folder / name, content.getvalue())
            now[name] = [*state, digest(folder / name)]
    write_whole(note, json.dumps(now))


def _read_note(note: Path) -> dict:
    try:
        return dict(json.loads(note.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}
