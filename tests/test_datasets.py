"""Choosing a data set: what is found, and what is said where a folder is none."""

import json
import os
import re
import threading
from pathlib import Path

import numpy as np
import pytest
import transfer
from conftest import picture
from transfer import ROOT, datasets

ITALIAN = ["cane", "cavallo", "elefante", "farfalla", "gallina", "gatto", "mucca", "pecora", "ragno",
           "scoiattolo"]


def test_mini_is_found_with_its_groups_and_both_languages():
    photographs = datasets.load("mini")
    assert list(photographs.class_folders) == ITALIAN and len(photographs) == 200
    assert len(set(photographs.groups)) < len(photographs)
    assert photographs.class_names[:3] == ["dog", "horse", "elephant"]
    transfer.setup("pt-BR")
    assert photographs.class_names[:3] == ["cachorro", "cavalo", "elefante"]
    transfer.setup("en")


def test_few_draws_as_many_of_each_class_and_the_five_are_among_the_ten():
    photographs = datasets.load("mini")
    five, ten = photographs.few(5, seed=1), photographs.few(10, seed=1)
    assert np.bincount(five.labels).tolist() == 10 * [5] and np.bincount(ten.labels).tolist() == 10 * [10]
    assert set(five.files) < set(ten.files) and list(ten.files) == sorted(ten.files)
    assert set(five.files) != set(photographs.few(5, seed=2).files)
    assert len(photographs.few(1000)) == 200


def test_a_relative_folder_is_meant_from_the_root(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert len(datasets.load("data/mini")) == 200
    assert datasets.load("data/mini").root == ROOT / "data" / "mini"


def test_labels_follow_the_folders_and_a_part_keeps_them(folder):
    photographs = datasets.from_folder(folder, "x")
    part = photographs.select([30, 1])
    assert [file.split("/")[0] for file in part.files] == ["class2", "class0"]
    assert list(part.labels) == [2, 0] and part.class_folders == photographs.class_folders


def test_a_missing_or_flat_folder_is_explained(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.*TRANSFER_DATASET takes"):
        datasets.load(str(tmp_path / "nowhere"))
    (tmp_path / "only").mkdir()
    picture(0).save(tmp_path / "only" / "a.jpg")
    with pytest.raises(FileNotFoundError, match="at least two folders.*only"):
        datasets.load(str(tmp_path))


def test_an_unknown_language_is_refused():
    with pytest.raises(ValueError, match="pt-BR"):
        transfer.setup("pt")


def test_a_folder_for_loaders_holds_every_photograph_and_no_stranger(home, folder):
    (folder / "class0" / "00.png").write_bytes((folder / "class1" / "05.jpg").read_bytes())
    photographs = datasets.from_folder(folder, "x")
    made = datasets.as_folder(photographs, home / "made")
    assert len(list(made.glob("*/*"))) == len(photographs) == 37
    kept = photographs.only(["class0", "class1"])
    datasets.as_folder(kept, made)
    assert sorted(path.name for path in made.iterdir()) == ["class0", "class1"]
    found = sorted(path.relative_to(made).as_posix() for path in made.glob("*/*"))
    assert found == [f"{file}.png" for file in kept.files]


def laid_out(root: Path, *files: str) -> Path:
    """A folder with these files in it; photographs are named only, not drawn."""
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return root


def each(*folders: str, names=("0.jpg", "1.jpg")) -> list[str]:
    return [f"{folder}/{name}" for folder in folders for name in names]


def refused(root: Path) -> str:
    with pytest.raises(FileNotFoundError) as error:
        datasets.from_folder(root, "x")
    return str(error.value)


@pytest.mark.parametrize("parts", [
    ["train", "test1"], ["train", "valid", "test"], ["Training", "VAL"], ["training_set", "test_set"],
    ["train", "validation", "test"], ["trainset", "testset"], ["train data", "test-2"], ["treino", "teste"],
    ["trainA", "testA"], ["extra", "train", "test"], ["Training", "PublicTest"],
    ["TRAIN", "unlabeled", "TEST"],
    ["images_train", "images_test"], ["entrenamiento", "prueba"]])
def test_the_parts_of_a_split_are_no_classes(tmp_path, parts):
    said = refused(laid_out(tmp_path / "k", *each(*parts, names=("IMG_0.jpg", "IMG_1.jpg"))))
    assert "are parts of a data set and no classes. Sort the photographs of each into one folder" in said
    train, test = next(one for one in parts if re.search("train|trein|entren", one.lower())), parts[-1]
    quoted = [f"'{tmp_path}/k/{one}'" if " " in one else f"{tmp_path}/k/{one}" for one in (train, test)]
    assert f"`--dataset {quoted[0]} --test {quoted[1]}`" in said and f"TRANSFER_DATASET={quoted[0]}" in said


def test_a_class_that_happens_to_be_called_train_is_one(tmp_path):
    for names in (["bus", "car", "train"], ["test", "tram"], ["bus", "freight_train"], ["cat", "test"]):
        root = laid_out(tmp_path / "-".join(names), *each(*names))
        assert datasets.from_folder(root, "vehicles").class_names == names


FLAT = ["cat.0.jpg", "cat.1.jpg", "dog.0.jpg", "dog.1.jpg"]


@pytest.mark.parametrize("files", [FLAT, each("train", names=FLAT),
                                   each("train", names=FLAT) + each("test1")])
def test_classes_in_the_file_names_are_named_with_a_command_that_sorts_them(tmp_path, files):
    root = laid_out(tmp_path / "my dogs", *files)
    said = refused(root)
    command = said.split("`")[1]
    assert os.system(command) == 0
    where = root / "train" if (root / "train").exists() else root
    assert f"Then give `--dataset '{where}'`" in said
    assert datasets.from_folder(where, "x").files.tolist() == [f"{name[:3]}/{name}" for name in FLAT]


@pytest.mark.parametrize("files", [["IMG_1.jpg", "IMG_2.jpg", "DSC_1.jpg", "DSC_2.jpg"],
                                   ["a.jpg", "b.jpg"], ["rose.1.jpg", "tulip.jpg", "x.jpg"]])
def test_names_of_cameras_are_no_classes(tmp_path, files):
    assert "names of the files" not in refused(laid_out(tmp_path, *files))


def test_parts_with_the_classes_inside_are_named_with_both_ways_out(tmp_path):
    root = laid_out(tmp_path / "robo flow", *each(*(f"{part}/{name}" for part in ("train", "valid", "test")
                                                   for name in ("cat", "dog"))))
    said = refused(root)
    assert "divided already, into test, train and valid" in said
    assert (f"`--dataset '{root}/train' --test '{root}/test'` to scripts/train.py, or "
            f"TRANSFER_DATASET='{root}/train' to a lesson") in said
    assert len(datasets.from_folder(root / "train", "x")) == 4
    doubled = laid_out(tmp_path / "d", *each("seg_train/seg_train/sea", "seg_train/seg_train/ice",
                                             "seg_test/seg_test/sea", "seg_test/seg_test/ice"))
    assert f"--dataset {doubled}/seg_train/seg_train --test {doubled}/seg_test/seg_test" in refused(doubled)


@pytest.mark.parametrize("inside", ["training_set/training_set", "flowers/flowers", "a/b/c"])
def test_class_folders_further_down_are_used_where_there_is_no_other_way(tmp_path, capsys, inside):
    root = laid_out(tmp_path / "z", *each(f"{inside}/cats", f"{inside}/dogs"), ".DS_Store")
    found = datasets.from_folder(root, "mine")
    assert found.class_names == ["cats", "dogs"] and found.name == "mine" and found.root == root / inside
    assert f"the class folders are those in {root / inside}" in capsys.readouterr().out


def test_class_folders_further_down_are_named_where_there_are_other_ways(tmp_path):
    root = laid_out(tmp_path / "z", *each("flowers/flowers/daisy", "flowers/flowers/rose"), "docs/read.me")
    assert f"Further down there are such folders; give {root}/flowers/flowers instead." in refused(root)
    laid_out(root, *each("birds/owl", "birds/tit"))
    assert f"give {root}/birds or {root}/flowers/flowers instead." in refused(root)


def test_folders_of_programs_are_no_classes(tmp_path):
    root = laid_out(tmp_path, *each("cat", "dog", ".ipynb_checkpoints", ".thumbnails", "@eaDir", "__MACOSX",
                                    "_other"), "cat/.hidden.jpg", "cat/@me.jpg")
    found = datasets.from_folder(root, "x")
    assert found.class_folders == ("_other", "cat", "dog") and len(found) == 7


def test_links_pipes_and_circles_neither_stop_nor_hang_the_list(tmp_path):
    root = laid_out(tmp_path / "set", *each("cat", "dog"))
    (root / "cat" / "gone.jpg").symlink_to(tmp_path / "nowhere")
    (root / "cat" / "circle.jpg").symlink_to("circle.jpg")
    os.mkfifo(root / "cat" / "pipe.jpg")
    os.mkfifo(root / "SOURCES.csv")
    (root / "dog" / "folder.jpg").mkdir()
    (root / "round").symlink_to(root)
    (root / "gone").symlink_to(tmp_path / "nowhere")
    (root / "self").symlink_to("self")
    found = datasets.from_folder(root, "x")
    assert found.class_folders == ("cat", "dog") and len(found) == 7
    assert {"cat/gone.jpg", "cat/pipe.jpg", "cat/circle.jpg"} < set(found.files), "for the audit to name"
    only = tmp_path / "only"
    only.mkdir()
    (only / "round").symlink_to(only)
    assert "found none" in refused(only)


def test_a_folder_that_may_not_be_opened_is_passed_over_and_said(tmp_path, monkeypatch):
    root, listed = laid_out(tmp_path, *each("cat", "dog", "secret")), os.scandir

    def scandir(path):
        if str(path).endswith("secret"):
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    monkeypatch.setattr(os, "listdir", lambda path: list(scandir(path)))
    assert datasets.from_folder(root, "x").class_folders == ("cat", "dog")
    assert datasets.passed_over(root) == ["secret is no class: it cannot be opened (Permission denied)."]


def test_what_is_in_no_class_is_said_with_its_folder(tmp_path):
    root = laid_out(tmp_path / "pets", *each("cat", "dog", "deep/one", "deep/two", "cat/more"), "a.jpg",
                    *each("heic", names=("a.HEIC", "b.heic", "c.txt")), ".git/x.jpg", "cat/@eaDir/x.jpg")
    (root / "empty").mkdir()
    said = datasets.passed_over(root)
    assert [sentence.split(":")[0] for sentence in said] == [
        "Photographs in no class, directly in pets", "cat", "deep", "empty is no class", "heic is no class"]
    assert "1 (a.jpg" in said[0] and "not read: 2. Move them up into cat" in said[1]
    assert "not read: 4" in said[2]
    assert "it is empty" in said[3] and "none of its 3 files" in said[4] and ".heic, .txt" in said[4]
    assert datasets.passed_over(ROOT / "data" / "mini") == []


@pytest.mark.parametrize("name", ["a\nb", "a\rb", "a\u2028b", "a\x85b", "a\x0bb", "a\x1b[31m", "a\tb",
                                  b"caf\xe9"])
def test_a_class_name_that_is_no_line_of_text_is_refused(tmp_path, name):
    laid_out(tmp_path, *each("cat", "dog", os.fsdecode(name)))
    with pytest.raises(ValueError, match="the class folder '.*' in .* rename it") as error:
        datasets.from_folder(tmp_path, "x")
    assert str(error.value).isprintable()


def test_class_names_of_other_alphabets_are_none_of_that(tmp_path):
    names = ["$\\frac$", "maçã", "日本", "क्षि", "👩‍🔬", "a  b"]
    assert datasets.from_folder(laid_out(tmp_path, *each(*names)), "x").class_names == sorted(names)


@pytest.mark.parametrize("folders, shown", [
    (["cane", "dog", "gatto"], ["cane", "dog", "cat"]), (["Cat", "cat", "gatto"], ["Cat", "cat", "gatto"]),
    (["Cat", "Dog"], ["cat", "dog"]), (["Cat", "gatto", "pecora"], ["Cat", "gatto", "sheep"])])
def test_two_classes_never_have_one_name(tmp_path, capsys, folders, shown):
    found = datasets.from_folder(laid_out(tmp_path, *each(*folders)), "x")
    said = capsys.readouterr().out
    assert found.class_names == shown and datasets.names(folders) == shown
    alike = [folder for folder, name in zip(folders, shown) if folder == name]
    assert said.count("would all be called") == bool(alike) and all(folder in said for folder in alike)


def test_composed_and_decomposed_accents_are_one_name_to_the_eye(tmp_path, capsys):
    datasets.from_folder(laid_out(tmp_path, *each("ma\u00e7a", "mac\u0327a")), "x")
    assert "would all be called" in capsys.readouterr().out


def test_a_tilde_and_an_empty_choice_are_understood(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    laid_out(tmp_path / "flowers", *each("rose", "daisy"))
    for load in (datasets.load, datasets.load_from_here):
        assert len(load("~/flowers")) == 4
        assert load("").name == datasets.load(transfer.dataset_choice()).name


@pytest.mark.parametrize("table, groups, says", [
    ("\ufefffile,group\ncat/0.jpg,g\ncat/1.jpg,g\ndog/0.jpg,\n", ["g", "g", "dog/0.jpg", "dog/1.jpg"], ""),
    ("name,url\na,b\n", None, "not used"), ("file;group\ncat/0.jpg;g\n", None, "not used"),
    ("file,group\ncat/0.jpg\n", None, ""), ("", None, "")])
def test_a_table_of_the_readers_own_does_no_harm(tmp_path, capsys, table, groups, says):
    laid_out(tmp_path, *each("cat", "dog"))
    (tmp_path / "SOURCES.csv").write_text(table, encoding="utf-8")
    found = datasets.from_folder(tmp_path, "x")
    assert found.groups.tolist() == (groups or found.files.tolist())
    assert says in capsys.readouterr().out
    (tmp_path / "SOURCES.csv").write_bytes("file,group\ncat/0.jpg,ação\n".encode("latin-1"))
    assert len(datasets.from_folder(tmp_path, "x")) == 4 and "not used" in capsys.readouterr().out


def test_a_folder_for_loaders_deletes_only_what_was_made_there(home, folder):
    photographs = datasets.from_folder(folder, "x").few(2)
    mine = laid_out(home / "mine", "class0/precious.txt")
    with pytest.raises(ValueError, match="holds class0/precious.txt, which was not made here"):
        datasets.as_folder(photographs, mine)
    assert [path.name for path in mine.rglob("*") if path.is_file()] == ["precious.txt"]
    made = datasets.as_folder(photographs, home / "made")
    laid_out(made, "class1/mine.png")
    with pytest.raises(ValueError, match="class1/mine.png"):
        datasets.as_folder(photographs.few(1), made)
    assert len(list(made.glob("*/*"))) == 7


def test_a_folder_for_loaders_follows_its_photographs(home, folder):
    photographs = datasets.from_folder(folder, "x").few(1)
    made = datasets.as_folder(photographs, home / "made")
    first = made / f"{photographs.files[0]}.png"
    (made / "class0" / ".partial-x").mkdir()  # as a kill leaves it
    laid_out(made, "class0/.partial-x/a.png")
    before, times = first.read_bytes(), {path: path.stat().st_mtime_ns for path in made.glob("*/*.png")}
    picture(999).save(photographs.paths[0])
    datasets.as_folder(photographs, made)
    assert first.read_bytes() != before and not (made / "class0" / ".partial-x").exists()
    assert [path for path, time in times.items() if path.stat().st_mtime_ns != time] == [first]
    (home / "made.json").write_text(json.dumps([1]))
    datasets.as_folder(photographs, made)


@pytest.mark.parametrize("content", [b"", b"\x89PNG"])
def test_what_a_folder_for_loaders_holds_is_proven(home, folder, content):
    photographs = datasets.from_folder(folder, "x").few(1)
    made = datasets.as_folder(photographs, home / "made")
    first = made / f"{photographs.files[0]}.png"
    before = first.read_bytes()
    first.write_bytes(content)
    assert datasets.as_folder(photographs, made) == made and first.read_bytes() == before


def test_a_table_of_groups_with_windows_paths_is_read_and_one_that_fits_nothing_is_said(folder, capsys):
    table = folder / "SOURCES.csv"
    table.write_text("file,group\n" + "".join(f"class0\\{n:02}.jpg,one\n" for n in range(12)))
    assert len(set(datasets.from_folder(folder, "x").groups)) == 1 + 24 and not capsys.readouterr().out
    table.write_text("file,group\nset/class0/00.jpg,one\n")
    assert len(set(datasets.from_folder(folder, "x").groups)) == 36
    assert "names none of the photographs" in capsys.readouterr().out


def test_two_notebooks_make_one_folder(home, folder):
    photographs, failed = datasets.from_folder(folder, "x"), []

    def make():
        try:
            datasets.as_folder(photographs, home / "made")
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=make) for _ in range(3)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert not failed and len(list((home / "made").glob("*/*"))) == 36
