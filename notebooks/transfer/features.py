"""What a frozen network computes, kept on disk: run once per image, ever (lesson 03).

A frozen network gives the same numbers for the same image every time. So they are computed once
and found again by the next epoch, the next lesson and the next session. Each image is known by
its own bytes and each *recipe* (weights, layer, size, pre-processing, augmentation) has a folder
of its own, so nothing stale can be read: change anything, and it is another entry.

A folder holds `rows.f16`, one row of float16 numbers per image, and `keys.txt`, one line per row.
Both only grow. A row counts once its line is there, and the line is written after the row has
reached the disk, so an interrupted run leaves whole rows or nothing.
"""

import hashlib
import json
import os
import shutil
import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from filelock import FileLock
from tqdm import tqdm

from . import home, pipeline
from .datasets import IMAGE_SIZE, Dataset
from .models import weights_digest

SPARE_BYTES = 500e6  # left free on the disk, whatever the features need


class Store:
    """The append-only file of one recipe."""

    def __init__(self, recipe: dict, shape: tuple[int, ...]):
        name = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:16]
        self.folder = home("features", f"{recipe['network']}-{recipe['layer']}-{name}")
        self.folder.mkdir(exist_ok=True)
        (self.folder / "recipe.json").write_text(json.dumps(recipe, indent=1))
        self.shape, self.row_bytes = shape, 2 * int(np.prod(shape))
        self.rows_file, self.keys_file = self.folder / "rows.f16", self.folder / "keys.txt"
        self.rows_file.touch()
        self.keys_file.touch()

    def index(self) -> dict[str, int]:
        """Key of each whole row -> its number."""
        lines = self.keys_file.read_text().split("\n")[:-1]  # a torn last line has no newline
        return {key: row for row, key in enumerate(lines[:self._whole_rows()])}

    def _whole_rows(self) -> int:
        whole_lines = self.keys_file.stat().st_size // 65  # 64 hexadecimal digits and a newline
        return min(whole_lines, self.rows_file.stat().st_size // self.row_bytes)

    def append(self, keys: list[str], rows: np.ndarray) -> None:
        """Add whole rows; what an interruption left half-written is overwritten."""
        if not np.isfinite(rows).all():
            raise ValueError("features do not fit float16 (an activation over 65,504): is the "
                             "pre-processing the one these weights were trained with?")
        whole = self._whole_rows()
        for path, size, content in (
                (self.rows_file, self.row_bytes, rows.tobytes()),
                (self.keys_file, 65, "".join(key + "\n" for key in keys).encode())):
            with open(path, "r+b") as file:
                file.truncate(whole * size)
                file.seek(0, os.SEEK_END)
                file.write(content)
                file.flush()
                os.fsync(file.fileno())


class Features:
    """The stored rows of some photographs, with their labels; read from disk when asked for.

    Attributes:
        labels: (n,) int64, in the order of the photographs asked for.
        shape: (n, …), the shape of all rows together.
        computed: how many of the photographs the network had to see for this.
        recipe: the name of the folder they lie in; another recipe has another.
    """

    def __init__(self, store: Store, rows: np.ndarray, labels: np.ndarray, computed: int = 0):
        self.rows, self.labels, self.shape = rows, labels, (len(rows), *store.shape)
        self.computed, self.recipe = computed, store.folder.name
        self._memory = np.memmap(store.rows_file, dtype="float16", mode="r").reshape(
            -1, *store.shape)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, which) -> np.ndarray:
        """Rows of these positions as float32; `features[:]` is all of them."""
        return self._memory[self.rows[which]].astype("float32")


class Batches:
    """Features and labels in batches, read from disk one batch at a time; `data` is for `fit`.

    The order of an epoch follows from seed and epoch alone, so a training that was interrupted and
    goes on with epoch 3 sees what it would have seen.

    Args:
        features: of the photographs; or a list, the same photographs in several augmented views,
            of which each epoch draws one per photograph.
        batch_size: rows per batch; the last one may be smaller.
        shuffle_seed: None keeps the order of the photographs.
    """

    def __init__(self, features: Features | list[Features], batch_size: int = 32,
                 shuffle_seed: int | None = None):
        self.views = features if isinstance(features, list) else [features]
        self.batch_size, self.seed = batch_size, shuffle_seed
        self.start_epoch(0)

    def start_epoch(self, epoch: int) -> None:
        """Draw the order and the views of this epoch, counted from 0."""
        self.epoch, self.order = epoch, np.arange(len(self.views[0]))
        self.view = np.zeros(len(self.order), int)
        if self.seed is not None:
            random = np.random.default_rng([self.seed, epoch])
            random.shuffle(self.order)
            self.view = random.integers(len(self.views), size=len(self.order))

    def __len__(self) -> int:
        return -(-len(self.order) // self.batch_size)

    def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        which = self.order[number * self.batch_size:(number + 1) * self.batch_size]
        rows = np.empty((len(which), *self.views[0].shape[1:]), "float32")
        for number, view in enumerate(self.views):
            drawn = self.view[which] == number
            rows[drawn] = view[which[drawn]]
        return rows, self.views[0].labels[which]

    def data(self) -> tf.data.Dataset:
        """What Keras takes: float32 (batch, …) and int64 (batch,), of the epoch that was started last."""
        rows = tf.TensorSpec((None, *self.views[0].shape[1:]), "float32")
        data = tf.data.Dataset.from_generator(
            lambda: (self[number] for number in range(len(self))),
            output_signature=(rows, tf.TensorSpec((None,), "int64")))
        data = data.apply(tf.data.experimental.assert_cardinality(len(self)))
        return pipeline.without_autotuning(data.prefetch(2))


def extract(photographs: Dataset, backbone: keras.Model, preprocess, layers=("pooled",),
            size: tuple[int, int] = IMAGE_SIZE, augment=None, view: int = 0,
            batch_size: int = 32) -> dict[str, Features]:
    """Run a frozen network over photographs, once: what is on disk already is not computed again.

    Several GPUs of one machine share every batch.

    Args:
        photographs: which files; their labels come along.
        backbone: a network without top, such as `keras.applications.VGG16(include_top=False)`.
        preprocess: takes float32 RGB in 0–255, (batch, height, width, 3), and returns what the
            network was trained with. It is known by what it does to a test image, not by name.
        layers: where to stop: names of layers, or "pooled" for the global average of the output.
            Several are computed in one pass.
        size: (height, width) in pixels.
        augment: `augment(image, seed)` with a (2,) integer seed, drawn from the image and `view`.
        view: the number of the augmented view.
        batch_size: images the network sees at once, on each GPU.

    Returns:
        One `Features` per layer, rows in the order of `photographs`.

    Raises:
        OSError: the disk has not enough room; nothing is written then.
        ValueError: a photograph is damaged (the message names it).
    """
    outputs = {layer: keras.ops.mean(backbone.output, axis=(1, 2)) if layer == "pooled"
               else backbone.get_layer(layer).output for layer in layers}
    shapes = keras.Model(backbone.inputs, outputs).compute_output_shape((1, *size, 3))
    recipe = {
        "network": backbone.name, "weights": weights_digest(backbone), "size": list(size),
        "resize": pipeline.RESIZE, "preprocess": _fingerprint(preprocess), "dtype": "float16",
        "augment": augment and [_fingerprint(lambda x: augment(x[0], (1, 2))), view],
    }
    stores = {layer: Store(recipe | {"layer": layer}, tuple(shapes[layer][1:])) for layer in layers}
    keys = [hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in photographs.paths]
    with FileLock(stores[layers[0]].folder / "lock"):  # a second notebook waits, then finds it done
        known = {layer: store.index() for layer, store in stores.items()}
        missing = [layer for layer in layers if not known[layer].keys() >= set(keys)]
        todo = {key: path for key, path in zip(keys, photographs.paths)
                if any(key not in known[layer] for layer in missing)}
        if todo:
            _check_room(len(todo), [stores[layer] for layer in missing])
            network = keras.Model(backbone.inputs, {layer: outputs[layer] for layer in missing},
                                  name=backbone.name)
            images = _images(todo, size, augment, view)
            _run(network, preprocess, images, batch_size, list(todo), stores, known)
    indices = {layer: store.index() for layer, store in stores.items()}
    return {layer: Features(stores[layer], np.array([index[key] for key in keys]), photographs.labels,
                            len(todo))
            for layer, index in indices.items()}


def _images(todo: dict[str, str], size, augment, view) -> tf.data.Dataset:
    """Images in the order of `todo`; an augmented view is seeded by the image, not by its turn."""
    seeds = [(int(key[:7], 16), view) for key in todo]
    data = tf.data.Dataset.from_tensor_slices(
        (list(todo.values()), np.array(seeds, "int32").reshape(-1, 2)))

    def one(path, seed):
        image = pipeline.read(path, size)
        return augment(image, seed) if augment else image

    return pipeline.without_autotuning(data.map(one, num_parallel_calls=os.cpu_count()))


def _run(network: keras.Model, preprocess, images: tf.data.Dataset, batch_size: int, keys: list[str],
         stores: dict[str, Store], known: dict[str, dict]) -> None:
    """Show the images to the network, in batches, and store what is not known yet of each layer."""
    strategy, network = _shared(network)
    batch_size *= strategy.num_replicas_in_sync

    @tf.function(reduce_retracing=True)
    def run(batch):
        return network(preprocess(batch), training=False)

    data = images.batch(batch_size).prefetch(2)
    with tqdm(total=len(keys), desc=f"{network.name} {', '.join(network.output)}", unit=" images",
              file=sys.stdout) as bar:
        for batch in strategy.experimental_distribute_dataset(data):
            computed, batch_keys = strategy.run(run, (batch,)), keys[bar.n:bar.n + batch_size]
            for layer, rows in computed.items():
                new = [i for i, key in enumerate(batch_keys) if key not in known[layer]]
                rows = strategy.gather(rows, axis=0).numpy()[new].astype("float16")
                stores[layer].append([batch_keys[i] for i in new], rows)
            bar.update(len(batch_keys))


def _shared(network: keras.Model) -> tuple[tf.distribute.Strategy, keras.Model]:
    """Of several GPUs each holds a copy of the network and takes its part of every batch.

    Only here: Keras's `fit` under MirroredStrategy fails where the GPUs do not get equal parts of the
    first batch, and heads are trained in seconds on one.
    """
    if len(gpus()) < 2:
        return tf.distribute.get_strategy(), network
    strategy = tf.distribute.MirroredStrategy(gpus())
    with strategy.scope():
        copy = keras.models.clone_model(network)
    copy.set_weights(network.get_weights())
    return strategy, copy


def gpus() -> list[str]:
    """Names of the GPUs that TensorFlow sees."""
    return [device.name for device in tf.config.list_logical_devices("GPU")]


def _fingerprint(function) -> str:
    """What a function does to a fixed image, as 16 hexadecimal digits."""
    probe = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3)).astype("float32")
    result = np.asarray(function(tf.constant(probe)), dtype="float64")
    return hashlib.sha256(np.round(result, 2).tobytes()).hexdigest()[:16]


def _check_room(number: int, stores: list[Store]) -> None:
    needed = number * sum(store.row_bytes for store in stores)
    free = shutil.disk_usage(stores[0].folder).free
    if needed + SPARE_BYTES > free:
        raise OSError(f"features of {number:,} images need {needed / 1e6:,.0f} MB and the disk "
                      f"of {stores[0].folder.parent} has {free / 1e6:,.0f} MB free. Free some, or "
                      "set TRANSFER_HOME to a folder on a larger disk.")
    print(f"{number:,} images to compute, {needed / 1e6:,.1f} MB ({free / 1e9:,.0f} GB free)")
