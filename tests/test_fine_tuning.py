"""A tail is the backbone's own; a training that was killed goes on as if it had not been."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from made_up import overlapping_classes, stored
from transfer import ROOT, features, models, pipeline, training

PROGRAM = Path(__file__).with_name("resumable.py")


def chain() -> keras.Model:
    keras.utils.set_random_seed(0)
    photograph = keras.Input((16, 16, 3))
    x = photograph
    for block in (1, 2):
        x = keras.layers.Conv2D(4, 3, activation="relu", name=f"block{block}_conv1")(x)
        x = keras.layers.MaxPooling2D(name=f"block{block}_pool")(x)
    return keras.Model(photograph, x, name="chain")


def small_head() -> keras.Model:
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="softmax")])


def halve(images):
    return images / 2


def test_the_tail_shares_its_layers_with_the_whole_model():
    backbone, head = chain(), small_head()
    whole, tail = models.whole(backbone, head, halve), models.tail(backbone, head, "block2_conv1")
    images = np.random.default_rng(0).uniform(0, 255, (5, 16, 16, 3)).astype("float32")
    before = keras.Model(backbone.input, backbone.get_layer("block1_pool").output)(images / 2)
    assert np.allclose(whole(images, training=False), tail(before), atol=1e-5)
    first = backbone.get_layer("block1_conv1").get_weights()
    tail.compile(keras.optimizers.SGD(0.1), loss="sparse_categorical_crossentropy")
    tail.fit(before, np.arange(5) % 3, verbose=0)
    assert np.allclose(whole(images, training=False), tail(before), atol=1e-5)
    assert all(map(np.array_equal, first, backbone.get_layer("block1_conv1").get_weights()))


def test_dropout_stands_before_the_head():
    tail = models.tail(chain(), small_head(), "block2_conv1", dropout=0.5)
    assert [type(layer).__name__ for layer in tail.layers[-2:]] == ["Dropout", "Sequential"]


def test_an_augmented_view_repeats_and_stays_an_image():
    image = tf.random.Generator.from_seed(1).uniform((40, 60, 3), 0, 255)
    first, again, other = (pipeline.augment(image, seed).numpy() for seed in ((1, 2), (1, 2), (1, 3)))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert first.shape == (40, 60, 3) and first.min() >= 0 and first.max() <= 255


@pytest.fixture
def views(home):
    """The same 40 photographs three times: rows tell photograph and view."""
    return [stored(f"view{view}", np.stack([np.arange(40), np.full(40, view)], axis=1), np.arange(40))
            for view in range(3)]


def epoch(batches) -> np.ndarray:
    return np.concatenate([rows for rows, _ in batches.data().as_numpy_iterator()])


def test_each_epoch_draws_one_view_of_each_photograph(views):
    batches = features.Batches(views, batch_size=16, shuffle_seed=0)
    drawn = []
    for number in range(5):
        batches.start_epoch(number)
        rows, labels = map(np.concatenate, zip(*batches.data().as_numpy_iterator(), strict=True))
        assert sorted(rows[:, 0]) == list(range(40)) and np.array_equal(labels, rows[:, 0])
        drawn.append(rows[np.argsort(rows[:, 0]), 1])
    drawn = np.array(drawn)
    assert set(drawn.ravel()) == {0, 1, 2}
    assert (drawn != drawn[0]).any(axis=0).mean() > 0.8, "most photographs change their view"


def test_an_epochs_order_follows_from_its_number(views):
    first, second = (features.Batches(views, shuffle_seed=3) for _ in range(2))
    for number in range(5):
        first.start_epoch(number)
    second.start_epoch(4)
    assert np.array_equal(epoch(first), epoch(second))
    second.start_epoch(3)
    assert not np.array_equal(epoch(first), epoch(second))


def run(folder: Path, *options: str) -> subprocess.Popen:
    environment = os.environ | {"TRANSFER_HOME": str(folder), "PYTHONPATH": str(ROOT / "notebooks"),
                                "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.Popen([sys.executable, str(PROGRAM), *options], env=environment, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def result(process: subprocess.Popen) -> dict:
    output, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    return json.loads(output.splitlines()[-1])


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict:
    """What the training gives when nobody kills it."""
    found = result(run(tmp_path_factory.mktemp("whole")))
    assert found["begun"] == list(range(6))
    return found


def test_killed_in_the_middle_it_goes_on_and_ends_the_same(tmp_path, whole):
    """SIGKILL in the third epoch; with dropout, momentum and a falling rate to be restored."""
    process = run(tmp_path / "killed")
    kept = tmp_path / "killed" / "runs"
    deadline = time.time() + 120
    while not any(len(file.read_text().splitlines()) >= 3 for file in kept.glob("*/epochs.csv")):
        assert time.time() < deadline and process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    resumed = result(run(tmp_path / "killed"))
    assert resumed["begun"][0] >= 1 and resumed["begun"] == list(range(resumed["begun"][0], 6))
    assert resumed["history"] == whole["history"] and resumed["digest"] == whole["digest"]
    assert result(run(tmp_path / "killed"))["begun"] == []


@pytest.mark.parametrize("moment", ["best", "backup", "metadata"])
def test_killed_while_it_writes_nothing_torn_is_believed(tmp_path, whole, moment):
    """Killed inside the very write of best weights, of the backup, and of the note on the epoch."""
    process = run(tmp_path, "--die-writing", moment)
    process.communicate(timeout=240)
    assert process.returncode == -signal.SIGKILL
    resumed = result(run(tmp_path))
    assert resumed["begun"][0] >= 1
    assert resumed["history"] == whole["history"] and resumed["digest"] == whole["digest"]


def test_run_again_in_the_same_kernel_it_goes_on_and_another_rate_is_another_run(tmp_path, whole):
    found = result(run(tmp_path, "--interrupt"))
    assert found["begun"] == [0, 1, 2, 2, 3, 4, 5] and found["history"] == whole["history"]
    assert result(run(tmp_path, "--rate", "0.005"))["begun"] == list(range(6))


@pytest.mark.parametrize("name", ["vgg16", "mobilenet_v2"])
def test_the_same_fine_tuning_built_anew_is_the_same_run(home, name):
    """Keras numbers what it names; a run that is to go on must be known all the same."""
    train, validation = overlapping_classes()
    keys = []
    for weight in (1, 1, 2):
        found = models.backbone(name)
        head = keras.Sequential([keras.Input(found.network.output_shape[-1:]), keras.layers.Dense(3)])
        head.set_weights([np.full(shape.shape, weight) for shape in head.weights])
        tail = models.tail(found.network, head, found.first, dropout=0.5)
        tail.compile("adam", loss="sparse_categorical_crossentropy")
        keys.append(training._key(tail, features.Batches(train), validation, 5))
    assert keys[0] == keys[1] != keys[2]
