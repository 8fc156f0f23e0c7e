"""One fresh TRANSFER_HOME for the whole run, so that lessons share caches as a reader's do.

The lessons run on 76 of the 200 drawings; `make tutorial` runs them on all.
"""

import atexit
import csv
import os
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

MINI = Path(__file__).resolve().parents[1] / "data" / "mini"


def some_drawings(folder: Path, a_class: int = 6, more: int = 14, pair: tuple = ("cane", "gatto")) -> Path:
    """So many of each class, more of two (for lesson 7), at most two of a group, and SOURCES.csv."""
    with open(MINI / "SOURCES.csv", encoding="utf-8", newline="") as table:
        rows = [(row["file"].split("/")[0], row["file"], row["group"]) for row in csv.DictReader(table)]
    taken = Counter()
    for label, file, group in rows:
        if taken[group] < 2 and taken[label] < (more if label in pair else a_class):
            taken.update((group, label))
            (folder / label).mkdir(parents=True, exist_ok=True)
            shutil.copy(MINI / file, folder / file)
    shutil.copy(MINI / "SOURCES.csv", folder)
    return folder


# The longest first, so that two workers end together; lesson 4 reads what lesson 3 has computed.
LONGEST = ("03_", "test_scripts", "04_", "test_benchmark", "09_", "06_", "05_", "07_", "08_", "test_features",
           "test_fine_tuning", "test_training", "02_", "01_", "test_measure")


def pytest_collection_modifyitems(items):
    """Files in the order of LONGEST; `make test` asks pytest-xdist to keep it."""
    def place(item) -> int:
        name = Path(item.path).name
        return next((number for number, start in enumerate(LONGEST) if name.startswith(start)), len(LONGEST))

    items.sort(key=place)


if "PYTEST_XDIST_WORKER" not in os.environ:  # workers take over what the first process made
    os.environ["TRANSFER_HOME"] = tempfile.mkdtemp(prefix="transfer-home-")
    atexit.register(shutil.rmtree, os.environ["TRANSFER_HOME"], ignore_errors=True)
    os.environ["TRANSFER_DATASET"] = str(some_drawings(Path(os.environ["TRANSFER_HOME"]) / "mini"))


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty TRANSFER_HOME for one test."""
    monkeypatch.setenv("TRANSFER_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def picture(seed: int, size=(80, 100)) -> Image.Image:
    """A smooth random picture, different for each seed, of (height, width)."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC)


@pytest.fixture
def folder(tmp_path):
    """A data set of 3 classes with 12 different pictures each."""
    for label in range(3):
        (tmp_path / "set" / f"class{label}").mkdir(parents=True)
        for number in range(12):
            picture(100 * label + number).save(
                tmp_path / "set" / f"class{label}" / f"{number:02d}.jpg", quality=95)
    return tmp_path / "set"
