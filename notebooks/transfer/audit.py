"""Look at every photograph before trusting the set, then split it (lesson 01).

It sets damaged files aside by name and never deletes or changes one.
"""

import hashlib
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from . import home, write_whole
from .datasets import EXTENSIONS, Dataset
from .pipeline import decode, remedy

TINY_PIXELS = 64  # a shorter side below this holds less than the network's first stages look at
NEAR_DUPLICATE_BITS = 6  # of 64; chosen by looking at the pairs found in Animals-10
FEW = 20  # photographs of a class, below which to ask for more
SHARES = {"test": 0.15, "validation": 0.15}  # the rest is for training
COLUMNS = ["file", "bytes", "changed", "width", "height", "mode", "hash", "problem"]


def examine(photographs: Dataset) -> pd.DataFrame:
    """Decode every file and say what it is. Files examined before and unchanged are not read again.

    Returns:
        One row per photograph, in its order: file, bytes, width and height (pixels), mode
        (Pillow's: RGB, L, CMYK …), hash (perceptual, 16 hexadecimal digits) and problem: empty,
        "unreadable: …" or "tiny".
    """
    kept = home("audit", f"{identity(photographs)}.csv")
    known = {}
    if kept.exists():
        table = pd.read_csv(kept, keep_default_na=False, dtype={"hash": str})
        known = {(row.file, row.bytes, row.changed): row for row in table.itertuples(index=False)}
    state = [os.stat(path) for path in photographs.paths]
    keys = [(file, stat.st_size, stat.st_mtime_ns) for file, stat in zip(photographs.files, state)]
    todo = [key for key in keys if key not in known]
    with ThreadPoolExecutor() as pool:  # Pillow and OpenCV leave the interpreter free meanwhile
        rows = pool.map(lambda key: (*key, *_examine_one(photographs.root / key[0])), todo)
        rows = tqdm(rows, total=len(todo), desc="decoding", unit=" files", file=sys.stdout,
                    disable=not todo)
        known |= {row[:3]: row for row in rows}
    table = pd.DataFrame([tuple(known[key]) for key in keys], columns=COLUMNS)
    if todo:
        write_whole(kept, table.to_csv(index=False))
    return table


def _examine_one(path: Path) -> tuple:
    try:
        with Image.open(path) as image:
            mode = image.mode
        pixels = decode(str(path))
    except Exception as error:  # whatever is wrong with the file, its name and this go on the list
        return 0, 0, "", "", f"unreadable: {error.__cause__ or error}".replace(str(path), path.name)
    height, width = pixels.shape[:2]
    bits = cv2.img_hash.PHash_create().compute(pixels[..., ::-1].copy())
    return width, height, mode, bits.tobytes().hex(), "tiny" if min(width, height) < TINY_PIXELS else ""


def readable(table: pd.DataFrame) -> np.ndarray:
    """(n,) booleans from what `examine` says; the files that are set aside are printed by name."""
    broken = table["problem"].str.startswith("unreadable").to_numpy()
    for row in table[broken].itertuples():
        print(f"set aside: {row.file} ({row.problem})")
    return ~broken


def undamaged(photographs: Dataset) -> Dataset:
    """Those that can be decoded; the others are printed by name."""
    return photographs.select(readable(examine(photographs)))


def advice(photographs: Dataset, table: pd.DataFrame) -> list[str]:
    """What to mend before training, one sentence each; empty where nothing is wrong (lesson 08).

    Args:
        photographs: the data set.
        table: what `examine` says of it.
    """
    found = [f"{row.file}: {row.problem}. It is set aside; get it again or delete it."
             for row in table.itertuples() if row.problem.startswith("unreadable")]
    others = sorted(path.name for path in photographs.root.glob("*/*") if path.is_file()
                    and path.suffix.lower() not in EXTENSIONS and not path.name.startswith("."))
    found += [f"{name} is not read: {remedy(name) or 'not one of ' + ' '.join(EXTENSIONS)}"
              for name in others]
    pairs = near_duplicates(table)
    files, labels = photographs.files, photographs.labels
    found += [f"{files[a]} and {files[b]} look alike and have two classes: one of them is wrong."
              for a, b in pairs if labels[a] != labels[b]]
    if alike := sum(labels[a] == labels[b] for a, b in pairs):
        found.append(f"Pairs that look alike: {alike}. Each stays in one set and counts as one photograph.")
    counts = np.bincount(labels[table["hash"] != ""], minlength=len(photographs.class_folders))
    for folder, count in zip(photographs.class_folders, counts):
        if count < FEW:
            found.append(f"{folder} has {count} photographs. Training wants {FEW} or more, and a "
                         "believable test many more.")
    if counts.max() > 3 * max(counts.min(), 1):
        found.append(f"The largest class has {counts.max()} photographs, the smallest {counts.min()}: look "
                     "at the recall of each class, not at the accuracy alone.")
    return found


def near_duplicates(table: pd.DataFrame, bits: int = NEAR_DUPLICATE_BITS) -> np.ndarray:
    """Pairs of rows whose perceptual hashes differ in at most `bits` of 64 bits, as (pairs, 2).

    The hash is OpenCV's PHash: the signs of the picture's lowest frequencies, so another size,
    another compression or a slight change of colour leaves it nearly the same.
    """
    readable = np.flatnonzero(table["hash"] != "")
    raw = np.array([list(bytes.fromhex(digits)) for digits in table["hash"].iloc[readable]], "uint8")
    signs = np.unpackbits(raw.reshape(-1, 8), axis=1).astype("float32") * 2 - 1
    pairs = []
    for start in range(0, len(signs), 1024):
        distance = (64 - signs[start:start + 1024] @ signs.T) / 2
        first, second = np.nonzero(distance <= bits)
        first += start
        pairs += zip(first[first < second], second[first < second])
    return readable[np.array(pairs, dtype=int).reshape(-1, 2)]


def groups(photographs: Dataset, table: pd.DataFrame) -> np.ndarray:
    """(n,) group numbers: what shares a source group or is a near-duplicate shares a number."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    _, own = np.unique(photographs.groups, return_inverse=True)
    pairs = near_duplicates(table)
    links = coo_array((np.ones(len(pairs)), (own[pairs[:, 0]], own[pairs[:, 1]])),
                      shape=(own.max() + 1,) * 2)
    return connected_components(links, directed=False)[1][own]


def split(photographs: Dataset, seed: int = 0, shares: dict[str, float] = SHARES) -> tuple[Dataset, ...]:
    """Train, validation and test: about 70, 15 and 15 % of each class, no group in two of them.

    The same files and seed give the same split. Unreadable files are left out and named. The
    split is written down in `splits/` below TRANSFER_HOME. The `groups` of the three are those
    that were kept together.

    Args:
        photographs: to be dealt out.
        seed: of the dealing.
        shares: what each set but train gets; without "test", it is left out (where there is a
            folder of test photographs already).

    Raises:
        ValueError: a class has too few groups; the message names it.
    """
    table = examine(photographs)
    group = groups(photographs, table)
    broken = ~readable(table)
    part = np.full(len(photographs), "train", dtype=object)
    random = np.random.default_rng(seed)
    for label, folder in enumerate(photographs.class_folders):
        # A group across classes (a wrong label, mostly) goes with its first photograph.
        members = [np.flatnonzero((group == one) & ~broken) for one in np.unique(group)
                   if photographs.labels[np.flatnonzero(group == one)[0]] == label]
        members = [one for one in members if len(one)]
        if len(members) <= len(shares):
            raise ValueError(f"class {folder!r} has {len(members)} distinct photographs (or groups of alike "
                             f"ones); {len(shares) + 1} sets need at least {len(shares) + 1}. Add "
                             "photographs to it.")
        _deal(members, part, random, shares)
    part[broken] = ""
    table = pd.DataFrame({"file": photographs.files, "part": part, "group": group,
                          "label": [photographs.class_folders[i] for i in photographs.labels]})
    kind = "" if shares == SHARES else "-" + "-".join(f"{name}{share:g}" for name, share in shares.items())
    write_whole(home("splits", f"{identity(photographs)}-seed{seed}{kind}.csv"), table.to_csv(index=False))
    grouped = replace(photographs, groups=group)
    return tuple(grouped.select(part == name) for name in ("train", "validation", "test")
                 if name in ("train", *shares))


def _deal(members: list[np.ndarray], part: np.ndarray, random: np.random.Generator, shares: dict) -> None:
    """Deal one class's groups: test and validation each take what at least half fits into them."""
    room = {name: max(1, round(share * sum(map(len, members)))) for name, share in shares.items()}
    for one in random.permutation(len(members)):
        for name in room:
            if len(members[one]) / 2 <= room[name]:
                part[members[one]] = name
                room[name] -= len(members[one])
                break


def identity(photographs: Dataset) -> str:
    """A name that only this folder has, for what is kept about it."""
    place = hashlib.sha256(str(photographs.root).encode()).hexdigest()[:8]
    return f"{photographs.name}-{place}"
