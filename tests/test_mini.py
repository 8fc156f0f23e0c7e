"""The small data set in data/mini is complete, readable and traceable to its sources."""

import csv
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from PIL import Image

MINI = Path(__file__).resolve().parent.parent / "data" / "mini"
CLASSES = {"cane", "cavallo", "elefante", "farfalla", "gallina",
           "gatto", "mucca", "pecora", "ragno", "scoiattolo"}
LICENCES = {"Apache-2.0", "MIT", "CC-BY-3.0", "CC-BY-4.0", "public domain"}
COLUMNS = ["file", "class", "group", "set", "drawing", "licence", "author", "source"]


@pytest.fixture(scope="module")
def rows():
    """The rows of SOURCES.csv."""
    with (MINI / "SOURCES.csv").open(encoding="utf-8", newline="") as stream:
        reader = csv.DictReader(stream)
        assert reader.fieldnames == COLUMNS
        return list(reader)


def test_every_image_has_one_row(rows):
    files = [path.relative_to(MINI).as_posix() for path in MINI.rglob("*")
             if path.is_file() and path.name != "SOURCES.csv"]
    assert [row["file"] for row in rows] == sorted(files)


def test_ten_classes_of_about_twenty(rows):
    counts = Counter(row["class"] for row in rows)
    assert set(counts) == CLASSES
    assert all(18 <= count <= 22 for count in counts.values()), counts
    assert all(row["file"].startswith(f"{row['class']}/{row['class']}_") for row in rows)


def test_every_class_has_enough_drawings_and_groups(rows):
    drawings, groups = defaultdict(set), defaultdict(set)
    for row in rows:
        drawings[row["class"]].add((row["set"], row["drawing"]))
        groups[row["class"]].add(row["group"])
    assert all(len(found) >= 8 for found in drawings.values())
    assert all(len(found) >= 6 for found in groups.values())


def test_a_group_has_one_class_and_a_drawing_one_group(rows):
    classes, groups = defaultdict(set), defaultdict(set)
    for row in rows:
        classes[row["group"]].add(row["class"])
        groups[row["set"], row["drawing"]].add(row["group"])
    assert all(len(found) == 1 for found in classes.values())
    assert all(len(found) == 1 for found in groups.values())


def test_images_decode_with_the_expected_sizes_and_modes(rows):
    modes = Counter()
    for row in rows:
        with Image.open(MINI / row["file"]) as image:
            image.load()
            assert all(160 <= side <= 400 for side in image.size), (row["file"], image.size)
            assert image.format == ("PNG" if row["file"].endswith(".png") else "JPEG")
            modes[image.mode] += 1
    assert set(modes) == {"RGB", "RGBA", "L", "CMYK"}
    assert modes["L"] == modes["CMYK"] == 1
    assert modes["RGBA"] >= 5


def test_small_enough():
    assert sum(path.stat().st_size for path in MINI.rglob("*") if path.is_file()) < 4_000_000


def test_licences_and_credits(rows):
    assert {row["licence"] for row in rows} <= LICENCES
    assert all(row["author"] and row["source"].startswith("https://") for row in rows)
