"""A small training with `resume=True`, to be killed by test_fine_tuning; prints what it did as JSON."""

import argparse
import json
import os
import signal

import keras
from made_up import overlapping_classes
from transfer import models, training

parser = argparse.ArgumentParser()
parser.add_argument("--rate", type=float, default=0.01)
parser.add_argument("--interrupt", action="store_true")
parser.add_argument("--die-writing", default="")
arguments = parser.parse_args()

keras.utils.set_random_seed(0)
model = keras.Sequential([
    keras.Input((3,)), keras.layers.Dense(64, activation="relu"), keras.layers.Dropout(0.5),
    keras.layers.Dense(3, activation="softmax")])
rate = keras.optimizers.schedules.CosineDecay(arguments.rate, 18)
model.compile(keras.optimizers.AdamW(rate), loss="sparse_categorical_crossentropy", metrics=["accuracy"])

begun = []


class Watch(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        begun.append(epoch)
        if arguments.interrupt and epoch == 2 and begun.count(2) == 1:
            raise KeyboardInterrupt


def die_in_the_third_write(moment: str) -> None:
    """Let the process die after a part of the third file of this kind has been written."""
    written = {"best": "best.weights.h5", "backup": "latest.weights.h5"}
    counts = {"writes": 0}
    save, dump = keras.Model.save_weights, json.dumps

    def torn_save(self, filepath, *args, **options):
        save(self, filepath, *args, **options)
        counts["writes"] += str(filepath).endswith(written[moment])
        if counts["writes"] == 3:
            os.truncate(filepath, os.path.getsize(filepath) // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    def no_note(value, *args, **options):
        if isinstance(value, dict) and set(value) == {"epoch", "batch"} and value["epoch"] == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return dump(value, *args, **options)

    if moment in written:
        keras.Model.save_weights = torn_save
    elif moment == "metadata":
        json.dumps = no_note


if arguments.die_writing:
    die_in_the_third_write(arguments.die_writing)
parts = overlapping_classes()
try:
    history = training.fit(model, *parts, 6, "run", callbacks=[Watch()], resume=True)
except KeyboardInterrupt:
    history = training.fit(model, *parts, 6, "run", callbacks=[Watch()], resume=True)
history.pop("seconds")
print(json.dumps({"begun": begun, "history": history, "digest": models.weights_digest(model)}))
