"""Fit, keep the best epoch, remember the curves, go on after an interruption (lessons 03 and 04).

The model is built and compiled in the lesson; here is only what would distract there.
"""

import contextlib
import csv
import hashlib
import json
import os
import re
import shutil
import sys
import time
from pathlib import Path

import keras
from filelock import FileLock
from tqdm import tqdm

from . import home, models, write_whole
from .features import Batches, Features


class _Progress(keras.callbacks.Callback):
    """One bar over all epochs (Keras's own prints a line per epoch), the clock, and the dice.

    What is random in an epoch follows from seed and epoch alone; a backup does not hold the state
    of the dice, so without this a resumed training would differ.
    """

    def __init__(self, name: str, batches: Batches):
        super().__init__()
        self.name, self.batches, self.bar = name, batches, None

    def on_epoch_begin(self, epoch, logs=None):
        if self.bar is None:
            self.bar = tqdm(total=self.params["epochs"], initial=epoch, desc=self.name, unit=" epochs",
                            leave=False, file=sys.stdout)
        self.batches.start_epoch(epoch)
        dice = [state for state in self.model.variables if "seed_generator_state" in state.path]
        for number, state in enumerate(dice):  # of dropout, mostly
            state.assign([self.batches.seed + number, epoch])
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        logs["seconds"] = time.perf_counter() - self.start
        self.bar.set_postfix_str(f"validation {logs['val_accuracy']:.1%}", refresh=False)
        self.bar.update()

    def on_train_end(self, logs=None):
        if self.bar is not None:
            self.bar.close()


class _Backup(keras.callbacks.BackupAndRestore):
    """Keras's own, which writes in place, made safe: each epoch's state is whole before it counts.

    Killed while it writes, Keras's own finds a torn file, or weights newer than their epoch.
    """

    def __init__(self, folder: Path):
        self.folder, self.working = folder, folder / "working"
        super().__init__(str(self.working), delete_checkpoint=False)

    def on_train_begin(self, logs=None):
        shutil.rmtree(self.working, ignore_errors=True)
        for newest in sorted(self.folder.glob("epoch-*"))[-1:]:
            shutil.copytree(newest, self.working)
        super().on_train_begin(logs)

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        older = list(self.folder.glob("epoch-*"))
        os.replace(self.working, self.folder / f"epoch-{epoch + 1:04}")
        for folder in older:
            shutil.rmtree(folder)


def fit(model: keras.Model, train: Features | list[Features], validation: Features, epochs: int,
        name: str, batch_size: int = 32, seed: int = 0, callbacks=(), resume: bool = False,
        ) -> dict[str, list[float]]:
    """Fit on cached features and leave the model at its best epoch: the lowest validation loss.

    The loss moves more smoothly than the accuracy, so a lucky epoch is chosen less often.

    Args:
        model: compiled, with the metric "accuracy".
        train, validation: from `features.extract`; they are read in batches from disk. A list for
            `train` holds views of the same photographs, and each epoch draws one of them.
        epochs: passes over the training features.
        name: of the run; its history is kept as `history/<name>.json` below TRANSFER_HOME.
        batch_size: rows per step.
        seed: of the order of the batches.
        callbacks: more Keras callbacks.
        resume: keep every epoch in `runs/` below TRANSFER_HOME. The same training, started again
            after an interruption, goes on with the next epoch; once finished, it is only read.

    Returns:
        History: "accuracy", "loss", "val_accuracy", "val_loss" per epoch, and "seconds" in all.
    """
    batches = Batches(train, batch_size, seed)
    lock = contextlib.nullcontext()
    if resume:
        run = home("runs", f"{name}-{_key(model, batches, validation, epochs)}")
        run.mkdir(exist_ok=True)
        lock = FileLock(run / "lock")  # a second notebook waits, then finds it done
    with lock:
        keep = _on_disk(run) if resume else [
            keras.callbacks.EarlyStopping("val_loss", patience=epochs, restore_best_weights=True)]
        fitted = model.fit(batches.data(), validation_data=Batches(validation, 256).data(),
                           epochs=epochs, shuffle=False, verbose=0,  # they are shuffled already
                           callbacks=[_Progress(name, batches), *callbacks, *keep])
        found = fitted.history
        if resume:
            found = _read(run)
            model.load_weights(run / "best.weights.h5")
    history = {key: [float(value) for value in values] for key, values in found.items()}
    history["seconds"] = sum(history["seconds"])
    write_whole(home("history", f"{name}.json"), json.dumps(history))
    return history


def frozen_head(train: Features, validation: Features, classes: int, name: str = "03-final",
                seed: int = 0, epochs: int = 30) -> tuple[keras.Model, dict]:
    """Lesson 03's head with its history: trained if it has not been yet, otherwise only read.

    Args:
        train, validation: the "pooled" features.
        classes: how many there are.
        name: of the run.
        seed: of the first weights and the order of the batches.
        epochs: passes over the training features, in which the rate falls to 0.
    """
    keras.utils.set_random_seed(seed)
    head = keras.Sequential([
        keras.Input(train.shape[1:]), keras.layers.UnitNormalization(),
        keras.layers.Dense(classes, activation="softmax")])
    rate = keras.optimizers.schedules.CosineDecay(0.1, epochs * -(-len(train) // 16))
    head.compile(keras.optimizers.AdamW(rate, weight_decay=0.02),
                 loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return head, fit(head, train, validation, epochs, name, batch_size=16, seed=seed, resume=True)


def warm_up_and_cosine(peak: float, steps: int) -> keras.optimizers.schedules.CosineDecay:
    """A rate that rises from 0 to `peak` in a tenth of the steps and falls to 0 in the rest."""
    return keras.optimizers.schedules.CosineDecay(
        0.0, steps - steps // 10, warmup_target=peak, warmup_steps=steps // 10)


def fine_tuned(head: keras.Model, train: list[Features], validation: Features, backbone: str = "vgg16",
               epochs: int = 5, name: str = "04-fine-tuned", seed: int = 0,
               batch_size: int = 32, rate: float = 5e-5) -> tuple[keras.Model, keras.Model, dict]:
    """Lesson 04's fine-tuning of the last layers and the head: trained if it has not been, or read.

    Args:
        head: from `frozen_head`; it is copied, not changed.
        train, validation: the features of the layer `kept` of the backbone, for `train` of all views.
        backbone: its name, as `models.backbone` takes it.
        epochs: passes over the training features.
        name: of the run.
        seed: of dropout and the order of the batches.
        batch_size: rows per step.
        rate: the highest learning rate.

    Returns:
        The changed network, the tail (its thawed end and the head, on stored features), and the
        history.
    """
    chosen, own_head = models.backbone(backbone), keras.models.clone_model(head)
    own_head.set_weights(head.get_weights())
    tail = models.tail(chosen.network, own_head, chosen.first)
    schedule = warm_up_and_cosine(rate, epochs * -(-len(train[0]) // batch_size))
    tail.compile(keras.optimizers.AdamW(schedule), loss="sparse_categorical_crossentropy",
                 metrics=["accuracy"])
    history = fit(tail, train, validation, epochs, name, batch_size, seed, resume=True)
    return chosen.network, tail, history


def _on_disk(run: Path) -> list[keras.callbacks.Callback]:
    """Best weights, curves, and then the state to go on from: what is torn is made once more."""
    best = min(map(float, _read(run).get("val_loss", ["inf"])))
    return [
        keras.callbacks.ModelCheckpoint(run / "best.weights.h5", "val_loss", save_best_only=True,
                                        save_weights_only=True, initial_value_threshold=best),
        keras.callbacks.CSVLogger(run / "epochs.csv", append=True),
        _Backup(run / "backup")]


def _read(run: Path) -> dict[str, list[str]]:
    """The curves so far; of an epoch that was done twice, the last."""
    if not (run / "epochs.csv").exists():
        return {}
    with open(run / "epochs.csv", newline="") as file:
        rows = {row.pop("epoch"): row for row in csv.DictReader(file)}
    return {key: [row[key] for row in rows.values()] for key in next(iter(rows.values()), {})}


def _key(model, batches: Batches, validation: Features, epochs: int) -> str:
    """Whatever decides the result, as 12 hexadecimal digits: change it, and it is another run."""
    if not hasattr(model, "started_from"):  # stays when an interrupted cell is run once more
        model.started_from = models.weights_digest(model)
    layers = [[layer.get_config() | {"name": ""}, layer.trainable] for layer in model.layers]
    rows = [[view.recipe, view.rows.tolist()] for view in [*batches.views, validation]]
    decides = json.dumps([model.started_from, layers, model.get_compile_config(), rows, epochs,
                          batches.batch_size, batches.seed], default=str)
    decides = re.sub(r'_\d+"', '"', decides)  # Keras numbers names: the second dropout is dropout_1
    return hashlib.sha256(decides.encode()).hexdigest()[:12]
