"""From files on disk to batches of images, in parallel (lessons 01 and 02).

Images leave here as the file holds them: RGB, 0 to 255. What a network wants them to look like
(its pre-processing) is part of the model, not of the pipeline.
"""

import errno
import os

import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps

from .datasets import IMAGE_SIZE, Dataset

AUGMENTATION = 2  # the number of what `augment` does; results note it. 1 drew one number for all three

# Pillow's bilinear averages over all pixels that fall into a new one. `tf.image.resize` by default
# looks at four of them only, which turns a large photograph into noise.
RESIZE = "pillow-bilinear"

# Pillow would read more kinds of files, among them PostScript: for that it starts another program.
Image.init()
FORMATS = tuple(kind for kind in ("JPEG", "PNG", "GIF", "BMP", "WEBP", "MPO", "TIFF", "AVIF", "JPEG2000")
                if kind in Image.OPEN)


def decode(path: str, size: tuple[int, int] | None = None) -> np.ndarray:
    """One image file as (height, width, 3) uint8 RGB, whatever its mode.

    The camera's rotation mark (EXIF) is obeyed and a transparent background becomes white.

    Args:
        path: the file.
        size: (height, width) in pixels to stretch to; None keeps the file's own.

    Raises:
        ValueError: the file is damaged or is no image; the message names it.
    """
    try:
        if os.path.exists(path) and not os.path.isfile(path):  # a pipe would be waited for
            raise OSError(errno.EINVAL, "it is no file but a folder, a pipe or a device")
        heif = ("HEIF",) * ("HEIF" in Image.OPEN)  # where pillow_heif has been registered
        with Image.open(path, formats=FORMATS + heif) as image:
            image = ImageOps.exif_transpose(image)
            if image.mode.startswith("I"):  # 16-bit grey: Pillow's own conversion would clip it
                image = Image.fromarray((np.asarray(image) // 257).astype("uint8"))
            if image.has_transparency_data:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            image = image.convert("RGB")
            if size is not None:
                image = image.resize(size[::-1], Image.Resampling.BILINEAR)
            return np.asarray(image)
    except Exception as error:  # Pillow's plug-ins raise many kinds
        raise ValueError(f"cannot read the image {path}: {remedy(path) or error}") from error


def remedy(path: str) -> str:
    """What to do about a file in a format that Pillow does not read; "" where nothing is known."""
    ending = path.rsplit(".", 1)[-1].lower()
    if ending in ("heic", "heif"):
        return ("HEIC, the format of iPhones. Export it as JPEG (on the telephone: Settings, Camera, "
                "Formats, Most Compatible), or `pip install pillow-heif` and "
                "`pillow_heif.register_heif_opener()`.")
    if ending in ("cr2", "cr3", "nef", "arw", "dng", "raf", "mp4", "mov", "pdf", "svg"):
        return f"a .{ending} file is no picture that Pillow reads. Export it as JPEG or PNG."
    return ""


def read(path: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """One file as a float32 tensor (height, width, 3) in 0–255, for use inside tf.data."""
    image = tf.numpy_function(lambda name: decode(name.decode(), size), [path], tf.uint8)
    image.set_shape((*size, 3))
    return tf.cast(image, tf.float32)


def batches(photographs: Dataset, size: tuple[int, int] = IMAGE_SIZE, batch_size: int = 32,
            shuffle_seed: int | None = None, prefetch: bool = True) -> tf.data.Dataset:
    """Batches of (images, labels); a label travels with its image from the first step on.

    Args:
        photographs: what to read.
        size: (height, width) in pixels.
        batch_size: images per batch; the last one may be smaller.
        shuffle_seed: None keeps the order of the files; a number shuffles anew each epoch.
        prefetch: decode in parallel and ahead. False is only for measuring what that brings.

    Returns:
        float32 (batch, height, width, 3) in 0–255, and int64 (batch,).
    """
    data = tf.data.Dataset.from_tensor_slices((photographs.paths, photographs.labels))
    if shuffle_seed is not None:
        data = data.shuffle(len(photographs), seed=shuffle_seed)
    parallel = os.cpu_count() if prefetch else None
    data = data.map(lambda path, label: (read(path, size), label), num_parallel_calls=parallel)
    data = without_autotuning(data.batch(batch_size))
    if prefetch:
        return data.prefetch(2)
    options = tf.data.Options()
    options.experimental_optimization.inject_prefetch = False  # tf.data would read ahead by itself
    return data.with_options(options)


def without_autotuning(data: tf.data.Dataset) -> tf.data.Dataset:
    """The same, with nothing to wait for when a pass over it has ended.

    tf.data's autotuning has a thread that sleeps, twice as long each time, up to a minute. At the end
    of a pass it is woken and looks whether it may stop, now and then too early to see that it may. Then
    it sleeps on and everything waits, for as long again at worst: on two cores in 12 of 40 passes with
    TensorFlow 2.21 and in 3 of 24 with 2.19. So how much is read ahead is said in numbers here.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return data.with_options(options)


def augment(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """One photograph as the camera could have taken it too: the same seed, the same picture.

    A part of it, 60 to 100 % of its area and a quarter wider or narrower at most, is stretched to the
    whole; then it is flipped left to right or not; then its contrast is multiplied by 0.75 to 1.25
    (lesson 04). Each of the three draws its own random numbers: one tells nothing of another.

    Args:
        image: float32 (height, width, 3) in 0–255.
        seed: (2,) integers.

    Returns:
        As `image`.
    """
    crop_seed, flip_seed, contrast_seed = tf.unstack(tf.random.split(seed, 3))
    size = tf.shape(image)[:2]
    begin, part, _ = tf.image.stateless_sample_distorted_bounding_box(
        [*tf.unstack(size), 3], [[[0.0, 0.0, 1.0, 1.0]]], crop_seed, area_range=(0.6, 1),
        aspect_ratio_range=(0.8, 1.25), min_object_covered=0)
    changed = tf.image.resize(tf.slice(image, begin, part), size)
    changed = tf.image.stateless_random_flip_left_right(changed, flip_seed)
    changed = tf.image.stateless_random_contrast(changed, 0.75, 1.25, contrast_seed)
    return tf.ensure_shape(tf.clip_by_value(changed, 0, 255), image.shape)
