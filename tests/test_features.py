"""Nothing is computed twice, nothing stale or half-written is ever read."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import picture
from transfer import ROOT, datasets, features, models, pipeline

SIZE = (32, 32)


def network(seed: int = 0) -> keras.Model:
    """A small convolutional network, always the same for a seed."""
    keras.utils.set_random_seed(seed)
    photograph = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, activation="relu", name="first")(photograph)
    x = keras.layers.MaxPooling2D(4, name="pool")(x)
    x = keras.layers.Conv2D(8, 3, activation="relu", name="second")(x)
    return keras.Model(photograph, x, name="small")


def halve(images):
    return images / 2


@pytest.fixture
def photographs(home, folder):
    return datasets.from_folder(folder, "x")


@pytest.fixture
def computed(monkeypatch):
    """The files that were decoded, by name, since the fixture was made."""
    seen, decode = [], pipeline.decode
    monkeypatch.setattr(pipeline, "decode",
                        lambda path, size=None: seen.append(Path(path).name) or decode(path, size))
    return seen


def extract(photographs, **changes):
    options = {"backbone": network(), "preprocess": halve, "size": SIZE} | changes
    return features.extract(photographs, **options)


def test_rows_equal_the_networks_output_and_keep_their_labels(photographs):
    found = extract(photographs, layers=["pooled", "pool"])
    images, labels = next(iter(pipeline.batches(photographs, SIZE, batch_size=36)))
    wanted = network()(halve(images), training=False).numpy()
    assert found["pooled"].shape == (36, 8) and found["pool"].shape == (36, 7, 7, 4)
    assert np.allclose(found["pooled"][:], wanted.mean(axis=(1, 2)), rtol=1e-3, atol=1e-2)
    model = network()
    inside = keras.Model(model.inputs, model.get_layer("pool").output)
    assert np.allclose(found["pool"][:], inside(halve(images)), rtol=1e-3, atol=1e-2)
    assert np.array_equal(found["pooled"].labels, labels)


def test_the_second_time_nothing_is_computed_whatever_the_order(photographs, computed):
    first = extract(photographs)["pooled"]
    assert len(computed) == 36
    order = np.random.default_rng(0).permutation(36)
    second = extract(photographs.select(order))["pooled"]
    assert len(computed) == 36
    assert np.array_equal(second[:], first[:][order])
    assert np.array_equal(second.labels, photographs.labels[order])


def test_only_added_photographs_are_computed_and_a_moved_one_is_known(photographs, computed):
    extract(photographs)
    computed.clear()
    picture(777).save(photographs.root / "class0" / "added.jpg")
    os.rename(photographs.root / "class1" / "00.jpg", photographs.root / "class2" / "moved.jpg")
    extract(datasets.from_folder(photographs.root, "x"))
    assert computed == ["added.jpg"]


def test_a_layer_added_later_computes_only_that(photographs, computed):
    pooled = extract(photographs)["pooled"][:]
    both = extract(photographs, layers=["pooled", "first"])
    assert np.array_equal(both["pooled"][:], pooled) and both["first"].shape == (36, 30, 30, 4)


def test_the_network_runs_no_deeper_than_what_is_missing(photographs):
    class Noticed(keras.layers.Layer):
        def call(self, inputs):
            calls.append(1)
            return inputs

    calls, small = [], network()
    small = keras.Model(small.input, Noticed()(small.output), name="small")
    options = {"backbone": small, "layers": ["pooled", "pool"]}
    extract(photographs.select(slice(0, 9)), **options)
    calls.clear()
    extract(photographs.select(slice(0, 9)), **options | {"layers": ["pooled", "pool", "first"]})
    assert len(calls) == 1  # asked for the shape of its output, and not run
    found = extract(photographs, **options)  # here both are missing
    assert len(calls) > 2 and found["pool"].computed == 27


@pytest.mark.parametrize("change", [
    {"backbone": network(1)}, {"preprocess": lambda images: images / 3}, {"size": (40, 40)},
    {"layers": ["first"]},
    {"augment": lambda image, seed: tf.image.stateless_random_flip_left_right(image, seed)},
])
def test_any_other_recipe_is_another_entry(photographs, computed, change):
    before = extract(photographs)["pooled"][:]
    computed.clear()
    after = next(iter(extract(photographs, **change).values()))
    assert len(computed) == 36
    assert after.shape != before.shape or not np.array_equal(after[:], before)
    assert np.array_equal(extract(photographs)["pooled"][:], before)


def test_augmented_views_are_seeded_by_image_and_view(photographs):
    def augment(image, seed):
        return tf.image.stateless_random_brightness(image, 90, seed)

    views = [extract(photographs, augment=augment, view=view)["pooled"][:] for view in (0, 1)]
    assert not np.allclose(views[0], views[1])
    shutil.rmtree(os.environ["TRANSFER_HOME"])
    backwards = extract(photographs.select(slice(None, None, -1)), augment=augment, view=1)
    assert np.allclose(backwards["pooled"][:][::-1], views[1], rtol=1e-2)


@pytest.mark.parametrize("damage", ["torn row", "torn key", "row without key", "key without row"])
def test_what_an_interruption_leaves_is_not_taken_for_whole(photographs, computed, damage):
    whole = extract(photographs)["pooled"][:]
    rows, keys = (next(Path(os.environ["TRANSFER_HOME"]).glob(f"features/*/{name}"))
                  for name in ("rows.f16", "keys.txt"))
    row_bytes = 16
    if damage == "torn row":
        rows.write_bytes(rows.read_bytes()[:-7])
    elif damage == "torn key":
        keys.write_bytes(keys.read_bytes()[:-20])
    elif damage == "row without key":
        keys.write_bytes(keys.read_bytes()[:-65])
    else:
        rows.write_bytes(rows.read_bytes()[:-row_bytes])
    computed.clear()
    assert np.array_equal(extract(photographs)["pooled"][:], whole)
    assert computed == ["11.jpg"]
    assert rows.stat().st_size == 36 * row_bytes and keys.stat().st_size == 36 * 65


SLOWED = """
import os, sys, time
sys.path[:0] = [{notebooks!r}, {tests!r}]
import test_features as t
from transfer import datasets, features
os.environ["TRANSFER_HOME"] = {home!r}
append = features.Store.append
def slow(self, keys, rows):
    append(self, keys, rows)
    print("\\nSTORED", len(keys), flush=True)
    time.sleep(0.3)
features.Store.append = slow
t.extract(datasets.from_folder(t.Path({folder!r}), "x"), batch_size=4)
"""


def start_slowed(photographs) -> subprocess.Popen:
    """The same extraction in another process, with a pause after each batch of 4."""
    program = SLOWED.format(notebooks=str(ROOT / "notebooks"), tests=str(ROOT / "tests"),
                            home=os.environ["TRANSFER_HOME"], folder=str(photographs.root))
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)


def test_killed_in_the_middle_it_goes_on_where_it_stopped(photographs, computed):
    process = start_slowed(photographs)
    stored = 0
    while stored < 3:
        line = process.stdout.readline()
        assert line or process.poll() is None, "the program ended before it could be killed"
        stored += line.startswith("STORED")
    process.send_signal(signal.SIGKILL)
    process.wait()
    home = Path(os.environ["TRANSFER_HOME"])
    kept = next(home.glob("features/*/keys.txt")).read_text().count("\n")
    assert 12 <= kept < 36
    found = extract(photographs)["pooled"][:]
    assert len(computed) == 36 - kept
    shutil.rmtree(home)
    assert np.allclose(extract(photographs)["pooled"][:], found, rtol=1e-2, atol=1e-2)


def test_two_at_once_compute_each_image_once(photographs):
    both = [start_slowed(photographs) for _ in range(2)]
    printed = "".join(process.communicate()[0] for process in both)
    assert [process.returncode for process in both] == [0, 0]
    assert printed.count("STORED 4") == 9
    keys = next(Path(os.environ["TRANSFER_HOME"]).glob("features/*/keys.txt")).read_text().split()
    assert len(keys) == len(set(keys)) == 36


def test_no_room_is_said_before_anything_is_written(photographs, monkeypatch):
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=int(400e6)))
    with pytest.raises(OSError, match="need 0 MB.*400 MB free.*TRANSFER_HOME"):
        extract(photographs)
    rows = next(Path(os.environ["TRANSFER_HOME"]).glob("features/*/rows.f16"))
    assert rows.stat().st_size == 0


def test_numbers_too_large_for_half_precision_are_refused(photographs):
    with pytest.raises(ValueError, match="float16.*pre-processing"), np.errstate(over="ignore"):
        extract(photographs, preprocess=lambda images: images * 1e6)


def test_the_recipe_is_readable(photographs):
    extract(photographs)
    recipe = json.loads(next(
        Path(os.environ["TRANSFER_HOME"]).glob("features/*/recipe.json")).read_text())
    assert recipe["layer"] == "pooled" and recipe["size"] == [32, 32]
    assert recipe["dtype"] == "float16" and len(recipe["weights"]) == 64


def test_batches_cover_every_row_once_in_a_new_order_each_epoch(photographs):
    found = extract(photographs)["pooled"]
    batches = features.Batches(found, batch_size=10, shuffle_seed=0)
    epochs, data = [], batches.data()
    assert not data.options().autotune.enabled and len(data) == len(batches) == 4
    for epoch in range(2):
        batches.start_epoch(epoch)
        rows, labels = map(np.concatenate, zip(*data.as_numpy_iterator(), strict=True))
        epochs.append(rows)
        both = {(row.tobytes(), label) for row, label in zip(rows, labels, strict=True)}
        assert both == {(row.tobytes(), label) for row, label in
                        zip(found[:], found.labels, strict=True)}
    assert not np.array_equal(*epochs)


def test_time_is_not_spent_on_what_is_known(photographs):
    extract(photographs)
    start = time.perf_counter()
    extract(photographs)
    assert time.perf_counter() - start < 1


def output_of(program: str, home: Path, *arguments) -> str:
    """What a program says that runs beside nothing else, with a TRANSFER_HOME of its own."""
    run = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True,
        env=os.environ | {"TRANSFER_HOME": str(home), "PYTHONPATH": f"{ROOT / 'notebooks'}:{ROOT / 'tests'}"})
    assert run.returncode == 0, run.stderr
    return run.stdout


SHARED = """
import sys
from pathlib import Path
import numpy as np, tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2)
from test_features import halve, network
from transfer import datasets, features

features.gpus = lambda: [device.name for device in tf.config.list_logical_devices("CPU")]
assert features._shared(network())[0].num_replicas_in_sync == 2
photographs = datasets.from_folder(Path(sys.argv[1]), "x")
found = features.extract(photographs, network(), halve, ["pooled", "pool"], (32, 32), batch_size=5)
np.savez(sys.argv[2], **{layer: rows[:] for layer, rows in found.items()})
"""


def test_two_devices_share_the_work_and_find_the_same(photographs, tmp_path):
    """36 images in batches of 10, the last one uneven; two logical processors stand for two GPUs."""
    output_of(SHARED, tmp_path / "other", photographs.root, tmp_path / "found.npz")
    alone = extract(photographs, layers=["pooled", "pool"])
    with np.load(tmp_path / "found.npz") as shared:
        for layer, rows in alone.items():
            assert np.allclose(shared[layer], rows[:], rtol=2e-3, atol=1e-2)


MEASURED = """
import sys, threading, time
from pathlib import Path
from test_features import halve, network
from transfer import datasets, features

def anonymous():
    return int(next(line for line in open("/proc/self/status") if "RssAnon" in line).split()[1]) / 1024

def watch():
    while True:
        seen.append(anonymous())
        time.sleep(0.02)

seen, small = [], network()
def extract(name):
    images = datasets.from_folder(Path(sys.argv[1], name), name)
    return features.extract(images, small, halve, ["pooled", "first"], (64, 64))
extract("warm-up")
threading.Thread(target=watch, daemon=True).start()
extract("photographs")["first"][:32]
print("PEAK", max(seen))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_memory_does_not_grow_with_the_number_of_images(tmp_path):
    """In MB, a process each for 1,000 and 5,000 images, whose stored rows are 31 and 154 MB."""
    peaks = []
    for number in (1_000, 5_000):
        place = tmp_path / str(number)
        for name, images in (("warm-up", 64), ("photographs", number)):
            for image in range(images):
                path = place / name / f"class{image % 2}" / f"{image}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                picture(image + len(name), (24, 24)).save(path)
        peaks.append(float(output_of(MEASURED, place / "home", place).split("PEAK")[1]))
    assert peaks[1] < 1.1 * peaks[0]


def test_minus_zero_is_zero_to_the_digest():
    """A step at rate 0 may turn -0.0 into 0.0: the same weights, so the same stored features."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False)])
    model.set_weights([np.array([[0.0], [1.0]])])
    digest = models.weights_digest(model)
    model.set_weights([np.array([[-0.0], [1.0]])])
    assert models.weights_digest(model) == digest
    model.set_weights([np.array([[1e-9], [1.0]])])
    assert models.weights_digest(model) != digest
