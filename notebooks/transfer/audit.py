"""Look at every photograph before trusting the set, then split it (lesson 01).

It sets damaged files aside by name and never deletes or changes one.
"""

import hashlib
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageStat
from tqdm import tqdm

from . import ROOT, catalogue, home, images, kinds, overlap, write_whole
from .advice import TINY_PIXELS, advice, by_reason, listed  # noqa: F401  lessons look for it here
from .datasets import Dataset
from .files import alone, digest, printable
from .hashing import NEAR_DUPLICATE_BITS, near_duplicates, perceptual_hash  # noqa: F401
from .splits import SHARES, deal, groups  # noqa: F401

DARK = 17  # of 255: 12 bits in a colour file of 16 bits, of which Pillow reads the upper 8
BLANK = 1  # grey levels: a picture that varies less, by its standard deviation, shows nothing


def examine(photographs: Dataset) -> pd.DataFrame:
    """Decode every file and say what it is. Files examined before and unchanged are not read again.

    Returns:
        One row per photograph, in its order: file, bytes, changed (nanoseconds), width and height
        (pixels), mode (Pillow's: RGB, L, CMYK …), white (of 16-bit grey: 255, 511 … 65535, which hardly a
        pixel exceeds; otherwise 0), hash (perceptual, 16 hexadecimal digits), sha256 (of the bytes) and
        problem: "", "tiny", "dark", "blank" or "unreadable: …". What is unreadable is looked at again
        each time, because the reason may have gone.
    """
    kept = home("audit", f"{identity(photographs)}-examined.csv")
    keys = [(file, *_state(path)) for file, path in zip(photographs.files.tolist(), photographs.paths)]

    def unknown() -> list[tuple]:
        return [key for key in keys if known.get(key[0], ())[:3] != key]

    known = catalogue.read(kept)
    if unknown():
        with alone(Path(f"{kept}.lock"), "looks at the same photographs"):  # then they are known
            known = catalogue.read(kept)
            _decode(photographs.root, unknown(), known, kept)
    return catalogue.as_frame([known[key[0]] for key in keys])


def _decode(root: Path, todo: list[tuple], known: dict[str, tuple], kept: Path) -> None:
    """Look at these files, and keep what is found; interrupted, what has been decoded all the same."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow leaves the interpreter free meanwhile
        rows = pool.map(lambda key: (*key, *_examine_one(root / key[0])), todo)
        try:
            for row in tqdm(rows, total=len(todo), desc="decoding", unit=" files", file=sys.stdout,
                            disable=not todo):
                known[row[0]] = row
        finally:
            pool.shutdown(cancel_futures=True)
            if any(catalogue.is_kept(known.get(key[0])) for key in todo):
                catalogue.write(kept, known)


def _state(path: str) -> tuple[int, int]:
    """Size and time of the last change; zeros where the disk does not say."""
    try:
        found = os.stat(path)
    except OSError:
        return 0, 0
    # A copy may keep the time of the original; that its own entry was changed is told by the other.
    return found.st_size, max(found.st_mtime_ns, found.st_ctime_ns)


def _examine_one(path: Path) -> tuple:
    """Width, height, mode, white, hash, sha256 and problem."""
    try:
        pixels, about = images.look(str(path))
        content = digest(path)
        first = [about[key] for key in ("width", "height", "mode", "white")]
        if max(ImageStat.Stat(Image.fromarray(pixels)).stddev) < BLANK:  # alike are those of the same bytes
            return *first, content[:16], content, "blank"
        problem = "tiny" if min(first[:2]) < TINY_PIXELS else "dark" if pixels.max() < DARK else ""
        return *first, perceptual_hash(pixels), content, problem
    except Exception as error:  # whatever is wrong with the file, its name and this go on the list
        return 0, 0, "", 0, "", "", f"unreadable: {_reason(error, path)}"


def _reason(error: Exception, path: Path) -> str:
    text = str(error).removeprefix(f"cannot read the image {path}:")
    text = text if isinstance(error, ValueError) else kinds.reason(str(path), error)
    for named in (f": {str(path)!r}", f" {str(path)!r}"):  # so equal reasons can be counted
        text = text.replace(named, "")
    return printable(" ".join(text.replace(str(path), path.name).split()))[:300]


def readable(table: pd.DataFrame) -> np.ndarray:
    """(n,) booleans from what `examine` says; the files that are set aside are printed by name."""
    for files, problem in by_reason(table):
        print(f"set aside: {printable(listed(files))} ({problem})")
    return ~table["problem"].str.startswith("unreadable").to_numpy(bool)


def undamaged(photographs: Dataset) -> Dataset:
    """Those that can be decoded, with their `white`; the others are printed by name."""
    table = examine(photographs)
    return replace(photographs, white=_white(table)).select(readable(table))


def _white(*tables: pd.DataFrame) -> int:
    """What is white in 16-bit grey of these photographs: the brightest one's; 0 where there is none."""
    return max((int(table["white"].max()) for table in tables if len(table)), default=0)


def split(photographs: Dataset, seed: int = 0, shares: dict[str, float] = SHARES,
          alike_bits: int | None = NEAR_DUPLICATE_BITS) -> tuple[Dataset, ...]:
    """Train, validation and test: about 70, 15 and 15 % of each class, no group in two of them.

    The same files, shares, bits and seed give the same split. Unreadable files are left out and
    named. Each set gets something of each class; where groups are so large that the shares cannot be
    kept, the largest is for training. The split is written down in `splits/` below TRANSFER_HOME. The
    `groups` of the sets are those that were kept together, and their `white` is that of the whole.

    Args:
        photographs: to be dealt out.
        seed: of the dealing.
        shares: what each set but train gets; without "test", it is left out (where there is a
            folder of test photographs already).
        alike_bits: how many of 64 bits may differ between pictures that stay together because they
            look alike; None: only files with the same bytes do, and what SOURCES.csv names.

    Raises:
        ValueError: some classes have too few groups (the message names all of them), or the shares
            or bits are none.
    """
    table = examine(photographs)
    readable(table)  # named even where the dealing fails
    part, group = deal(photographs, table, seed, shares, alike_bits)
    names = [photographs.class_folders[label] for label in photographs.labels]
    rows = list(zip(photographs.files.tolist(), part, group.tolist(), names))
    given = repr((photographs.files.tolist(), list(shares.items()), alike_bits))  # a subset's is another file
    given = hashlib.sha256(given.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    path = home("splits", f"{identity(photographs)}-{given}-seed{seed}.csv")
    text = catalogue.as_csv(["file", "part", "group", "label"], rows)
    if not path.is_file() or path.read_text("utf-8", "surrogateescape") != text:  # it may be a teacher's
        write_whole(path, text)
    grouped = replace(photographs, groups=group, white=_white(table))
    return tuple(grouped.select(part == name) for name in ("train", "validation", "test")
                 if name in ("train", *shares))


def without_copies(test: Dataset, *others: Dataset, bits: int | None = NEAR_DUPLICATE_BITS) -> Dataset:
    """The test photographs that are in none of the other sets, not even as another file that looks alike
    (in another size, compression or brightness; mirrored, turned and cropped copies are not found).

    What is left out is counted, and the first pairs are named; so is what cannot be read.

    Args:
        test: what a model is to be tested on.
        others: what it learns from, in whatever folders.
        bits: how many of 64 bits may differ between pictures that look alike; None: only files with
            the same bytes count as copies.

    Raises:
        ValueError: nothing is left of the test set, or of one of its classes.
    """
    table = examine(test)
    seen = [(other, examine(other)) for other in others]
    white = _white(*(found for _, found in seen)) or _white(table)  # as the model will have learned it
    test = replace(test, white=white)
    return overlap.leave_out(test, table, readable(table), seen, bits)


def identity(photographs: Dataset) -> str:
    """A name that only this folder has, for what is kept about it; of ours the same in every clone."""
    root = photographs.root.resolve()
    root = root.relative_to(ROOT) if root.is_relative_to(ROOT) else root
    place = hashlib.sha256(os.fsencode(root)).hexdigest()[:8]
    return f"{photographs.name[:40]}-{place}"
