"""What readers would otherwise do, and what the lessons do: one contestant of benchmark.py, one process.

    python scripts/benchmark_contestants.py NAME FOLDER EPOCHS RESULT.json

FOLDER holds train, validation and test, each with a folder per class. Every contestant sees the same
photographs for the same number of epochs, validates after each, and answers the test set once.
Those that fine-tune go on with the head of an earlier contestant, which left it in FOLDER.
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


def in_one_model(folder: Path, epochs: int) -> dict:
    """TensorFlow's tutorial: prefetch, augmentation and pre-processing in the model, frozen base."""
    parts = folders(folder)
    train, validation, test = (part.prefetch(tf.data.AUTOTUNE) for part in parts)
    augmentation = keras.Sequential([layers.RandomFlip("horizontal"), layers.RandomRotation(0.2)])
    base = models.vgg16()
    base.trainable = False
    photograph = keras.Input((*SIZE, 3))
    x = base(preprocess(augmentation(photograph)), training=False)
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(photograph, layers.Dense(len(parts[0].class_names), activation="softmax")(x))
    model.compile(keras.optimizers.Adam(1e-3), loss="sparse_categorical_crossentropy",
                  metrics=["accuracy"])
    found = answered(model, test, fit(model, [train], validation, epochs))
    model.save(folder / "in one model.keras")
    return found


def fine_tuned_in_one_model(folder: Path, epochs: int) -> dict:
    """TensorFlow's tutorial goes on: block 5 thawed, a hundredth of the rate."""
    train, validation, test = (part.prefetch(tf.data.AUTOTUNE) for part in folders(folder))
    model = keras.models.load_model(folder / "in one model.keras")
    base = model.get_layer("vgg16")
    base.trainable = True
    for layer in base.layers:
        layer.trainable = layer.name.startswith("block5")
    model.compile(keras.optimizers.Adam(1e-5), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return answered(model, test, fit(model, [train], validation, epochs))


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


def ours(folder: Path, epochs: int) -> dict:
    """The lessons: features kept on disk, and lesson 3's head."""
    backbone, (train, validation, test) = models.backbone("vgg16"), everything(folder)
    learn, check, ask = (kept(backbone, part, "pooled") for part in (train, validation, test))
    head, history = training.frozen_head(learn, check, len(train.class_folders), epochs=epochs)
    head.save(folder / "ours.keras")
    return answered(head, features.Batches(ask, 256).data(), history["seconds"] / epochs)


def ours_fine_tuned(folder: Path, epochs: int) -> dict:
    """The lessons go on: lesson 4's block 5 on what blocks 1 to 4 answer, to two views of each photograph."""
    backbone, parts = models.backbone("vgg16"), everything(folder)
    train, check, ask = (kept(backbone, part, backbone.kept) for part in parts)
    views = [train, kept(backbone, parts[0], backbone.kept, augment=pipeline.augment, view=1)]
    head = keras.models.load_model(folder / "ours.keras")
    _, tail, history = training.fine_tuned(head, views, check, epochs=epochs)
    return answered(tail, features.Batches(ask, 256).data(), history["seconds"] / epochs)


def everything(folder: Path) -> list[datasets.Dataset]:
    """A part of a small set may lack a class; the labels are those of the whole."""
    classes = sorted(path.name for path in (folder / "train").iterdir())
    parts = [datasets.from_folder(folder / name, name) for name in PARTS]
    return [replace(part, class_folders=tuple(classes), labels=np.array(
        [classes.index(file.split("/")[0]) for file in part.files])) for part in parts]


def kept(backbone: models.Backbone, part: datasets.Dataset, layer: str, **changes) -> features.Features:
    return features.extract(part, backbone.network, backbone.preprocess, [layer], **changes)[layer]


CONTESTANTS = {  # what the table says, the epochs of the real run, and what is run
    "generator": ("ImageDataGenerator, VGG16 in the model, Flatten + Dense(1024)", 10, generator),
    "in one model": ("tf.data, augmentation and frozen VGG16 in one model", 10, in_one_model),
    "predict once": ("`predict` once into arrays, then a head", 10, predict_once),
    "ours": ("ours: features kept on disk, then a head", 10, ours),
    "in one model, fine-tuned": ("the second goes on: block 5, blocks 1 to 4 run again in every epoch", 2,
                                 fine_tuned_in_one_model),
    "ours, fine-tuned": ("the fourth goes on: block 5, on what is kept of blocks 1 to 4", 2,
                         ours_fine_tuned),
}


def main() -> None:
    name, folder, epochs, result = sys.argv[1:]
    _, _, contestant = CONTESTANTS[name]
    keras.utils.set_random_seed(0)
    write_whole(Path(result), json.dumps(contestant(Path(folder), int(epochs))))


if __name__ == "__main__":
    main()
