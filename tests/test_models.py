"""Backbones by name, where fine-tuning enters them, and what is cut out of them."""

import keras
import numpy as np
import pytest
from transfer import audit, datasets, features, models


@pytest.mark.parametrize("name, layer, shape", [
    ("vgg16", "block4_pool", (14, 14, 512)), ("MobileNetV2", "block_10_project_BN", (14, 14, 96))])
def test_the_tail_and_what_is_stored_make_the_whole_network(name, layer, shape):
    found = models.backbone(name)
    assert found.kept == layer and found.network.get_layer(layer).output.shape[1:] == shape
    width = found.network.output_shape[-1:]
    head = keras.Sequential([keras.Input(width), keras.layers.Dense(3)])
    images = np.random.default_rng(0).uniform(0, 255, (2, 224, 224, 3)).astype("float32")
    images = found.preprocess(images)
    before = keras.Model(found.network.input, found.network.get_layer(layer).output)
    tail = models.tail(found.network, head, found.first)
    wanted = head(found.network.predict(images, verbose=0).mean(axis=(1, 2)))
    answered = tail.predict(before.predict(images, verbose=0), verbose=0)
    assert np.allclose(answered, wanted, rtol=1e-3, atol=1e-3)
    thawed = [one.name for one in found.network.layers if one.trainable and one.weights]
    assert thawed[0] == {"vgg16": "block5_conv1"}.get(name, "block_11_depthwise")
    assert not any(isinstance(one, keras.layers.BatchNormalization) and one.trainable
                   for one in found.network.layers)


def test_a_shortcut_is_not_cut():
    found = models.backbone("mobilenet_v2").network
    assert models.way_in(found, "block_11_project_BN") == "block_10_project_BN"
    assert models.way_in(found, "block_12_expand") == "block_11_add"


@pytest.mark.parametrize("name, holds", [("ResNet50V2", "resnet_v2"), ("MobileNetV3Small", "mobilenet_v3"),
                                         ("EfficientNetV2B0", "efficientnet_v2"), ("VGG16", "vgg16")])
def test_each_network_has_its_own_pre_processing(name, holds):
    assert models._module(name) is getattr(keras.applications, holds)


@pytest.mark.parametrize("error", [
    Exception("URL fetch failure on https://x: None -- [SSL: CERTIFICATE_VERIFY_FAILED]"),
    OSError("Network is unreachable")])
def test_a_download_that_fails_says_what_to_do(monkeypatch, error):
    def build(**options):
        raise error

    monkeypatch.setattr(keras.applications, "EfficientNetB0", build)
    with pytest.raises(ValueError, match="EfficientNetB0 could not be downloaded .*(SSL|unreach).*HTTPS_PROXY"
                                         ".*Install Certificates.command.*vgg16, mobilenet_v2"):
        models.backbone("efficientnet_b0")


def test_what_is_no_download_is_not_called_one(monkeypatch):
    def build(**options):
        raise {}["mistake"]

    monkeypatch.setattr(keras.applications, "EfficientNetB0", build)
    with pytest.raises(KeyError):
        models.backbone("efficientnet_b0")
    monkeypatch.setitem(models.FILES, "vgg16", "lost.npz")
    with pytest.raises(FileNotFoundError, match="lost.npz is missing.*git checkout"):
        models.backbone("vgg16")


@pytest.mark.parametrize("name, message", [
    ("resnet", "near: ResNet101, ResNet152, ResNet50"), ("imagenet_utils", "'imagenet_utils'. In the"),
    (None, "no backbone None"), ("VGG-18", "near: VGG16, VGG19")])
def test_a_backbone_that_is_none_is_said_with_those_that_are_near(name, message):
    with pytest.raises(ValueError, match=message):
        models.backbone(name)


@pytest.mark.parametrize("error, kind, message", [
    (PermissionError(13, "Permission denied"), PermissionError, "Permission denied; look at the disk.*vgg16"),
    (OSError(5, "Input/output error"), OSError, "Input/output error; look at the disk.*vgg16"),
    (MemoryError(), MemoryError, "not enough memory for .*vgg16"),
    (ValueError("you can load it unsafely using allow_pickle"), ValueError, "npz is damaged. Get it again")])
def test_weights_that_cannot_be_read_for_now_are_not_called_damaged(monkeypatch, error, kind, message):
    def load(*_, **__):
        raise error

    monkeypatch.setattr(np, "load", load)
    with pytest.raises(kind, match=message) as said:
        models.load_imagenet_weights(keras.Sequential(name="vgg16"))
    assert "pickle" not in str(said.value)


@pytest.mark.parametrize("change, message", [
    ({"layers": "pooled"}, "a list of names, such as .'pooled'., not 'pooled'"), ({"layers": []}, "a list"),
    ({"layers": ["block_1_expandd"]}, "no layer 'block_1_expandd'; it has block_1_expand"),
    ({"view": 2**31}, "view is a whole number from 0 to 2147483647"), ({"view": -1}, "view is"),
    ({"batch_size": 0}, "batch_size is a whole number from 1"), ({"batch_size": 1.5}, "batch_size is")])
def test_what_cannot_be_extracted_is_one_sentence(change, message):
    inputs = keras.Input((8, 8, 3))
    network = keras.Model(inputs, keras.layers.ReLU(name="block_1_expand")(inputs))
    with pytest.raises(ValueError, match=message):
        features.extract(None, network, None, **change)


def test_only_two_classes_of_ten():
    pair = datasets.load("mini").only(["gatto", "cane"])
    assert len(pair) == 40 and pair.class_folders == ("cane", "gatto")
    assert [pair.class_folders[label] for label in pair.labels] == [f.split("/")[0] for f in pair.files]


def test_a_split_without_test_leaves_none_out(home):
    pair = datasets.load("mini").only(["gatto", "cane"])
    train, validation = audit.split(pair, shares={"validation": 0.5})
    assert len(train) + len(validation) == 40 and not set(train.groups) & set(validation.groups)


def test_what_is_wrong_with_a_folder_is_said(home, folder):
    (folder / "class1" / "00.jpg").write_bytes(b"")
    (folder / "class2" / "copy.jpg").write_bytes((folder / "class0" / "03.jpg").read_bytes())
    (folder / "class2" / "film.mov").touch()
    photographs = datasets.from_folder(folder, "x")
    said = "\n".join(audit.advice(photographs, audit.examine(photographs)))
    assert "class1/00.jpg: unreadable" in said and "film.mov is not read" in said
    assert "class0/03.jpg and class2/copy.jpg look alike and have two classes" in said
    assert "class0 has 12 photographs" in said
