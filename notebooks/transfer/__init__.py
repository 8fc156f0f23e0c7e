"""What the lessons share, so that a lesson shows only what it teaches.

Read in the order of the lessons: `datasets` and `audit` (01), `pipeline` (01, 02), `models`,
`features`, `training`, `evaluation` (03), `checks` (09), `plots` and `diagrams` (all).

This file only knows where things are kept and in which language pictures are labelled.
It trains nothing and downloads nothing.
"""

import contextlib
import os
import sys
from pathlib import Path

REPOSITORY = "owner/transfer-learning"  # written everywhere by `make repository REPO=owner/name`
ROOT = Path(__file__).resolve().parents[2]
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
    """
    if language not in LANGUAGES:
        raise ValueError(f"language must be one of {LANGUAGES}, not {language!r}")
    dataset = os.environ.get("TRANSFER_DATASET") or dataset or "mini"
    _chosen.update(language=language, dataset=dataset)
    if keep_on_drive and "google.colab" in sys.modules:
        from google.colab import drive

        drive.mount("/content/drive")
        os.environ["TRANSFER_HOME"] = "/content/drive/MyDrive/transfer"

    with quiet():
        import keras
        import tensorflow

        tensorflow.get_logger().setLevel("ERROR")  # many small models look like a mistake to it
        accelerator = "GPU" if tensorflow.config.list_logical_devices("GPU") else "CPU"
    print(f"TensorFlow {tensorflow.__version__}, Keras {keras.__version__}, {accelerator}")
    print(f"{dataset} -> {short(home())}")


@contextlib.contextmanager
def quiet():
    """Keep TensorFlow's notes, which look like errors, out of the notebook.

    They are written by C++ straight to file descriptor 2; Python's own errors still show.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    kept = os.dup(2)
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


def home(*parts: str) -> Path:
    """A path below the folder for downloads, caches and models; its parent is created.

    The folder is `build/` in the repository, or what TRANSFER_HOME names (a relative path is
    meant from the repository's root).
    """
    path = (ROOT / os.environ.get("TRANSFER_HOME", "build")).joinpath(*parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def write_whole(path: Path, content: str | bytes) -> None:
    """Write beside, then rename: an interruption leaves the old file or the new one, never a part."""
    beside = path.with_suffix(".partial")
    beside.write_bytes(content.encode() if isinstance(content, str) else content)
    os.replace(beside, path)


def short(path: str | Path) -> str:
    """The path as a reader sees it: from the repository's root where it is inside."""
    path = Path(path)
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name
