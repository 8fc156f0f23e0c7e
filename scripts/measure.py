"""Measure methods on photographs and write what the lessons quote: data/results/NAME.json.

    python scripts/measure.py --dataset ../shared/animals10/raw-img --out data/results/animals10.json
    python scripts/measure.py --dataset mini --methods nearest_mean pooled --out data/results/mini.json

Each run is one method and one seed: the seed makes the split, the first weights and the order of
the batches. What is in the file already, with the same settings, is not measured again, so an
interrupted command goes on. Settings were chosen on validation data; test figures are only noted.
"""

import argparse
import hashlib
import json
import os
import platform
import sys
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "notebooks"))
from transfer import audit, datasets, evaluation, features, models, training  # noqa: E402

SETTINGS = {
    "nearest_mean": {"layer": "pooled"},
    "pooled": {"layer": "pooled", "head": "UnitNormalization, Dense", "optimizer": "AdamW",
               "learning_rate": 0.1, "schedule": "cosine", "weight_decay": 0.02, "epochs": 30,
               "batch_size": 16, "kept": "lowest validation loss"},
    "flatten": {"layer": "block5_pool", "head": "Flatten, Dense(1024), Dense", "optimizer": "Adam",
                "learning_rate": 1e-4, "epochs": 20, "batch_size": 32, "photographs_per_class": 150,
                "kept": "lowest validation loss"},
    "recipes": {"layer": "pooled", "head": "UnitNormalization, Dense", "optimizer": "AdamW",
                "learning_rate": 0.1, "schedule": "cosine", "weight_decay": 0.02, "epochs": 30,
                "batch_size": 16, "train": 210, "validation": 90, "kept": "lowest validation loss"},
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


class Measurement:
    """One data set, one backbone, and the runs noted so far."""

    def __init__(self, dataset: str, out: Path):
        self.photographs, self.out = datasets.load(dataset), out
        self.backbone = models.load_imagenet_weights(keras.applications.VGG16(
            include_top=False, weights=None, input_shape=(*datasets.IMAGE_SIZE, 3)))
        self.classes = len(self.photographs.class_folders)
        self.noted = json.loads(out.read_text()) if out.exists() else {}
        names = "\n".join(self.photographs.files).encode()
        self.noted["dataset"] = {
            "name": self.photographs.name, "photographs": len(self.photographs),
            "classes": self.classes, "image_size": list(datasets.IMAGE_SIZE),
            "files_sha256": hashlib.sha256(names).hexdigest()}

    def features(self, part, layer: str, recipe=preprocess):
        """Stored features of a part; where the network had to run, its seconds are added up."""
        start = time.perf_counter()
        found = features.extract(part, self.backbone, recipe, [layer])[layer]
        if found.computed:
            total = self.noted.setdefault("extraction", {"images": 0, "seconds": 0})
            total["images"] += found.computed
            total["seconds"] = round(total["seconds"] + time.perf_counter() - start, 1)
        return found

    def run(self, method: str, seed: int) -> None:
        """Measure unless it is in the file with these very settings; write the file."""
        entry = self.noted.setdefault(method, {})
        if entry.get("settings") != SETTINGS[method]:
            entry = self.noted[method] = {"settings": SETTINGS[method], "versions": versions(), "runs": {}}
        if str(seed) in entry["runs"]:
            return
        keras.utils.set_random_seed(seed)
        parts = audit.split(self.photographs, seed)
        entry["runs"][str(seed)] = METHODS[method](self, parts, SETTINGS[method], seed)
        summarise_recipes(entry) if method == "recipes" else summarise(entry)
        beside = self.out.with_suffix(".partial")
        beside.write_text(json.dumps(self.noted, indent=1) + "\n")
        os.replace(beside, self.out)


def versions() -> dict:
    return {"python": platform.python_version(), "tensorflow": tf.__version__,
            "keras": keras.__version__, "machine": f"{os.cpu_count()} cores, {platform.machine()}",
            "gpu": bool(tf.config.list_physical_devices("GPU"))}


def summarise(entry: dict) -> None:
    """Mean, lowest and highest over the runs, and Wilson's interval for one test set at the mean."""
    for part in ("validation", "test"):
        results = [run[part] for run in entry["runs"].values()]
        rates = [result["right"] / result["total"] for result in results]
        total = results[0]["total"]
        low, high = evaluation.Score(round(np.mean(rates) * total), total).interval
        entry[part] = {"mean": round(float(np.mean(rates)), 4), "lowest": round(min(rates), 4),
                       "highest": round(max(rates), 4), "photographs": total,
                       "interval": [round(low, 4), round(high, 4)]}


def summarise_recipes(entry: dict) -> None:
    """Validation accuracy of each recipe, one per run."""
    entry["accuracy"] = {
        recipe.__name__.replace("_", " "): [
            round(run["validation"][recipe.__name__]["right"] /
                  run["validation"][recipe.__name__]["total"], 4)
            for run in entry["runs"].values()] for recipe in RECIPES}


def count(predicted: np.ndarray, labels: np.ndarray) -> dict:
    return {"right": int((predicted == labels).sum()), "total": len(labels)}


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


def nearest_mean(measurement: Measurement, parts, settings: dict, seed: int) -> dict:
    """No training at all: each class is the mean of its unit-length features."""
    train, validation, test = (measurement.features(part, settings["layer"]) for part in parts)
    unit = [rows[:] / np.linalg.norm(rows[:], axis=1, keepdims=True) for rows in (train, validation, test)]
    means = np.stack([unit[0][train.labels == label].mean(0) for label in range(measurement.classes)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    return {"validation": count((unit[1] @ means.T).argmax(1), validation.labels),
            "test": count((unit[2] @ means.T).argmax(1), test.labels)}


def stored_head(measurement: Measurement, parts, settings: dict, seed: int) -> dict:
    """A head on stored features."""
    if "photographs_per_class" in settings:
        parts = [fewer(part, settings["photographs_per_class"], len(measurement.photographs))
                 for part in parts]
    train, validation, test = (measurement.features(part, settings["layer"]) for part in parts)
    model = head(train.shape[1:], measurement.classes, settings, len(train))
    history = training.fit(model, train, validation, settings["epochs"], f"measure-{seed}",
                           settings["batch_size"], seed)
    return {"train": len(train),
            "validation": count(evaluation.predict(model, validation).argmax(1), validation.labels),
            "test": count(evaluation.predict(model, test).argmax(1), test.labels),
            "trainable_parameters": sum(int(np.prod(w.shape)) for w in model.trainable_weights),
            "seconds": round(history.pop("seconds"), 1),
            "history": {key: [round(value, 4) for value in values] for key, values in history.items()}}


def fewer(part, per_class: int, of_all: int):
    """The first photographs of each class, so many that all parts together have `per_class`."""
    keep = round(len(part) / of_all * per_class)
    return part.select(np.sort(np.concatenate(
        [np.flatnonzero(part.labels == label)[:keep] for label in np.unique(part.labels)])))


def recipes(measurement: Measurement, parts, settings: dict, seed: int) -> dict:
    """What the network is fed, all else equal; on validation, since it is a choice."""
    random = np.random.default_rng(0)
    fixed = audit.split(measurement.photographs, 0)  # the same photographs for every seed
    train, validation = (part.select(np.sort(random.permutation(len(part))[:settings[name]]))
                         for part, name in zip(fixed, ("train", "validation")))
    found = {}
    for recipe in RECIPES:
        keras.utils.set_random_seed(seed)
        learn, check = (measurement.features(part, settings["layer"], recipe)
                        for part in (train, validation))
        model = head(learn.shape[1:], measurement.classes, settings, len(learn))
        training.fit(model, learn, check, settings["epochs"], f"measure-{recipe.__name__}",
                     settings["batch_size"], seed)
        found[recipe.__name__] = count(evaluation.predict(model, check).argmax(1), check.labels)
    return {"validation": found}


METHODS = {"nearest_mean": nearest_mean, "pooled": stored_head, "flatten": stored_head,
           "recipes": recipes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", required=True, help="mini, animals10 or a folder of class folders")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seeds", type=int, default=5, help="runs per method")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    tf.config.experimental.enable_op_determinism()
    measurement = Measurement(arguments.dataset, arguments.out)
    for method in arguments.methods:
        for seed in range(arguments.seeds):
            measurement.run(method, seed)
            print(f"{method} {seed}: {measurement.noted[method]['runs'][str(seed)]['validation']}",
                  flush=True)


if __name__ == "__main__":
    main()
