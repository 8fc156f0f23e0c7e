"""The best epoch by validation is kept, the curves are remembered, and intervals are Wilson's."""

import json
import os
from pathlib import Path

import keras
import numpy as np
import pytest
from made_up import overlapping_classes
from transfer import evaluation, features, models, training


@pytest.fixture
def data(home):
    return overlapping_classes()


def head() -> keras.Model:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, activation="softmax")])
    model.compile(keras.optimizers.SGD(3.0), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def test_the_best_epoch_is_kept(data):
    model = head()
    history = training.fit(model, *data, epochs=12, name="run")
    assert len(history["val_accuracy"]) == 12
    best = int(np.argmin(history["val_loss"]))
    assert best < 11, "choose a rate at which the last epoch is not the best"
    assert model.evaluate(features.Batches(data[1]).data(), verbose=0)[0] == pytest.approx(
        history["val_loss"][best], rel=1e-4)


def test_the_history_is_kept(data):
    history = training.fit(head(), *data, epochs=2, name="run")
    kept = json.loads((Path(os.environ["TRANSFER_HOME"]) / "history" / "run.json").read_text())
    assert kept == history and kept["seconds"] > 0


def test_a_seed_repeats_to_the_last_digit(data):
    first, second = (training.fit(head(), *data, epochs=3, name="run", seed=5) for _ in range(2))
    assert first["val_loss"] == second["val_loss"]


def test_wilsons_interval_equals_the_published_formula():
    score = evaluation.Score(11, 12)
    z, n, p = 1.959964, 12, 11 / 12
    centre = (p + z**2 / 2 / n) / (1 + z**2 / n)
    half = z * np.sqrt(p * (1 - p) / n + z**2 / 4 / n**2) / (1 + z**2 / n)
    assert score.interval == pytest.approx((centre - half, centre + half), abs=1e-6)
    assert str(score) == "91.7% (64.6% to 98.5%, 11 of 12)"


def test_a_saved_model_is_checked_in_a_fresh_process(home):
    model = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Rescaling(1 / 255),
                              keras.layers.Flatten(), keras.layers.Dense(2)])
    path = home / "model.keras"
    home.mkdir()
    model.save(path)
    images = np.random.default_rng(0).uniform(0, 255, (5, 4, 4, 3)).astype("float32")
    found = models.predict_in_fresh_process(path, images)
    assert np.allclose(found, model.predict(images, verbose=0), atol=1e-6)
    assert [file.name for file in home.iterdir()] == ["model.keras"]
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(RuntimeError, match="model.keras does not load"):
        models.predict_in_fresh_process(path, images)
