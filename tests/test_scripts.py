"""scripts/train.py and predict.py as a new user tries them, on drawings of flowers and vehicles."""

import json
import os
import re
import subprocess
import sys
import time

import numpy as np
import predict
import pytest
import train
from PIL import Image, ImageDraw
from transfer import ROOT


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
        for number in range(24):
            draw(kind, number).save(place / "drawings" / kind / f"{number:02}.png")
        draw(kind, 1000).save(place / f"new-{kind}.png")
    (place / "drawings" / "flower" / "IMG_1.HEIC").write_bytes(b"\0\0\0 ftypheic")
    (place / "drawings" / "vehicle" / "torn.jpg").write_bytes(b"\xff\xd8\xff")
    return place


def command(place, script: str, *arguments) -> dict:
    return {"args": [sys.executable, str(ROOT / "scripts" / script), *map(str, arguments)], "cwd": place,
            "env": os.environ | {"TRANSFER_HOME": str(place / "home")}, "text": True}


def test_train_is_killed_goes_on_and_its_model_is_asked(place):
    model = place / "out" / "own.keras"
    again = command(place, "train.py", "--dataset", "drawings", "--method", "fine-tuned", "--epochs", 3,
                    "--output", model, "--litert")
    first = subprocess.Popen(**again, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not list(place.glob("home/runs/*-fine-tuned-*/backup/epoch-*")):
        assert first.poll() is None, "it ended before it could be killed"
        time.sleep(0.02)
    first.kill()
    first.wait()
    assert not model.exists()

    trained = subprocess.run(**again, capture_output=True)
    assert trained.returncode == 0, trained.stderr
    assert "torn.jpg: unreadable" in trained.stdout and "IMG_1.HEIC is not read" in trained.stdout
    assert "images to compute" not in trained.stdout  # every feature was found again
    epochs = next(place.glob("home/runs/*-fine-tuned-*/epochs.csv")).read_text().splitlines()[1:]
    assert [row.split(",")[0] for row in epochs].count("0") == 1  # and the first epoch
    noted = json.loads(model.with_suffix(".json").read_text())
    assert sum(noted["photographs"]) == 48 and len(noted["history"]["val_loss"]) == 3
    assert noted["test"]["right"] >= 0.8 * noted["test"]["total"]
    assert {path.suffix for path in model.parent.iterdir()} == {".keras", ".txt", ".json", ".tflite"}

    asked = subprocess.run(**command(place, "predict.py", model, "new-flower.png", "no.jpg",
                                     "new-vehicle.png"), capture_output=True)
    assert asked.returncode == 1 and "no.jpg" in asked.stderr
    assert [line.split()[:2] for line in asked.stdout.splitlines()] == [
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
])
def test_wrong_arguments_are_said(place, monkeypatch, capsys, arguments, message):
    assert re.search(message, failure(place, monkeypatch, capsys, train, *arguments))


@pytest.mark.parametrize("name, message", [
    ("no.keras", "is missing"), ("torn.keras", "cannot be read as a model"),
    ("model.tflite", "predict_litert.py")])
def test_a_model_that_is_none_is_said(place, monkeypatch, capsys, name, message):
    (place / "torn.keras").write_bytes(b"PK")
    (place / "torn.txt").write_text("a\nb\n")
    assert message in failure(place, monkeypatch, capsys, predict, name, "new-flower.png")


def test_lesson_8_runs_on_what_is_not_animals(place):
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "run_notebooks.py"), "--only", "08",
         "--output", str(place / "pages")], capture_output=True, text=True,
        env=os.environ | {"TRANSFER_HOME": str(place / "home"), "TRANSFER_DATASET": str(place / "drawings")})
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    page = (place / "pages" / "08_your_own_photos.html").read_text(encoding="utf-8")
    assert "IMG_1.HEIC is not read" in page
