"""What readers would otherwise do, and what the lessons do: one contestant of benchmark.py, one process.

    python scripts/benchmark_contestants.py NAME FOLDER EPOCHS RESULT.json

FOLDER holds train, validation and test, each with a folder per class. Every contestant sees the same
photographs for the same number of epochs, validates after each, and answers the test set once.
The others follow the published patterns, with learning rates of our own that were not searched.
"""

import json
import sys
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "notebooks"))
from transfer import quiet, write_whole  # noqa: E402

with quiet():
    import tensorflow as tf
import keras  # noqa: E402
import numpy as np  # noqa: E402
from keras import layers  # noqa: E402
from transfer import datasets, features, models, pipeline, training  # noqa: E402

PARTS = ("train", "validation", "test")
SIZE, BATCH = datasets.IMAGE_SIZE, 32
preprocess = keras.applications.vgg16.preprocess_input


def fit(model: keras.Model, train, validation, epochs: int) -> float:
    """Seconds of an epoch, validation included, in the mean."""
    clock = time.perf_counter()
    model.fit(*train, validation_data=validation, epochs=epochs, verbose=2)
    return (time.perf_counter() - clock) / epochs


def answered(model: keras.Model, test, seconds: float) -> dict:
    return {"answers": model.predict(test, verbose=0).argmax(1).tolist(),
            "epoch_seconds": round(seconds, 2)}


def generator(folder: Path, epochs: int) -> dict:
    """Beginners' pages: ImageDataGenerator and 1/255, VGG16 in the model, Flatten, Dense(1024)."""
    images = tf.keras.preprocessing.image.ImageDataGenerator(rescale=1 / 255)
    train, validation, test = (images.flow_from_directory(
        folder / part, SIZE, batch_size=BATCH, class_mode="categorical", shuffle=part == "train", seed=0)
        for part in PARTS)
    base = models.vgg16()
    base.trainable = False
    model = keras.Sequential([base, layers.Flatten(), layers.Dense(1024, activation="relu"),
                              layers.Dense(train.num_classes, activation="softmax")])
    model.compile("adam", loss="categorical_crossentropy", metrics=["accuracy"])
    return answered(model, test, fit(model, [train], validation, epochs))


def folders(folder: Path) -> list[tf.data.Dataset]:
    return [keras.utils.image_dataset_from_directory(
        folder / part, image_size=SIZE, batch_size=BATCH, shuffle=part == "train", seed=0, verbose=False)
        for part in PARTS]


def in_one_model(folder: Path, epochs: int, fine_tune: int = 0) -> dict:
    """TensorFlow's tutorial: prefetch, augmentation and pre-processing in the model, frozen base.

    With `fine_tune` epochs more, block 5 thawed and a hundredth of the rate.
    """
    train, validation, test = folders(folder)
    classes = len(train.class_names)
    train, validation, test = (part.prefetch(tf.data.AUTOTUNE) for part in (train, validation, test))
    augmentation = keras.Sequential([layers.RandomFlip("horizontal"), layers.RandomRotation(0.2)])
    base = models.vgg16()
    base.trainable = False
    photograph = keras.Input((*SIZE, 3))
    x = base(preprocess(augmentation(photograph)), training=False)
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(photograph, layers.Dense(classes, activation="softmax")(x))
    model.compile(keras.optimizers.Adam(1e-3), loss="sparse_categorical_crossentropy",
                  metrics=["accuracy"])
    seconds = fit(model, [train], validation, epochs)
    if fine_tune:
        base.trainable = True
        for layer in base.layers:
            layer.trainable = layer.name.startswith("block5")
        model.compile(keras.optimizers.Adam(1e-5), loss="sparse_categorical_crossentropy",
                      metrics=["accuracy"])
        seconds = fit(model, [train], validation, fine_tune)
    return answered(model, test, seconds)


def predict_once(folder: Path, epochs: int) -> dict:
    """A well-known book: the base predicts once into arrays, and a dense head learns from these."""
    base = models.vgg16()

    def arrays(part) -> tuple[np.ndarray, np.ndarray]:
        pairs = [(base.predict(preprocess(images), verbose=0), labels) for images, labels in part]
        return np.concatenate([maps for maps, _ in pairs]), np.concatenate([labels for _, labels in pairs])

    parts = folders(folder)
    train, validation, test = map(arrays, parts)
    model = keras.Sequential([
        keras.Input(train[0].shape[1:]), layers.Flatten(), layers.Dense(256), layers.Dropout(0.5),
        layers.Dense(len(parts[0].class_names), activation="softmax")])
    model.compile("rmsprop", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return answered(model, test[0], fit(model, train, validation, epochs))


def listed(folder: Path, classes: list[str]) -> datasets.Dataset:
    """A part of a small set may lack a class; the labels are those of the whole."""
    found = datasets.from_folder(folder, folder.name)
    labels = np.array([classes.index(file.split("/")[0]) for file in found.files])
    return replace(found, labels=labels, class_folders=tuple(classes))


def ours(folder: Path, epochs: int, fine_tune: int = 0) -> dict:
    """The lessons: features kept on disk, lesson 3's head; with `fine_tune`, lesson 4's block 5."""
    classes = sorted(path.name for path in (folder / "train").iterdir())
    train, validation, test = (listed(folder / part, classes) for part in PARTS)
    backbone = models.backbone("vgg16")
    kept = ["pooled", backbone.kept] if fine_tune else ["pooled"]
    learn, check, ask = (features.extract(part, backbone.network, backbone.preprocess, kept)
                         for part in (train, validation, test))
    model, history = training.frozen_head(learn["pooled"], check["pooled"], len(classes), epochs=epochs)
    if fine_tune:
        view = features.extract(train, backbone.network, backbone.preprocess, kept[1:],
                                augment=pipeline.augment, view=1)
        _, model, history = training.fine_tuned(model, [learn[kept[1]], view[kept[1]]], check[kept[1]],
                                                epochs=fine_tune)
    return answered(model, features.Batches(ask[kept[-1]], 256), history["seconds"] / (fine_tune or epochs))


HEAD_EPOCHS = 2  # before the tutorial's fine-tuning, so that block 5 does not meet a random head
CONTESTANTS = {
    "generator": generator,
    "in one model": in_one_model,
    "predict once": predict_once,
    "ours": ours,
    "in one model, fine-tuned": lambda folder, epochs: in_one_model(folder, HEAD_EPOCHS, epochs),
    "ours, fine-tuned": lambda folder, epochs: ours(folder, 10, epochs),
}


def main() -> None:
    name, folder, epochs, result = sys.argv[1:]
    keras.utils.set_random_seed(0)
    write_whole(Path(result), json.dumps(CONTESTANTS[name](Path(folder), int(epochs))))


if __name__ == "__main__":
    main()
