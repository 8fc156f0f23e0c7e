"""How photographs are dealt: nothing empty without a word, the stored splits, and large sets in time."""

import json
import re
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_hashing import of_the_photographs
from transfer import ROOT, datasets, hashing, splits


def made_up(sizes: dict[str, list[int]], unreadable: int = 0, seed: int = 0):
    """A data set of groups of so many alike pictures in each class, and its table; nothing is on disk."""
    random = np.random.default_rng(seed)
    rows = [(f"{name}/{number}-{one:03d}.jpg", label, f"{int(digits):016x}")
            for label, (name, groups) in enumerate(sorted(sizes.items()))
            for number, (size, digits) in enumerate(zip(groups, random.integers(0, 2**63, len(groups))))
            for one in range(size)]
    files, labels, hashes = zip(*rows)
    dataset = datasets.Dataset("made-up", Path("/nowhere"), np.array(files), np.array(labels),
                               tuple(sorted(sizes)), np.array(files))
    table = pd.DataFrame({"file": files, "hash": hashes, "sha256": files, "problem": ""})
    table.loc[:unreadable - 1, ["hash", "problem"]] = "", "unreadable: for a test"
    return dataset, table


def counts(dataset, part, name: str) -> list[int]:
    """How many photographs of each class are in this set."""
    return np.bincount(dataset.labels[part == name], minlength=len(dataset.class_folders)).tolist()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("groups, expected", [
    ([10, 10, 10], (10, 10, 10)), ([18, 1, 1], (18, 1, 1)), ([1, 1, 18], (18, 1, 1)),
    ([17, 1, 1, 1], (17, 2, 1)), ([1, 1, 1], (1, 1, 1)), ([10] * 5, (30, 10, 10)), ([5, 4, 3], (5, 4, 3))])
def test_large_groups_leave_no_set_empty(groups, expected, seed):
    dataset, table = made_up({"a": groups, "b": [1] * 20})
    part, group = splits.deal(dataset, table, np.int64(seed))
    found = [counts(dataset, part, name)[0] for name in ("train", "test", "validation")]
    assert found[0] == expected[0] and sorted(found[1:]) == sorted(expected[1:])
    assert counts(dataset, part, "train")[1] == 14
    assert all(len(set(part[group == one])) == 1 for one in np.unique(group))


@pytest.mark.parametrize("shares, sets", [
    ({"validation": 0.9}, 2), ({"test": 0.5}, 2), ({"validation": 0.01}, 2),
    ({"test": 0.49, "validation": 0.5}, 3), ({}, 1)])
def test_every_set_gets_something_of_every_class(shares, sets):
    random = np.random.default_rng(0)
    for seed in range(20):
        dataset, table = made_up({name: random.integers(1, 9, random.integers(sets, 6)).tolist()
                                  for name in "abc"}, seed=seed)
        part, _ = splits.deal(dataset, table, seed, shares)
        assert all(min(counts(dataset, part, name)) > 0 for name in ("train", *shares))
        assert len(set(part)) == sets


def test_one_sentence_names_all_classes_that_are_too_small_and_says_why():
    dataset, table = made_up({"few": [1, 1], "alike": [30], "broken": [1, 1, 1, 1], "good": [1] * 9})
    table.loc[dataset.labels == 1, ["hash", "problem"]] = "", "unreadable: for a test"
    with pytest.raises(ValueError) as error:
        splits.deal(dataset, table)
    said = str(error.value)
    assert "'few' has 2 distinct photographs." in said and "\n" not in said and "good" not in said
    assert "'alike' has 1 distinct photograph (30 in all, but too alike)" in said
    assert "'broken' has 0 distinct photographs (4 more cannot be read)" in said
    assert "Add photographs" in said and "None" in said and "--alike-bits" in said
    with pytest.raises(ValueError) as error:
        splits.deal(*made_up({"few": [1, 1], "good": [1] * 9}))
    assert "alike" not in str(error.value)  # where it would not help
    part, _ = splits.deal(*made_up({"alike": [30], "good": [1] * 9}), alike_bits=None)
    assert sorted(set(part)) == ["test", "train", "validation"]


def test_120_classes_of_which_seven_are_small_are_named_at_once():
    dataset, table = made_up({f"dog{number:03d}": [1] if number % 18 == 5 else [1] * 12
                              for number in range(120)})
    with pytest.raises(ValueError) as error:
        splits.deal(dataset, table)
    assert re.findall(r"dog\d+", str(error.value)) == [f"dog{number:03d}" for number in range(5, 120, 18)]


def test_a_group_across_classes_is_in_one_set():
    dataset, table = made_up({"a": [1] * 12, "b": [1] * 12})
    table.loc[20, "hash"] = table.loc[3, "hash"]
    for seed in range(5):
        part, group = splits.deal(dataset, table, seed)
        assert part[3] == part[20] and group[3] == group[20]


def test_looks_switched_off_the_same_bytes_and_named_groups_still_hold():
    dataset, table = made_up({"a": [6], "b": [1] * 6})
    table.loc[1, "sha256"] = table.loc[0, "sha256"]
    dataset.groups[[2, 3]] = "one animal"
    for bits, expected in ((None, 4), (0, 1), (64, 1)):
        assert len(set(splits.groups(dataset, table, bits)[:6])) == expected
    with_unreadable = table.assign(hash="", sha256="", problem="unreadable: for a test")
    assert len(set(splits.groups(dataset, with_unreadable, None))) == 11  # no bytes are not the same bytes


@pytest.mark.parametrize("bits", [-1, 65, 6.5, "off", True])
def test_bits_that_are_none_are_refused(bits):
    with pytest.raises(ValueError, match="0 to 64"):
        splits.deal(*made_up({"a": [1] * 9, "b": [1] * 9}), alike_bits=bits)


@pytest.mark.parametrize("seed", [1.5, None, "0", -1, True, [1]])
def test_a_seed_that_is_none_is_refused(seed):
    with pytest.raises(ValueError, match="seed is a whole number from 0"):
        splits.deal(*made_up({"a": [1] * 9, "b": [1] * 9}), seed)


@pytest.mark.parametrize("shares", [
    {"test": 0}, {"test": -0.1}, {"test": 0.5, "validation": 0.5}, {"test": 1}, {"holdout": 0.2},
    {"test": float("nan")}, {"test": "0.2"}, 0.2])
def test_shares_that_are_none_are_refused(shares):
    with pytest.raises(ValueError, match="shares are numbers above 0 for test and validation"):
        splits.deal(*made_up({"a": [1] * 9, "b": [1] * 9}), shares=shares)


def test_the_5000_photographs_are_dealt_as_they_were_measured(monkeypatch):
    """Their hashes are stored; that they are still made so is test_hashing's affair."""
    stored = json.loads((ROOT / "data" / "results" / "animals10.json").read_text())
    files, hashes = zip(*of_the_photographs().items())
    monkeypatch.setattr(hashing, "FEW_VALUES", 1000)
    folders = tuple(sorted(stored["dataset"]["classes"]))
    labels = np.array([folders.index(file.split("/")[0]) for file in files])
    dataset = datasets.Dataset("raw-img", Path("/nowhere"), np.array(files), labels, folders, np.array(files))
    table = pd.DataFrame({"file": files, "hash": hashes, "problem": ""})
    for seed, expected in stored["splits"].items():
        part, group = splits.deal(dataset, table, int(seed))
        assert np.flatnonzero(part == "test").tolist() == expected["test"]
        assert [(part == name).sum() for name in ("train", "validation")] == [
            expected["train"], expected["validation"]]
    assert len(set(group)) == 4908


def test_50000_photographs_in_100_classes_are_dealt_in_two_seconds():
    dataset, table = made_up({f"class{number:03d}": [1] * 500 for number in range(100)})
    start = time.process_time()
    part, group = splits.deal(dataset, table)
    assert time.process_time() - start < 2 and len(set(group)) == 50_000
    assert counts(dataset, part, "test") == [75] * 100


def test_ten_thousand_blank_pictures_are_refused_in_a_sentence_and_not_for_want_of_memory():
    start = time.process_time()
    with pytest.raises(ValueError, match="5000 in all, but too alike"):
        dataset, table = made_up({"a": [5000], "b": [5000]})
        splits.deal(dataset, table.assign(hash="0" * 16))
    assert time.process_time() - start < 2
