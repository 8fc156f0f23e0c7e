"""Damaged files are found by name, alike pictures stay together, and the three sets are disjoint."""

import numpy as np
import pandas as pd
import pytest
from conftest import picture
from PIL import Image, ImageEnhance
from transfer import audit, datasets


def test_damaged_files_are_named_and_left_out_but_not_deleted(home, folder, capsys):
    victim = folder / "class1" / "03.jpg"
    victim.write_bytes(victim.read_bytes()[:900])
    (folder / "class2" / "empty.png").touch()
    photographs = datasets.from_folder(folder, "x")
    table = audit.examine(photographs)
    assert list(table[table["problem"] != ""]["file"]) == ["class1/03.jpg", "class2/empty.png"]
    parts = audit.split(photographs)
    assert sum(map(len, parts)) == 36 - 1
    assert not any("03.jpg" in file and "class1" in file for part in parts for file in part.files)
    assert "class1/03.jpg" in capsys.readouterr().out and victim.exists()


def test_only_changed_files_are_decoded_again(home, folder, monkeypatch):
    photographs = datasets.from_folder(folder, "x")
    first = audit.examine(photographs)
    seen, examine_one = [], audit._examine_one
    monkeypatch.setattr(audit, "_examine_one", lambda path: seen.append(path.name) or examine_one(path))
    pd.testing.assert_frame_equal(audit.examine(photographs), first)
    assert seen == []
    picture(999).save(folder / "class0" / "05.jpg")
    changed = audit.examine(photographs)
    assert seen == ["05.jpg"] and changed["hash"][5] != first["hash"][5]


def test_near_duplicates_are_found_and_others_are_not(home, folder):
    original = Image.open(folder / "class0" / "00.jpg")
    original.resize((70, 56)).save(folder / "class0" / "smaller.jpg", quality=60)
    ImageEnhance.Brightness(original).enhance(1.1).save(folder / "class0" / "brighter.png")
    photographs = datasets.from_folder(folder, "x")
    pairs = audit.near_duplicates(audit.examine(photographs))
    found = {frozenset(photographs.files[pair]) for pair in pairs}
    alike = ["class0/00.jpg", "class0/smaller.jpg", "class0/brighter.png"]
    assert found == {frozenset((a, b)) for a in alike for b in alike if a < b}


@pytest.mark.parametrize("seed", range(5))
def test_the_sets_share_no_file_and_no_group(home, seed):
    photographs = datasets.load("mini")
    group = dict(zip(photographs.files, audit.groups(photographs, audit.examine(photographs)),
                     strict=True))
    train, validation, test = audit.split(photographs, seed)
    assert len(train) + len(validation) + len(test) == len(photographs)
    for one, other in ((train, validation), (train, test), (validation, test)):
        assert not set(one.files) & set(other.files)
        assert not {group[f] for f in one.files} & {group[f] for f in other.files}
    for part, share in ((validation, 0.15), (test, 0.15)):
        counts = np.bincount(part.labels, minlength=10)
        assert counts.min() >= 1 and abs(len(part) / len(photographs) - share) < 0.06


def test_a_split_repeats_and_is_written_down(home):
    photographs = datasets.load("mini")
    first, second, other = (audit.split(photographs, seed) for seed in (3, 3, 4))
    assert [list(part.files) for part in first] == [list(part.files) for part in second]
    assert list(first[0].files) != list(other[0].files)
    written = pd.read_csv(next((home / "splits").glob("mini-*-seed3.csv")))
    assert list(written[written["part"] == "test"]["file"]) == list(first[2].files)


def test_a_large_balanced_set_is_split_70_15_15(home, tmp_path):
    for label in "ab":
        (tmp_path / "big" / label).mkdir(parents=True)
        for number in range(100):
            picture(1000 * ord(label) + number, (40, 40)).save(tmp_path / "big" / label / f"{number}.png")
    parts = audit.split(datasets.from_folder(tmp_path / "big", "big"))
    assert [list(np.bincount(part.labels)) for part in parts] == [[70, 70], [15, 15], [15, 15]]


def test_too_few_photographs_of_a_class_are_named(home, folder):
    for file in sorted((folder / "class2").iterdir())[2:]:
        file.unlink()
    with pytest.raises(ValueError, match="class2.*2 distinct"):
        audit.split(datasets.from_folder(folder, "x"))
