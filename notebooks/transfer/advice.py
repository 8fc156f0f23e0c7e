"""What to mend in a data set before training on it, one sentence each (lesson 08).

It opens no photograph and changes nothing: it reads names, and the table that `audit.examine` made.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from .datasets import EXTENSIONS, Dataset, passed_over
from .files import printable
from .folders import inside
from .hashing import NEAR_DUPLICATE_BITS, clusters, near_duplicates
from .kinds import remedy

TINY_PIXELS = 64  # a shorter side below this holds less than the network's first stages look at
FEW = 20  # photographs of a class, below which to ask for more
SHOWN = 5  # so many names in one sentence, then a count
MANY_PAIRS = 10  # wrong labels are few; more pairs than this across classes are alike by nature
MANY_MIXED = 200  # photographs, up to which the pairs across classes are counted one by one
BY_NATURE = ("Where pictures are alike by nature (a fixed camera, one part), count fewer of them as alike: a "
             "smaller alike_bits, or None (train.py: --alike-bits, lesson 8: ALIKE_BITS).")
SMALL = {
    "tiny": f"Photographs with a side below {TINY_PIXELS} pixels: {{}}. That is less than the network's "
            "first stages look at: take larger ones where there are.",
    "dark": "Pictures that are nearly black: {}. If they hold 12 bits in a colour file of 16, save them "
            "with 8.",
    "blank": "Pictures of one colour, on which there is nothing to see: {}. Take them away."}
NOT_PHOTOGRAPHS = ("thumbs.db", "desktop.ini")  # Windows puts them into every folder


def advice(photographs: Dataset, table: pd.DataFrame,
           alike_bits: int | None = NEAR_DUPLICATE_BITS) -> list[str]:
    """What to mend before training, one sentence each; empty where nothing is wrong (lesson 08).

    Args:
        photographs: the data set.
        table: what `examine` says of it.
        alike_bits: as given to `split`; with None nothing is said of pictures that look alike.
    """
    found = _unreadable(table) + _not_read(photographs) + passed_over(photographs.root)
    if alike_bits is not None:
        found += _alike(photographs, table, alike_bits)
    found += _ranges(table)
    for problem, what in SMALL.items():
        if len(files := table["file"][table["problem"] == problem]):
            found.append(what.format(listed(files)))
    return [printable(sentence) for sentence in found + _counts(photographs, table)]


def _ranges(table: pd.DataFrame) -> list[str]:
    """Whether grey of 16 bits is of several cameras: one white serves the whole set."""
    grey = table[table["white"] > 0]
    if not len(grey) or grey["white"].max() < 8 * grey["white"].min():
        return []
    dark, bright = (grey["file"].iloc[place] for place in (grey["white"].argmin(), grey["white"].argmax()))
    return [f"Grey of 16 bits has several ranges: {dark} goes to {grey['white'].min():,}, {bright} to "
            f"{grey['white'].max():,}, which is shown as white, so the first is dark. Save all with 8 bits."]


def listed(names) -> str:
    """The first five names, and how many more there are."""
    names = list(names)
    return ", ".join(names[:SHOWN]) + f" and {len(names) - SHOWN:,} more" * (len(names) > SHOWN)


def _unreadable(table: pd.DataFrame) -> list[str]:
    """A sentence for each, or for many that have the same reason."""
    said = []
    for files, problem in by_reason(table):
        if "[Errno" in problem or "MemoryError" in problem:
            what = "set aside for now and tried again next time: look at the disk, permissions or free memory"
        elif ": it is" in problem and ": " in problem.split(": it is")[1]:  # it says what to do
            what = "set aside until then"
        elif ": it is" in problem:
            what = "set aside; put a photograph in its place or take it away"
        else:
            what = "set aside; get it again, or take it out of the folder"
        said.append(f"{listed(files)}: {problem}. {'It is' if len(files) == 1 else 'They are'} {what}.")
    return said


def by_reason(table: pd.DataFrame) -> Iterator[tuple[list[str], str]]:
    """What is unreadable, and why: file by file, or together where many have the same reason."""
    broken = table[table["problem"].str.startswith("unreadable")]
    for problem, rows in broken.groupby("problem", sort=False):
        files = list(rows["file"])
        yield from (([file], problem) for file in files) if len(files) <= SHOWN else [(files, problem)]


def _not_read(photographs: Dataset) -> list[str]:
    """Files in class folders that have another ending: a sentence for each ending."""
    others = {}
    for folder in photographs.class_folders:
        for name in inside(photographs.root / folder)[1]:
            ending = Path(name).suffix.lower()
            if ending not in EXTENSIONS and name.lower() not in NOT_PHOTOGRAPHS:
                others.setdefault(ending, []).append(f"{folder}/{name}")
    said = []
    for ending, files in sorted(others.items()):
        why = remedy(photographs.root / files[0]) or f"its ending is not one of {' '.join(EXTENSIONS)}"
        folders = listed(dict.fromkeys(file.split("/")[0] for file in files))
        many = f"{len(files):,} files with {f'the ending {ending}' if ending else 'no ending'} in {folders}"
        said.append(f"{files[0]} is not read: {why}" if len(files) == 1 else
                    f"{many} are not read, such as {files[0]}: {why}")
    return said


def _alike(photographs: Dataset, table: pd.DataFrame, bits: int) -> list[str]:
    """What looks alike: across classes it may be a wrong label, otherwise it only counts as one."""
    readable = np.flatnonzero((table["hash"] != "") & (table["problem"] != "blank"))
    files, labels = photographs.files, photographs.labels
    group, classes = clusters(table["hash"].iloc[readable], bits), len(photographs.class_folders)
    sizes = np.bincount(group)
    if not (sizes > 1).any():
        return []
    among = np.bincount(np.unique(group * classes + labels[readable]) // classes)  # classes of each group
    mixed, said = readable[among[group] > 1], []
    by_nature = len(readable) > 2 * len(sizes)
    if 0 < len(mixed) <= MANY_MIXED:
        pairs = mixed[near_duplicates(table.iloc[mixed], bits)]
        said = [f"{files[one]} and {files[other]} look alike and have two classes: one of them is wrong."
                for one, other in pairs if labels[one] != labels[other]]
    if len(mixed) > MANY_MIXED or len(said) > MANY_PAIRS:
        first = readable[group == group[among[group] > 1][0]]
        other = first[labels[first] != labels[first[0]]][0]
        by_nature, said = True, [
            f"{len(mixed):,} photographs look like some of another class (as {files[first[0]]} and "
            f"{files[other]}): look at a few of them for wrong labels."]
    sizes = sizes[sizes > 1]
    said.append(f"Photographs that look alike: {sizes.sum():,} (groups: {len(sizes):,}). Each "
                "group stays in one set and counts as one photograph.")
    return said + [BY_NATURE] * by_nature


def _counts(photographs: Dataset, table: pd.DataFrame) -> list[str]:
    """Classes with few photographs, and classes of very different size."""
    folders, said = photographs.class_folders, []
    counts = np.bincount(photographs.labels[table["hash"] != ""], minlength=len(folders))
    few = [f"{folders[label]} has {counts[label]} photograph{'' if counts[label] == 1 else 's'}"
           for label in np.argsort(counts, kind="stable") if counts[label] < FEW]
    if few:
        said.append(f"{listed(few)}. Training wants {FEW} or more of each class, and a believable test many "
                    "more.")
    if counts.max() > 3 * max(counts.min(), 1):
        said.append(f"The largest class has {counts.max()} photographs, the smallest {counts.min()}: look "
                    "at the recall of each class, not at the accuracy alone.")
    return said
