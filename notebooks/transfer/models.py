"""The true ImageNet weights that ship with the repository (lesson 03).

It builds no model: the lesson calls `keras.applications` itself.
"""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np

from . import ROOT, short

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


def weights_digest(model) -> str:
    """A fingerprint of a model's weights (hexadecimal, 64 digits): equal weights, equal digest."""
    digest = hashlib.sha256()
    for variable in model.weights:
        digest.update(np.ascontiguousarray(variable.numpy()).data)
    return digest.hexdigest()


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
