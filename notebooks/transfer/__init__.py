"""What the lessons share, so that a lesson shows only what it teaches.

Read in the order of the lessons: `datasets` and `audit` (01), `pipeline` (01, 02), `models`,
`features`, `training`, `evaluation` (03), `export` (03, 05, 08), `checks` (09), `plots` and `diagrams`
(all). The others stand behind one of these: `folders`, `uploads`, `downloads` and `kaggle` behind
`datasets`; `images` and `kinds` behind `pipeline`; `hashing`, `splits`, `overlap`, `advice` and
`catalogue` behind `audit`; `store`, `batches`, `fingerprints` and `structure` behind `features` and
`training`; `letters` behind `plots`; `loading` and `destination` behind the scripts; `files` behind all
that is written.

This file only knows where things are kept and in which language pictures are labelled.
It trains nothing and downloads nothing.
"""

import contextlib
import importlib
import os
import sys
from pathlib import Path

from .files import named, write_whole  # noqa: F401  where the rest of the helper looks for it

REPOSITORY = "owner/transfer-learning"  # written everywhere by `make repository REPO=owner/name`
ROOT = Path(__file__).resolve().parents[2]
DRIVE_FOLDER = "transfer-learning"  # not "transfer": a folder of that name looks like this module
LANGUAGES = ("en", "pt-BR")
_chosen = {"language": "en", "dataset": "mini"}


def setup(language: str = "en", dataset: str = "", keep_on_drive: bool = False) -> None:
    """Choose the language of pictures, the data set, and where results are kept.

    Args:
        language: "en" or "pt-BR".
        dataset: "mini", "animals10", "cats_vs_dogs" or a folder of class folders. The environment
            variable TRANSFER_DATASET, where set, wins: CI and scripts choose with it.
        keep_on_drive: on Colab, keep downloads, features and models on Google Drive, because
            Colab's own disk is lost with the session.

    Raises:
        SystemExit: there is no TensorFlow here; one sentence says what to do.
    """
    if language not in LANGUAGES:
        raise ValueError(f"language must be one of {LANGUAGES}, not {language!r}")
    dataset = os.environ.get("TRANSFER_DATASET") or dataset or "mini"
    _chosen.update(language=language, dataset=dataset)
    if keep_on_drive and "google.colab" in sys.modules:
        from google.colab import drive

        drive.mount("/content/drive")
        os.environ["TRANSFER_HOME"] = "/content/drive/MyDrive/" + DRIVE_FOLDER

    tensorflow, keras = _tensorflow()
    accelerator = "GPU" if tensorflow.config.list_logical_devices("GPU") else "CPU"
    print(f"TensorFlow {tensorflow.__version__}, Keras {keras.__version__}, {accelerator}")
    print(f"{dataset} -> {short(home())}")


def _tensorflow():
    """TensorFlow and Keras, or one sentence on how to come by them."""
    try:
        with quiet():  # TensorFlow first, for what is missing to be told by its name
            tensorflow, keras = map(importlib.import_module, ("tensorflow", "keras"))
    except ModuleNotFoundError as error:
        if error.name not in ("tensorflow", "keras"):
            raise
        sys.exit(f"There is no {error.name} here. On Colab, choose a runtime with a CPU or a GPU (Runtime, "
                 "Change runtime type); those with a TPU come without it. Elsewhere: pip install -r "
                 "requirements.txt")
    if keras.backend.backend() != "tensorflow":
        sys.exit(f"Keras runs on {keras.backend.backend()} here, and the lessons need TensorFlow: remove the "
                 "variable KERAS_BACKEND (or the line in ~/.keras/keras.json) and start the kernel again.")
    tensorflow.get_logger().setLevel("ERROR")  # many small models look like a mistake to it
    return tensorflow, keras


@contextlib.contextmanager
def quiet():
    """Keep TensorFlow's notes, which look like errors, out of the notebook.

    They are written by C++ straight to file descriptor 2; Python's own errors still show.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        kept = os.dup(2)
    except OSError:  # closed: nothing shows anyway
        yield
        return
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def language() -> str:
    """The language chosen in the set-up cell, "en" or "pt-BR"."""
    return _chosen["language"]


def dataset_choice() -> str:
    """The data set chosen in the set-up cell or by TRANSFER_DATASET."""
    return _chosen["dataset"]


def base() -> Path:
    """The folder for downloads, caches and models, which need not be there.

    It is `build/` in the repository, or what TRANSFER_HOME names (a relative path is meant from the
    repository's root, `~` is the user's home; an empty variable counts as none).
    """
    chosen = os.path.expandvars(os.environ.get("TRANSFER_HOME", "").strip()) or "build"
    try:
        return ROOT / Path(chosen).expanduser()
    except RuntimeError as error:
        raise ValueError(f"TRANSFER_HOME={chosen}: there is no such user's home") from error


def home(*parts: str) -> Path:
    """A path below `base()`; the folder that it lies in is created.

    Raises:
        OSError: it cannot be; the message names TRANSFER_HOME.
    """
    path = base().joinpath(*parts)
    folder = path.parent if parts else path
    with named(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return path


def short(path: str | Path) -> str:
    """The path as a reader sees it: from the repository's root where it is inside."""
    path = Path(path)
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name
