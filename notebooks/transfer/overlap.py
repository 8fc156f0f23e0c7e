"""Photographs of a test folder that are in the training folder too, as a file or as a picture (lesson 07).

It reads no file: what it needs to know of the photographs, `audit.examine` has found out.
"""

import numpy as np
import pandas as pd

from .advice import SHOWN
from .datasets import Dataset
from .files import printable
from .hashing import copies


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
    kept, broken, same, pairs = kept.copy(), int((~kept).sum()), 0, []
    for other, found in others:
        for by_bytes, partner in zip((True, False), copies(table, found, bits)):
            for one in np.flatnonzero(kept & (partner >= 0)):
                kept[one] = False
                same += by_bytes
                pairs.append(f"{test.root.name}/{test.files[one]} {'is' if by_bytes else 'looks like'} "
                             f"{other.root.name}/{other.files[partner[one]]}")
    said = _said(len(test), same, len(pairs) - same)
    if pairs:
        print(f"{said}. They are left out of the test:", *map(printable, pairs[:SHOWN]), sep="\n  ")
        print(f"  and {len(pairs) - SHOWN} more\n" if len(pairs) > SHOWN else "", end="")
    if lost := sorted(set(test.labels.tolist()) - set(test.labels[kept].tolist())):
        names = " of " + ", ".join(test.class_folders[label] for label in lost) if kept.any() else ""
        why = [said] * bool(pairs) + [f"{broken} cannot be read"] * bool(broken)
        remedy = ("; for pictures alike by nature (a fixed camera), compare bytes only: bits=None "
                  "(train.py: --alike-bits off)") if len(pairs) > same else ""
        raise ValueError(f"nothing{printable(names)} is left to test on: {' and '.join(why)}. Give test "
                         f"photographs that are not trained on{remedy}.")
    if not len(test):
        raise ValueError("there are no test photographs")
    return test.select(kept)


def _said(count: int, same: int, alike: int) -> str:
    how = [f"{same} with the same bytes"] * bool(same) + [f"{alike} that look alike"] * bool(alike)
    return f"{same + alike} of {count} test photographs are in the training folder too ({', '.join(how)})"
