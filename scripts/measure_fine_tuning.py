"""Fine-tuning: the last block and the head, on stored features of the blocks before (lesson 04).

`fine_tuned` is what the lessons do, on the whole split, with the test set. The other methods change
one ingredient each, on fewer photographs, and are compared on validation.
"""

import time

import keras
import measure_heads
import numpy as np
import tensorflow as tf
from measure_heads import count, file_megabytes, joined, judged, predict, seen_by, some, training_noted, views
from transfer import evaluation, features, models, pipeline, training

FINE_TUNED = {"from": "block5_conv1", "layer": "block4_pool", "head": "trained", "optimizer": "AdamW",
              "learning_rate": 5e-5, "schedule": "warm-up and cosine", "weight_decay": 0.004,
              "label_smoothing": 0, "dropout": 0, "views": 1, "epochs": 5, "batch_size": 32,
              "kept": "lowest validation loss"}
MOBILENET = FINE_TUNED | {"backbone": "mobilenet_v2", "from": "block_11_expand_relu",
                          "layer": "block_10_project_BN", "learning_rate": 1e-5}
FEW = FINE_TUNED | {"train": 256, "validation": 300}
SETTINGS = {
    "fine_tuned": FINE_TUNED,
    "fine_tuned, no view": FINE_TUNED | {"views": 0},
    "mobilenet_v2, fine-tuned": MOBILENET,
    "mobilenet_v2, 288 pixels, mirror, fine-tuned": MOBILENET | {
        "size": 288, "mirror": True, "views": 0, "learning_rate": 5e-5, "epochs": 4},
    "few": FEW,
    "few, rate x 4": FEW | {"learning_rate": 2e-4},
    "few, rate / 4": FEW | {"learning_rate": 1.25e-5},
    "few, constant rate": FEW | {"schedule": "constant"},
    "few, rate falls on plateau": FEW | {"schedule": "plateau"},
    "few, no weight decay": FEW | {"weight_decay": 0},
    "few, dropout": FEW | {"dropout": 0.5},
    "few, label smoothing": FEW | {"label_smoothing": 0.1},
    "few, random head": FEW | {"head": "random"},
    "few, no view": FEW | {"views": 0},
    "few, 4 views": FEW | {"views": 4},
    "few, recomputed": FEW | {"views": "new in every epoch"},
    "epoch": {"train": 320, "batch_size": 32, "passes": 2},
    "few, blocks 4 and 5": FEW | {"from": "block4_conv1", "layer": "block3_pool"},
}


def loss(settings: dict, classes: int):
    def smoothed(labels, predictions):
        wanted = keras.ops.one_hot(keras.ops.cast(labels, "int32"), classes)
        return keras.losses.categorical_crossentropy(
            wanted, predictions, label_smoothing=settings["label_smoothing"])

    return smoothed if settings["label_smoothing"] else "sparse_categorical_crossentropy"


def head(measurement, train, validation, settings: dict, seed: int) -> keras.Model:
    """Lesson 03's head, trained on the pooled features of these photographs, or one as it is born."""
    frozen = measure_heads.SETTINGS["pooled"]
    train, validation = (views(measurement, part, "pooled", settings) for part in (train, validation))
    model = measure_heads.head(train[0].shape[1:], measurement.classes, frozen, len(train[0]))
    if settings["head"] == "trained":
        training.fit(model, train, validation[0], frozen["epochs"], f"measure-head-{seed}",
                     frozen["batch_size"], seed)
    return model


def fine_tune(measurement, parts, settings: dict, seed: int) -> dict:
    """One run: the frozen network's result beside what fine-tuning makes of it."""
    train, validation, test = parts
    few = "train" in settings  # then ingredients are compared, and the test set stays shut
    if few:
        random = np.random.default_rng(seed)
        train, validation = (some(part, settings[name], random) for part, name in (
            (train, "train"), (validation, "validation")))
    compared = {"validation": validation} if few else {"validation": validation, "test": test}
    start = head(measurement, train, validation, settings, seed)
    seen = seen_by(settings)
    frozen = {name: predict(start, views(measurement, part, "pooled", settings)).argmax(1)
              for name, part in compared.items()}
    network = models.backbone(seen["backbone"], (seen["size"], seen["size"])).network
    tail = models.tail(network, start, settings["from"], settings["dropout"])
    tail.compile(optimizer(settings, len(train)), loss=loss(settings, measurement.classes),
                 metrics=["accuracy"])
    check = measurement.features(validation, settings["layer"], **seen)
    if settings["views"] == "new in every epoch":
        history = fit_recomputed(network, tail, start, train, check, settings, seed)
    else:
        history = fit_stored(measurement, tail, train, check, settings, seed)
    found = {"train": len(train), **training_noted(tail, history)}
    probabilities = {}
    for name, part in compared.items():
        probabilities[name] = predict(tail, views(measurement, part, settings["layer"], settings))
        found[name] = count(probabilities[name].argmax(1), part.labels)
        found[name + "_frozen"] = count(frozen[name], part.labels)
    if not few:
        found["test"] = judged(probabilities["test"], test.labels)
        found["file_mb"] = file_megabytes(joined(network, start))
        found["calibration"] = calibrate(probabilities["validation"], validation.labels,
                                         probabilities["test"], test.labels)
    return found


def optimizer(settings: dict, train_size: int) -> keras.optimizers.Optimizer:
    rate = settings["learning_rate"]
    if settings["schedule"] == "warm-up and cosine":
        steps = -(-train_size // settings["batch_size"]) * settings["epochs"]
        rate = training.warm_up_and_cosine(rate, steps)
    return keras.optimizers.AdamW(rate, weight_decay=settings["weight_decay"])


def fit_stored(measurement, tail, train, check, settings: dict, seed: int) -> dict:
    """As the lessons do, on stored features of the photographs and of their augmented views."""
    clock = time.perf_counter()
    stored = settings["layer"]
    seen = views(measurement, train, stored, settings) + [
        measurement.features(train, stored, **seen_by(settings), augment=pipeline.augment, view=view)
        for view in range(1, settings["views"] + 1)]
    extraction = time.perf_counter() - clock
    callbacks = ([keras.callbacks.ReduceLROnPlateau("val_loss", 0.3, patience=1)]
                 if settings["schedule"] == "plateau" else ())
    history = training.fit(tail, seen, check, settings["epochs"], f"measure-fine-{seed}",
                           settings["batch_size"], seed, callbacks)
    return history | {"extraction_seconds": round(extraction, 1)}


def calibrate(validation, validation_labels, test, test_labels) -> dict:
    """The temperature is chosen on validation, its effect measured on test."""
    chosen = evaluation.temperature(validation, validation_labels)
    found = {"temperature": round(chosen, 4)}
    for name, probabilities in (("as_trained", test), ("scaled", evaluation.soften(test, chosen))):
        bins = evaluation.calibration(probabilities, test_labels)
        found[name] = {"error": round(bins.error, 4), "counts": bins.counts.tolist(),
                       "confidence": np.nan_to_num(bins.confidence).round(4).tolist(),
                       "accuracy": np.nan_to_num(bins.accuracy).round(4).tolist()}
    return found


def fit_recomputed(network, tail, start, train, check, settings: dict, seed: int) -> dict:
    """As most tutorials do: every epoch decodes, augments and runs the frozen blocks once more."""
    whole = models.whole(network, start, measure_heads.preprocess)
    for layer in network.layers:
        layer.trainable = layer in tail.layers
    whole.compile(optimizer(settings, len(train)), loss="sparse_categorical_crossentropy",
                  metrics=["accuracy"])
    history = {"loss": [], "accuracy": [], "val_loss": [], "val_accuracy": []}
    clock, best = time.perf_counter(), None
    for epoch in range(settings["epochs"]):
        data = pipeline.batches(train, batch_size=settings["batch_size"], shuffle_seed=seed + 100 * epoch)
        numbers = tf.data.Dataset.range(len(train), output_type=tf.int32).batch(settings["batch_size"])
        data = tf.data.Dataset.zip(data, numbers).map(lambda pair, numbers, epoch=epoch: (
            tf.map_fn(lambda one: pipeline.augment(one[0], tf.stack([one[1], epoch])),
                      (pair[0], numbers), fn_output_signature=tf.float32), pair[1]))
        fitted = whole.fit(data.prefetch(2), epochs=epoch + 1, initial_epoch=epoch, verbose=0).history
        val_loss, val_accuracy = tail.evaluate(features.Batches(check, 256).data(), verbose=0)
        if best is None or val_loss < min(history["val_loss"]):
            best = tail.get_weights()
        for key, value in (("loss", fitted["loss"][0]), ("accuracy", fitted["accuracy"][0]),
                           ("val_loss", val_loss), ("val_accuracy", val_accuracy)):
            history[key].append(float(value))
    tail.set_weights(best)
    return history | {"seconds": time.perf_counter() - clock}


def epoch(measurement, parts, settings: dict, seed: int) -> dict:
    """One epoch of block 5 and head, from photographs and from stored features, in turn."""
    train = some(parts[0], settings["train"], np.random.default_rng(seed))
    network, start = models.vgg16(), measure_heads.head(
        (512,), measurement.classes, measure_heads.SETTINGS["pooled"], len(train))
    tail = models.tail(network, start, "block5_conv1")
    for layer in network.layers:
        layer.trainable = layer in tail.layers
    whole = models.whole(network, start, measure_heads.preprocess)
    stored = features.Batches(measurement.features(train, "block4_pool"), settings["batch_size"]).data()
    batches = pipeline.batches(train, batch_size=settings["batch_size"])
    seconds = {"recomputed": [], "stored": []}
    for model in (whole, tail):
        model.compile(keras.optimizers.AdamW(5e-5), loss="sparse_categorical_crossentropy")
        model.fit(batches if model is whole else stored, steps_per_epoch=2, shuffle=False, verbose=0)
    for _ in range(settings["passes"]):
        for name, model, data in (("recomputed", whole, batches), ("stored", tail, stored)):
            clock = time.perf_counter()
            model.fit(data, shuffle=False, verbose=0)
            seconds[name].append(round(time.perf_counter() - clock, 1))
    return {"train": len(train), "seconds_recomputed": min(seconds["recomputed"]),
            "seconds_stored": min(seconds["stored"]), "passes": seconds}


METHODS = dict.fromkeys(SETTINGS, fine_tune) | {"epoch": epoch}
