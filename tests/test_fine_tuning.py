"""A tail is the backbone's own; a training that was killed goes on as if it had not been."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import resumable
import tensorflow as tf
from made_up import overlapping_classes, stored
from transfer import ROOT, checkpoint, features, models, pipeline, runs, training

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


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a training that nobody killed, its history, and the weights it ends with."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("whole")
        patch.setenv("TRANSFER_HOME", str(home))
        model, watch = resumable.network(), resumable.Watch()
        history = resumable.fit(model, watch)
    assert watch.begun == list(range(resumable.EPOCHS))
    return home, history, models.weights_digest(model)


def ends_like(whole, begun: list[int], model: keras.Model | None = None) -> bool:
    """Whether the training in TRANSFER_HOME goes on with these epochs and ends as if it were whole."""
    model, watch = model or resumable.network(), resumable.Watch()
    history = resumable.fit(model, watch)
    assert watch.begun == begun
    return (history, models.weights_digest(model)) == whole[1:]


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> dict[str, Path]:
    """Two that die by SIGKILL in their third epoch: in its second step, and when it is written down."""
    homes = {moment: tmp_path_factory.mktemp(moment) for moment in ("training", "writing")}
    programs = [subprocess.Popen(
        [sys.executable, str(PROGRAM), moment], stdout=subprocess.DEVNULL, env=os.environ | {
            "TRANSFER_HOME": str(home), "PYTHONPATH": str(ROOT / "notebooks"), "TF_CPP_MIN_LOG_LEVEL": "3"})
        for moment, home in homes.items()]
    assert [program.wait(timeout=240) for program in programs] == [-signal.SIGKILL] * 2
    return homes


@pytest.mark.parametrize("moment", ["training", "writing"])
def test_killed_it_goes_on_and_ends_the_same(killed, whole, monkeypatch, moment):
    """With dropout, momentum and a falling rate to be restored; nothing torn is believed."""
    monkeypatch.setenv("TRANSFER_HOME", str(killed[moment]))
    assert len(list(killed[moment].glob("runs/*/.partial-*/epoch-0003.npz"))) == (moment == "writing")
    assert ends_like(whole, [2, 3, 4, 5])
    assert ends_like(whole, [])  # once finished, it is only read
    assert sorted(path.name for path in killed[moment].glob("runs/*/*")) == [
        "epoch-0006.npz", "epoch-0006.npz.sha256", "lock"]


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory) -> Path:
    """A home with the same training, interrupted when two epochs were done."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("interrupted")
        patch.setenv("TRANSFER_HOME", str(home))
        with pytest.raises(KeyboardInterrupt):
            resumable.fit(resumable.network(), resumable.Watch(7, interrupt))
    return home


@pytest.fixture
def two_epochs(interrupted, home) -> Path:
    """The folder of that run, to be damaged."""
    shutil.copytree(interrupted, home)
    return next(home.glob("runs/run-*"))


def interrupt():
    raise KeyboardInterrupt


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def epochs_found(run: Path) -> int:
    model = resumable.network()
    model.optimizer.build(model.trainable_variables)
    with checkpoint.alone(run):
        return checkpoint.Checkpoint(model, resumable.EPOCHS, run).done


def test_whenever_the_writing_stopped_it_goes_on(two_epochs):
    """What a power cut leaves, made by hand."""
    second, third = two_epochs / "epoch-0002.npz", two_epochs / "epoch-0003.npz"
    third.with_name("epoch-0003.npz.sha256").write_text("0" * 64 + "\n")
    assert epochs_found(two_epochs) == 2, "the seal comes before the file"
    third.with_name("epoch-0003.npz.sha256").write_text("0" * 64 + "\n")
    third.write_bytes(second.read_bytes()[:2000])
    assert epochs_found(two_epochs) == 2, "a torn file"
    for name in ("epoch-0001.npz", "epoch-0001.npz.sha256"):
        shutil.copy(two_epochs / name.replace("1", "2", 1), two_epochs / name)
    assert epochs_found(two_epochs) == 2, "the older one was still to be removed"
    assert sorted(path.name for path in two_epochs.iterdir() if path.suffix != ".damaged") == [
        "epoch-0002.npz", "epoch-0002.npz.sha256", "lock"]


def test_a_flipped_bit_is_said_and_the_run_is_made_again(two_epochs, whole, capsys):
    flip(two_epochs / "epoch-0002.npz")
    assert ends_like(whole, [0, 1, 2, 3, 4, 5])
    assert "epoch-0002.npz is damaged" in capsys.readouterr().out
    flip(two_epochs / "epoch-0006.npz")
    assert epochs_found(two_epochs) == 0
    assert "epoch-0006.npz is damaged" in capsys.readouterr().out


def test_rubbish_in_the_folder_of_a_run_is_put_aside(two_epochs, whole, capsys):
    (two_epochs / "epoch-0003.npz").mkdir()
    (two_epochs / "epoch-0004.npz.sha256").mkdir()
    (two_epochs / "epoch-0007.npz").write_bytes(b"rubbish")
    (two_epochs / "epoch-x.npz").write_bytes(b"")
    (two_epochs / "notes.txt").write_text("of the reader")
    (two_epochs / ".partial-x").mkdir()
    os.unlink(two_epochs / "lock")
    (two_epochs / "lock").mkdir()
    checkpoint.write_sealed(two_epochs / "epoch-0008.npz", b"sealed, and not ours")
    assert ends_like(whole, [2, 3, 4, 5])
    assert "epoch-0007.npz is damaged" in capsys.readouterr().out
    assert (two_epochs / "notes.txt").exists() and not (two_epochs / ".partial-x").exists()
    shutil.rmtree(two_epochs)
    two_epochs.write_text("a file instead of a folder")
    assert epochs_found(two_epochs) == 0


def test_a_state_of_another_run_is_not_taken(two_epochs, capsys):
    other = two_epochs.rename(two_epochs.with_name("run-other"))
    assert epochs_found(other) == 0
    assert "epoch-0002.npz is damaged (or of an earlier version)" in capsys.readouterr().out


def test_run_again_in_the_same_kernel_it_goes_on(home, whole):
    model = resumable.network()
    for after in (2, 5, 4):  # in the first epoch, in the second, in the third
        with pytest.raises(KeyboardInterrupt):
            resumable.fit(model, resumable.Watch(after, interrupt))
    assert ends_like(whole, [2, 3, 4, 5], model)
    assert len(list(home.glob("runs/*"))) == 1


def test_interrupted_and_then_changed_it_is_another_run(home):
    model, (train, validation) = resumable.network(), overlapping_classes()
    with pytest.raises(KeyboardInterrupt):
        resumable.fit(model, resumable.Watch(7, interrupt))
    run = next(home.glob("runs/*")).name

    def run_of(model) -> str:
        batches = features.Batches(train, shuffle_seed=0)
        return "run-" + training._run_of(model, batches, validation, resumable.EPOCHS, [])[0]

    assert run_of(model) == run
    resumable.compiled(model).optimizer.build(model.trainable_variables)
    assert run_of(model) == run, "the cell that compiles was run once more, too"
    resumable.compiled(model, 0.005).optimizer.build(model.trainable_variables)
    assert run_of(model) != run, "with another rate"
    resumable.compiled(model).optimizer.build(model.trainable_variables)
    model.set_weights([2 * weight for weight in model.get_weights()])
    assert run_of(model) != run, "with other weights"


def test_a_full_disk_ends_in_a_sentence_and_the_epochs_before_are_kept(home, whole, monkeypatch):
    writes = []

    def full(file):
        writes.append(file)
        if len(writes) == 8:  # seal, file, seal; seal, file, seal; seal, file
            raise OSError(28, "No space left on device")

    overlapping_classes()  # the features are there
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left on device.* epochs before it are kept.*"
                                          "TRANSFER_HOME.*epoch-0003.npz"):
            resumable.fit(resumable.network())
    assert ends_like(whole, [2, 3, 4, 5])


@pytest.mark.parametrize("name", ["vgg16", "mobilenet_v2"])
def test_the_same_fine_tuning_built_anew_is_the_same_run(home, name):
    """Keras numbers what it names; a run that is to go on must be known all the same."""
    train, validation = overlapping_classes()
    keys = []
    for _ in range(2):
        found = models.backbone(name)
        head = keras.Sequential([keras.Input(found.network.output_shape[-1:]), keras.layers.Dense(3)])
        head.set_weights([np.full(shape.shape, 1) for shape in head.weights])
        tail = models.tail(found.network, head, found.first, dropout=0.5)
        tail.compile("adam", loss="sparse_categorical_crossentropy")
        tail.optimizer.build(tail.trainable_variables)
        keys.append(runs.key(tail, features.Batches(train), validation, 5))
    head.set_weights([np.full(shape.shape, 2) for shape in head.weights])
    keys.append(runs.key(tail, features.Batches(train), validation, 5))
    assert keys[0] == keys[1] != keys[2]


def test_features_of_another_size_are_refused_with_a_sentence(home, monkeypatch):
    def small(name, size):
        photograph = keras.Input((*size, 3))
        x = keras.layers.Conv2D(4, 3, name="first")(photograph)
        return models.Backbone(keras.Model(photograph, keras.layers.Conv2D(4, 3, name="last")(x)), halve,
                               "last", "first")

    monkeypatch.setattr(models, "backbone", small)
    random = np.random.default_rng(0)
    kept = [stored(part, random.normal(size=(6, 8, 8, 4)), np.arange(6) % 3) for part in "tv"]
    with pytest.raises(ValueError, match="224 x 224 pixels gives .222, 222, 4. at first.*8, 8, 4"):
        training.fine_tuned(small_head(), kept[:1], kept[1], epochs=1)
    _, tail, _ = training.fine_tuned(small_head(), kept[:1], kept[1], epochs=1, size=(10, 10))
    assert tail.input_shape == (None, 8, 8, 4)
