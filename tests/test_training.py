"""The best epoch is kept, what decides a training makes another run, and intervals are Wilson's."""

import json
import os
import random
import threading
import time
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from filelock import FileLock
from made_up import overlapping_classes
from transfer import evaluation, features, files, models, runs, training


@pytest.fixture
def data(home):
    return overlapping_classes()


def head() -> keras.Model:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, activation="softmax")])
    model.compile(keras.optimizers.SGD(3.0), loss="sparse_categorical_crossentropy", metrics=["accuracy"],
                  run_eagerly=True)  # so few steps are not worth a graph
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


class Begun(keras.callbacks.Callback):
    """Which epochs were begun; interrupts in the epoch `stop`, once."""

    def __init__(self, stop=None):
        super().__init__()
        self.epochs, self.stop = [], stop

    def on_epoch_begin(self, epoch, logs=None):
        self.epochs.append(epoch)
        if epoch == self.stop:
            raise KeyboardInterrupt


class Other:
    """The same rows, of other photographs or with other labels."""

    def __init__(self, part: features.Features, keys=None, labels=None):
        self.part, self.shape, self.recipe = part, part.shape, part.recipe
        self.keys = part.keys if keys is None else keys
        self.labels = part.labels if labels is None else labels

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, which):
        return self.part[which]


def test_other_photographs_or_labels_in_the_same_rows_are_another_training(data):
    (train, validation), begun = data, Begun()
    photographs = [f"{number:064x}" for number in range(1000, 1090)]

    def epochs_of(*parts) -> list[int]:
        begun.epochs.clear()
        training.fit(head(), *parts, epochs=1, name="run", callbacks=[begun], resume=True)
        return list(begun.epochs)

    assert epochs_of(train, validation) == [0] and epochs_of(train, validation) == []
    assert epochs_of(Other(train, labels=np.roll(train.labels, 1)), validation) == [0]
    assert epochs_of(Other(train, photographs), validation) == [0]
    assert epochs_of(train, validation) == []
    assert key(data) == key([Other(train), Other(validation)])
    assert len({key(data), key([train, Other(validation, photographs)]),
                key([train, Other(validation, labels=np.roll(validation.labels, 1))]),
                key([train, Other(validation, validation.keys[::-1])])}) == 4


def test_fitting_a_model_further_is_another_run_and_begins_with_the_weights_it_has(data):
    def twice() -> tuple[list[int], dict, dict]:
        model, begun = head(), Begun()
        histories = [training.fit(model, *data, epochs, "run", callbacks=[begun], resume=True)
                     for epochs in (1, 2)]
        return begun.epochs, *histories

    epochs, first, further = twice()
    assert epochs == [0, 0, 1]
    again, read_first, read_further = twice()
    assert again == [] and (read_first, read_further) == (first, further)
    anew = training.fit(head(), *data, 2, "run", resume=True)
    assert anew["loss"][0] == first["loss"][0] != further["loss"][0]


def ways_to_differ() -> dict:
    """Ways to build and fit one training, each differing from "as it was" in one thing."""
    def weighted(weight):
        def loss(labels, predictions):
            return weight * keras.losses.sparse_categorical_crossentropy(labels, predictions)
        return loss

    def patient(epochs):
        return keras.callbacks.ReduceLROnPlateau(patience=epochs)

    def scheduled(rate):
        return keras.callbacks.LearningRateScheduler(lambda epoch: rate / (1 + epoch))

    def cosine(steps):
        return keras.optimizers.schedules.CosineDecay(0.1, steps)

    class Halve(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.optimizer.learning_rate *= 0.5

    class Third(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.optimizer.learning_rate *= 0.3

    sgd = keras.optimizers.SGD
    return {
        "as it was": {}, "epochs": {"epochs": 3}, "batch size": {"batch_size": 16}, "seed": {"seed": 1},
        "activation": {"activation": "relu"}, "dropout": {"dropout": 0.4}, "trainable": {"frozen": True},
        "weights": {"weights": 2}, "regularizer": {"regularizer": "l2"},
        "optimizer": {"optimizer": lambda: keras.optimizers.Adam(0.1)},
        "rate": {"optimizer": lambda: sgd(0.2)}, "momentum": {"optimizer": lambda: sgd(0.1, 0.9)},
        "clipnorm": {"optimizer": lambda: sgd(0.1, clipnorm=1.0)},
        "weight decay": {"optimizer": lambda: sgd(0.1, weight_decay=0.1)},
        "schedule": {"optimizer": lambda: sgd(cosine(10))},
        "schedule's length": {"optimizer": lambda: sgd(cosine(20))},
        "loss": {"loss": weighted(1)}, "loss's value": {"loss": weighted(2)},
        "loss's body": {"loss": lambda labels, predictions: keras.ops.mean(predictions)},
        "loss's settings": {"loss": keras.losses.SparseCategoricalCrossentropy(ignore_class=2)},
        "loss weights": {"loss_weights": 2.0},
        "plateau": {"callbacks": [patient(1)]}, "plateau's patience": {"callbacks": [patient(2)]},
        "stopping": {"callbacks": [keras.callbacks.EarlyStopping(patience=1)]},
        "stopping's delta": {"callbacks": [keras.callbacks.EarlyStopping(patience=1, min_delta=0.1)]},
        "scheduler": {"callbacks": [scheduled(1)]}, "scheduler's value": {"callbacks": [scheduled(2)]},
        "own callback": {"callbacks": [Halve()]}, "own callback's body": {"callbacks": [Third()]},
        "a function that is handed over": {"callbacks": [keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: setattr(Halve, "stop_training", epoch))]},
    }


def ways_not_to_differ() -> dict:
    seen = []
    return {
        "as it was": {}, "other names": {"prefix": "mine"}, "a callback that interrupts":
        {"callbacks": [Begun(1)]}, "one that watches": {"callbacks": [keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs: seen.append(epoch))]},
        "one that writes": {"callbacks": [keras.callbacks.CSVLogger("seen.csv")]},
    }


def key(data, epochs=2, batch_size=32, seed=0, activation="gelu", dropout=0.5, frozen=False, weights=1,
        regularizer=None, optimizer=lambda: keras.optimizers.SGD(0.1),
        loss="sparse_categorical_crossentropy", loss_weights=None, callbacks=(), prefix=None) -> str:
    def name(part):
        return prefix and f"{prefix}_{part}"

    layers = keras.layers
    model = keras.Sequential([
        keras.Input((3,), name=name(1)),
        layers.Dense(4, activation, kernel_regularizer=regularizer, name=name(2)),
        layers.Dropout(dropout, name=name(3)), layers.Dense(3, "softmax", name=name(4))], name=name("all"))
    model.layers[0].trainable = not frozen
    model.set_weights([np.full(one.shape, weights, "float32") for one in model.get_weights()])
    model.compile(optimizer(), loss, loss_weights=loss_weights)
    model.optimizer.build(model.trainable_variables)
    watched = [one for one in callbacks if runs.changes_the_training(one)]
    return runs.key(model, features.Batches(data[0], batch_size, seed), data[1], epochs, watched)


def test_whatever_decides_the_result_makes_another_run(data):
    ways = ways_to_differ()
    assert len({key(data, **way) for way in ways.values()}) == len(ways)


def test_names_and_callbacks_that_only_watch_make_no_other_run(data):
    assert len({key(data, **way) for way in ways_not_to_differ().values()}) == 1


def test_a_stopped_training_goes_on_with_the_patience_that_was_left(data, monkeypatch, tmp_path):
    """Two epochs without progress halve the rate, three end it; interrupted, both still count."""
    def fit(*watching) -> dict:
        model = head()
        model.optimizer.learning_rate = 8.0
        callbacks = [keras.callbacks.ReduceLROnPlateau(patience=2, factor=0.5, min_delta=1.0),
                     keras.callbacks.EarlyStopping(patience=3, min_delta=1.0), *watching]
        found = training.fit(model, *data, 9, "run", callbacks=callbacks, resume=True)
        return {name: values for name, values in found.items() if name != "seconds"}

    whole = fit()
    assert 3 < len(whole["loss"]) < 9 and len(set(whole["learning_rate"])) > 1
    begun = Begun()
    assert fit(begun) == whole and begun.epochs == [], "a training that was stopped early is finished"
    monkeypatch.setenv("TRANSFER_HOME", str(tmp_path / "other"))
    data = overlapping_classes()
    with pytest.raises(KeyboardInterrupt):
        fit(Begun(2))
    assert fit(begun) == whole and begun.epochs[0] == 2


@pytest.mark.parametrize("resume", [False, True])
def test_a_loss_that_is_never_a_number_ends_in_a_sentence(data, resume):
    model = head()
    before = model.get_weights()
    model.optimizer.learning_rate = float("nan")
    for _ in range(2):
        with pytest.raises(ValueError, match="run: the loss was never a number.*smaller learning rate.*"
                                             "range"):
            training.fit(model, *data, 2, "run", resume=resume)
        assert all(map(np.array_equal, before, model.get_weights()))


def test_a_loss_that_is_no_number_any_more_keeps_the_best_epoch_and_says_so(data, capsys):
    rates = keras.callbacks.LearningRateScheduler(lambda epoch: [0.1, 0.1, float("nan")][epoch])
    model = head()
    history = training.fit(model, *data, 3, "run", callbacks=[rates])
    assert np.isfinite(history["val_loss"]).tolist() == [True, True, False]
    assert model.evaluate(features.Batches(data[1]).data(), verbose=0)[0] == pytest.approx(
        history["val_loss"][1], rel=1e-4)
    said = capsys.readouterr().out
    assert "run: the loss was no number in 1 of 3 epochs; epoch 2" in said and "learning rate" in said


def test_the_second_of_two_waits_and_says_so(data, home, monkeypatch, capsys):
    history = training.fit(head(), *data, 1, "run", resume=True)
    taken = threading.Event()

    def first():
        with FileLock(next(home.glob("runs/*")) / "lock"):
            taken.set()
            time.sleep(0.4)

    monkeypatch.setattr(files, "PATIENCE", 0.05)
    threading.Thread(target=first).start()
    taken.wait()
    assert training.fit(head(), *data, 1, "run", resume=True) == history
    assert "another notebook or program, which is at this very training" in capsys.readouterr().out


def test_a_damaged_row_is_said_without_tensorflows_traceback(data):
    class Damaged(Other):
        def __getitem__(self, which):
            raise OSError("rows.sqlite was damaged: extract again")

    with pytest.raises(OSError, match="^rows.sqlite was damaged: extract again$"):
        training.fit(head(), Damaged(data[0]), data[1], 1, "run", resume=True)


def test_what_cannot_be_trained_is_said_before(data):
    train, validation = data
    nothing = Other(validation, [], np.zeros(0, int))
    with pytest.raises(ValueError, match="no photographs for validation"):
        training.fit(head(), train, nothing, 1, "run")
    with pytest.raises(ValueError, match="is not compiled"):
        training.fit(keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)]), *data, 1, "run")


def test_a_history_that_cannot_be_written_costs_no_training(data, home, capsys):
    (home / "history" / "run.json").mkdir(parents=True)
    assert len(training.fit(head(), *data, 1, "run")["loss"]) == 1
    assert "history is not kept" in capsys.readouterr().out


def test_a_frozen_head_leaves_the_dice_of_the_session_alone_and_is_what_it_was(data, home, monkeypatch):
    def drawn():
        return random.random(), np.random.random(), tf.random.uniform(()).numpy()

    keras.utils.set_random_seed(7)
    wanted = drawn()
    keras.utils.set_random_seed(7)
    monkeypatch.setattr(training, "fit", lambda head, *arguments, **options: head.get_weights())
    _, weights = training.frozen_head(*data, 3, seed=5)
    assert drawn() == wanted
    keras.utils.set_random_seed(5)  # as it was made before
    before = keras.Sequential([keras.Input(data[0].shape[1:]), keras.layers.UnitNormalization(),
                               keras.layers.Dense(3, activation="softmax")])
    assert all(map(np.array_equal, weights, before.get_weights()))
    with pytest.raises(ValueError, match="go up to 2, so 2 classes are too few"):
        training.frozen_head(*data, 2)


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


def test_a_name_that_leads_elsewhere_is_refused(data, home):
    for name in ("../../escape", "a/b", "..", ""):
        with pytest.raises(ValueError, match="the name of a run"):
            training.fit(head(), *data, 1, name, resume=True)
    assert not home.exists() or not list(home.parent.glob("escape*"))


def test_a_callback_that_keeps_a_list_goes_on_with_it(data):
    class Slower(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.losses = []

        def on_epoch_end(self, epoch, logs=None):
            self.losses.append(logs["loss"])
            self.model.optimizer.learning_rate = 0.5 / len(self.losses) ** 2

    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 3:
                raise KeyboardInterrupt

    whole = training.fit(head(), *data, 5, "whole", callbacks=[Slower()])
    with pytest.raises(KeyboardInterrupt):
        training.fit(head(), *data, 5, "run", callbacks=[Slower(), Stop()], resume=True)
    resumed = training.fit(head(), *data, 5, "run", callbacks=[Slower()], resume=True)
    assert resumed["val_loss"] == whole["val_loss"]


def test_what_cannot_be_told_apart_is_not_kept_and_said(data, home, capsys):
    table = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer([0], [1.0], tf.int64, tf.float32), 1.0)

    def weighted(labels, predictions):
        return table.lookup(tf.cast(labels, tf.int64)) * keras.losses.sparse_categorical_crossentropy(
            labels, predictions)

    model = head()
    model.compile("sgd", loss=weighted, metrics=["accuracy"])
    assert len(training.fit(model, *data, 2, "run", resume=True)["val_loss"]) == 2
    assert "not kept for an interruption" in capsys.readouterr().out
    assert not list(home.glob("runs/run-*"))
