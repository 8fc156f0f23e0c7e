"""Nothing is computed twice, nothing stale or half-written is ever read."""

import contextlib
import functools
import json
import os
import queue
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import picture
from filelock import FileLock
from transfer import ROOT, datasets, features, files, fingerprints, models, pipeline, store

SIZE = (32, 32)


def network(seed: int = 0, activation: str = "relu", policy: str = "float32") -> keras.Model:
    """A small convolutional network, always the same for a seed."""
    keras.utils.set_random_seed(seed)
    photograph = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, activation=activation, name="first", dtype=policy)(photograph)
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
                        lambda path, *how: seen.append(Path(path).name) or decode(path, *how))
    return seen


def rows_file(layer: str = "pooled") -> Path:
    return next(Path(os.environ["TRANSFER_HOME"]).glob(f"features/small-{layer}-*/rows.sqlite"))


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
            calls.put(1)
            return inputs

    calls, small = queue.SimpleQueue(), network()  # which is the same to the recipe, full or empty
    small = keras.Model(small.input, Noticed()(small.output), name="small")
    options = {"backbone": small, "layers": ["pooled", "pool"]}
    extract(photographs.select(slice(0, 9)), **options)
    while not calls.empty():
        calls.get()
    extract(photographs.select(slice(0, 9)), **options | {"layers": ["pooled", "pool", "first"]})
    assert calls.qsize() == 1  # asked for the shape of its output, and not run
    found = extract(photographs, **options)  # here both are missing
    assert calls.qsize() > 2 and found["pool"].computed == 27


def flip(image, seed):
    return tf.image.stateless_random_flip_left_right(image, seed)


def half_of_them_black(image, seed):
    return image * tf.cast(tf.random.stateless_uniform((), seed) < 0.5, image.dtype)


@pytest.mark.parametrize("change", [
    {"backbone": network(1)}, {"backbone": network(activation="elu")},
    {"backbone": network(policy="mixed_bfloat16")}, {"preprocess": lambda images: images / 3},
    {"size": (40, 40)}, {"layers": ["first"]}, {"augment": flip}, {"augment": half_of_them_black},
    {"augment": lambda image, seed: image},
])
def test_any_other_recipe_is_another_entry(photographs, computed, change):
    before = extract(photographs)["pooled"][:]
    extract(photographs, augment=tf.image.stateless_random_flip_up_down)
    computed.clear()
    after = next(iter(extract(photographs, **change).values()))
    assert len(computed) == 36
    no_change = after.shape == before.shape and np.allclose(after[:], before, rtol=1e-2, atol=1e-2)
    assert no_change == ("<lambda>" in str(change.get("augment")))
    assert np.array_equal(extract(photographs)["pooled"][:], before)


def test_the_precision_of_the_session_is_part_of_the_recipe(photographs, computed):
    kept = keras.config.dtype_policy()
    extract(photographs)
    try:
        keras.config.set_dtype_policy("mixed_bfloat16")
        extract(photographs)
    finally:
        keras.config.set_dtype_policy(kept)
    extract(photographs)
    assert len(computed) == 2 * 36


def test_the_same_network_built_again_is_known(photographs, computed):
    """Keras has numbered its own names meanwhile."""
    for _ in range(2):
        keras.utils.set_random_seed(0)
        photograph = keras.Input((None, None, 3))
        x = keras.layers.Activation("relu")(keras.layers.Conv2D(4, 3)(photograph))
        extract(photographs, backbone=keras.Model(photograph, x, name="small"))
    assert len(computed) == 36


def test_augmented_views_are_seeded_by_image_and_view(photographs):
    def augment(image, seed):
        return tf.image.stateless_random_brightness(image, 90, seed)

    views = [extract(photographs, augment=augment, view=view)["pooled"][:] for view in (0, 1)]
    assert not np.allclose(views[0], views[1])
    shutil.rmtree(os.environ["TRANSFER_HOME"])
    backwards = extract(photographs.select(slice(None, None, -1)), augment=augment, view=1)
    assert np.allclose(backwards["pooled"][:][::-1], views[1], rtol=1e-2)


def spoil(how: str) -> None:
    """Damage the store of the pooled features as disks and copies do."""
    file = rows_file()
    content = bytearray(file.read_bytes())
    if how == "one bit":
        with contextlib.closing(sqlite3.connect(file)) as opened:
            [row] = opened.execute("SELECT row FROM rows WHERE id = 8").fetchone()
        content[content.index(row) + 5] ^= 16
    elif how == "torn":
        content = content[:len(content) // 2]
    elif how == "text":
        content = b"Not a database: an error page of a network drive. " * 100
    else:
        content = b""
    file.write_bytes(content)


@pytest.mark.parametrize("asked", [slice(None), slice(0, 5)])
@pytest.mark.parametrize("how", ["one bit", "torn", "text", "empty"])
def test_what_is_damaged_is_made_again(photographs, computed, capsys, how, asked):
    """Also where the row that was hit is not asked for."""
    whole = extract(photographs)["pooled"][:]
    spoil(how)
    computed.clear()
    assert np.allclose(extract(photographs.select(asked))["pooled"][:], whole[asked], rtol=1e-2, atol=1e-2)
    assert np.allclose(extract(photographs)["pooled"][:], whole, rtol=1e-2, atol=1e-2)
    assert len(computed) == (1 if how == "one bit" else 36)
    said = capsys.readouterr().out
    assert how == "empty" or "damaged" in said and str(rows_file()) in said


def test_damage_after_the_look_through_is_an_error_and_no_wrong_row(photographs, computed):
    found = extract(photographs)["pooled"]
    whole = found[:]
    found._store.close()  # SQLite would remember so few rows
    spoil("one bit")
    hit = [position for position in range(36) if not right(found, position, whole)]
    assert hit == [7]
    with pytest.raises(tf.errors.OpError, match="run the cell"):
        list(features.Batches(found).data())
    again = extract(photographs)["pooled"]
    assert again.computed == 1 and np.allclose(again[:], whole, rtol=1e-2, atol=1e-2)


def right(found, position: int, whole: np.ndarray) -> bool:
    try:
        return bool(np.array_equal(found[position], whole[position])) or pytest.fail("a wrong row")
    except OSError as error:
        assert "rows.sqlite was damaged" in str(error) and "run the cell" in str(error)
        return False


def test_a_disk_that_damages_everything_ends_in_a_sentence(photographs, monkeypatch):
    monkeypatch.setattr(store, "_checksum", lambda key, row: np.random.default_rng().integers(2**32).item())
    with pytest.raises(OSError, match="could not be read again.*TRANSFER_HOME"):
        extract(photographs)


@pytest.fixture
def appended(monkeypatch):
    """The keys of every batch that is stored, with a look at the disk after each."""
    batches, append = [], store.Store.append

    def now(self, keys, rows):
        append(self, keys, rows)
        self.commit()
        batches.append((self.folder.name.split("-")[1], keys))

    monkeypatch.setattr(store.Store, "append", now)
    return batches


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, MemoryError])
def test_interrupted_it_goes_on_where_it_stopped(photographs, computed, monkeypatch, interruption):
    """`test_a_kill_leaves_whole_batches` does it to the store with SIGKILL."""
    def update(self, number):
        if self.n + number == 12:
            raise interruption
        return advance(self, number)

    advance = features.tqdm.update
    monkeypatch.setattr(features.tqdm, "update", update)
    with pytest.raises(interruption):
        extract(photographs, batch_size=4)
    monkeypatch.undo()
    os.environ["TRANSFER_HOME"] = str(photographs.root.parent / "home")
    found = extract(photographs, batch_size=4)["pooled"]
    assert found.computed == 24
    kept = found[:]
    shutil.rmtree(os.environ["TRANSFER_HOME"])
    assert np.allclose(extract(photographs)["pooled"][:], kept, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("disable", [False, True])
def test_rows_do_not_depend_on_the_progress_bar(photographs, monkeypatch, disable):
    monkeypatch.setattr(features, "tqdm", functools.partial(features.tqdm, disable=disable))
    found = extract(photographs, batch_size=8)["pooled"]
    alone = extract(photographs.select([35]), preprocess=lambda images: images * 0.5)["pooled"]
    assert np.allclose(found[35], alone[0], rtol=1e-2, atol=1e-2)
    assert len({row.tobytes() for row in found[:]}) == 36


@pytest.mark.parametrize("layers", [(["pooled", "first"], ["first"]), (["pooled"], ["pooled"]),
                                    (["first", "pooled"], ["pooled", "first"])])
def test_two_at_once_compute_each_image_once(photographs, appended, monkeypatch, layers):
    """Each in a thread, with a store and a lock of its own, as two notebooks have them."""
    def one(number: int):
        found[number] = extract(photographs, backbone=small, layers=layers[number], batch_size=6)

    found, small = {}, network()
    threads = [threading.Thread(target=one, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stored = Counter((layer, key) for layer, keys in appended for key in keys)
    wanted = {*layers[0], *layers[1]}
    assert {layer for layer, _ in stored} == wanted
    assert len(stored) == 36 * len(wanted) and set(stored.values()) == {1}
    shutil.rmtree(os.environ["TRANSFER_HOME"])
    for number in range(2):
        for layer, true in extract(photographs, layers=layers[number]).items():
            assert np.allclose(found[number][layer][:], true[:], rtol=1e-2, atol=1e-2)


def test_waiting_for_another_program_is_said(photographs, monkeypatch, capsys):
    extract(photographs.select(slice(0, 4)))
    monkeypatch.setattr(files, "PATIENCE", 0.1)
    lock = FileLock(next(Path(os.environ["TRANSFER_HOME"]).glob("features/*.lock")))
    with lock:
        extract(photographs.select(slice(0, 4)))  # is only read, so nothing has to wait
        assert "waiting" not in capsys.readouterr().out
        waiting = threading.Thread(target=extract, args=(photographs,), kwargs={"layers": ["first"]})
        waiting.start()
        said, deadline = "", time.time() + 30
        while "waiting for another notebook or program" not in said:
            said += capsys.readouterr().out
            assert time.time() < deadline
            time.sleep(0.02)
    waiting.join()


def test_no_room_is_said_before_anything_is_written(photographs, monkeypatch):
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=int(400e6)))
    with pytest.raises(OSError, match="need 0 MB, and 500 MB are left.*400 MB free.*TRANSFER_HOME"):
        extract(photographs)
    assert not list(Path(os.environ["TRANSFER_HOME"]).glob("features/*/rows.sqlite"))


def test_a_disk_that_fills_up_is_named_and_earlier_batches_stay(photographs, computed, appended, monkeypatch):
    def small_disk(self):
        connect(self)
        self._connection.execute("PRAGMA max_page_count = 10")

    connect = store.Store._connect
    monkeypatch.setattr(store.Store, "_connect", small_disk)
    with pytest.raises(OSError, match=r"small-first-.*rows.sqlite: .*full.*TRANSFER_HOME"):
        extract(photographs, layers=["first"], batch_size=4)
    kept = sum(len(keys) for _, keys in appended)
    assert 0 < kept < 36
    monkeypatch.setattr(store.Store, "_connect", connect)
    assert extract(photographs, layers=["first"])["first"].computed == 36 - kept


def test_a_damaged_photograph_is_named_and_what_was_before_stays(photographs):
    torn = photographs.root / "class1" / "05.jpg"
    torn.write_bytes(torn.read_bytes()[:300])
    with pytest.raises(ValueError, match="05.jpg"):
        extract(photographs, batch_size=4)
    torn.unlink()
    assert extract(datasets.from_folder(photographs.root, "x"))["pooled"].computed == 35 - 16


def test_no_photographs_are_no_error(photographs, computed):
    found = extract(photographs.select([]), layers=["pooled", "pool"])
    assert found["pool"].shape == found["pool"][:].shape == (0, 7, 7, 4)
    assert len(found["pooled"]) == found["pooled"].computed == 0 and found["pooled"].keys == []
    batches = features.Batches(found["pooled"], shuffle_seed=0)
    assert len(batches) == 0 and list(batches.data()) == [] and not computed


def test_features_of_an_earlier_version_are_said_once(photographs, computed, monkeypatch, capsys):
    old = photographs.root.parent / "home" / "features" / "small-pooled-0123456789abcdef"
    old.mkdir(parents=True)
    (old / "rows.f16").write_bytes(bytes(3_000_000))
    monkeypatch.setattr(features, "_said", [])
    for _ in range(2):
        extract(photographs)
    assert len(computed) == 36
    assert capsys.readouterr().out.count("1 folder below") == 1 and (old / "rows.f16").exists()


def test_rows_are_found_by_position_in_any_manner(photographs):
    found = extract(photographs, layers=["pool"])["pool"]
    everything = found[:]
    for which in ([3, 1, 3, -1], slice(30, None, -7), everything[:, 0, 0, 0] > 50, 5, -2, np.int64(7), [],
                  np.array([[0, 1], [35, 0]]), ...):
        assert np.array_equal(found[which], everything[which]) and found[which].dtype == "float32"
    with pytest.raises(IndexError):
        found[36]


def test_photographs_are_known_by_their_bytes(photographs):
    import hashlib

    found = extract(photographs)["pooled"]
    assert found.keys == [hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in photographs.paths]


def test_numbers_too_large_for_half_precision_are_refused(photographs):
    with pytest.raises(ValueError, match="float16.*pre-processing"), np.errstate(over="ignore"):
        extract(photographs, preprocess=lambda images: images * 1e6)


def test_the_recipe_is_readable(photographs):
    extract(photographs)
    file = rows_file().with_name("recipe.json")
    file.write_bytes(b"\xff{")  # nothing is read from it
    extract(photographs)
    recipe = json.loads(file.read_text())
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
import json, sys
from pathlib import Path
import numpy as np, tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2)
from test_features import flip, halve, network
from transfer import datasets, features, fingerprints

print("KNOWN AS", json.dumps([fingerprints.of_preprocess(halve), fingerprints.of_augment(flip)]))
features.gpus = lambda: [device.name for device in tf.config.list_logical_devices("CPU")]
assert features._shared(network())[0].num_replicas_in_sync == 2
photographs = datasets.from_folder(Path(sys.argv[1]), "x")
found = features.extract(photographs, network(), halve, ["pooled", "pool"], (32, 32), batch_size=5)
np.savez(sys.argv[2], **{layer: rows[:] for layer, rows in found.items()})
"""


def test_two_devices_share_the_work_and_find_the_same(photographs, tmp_path):
    """36 images in batches of 10, the last one uneven; two logical processors stand for two GPUs."""
    said = output_of(SHARED, tmp_path / "other", photographs.root, tmp_path / "found.npz")
    alone = extract(photographs, layers=["pooled", "pool"])
    with np.load(tmp_path / "found.npz") as shared:
        for layer, rows in alone.items():
            assert np.allclose(shared[layer], rows[:], rtol=2e-3, atol=1e-2)
    known_as = json.loads(said.split("KNOWN AS", 1)[1].splitlines()[0])
    assert known_as == [fingerprints.of_preprocess(halve), fingerprints.of_augment(flip)]


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
    seen.clear()
    features.extract(images, small, halve, ["pooled", "first"], (128, 128), batch_size=8)["first"][:8]
    print("PEAK", max(seen))
threading.Thread(target=watch, daemon=True).start()
for name in ("some", "many"):
    extract(name)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_memory_does_not_grow_with_the_number_of_images(tmp_path):
    """In MB, for 300 and 1,200 images one after the other, whose stored rows are 38 and 153 MB."""
    for name, images in (("some", 300), ("many", 1_200)):
        for image in range(images):
            path = tmp_path / name / f"class{image % 2}" / f"{image}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture(1_000 * len(name) + image, (24, 24)).save(path, compress_level=0)
    said = output_of(MEASURED, tmp_path / "home", tmp_path)
    some, many = (float(part.split()[0]) for part in said.split("PEAK")[1:])
    assert many - some < (153 - 38) / 2  # it is about 25: what TensorFlow still takes for itself


def test_minus_zero_is_zero_to_the_digest():
    """A step at rate 0 may turn -0.0 into 0.0: the same weights, so the same stored features."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False)])
    model.set_weights([np.array([[0.0], [1.0]])])
    digest = models.weights_digest(model)
    model.set_weights([np.array([[-0.0], [1.0]])])
    assert models.weights_digest(model) == digest
    model.set_weights([np.array([[1e-9], [1.0]])])
    assert models.weights_digest(model) != digest
