"""scripts/train.py and predict.py as a new user tries them, on drawings of flowers and vehicles."""

import functools
import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import predict
import predict_litert
import pytest
import tensorflow as tf
import train
from conftest import picture
from PIL import Image, ImageDraw
from transfer import ROOT, datasets, destination, models, training


def draw(kind: str, seed: int) -> Image.Image:
    """A flower of round petals, or a vehicle with wheels, somewhere on a plain ground."""
    random = np.random.default_rng([seed, kind == "flower"])
    image = Image.new("RGB", (200, 180), tuple(random.integers(170, 256, 3)))
    pen, colour = ImageDraw.Draw(image), tuple(random.integers(0, 160, 3))
    x, y, size = random.integers(60, 140), random.integers(60, 110), random.integers(24, 44)
    if kind == "flower":
        pen.line((x, y, x, 180), fill=(40, 110, 40), width=6)
        petals = random.integers(5, 9)
        for angle in np.arange(petals) * 2 * np.pi / petals:
            a, b = x + size * np.cos(angle) * 0.7, y + size * np.sin(angle) * 0.7
            pen.ellipse((a - size / 2, b - size / 2, a + size / 2, b + size / 2), fill=colour)
        pen.ellipse((x - size / 3, y - size / 3, x + size / 3, y + size / 3), fill=(240, 200, 40))
    else:
        pen.rectangle((x - size * 1.3, y, x + size * 1.3, y + size), fill=colour)
        pen.rectangle((x - size * 0.7, y - size * 0.6, x + size * 0.6, y), fill=colour)
        for a in (x - size * 0.8, x + size * 0.8):
            pen.ellipse((a - size * 0.35, y + size * 0.7, a + size * 0.35, y + size * 1.4), fill=(20, 20, 20))
    return image


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder of two classes that are no animals, an empty TRANSFER_HOME, two new drawings."""
    place = tmp_path_factory.mktemp("own")
    for kind in ("flower", "vehicle"):
        (place / "drawings" / kind).mkdir(parents=True)
        for number in range(16):
            draw(kind, number).save(place / "drawings" / kind / f"{number:02}.png")
        draw(kind, 1000).save(place / f"new-{kind}.png")
    (place / "drawings" / "flower" / "IMG_1.HEIC").write_bytes(b"\0\0\0 ftypheic")
    (place / "drawings" / "vehicle" / "torn.jpg").write_bytes(b"\xff\xd8\xff")
    return place


def command(place, script: str, *arguments) -> dict:
    return {"args": [sys.executable, str(ROOT / "scripts" / script), *map(str, arguments)], "cwd": place,
            "env": os.environ | {"TRANSFER_HOME": str(place / "home")}, "text": True}


def curves(file) -> dict:
    """What the epochs so far have brought, and how many seconds each took."""
    with np.load(file) as arrays:
        return json.loads(str(arrays["note"]))["curves"]


def test_train_is_killed_goes_on_and_its_model_is_asked(place, monkeypatch, capsys):
    model = place / "out" / "own.keras"
    again = command(place, "train.py", "--dataset", "drawings", "--method", "fine-tuned", "--epochs", 2,
                    "--output", model, "--litert")
    first = subprocess.Popen(**again, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (epochs := list(place.glob("home/runs/*-fine-tuned-*/epoch-*.npz"))):
        assert first.poll() is None, "it ended before it could be killed"
        time.sleep(0.02)
    first.kill()
    first.wait()
    assert not model.exists()
    done = curves(max(place.glob("home/runs/*-fine-tuned-*/epoch-*.npz")))

    trained = subprocess.run(**again, capture_output=True)
    assert trained.returncode == 0, trained.stderr
    assert trained.stdout.count("torn.jpg") == 1 and "WARNING" not in trained.stderr
    assert "images to compute" not in trained.stdout  # every feature was found again
    found = curves(max(epochs[0].parent.glob("epoch-*.npz")))  # and the epochs: their seconds are the same
    assert done["seconds"] and {key: found[key][:len(values)] for key, values in done.items()} == done
    noted = json.loads(model.with_suffix(".json").read_text())
    assert sum(noted["photographs"]) == 32 and len(noted["history"]["val_loss"]) == 2
    assert noted["test"]["right"] >= 0.8 * noted["test"]["total"]
    assert {path.suffix for path in model.parent.iterdir()} == {".keras", ".txt", ".json", ".tflite"}

    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "argv", ["x", str(model), "new-flower.png", "no.jpg", "new-vehicle.png"])
    with pytest.raises(SystemExit, match="1"):
        predict.main()
    asked = capsys.readouterr()
    assert "no.jpg" in asked.err and [line.split()[:2] for line in asked.out.splitlines()] == [
        ["new-flower.png", "flower"], ["new-vehicle.png", "vehicle"]]


def failure(place, monkeypatch, capsys, script, *arguments) -> str:
    """What a command that must fail says; in this process, for TensorFlow is loaded here already."""
    monkeypatch.chdir(place)
    monkeypatch.setenv("TRANSFER_HOME", str(place / "home"))
    monkeypatch.setattr(sys, "argv", [script.__file__, *arguments])
    with pytest.raises(SystemExit) as stopped:
        script.main()
    assert stopped.value.code not in (0, None)
    return f"{stopped.value.code} {capsys.readouterr().err}"


@pytest.mark.parametrize("arguments, message", [
    (["--dataset", "nowhere"], "no folder"),
    (["--classes", "gatto", "unicorn"], "unknown: unicorn"),
    (["--classes", "gatto"], "at least two"),
    (["--backbone", "alexnet"], "no backbone 'alexnet'.*vgg16, mobilenet_v2"),
    (["--output", "model.h5"], "ends in .keras"),
    (["--alike-bits", "many"], "alike-bits: 'many' is no whole number from 0 to 64"),
    (["--alike-bits", "65"], "alike-bits: '65' is no whole number from 0 to 64"),
    (["--seed", "-1"], "seed: '-1' is no whole number from 0 to 42949"), (["--seed", "9" * 5000], "seed"),
    (["--epochs", "0"], "epochs: '0' is no whole number from 1"), (["--views", "-1"], "views: '-1' is no"),
    (["--rate", "nan"], "rate: 'nan' is no number from"), (["--rate", "0"], "rate: '0' is no number from"),
    (["--dataset", "drawing"], "no folder .*/drawing .*holds drawings.*"),
    (["--dataset", "new-flower.png"], "new-flower.png is a file; give the folder"),
    (["--test", "nowhere"], "no folder .*/nowhere"),
    (["--output", "new-flower.png/x.keras"], "x.keras cannot be written.*another --output"),
    (["--output", "x" * 250 + ".keras"], "cannot be written.*another --output"),
    (["--output", "folder.keras"], "folder.keras is a folder"),
    (["--output", "diary.keras"], "diary.txt is there and belongs to no model"),
    (["--dataset", ""], "--dataset: is empty"), (["--test", ""], "--test: is empty"),
    (["--test", "~nobody-here/x"], "no such user's home"),
])
def test_wrong_arguments_are_said(place, monkeypatch, capsys, arguments, message):
    (place / "folder.keras").mkdir(exist_ok=True)
    (place / "diary.txt").write_text("Dear diary")
    assert re.search(message, failure(place, monkeypatch, capsys, train, *arguments))
    assert (place / "diary.txt").read_text() == "Dear diary"


@pytest.mark.parametrize("name, message", [
    ("no.keras", "is missing"), ("torn.keras", "cannot be read as a model"),
    ("model.tflite", "predict_litert.py"), ("folder.keras", "is no file")])
def test_a_model_that_is_none_is_said(place, monkeypatch, capsys, name, message):
    (place / "torn.keras").write_bytes(b"PK")
    (place / "torn.txt").write_text("a\nb\n")
    (place / "folder.keras").mkdir(exist_ok=True)
    assert message in failure(place, monkeypatch, capsys, predict, name, "new-flower.png")


@pytest.mark.parametrize("model, message", [
    ("no.tflite", "there is no model no.tflite"), ("torn.tflite", "torn.tflite is damaged"),
    ("good.tflite", "no photographs")])
def test_what_litert_cannot_do_is_said(place, monkeypatch, capsys, model, message):
    models.export_litert(small(), place / "good.tflite", ["a", "b"])
    (place / "torn.tflite").write_bytes((place / "good.tflite").read_bytes()[:500])
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert message in failure(place, monkeypatch, capsys, predict_litert, model)


def small(classes: int = 2) -> keras.Model:
    return keras.Sequential([keras.Input((8, 8, 3)), keras.layers.GlobalAveragePooling2D(),
                             keras.layers.Dense(classes, "softmax")])


@pytest.mark.parametrize("script, ending", [(predict, "keras"), (predict_litert, "tflite")])
def test_what_is_no_photograph_is_named_and_the_rest_answered(place, monkeypatch, capsys, script, ending):
    """And nothing that the terminal would obey is printed as it is."""
    model = place / f"names.{ending}"
    (models.save if ending == "keras" else models.export_litert)(small(), model, ["a\u202eb", "c"])
    (place / "\x1b[2J.txt").write_text("no photograph")
    shutil.copy(place / "new-flower.png", place / "\x1b[2J.png")
    if not (place / "pipe.jpg").exists():
        os.mkfifo(place / "pipe.jpg")
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "argv", ["x", str(model), "drawings", "pipe.jpg", "\x1b[2J.txt", "no.jpg",
                                      "\x1b[2J.png", "new-flower.png"])
    with pytest.raises(SystemExit) as stopped:
        script.main()
    said = capsys.readouterr()
    assert stopped.value.code == 1
    errors = [line for line in said.err.splitlines() if "INFO" not in line]
    assert all(any(name in line for line in errors) for name in ("drawings", "pipe.jpg", "[2J.txt", "no.jpg"))
    assert len(errors) == 4 and len(said.out.splitlines()) == 2 and "new-flower.png" in said.out
    assert not {"\x1b", "\u202e"} & {*said.out, *said.err} and r"a\u202eb" in said.out


@pytest.mark.parametrize("top", ["0", "-1", "many", "1001"])
def test_how_many_classes_to_show_is_refused_at_once(place, monkeypatch, capsys, top):
    said = failure(place, monkeypatch, capsys, predict, "x", "y", "--top", top)
    assert "no whole number from 1 to 1000" in said


def test_paths_come_from_windows_and_are_no_utf8_and_a_closed_pipe_is_no_traceback(place):
    model = models.export_litert(small(), place / "pipe.tflite", ["a", "b"])
    asked = command(place, "predict_litert.py", model) | {"text": False, "stderr": subprocess.PIPE}
    paths = b"\xef\xbb\xbfnew-flower.png\r\nn\xe9.png\r\nnew-vehicle.png\r\n"
    done = subprocess.run(**asked, input=paths, stdout=subprocess.PIPE)
    assert done.returncode == 1 and done.stdout.count(b"new-") == 2 and rb"n\udce9.png" in done.stderr
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(**asked, input=paths, stdout=writing)
    os.close(writing)
    assert done.returncode == 1 and b"Error" not in done.stderr


def test_nobody_reads_or_waits_any_more(place, monkeypatch, capsys):
    """A closed pipe ends each script without a traceback, and so does Ctrl-C."""
    for script, error in ((predict, KeyboardInterrupt()), (predict_litert, KeyboardInterrupt())):
        def stop(*_, error=error):
            raise error

        monkeypatch.setattr(script, "answer", stop)
        assert "interrupted" in failure(place, monkeypatch, capsys, script, "x.keras", "y.png")


def test_a_disk_too_small_for_the_model_is_said_before_the_training(tmp_path):
    with pytest.raises(ValueError, match="own.keras needs about .* MB free: make room"):
        destination.check(tmp_path / "own.keras", 1e18)
    destination.check(tmp_path / "own.keras", 1e6)


ABOUT = {"folder": "/a/pets", "test": "", "classes": ["cat", "dog"], "backbone": "vgg16", "method": "frozen",
         "seed": 0}


def trained(output, name, about) -> Path:
    """As train.py leaves a model."""
    path, _ = destination.choose(output, name, about)
    models.save(small(), path, about["classes"])
    path.with_suffix(".json").write_text(json.dumps(
        {"settings": {}, "training": about, "model": destination.digest(path)}))
    return path


def test_two_trainings_share_no_file_silently(home, capsys):
    first = trained(None, "pets", ABOUT)
    assert first.name == "pets-vgg16-frozen.keras"
    assert trained(None, "pets", ABOUT) == first and not capsys.readouterr().out
    for change in ({"folder": "/b/pets"}, {"seed": 1}, {"classes": ["cat", "cow"]}, {"test": "/t"}):
        other = trained(None, "pets", ABOUT | change)
        said = capsys.readouterr().out
        assert re.fullmatch(r"pets-[0-9a-f]{8}-vgg16-frozen\.keras", other.name)
        assert said.count("\n") == 1
        assert all(name in said for name in (first.name, other.name, *change))
        assert trained(None, "pets", ABOUT | change) == other  # its own name stays
        capsys.readouterr()
    assert len(list(first.parent.glob("*.keras"))) == 5


def test_a_model_that_was_asked_for_is_replaced_with_a_sentence(home, tmp_path, capsys):
    path = tmp_path / "own.keras"
    trained(path, "pets", ABOUT | {"photographs": "1"})
    trained(path, "pets", ABOUT | {"photographs": "1"})
    assert not capsys.readouterr().out
    trained(path, "pets", ABOUT | {"photographs": "2"})
    assert "other photographs in the same folder; it is replaced" in capsys.readouterr().out
    trained(path, "pets", ABOUT | {"seed": 7, "photographs": "2"})
    assert "another training (seed 0); it is replaced" in capsys.readouterr().out


def test_a_tflite_file_of_another_training_does_not_stay_under_the_name(tmp_path, capsys):
    path = trained(tmp_path / "own.keras", "pets", ABOUT)
    path.with_suffix(".tflite").write_bytes(b"lite")
    destination.set_stale_apart(path, ABOUT)
    assert path.with_suffix(".tflite").exists() and not capsys.readouterr().out
    destination.set_stale_apart(path, ABOUT | {"seed": 1})
    assert (tmp_path / "own.tflite.old").exists() and "own.tflite.old" in capsys.readouterr().out
    assert not path.with_suffix(".tflite").exists()


@pytest.mark.parametrize("damage", [
    lambda note: note.unlink(), lambda note: note.write_text("{"), lambda note: note.write_text("[]"),
    lambda note: models.save(small(3), note.with_suffix(".keras"), ["x", "y", "z"])])
def test_a_model_without_a_note_of_its_own_is_another_training(home, capsys, damage):
    first = trained(None, "pets", ABOUT)
    damage(first.with_suffix(".json"))
    assert trained(None, "pets", ABOUT) != first
    assert "not known" in capsys.readouterr().out


@pytest.fixture
def quick(home, tmp_path, monkeypatch):
    """Ten reddish and ten bluish pictures, a network that sees colours only, and train.py on them."""
    def fill(folder, first="red", second="blue", start=0):
        for name, colour, seed in ((first, (200, 40, 40), start), (second, (40, 40, 200), 1000 + start)):
            (folder / name).mkdir(parents=True, exist_ok=True)
            for number in range(10):
                tinted = Image.blend(picture(seed + number), Image.new("RGB", (100, 80), colour), 0.6)
                tinted.save(folder / name / f"{number}.png")
        return folder

    inputs = keras.Input((224, 224, 3))
    network = keras.Model(inputs, keras.layers.AveragePooling2D(56)(inputs), name="colours")
    monkeypatch.setattr(models, "backbone", lambda name: models.Backbone(
        network, lambda images: images / 255.0, "none", "none"))
    monkeypatch.setattr(training, "frozen_head", functools.partial(training.frozen_head, epochs=6))

    def start(*arguments):
        monkeypatch.setattr(sys, "argv", ["train.py", *map(str, arguments)])
        train.main()
        return next((home / "models").glob("*.json"))

    return fill, start


def test_labels_the_wrong_way_round_are_trained_anew(quick, home, tmp_path, capsys):
    """The stored features are deleted and the class folders' names exchanged: nothing old is read."""
    fill, start = quick
    fill(tmp_path / "pets")
    note = json.loads(start("--dataset", tmp_path / "pets").read_text())
    assert note["test"]["right"] == note["test"]["total"]
    shutil.rmtree(home / "features")
    shutil.rmtree(tmp_path / "pets")
    fill(tmp_path / "pets", "blue", "red")
    note = json.loads(start("--dataset", tmp_path / "pets").read_text())
    assert note["test"]["right"] == note["test"]["total"]
    assert "other photographs in the same folder" in capsys.readouterr().out


def test_a_test_folder_is_searched_for_copies(quick, tmp_path, capsys, monkeypatch):
    fill, start = quick
    monkeypatch.setattr(train, "train", lambda given, backbone, parts: (small(), {}, {}, "digest"))
    fill(tmp_path / "train")
    fill(tmp_path / "test", start=5)  # half of them are training photographs
    (tmp_path / "test" / "green").mkdir()
    picture(99).save(tmp_path / "test" / "green" / "1.png")
    note = json.loads(start("--dataset", tmp_path / "train", "--test", tmp_path / "test").read_text())
    assert note["left_out_of_the_test"] == 10 and note["photographs"][2] == 10
    said = capsys.readouterr().out
    assert "ignored in the test folder" in said and "green" in said
    assert note["training"]["test"] == str(tmp_path / "test")


def test_a_test_folder_of_copies_alone_is_refused(quick, tmp_path):
    fill, start = quick
    fill(tmp_path / "train")
    fill(tmp_path / "test")
    with pytest.raises(SystemExit, match="error: nothing is left to test on: 20 of 20"):
        start("--dataset", tmp_path / "train", "--test", tmp_path / "test")


def test_classes_are_the_same_however_their_accents_are_composed(quick, tmp_path, monkeypatch):
    fill, start = quick
    monkeypatch.setattr(train, "train", lambda given, backbone, parts: (small(), {}, {}, "digest"))
    fill(tmp_path / "train", "ma\u00e7a", "mad")
    fill(tmp_path / "test", "mac\u0327a", "mad", start=50)
    note = json.loads(start("--dataset", tmp_path / "train", "--test", tmp_path / "test",
                            "--classes", "mac\u0327a", "mad").read_text())
    assert note["photographs"][2] == 20 and note["classes"] == ["mad", "ma\u00e7a"]


def test_a_class_that_the_test_folder_lacks_is_named(quick, tmp_path):
    fill, start = quick
    fill(tmp_path / "train")
    fill(tmp_path / "train", "green", "blue")
    fill(tmp_path / "test", start=50)
    with pytest.raises(SystemExit, match="has no green; put photographs of it there"):
        start("--dataset", tmp_path / "train", "--test", tmp_path / "test")


def test_parts_of_a_split_are_no_classes(quick, tmp_path):
    fill, start = quick
    fill(tmp_path / "kaggle", "train", "test1")
    with pytest.raises(SystemExit, match="--dataset .*train.* --test"):
        start("--dataset", tmp_path / "kaggle")


@pytest.mark.parametrize("error, message", [
    (OSError(28, "No space left on device", "own.keras"), "No space left on device: 'own.keras'"),
    (ValueError("the names do not fit"), "the names do not fit"), (MemoryError(), "not enough memory"),
    (tf.errors.ResourceExhaustedError(None, None, "OOM\nhere"), "ResourceExhaustedError: OOM here"),
    (KeyboardInterrupt(), "goes on from here")])
def test_what_goes_wrong_at_the_end_is_one_sentence(quick, tmp_path, monkeypatch, error, message):
    fill, start = quick
    fill(tmp_path / "pets")

    def save(*_):
        raise error

    monkeypatch.setattr(models, "save", save)
    monkeypatch.setattr(train, "train", lambda given, backbone, parts: (small(), {}, {}, "digest"))
    with pytest.raises(SystemExit, match=re.escape(message)) as stopped:
        start("--dataset", tmp_path / "pets")
    assert stopped.value.code.strip().count("\n") == 0


def test_a_mistake_of_ours_keeps_its_traceback(quick, tmp_path, monkeypatch):
    fill, start = quick
    fill(tmp_path / "pets")
    monkeypatch.setattr(train, "train", lambda given, backbone, parts: {}["key"])
    with pytest.raises(KeyError):
        start("--dataset", tmp_path / "pets")


def test_lesson_8_runs_on_what_is_not_animals(place):
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "run_notebooks.py"), "--only", "08",
         "--output", str(place / "pages")], capture_output=True, text=True,
        env=os.environ | {"TRANSFER_HOME": str(place / "home"), "TRANSFER_DATASET": str(place / "drawings")})
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    page = (place / "pages" / "08_your_own_photos.html").read_text(encoding="utf-8")
    assert "torn.jpg" in page


def test_a_class_of_which_nothing_can_be_read_is_named(home, folder, capsys):
    for file in (folder / "class1").iterdir():
        file.write_text("no picture")
    with pytest.raises(ValueError, match="nothing of class1 can be read; what is said above tells why"):
        train.split(SimpleNamespace(test=None, seed=0, alike_bits=6), datasets.from_folder(folder, "x"))
    assert "class1/00.jpg" in capsys.readouterr().out


@pytest.mark.parametrize("closed", [">&-", "2>&-"])
def test_a_closed_terminal_stops_nothing(tmp_path, closed):
    command = f"{sys.executable} {ROOT}/scripts/predict_litert.py {tmp_path}/none.keras x.jpg {closed}"
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr
