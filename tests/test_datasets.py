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
    with pytest.raises(FileNotFoundError, match="nowhere.*TRANSFER_DATASET also take mini"):
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


@pytest.mark.parametrize("files, says", [
    (each("data/train/cat", "data/train/dog", "data/test/cat", "data/test/dog") + ["docs/fig.png"],
     "`--dataset {root}/data/train --test {root}/data/test` to"),
    (each("images/train/cat", "images/train/dog", "images/val/cat", "images/val/dog") + ["x/y.txt"],
     "`--dataset {root}/images/train --test {root}/images/val` to"),
    (each("train/images", "valid/images") + ["train/labels/0.txt"], "Labels in files .*one folder per class"),
    (each("images/train", "images/val") + ["labels/train/0.txt"], "Labels in files .*one folder per class"),
    (each("a/train/cat", "a/train/dog", "b/train/cat", "b/train/dog"), "{root}/a/train or {root}/b/train"),
    (["0.jpg", "1.jpg", "cat/0.jpg"], "directly in it: 2. Make a folder for each class.*`mkdir {root}/cat")])
def test_a_layout_that_is_known_is_told_with_what_to_do(tmp_path, files, says):
    assert re.search(says.format(root=tmp_path / "set"), refused(laid_out(tmp_path / "set", *files)))


@pytest.mark.parametrize("files", [each("cat/cats", "dog/my dogs"), each("cat/photos", "dog")])
def test_photographs_one_folder_too_deep_come_with_a_command_that_moves_them_up(tmp_path, files):
    root = laid_out(tmp_path / "my set", *files)
    assert os.system(refused(root).split("`")[1]) == 0
    assert datasets.from_folder(root, "x").files.tolist() == each("cat", "dog")


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
                    *each("raw", names=("a.CR2", "b.cr2", "c.txt")), ".git/x.jpg", "cat/@eaDir/x.jpg")
    (root / "empty").mkdir()
    said = datasets.passed_over(root)
    assert [sentence.split(":")[0] for sentence in said] == [
        "Photographs in no class, directly in pets", "cat", "deep", "empty is no class", "raw is no class"]
    assert "1 (a.jpg" in said[0] and "not read: 2. Move them up into cat" in said[1]
    assert "not read: 4" in said[2]
    assert "it is empty" in said[3] and "none of its 3 files" in said[4] and ".cr2, .txt" in said[4]
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
    (["Cat", "Dog"], ["cat", "dog"]), (["Cat", "gatto", "pecora"], ["Cat", "gatto", "sheep"])])
def test_two_classes_never_have_one_name(tmp_path, capsys, folders, shown):
    found = datasets.from_folder(laid_out(tmp_path, *each(*folders)), "x")
    said = capsys.readouterr().out
    assert found.class_names == shown and datasets.names(folders) == shown
    alike = [folder for folder, name in zip(folders, shown) if folder == name]
    assert said.count("would all be called") == bool(alike) and all(folder in said for folder in alike)


@pytest.mark.parametrize("folders", [["gallina", "perro"], ["cane", "dog", "gatto"], ["Cat", "cat", "gatto"]])
def test_the_names_of_a_set_of_the_readers_own_are_not_translated(tmp_path, capsys, folders):
    assert datasets.from_folder(laid_out(tmp_path, *each(*folders)), "x").class_names == folders
    assert "would all be called" not in capsys.readouterr().out


def test_composed_and_decomposed_accents_are_one_name_to_the_eye(tmp_path, capsys):
    datasets.from_folder(laid_out(tmp_path, *each("ma\u00e7a", "mac\u0327a")), "x")
    assert "would all be called" in capsys.readouterr().out


def test_a_tilde_and_an_empty_choice_are_understood(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    laid_out(tmp_path / "flowers", *each("rose", "daisy"))
    for load in (datasets.load, datasets.load_from_here):
        assert len(load("~/flowers")) == 4
        assert load("").name == datasets.load(transfer.dataset_choice()).name


HEAD, ROWS = "file,group\n", "cat/0.jpg,g\ncat/1.jpg,g\ndog/0.jpg,\ndog/1.jpg,unknown\n"
FOUND = ["g", "g", "dog/0.jpg", "dog/1.jpg"]


@pytest.mark.parametrize("table", [
    HEAD + ROWS, "\ufeff" + HEAD + ROWS, "sep=;\r\n" + (HEAD + ROWS).replace(",", ";").replace("\n", "\r\n"),
    (HEAD + ROWS).replace(",", "\t"), " File , GROUP \n" + ROWS, (HEAD + ROWS).replace("/", "\\"),
    HEAD + ROWS.replace("cat/", "./cat/"), HEAD + ROWS.replace("cat/0.jpg,g", '"cat/0.jpg", "g"'),
    "nr,group,note,file\n1,g,a;b,cat/0.jpg,too,long\n2,g,,cat/1.jpg\n3\n\n,,,dog/0.jpg\n,?,,.\\dog\\1.jpg"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_table_is_read_as_a_spreadsheet_program_writes_it(tmp_path, capsys, table, encoding):
    laid_out(tmp_path, *each("cat", "dog"))
    (tmp_path / "SOURCES.csv").write_bytes(table.encode(encoding))
    assert datasets.from_folder(tmp_path, "x").groups.tolist() == FOUND and not capsys.readouterr().out


def test_a_table_in_cp1252_and_accents_taken_apart_are_understood(tmp_path):
    laid_out(tmp_path, *each("ma\u00e7a", "pe\u0302ra"))
    table = "file;group\nmaça/0.jpg;ação\nmaça/x.jpg;\npêra/1.jpg;ação\n"
    (tmp_path / "SOURCES.csv").write_bytes(table.encode("cp1252"))
    assert datasets.from_folder(tmp_path, "x").groups.tolist().count("ação") == 2


@pytest.mark.parametrize("table, says", [
    ("name,url\na,b\n", "is not used: it is no table with the columns file and group"), ("", "is not used"),
    ("file\ncat/0.jpg\n", "is not used"), (HEAD + "cat/0.jpg\n", "no group of 3 of 4 photographs.*cat/1.jpg"),
    (HEAD + "x\0/\ud8ff,y\n", "names none of the photographs"), ("\0" * 50, "is not used"),
    (HEAD + '"' + "x" * 200_000, "is not used: field larger")])
def test_a_table_of_the_readers_own_does_no_harm(tmp_path, capsys, table, says):
    laid_out(tmp_path, *each("cat", "dog"))
    (tmp_path / "SOURCES.csv").write_bytes(table.encode("utf-8", "surrogatepass"))
    found = datasets.from_folder(tmp_path, "x")
    said = capsys.readouterr().out
    assert found.groups.tolist() == found.files.tolist() and re.search(says, said) and said.count("\n") == 1


def test_a_folder_in_place_of_the_table_is_none(tmp_path):
    laid_out(tmp_path, *each("cat", "dog"), "SOURCES.csv/x")
    assert len(datasets.from_folder(tmp_path, "x")) == 4


def test_accents_composed_otherwise_are_the_same_class_in_the_same_place(tmp_path):
    for name, accent in (("mac", "mac\u0327a"), ("other", "ma\u00e7a")):
        laid_out(tmp_path / name, *each(accent, "mad", "maz"))
    mac, other = (datasets.from_folder(tmp_path / name, name) for name in ("mac", "other"))
    assert [len(name) for name in mac.class_folders] == [3, 3, 5] and other.class_folders[2] == "ma\u00e7a"
    assert mac.only(other.class_folders[1:]).class_folders == mac.class_folders[1:]
    laid_out(tmp_path / "mac", *each("ma\u00e7a"))
    both = datasets.from_folder(tmp_path / "mac", "x")
    assert both.only(["mad", "ma\u00e7a"]).class_folders == ("mad", "ma\u00e7a")


@pytest.mark.parametrize("wrong, message", [
    (lambda photographs: photographs.only("class0"), "a list of class folders.*not the text 'class0'"),
    (lambda photographs: photographs.few(0), "per_class is a whole number from 1"),
    (lambda photographs: photographs.few(2.0), "per_class is a whole number"),
    (lambda photographs: photographs.few(True), "per_class is a whole number"),
    (lambda photographs: photographs.few(2, -1), "seed is a whole number from 0 to 4294967295, not -1"),
    (lambda photographs: photographs.few(2, None), "seed is a whole number")])
def test_wrong_arguments_are_one_sentence(folder, wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong(datasets.from_folder(folder, "x"))


@pytest.mark.parametrize("choice, says", [
    ("flowerz", "no folder {here}/flowerz .{here} holds flowers"), ("flower/", "holds flowers"),
    ("holidayz/flowers", "no folder {here}/holidayz/flowers .{here} holds holidays"),
    ("zebras", "no folder {here}/zebras. Give"), ("a.jpg", "{here}/a.jpg is a file; give the folder"),
    ("a.zip", "a.zip is a file; unpack it first, and give the"), ("a.jpg/x", "no folder {here}/a.jpg/x")])
def test_a_mistyped_folder_is_looked_for_where_the_command_is_given(tmp_path, monkeypatch, choice, says):
    laid_out(tmp_path, "flowers/rose/a.jpg", "holidays/x.txt", "a.jpg", "a.zip")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=says.format(here=tmp_path)) as error:
        datasets.load_from_here(choice)
    assert "\n" not in str(error.value)


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
