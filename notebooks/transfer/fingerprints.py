"""By what a pre-processing or an augmentation is known: what it does and what it is (for `features`).

What it does is seen on many pictures; that tells apart functions whose code says nothing, such as those of
a library. What it is comes from `structure.describe`; that tells apart functions that differ too seldom to
be seen. Both are the same in another session and on another computer.
"""

import contextlib
import functools
import hashlib
import json
import math

import numpy as np
import tensorflow as tf

from . import pipeline, quiet
from .structure import describe

SIZES = ((32, 32), (24, 40))  # (height, width) of the pictures for a trial
PICTURES, FEW, SEEDS = 16, 2, 8


def of_preprocess(function, size: tuple[int, int] = SIZES[0]) -> dict[str, str]:
    """The fingerprint of a pre-processing.

    Args:
        function: takes float32 RGB in 0–255, (batch, height, width, 3).
        size: (height, width) in pixels of the pictures it will get.

    Returns:
        "does" and "is", 16 hexadecimal digits each.

    Raises:
        ValueError: it does not give the same for the same pictures.
    """
    def trial(one: tuple[int, int], again: bool = False) -> list:
        pictures = _pictures(one)
        with tf.device("CPU"):
            batches = [pictures, pictures[:1], pictures[4:6]]  # some functions look at the whole batch
            return [_arrays(function(tf.constant(batch))) for batch in batches if len(batch)]

    return _fingerprint(function, trial, size, "the pre-processing gives different numbers for the same "
                        "pictures")


def of_augment(function, size: tuple[int, int] = SIZES[0]) -> dict[str, str]:
    """The fingerprint of an augmentation.

    Args:
        function: `augment(image, seed)` as `features.extract` takes it.
        size: (height, width) in pixels of the pictures it will get.

    Returns:
        "does" and "is", 16 hexadecimal digits each.

    Raises:
        ValueError: it does not give the same picture for the same picture and seed.
    """
    def trial(one: tuple[int, int], again: bool = False) -> list:
        pictures = _pictures(one).repeat(SEEDS, axis=0)
        seeds = _seeds(one)[:len(pictures)]
        if again:  # backwards: where the turn decides and not the seed, it shows
            return _mapped(function, pictures[::-1], seeds[::-1])[::-1]
        return _mapped(function, pictures, seeds)

    return _fingerprint(
        function, trial, size, "the augmentation gives different pictures for the same picture and seed. "
        "Use the seed that it gets, as in tf.image.stateless_random_flip_left_right(image, seed)")


def _fingerprint(function, trial, size: tuple[int, int], complaint: str) -> dict[str, str]:
    """Try it on small pictures of many kinds, and on a few of the real size, where more may show."""
    does = {}
    with quiet():
        for one in SIZES:
            with contextlib.suppress(Exception):  # such as a crop that is larger than these pictures
                does[one] = trial(one)
        does[size] = does.get(size) or trial(size)
        if not _alike(does[size], trial(size, again=True)):
            raise ValueError(f"{complaint}; what is computed from it cannot be kept.")
    does = [[*one, _summaries(results)] for one, results in does.items()]
    weights = [np.asarray(weight) for weight in getattr(function, "weights", [])]  # of a Keras layer
    return {"does": digest(does), "is": digest(describe([function, weights]))}


def _mapped(function, pictures: np.ndarray, seeds: np.ndarray) -> list:
    """As `features.extract` does it: inside tf.data, where the code is read once for all pictures."""
    data = tf.data.Dataset.from_tensor_slices((pictures, seeds)).map(function)
    return [_arrays(one) for one in pipeline.without_autotuning(data)]


def _arrays(result) -> list[np.ndarray]:
    return [np.asarray(one) for one in tf.nest.flatten(result)]


def _alike(first, second) -> bool:
    if isinstance(first, list):
        return len(first) == len(second) and all(map(_alike, first, second))
    return first.shape == second.shape and np.allclose(first, second, rtol=1e-3, atol=1e-5, equal_nan=True)


def _summaries(results) -> list:
    """Of each array its shape, type, size and two sums with random weights, to three or four digits.

    So few numbers, so rounded: another processor's last digit changes them once in a hundred times.
    """
    if isinstance(results, list):
        return [_summaries(one) for one in results]
    values = np.nan_to_num(results.astype("float64").ravel(), nan=1e6, posinf=1e7, neginf=-1e7)
    norm = float(np.linalg.norm(values))
    step = 10.0 ** (math.floor(math.log10(norm)) - 3) if norm else 1.0
    sums = _weights(len(values)) @ values
    return [list(results.shape), str(results.dtype), *(round(float(one) / step) for one in (norm, *sums)),
            round(math.log10(step))]


@functools.lru_cache(8)
def _weights(number: int) -> np.ndarray:
    return np.random.RandomState(0).standard_normal((2, number))  # the same in every version of NumPy


def _seeds(size: tuple[int, int]) -> np.ndarray:
    """(PICTURES * SEEDS, 2) int32, all different, such as photographs and views have.

    The first random numbers of these go from 0.0008 to 0.9993 (hence the 6), so that even what happens
    to one picture in a hundred happens here.
    """
    number = PICTURES * SEEDS
    return np.stack([np.random.RandomState([size[1], 6]).randint(0, 2**28, number),
                     np.arange(number) % 5], axis=1).astype("int32")


def _pictures(size: tuple[int, int]) -> np.ndarray:
    """(pictures, height, width, 3) float32: noise and shades of all kinds, whole numbers as in a file."""
    number, random = PICTURES if size in SIZES else FEW, np.random.RandomState(2)
    noise = random.randint(0, 256, (number, *size, 3))
    if size not in SIZES:
        return noise.astype("float32")
    down, right = np.mgrid[0:255:size[0] * 1j, 0:255:size[1] * 1j][..., None]
    shades = [noise[0], noise[1], noise[2] // 2, noise[3] // 2 + 127, noise[4] // 16, noise[5] // 64,
              240 + noise[6] // 16, noise[7] // 8 + 112, down + 0 * noise[8], right + 0 * noise[9],
              (down + right) / 2 + noise[10] // 16 - 8, noise[11] * [1, 0, 0], noise[12] * [0, 1, 0],
              noise[13] * [0, 0, 1], 0 * noise[14], 255 + 0 * noise[15]]
    return np.clip(np.round(np.stack(shades)), 0, 255).astype("float32")


def digest(description) -> str:
    """16 hexadecimal digits for what `json.dumps` takes."""
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()[:16]
