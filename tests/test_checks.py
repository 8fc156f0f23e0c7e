"""Every check of lesson 9 finds its mistake and is silent where there is none."""

import shutil

import keras
import numpy as np
import pytest
from transfer import checks

IMAGES = np.random.default_rng(0).uniform(0, 255, (8, 32, 32, 3)).astype("float32")
LABELS = np.arange(8) % 2


def backbone() -> keras.Model:
    keras.utils.set_random_seed(0)
    layers = keras.layers
    return keras.Sequential([keras.Input((32, 32, 3)), layers.Conv2D(4, 3, activation="relu", name="first"),
                             layers.BatchNormalization(), layers.Conv2D(4, 3, activation="relu", name="last"),
                             layers.GlobalAveragePooling2D()], name="backbone")


def network(inside: keras.Model) -> keras.Model:
    return keras.Sequential([keras.Input((32, 32, 3)), inside, keras.layers.Dense(2, activation="softmax")])


def train(model: keras.Model, compiled: bool = True) -> None:
    if compiled:
        model.compile(keras.optimizers.AdamW(1e-2), loss="sparse_categorical_crossentropy")
    model.fit(IMAGES / 255, LABELS, epochs=2, verbose=0)


@pytest.mark.parametrize(("module", "low", "high"), [("vgg16", -124, 152), ("mobilenet_v2", -1, 1)])
def test_input_range_finds_two_recipes_none_and_another_networks(module, low, high):
    recipe = getattr(keras.applications, module).preprocess_input
    assert checks.caught(checks.input_range, recipe(IMAGES.copy()), low, high) == ""
    twice, scaled = recipe(recipe(IMAGES.copy())), recipe(IMAGES / 255)
    for wrong in (twice, scaled, IMAGES, IMAGES / 255):
        assert "Is the pre-processing" in checks.caught(checks.input_range, wrong, low, high)


def test_moved_as_marked_finds_the_forgotten_compile():
    inside = backbone()
    inside.trainable = False
    model = network(inside)
    before = checks.weights_of(model)
    train(model)
    assert checks.caught(checks.moved_as_marked, before, model) == ""
    inside.trainable = True
    before = checks.weights_of(model)
    train(model, compiled=False)
    assert "6 of 8 trainable arrays have not moved" in checks.caught(checks.moved_as_marked, before, model)
    before = checks.weights_of(model)
    train(model)
    assert checks.caught(checks.moved_as_marked, before, model) == ""
    before = checks.weights_of(model)
    inside.trainable = False
    train(model, compiled=False)  # frozen, and not compiled
    assert "frozen arrays have moved" in checks.caught(checks.moved_as_marked, before, model)


def test_thawed_finds_a_backbone_that_cannot_learn():
    inside = backbone()
    assert checks.caught(checks.thawed, inside) == ""
    inside.trainable = False
    assert "trains the head alone" in checks.caught(checks.thawed, inside)


def test_statistics_frozen_looks_inside_models():
    inside = backbone()
    model = network(inside)
    assert "1 layers" in checks.caught(checks.statistics_frozen, model)
    inside.layers[1].trainable = False
    assert checks.caught(checks.statistics_frozen, model) == ""


def test_begins_well_finds_a_training_that_destroys():
    assert checks.caught(checks.begins_well, 0.25, {"val_loss": [0.30, 0.2]}) == ""
    assert "0.25 to 2.10" in checks.caught(checks.begins_well, 0.25, {"val_loss": [2.1, 0.2]})


@pytest.mark.parametrize(("activation", "loss", "right"), [
    ("softmax", "sparse_categorical_crossentropy", True),
    (None, "sparse_categorical_crossentropy", False),
    (None, keras.losses.SparseCategoricalCrossentropy(from_logits=True), True),
    ("softmax", keras.losses.SparseCategoricalCrossentropy(from_logits=True), False),
    ("sigmoid", keras.losses.BinaryCrossentropy(), True),
    ("sigmoid", keras.losses.BinaryCrossentropy(from_logits=True), False)])
def test_loss_fits_output_compares_both(activation, loss, right):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, activation=activation)])
    model.compile(loss=loss)
    assert (checks.caught(checks.loss_fits_output, model) == "") == right
    photograph = keras.Input((3,))
    outer = keras.Model(photograph, model(photograph))  # the head is a model inside the model
    outer.compile(loss=loss)
    assert (checks.caught(checks.loss_fits_output, outer) == "") == right


def test_answers_differ_finds_the_second_sigmoid():
    once = np.array([[0.1], [0.9], [0.4]])
    assert checks.caught(checks.answers_differ, once) == ""
    assert checks.caught(checks.answers_differ, np.hstack([1 - once, once])) == ""
    assert "all 3 answers are class 1" in checks.caught(checks.answers_differ, 1 / (1 + np.exp(-once)))


def test_what_is_no_number_is_a_mistake_and_no_pass():
    assert "nan" in checks.caught(checks.begins_well, 0.25, {"val_loss": [np.nan]})
    assert "nan" in checks.caught(checks.input_range, np.array([-1, np.nan, 1]), -1, 1)
    assert "no numbers" in checks.caught(checks.answers_differ, np.full((3, 2), np.nan))


def test_too_little_to_tell_is_no_mistake():
    assert checks.caught(checks.answers_differ, np.array([[0.9, 0.1]])) == ""
    assert checks.caught(checks.answers_differ, np.zeros((0, 2))) == ""
    apart = np.eye(4)[[0, 0, 1, 1, 2]] + 0.01  # right, but few; one class has one photograph, one has none
    assert checks.caught(checks.labels_in_step, apart, np.array([0, 0, 1, 1, 3])) == ""
    assert checks.caught(checks.labels_in_step, apart[:1], np.zeros(1, int)) == ""
    assert "5 photographs and 4 labels" in checks.caught(checks.labels_in_step, apart, np.arange(4))
    assert "no answers" in checks.caught(checks.each_class_recalled, np.zeros(0, int), np.zeros(0, int))


def test_disjoint_finds_a_copy_under_another_name(folder):
    paths = sorted(map(str, folder.glob("*/*")))
    assert checks.caught(checks.disjoint, paths[:20], paths[20:]) == ""
    copy = shutil.copy(paths[0], folder / "copy.jpg")
    assert "1 of 17 test photographs" in checks.caught(checks.disjoint, paths[:20], [*paths[20:], copy])


def test_labels_in_step_finds_shuffled_labels_and_moved_rows():
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(5), 8)
    features = np.abs(random.normal(size=(40, 20)) + 2 * np.eye(5, 20)[labels])
    assert checks.caught(checks.labels_in_step, features, labels) == ""
    for wrong in (random.permutation(labels), np.roll(labels, 4)[random.permutation(40)]):
        assert "same pass" in checks.caught(checks.labels_in_step, features, wrong)


def test_repeatable_finds_what_is_random():
    model = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.RandomFlip(), backbone()])
    assert checks.caught(checks.repeatable, lambda x: model.predict(x, verbose=0), IMAGES) == ""
    assert "training=False" in checks.caught(checks.repeatable, model, IMAGES)


def test_each_class_recalled_finds_what_accuracy_hides():
    labels = np.array([0] * 95 + [1] * 5)
    assert checks.caught(checks.each_class_recalled, labels, labels) == ""
    found = checks.caught(checks.each_class_recalled, labels, np.zeros(100, int))
    assert "95%" in found and "class 1 only 0%" in found
