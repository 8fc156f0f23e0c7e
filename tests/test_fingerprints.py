"""Functions that compute differently are told apart, the same one is known again."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from transfer import fingerprints, structure


def flips(probability: float):
    def sometimes(image, seed):
        flipped = tf.random.stateless_uniform((), seed) < probability
        return tf.cond(flipped, lambda: image[:, ::-1], lambda: image)

    return sometimes


def unchanged(image, seed):
    return image


def black(image, seed):
    return image * tf.cast(tf.random.stateless_uniform((), seed) > 0.5, tf.float32)


def upside_down(image, seed):
    return tf.image.stateless_random_flip_up_down(image, seed)


def brighter_where_dark(image, seed):
    return tf.where(image < 3, image + 1, image)


@pytest.fixture(scope="module")
def augmentations() -> dict[str, dict]:
    functions = {str(p): flips(p) for p in (0.1, 0.3, 0.6, 0.84, 0.99, 1.1)} | {
        function.__name__: function for function in (unchanged, black, upside_down, brighter_where_dark)}
    return {name: fingerprints.of_augment(function) for name, function in functions.items()}


def test_augmentations_are_told_apart_by_what_they_do(augmentations):
    """And not only by their code: six of these were one to the first version of the fingerprint."""
    assert len({found["does"] for found in augmentations.values()}) == len(augmentations)
    assert len({found["is"] for found in augmentations.values()}) == len(augmentations)


def test_a_fingerprint_does_not_change_with_session_and_machine(augmentations):
    """Written down when the test was; on any processor, in any version of Python and TensorFlow."""
    assert augmentations["unchanged"]["does"] == "e6346b54ebe10b47"
    assert augmentations["0.6"]["does"] == "0f49b7797e088e36"
    assert fingerprints.of_preprocess(by(255))["does"] == "a8824475257146e1"


def test_it_is_tried_at_the_size_of_the_pictures_too():
    def crop(image, seed):
        return tf.image.stateless_random_crop(image, (60, 60, 3), seed)

    def other_crop(image, seed):
        return tf.image.stateless_random_crop(image, (60, 61, 3), seed)

    assert fingerprints.of_augment(unchanged, (64, 64)) == fingerprints.of_augment(unchanged, (64, 64))
    one, other = (fingerprints.of_augment(function, (64, 64)) for function in (crop, other_crop))
    assert one["does"] != other["does"]
    with pytest.raises(tf.errors.InvalidArgumentError):
        fingerprints.of_augment(crop, (48, 48))


LAYER = keras.layers.RandomFlip()
SEEDED = keras.layers.RandomBrightness(0.5, seed=1)


@pytest.mark.parametrize("augment", [
    lambda image, seed: LAYER(image, training=True),
    lambda image, seed: SEEDED(image, training=True),
    lambda image, seed: image * np.random.uniform(),
    lambda image, seed: tf.image.random_flip_left_right(image),
    lambda image, seed: tf.image.random_flip_left_right(image, seed=3),
    lambda image, seed: tf.numpy_function(lambda x: x * np.float32(np.random.rand()), [image], tf.float32),
])
def test_an_augmentation_that_does_not_follow_its_seed_is_refused(augment):
    keras.utils.set_random_seed(0)
    with pytest.raises(ValueError, match="different pictures for the same picture and seed"):
        fingerprints.of_augment(augment)


def test_a_random_preprocessing_is_refused():
    with pytest.raises(ValueError, match="different numbers for the same"):
        fingerprints.of_preprocess(lambda images: images + tf.random.normal(images.shape))


def by(divisor: float, threshold: float = -1.0):
    def divide(images):
        return tf.where(images > threshold, images / divisor, images)

    return divide


def test_preprocessings_that_differ_a_little_are_told_apart():
    functions = [
        by(255), by(256), by(255, 2), by(255, 254.5), lambda images: images / 255 - 1e-3,
        tf.image.per_image_standardization,
        lambda images: images / tf.reduce_max(images), lambda images: images - tf.reduce_mean(images, axis=0),
        lambda images: images - tf.reduce_mean(images), lambda images: images[..., ::-1] / 255,
        lambda images: tf.cast(images / 255, "float16"), lambda images: images[:, ::-1] / 255,
        keras.applications.vgg16.preprocess_input, keras.applications.mobilenet_v2.preprocess_input]
    assert len({fingerprints.of_preprocess(function)["does"] for function in functions}) == len(functions)


def helper(images):
    return images / 255


def other_helper(images):
    return images / 255 + tf.cast(images > 1_000, tf.float32)


class Scale:
    def __init__(self, beyond: float):
        self.beyond = beyond

    def __call__(self, images):
        return tf.where(images > self.beyond, 0.0, images)

    def method(self, images):
        return self(images)


def with_default(images, beyond=500.0):
    return tf.where(images > beyond, 0.0, images)


BEYOND = 500.0


def with_global(images):
    return tf.where(images > BEYOND, 0.0, images)


def using(one):
    return lambda images: one(images)


@pytest.mark.parametrize("one, other", [
    (using(helper), using(other_helper)), (by(255, -2), by(255, -3)), (Scale(500), Scale(600)),
    (Scale(500).method, Scale(600).method),
    (functools.partial(with_default, beyond=500), functools.partial(with_default, beyond=600)),
    (lambda images: with_default(images, 500), lambda images: with_default(images, 600))])
def test_functions_whose_difference_is_not_seen_are_told_apart_by_what_they_are(one, other):
    first, second = map(fingerprints.of_preprocess, (one, other))
    assert first["does"] == second["does"] and first["is"] != second["is"]
    assert first == fingerprints.of_preprocess(one)


def test_a_changed_global_or_default_is_another_function(monkeypatch):
    before = [fingerprints.of_preprocess(function) for function in (with_global, with_default)]
    monkeypatch.setattr(with_default, "__defaults__", (600.0,))
    monkeypatch.setitem(globals(), "BEYOND", 600.0)
    after = [fingerprints.of_preprocess(function) for function in (with_global, with_default)]
    assert all(old["does"] == new["does"] and old["is"] != new["is"] for old, new in zip(before, after))


def test_a_layer_with_other_weights_is_another_preprocessing():
    first, second = (keras.layers.Normalization(mean=[0, 0, 0], variance=[one, 1, 1]) for one in (1, 2))
    assert fingerprints.of_preprocess(first) != fingerprints.of_preprocess(second)
    again = keras.layers.Normalization(mean=[0, 0, 0], variance=[1, 1, 1])
    assert fingerprints.of_preprocess(first) == fingerprints.of_preprocess(again)


def test_the_same_text_in_another_cell_is_the_same_function():
    text = "def scale(images):\n    shift = {'a', 'b', 'c'}\n    return images / (252 + len(shift))\n"
    cells = []
    for name, around in (("<ipython-input-1>", ""), ("helper.py", "import os\n\n# elsewhere\n")):
        cell = {"__name__": "__main__"}
        exec(compile(around + text, name, "exec"), cell)
        cells.append(fingerprints.of_preprocess(cell["scale"]))
    assert cells[0] == cells[1]


def test_a_function_of_a_library_is_known_by_its_name():
    """So an update of Keras that changes nothing leaves the features valid."""
    described = structure.describe(keras.applications.vgg16.preprocess_input)
    assert described[-1] == "preprocess_input" and len(described) == 3


def test_what_shows_on_larger_pictures_only_is_seen():
    """The trial pictures are small; a blot below row 45 is none on them."""
    def blot(row):
        return lambda image, seed: image * tf.cast(
            tf.range(tf.shape(image)[0]) >= row.start, tf.float32)[:, None, None]

    digests = {fingerprints.of_augment(blot(range(row, 99)), (64, 64))["does"] for row in (45, 60)}
    assert len(digests) == 2
