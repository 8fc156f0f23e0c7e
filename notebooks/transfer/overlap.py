"""Photographs of a test folder that are in the training folder too: as a file, as a picture, or as another
of the same group in SOURCES.csv (lesson 07).

It reads no file: what it needs to know of the photographs, `audit.examine` has found out.
"""

import numpy as np
import pandas as pd

from .advice import SHOWN
from .datasets import Dataset
from .files import printable
from .hashing import copies

HOW = {"is": "with the same bytes", "looks like": "that look alike",
       "is of the same group as": "of a group in SOURCES.csv that is trained on"}


def leave_out(test: Dataset, table: pd.DataFrame, kept: np.ndarray,
              others: list[tuple[Dataset, pd.DataFrame]], bits: int | None) -> Dataset:
    """The test set without what is in another; what is left out is counted and named.

    Args:
        test: n photographs.
        table: what `examine` says of them.
        kept: (n,) booleans: which of them could be read.
        others: the other sets, each with its table.
        bits: as of `audit.without_copies`.

    Raises:
        ValueError: nothing is left, or nothing of a class.
    """
    kept, broken, counts, pairs = kept.copy(), int((~kept).sum()), dict.fromkeys(HOW, 0), []
    for other, found in others:
        for how, partner in zip(HOW, (*copies(table, found, bits), _of_one_group(test, other))):
            for one in np.flatnonzero(kept & (partner >= 0)):
                kept[one] = False
                counts[how] += 1
                pairs.append(f"{test.root.name}/{test.files[one]} {how} "
                             f"{other.root.name}/{other.files[partner[one]]}")
    how = ", ".join(f"{count} {HOW[one]}" for one, count in counts.items() if count)
    said = f"{len(pairs)} of {len(test)} test photographs are in the training folder too ({how})"
    if pairs:
        print(f"{said}. They are left out of the test:", *map(printable, pairs[:SHOWN]), sep="\n  ")
        print(f"  and {len(pairs) - SHOWN} more\n" if len(pairs) > SHOWN else "", end="")
    if lost := sorted(set(test.labels.tolist()) - set(test.labels[kept].tolist())):
        names = " of " + ", ".join(test.class_folders[label] for label in lost) if kept.any() else ""
        why = [said] * bool(pairs) + [f"{broken} cannot be read"] * bool(broken)
        remedy = ("; for pictures alike by nature (a fixed camera), compare bytes only: bits=None "
                  "(train.py: --alike-bits off)") * bool(counts["looks like"])
        remedy += ("; where a name in both SOURCES.csv does not mean the same, change it in "
                   "one") * bool(counts["is of the same group as"])
        raise ValueError(f"nothing{printable(names)} is left to test on: {' and '.join(why)}. Give test "
                         f"photographs that are not trained on{remedy}.")
    if not len(test):
        raise ValueError("there are no test photographs")
    return test.select(kept)


def _of_one_group(test: Dataset, other: Dataset) -> np.ndarray:
    """For each test photograph the first of another set that has its group, -1 where there is none.

    Only groups that a table names count; by default a group is the file itself.
    """
    first = {}
    for one in np.flatnonzero(_named(other)):
        first.setdefault(other.groups[one], one)
    return np.array([first.get(group, -1) if named else -1
                     for group, named in zip(test.groups, _named(test))], int)


def _named(photographs: Dataset) -> np.ndarray:
    if photographs.groups.dtype.kind != "U":  # `audit.split` numbers them anew
        return np.zeros(len(photographs), bool)
    return photographs.groups != photographs.files
