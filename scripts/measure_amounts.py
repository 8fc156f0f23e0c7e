"""How many photographs does it take? A small network from scratch, and few photographs per class (lesson 06).

A method with `per_class` learns from so many photographs of each class, drawn by the seed, and
chooses its epoch with a fifth as many; the test set is the whole one of the split. The network from
scratch is left at its last epoch: on ten validation photographs its loss is lowest untrained.
"""

import time

import keras
import numpy as np
from measure_fine_tuning import FINE_TUNED, fine_tune
from measure_heads import POOLED, count, file_megabytes, judged, nearest_mean, stored_head, training_noted
from tqdm import tqdm
from tqdm.keras import TqdmCallback
from transfer import pipeline

NUMBERS = (5, 10, 20, 50, 100, 200)
SCRATCH = {"layers": [16, 32, 64, 128], "size": 96, "dropout": 0.3, "augmentation": "flip, zoom, shift",
           "optimizer": "AdamW", "learning_rate": 2e-3, "schedule": "cosine", "weight_decay": 0.02,
           "epochs": 30, "steps_at_least": 400, "batch_size": 32, "momentum": 0.9, "kept": "last epoch"}
ALONE = {"nearest_mean": {"layer": "pooled"}, "frozen": POOLED, "fine_tuned": FINE_TUNED, "scratch": SCRATCH}
SETTINGS = {"scratch": SCRATCH} | {
    f"{name}, {number} a class": settings | {"per_class": number}
    for name, settings in ALONE.items() for number in NUMBERS}


def small_network(settings: dict, classes: int) -> keras.Model:
    """Four convolutions with BatchNormalization, each followed by halving; takes float32 RGB in 0–255."""
    layers = keras.layers
    model = keras.Sequential([
        keras.Input((settings["size"], settings["size"], 3)), layers.Rescaling(1 / 255),
        layers.RandomFlip("horizontal"), layers.RandomZoom(0.2), layers.RandomTranslation(0.1, 0.1)])
    for channels in settings["layers"]:
        model.add(layers.Conv2D(channels, 3, padding="same", use_bias=False))
        model.add(layers.BatchNormalization(momentum=settings["momentum"]))  # few steps: 0.99 is too slow
        model.add(layers.ReLU())
        model.add(layers.MaxPooling2D())
    for layer in (layers.GlobalAveragePooling2D(), layers.Dropout(settings["dropout"]),
                  layers.Dense(classes, activation="softmax")):
        model.add(layer)
    return model


def pixels(part, size: int) -> np.ndarray:
    """All photographs of a part, small enough to be kept in memory: (n, size, size, 3) uint8."""
    batches = pipeline.batches(part, (size, size), batch_size=64)
    return np.concatenate([images.numpy().astype("uint8") for images, _ in
                           tqdm(batches, desc="reading", unit=" batches", leave=False)])


def scratch(measurement, parts, settings: dict, seed: int) -> dict:
    """A small network that has seen nothing but these photographs."""
    train, validation, test = parts
    images = [pixels(part, settings["size"]) for part in parts]
    model = small_network(settings, measurement.classes)
    steps = -(-len(train) // settings["batch_size"])
    epochs = max(settings["epochs"], -(-settings["steps_at_least"] // steps))
    rate = keras.optimizers.schedules.CosineDecay(settings["learning_rate"], steps * epochs)
    model.compile(keras.optimizers.AdamW(rate, weight_decay=settings["weight_decay"]),
                  loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    clock = time.perf_counter()
    fitted = model.fit(images[0], train.labels, settings["batch_size"], epochs, verbose=0,
                       validation_data=(images[1], validation.labels),
                       callbacks=[TqdmCallback(verbose=0, leave=False)])
    history = fitted.history | {"seconds": time.perf_counter() - clock}
    return {"train": len(train),
            "validation": count(model.predict(images[1], verbose=0).argmax(1), validation.labels),
            "test": judged(model.predict(images[2], verbose=0), test.labels),
            "file_mb": file_megabytes(model), **training_noted(model, history)}


RUN = {"nearest_mean": nearest_mean, "frozen": stored_head, "fine_tuned": fine_tune, "scratch": scratch}
METHODS = {method: RUN[method.split(",")[0]] for method in SETTINGS}
