"""The weights are the true ones, whole, and a missing or damaged file is named."""

import hashlib
import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from transfer import ROOT, models

SHARED = ROOT.parent / "shared"
NETWORKS = {"vgg16": (keras.applications.VGG16, keras.applications.vgg16, 14_714_688),
            "mobilenet_v2": (keras.applications.MobileNetV2, keras.applications.mobilenet_v2, 2_257_984)}


def build(name: str) -> keras.Model:
    return NETWORKS[name][0](include_top=False, weights=None, input_shape=(224, 224, 3))


@pytest.mark.parametrize("name", NETWORKS)
def test_the_weights_load_into_the_keras_model(name):
    backbone = models.load_imagenet_weights(build(name))
    assert backbone.count_params() == NETWORKS[name][2]
    assert all(np.isfinite(weight.numpy()).all() for weight in backbone.weights)


def test_known_numbers():
    kernel, bias = models.load_imagenet_weights(build("vgg16")).weights[:2]
    assert kernel.numpy().flat[0] == pytest.approx(0.42947057, rel=1e-3)
    assert bias.numpy()[0] == pytest.approx(0.73429835, rel=1e-3)


def test_sources_name_every_file_with_its_digest():
    written = dict(re.findall(r"^([0-9a-f]{64})  (\S+)$", (models.WEIGHTS / "SOURCES.md").read_text(),
                              re.M))
    assert {digest: hashlib.sha256((models.WEIGHTS / name).read_bytes()).hexdigest()
            for digest, name in written.items()} == {digest: digest for digest in written}
    assert sorted(written.values()) == sorted(models.FILES.values())


@pytest.mark.skipif(not SHARED.is_dir(), reason="the photographs are on developers' machines only")
@pytest.mark.parametrize("name", NETWORKS)
def test_features_equal_those_of_the_full_float32_weights(name):
    """Decoded and resized as the reference was: by TensorFlow, whose JPEG decoder differs a little."""
    reference = np.load(SHARED / "weights" / "reference_features.npz")
    images = np.stack([
        tf.image.resize(tf.io.decode_image(Path(SHARED / "animals10" / str(file)).read_bytes(),
                                           channels=3, expand_animations=False), (224, 224))
        for file in reference["files"][::4]])  # eight of the thirty-two, for time
    backbone = models.load_imagenet_weights(build(name))
    output = backbone.predict(NETWORKS[name][1].preprocess_input(images), verbose=0)
    features, wanted = output.mean(axis=(1, 2)), reference[name][::4]
    cosine = (features * wanted).sum(1) / np.linalg.norm(features, axis=1) / np.linalg.norm(wanted, axis=1)
    assert len(cosine) == 8 and cosine.min() >= 0.99999


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="vgg16_imagenet.*missing.*git checkout"):
        models.load_imagenet_weights(build("vgg16"), tmp_path)


@pytest.mark.parametrize("keep", [0, 1000, 20_000_000])
def test_a_damaged_file_is_named(tmp_path, keep):
    file = models.FILES["vgg16"]
    (tmp_path / file).write_bytes((models.WEIGHTS / file).read_bytes()[:keep])
    with pytest.raises(ValueError, match="vgg16_imagenet.*damaged.*git checkout"):
        models.load_imagenet_weights(build("vgg16"), tmp_path)


def test_a_flipped_byte_is_noticed(tmp_path):
    file = models.FILES["vgg16"]
    content = bytearray((models.WEIGHTS / file).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / file).write_bytes(content)
    with pytest.raises(ValueError, match="damaged"):
        models.load_imagenet_weights(build("vgg16"), tmp_path)


def test_a_model_of_another_shape_is_refused():
    grey = keras.applications.VGG16(include_top=False, weights=None, input_shape=(64, 64, 1))
    with pytest.raises(ValueError, match="does not fit"):
        models.load_imagenet_weights(grey)
    narrow = keras.applications.MobileNetV2(alpha=0.35, include_top=False, weights=None)
    with pytest.raises(ValueError, match=r"does not fit .*alpha=1\)\.$"):  # the file is not to blame
        models.load_imagenet_weights(narrow)
    with pytest.raises(ValueError, match="imagenet"):
        models.load_imagenet_weights(keras.applications.ResNet50(include_top=False, weights=None))
