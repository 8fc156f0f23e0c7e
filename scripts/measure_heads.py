"""Heads on the frozen network: nearest class mean, pooled, Flatten, and what recipes cost (lesson 03)."""

import tempfile
from pathlib import Path

import keras
import numpy as np
from sklearn.metrics import f1_score, recall_score
from transfer import audit, evaluation, features, training

POOLED = {"layer": "pooled", "head": "UnitNormalization, Dense", "optimizer": "AdamW",
          "learning_rate": 0.1, "schedule": "cosine", "weight_decay": 0.02, "epochs": 30,
          "batch_size": 16, "kept": "lowest validation loss"}
LARGER = POOLED | {"backbone": "mobilenet_v2", "size": 288}
SETTINGS = {
    "nearest_mean": {"layer": "pooled"},
    "pooled": POOLED,
    "flatten": {"layer": "block5_pool", "head": "Flatten, Dense(1024), Dense", "optimizer": "Adam",
                "learning_rate": 1e-4, "epochs": 20, "batch_size": 32, "per_class": 105,
                "kept": "lowest validation loss"},
    "mobilenet_v2": POOLED | {"backbone": "mobilenet_v2"},
    "mobilenet_v2, 288 pixels": LARGER,
    "mobilenet_v2, 288 pixels, mirror": LARGER | {"mirror": True},
    "recipes": POOLED | {"train": 210, "validation": 90},
    "blocks": POOLED | {"layer": "the average of each block", "train": 210, "validation": 90},
}


def preprocess(images):
    return keras.applications.vgg16.preprocess_input(images)


def mean_and_standard_deviation(images):
    return (images / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]


def divide_by_255(images):
    return images / 255


def divide_and_subtract(images):
    return preprocess(images / 255)


RECIPES = [preprocess, mean_and_standard_deviation, divide_by_255, divide_and_subtract]


def count(predicted: np.ndarray, labels: np.ndarray) -> dict:
    return {"right": int((predicted == labels).sum()), "total": len(labels)}


def judged(outputs: np.ndarray, labels: np.ndarray) -> dict:
    """A test set in full: how many are right, of which classes, and what was answered how surely."""
    answers = outputs.argmax(1)
    return count(answers, labels) | {
        "macro_f1": round(f1_score(labels, answers, average="macro"), 4),
        "recall": recall_score(labels, answers, average=None).round(4).tolist(),
        "answers": answers.tolist(), "confidence": outputs.max(1).round(4).tolist()}


def head(width_or_shape, classes: int, settings: dict, train_size: int) -> keras.Model:
    """The head that the settings describe, compiled."""
    layers = {"UnitNormalization": keras.layers.UnitNormalization, "Flatten": keras.layers.Flatten,
              "Dense(1024)": lambda: keras.layers.Dense(1024, activation="relu"),
              "Dense": lambda: keras.layers.Dense(classes, activation="softmax")}
    model = keras.Sequential([keras.Input(width_or_shape),
                              *(layers[name]() for name in settings["head"].split(", "))])
    rate = settings["learning_rate"]
    if settings.get("schedule") == "cosine":
        steps = settings["epochs"] * -(-train_size // settings["batch_size"])
        rate = keras.optimizers.schedules.CosineDecay(rate, steps)
    optimizer = (keras.optimizers.AdamW(rate, weight_decay=settings["weight_decay"])
                 if settings["optimizer"] == "AdamW" else keras.optimizers.Adam(rate))
    model.compile(optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def nearest_mean(measurement, parts, settings: dict, seed: int) -> dict:
    """No training at all: each class is the mean of its unit-length features."""
    train, validation, test = (measurement.features(part, settings["layer"]) for part in parts)
    unit = [rows[:] / np.linalg.norm(rows[:], axis=1, keepdims=True) for rows in (train, validation, test)]
    means = np.stack([unit[0][train.labels == label].mean(0) for label in range(measurement.classes)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    return {"validation": count((unit[1] @ means.T).argmax(1), validation.labels),
            "test": judged(unit[2] @ means.T, test.labels), "trainable_parameters": 0}


def stored_head(measurement, parts, settings: dict, seed: int) -> dict:
    """A head on stored features."""
    train, validation, test = (views(measurement, part, settings["layer"], settings) for part in parts)
    model = head(train[0].shape[1:], measurement.classes, settings, len(train[0]))
    history = training.fit(model, train, validation[0], settings["epochs"], f"measure-{seed}",
                           settings["batch_size"], seed)
    return {"train": len(train[0]),
            "validation": count(predict(model, validation).argmax(1), validation[0].labels),
            "test": judged(predict(model, test), test[0].labels),
            "file_mb": file_megabytes(joined(measurement.backbone(**seen_by(settings)).network, model)),
            **training_noted(model, history)}


def joined(network: keras.Model, head: keras.Model) -> keras.Model:
    """Backbone and head, as they would be saved."""
    x = network.output
    if len(head.input_shape) == 2:
        x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(network.inputs, head(x))


def file_megabytes(model: keras.Model) -> float:
    """Of the model when it is saved."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        return round(path.stat().st_size / 1e6, 1)


def views(measurement, part, layer: str, settings: dict) -> list:
    """Stored features of the photographs and, where the settings say so, of their mirror images."""
    return [measurement.features(part, layer, **seen_by(settings), augment=change)
            for change in ([None, mirrored] if settings.get("mirror") else [None])]


def mirrored(image, seed):
    return image[:, ::-1]


def predict(model: keras.Model, views: list) -> np.ndarray:
    """The mean of what a model answers to each view."""
    return np.mean([evaluation.predict(model, view) for view in views], axis=0)


def seen_by(settings: dict) -> dict:
    """Which backbone sees the photographs, and at what size in pixels."""
    return {"backbone": settings.get("backbone", "vgg16"), "size": settings.get("size", 224)}


def training_noted(model: keras.Model, history: dict) -> dict:
    """What every training notes: what learned, how long, and the curves."""
    return {"trainable_parameters": sum(int(np.prod(w.shape)) for w in model.trainable_weights),
            "seconds": round(history.pop("seconds"), 1),
            "history": {key: np.round(values, 4).tolist() for key, values in history.items()}}


def some(part, number: int, random: np.random.Generator):
    """So many photographs, picked at random, in their old order."""
    return part.select(np.sort(random.permutation(len(part))[:number]))


def recipes(measurement, parts, settings: dict, seed: int) -> dict:
    """What the network is fed, all else equal; on validation, since it is a choice."""
    parts = fixed(measurement, settings)
    return {"validation": {
        recipe.__name__.replace("_", " "): head_on(
            measurement, [measurement.features(part, settings["layer"], recipe) for part in parts],
            settings, seed) for recipe in RECIPES}}


def blocks(measurement, parts, settings: dict, seed: int) -> dict:
    """The same head on the average of each block's output: how far from the pixels is best?"""
    network = measurement.backbone("vgg16", 224).network
    names = {f"block {number}": f"block{number}" for number in range(1, 6)}
    averages = [keras.layers.GlobalAveragePooling2D(name=name)(network.get_layer(f"{name}_pool").output)
                for name in names.values()]
    network = keras.Model(network.input, averages, name="vgg16")
    stored = [features.extract(part, network, preprocess, list(names.values()))
              for part in fixed(measurement, settings)]
    return {"validation": {block: head_on(measurement, [rows[name] for rows in stored], settings, seed)
                           for block, name in names.items()}}


def fixed(measurement, settings: dict) -> list:
    """The same few photographs for every seed, to learn from and to compare on."""
    random = np.random.default_rng(0)
    return [some(part, settings[name], random)
            for part, name in zip(audit.split(measurement.photographs, 0), ("train", "validation"))]


def head_on(measurement, stored: list, settings: dict, seed: int) -> dict:
    """A new head on stored features; how many of the second set it gets right."""
    keras.utils.set_random_seed(seed)
    model = head(stored[0].shape[1:], measurement.classes, settings, len(stored[0]))
    training.fit(model, *stored, settings["epochs"], f"measure-{stored[0].recipe}",
                 settings["batch_size"], seed)
    return count(evaluation.predict(model, stored[1]).argmax(1), stored[1].labels)


METHODS = {"nearest_mean": nearest_mean, "pooled": stored_head, "flatten": stored_head,
           "mobilenet_v2": stored_head, "mobilenet_v2, 288 pixels": stored_head,
           "mobilenet_v2, 288 pixels, mirror": stored_head, "recipes": recipes, "blocks": blocks}
