"""What a frozen network computes, kept on disk: run once per image, ever (lesson 03).

A frozen network gives the same numbers for the same image every time. So they are computed once
and found again by the next epoch, the next lesson and the next session. Each image is known by
its own bytes and each *recipe* (weights, architecture, layer, size, pre-processing, augmentation,
precision) has a folder of its own, so nothing stale can be read: change anything, and it is another
entry. `store` keeps the rows and proves each of them when it is read.
"""

import contextlib
import difflib
import hashlib
import os
import shutil
import sys

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from . import fingerprints, home, pipeline
from .batches import Batches, Features  # noqa: F401  lessons find `Batches` here
from .datasets import IMAGE_SIZE, Dataset, check_whole
from .files import alone, digest
from .models import weights_digest
from .store import REMEDY, Store, old_folders
from .structure import structure

SPARE_BYTES = 500e6  # left free on the disk, whatever the features need
ROUNDS = 5  # of looking, and computing what is missing
_said = []


def extract(photographs: Dataset, backbone: keras.Model, preprocess, layers=("pooled",),
            size: tuple[int, int] = IMAGE_SIZE, augment=None, view: int = 0,
            batch_size: int = 32) -> dict[str, Features]:
    """Run a frozen network over photographs, once: what is on disk already is not computed again.

    Several GPUs of one machine share every batch.

    Args:
        photographs: which files; their labels come along.
        backbone: a network without top, such as `keras.applications.VGG16(include_top=False)`.
        preprocess: takes float32 RGB in 0–255, (batch, height, width, 3), and returns what the
            network was trained with. It is known by its code and by what it does, not by its name.
        layers: where to stop: names of layers, or "pooled" for the global average of the output.
            Several are computed in one pass.
        size: (height, width) in pixels.
        augment: `augment(image, seed)` with a (2,) integer seed, drawn from the image and `view`.
        view: the number of the augmented view.
        batch_size: images the network sees at once, on each GPU.

    Returns:
        One `Features` per layer, rows in the order of `photographs`.

    Raises:
        OSError: the disk has not enough room, and nothing is written then; or it filled up in the
            middle, or cannot be written. The message names the file.
        ValueError: a photograph is damaged (the message names it), `augment` does not follow its seed,
            or another argument is none.
    """
    _check(backbone, layers, view, batch_size)
    outputs = {layer: keras.ops.mean(backbone.output, axis=(1, 2)) if layer == "pooled"
               else backbone.get_layer(layer).output for layer in layers}
    recipe = _recipe(backbone, preprocess, size, augment, view)
    shapes = keras.Model(backbone.inputs, outputs).compute_output_shape((1, *size, 3))
    stores = {layer: _store(recipe, layer, keras.Model(backbone.inputs, output), shapes[layer][1:])
              for layer, output in outputs.items()}
    _say_what_is_old()
    paths = tqdm(photographs.paths, "reading files", delay=2, file=sys.stdout)
    keys = [_key(path, photographs.white) for path in paths]
    paths, computed = dict(zip(keys, photographs.paths)), set()
    for _ in range(ROUNDS):
        found = {layer: store.find(keys) for layer, store in stores.items()}
        missing = {layer: outputs[layer] for layer in outputs if len(found[layer]) < len(paths)}
        if not missing:
            return {layer: Features(store, found[layer], keys, photographs.labels, len(computed))
                    for layer, store in stores.items()}
        lock = home("features", f"{fingerprints.digest(recipe)}.lock")  # whatever the layers
        with alone(lock, "computes the same features"):
            known = {layer: stores[layer].mend(keys) for layer in missing}  # others may have computed it
            missing = {layer: output for layer, output in missing.items() if len(known[layer]) < len(paths)}
            todo = {key: path for key, path in paths.items()
                    if any(key not in known[layer] for layer in missing)}
            if todo:
                _check_room(len(todo), [stores[layer] for layer in missing])
                network = keras.Model(backbone.inputs, missing, name=backbone.name)
                images = _images(todo, photographs.white, size, augment, view)
                _run(network, preprocess, images, todo, batch_size, stores, known)
            computed |= todo.keys()
    raise OSError(f"{home('features')}: what was written could not be read again, {ROUNDS} times. Is the "
                  f"disk failing? If so, {REMEDY}.")


def _check(backbone: keras.Model, layers, view: int, batch_size: int) -> None:
    if isinstance(layers, str) or not len(layers):
        raise ValueError(f"layers is a list of names, such as ['pooled'], not {layers!r}.")
    there = ["pooled", *(layer.name for layer in backbone.layers)]
    for one in layers:
        if one not in there:
            near = difflib.get_close_matches(str(one), there) or [there[0], *there[-3:]]
            raise ValueError(f"{backbone.name} has no layer {one!r}; it has {', '.join(near)} …")
    check_whole("view", view, 0, 2**31 - 1)
    check_whole("batch_size", batch_size, 1)


def _recipe(backbone: keras.Model, preprocess, size, augment, view: int) -> dict:
    """All that decides what is computed, but the layer."""
    rules = tf.config.optimizer.get_experimental_options()  # they may lower the precision
    return {
        "network": backbone.name, "weights": weights_digest(backbone), "size": [int(side) for side in size],
        "resize": pipeline.RESIZE, "dtype": "float16",
        "preprocess": fingerprints.of_preprocess(preprocess, tuple(size)),
        "augment": augment and [fingerprints.of_augment(augment, tuple(size)), int(view)],
        "precision": {
            "policy": keras.config.dtype_policy().name, "floatx": keras.config.floatx(),
            "tf32": tf.config.experimental.tensor_float_32_execution_enabled(),
            **{rule: on for rule, on in rules.items() if "mixed_precision" in rule and on}},
    }


def _store(recipe: dict, layer: str, network: keras.Model, shape: tuple[int, ...]) -> Store:
    """Where what this network computes is kept; its layers' own precision is part of the structure."""
    return Store({**recipe, "layer": layer, "structure": fingerprints.digest(structure(network))}, shape)


def _say_what_is_old() -> None:
    number, size = old_folders()
    if number and not _said:
        _said.append(number)
        print(f"{number} folder{'s' * (number > 1)} below {home('features')} with a file rows.f16 "
              f"({size / 1e6:,.1f} MB) are of an earlier version, are not read, and can be deleted.")


def _key(path: str, white: int) -> str:
    """What is known of a photograph: its bytes, and of 16-bit grey what is shown as white."""
    content = digest(path)
    return hashlib.sha256(f"{content} {white}".encode()).hexdigest() if white else content


def _images(todo: dict[str, str], white: int, size, augment, view) -> tf.data.Dataset:
    """Images in the order of `todo`; an augmented view is seeded by the image, not by its turn."""
    seeds = [(int(key[:7], 16), view) for key in todo]
    data = tf.data.Dataset.from_tensor_slices(
        (list(todo.values()), np.array(seeds, "int32").reshape(-1, 2)))

    def one(path, seed):
        image = pipeline.read(path, size, white)
        return augment(image, seed) if augment else image

    return pipeline.without_autotuning(data.map(one, num_parallel_calls=os.cpu_count()))


def _run(network: keras.Model, preprocess, images: tf.data.Dataset, todo: dict[str, str], batch_size: int,
         stores: dict[str, Store], known: dict[str, dict]) -> None:
    """Show the images to the network, in batches, and store what is not known yet of each layer."""
    strategy, network = _shared(network)
    batch_size *= strategy.num_replicas_in_sync

    @tf.function(reduce_retracing=True)
    def run(batch):
        return network(preprocess(batch), training=False)

    keys, done = list(todo), 0
    data = strategy.experimental_distribute_dataset(images.batch(batch_size).prefetch(2))
    with _named_if_damaged(lambda: [todo[key] for key in keys[done:done + batch_size]]), tqdm(
            total=len(keys), desc=f"{network.name} {', '.join(network.output)}", unit=" images",
            file=sys.stdout) as bar:
        try:
            for batch in data:
                batch_keys = keys[done:done + batch_size]
                for layer, rows in strategy.run(run, (batch,)).items():
                    new = [i for i, key in enumerate(batch_keys) if key not in known[layer]]
                    rows = strategy.gather(rows, axis=0).numpy()[new].astype("float16")
                    stores[layer].append([batch_keys[i] for i in new], rows)
                done += len(batch_keys)
                bar.update(len(batch_keys))
        finally:
            for layer in network.output:
                stores[layer].commit()


@contextlib.contextmanager
def _named_if_damaged(paths):
    """TensorFlow's error in words, if one of `paths()`, the batch under way, cannot be read."""
    try:
        yield
    except tf.errors.OpError:
        for path in paths():
            pipeline.decode(path)  # raises ValueError, which names the file
        raise


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


def _check_room(number: int, stores: list[Store]) -> None:
    needed = number * sum(store.row_bytes for store in stores)
    free = shutil.disk_usage(stores[0].folder).free
    if needed + SPARE_BYTES > free:
        raise OSError(f"features of {number:,} images need {needed / 1e6:,.0f} MB, and "
                      f"{SPARE_BYTES / 1e6:,.0f} MB are left free beside them; the disk of "
                      f"{stores[0].folder.parent} has {free / 1e6:,.0f} MB free. Free some, or {REMEDY}.")
    print(f"{number:,} images to compute, {needed / 1e6:,.1f} MB ({free / 1e9:,.0f} GB free)")
