"""A saved model keeps its class names, says when it is damaged, and a stranger's is not opened."""

import copy
import json
import re
import subprocess
import sys
import threading
import zipfile
from types import SimpleNamespace

import keras
import numpy as np
import predict
import predict_litert
import pytest
from PIL import Image
from transfer import export, images, loading, models

NAMES = ["cat", "ação é", "$\u200d"]


def classifier(classes: int = 3, side: int | None = 8, channels: int = 3, mark: float = 0) -> keras.Model:
    """Photographs in, probabilities out; `mark` is in its weights."""
    return keras.Sequential([
        keras.Input((side, side, channels)), keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(classes, "softmax", bias_initializer=keras.initializers.Constant(mark))])


def rewritten(path, target, members: dict):
    """A copy of a .keras file with other members; None leaves one out."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for name in {*old.namelist(), *members}:
            content = members.get(name, old.read(name) if name in old.namelist() else b"")
            if content is not None:
                new.writestr(name, content)
    return target


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """One model as .keras and as .tflite."""
    folder = tmp_path_factory.mktemp("saved")
    model = classifier()
    return (models.save(model, folder / "a.keras", NAMES),
            models.export_litert(model, folder / "a.tflite", NAMES))


@pytest.mark.parametrize("change", [
    lambda beside: beside.unlink(missing_ok=True), lambda beside: beside.write_text("only\ntwo\n"),
    lambda beside: beside.write_bytes(b"\xff\xfe\xb1")])
def test_the_names_inside_cannot_be_parted_from_the_model(saved, tmp_path, change):
    for path, names in zip(saved, (lambda path: loading.load(path)[1],
                                   lambda path: predict_litert.Classifier(path).class_names)):
        moved = tmp_path / path.name
        moved.write_bytes(path.read_bytes())
        change(moved.with_suffix(".txt"))
        assert names(moved) == NAMES


def test_grey_of_16_bits_is_as_bright_for_the_saved_model_as_in_the_training(tmp_path, capsys):
    scan = np.linspace(0, 1900, 64).reshape(8, 8).astype("uint16")  # a dark one
    Image.fromarray(scan).save(tmp_path / "x.png")
    keras.utils.set_random_seed(0)
    model = classifier()
    path = models.save(model, tmp_path / "a.keras", NAMES, 65_535)
    small = models.export_litert(model, tmp_path / "a.tflite", NAMES, white=65_535)
    expected = model.predict(images.decode(str(tmp_path / "x.png"), (8, 8), 65_535)[None], verbose=0)[0]
    assert np.abs(predict_litert.Classifier(small)(str(tmp_path / "x.png"))[0] - expected).max() < 1e-3
    predict.answer(SimpleNamespace(model=path, photographs=[str(tmp_path / "x.png")], top=1))
    assert f"{expected.max():.1%}" in capsys.readouterr().out
    bright = model.predict(images.decode(str(tmp_path / "x.png"), (8, 8))[None], verbose=0)[0]
    assert np.abs(bright - expected).max() > 0.01, "otherwise this test shows nothing"


def test_what_is_inside_disturbs_neither_keras_nor_litert(saved):
    model = keras.models.load_model(saved[0])
    lite = predict_litert.Interpreter(str(saved[1]))
    lite.allocate_tensors()
    images = np.random.default_rng(0).uniform(0, 255, (1, 8, 8, 3)).astype("float32")
    lite.set_tensor(lite.get_input_details()[0]["index"], images)
    lite.invoke()
    assert np.allclose(lite.get_tensor(lite.get_output_details()[0]["index"]),
                       model.predict(images, verbose=0), atol=1e-5)


@pytest.fixture(params=["keras", "tflite"])
def earlier(request, saved, tmp_path):
    """A file of the earlier version, without names inside, and how to read its names."""
    if request.param == "keras":
        path = rewritten(saved[0], tmp_path / "old.keras", {"classes.json": None})
        return path, lambda: loading.load(path)[1]
    with zipfile.ZipFile(saved[1]) as archive:
        size = json.loads(archive.read("classes.json"))["bytes"]
    path = tmp_path / "old.tflite"
    path.write_bytes(saved[1].read_bytes()[:size].replace(*export.DESCRIPTION[::-1]))
    return path, lambda: predict_litert.Classifier(path).class_names


@pytest.mark.parametrize("content, names", [
    ("\ufeffcat\ndog\ncow\n", ["cat", "dog", "cow"]), ("cat\r\ndog\r\ncow\r\n", ["cat", "dog", "cow"]),
    ("a\u2028b\nc\x85d\ne", ["a\u2028b", "c\x85d", "e"])])
def test_the_txt_of_an_earlier_version_is_read_line_by_line(earlier, content, names):
    path, read = earlier
    path.with_suffix(".txt").write_bytes(content.encode())
    assert read() == names


@pytest.mark.parametrize("content, message", [
    (b"cat\ndog\n", "3 outputs.* 2 class names"), (b"a\nb\nc\nd\n", "3 outputs.* 4 class names"),
    (b"a\xb1\nb\nc\n", "cannot be read as class names"), (None, "old.txt is missing")])
def test_names_that_do_not_fit_are_said(earlier, content, message):
    path, read = earlier
    if content is not None:
        path.with_suffix(".txt").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read()


@pytest.mark.parametrize("names, message", [
    (["cat", "dog"], "3 outputs and there are 2 class names"), (["cat", "dog", "dog"], "two classes.*'dog'"),
    (["a\nb", "c", "d"], "line break"), (["a\u2028b", "c", "d"], "line break"),
    (["\x1b[2J", "c", "d"], "x1b")])
@pytest.mark.parametrize("write, ending", [(models.save, "keras"), (models.export_litert, "tflite")])
def test_names_that_are_none_are_not_written(tmp_path, write, ending, names, message):
    with pytest.raises(ValueError, match=message):
        write(classifier(), tmp_path / f"model.{ending}", names)
    assert not list(tmp_path.iterdir())


def test_a_damaged_or_torn_tflite_file_is_said(saved, tmp_path):
    whole = saved[1].read_bytes()
    with zipfile.ZipFile(saved[1]) as archive:
        size = json.loads(archive.read("classes.json"))["bytes"]
    path = tmp_path / "torn.tflite"
    path.with_suffix(".txt").write_text("x\ny\nz\n")
    flipped = [whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1:] for at in range(0, size, size // 40)]
    torn = [whole[:keep] for keep in (0, 1, size // 2, size - 20, size + 60, len(whole) - 1)]
    for content in (*flipped, *torn, b"PK", b"<html>" * 100):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="torn.tflite is damaged"):
            predict_litert.Classifier(path)


@pytest.mark.parametrize("int8", [False, True])
def test_a_tflite_file_whose_names_were_cut_off_is_said_and_a_strangers_is_asked(tmp_path, int8):
    whole = models.export_litert(classifier(), tmp_path / "a.tflite", NAMES, int8).read_bytes()
    path, size = tmp_path / "cut.tflite", whole.index(b"PK\3\4")
    path.with_suffix(".txt").write_text("x\ny\nz\n")
    path.write_bytes(whole[:size])
    with pytest.raises(ValueError, match="cut.tflite is damaged"):
        predict_litert.Classifier(path)
    path.write_bytes(whole[:size].replace(*export.DESCRIPTION[::-1]))
    assert predict_litert.Classifier(path).class_names == ["x", "y", "z"]


@pytest.mark.parametrize("write, ending", [(models.save, "keras"), (models.export_litert, "tflite")])
def test_a_text_of_the_readers_own_stays_and_one_of_ours_is_renewed(tmp_path, capsys, write, ending):
    (tmp_path / "mine.txt").write_text("Dear diary")
    for _ in range(2):  # also when a model is there already
        path = write(classifier(), tmp_path / f"mine.{ending}", NAMES)
        assert (tmp_path / "mine.txt").read_text() == "Dear diary"
        assert "mine.txt was not written with a model, so it stays" in capsys.readouterr().out
    for names in (NAMES, ["x", "y", "z"]):
        assert export.read_txt(write(classifier(), tmp_path / f"ours.{ending}", names)) == names
    assert path.exists() and not capsys.readouterr().out


def config_of(path) -> dict:
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("config.json"))


def dense(config: dict) -> dict:
    return config["config"]["layers"][2]["config"]


def asked(module, name, config=None, **more) -> dict:
    return {"module": module, "class_name": name, "config": config or {}, "registered_name": None} | more


STRANGE = [
    (asked("keras.layers", "Lambda", {"function": asked(None, "__lambda__", {"value": "4w"})}), "Lambda"),
    (asked("keras.layers", "TFSMLayer", {"filepath": "/tmp"}), "TFSMLayer"),
    (asked("keras.layers", "TorchModuleWrapper"), "TorchModuleWrapper"),
    (asked("keras.layers", "JaxLayer"), "JaxLayer"),
    (asked("keras.layers", "StringLookup", {"vocabulary": "/etc/passwd"}), "StringLookup"),
    (asked("keras.layers", "TextVectorization"), "TextVectorization"),
    (asked("keras.layers", "Wrapper", {"layer": asked("keras.layers", "Lambda")}), "Wrapper"),
    (asked("keras.utils", "get_file", {"origin": "http://x"}), "keras.utils.get_file"),
    (asked("keras.utils", "function", "get_file"), "keras.utils.get_file"),
    (asked("builtins", "function", "eval"), "builtins.eval"),
    (asked(None, "__lambda__", {"value": "4w"}), "__lambda__"),
    (asked(None, "__typespec__", {}), "__typespec__"),
    (asked("keras.src.applications.vgg16", "VGG16"), "vgg16.VGG16"),
    (asked("keras.applications", "VGG16"), "applications.VGG16"),
    (asked("keras.config", "enable_unsafe_deserialization"), "enable_unsafe_deserialization"),
    (asked("os", "system", "true"), "os.system"), (asked("my_package", "Layer"), "my_package.Layer"),
    (asked("keras.layers", "Dense", registered_name="Mine>Evil"), "Mine>Evil"),
    (asked("builtins", "Evil", registered_name="Mine>Evil"), "Mine>Evil"),
    (asked("keras.saving", "load_model"), "load_model"), ({"class_name": "Lambda", "config": {}}, "Lambda"),
    (asked("keras.losses", "mean_squared_error"), "mean_squared_error"), (asked(3, ["x"]), "x"),
]
PLACES = {
    "a layer": lambda config, it: config["config"]["layers"].append(it),
    "an initializer": lambda config, it: dense(config).update(kernel_initializer=it),
    "an activation": lambda config, it: dense(config).update(activation=it),
    "a loss": lambda config, it: config.update(compile_config={"loss": [{"a": it}]}),
    "all": lambda config, it: (config.clear(), config.update(it)),
}


@pytest.mark.parametrize("place", PLACES)
def test_what_a_strangers_model_asks_for_is_named(saved, place):
    ours = config_of(saved[0])
    assert loading.asks_for(ours) == ""
    for what, name in STRANGE:
        config = copy.deepcopy(ours)
        PLACES[place](config, what)
        assert name in loading.asks_for(config)


def test_a_strangers_model_is_not_built(saved, tmp_path, monkeypatch):
    config = config_of(saved[0])
    config["config"]["layers"].append(STRANGE[0][0])
    path = rewritten(saved[0], tmp_path / "gift.keras", {"config.json": json.dumps(config)})
    monkeypatch.setattr(keras.models, "load_model", lambda *_, **__: pytest.fail("it was built"))
    with pytest.raises(ValueError, match="gift.keras asks for keras.layers.Lambda, .* only if you trust"):
        loading.load(path)


@pytest.mark.parametrize("name", ["VGG16", "MobileNetV3Small", "ConvNeXtTiny"])
def test_the_backbones_are_no_strangers(name):
    """Those with a layer or an operation that others have not; the rest has been tried by hand."""
    network = getattr(keras.applications, name)(weights=None, include_top=False, input_shape=(32, 32, 3))
    head = keras.Sequential([
        keras.Input(network.output_shape[-1:]), keras.layers.UnitNormalization(), keras.layers.Dense(2)])
    head.compile(keras.optimizers.AdamW(keras.optimizers.schedules.CosineDecay(0.1, 5)),
                 loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    whole = models.whole(network, head, models._module(name).preprocess_input)
    assert loading.asks_for(json.loads(json.dumps(keras.saving.serialize_keras_object(whole)))) == ""


def test_nor_are_the_parts_of_the_other_backbones():
    for what in (asked("keras.src.applications.inception_resnet_v2", "CustomScaleLayer"),
                 asked("keras.layers", "SeparableConv2D"), asked("keras.layers", "AveragePooling2D"),
                 asked("keras.src.ops.numpy", "Subtract", registered_name="Subtract"),
                 asked("builtins", "__slice__", {"start": None}, registered_name="slice"),
                 asked("keras.layers", "RandomFlip"), asked("keras.layers", "Cropping2D"),
                 asked("keras.layers", "Normalization"), asked("keras.initializers", "VarianceScaling")):
        assert loading.asks_for(what) == ""


def newer(saved, target, **change):
    """The model as a Keras of 2030 might have saved it."""
    config = config_of(saved)
    dense(config)["kernel_initializer"]["config"].update(change)
    return rewritten(saved, target, {"config.json": json.dumps(config),
                                     "metadata.json": json.dumps({"keras_version": "30.1.0"})})


def test_a_model_of_a_newer_keras_says_both_versions(saved, tmp_path):
    path = newer(saved[0], tmp_path / "new.keras", axes_of_2030=[0])
    with pytest.raises(ValueError, match=re.escape(f"Keras 30.1.0, this is Keras {keras.__version__}")
                       + ".*pip install -U keras.*tflite") as raised:
        loading.load(path)
    assert "train it again" not in str(raised.value) and "\n" not in str(raised.value)
    assert loading.load(newer(saved[0], tmp_path / "fits.keras"))[1] == NAMES  # what loads is no error


def test_a_torn_keras_file_is_said(saved, tmp_path):
    path, whole = tmp_path / "torn.keras", saved[0].read_bytes()
    for keep in (0, 2, 1000, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:keep])
        with pytest.raises(ValueError, match="torn.keras cannot be read as a model") as raised:
            loading.load(path)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("members", [
    {"config.json": "[" * 100_000}, {"config.json": "{"}, {"config.json": None}, {"config.json": "[]"},
    {"metadata.json": "[]"}, {"classes.json": "{}"}, {"classes.json": '{"classes": 3}'},
    {"classes.json": '{"classes": ["a", "b"]}'}])
def test_a_keras_file_with_odd_members_is_said(saved, tmp_path, members):
    path = rewritten(saved[0], tmp_path / "odd.keras", members)
    with pytest.raises(ValueError, match="odd.keras"):
        loading.load(path)


@pytest.mark.parametrize("model", [
    lambda: classifier(channels=1), lambda: classifier(side=None),
    lambda: keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)]),
    lambda: keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(3, 1)])])
def test_a_model_that_takes_no_photographs_is_said(tmp_path, model):
    path = models.save(model(), tmp_path / "other.keras", ["a", "b", "c"])
    with pytest.raises(ValueError, match="other.keras is no classifier of photographs"):
        loading.load(path)
    if None not in model().input_shape[1:]:
        lite = models.export_litert(model(), tmp_path / "other.tflite", ["a", "b", "c"])
        with pytest.raises(ValueError, match="other.tflite is no classifier of photographs"):
            predict_litert.Classifier(lite)


def test_eight_pairs_that_save_at_once_leave_one_whole_model(home, tmp_path):
    """Each has its own names and weights; who comes last is whole, and nothing else is left."""
    path = tmp_path / "out" / "own.keras"
    sides = [(classifier(2, mark=1), ["a", "b"]), (classifier(3, mark=2), ["c", "d", "e"])]
    failed = []

    def save(model, names):
        try:
            models.save(model, path, names)
        except Exception as error:
            failed.append(error)

    for _ in range(8):
        pair = [threading.Thread(target=save, args=side) for side in sides]
        for one in pair:
            one.start()
        for one in pair:
            one.join()
        model, names = loading.load(path)
        bias = model.layers[-1].bias.numpy()
        assert (bias.tolist(), names) in [([1, 1], sides[0][1]), ([2, 2, 2], sides[1][1])]
        assert export.read_txt(path) == names
    assert not failed and {one.name for one in path.parent.iterdir()} == {"own.keras", "own.txt"}


SLOW = """
import sys, time, types, zipfile
from pathlib import Path
from transfer import export
def save(path):  # as slowly as a large model
    with zipfile.ZipFile(path, "w") as archive:
        for part in range(10):
            archive.writestr(f"{part}", sys.argv[2])
            time.sleep(0.002)
for _ in range(20):
    export.save(types.SimpleNamespace(save=save, output_shape=(None, 1)), Path(sys.argv[1]), [sys.argv[2]])
"""


def test_two_processes_that_save_at_once(home, tmp_path):
    path = tmp_path / "own.keras"
    pair = [subprocess.Popen([sys.executable, "-c", SLOW, path, name], stderr=subprocess.PIPE,
                             env={"TRANSFER_HOME": str(home), "PYTHONPATH": str(models.ROOT / "notebooks")})
            for name in ("one", "two")]
    assert [one.communicate()[1] for one in pair] == [b"", b""]
    with zipfile.ZipFile(path) as archive:
        kept = {archive.read(name) for name in archive.namelist() if name != "classes.json"}
        assert len(kept) == 1 and [kept.pop().decode()] == json.loads(archive.read("classes.json"))["classes"]
    assert export.read_txt(path) in (["one"], ["two"])
    assert {one.name for one in tmp_path.iterdir()} == {"home", "own.keras", "own.txt"}
