"""One fresh TRANSFER_HOME for the whole run, so that lessons share caches as a reader's do."""

import os
import tempfile

import numpy as np
import pytest
from PIL import Image

os.environ["TRANSFER_HOME"] = tempfile.mkdtemp(prefix="transfer-home-")
os.environ["TRANSFER_DATASET"] = "mini"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty TRANSFER_HOME for one test."""
    monkeypatch.setenv("TRANSFER_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def picture(seed: int, size=(80, 100)) -> Image.Image:
    """A smooth random picture, different for each seed, of (height, width)."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC)


@pytest.fixture
def folder(tmp_path):
    """A data set of 3 classes with 12 different pictures each."""
    for label in range(3):
        (tmp_path / "set" / f"class{label}").mkdir(parents=True)
        for number in range(12):
            picture(100 * label + number).save(
                tmp_path / "set" / f"class{label}" / f"{number:02d}.jpg", quality=95)
    return tmp_path / "set"
