"""Fit, keep the best epoch, remember the curves (lesson 03).

The model is built and compiled in the lesson; here is only what would distract there.
"""

import json
import os
import sys
import time

import keras
from tqdm import tqdm

from . import home
from .features import Batches, Features


class _Progress(keras.callbacks.Callback):
    """One bar over all epochs; Keras's own prints a line per epoch."""

    def __init__(self, name: str):
        super().__init__()
        self.name = name

    def on_train_begin(self, logs=None):
        self.bar = tqdm(total=self.params["epochs"], desc=self.name, unit=" epochs", leave=False,
                        file=sys.stdout)

    def on_epoch_end(self, epoch, logs=None):
        self.bar.set_postfix_str(f"validation {logs['val_accuracy']:.1%}", refresh=False)
        self.bar.update()

    def on_train_end(self, logs=None):
        self.bar.close()


def fit(model: keras.Model, train: Features, validation: Features, epochs: int, name: str,
        batch_size: int = 32, seed: int = 0, callbacks=()) -> dict[str, list[float]]:
    """Fit on cached features and leave the model at its best epoch: the lowest validation loss.

    The loss moves more smoothly than the accuracy, so a lucky epoch is chosen less often.

    Args:
        model: compiled, with the metric "accuracy".
        train, validation: from `features.extract`; they are read in batches from disk.
        epochs: passes over the training features.
        name: of the run; its history is kept as `history/<name>.json` below TRANSFER_HOME.
        batch_size: rows per step.
        seed: of the order of the batches.
        callbacks: more Keras callbacks.

    Returns:
        History: "accuracy", "loss", "val_accuracy", "val_loss" per epoch, and "seconds".
    """
    keep_best = keras.callbacks.EarlyStopping(
        "val_loss", patience=epochs, restore_best_weights=True)
    start = time.perf_counter()
    fitted = model.fit(Batches(train, batch_size, seed), validation_data=Batches(validation, 256),
                       epochs=epochs, verbose=0, callbacks=[keep_best, _Progress(name), *callbacks])
    history = {key: [float(value) for value in values] for key, values in fitted.history.items()}
    history["seconds"] = time.perf_counter() - start
    path = home("history", f"{name}.json")
    path.with_suffix(".partial").write_text(json.dumps(history))
    os.replace(path.with_suffix(".partial"), path)
    return history
