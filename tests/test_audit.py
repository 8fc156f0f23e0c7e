"""Damaged files are found by name, alike pictures stay together, and the three sets are disjoint."""

import os
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import picture
from PIL import Image, ImageEnhance
from transfer import audit, datasets, pipeline


@pytest.fixture
def looked_at(monkeypatch):
    """The names of the files that are looked at, as they are."""
    seen, examine_one = [], audit._examine_one
    monkeypatch.setattr(audit, "_examine_one", lambda path: seen.append(path.name) or examine_one(path))
    return seen


def kept_table(home):
    table, = (home / "audit").glob("*.csv")
    return table


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


def test_only_changed_files_are_decoded_again(home, folder, looked_at):
    photographs = datasets.from_folder(folder, "x")
    first = audit.examine(photographs)
    looked_at.clear()
    pd.testing.assert_frame_equal(audit.examine(photographs), first)
    assert looked_at == []
    picture(999).save(folder / "class0" / "05.jpg")
    changed = audit.examine(photographs)
    assert looked_at == ["05.jpg"] and changed["hash"][5] != first["hash"][5]
    assert changed["sha256"][5] != first["sha256"][5] and len(set(changed["sha256"])) == 36


def test_a_part_of_the_folder_keeps_what_is_known_of_the_rest(home, folder, looked_at):
    photographs = datasets.from_folder(folder, "x")
    audit.examine(photographs)
    picture(999).save(folder / "class0" / "05.jpg")
    audit.examine(photographs.only(["class0", "class1"]))
    looked_at.clear()
    audit.examine(photographs)
    assert looked_at == []


@pytest.mark.parametrize("error, said", [
    (OSError(5, "Input/output error"), "[Errno 5] Input/output error"),
    (PermissionError(13, "Permission denied"), "[Errno 13] Permission denied"),
    (MemoryError(), "not enough memory (MemoryError)")])
def test_a_failure_of_the_moment_is_not_kept(home, folder, monkeypatch, error, said):
    opened = Image.open

    def failing(path, *rest, **more):
        if "class1" in str(path):
            raise type(error)(*error.args, *[str(path)] * (len(error.args) == 2))
        return opened(path, *rest, **more)

    photographs = datasets.from_folder(folder, "x")
    with monkeypatch.context() as patched:
        patched.setattr(Image, "open", failing)
        table = audit.examine(photographs)
        assert (table["problem"][12:24] == f"unreadable: {said}").all()
        assert not any(table["problem"][:12])
        advice = [sentence for sentence in audit.advice(photographs, table) if "unreadable" in sentence]
    assert len(advice) == 1 and "7 more" in advice[0] and "tried again next time" in advice[0]
    assert "delete" not in advice[0]
    assert not any(audit.examine(photographs)["problem"])


def test_what_is_no_file_is_set_aside_and_not_waited_for(home, folder, capsys):
    os.mkfifo(folder / "class0" / "pipe.jpg")
    (folder / "class0" / "gone.jpg").symlink_to("nowhere.jpg")
    (folder / "class1" / "circle.jpg").symlink_to("circle.jpg")
    (folder / "class1" / "folder.jpg").mkdir()
    (folder / "class2" / "empty.jpg").touch()
    found = datasets.from_folder(folder, "x")
    strange = [f"class{label}/{name}.jpg" for label, name in enumerate(("pipe", "folder", "empty"))]
    strange += ["class0/gone.jpg", "class1/circle.jpg"]
    no_file, link = "no file but a folder, a pipe or a device", "a link to nothing"
    files = np.array(sorted({*found.files.tolist(), *strange}))
    photographs = replace(found, files=files, labels=np.array([int(file[5]) for file in files]), groups=files)
    problem = dict(zip(files.tolist(), audit.examine(photographs)["problem"]))
    assert [problem[file] for file in strange] == [f"unreadable: it is {what}" for what in (
        no_file, no_file, "empty: get it again", link, link)]
    assert sum(map(len, audit.split(photographs))) == 36
    assert "set aside: class0/pipe.jpg (unreadable: it is no file" in capsys.readouterr().out


ODD = ["line\nbreak.jpg", "carriage\rreturn.jpg", 'quo"te,comma.jpg', "\u2028.jpg",
       os.fsdecode(b"caf\xe9.jpg")]


def test_names_of_any_kind_are_kept_and_printed(home, folder, looked_at, capsys):
    for number, name in enumerate(ODD):
        picture(500 + number).save(folder / "class0" / "new.jpg")
        os.rename(folder / "class0" / "new.jpg", folder / "class0" / name)
    (folder / "class0" / os.fsdecode(b"torn\xff\n.jpg")).write_bytes(b"no picture")
    photographs = datasets.from_folder(folder, "x")
    table = audit.examine(photographs)
    looked_at.clear()
    pd.testing.assert_frame_equal(audit.examine(photographs), table)
    assert len(looked_at) == 1 and (table["problem"] != "").sum() == 1  # the torn one alone
    parts = audit.split(photographs)
    assert sum(map(len, parts)) == 41 and {f"class0/{name}" for name in ODD} <= {
        file for part in parts for file in part.files.tolist()}
    said = capsys.readouterr().out + "\n".join(audit.advice(photographs, table))
    said.encode()  # nothing that a terminal cannot show
    assert "set aside: class0/torn\\udcff\\n.jpg (unreadable" in said


@pytest.mark.parametrize("damage", ["a flipped byte", "garbage", "nothing", "another seal"])
def test_a_damaged_table_is_said_and_made_again(home, folder, looked_at, damage, capsys):
    photographs = datasets.from_folder(folder, "x")
    first = audit.examine(photographs)
    kept = kept_table(home)
    content = kept.read_bytes()
    if damage == "another seal":
        kept.with_name(f"{kept.name}.sha256").write_text("0" * 64)
    else:
        flipped = content.replace(b'"80"', b'"81"', 1)
        kept.write_bytes({"a flipped byte": flipped, "garbage": b"\xff,\n\x00", "nothing": b""}[damage])
    looked_at.clear()
    pd.testing.assert_frame_equal(audit.examine(photographs), first)
    assert len(looked_at) == 36 and "is damaged" in capsys.readouterr().out
    assert kept.read_bytes() == content
    looked_at.clear()
    assert len(audit.examine(photographs)) == 36 and looked_at == []


def test_two_that_look_at_once_decode_each_file_once(home, folder, looked_at):
    photographs, together = datasets.from_folder(folder, "x"), threading.Barrier(2)
    with ThreadPoolExecutor() as pool:  # a lock on a file holds between threads as between processes
        tables = list(pool.map(lambda _: together.wait() is None or audit.examine(photographs), range(2)))
    pd.testing.assert_frame_equal(*tables)
    assert len(looked_at) == 36


def test_what_was_decoded_before_an_interruption_is_kept(home, folder, monkeypatch, looked_at):
    photographs = datasets.from_folder(folder, "x")

    def interrupted(rows, **_):
        yield from (next(rows) for _ in range(10))
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(audit, "tqdm", interrupted)
        with pytest.raises(KeyboardInterrupt):
            audit.examine(photographs)
    looked_at.clear()
    audit.examine(photographs)
    assert len(looked_at) == 26


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


def test_a_split_of_a_part_is_another_file(home, folder):
    photographs = datasets.from_folder(folder, "x")
    audit.split(photographs)
    before = {path: path.read_bytes() for path in (home / "splits").iterdir()}
    audit.split(photographs.only(["class0", "class1"]))
    audit.split(photographs, shares={"validation": 0.2})
    audit.split(photographs, alike_bits=None)
    after = {path: path.read_bytes() for path in (home / "splits").iterdir()}
    assert len(before) == 1 and len(after) == 4 and before.items() <= after.items()


def test_bursts_of_one_scene_are_split_all_the_same(home, tmp_path):
    for label in range(2):
        (tmp_path / "set" / f"class{label}").mkdir(parents=True)
        for number in range(9):
            burst = np.asarray(picture(10 * label + number // 3)).astype(int) + number % 3
            Image.fromarray(burst.clip(0, 255).astype("uint8")).save(
                tmp_path / "set" / f"class{label}" / f"{number}.png")
    parts = audit.split(datasets.from_folder(tmp_path / "set", "x"))
    assert [np.bincount(part.labels).tolist() for part in parts] == [[3, 3]] * 3


def test_too_few_photographs_of_a_class_are_named(home, folder):
    for file in sorted((folder / "class2").iterdir())[2:]:
        file.unlink()
    with pytest.raises(ValueError, match="class2.*2 distinct"):
        audit.split(datasets.from_folder(folder, "x"))


@pytest.fixture
def fixed_camera(tmp_path):
    """Two classes of 20 pictures of one part each time: the same but for noise."""
    scene, random = np.asarray(picture(5)).astype(int), np.random.default_rng(0)
    for label in ("ok", "scratched"):
        (tmp_path / "part" / label).mkdir(parents=True)
        for number in range(20):
            noisy = (scene + random.integers(-3, 4, scene.shape)).clip(0, 255).astype("uint8")
            Image.fromarray(noisy).save(tmp_path / "part" / label / f"{number}.png")
    return datasets.from_folder(tmp_path / "part", "part")


def test_pictures_alike_by_nature_are_said_once_and_can_be_split(home, fixed_camera):
    table = audit.examine(fixed_camera)
    said = audit.advice(fixed_camera, table)
    assert len(said) == 3 and not any("is wrong" in sentence for sentence in said)
    assert "40 photographs look like some of another class" in said[0] and "--alike-bits" in said[2]
    assert audit.advice(fixed_camera, table, alike_bits=None) == []
    with pytest.raises(ValueError, match="too alike.*alike_bits"):
        audit.split(fixed_camera)
    parts = audit.split(fixed_camera, alike_bits=None)
    assert [np.bincount(part.labels).tolist() for part in parts] == [[14, 14], [3, 3], [3, 3]]


def test_many_things_of_one_kind_are_one_sentence(home, tmp_path):
    root = tmp_path / "set"
    for label in range(30):
        (root / f"class{label:02d}").mkdir(parents=True)
        picture(label, (40, 50)).save(root / f"class{label:02d}" / "0.jpg")
        for number in range(3):
            (root / f"class{label:02d}" / f"{number}.xyz").touch()
    for name in ("Thumbs.db", "only.raw"):
        (root / "class00" / name).touch()
    (root / "class31").mkdir()
    photographs = datasets.from_folder(root, "x")
    said = audit.advice(photographs, audit.examine(photographs))
    assert said[0].startswith("class00/only.raw is not read: ")
    assert said[1].startswith("90 files with the ending .xyz in class00, class01, class02, class03, class04 "
                              "and 25 more are not read, such as class00/0.xyz: ")
    assert "class31 is no class" in said[2]
    assert said[3].startswith("Photographs with a side below 64 pixels: class00/0.jpg, class01/0.jpg")
    assert said[4].startswith("class00 has 1 photograph, class01") and "25 more. Training wants 20" in said[4]
    assert len(said) == 5


def copied(folder, target, files):
    for file in files:
        (target / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / file, target / file.replace("/", "/copy_"))
    return target


def test_test_photographs_that_are_in_the_training_folder_are_left_out(home, folder, tmp_path, capsys):
    train = datasets.from_folder(folder, "train")
    files = [f"class{label}/0{number}.jpg" for label in range(3) for number in range(3)]
    target = copied(folder, tmp_path / "exam", files)
    smaller = Image.open(folder / "class0" / "05.jpg").resize((50, 40))
    smaller.save(target / "class1" / "alike.png")  # across classes
    (target / "class2" / "torn.jpg").write_bytes(b"no picture")
    for label in range(3):
        picture(7000 + label).save(target / f"class{label}" / "new.jpg")
    exam = datasets.from_folder(target, "test")
    left = audit.without_copies(exam, train)
    assert left.files.tolist() == [f"class{label}/new.jpg" for label in range(3)]
    said = capsys.readouterr().out
    assert "10 of 14 test photographs are in the training folder too (9 with the same bytes, 1 that " in said
    assert "exam/class0/copy_00.jpg is set/class0/00.jpg" in said and "and 5 more" in said
    assert "set aside: class2/torn.jpg" in said
    assert len(audit.without_copies(exam, train, bits=None)) == 4
    halves = train.select(slice(0, 12)), train.select(slice(12, None))
    assert audit.without_copies(exam, *halves).files.tolist() == left.files.tolist()
    capsys.readouterr()
    assert len(audit.without_copies(left, train)) == 3 and capsys.readouterr().out == ""


def test_a_test_folder_of_copies_is_refused(home, folder, tmp_path, capsys):
    train = datasets.from_folder(folder, "train")
    with pytest.raises(ValueError, match="nothing is left to test on: 36 of 36 test photographs are in"):
        audit.without_copies(train, train)
    target = copied(folder, tmp_path / "exam", ["class0/00.jpg", "class1/00.jpg", "class2/00.jpg"])
    picture(7000).save(target / "class0" / "new.jpg")
    exam = datasets.from_folder(target, "test")
    with pytest.raises(ValueError, match="nothing of class1, class2 is left to test on: 3 of 4"):
        audit.without_copies(exam, train)
    for path in exam.paths:
        with open(path, "wb") as file:
            file.write(b"no picture")
    with pytest.raises(ValueError, match="nothing is left to test on: 4 cannot be read"):
        audit.without_copies(exam, train)


def test_the_hash_takes_less_time_than_decoding(tmp_path):
    picture(1, (1500, 2000)).save(tmp_path / "large.jpg")
    times = [time.process_time()]
    pixels = pipeline.decode(str(tmp_path / "large.jpg"))
    times.append(time.process_time())
    audit.perceptual_hash(pixels)
    times.append(time.process_time())
    assert times[2] - times[1] < times[1] - times[0]


def test_a_long_name_of_a_folder_is_no_obstacle(home, folder):
    long = folder.rename(folder.with_name("ü" * 120))
    assert sum(map(len, audit.split(datasets.from_folder(long, long.name)))) == 36


def test_another_file_of_the_same_size_and_time_is_looked_at(home, tmp_path):
    """Archives give all files one time, and plain bitmaps have one size."""
    for name, first in (("train", 0), ("test", 50)):
        for number in range(12):
            path = tmp_path / name / f"class{number % 2}" / f"{number}.bmp"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture(first + number).save(path)
            os.utime(path, (1_700_000_000, 1_700_000_000))
    train, test = (datasets.from_folder(tmp_path / name, name) for name in ("train", "test"))
    assert len(audit.without_copies(test, train)) == 12
    shutil.copy2(train.paths[0], test.paths[0])
    assert len(audit.without_copies(test, train)) == 11


def test_a_folder_in_place_of_the_table_is_set_aside(home, folder):
    photographs = datasets.from_folder(folder, "x")
    audit.examine(photographs)
    table = next(home.glob("audit/*-examined.csv"))
    table.unlink()
    table.mkdir()
    assert len(audit.examine(photographs)) == 36 and table.is_file()
