"""Deal photographs into sets, so that what belongs together stays together (lesson 01).

It reads no file: what it needs to know of the photographs, `audit.examine` has found out.
"""

import numpy as np
import pandas as pd

from .datasets import Dataset, check_whole
from .files import printable
from .hashing import NEAR_DUPLICATE_BITS, clusters

ONE_GROUP = "of one group (in SOURCES.csv, or of the same bytes)"
SHARES = {"test": 0.15, "validation": 0.15}  # the rest is for training


def groups(photographs: Dataset, table: pd.DataFrame,
           alike_bits: int | None = NEAR_DUPLICATE_BITS) -> np.ndarray:
    """(n,) group numbers: what shares a source group, or looks alike, shares a number.

    Args:
        photographs: the data set.
        table: what `audit.examine` says of it.
        alike_bits: how many of 64 bits may differ between pictures that look alike. Where all are
            alike by nature (a fixed camera, one part photographed again and again), a smaller number,
            or None: then only files with the same bytes count as alike.

    Raises:
        ValueError: `alike_bits` is neither None nor a whole number from 0 to 64.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not len(photographs):
        return np.zeros(0, int)
    named, own = np.unique(photographs.groups, return_inverse=True)
    readable = np.flatnonzero(table["hash"] != "")
    if alike_bits is not None:
        alike = clusters(table["hash"].iloc[readable], alike_bits)
    elif "sha256" in table:
        alike = np.unique(table["sha256"].iloc[readable].astype(str), return_inverse=True)[1]
    else:
        alike = np.arange(len(readable))
    _, first, of = np.unique(alike, return_index=True, return_inverse=True)
    links = own[readable], own[readable[first[of]]]  # each with the first that looks like it
    graph = coo_array((np.ones(len(readable)), links), shape=(len(named),) * 2)
    return connected_components(graph, directed=False)[1][own]


def deal(photographs: Dataset, table: pd.DataFrame, seed: int = 0, shares: dict[str, float] = SHARES,
         alike_bits: int | None = NEAR_DUPLICATE_BITS) -> tuple[np.ndarray, np.ndarray]:
    """For each photograph the set it goes to, (n,) names, "" where it is unreadable; and `groups`.

    Args:
        photographs: to be dealt out.
        table: what `audit.examine` says of them.
        seed: of the dealing.
        shares: what "test" and "validation" each get of every class, above 0; the rest is "train".
        alike_bits: as of `groups`.

    Raises:
        ValueError: a class has fewer groups than there are sets (the message names all such
            classes), or the shares or the seed are none.
    """
    _check(shares)
    check_whole("seed", seed)
    group = groups(photographs, table, alike_bits)
    broken = table["problem"].str.startswith("unreadable").to_numpy(bool)
    members = _by_class(photographs, group, broken)
    if few := [label for label, own in enumerate(members) if len(own) <= len(shares)]:
        alone = _by_class(photographs, groups(photographs, table, None), broken)
        raise ValueError(_too_few(photographs, few, members, alone, broken, len(shares) + 1))
    part, random = np.full(len(photographs), "train", dtype=object), np.random.default_rng(seed)
    part[broken] = ""
    for own in members:
        _deal_class(own, part, random, shares)
    return part, group


def _by_class(photographs: Dataset, group: np.ndarray, broken: np.ndarray) -> list[list[np.ndarray]]:
    """For each class its groups; each is the positions of its readable photographs.

    A group across classes (a wrong label, mostly) goes with its first photograph.
    """
    members = [[] for _ in photographs.class_folders]
    readable = np.flatnonzero(~broken)
    order = readable[np.argsort(group[readable], kind="stable")]
    for one in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
        if len(one):
            members[photographs.labels[one[0]]].append(one)
    return members


def _deal_class(members: list[np.ndarray], part: np.ndarray, random: np.random.Generator,
                shares: dict) -> None:
    """Deal one class's groups: test and validation each take what at least half fits into them."""
    sizes = [len(one) for one in members]
    wanted = {name: max(1, round(share * sum(sizes))) for name, share in shares.items()}
    order = random.permutation(len(members))
    room, dealt = dict(wanted), {}
    for one in order:
        dealt[one] = next((name for name in room if sizes[one] / 2 <= room[name]), "train")
        if dealt[one] != "train":
            room[dealt[one]] -= sizes[one]
    if len(set(dealt.values())) <= len(shares):  # the groups are large, and a set got none
        # The largest first, to the set that lacks the greatest part of what it wants: one that has
        # nothing yet lacks all of it, so each gets a group before any gets a second.
        wanted = {"train": sum(sizes) - sum(wanted.values())} | wanted
        got = dict.fromkeys(wanted, 0)
        for one in sorted(order, key=lambda one: -sizes[one]):
            dealt[one] = min(got, key=lambda name: (got[name] / max(wanted[name], 1), -wanted[name]))
            got[dealt[one]] += sizes[one]
    for one, name in dealt.items():
        part[members[one]] = name


def _check(shares: dict) -> None:
    known = isinstance(shares, dict) and set(shares) <= set(SHARES)
    numbers = known and all(isinstance(share, int | float | np.number) for share in shares.values())
    if not numbers or not all(share > 0 for share in shares.values()) or not sum(shares.values()) < 1:
        raise ValueError(f"shares are numbers above 0 for {' and '.join(SHARES)}, below 1 together (the rest "
                         f"is for training); leave out a set that is to get none. Not {shares!r}.")


def _too_few(photographs: Dataset, few: list[int], members: list, alone: list, broken: np.ndarray,
             sets: int) -> str:
    """What to say of all classes that cannot be dealt into so many sets, and what to do."""
    said = []
    for label in few:
        distinct, here = len(members[label]), photographs.labels == label
        count, unreadable = (here & ~broken).sum(), (here & broken).sum()
        why = []
        if count > distinct:
            alike = distinct < len(alone[label])
            why.append(f"{count} in all, but {'too alike' if alike else ONE_GROUP}")
        if unreadable:
            why.append(f"{unreadable} more cannot be read")
        said.append(f"{printable(photographs.class_folders[label])!r} has {distinct} distinct "
                    f"photograph{'' if distinct == 1 else 's'}" + (f" ({'; '.join(why)})" if why else ""))
    remedy = "Add photographs of other scenes"
    if any(len(members[label]) < len(alone[label]) for label in few):
        remedy += (", or, if they are alike by nature (a fixed camera), count fewer of them as alike: a "
                   "smaller alike_bits, or None (train.py: --alike-bits, lesson 8: ALIKE_BITS)")
    return (f"{sets} sets need at least {sets} distinct photographs of each class: {', '.join(said)}. "
            f"{remedy}.")
