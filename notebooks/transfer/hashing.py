"""Which pictures look alike: a hash of 64 bits for each, and a quick search for close ones (lesson 01).

It sees pixels and hashes only, no files and no classes.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd

NEAR_DUPLICATE_BITS = 6  # of 64; chosen by looking at the pairs found in Animals-10
FEW_VALUES = 10_000  # up to here it is quicker to compare all with all


def perceptual_hash(pixels: np.ndarray) -> str:
    """The signs of a picture's lowest frequencies, as 16 hexadecimal digits.

    Another size, another compression or a slight change of colour leaves it nearly the same. It is
    bit for bit the PHash of OpenCV's img_hash, which not every OpenCV package has.

    Args:
        pixels: (height, width, 3) uint8 RGB.
    """
    from scipy.fft import dctn

    # In whole numbers, as OpenCV's INTER_LINEAR_EXACT and its grey conversion (weights of 15 bits).
    top, bottom, down = _neighbours(pixels.shape[0])
    left, right, across = _neighbours(pixels.shape[1])
    across, down = across[None, :, None], down[:, None, None]
    above, below = (pixels[rows][:, left] * (256 - across) + pixels[rows][:, right] * across
                    for rows in (top, bottom))
    small = (above * (256 - down) + below * down + 2**15) >> 16
    grey = (small @ np.array([9798, 19235, 3735]) + 2**14) >> 15
    # A constant changes only the first frequency, which is not used; so a flat picture is exactly 0.
    frequencies = dctn((grey - grey[0, 0]).astype(float), norm="ortho")[:8, :8]
    frequencies[0, 0] = 0
    return np.packbits(frequencies > frequencies.mean(), bitorder="little").tobytes().hex()


def _neighbours(size: int, new: int = 32) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each new pixel the two old ones that it lies between, and the second's weight of 256."""
    place = np.maximum((np.arange(new) + 0.5) * size / new - 0.5, 0)
    before = np.minimum(place.astype(int), size - 1)
    return before, np.minimum(before + 1, size - 1), np.rint((place - before) * 256).astype(int)


def near_duplicates(table: pd.DataFrame, bits: int = NEAR_DUPLICATE_BITS) -> np.ndarray:
    """Pairs of rows whose perceptual hashes differ in at most `bits` of 64 bits, as (pairs, 2).

    Args:
        table: what `audit.examine` says.
        bits: 0 to 64.

    Raises:
        ValueError: `bits` is no such number.
    """
    readable = np.flatnonzero(table["hash"] != "")
    found = [np.sort(pairs, axis=0) for pairs in _alike(_numbers(table["hash"].iloc[readable]), bits)]
    first, second = np.concatenate([np.zeros((2, 0), int), *found], axis=1)
    order = np.argsort(first * len(table) + second)
    return np.stack([readable[first[order]], readable[second[order]]], axis=1)


def clusters(hashes, bits: int) -> np.ndarray:
    """(n,) numbers, equal for hashes that differ in at most `bits` bits or are joined by a chain of such.

    A thousand equal pictures have half a million pairs; these are never all held.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    values, back = np.unique(_numbers(hashes), return_inverse=True)
    number, links = np.arange(len(values)), np.zeros((2, 0), int)

    def joined() -> np.ndarray:
        graph = coo_array((np.ones(links.shape[1]), tuple(number[links])), shape=(len(values),) * 2)
        return connected_components(graph, directed=False)[1][number]

    for pairs in _alike(values, bits):
        new = pairs[:, number[pairs[0]] != number[pairs[1]]]
        links = np.concatenate([links, new], axis=1) if new.size else links
        if links.shape[1] > len(values):
            number, links = joined(), links[:, :0]
    return joined()[back] if len(values) else back


def copies(table: pd.DataFrame, others: pd.DataFrame, bits: int | None) -> tuple[np.ndarray, np.ndarray]:
    """For each row one of the others with the same bytes, and one that looks alike: (n,), -1 for none.

    Args:
        table: (n rows) what `audit.examine` says.
        others: the same of other photographs.
        bits: as of `near_duplicates`; None looks at bytes only.
    """
    seen, alike = np.flatnonzero(others["hash"] != ""), np.full(len(table), -1)
    first = dict(zip(others["sha256"].iloc[seen[::-1]], seen[::-1].tolist()))
    same = np.array([first.get(digest, -1) for digest in table["sha256"]], dtype=int)
    if bits is not None:
        mine = np.flatnonzero(table["hash"] != "")
        found = _partners(_numbers(table["hash"].iloc[mine]), _numbers(others["hash"].iloc[seen]), bits)
        alike[mine] = np.append(seen, -1)[found]
    return same, alike


def _partners(values: np.ndarray, others: np.ndarray, bits: int) -> np.ndarray:
    """(n,) for each value the position of one of the others that is close, or -1."""
    distinct, back = np.unique(np.concatenate([values, others]), return_inverse=True)
    where = np.full(len(distinct), -1)
    where[back[len(values):][::-1]] = np.arange(len(others))[::-1]  # the first of equal ones
    found = where.copy()
    for pairs in _alike(distinct, bits):
        for one, other in (pairs, pairs[::-1]):
            new = (found[one] < 0) & (where[other] >= 0)
            found[one[new]] = where[other[new]]
    return found[back[:len(values)]]


def checked(bits) -> int:
    """The number of bits, where it is one.

    Raises:
        ValueError: it is no whole number from 0 to 64.
    """
    if isinstance(bits, bool | np.bool_) or not isinstance(bits, int | np.integer) or not 0 <= bits <= 64:
        raise ValueError("how many of 64 bits may differ between pictures that count as alike is a whole "
                         f"number from 0 to 64, not {bits!r}")
    return int(bits)


def _numbers(hashes) -> np.ndarray:
    return np.array([int(digits, 16) for digits in hashes], dtype=np.uint64)


def _alike(values: np.ndarray, bits: int) -> Iterator[np.ndarray]:
    """Positions of close values, (2, k) at a time, each pair once.

    Cut into bits + 1 bands, two values that differ in no more than `bits` bits agree in one band at
    least. So only those are compared that agree in a band: neighbours, once sorted by it.
    """
    bits = checked(bits)
    many = len(values) > FEW_VALUES and bits <= 12  # otherwise one empty band: all are compared
    edges = [64 * band // (bits + 1) for band in range(bits + 2)] if many else [0, 0]
    bands = [np.uint64((1 << high) - (1 << low)) for low, high in zip(edges, edges[1:])]
    for number, band in enumerate(bands):
        order = np.argsort(values & band, kind="stable")
        ordered = values[order]
        end = np.searchsorted(ordered & band, ordered & band, side="right")
        here, step = np.arange(len(values)), 1
        while len(here := here[here + step < end[here]]):
            differing = ordered[here] ^ ordered[here + step]
            close = here[np.bitwise_count(differing) <= bits]
            for earlier in bands[:number]:  # found there already
                close = close[(ordered[close] ^ ordered[close + step]) & earlier != 0]
            if len(close):
                yield np.stack([order[close], order[close + step]])
            step += 1
