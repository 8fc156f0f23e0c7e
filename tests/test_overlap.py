"""What a test folder shares with the training folder by its groups; copies are test_audit's affair."""

import numpy as np
import pytest
from test_splits import made_up
from transfer import overlap


def pair() -> list:
    """Two folders of other pictures whose files have the same names."""
    both = [made_up({"a": [1] * 4, "b": [1] * 4}, seed=seed) for seed in (1, 2)]
    return [(dataset, table.assign(sha256=f"{number}-" + table["file"]))
            for number, (dataset, table) in enumerate(both)]


def left(test, train) -> list[int]:
    """The positions of the test photographs that stay."""
    kept = overlap.leave_out(*test, np.ones(len(test[0]), bool), [train], None)
    return [test[0].files.tolist().index(file) for file in kept.files]


def test_a_named_group_in_both_folders_is_left_out_of_the_test_and_said(capsys):
    test, train = pair()
    test[0].groups[[0, 1, 4]] = ["rex", "tom", "new"]
    train[0].groups[[2, 7]] = ["rex", "tom"]
    assert left(test, train) == [2, 3, 4, 5, 6, 7]
    said = capsys.readouterr().out
    assert "2 of 8 test photographs are in the training folder too (2 of a group in SOURCES.csv" in said
    assert f"/{test[0].files[1]} is of the same group as nowhere/{train[0].files[7]}" in said


def test_files_of_one_name_and_numbers_of_a_split_are_no_named_groups(capsys):
    test, train = pair()
    assert len(left(test, train)) == 8
    train[0].groups[0] = test[0].files[1]  # named, but in the test it is only the file's own
    assert len(left(test, train)) == 8
    numbered = np.arange(8)
    for one in test, train:
        object.__setattr__(one[0], "groups", numbered)
    assert len(left(test, train)) == 8 and not capsys.readouterr().out


def test_where_groups_leave_nothing_the_remedy_speaks_of_them():
    test, train = pair()
    test[0].groups[:4] = train[0].groups[0] = "1"
    with pytest.raises(ValueError, match="nothing of a is left.*4 of a group.*does not mean the same"):
        left(test, train)
