"""The hash is the one that OpenCV made, and the quick search finds what a slow one finds."""

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from transfer import ROOT, hashing
from transfer.pipeline import decode

HASHES = Path(__file__).with_name("hashes")  # made by OpenCV 5.0's PHash
ANIMALS10 = ROOT.parent / "shared" / "animals10" / "raw-img"


def of_the_drawings() -> dict[str, str]:
    with open(HASHES / "mini.csv", encoding="utf-8", newline="") as table:
        return {row["file"]: row["hash"] for row in csv.DictReader(table)}


def of_the_photographs() -> dict[str, str]:
    """Of the 5,000 on which the lessons' figures were measured, in the order of the results' list."""
    stored = json.loads((ROOT / "data" / "results" / "animals10.json").read_text())
    return dict(zip(stored["dataset"]["files"], (HASHES / "animals10.txt").read_text().split(), strict=True))


def table_of(values) -> pd.DataFrame:
    return pd.DataFrame({"hash": ["" if value is None else f"{int(value):016x}" for value in values]})


def related(count: int, seed: int) -> pd.DataFrame:
    """Hashes in families that differ in a few bits, some rows without."""
    random = np.random.default_rng(seed)
    values = random.choice(random.integers(0, 2**63, max(1, count // 6), dtype=np.uint64), count)
    for _ in range(5):
        values = values ^ (np.uint64(1) << random.integers(0, 64, count, dtype=np.uint64))
    return table_of([None if random.random() < 0.05 else value for value in values])


def slowly(table: pd.DataFrame, bits: int) -> list[tuple[int, int]]:
    values = [(row, int(digits, 16)) for row, digits in enumerate(table["hash"]) if digits]
    return [(one, other) for place, (one, first) in enumerate(values)
            for other, second in values[place + 1:] if (first ^ second).bit_count() <= bits]


def test_hashes_of_the_drawings_are_those_that_opencv_made():
    hashes = of_the_drawings()
    root = ROOT / "data" / "mini"
    assert {file: hashing.perceptual_hash(decode(str(root / file))) for file in hashes} == hashes


@pytest.mark.skipif(not ANIMALS10.is_dir(), reason="the 5,000 photographs are not here")
def test_hashes_of_photographs_are_those_that_opencv_made():
    every = list(of_the_photographs().items())
    for file, digits in every[::25]:
        assert hashing.perceptual_hash(decode(str(ANIMALS10 / file))) == digits, file


def test_sizes_and_shades_at_the_edges_are_hashed_too():
    for size in ((1, 1), (1, 50), (31, 33), (64, 64), (3000, 20)):
        for shade in (0, 77, 255):  # a flat picture has no frequencies
            assert hashing.perceptual_hash(np.full((*size, 3), shade, "uint8")) == "0" * 16
    half = np.zeros((40, 40, 3), "uint8")
    half[:, 20:] = 255
    turned = [hashing.perceptual_hash(np.ascontiguousarray(np.rot90(half, turns))) for turns in range(4)]
    assert len(set(turned)) == 4
    assert hashing.perceptual_hash(np.asarray(Image.fromarray(half).resize((90, 70)))) == turned[0]


@pytest.mark.parametrize("few", [0, 10_000])  # in bands, and all with all
@pytest.mark.parametrize("bits", [0, 1, 6, 12, 13, 64])
def test_pairs_are_those_of_a_slow_search_in_the_same_order(few, bits, monkeypatch):
    monkeypatch.setattr(hashing, "FEW_VALUES", few)
    for count in (0, 1, 2, 120):
        table = related(count, bits)
        pairs = hashing.near_duplicates(table, bits)
        assert pairs.shape == (len(pairs), 2) and [tuple(pair) for pair in pairs] == slowly(table, bits)
        cluster = hashing.clusters(table["hash"][table["hash"] != ""], bits)
        rows = np.flatnonzero(table["hash"] != "")
        number = dict(zip(rows, cluster))
        assert all(number[one] == number[other] for one, other in pairs)
        assert len(set(cluster)) == len(rows) - joins(pairs)


def joins(pairs) -> int:
    """How many of the pairs join two groups that were apart."""
    leader = {}

    def of(one):
        while one in leader:
            one = leader[one]
        return one

    count = 0
    for one, other in pairs:
        if of(one) != of(other):
            leader[of(one)] = of(other)
            count += 1
    return count


def test_partners_in_another_table_are_close_or_none():
    table, others = related(60, 1), related(60, 1).iloc[::-1].reset_index(drop=True)
    for one in (table, others):
        one["sha256"] = [f"{number}{one is table}" for number in range(60)]
    others.loc[5, "sha256"] = table["sha256"][7]
    others.loc[5, "hash"] = table.loc[7, "hash"] = "00000000ffffffff"
    same, alike = hashing.copies(table, others, 4)
    assert same[7] == 5 and (np.delete(same, 7) == -1).all()
    for mine, found in zip(table["hash"], alike):
        close = [row for row, digits in enumerate(others["hash"])
                 if mine and digits and (int(mine, 16) ^ int(digits, 16)).bit_count() <= 4]
        assert found in close or (found == -1 and not close)
    assert (hashing.copies(table, others, None)[1] == -1).all()


def test_ten_thousand_blank_pictures_are_one_cluster_at_once():
    assert len(set(hashing.clusters(["0" * 16] * 10_000, 6))) == 1


@pytest.mark.parametrize("bits", [-1, 65, 2.0, "6", None, True, float("nan")])
def test_what_is_no_number_of_bits_is_refused(bits):
    for use in (hashing.near_duplicates, lambda table, bits: hashing.clusters(table["hash"], bits)):
        with pytest.raises(ValueError, match="0 to 64"):
            use(table_of([1, 2]), bits)
