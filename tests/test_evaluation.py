"""Intervals, tests, calibration and maps are what they say; an exported model needs no TensorFlow."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
from conftest import picture
from PIL import Image
from transfer import ROOT, evaluation, models, pipeline


def test_mcnemar_equals_the_sum_over_the_binomial():
    first = np.array([True] * 7 + [False] * 3 + [True] * 20)
    second = np.array([False] * 7 + [True] * 3 + [True] * 20)
    only_first, only_second, p = evaluation.mcnemar(first, second)
    assert (only_first, only_second) == (7, 3)
    assert p == pytest.approx(2 * (120 + 45 + 10 + 1) / 1024)
    assert evaluation.mcnemar(first, first) == (0, 0, 1.0)
    assert evaluation.coin(7, 3) == p and evaluation.coin(5, 0) == pytest.approx(2 / 32)


def test_groups_of_equal_answers_widen_the_interval():
    right = np.random.default_rng(0).random(60) < 0.8
    alone = evaluation.interval_by_groups(right, np.arange(60))
    wilson = evaluation.Score(int(right.sum()), 60).interval
    assert np.allclose(alone, wilson, atol=0.04)
    copies = evaluation.interval_by_groups(np.repeat(right[:12], 5), np.repeat(np.arange(12), 5))
    assert copies[1] - copies[0] > 1.8 * (alone[1] - alone[0])


@pytest.mark.parametrize("everything", [True, False])
def test_where_all_or_none_are_right_the_interval_is_wilsons_for_as_many_questions_as_groups(everything):
    right, groups = np.full(36, everything), np.repeat(np.arange(12), 3)
    found = evaluation.interval_by_groups(right, groups)
    assert found == evaluation.Score(12 * everything, 12).interval and found[1] - found[0] > 0.2


@pytest.mark.parametrize(("right", "groups", "inside"), [
    ([1] * 35 + [0], np.arange(36), 35 / 36),
    ([1] * 35 + [0], [0] * 36, 35 / 36),  # one group says nothing
    ([1, 1, 0] * 2, [0, 0, 0, 1, 1, 1], 2 / 3),
    ([1, 0] * 10, np.repeat(np.arange(10), 2), 1 / 2),  # drawing never scatters
    ([1] * 9 + [1] * 50 + [0] * 50, [*range(9), *[9] * 100], 59 / 109)])
def test_an_interval_ends_at_100_percent_only_where_all_may_be_right_and_is_never_a_point(
        right, groups, inside):
    low, high = evaluation.interval_by_groups(np.array(right, bool), groups)
    assert low < inside < high and high - low > 0.1
    assert high < 1 or len(set(groups)) < 4


def test_two_models_that_never_differ_may_differ_a_little():
    low, high = evaluation.interval_by_groups(np.zeros(12, int), np.arange(12))
    assert -low == high == evaluation.Score(0, 12).interval[1]
    low, high = evaluation.interval_by_groups(np.array([1] + [0] * 11), np.arange(12))
    assert low < 0 < 1 / 12 < high
    low, high = evaluation.interval_by_groups(np.ones(12, int), np.arange(12))
    assert 0.5 < low < high == 1


def test_of_nothing_and_of_other_classes_one_sentence_is_said():
    half = np.full((4, 2), 0.5)
    for labels, match in (([], "4 answers to 0 photographs"), ([0, 1, 2, 0], "2 outputs.*other classes")):
        for function in (evaluation.calibration, evaluation.temperature):
            with pytest.raises(ValueError, match=match):
                function(half, np.array(labels, int))
    with pytest.raises(ValueError, match="no number.*smaller learning rate"):
        evaluation.calibration(half * np.nan, np.zeros(4, int))
    for wrong in ((0, 0), (3, 2), (-1, 2)):
        with pytest.raises(ValueError, match="is no score"):
            evaluation.Score(*wrong)
    with pytest.raises(ValueError, match="have no interval"):
        evaluation.interval_by_groups(np.zeros(0, bool), [])


def test_a_model_is_scored_on_photographs_of_its_own_classes_only():
    class Stored:
        def __init__(self, labels):
            self.labels = np.array(labels, int)

        def __len__(self):
            return len(self.labels)

    with pytest.raises(ValueError, match="no photographs to ask"):
        evaluation.score(None, Stored([]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "predict", lambda model, features: np.eye(2))
        assert evaluation.score(None, Stored([0, 1])).right == 2
        with pytest.raises(ValueError, match="other classes"):
            evaluation.score(None, Stored([0, 2]))


def softmax(logits):
    values = np.exp(logits - logits.max(axis=1, keepdims=True))
    return values / values.sum(axis=1, keepdims=True)


def test_an_honest_model_has_hardly_any_calibration_error_and_an_overconfident_one_is_found_out():
    random = np.random.default_rng(0)
    honest = softmax(random.normal(size=(20_000, 5)) * 2)
    labels = np.array([random.choice(5, p=row) for row in honest])
    boastful = softmax(3 * np.log(honest))
    assert evaluation.calibration(honest, labels).error < 0.012
    assert evaluation.calibration(boastful, labels).error > 0.1
    found = evaluation.temperature(boastful, labels)
    assert found == pytest.approx(3, rel=0.05)
    assert np.allclose(evaluation.soften(boastful, 3), honest, atol=1e-3)


@pytest.mark.parametrize("rows", [
    [[0.9, 0.1], [0.2, 0.8]], [[1.0, 0.0], [0.0, 1.0]], [[1.0], [1.0]], [[0.5, 0.5], [0.1, 0.9]]])
def test_no_error_is_no_reason_to_make_a_model_surer(rows, capsys):
    rows = np.array(rows, "float32")
    assert evaluation.temperature(rows, rows.argmax(axis=1)) == 1
    assert "too few errors" in capsys.readouterr().out


def test_a_model_that_errs_may_be_made_surer_or_less_sure_and_always_wrong_is_said(capsys):
    labels = np.array([0] * 95 + [1] * 5)
    timid = np.tile([0.7, 0.3], (100, 1))
    assert evaluation.temperature(timid, labels) == pytest.approx(np.log(7 / 3) / np.log(19), abs=1e-3)
    assert capsys.readouterr().out == ""
    assert evaluation.temperature(np.tile([1.0, 0.0], (9, 1)), np.ones(9, int)) == pytest.approx(10, abs=0.01)
    assert "the highest that is tried" in capsys.readouterr().out


def test_bins_hold_every_photograph_once():
    probabilities = np.array([[1.0, 0.0], [0.55, 0.45], [0.52, 0.48], [0.05, 0.95]])
    found = evaluation.calibration(probabilities, np.array([0, 0, 1, 1]))
    assert found.counts.tolist() == [0, 0, 0, 0, 0, 2, 0, 0, 0, 2]
    assert found.accuracy[5] == 0.5 and found.confidence[5] == pytest.approx(0.535)
    assert found.error == pytest.approx((2 * abs(0.535 - 0.5) + 2 * abs(0.975 - 1)) / 4)


def test_grad_cam_lights_up_where_the_reason_is():
    """A network whose only channel answers to red, and a head that takes red for class 1."""
    photograph = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(1, 1, use_bias=False, name="red")(photograph)
    backbone = keras.Model(photograph, keras.layers.MaxPooling2D()(x))
    backbone.get_layer("red").set_weights([np.array([1.0, -1.0, -1.0]).reshape(1, 1, 3, 1)])
    backbone.trainable = False
    head = keras.Sequential([keras.Input((1,)), keras.layers.Dense(2, activation="softmax")])
    head.set_weights([np.array([[-5.0, 5.0]]), np.zeros(2)])
    image = np.zeros((1, 32, 32, 3), "float32")
    image[:, 4:10, 20:28, 0] = 1
    found = evaluation.grad_cam(backbone, head, image, np.array([1]), layer="red")
    assert found.shape == (1, 32, 32) and found.max() == pytest.approx(1)
    outside = found.copy()
    outside[:, 4:10, 20:28] = 0
    assert outside.max() == 0 and (found[0, 4:10, 20:28] > 0.9).all()
    assert evaluation.grad_cam(backbone, head, image, np.array([0]), layer="red").max() == 0


@pytest.fixture
def exported(tmp_path):
    """A small model, exported both ways, and pictures of every kind that readers have."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([
        keras.Input((32, 48, 3)), keras.layers.Rescaling(1 / 255), keras.layers.Conv2D(32, 5),
        keras.layers.Conv2D(64, 5), keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(2, activation="softmax")])
    paths = [str(tmp_path / name) for name in ("a.jpg", "ção é.png", "grey.jpg", "turned.jpg", "deep.png")]
    picture(0).save(paths[0])
    picture(1).convert("RGBA").save(paths[1])
    picture(2).convert("L").save(paths[2])
    deep = np.asarray(picture(4).convert("L")).astype("uint16") * 257
    Image.fromarray(deep).save(paths[4])
    rotated = picture(3)
    exif = rotated.getexif()
    exif[0x0112] = 6
    rotated.save(paths[3], exif=exif)
    files = [models.export_litert(model, tmp_path / f"model{int8}.tflite", ["cat", "dog"], int8)
             for int8 in (False, True)]
    return model, files, paths


def test_exported_it_answers_the_same_from_the_same_files(exported):
    model, (float32, int8), paths = exported
    images = np.stack([pipeline.decode(path, (32, 48)) for path in paths]).astype("float32")
    wanted = model.predict(images, verbose=0)
    found, milliseconds = models.run_litert(float32, paths)
    assert np.abs(found - wanted).max() < 1e-5 and milliseconds > 0
    assert np.abs(models.run_litert(int8, paths)[0] - wanted).max() < 0.01
    assert int8.stat().st_size < 0.5 * float32.stat().st_size


def test_it_needs_neither_tensorflow_nor_keras(exported):
    _, (float32, _), paths = exported
    program = (f"import runpy, sys; sys.argv = ['x', {str(float32)!r}, {paths[0]!r}]\n"
               f"try: runpy.run_path({str(ROOT / 'scripts' / 'predict_litert.py')!r}, run_name='__main__')\n"
               "except SystemExit as end: assert not end.code\n"
               "assert not {'tensorflow', 'keras', 'transfer'} & set(sys.modules)")
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith(paths[0] + ": ") and "dog" in run.stdout and "%" in run.stdout


def test_a_damaged_photograph_is_named_and_the_others_are_answered(exported, tmp_path):
    _, (float32, _), paths = exported
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    run = subprocess.run([sys.executable, str(ROOT / "scripts" / "predict_litert.py"), str(float32),
                          str(tmp_path / "broken.jpg"), paths[0], "--json"], capture_output=True, text=True)
    assert run.returncode == 1 and "broken.jpg" in run.stderr
    assert [json.loads(line)["file"] for line in run.stdout.splitlines()] == [paths[0]]
