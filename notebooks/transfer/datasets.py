"""Find or download a data set: a folder with one folder of photographs per class (lesson 01).

It does not open the photographs (`audit` does) and does not split them (`audit.split`).
"""

import csv
import io
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from . import ROOT, dataset_choice, home, language, short, write_whole

IMAGE_SIZE = (224, 224)  # (height, width) in pixels: what both backbones were trained with
EXTENSIONS = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp")

# Folder on disk -> name in each language. A folder that is not listed keeps its own name.
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

# What a whole download looks like. Ranges, because publishers replace single files.
DOWNLOADS = {
    "animals10": {"classes": 10, "files": (26_000, 26_400), "bytes": (550e6, 700e6)},
    "cats_vs_dogs": {"classes": 2, "files": (24_900, 25_000), "bytes": (700e6, 900e6)},
}
KAGGLE_NAME = "alessiocorrado99/animals10"
MICROSOFT_ZIP = (
    "https://download.microsoft.com/download/3/E/1/3E1C3F21-ECDB-4869-8368-6DEBA77B919F/"
    "kagglecatsanddogs_5340.zip"  # linked from the download centre's page 54765
)


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
    """

    name: str
    root: Path
    files: np.ndarray
    labels: np.ndarray
    class_folders: tuple[str, ...]
    groups: np.ndarray

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
        """So many photographs of each class, or all where there are fewer; five are among the ten."""
        order = np.random.default_rng(seed).permutation(len(self))
        return self.select(np.sort(np.concatenate(
            [order[self.labels[order] == label][:per_class] for label in np.unique(self.labels)])))

    def only(self, class_folders: list[str]) -> "Dataset":
        """The photographs of these classes alone, named as on disk; labels are counted anew.

        Raises:
            ValueError: there is no such class, or fewer than two are left.
        """
        folders = tuple(sorted(set(class_folders)))
        unknown = [folder for folder in folders if folder not in self.class_folders]
        if unknown or len(folders) < 2:
            raise ValueError(f"at least two of the classes {', '.join(self.class_folders)} are needed; "
                             f"{'unknown' if unknown else 'given'}: {', '.join(unknown or folders)}.")
        which = np.isin(self.labels, [self.class_folders.index(folder) for folder in folders])
        kept = self.select(which)
        labels = [folders.index(file.split("/")[0]) for file in kept.files]
        return replace(kept, labels=np.array(labels), class_folders=folders)


def names(class_folders) -> list[str]:
    """Classes in the reader's language; one that is not listed keeps its folder's name."""
    return [CLASS_NAMES.get(folder, {}).get(language(), folder) for folder in class_folders]


def load(choice: str = "") -> Dataset:
    """The chosen data set, downloaded first where that is needed.

    Args:
        choice: "mini", "animals10", "cats_vs_dogs" or a folder of class folders (a relative one
            is meant from the repository's root); by default what the set-up cell chose.

    Raises:
        FileNotFoundError: the folder is missing or holds no class folders with photographs.
    """
    choice = choice or dataset_choice()
    find = {"mini": lambda: ROOT / "data" / "mini", "animals10": _animals10,
            "cats_vs_dogs": _cats_vs_dogs}
    root = find[choice]() if choice in find else (ROOT / Path(choice).expanduser()).resolve()
    return from_folder(root, choice if choice in find else root.name)


def load_from_here(choice: str) -> Dataset:
    """As `load`, for a command line: a relative folder is meant from where the command is given."""
    return load(str(Path(choice).resolve()) if Path(choice).is_dir() else choice)


def from_folder(root: Path, name: str) -> Dataset:
    """List a folder of class folders. Group names come from a SOURCES.csv, where there is one."""
    if not root.is_dir():
        raise FileNotFoundError(
            f"no folder {root}. TRANSFER_DATASET takes mini, animals10, cats_vs_dogs or a folder "
            f"with one folder per class; a relative one is meant from {ROOT}.")
    files = sorted(path.relative_to(root).as_posix() for path in root.glob("*/*")
                   if path.suffix.lower() in EXTENSIONS and not path.name.startswith("."))
    folders = tuple(sorted({file.split("/")[0] for file in files}))
    if len(folders) < 2:
        raise FileNotFoundError(
            f"{root} needs at least two folders (one per class) with photographs directly inside; "
            f"found {list(folders) or 'none'}. Endings read: {', '.join(EXTENSIONS)}.")
    group_of = {}
    if (root / "SOURCES.csv").exists():
        with open(root / "SOURCES.csv", encoding="utf-8", newline="") as table:
            group_of = {row["file"]: row["group"] for row in csv.DictReader(table)}
    labels = [folders.index(file.split("/")[0]) for file in files]
    groups = [group_of.get(file, file) for file in files]
    return Dataset(name, root, np.array(files), np.array(labels), folders, np.array(groups))


def as_folder(photographs: Dataset, folder: Path) -> Path:
    """These photographs as a folder of class folders, for loaders that want one (lesson 07).

    Every file is decoded and written as PNG, scaled down to at most 500 pixels, so that any loader
    reads it. What is there already stays; files and classes that do not belong go.

    Args:
        photographs: of one data set, always the same one for a folder.
        folder: to be filled.
    """
    from .pipeline import decode

    wanted = {folder / f"{file}.png": path for file, path in zip(photographs.files, photographs.paths)}
    for stray in set(folder.glob("*/*")) - set(wanted):
        stray.unlink()
    for classes in folder.glob("*"):
        if not any(classes.iterdir()):
            classes.rmdir()  # a loader would count it as a class
    for target, path in wanted.items():
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            image = Image.fromarray(decode(path))
            image.thumbnail((500, 500))
            content = io.BytesIO()
            image.save(content, "png")
            write_whole(target, content.getvalue())
    return folder


def uploaded(value) -> list[str]:
    """What was given to an ipywidgets `FileUpload`, written to files; their paths (lesson 08).

    Args:
        value: the widget's `value`, of ipywidgets 7 (Colab: a dictionary) or 8 (a tuple).
    """
    if isinstance(value, dict):
        value = [{"name": name, "content": one["content"]} for name, one in value.items()]
    paths = [home("uploads", Path(one["name"]).name) for one in value]
    for path, one in zip(paths, value):
        write_whole(path, bytes(one["content"]))
    return [str(path) for path in paths]


def unpack(archive: Path) -> Path:
    """Unpack a .zip of class folders beside TRANSFER_HOME's other uploads; the folder that holds them.

    Raises:
        ValueError: it is no whole archive.
    """
    folder = home("uploads", Path(archive).stem)
    shutil.rmtree(folder, ignore_errors=True)  # of an earlier upload of that name
    try:
        shutil.unpack_archive(archive, folder)
    except (shutil.ReadError, zipfile.BadZipFile, EOFError) as error:
        raise ValueError(f"{archive} is damaged or no archive ({error}): pack and upload it again") from error
    inner = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(("_", "."))]
    return inner[0] if len(inner) == 1 else folder


def check_download(root: Path, name: str) -> None:
    """Raise an error that says what is wrong unless this folder is a whole copy of the data set."""
    expected = DOWNLOADS[name]
    files = [path for path in root.glob("*/*") if path.suffix.lower() in EXTENSIONS]
    found = {"classes": len({path.parent.name for path in files}), "files": len(files),
             "bytes": sum(path.stat().st_size for path in files)}
    for what, value in found.items():
        low, high = expected[what] if what != "classes" else (expected[what], expected[what])
        if not low <= value <= high:
            raise ValueError(f"{name} in {root} is not whole: {value:,} {what}, expected {low:,.0f} to "
                             f"{high:,.0f}. Delete {root.parents[1]} and run the cell again.")


def _animals10() -> Path:
    for mounted in Path("/kaggle/input").glob("**/raw-img"):
        return mounted
    return _download("animals10", "raw-img", _kaggle_zip)


def _cats_vs_dogs() -> Path:
    for mounted in Path("/kaggle/input").glob("**/PetImages"):
        return mounted
    return _download("cats_vs_dogs", "PetImages", _microsoft_zip)


def _download(name: str, inner: str, fetch) -> Path:
    """Fetch a zip, unpack and check it beside, and only then give it its final name."""
    final = home("downloads", name)
    if final.is_dir():
        return final
    beside = home("downloads", f"{name}.partial")
    beside.mkdir(exist_ok=True)
    archive = fetch(beside)
    print(f"unpacking {short(archive)}")
    shutil.rmtree(beside / "unpacked", ignore_errors=True)
    try:
        with zipfile.ZipFile(archive) as content:
            content.extractall(beside / "unpacked")
    except zipfile.BadZipFile as error:
        archive.unlink()
        raise ValueError(f"{archive} was damaged and is deleted: run the cell again.") from error
    check_download(beside / "unpacked" / inner, name)
    os.replace(beside / "unpacked" / inner, final)
    shutil.rmtree(beside)
    return final


def _kaggle_zip(folder: Path) -> Path:
    """Kaggle's own command: needs no account for a public data set, and goes on where it stopped."""
    command = shutil.which("kaggle") or Path(sys.executable).with_name("kaggle")
    process = subprocess.Popen(
        [command, "datasets", "download", KAGGLE_NAME, "--path", str(folder)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    while piece := process.stdout.read(64):
        print(piece, end="", flush=True)  # Kaggle's progress bar, in the notebook as well
    archive = folder / (KAGGLE_NAME.split("/")[1] + ".zip")
    if process.wait() != 0 or not archive.exists():
        raise RuntimeError(
            "Kaggle's download failed (its message is above). No account is needed, so first try "
            "again, or `pip install -U kaggle`. If Kaggle asks you to sign in: make a token at "
            "https://www.kaggle.com/settings, put it into the variable KAGGLE_API_TOKEN (on Colab "
            "a secret of that name) or the file ~/.kaggle/access_token, and run the cell again. "
            f"Or download {KAGGLE_NAME} in a browser and set TRANSFER_DATASET to its raw-img.")
    return archive


def _microsoft_zip(folder: Path) -> Path:
    import keras

    return Path(keras.utils.get_file("cats_vs_dogs.zip", MICROSOFT_ZIP, cache_dir=str(folder),
                                     cache_subdir="."))
