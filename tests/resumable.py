"""A small training with dropout, momentum and a falling rate, for test_fine_tuning.

As a program it trains with `resume=True` and dies by SIGKILL where it is told to.
"""

import os
import signal
import sys
from pathlib import Path

import keras
from made_up import overlapping_classes
from transfer import training

EPOCHS, BATCHES = 6, 3


class Watch(keras.callbacks.Callback):
    """Notes which epochs were begun, and stops the training in its own way after `after` batches."""

    def __init__(self, after: float = float("inf"), stop=None):
        super().__init__()
        self.begun, self.batches, self.after, self.stop = [], 0, after, stop

    def on_epoch_begin(self, epoch, logs=None):
        self.begun.append(epoch)

    def on_train_batch_end(self, batch, logs=None):
        self.batches += 1
        if self.batches == self.after:
            self.stop()


def network(rate: float = 0.01) -> keras.Model:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([
        keras.Input((3,)), keras.layers.Dense(64, activation="relu"), keras.layers.Dropout(0.5),
        keras.layers.Dense(3, activation="softmax")])
    return compiled(model, rate)


def compiled(model: keras.Model, rate: float = 0.01) -> keras.Model:
    schedule = keras.optimizers.schedules.CosineDecay(rate, EPOCHS * BATCHES)
    model.compile(keras.optimizers.AdamW(schedule), loss="sparse_categorical_crossentropy",
                  metrics=["accuracy"])
    return model


def fit(model: keras.Model, *callbacks) -> dict:
    """The history but for the seconds."""
    history = training.fit(model, *overlapping_classes(), EPOCHS, "run", callbacks=callbacks, resume=True)
    return {key: values for key, values in history.items() if key != "seconds"}


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_writing(number: int) -> None:
    """Die when half of the file of this epoch is on the disk, under its temporary name."""
    replace = os.replace

    def torn(beside, path):
        if Path(path).name == f"epoch-{number:04}.npz":
            os.truncate(beside, os.path.getsize(beside) // 2)
            die()
        replace(beside, path)

    os.replace = torn


if __name__ == "__main__":
    if sys.argv[1] == "writing":
        die_writing(3)
    fit(network(), Watch(2 * BATCHES + 2, die) if sys.argv[1] == "training" else Watch())
