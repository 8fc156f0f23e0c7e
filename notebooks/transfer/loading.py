"""A saved `.keras` file is opened: no stranger's code, whole, of a fitting version, with its class names.

Loading a model builds whatever its `config.json` asks for, and some of what Keras can build reads files,
downloads or runs code (Keras 3.10 does so while loading). So that text is looked through first, without
building anything, for what the models of this tutorial are made of. scripts/predict.py uses it.
"""

import json
import re
import textwrap
import zipfile
from pathlib import Path

import keras

from .export import MEMBER, check_number, read_txt

LIMIT = 64e6  # bytes; the largest network of keras.applications is described in less than 1 MB
# Photographs in, probabilities out: what keras.applications, the heads and the augmentations consist of.
# Left out are those that run code (Lambda, TFSMLayer, TorchModuleWrapper, JaxLayer …) or read files
# (StringLookup, TextVectorization …), and whatever a later Keras may add.
LAYERS = set("""
    Activation Add AlphaDropout Average AveragePooling2D BatchNormalization CenterCrop Concatenate Conv2D
    Conv2DTranspose Cropping2D Dense DepthwiseConv2D Dot Dropout ELU Flatten GaussianDropout GaussianNoise
    GlobalAveragePooling2D GlobalMaxPooling2D GroupNormalization Identity InputLayer LayerNormalization
    LeakyReLU MaxPooling2D Maximum Minimum Multiply Normalization PReLU Permute RMSNormalization
    RandomBrightness RandomColorDegeneration RandomColorJitter RandomContrast RandomCrop RandomErasing
    RandomFlip RandomGaussianBlur RandomGrayscale RandomHue RandomPosterization RandomRotation
    RandomSaturation RandomSharpness RandomShear RandomTranslation RandomZoom ReLU Rescaling Reshape Resizing
    SeparableConv2D Softmax SpatialDropout2D Subtract UnitNormalization UpSampling2D ZeroPadding2D
    """.split())
NAMES = {  # where Keras looks for an object -> what may be asked for there
    "keras.layers": LAYERS,
    "keras": {"Sequential", "DTypePolicy"},
    "keras.src.models.functional": {"Functional"},
    "keras.src.models.sequential": {"Sequential"},
    "keras.src.applications.convnext": {"LayerScale", "StochasticDepth"},
    "keras.src.applications.inception_resnet_v2": {"CustomScaleLayer"},
}
WHOLE_MODULES = {  # of these every class: plain arithmetic
    *("keras.initializers", "keras.regularizers", "keras.constraints", "keras.losses", "keras.metrics"),
    *("keras.optimizers", "keras.optimizers.schedules"),
    *("keras.src.ops.numpy", "keras.src.ops.nn", "keras.src.ops.image", "keras.src.ops.math"),
}
VALUES = {"__keras_tensor__", "__tensor__", "__numpy__", "__ellipsis__", "__slice__"}


def load(path: Path) -> tuple[keras.Model, list[str]]:
    """A model that `export.save` wrote, and its class names.

    Names inside the file count; a file of the earlier version has them in the .txt beside it.

    Args:
        path: a `.keras` file.

    Returns:
        The model, which takes (n, height, width, 3), and one name for each of its outputs.

    Raises:
        ValueError, OSError: it is missing, torn, of a newer Keras, asks for what a stranger's code might
            do, does not take photographs, or names and outputs differ in number; said in one sentence.
    """
    path = Path(path)
    if path.suffix != ".keras":
        raise ValueError(f"{path} is no .keras file" + (
            "; ask it with scripts/predict_litert.py" if path.suffix == ".tflite" else ""))
    if not path.is_file():
        raise ValueError(f"{path} " + ("is no file" if path.exists() else
                                       "is missing; scripts/train.py writes one"))
    config, saved_with, class_names = _look_into(path)
    newer = ""
    if _numbers(saved_with) > _numbers(keras.__version__):
        newer = (f"it was saved with Keras {saved_with}, this is Keras {keras.__version__}: `pip install -U "
                 "keras`, or use a .tflite file, which any computer can read")
    if asked := asks_for(config):
        raise ValueError(f"{path} asks for {asked}, which this tutorial's models do not; open it only if you "
                         f"trust whoever made it, with keras.models.load_model{newer and f' ({newer})'}")
    try:
        model = keras.models.load_model(path, compile=False)
    except Exception as error:  # zipfile, h5py and Keras each raise their own
        reason = newer or textwrap.shorten(str(error), 200) + "; train it again"
        raise ValueError(f"{path} cannot be read as a model: {reason}") from error
    size, outputs = getattr(model, "input_shape", None), getattr(model, "output_shape", None)
    if not (isinstance(size, tuple) and len(size) == 4 and all(size[1:]) and size[3] == 3
            and isinstance(outputs, tuple) and len(outputs) == 2):
        raise ValueError(f"{path} is no classifier of photographs: it takes {size} and answers {outputs}, "
                         "not (None, height, width, 3) and (None, classes)")
    names = read_txt(path) if class_names is None else class_names
    try:
        check_number(names, outputs[1])
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return model, names


def _look_into(path: Path) -> tuple[dict, str, list[str] | None]:
    """config.json, Keras's version and the class names, from the members of the zip."""
    try:
        with zipfile.ZipFile(path) as archive:
            large = [one.filename for one in archive.infolist()
                     if one.filename.endswith(".json") and one.file_size > LIMIT]
            if large:
                raise ValueError(f"{large[0]} is too large")
            config = json.loads(archive.read("config.json"))
            present = set(archive.namelist())
            version = json.loads(archive.read("metadata.json")).get("keras_version", "") \
                if "metadata.json" in present else ""
            names = json.loads(archive.read(MEMBER))["classes"] if MEMBER in present else None
            if not isinstance(names, list | None) or not all(isinstance(one, str) for one in names or ()):
                raise ValueError(f"{MEMBER} holds no class names")
    except OSError:
        raise
    except Exception as error:  # zipfile, zlib and json each raise their own
        raise ValueError(f"{path} cannot be read as a model ({error}); train it again") from error
    return config, str(version), names


def _numbers(version: str) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", version)[:3]]


def asks_for(config) -> str:
    """The first thing in a model's config.json that this tutorial's models do not ask for.

    Args:
        config: the decoded JSON; whatever has a `class_name` is something that Keras would build.

    Returns:
        Its name, such as "keras.layers.Lambda"; "" where there is nothing of the kind.
    """
    todo = [config]
    while todo:
        part = todo.pop()
        if isinstance(part, dict):
            if "class_name" in part and not _ours(part):
                named = part.get("registered_name") or part["class_name"]
                where = part.get("module")
                inside = part.get("config") if part["class_name"] == "function" else None
                return ".".join(str(one) for one in (where, inside or named) if one)
            todo += part.values()
        elif isinstance(part, list):
            todo += part
    return ""


def _ours(part: dict) -> bool:
    name, module, registered = part["class_name"], part.get("module"), part.get("registered_name")
    if not isinstance(name, str) or not isinstance(module, str | None):
        return False
    if name in VALUES:
        return True
    if registered not in (None, name):  # a class of somebody's own
        return False
    # Functions begin with a small letter; they are never asked for by name.
    return name in NAMES.get(module, ()) or (
        module in WHOLE_MODULES and name.isidentifier() and name[0].isupper())
