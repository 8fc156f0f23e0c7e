"""True ImageNet weights, the models built on them, and what is exported (lessons 03 to 08).

Lessons 03, 04 and 07 build their models in plain Keras; `backbone`, `tail` and `whole` repeat it.
"""

import difflib
import hashlib
import http.client
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from . import ROOT, short
from .datasets import IMAGE_SIZE
from .export import (  # noqa: F401  the lessons find them here
    check_class_names,
    export_litert,
    predict_in_fresh_process,
    run_litert,
    save,
)

WEIGHTS = ROOT / "data" / "weights"
FILES = {
    "vgg16": "vgg16_imagenet_notop_float16.npz",
    "mobilenet_v2": "mobilenet_v2_224_imagenet_notop_float32.npz",
}
FIRST_THAWED = {"vgg16": "block5_conv1", "mobilenet_v2": "block_11_expand_relu"}  # layer 100 of 154
REMEDY = "Get it again: `git checkout -- data/weights`, or clone the repository anew."


def load_imagenet_weights(backbone, folder: Path = WEIGHTS):
    """Fill a backbone that `keras.applications` built with `weights=None, include_top=False`.

    Elsewhere one writes `weights="imagenet"`, and Keras downloads the same numbers.

    Args:
        backbone: a `keras.applications.VGG16` or `MobileNetV2` without top.
        folder: where the weight files are; data/weights by default.

    Returns:
        The same model, filled.

    Raises:
        FileNotFoundError, ValueError: the file is missing, damaged, or of another model; the
            message names it and says what to do.
        OSError, MemoryError: it cannot be read for now.
    """
    name = next((name for name in FILES if backbone.name.startswith((name, name.replace("_v2", "v2")))),
                None)
    if name is None:
        raise ValueError(f"the repository ships weights for {list(FILES)}, not for "
                         f"{backbone.name!r}; build that one with weights=\"imagenet\".")
    path = Path(folder) / FILES[name]
    if not path.exists():
        raise FileNotFoundError(f"{short(path)} is missing. {REMEDY}")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            stored = {key: arrays[key].astype("float32") for key in arrays.files}
    except MemoryError as error:
        raise MemoryError(f"not enough memory for {short(path)}: close other programs, try again") from error
    except Exception as error:  # zipfile, zlib, numpy and the system each raise their own
        if isinstance(error, OSError) and error.errno:
            raise OSError(error.errno, f"{error.strerror}; look at the disk and its permissions, then try "
                          "again", str(path)) from error
        raise ValueError(f"{short(path)} is damaged. {REMEDY}") from error
    wanted = {variable.path.removeprefix(backbone.name + "/"): variable
              for variable in backbone.weights}
    if {key: value.shape for key, value in stored.items()} != {
            key: tuple(variable.shape) for key, variable in wanted.items()}:
        raise ValueError(f"{short(path)} does not fit the model {backbone.name!r}: build it with "
                         "include_top=False, three channels and its full width (alpha=1).")
    for key, variable in wanted.items():
        variable.assign(stored[key])
    return backbone


def vgg16() -> keras.Model:
    """Lesson 03's backbone: VGG16 without top, with ImageNet's weights."""
    return backbone("vgg16").network


@dataclass(frozen=True)
class Backbone:
    """A network without top, and what belongs to it.

    Attributes:
        network: with ImageNet's weights.
        preprocess: takes float32 RGB in 0–255 and returns what the network was trained with.
        first: the name of the first layer that fine-tuning changes.
        kept: the layer whose stored output fine-tuning begins with.
    """

    network: keras.Model
    preprocess: Callable
    first: str
    kept: str


def backbone(name: str = "vgg16", size: tuple[int, int] = IMAGE_SIZE) -> Backbone:
    """A backbone by its name, written as in `keras.applications` (`vgg16`, `MobileNetV2`, `resnet50` …).

    The weights of VGG16 and MobileNetV2 are in the repository; Keras downloads those of others.
    Of these, the last third of the layers is fine-tuned.

    Args:
        name: upper or lower case, with or without "_", "-" and spaces.
        size: (height, width) in pixels of the photographs it will be shown.

    Raises:
        ValueError: there is no such network, or it could not be downloaded.
    """
    builders = {_plain(key): key for key in dir(keras.applications) if key[0].isupper()}
    builder = builders.get(_plain(name))
    if builder is None:
        near = difflib.get_close_matches(_plain(name), builders, 3)
        raise ValueError(f"no backbone {name!r}{f' (near: {_listed(builders, near)})' * bool(near)}. In the "
                         f"repository: {', '.join(FILES)}. With a download: {_listed(builders, builders)}.")
    own = next((own for own in FILES if _plain(own) == _plain(name)), None)
    build = getattr(keras.applications, builder)
    options = {"include_top": False, "input_shape": (*size, 3)}
    network = (load_imagenet_weights(build(weights=None, **options)) if own
               else _downloaded(builder, build, options))
    first = FIRST_THAWED.get(own) or network.layers[len(network.layers) * 2 // 3].name
    return Backbone(network, _module(builder).preprocess_input, first, way_in(network, first))


def _downloaded(builder: str, build: Callable, options: dict) -> keras.Model:
    try:
        return build(weights="imagenet", **options)
    except Exception as error:
        # Keras turns what urllib raises into a bare Exception; an error of another kind is not about this.
        if not (isinstance(error, OSError | http.client.HTTPException) or type(error) is Exception):
            raise
        raise ValueError(
            f"the weights of {builder} could not be downloaded ({error}). Is there a network? Behind a "
            "proxy, set HTTPS_PROXY. On macOS with Python from python.org, run \"Install "
            "Certificates.command\" in Python's folder under Applications. Without a network, take one of "
            f"{', '.join(FILES)}.") from error


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", str(name)).lower()


def _listed(builders: dict, which) -> str:
    return ", ".join(sorted({builders[one] for one in which}))


def _module(builder: str):
    """The module of keras.applications that holds this network's pre-processing."""
    modules = {key: module for key, module in vars(keras.applications).items()
               if hasattr(module, "preprocess_input")}
    fitting = [key for key in modules if _plain(builder).startswith(_plain(key))]
    holding = [key for key in modules if hasattr(modules[key], builder) and key != "imagenet_utils"]
    return modules[max(holding or fitting, key=len)]


def way_in(network: keras.Model, first: str) -> str:
    """The last layer before `first` that everything has to pass: no shortcut leads around it."""
    number = {layer.name: i for i, layer in enumerate(network.layers)}
    last_use = {}
    for layer in network.layers[1:]:
        for tensor in layer.input if isinstance(layer.input, list) else [layer.input]:
            source = tensor._keras_history.operation.name
            last_use[source] = max(last_use.get(source, 0), number[layer.name])
    return next(layer.name for i, layer in reversed(list(enumerate(network.layers[:number[first]])))
                if all(last_use[before.name] <= i for before in network.layers[:i]))


def tail(backbone: keras.Model, head: keras.Model, first: str, dropout: float = 0) -> keras.Model:
    """The end of a backbone, thawed from the layer `first` on, and the head, as one model.

    It shares its layers with `backbone` and `head`: what it learns, they have learned. Layers of
    BatchNormalization stay frozen, one by one, so their statistics stay too (lesson 04).

    Args:
        backbone: a network without top.
        head: from the pooled features to the classes.
        first: name of the first layer to learn; the model takes the output of `way_in`.
        dropout: fraction of the pooled features switched off in training.
    """
    learns = False
    for layer in backbone.layers:
        learns = learns or layer.name == first
        layer.trainable = learns and not isinstance(layer, keras.layers.BatchNormalization)
    x = keras.layers.GlobalAveragePooling2D()(backbone.output)
    x = keras.layers.Dropout(dropout)(x) if dropout else x
    return keras.Model(backbone.get_layer(way_in(backbone, first)).output, head(x), name="tail")


def whole(backbone: keras.Model, head: keras.Model, preprocess) -> keras.Model:
    """From the raw photograph, float32 RGB in 0–255, to the classes (lesson 03)."""
    photograph = keras.Input(backbone.input.shape[1:], name="photograph")
    x = backbone(preprocess(photograph), training=False)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(photograph, head(x), name="animals")


def weights_digest(model) -> str:
    """A fingerprint of a model's weights (hexadecimal, 64 digits): equal weights, equal digest."""
    digest = hashlib.sha256()
    for variable in model.weights:
        digest.update(np.ascontiguousarray(variable.numpy() + 0).data)  # -0.0 equals 0.0
    return digest.hexdigest()
