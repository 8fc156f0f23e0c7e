"""True ImageNet weights, the models built on them, and what is exported (lessons 03 to 05).

Lessons 03 and 04 build their models in plain Keras; `vgg16`, `tail` and `whole` repeat it later.
"""

import contextlib
import hashlib
import io
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from . import ROOT, quiet, short
from .datasets import IMAGE_SIZE

WEIGHTS = ROOT / "data" / "weights"
FILES = {
    "vgg16": "vgg16_imagenet_notop_float16.npz",
    "mobilenet_v2": "mobilenet_v2_224_imagenet_notop_float32.npz",
}
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
    except Exception as error:  # zipfile, zlib, numpy and the system each raise their own
        raise ValueError(f"{short(path)} is damaged ({error}). {REMEDY}") from error
    wanted = {variable.path.removeprefix(backbone.name + "/"): variable
              for variable in backbone.weights}
    if {key: value.shape for key, value in stored.items()} != {
            key: tuple(variable.shape) for key, variable in wanted.items()}:
        raise ValueError(f"{short(path)} does not fit the model {backbone.name!r}: build it with "
                         f"include_top=False and three channels. {REMEDY}")
    for key, variable in wanted.items():
        variable.assign(stored[key])
    return backbone


def vgg16() -> keras.Model:
    """Lesson 03's backbone: VGG16 without top, with ImageNet's weights."""
    return load_imagenet_weights(keras.applications.VGG16(
        include_top=False, weights=None, input_shape=(*IMAGE_SIZE, 3)))


def tail(backbone: keras.Model, head: keras.Model, first: str, dropout: float = 0) -> keras.Model:
    """The layers of a plain chain such as VGG16 from `first` on, and the head, as one model.

    It shares its layers with `backbone` and `head`: what it learns, they have learned.

    Args:
        backbone: a network without top whose layers follow one another.
        head: from the pooled features to the classes.
        first: name of the first layer; the model takes what the layer before it gives out.
        dropout: fraction of the pooled features switched off in training.
    """
    layers = backbone.layers[backbone.layers.index(backbone.get_layer(first)):]
    inputs = keras.Input(layers[0].input.shape[1:])
    x = inputs
    for layer in layers:
        layer.trainable = True
        x = layer(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dropout(dropout)(x) if dropout else x
    return keras.Model(inputs, head(x), name="tail")


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
        digest.update(np.ascontiguousarray(variable.numpy()).data)
    return digest.hexdigest()


def export_litert(model: keras.Model, path: Path, class_names: list[str], int8: bool = False) -> Path:
    """Write a model as a LiteRT file for telephones and small computers, and its classes beside it.

    Args:
        model: takes one photograph after another.
        path: ends in .tflite; the class names go into a .txt of the same name.
        class_names: in the order of the outputs.
        int8: keep the weights as whole numbers of 8 bits (dynamic range quantization): a quarter
            of the size. Without it, the file computes what the model computes.

    Returns:
        The path.
    """
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT] if int8 else []
    with quiet(), warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # on where the converter will live one day
        content = converter.convert()
    path.with_suffix(".partial").write_bytes(content)
    os.replace(path.with_suffix(".partial"), path)
    path.with_suffix(".txt").write_text("\n".join(class_names) + "\n", encoding="utf-8")
    return path


def run_litert(path: Path, photographs: list[str]) -> tuple[np.ndarray, float]:
    """Classify files with scripts/predict_litert.py, a process that knows no TensorFlow.

    Returns:
        (n, classes) probabilities, and the median of the milliseconds an image took.
    """
    run = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "predict_litert.py"), str(path), "--json"],
        input="\n".join(photographs), capture_output=True, text=True)
    if run.returncode != 0:
        raise RuntimeError(f"{short(path)}: {run.stderr[-2000:]}")
    answers = [json.loads(line) for line in run.stdout.splitlines()]
    return (np.array([answer["probabilities"] for answer in answers]),
            float(np.median([answer["milliseconds"] for answer in answers])))


def predict_in_fresh_process(model_path: Path, images: np.ndarray) -> np.ndarray:
    """Load a saved model in a new Python process and predict there.

    A model that only works in the notebook that made it is of no use. The new process knows
    nothing but the file: no helper, no custom layer, no variable of the notebook.

    Args:
        model_path: a `.keras` file.
        images: (n, height, width, 3), what the model takes.

    Returns:
        (n, classes) predictions.
    """
    scratch = Path(model_path).with_suffix(".check.npz")
    np.savez(scratch, images=images)
    program = (
        "import sys, numpy, keras\n"
        "model = keras.models.load_model(sys.argv[1])\n"
        "images = numpy.load(sys.argv[2])['images']\n"
        "numpy.savez(sys.argv[2], predictions=model.predict(images, verbose=0))\n")
    try:
        run = subprocess.run([sys.executable, "-c", program, str(model_path), str(scratch)],
                             capture_output=True, text=True)
        if run.returncode != 0:
            raise RuntimeError(f"{short(model_path)} does not load on its own:\n{run.stderr[-2000:]}")
        with np.load(scratch) as result:
            return result["predictions"]
    finally:
        scratch.unlink(missing_ok=True)
