"""From files on disk to batches of images, in parallel (lessons 01 and 02).

Images leave here as the file holds them: RGB, 0 to 255. What a network wants them to look like
(its pre-processing) is part of the model, not of the pipeline.
"""

import os

import tensorflow as tf

from .datasets import IMAGE_SIZE, Dataset
from .images import decode

AUGMENTATION = 2  # the number of what `augment` does; results note it. 1 drew one number for all three

# Pillow's bilinear averages over all pixels that fall into a new one. `tf.image.resize` by default
# looks at four of them only, which turns a large photograph into noise.
RESIZE = "pillow-bilinear"


def read(path: tf.Tensor, size: tuple[int, int], white: int = 0) -> tf.Tensor:
    """One file as a float32 tensor (height, width, 3) in 0–255, for use inside tf.data; `decode` reads it."""
    image = tf.numpy_function(lambda name: decode(os.fsdecode(name), size, white), [path], tf.uint8)
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
    data = data.map(lambda path, label: (read(path, size, photographs.white), label),
                    num_parallel_calls=parallel)
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
