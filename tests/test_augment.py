"""What `pipeline.augment` draws is drawn independently, and is what the results say it was."""

import hashlib

import numpy as np
import pytest
import tensorflow as tf
from transfer import pipeline

SEEDS = 400


@pytest.fixture(scope="module")
def drawn() -> dict[str, np.ndarray]:
    """Of each seed: flipped or not, the contrast's factor, and how far right, down and large the part was.

    Read off a picture made for it. Contrast keeps a channel's mean and stretches what differs from it; it
    comes last, so in each channel a cut of a ramp tells its place by its mean.
    """
    size = 64
    ramp = np.linspace(80, 160, size)
    across, down = np.tile(ramp, (size, 1)), np.tile(ramp[:, None], (1, size))
    stripes = np.where(np.arange(size) // 8 % 2, 140.0, 100.0)[:, None] * np.ones((1, size))
    image = tf.constant(np.stack([across, down, stripes], axis=-1), tf.float32)
    run = tf.function(lambda seed: pipeline.augment(image, seed))
    found = []
    for seed in range(SEEDS):
        changed = run(tf.constant([seed, 7])).numpy()
        slope = (changed[:, -1, 0] - changed[:, 0, 0]).mean()
        contrast = np.ptp(changed[..., 2]) / 40
        found.append((slope < 0, contrast, changed[..., 0].mean(), changed[..., 1].mean(),
                      abs(slope) / contrast))
    return dict(zip(("flipped", "contrast", "right", "down", "wide"), np.array(found, float).T))


def test_each_operation_draws_its_own_numbers(drawn):
    names = list(drawn)
    correlation = np.corrcoef(list(drawn.values()))
    for i, one in enumerate(names):
        for j in range(i):
            assert abs(correlation[i, j]) < 0.16, (one, names[j])  # three times 1 / sqrt(400), and a little


def test_each_operation_covers_its_range(drawn):
    assert 0.42 < drawn["flipped"].mean() < 0.58
    assert 0.74 < drawn["contrast"].min() < 0.77 and 1.22 < drawn["contrast"].max() < 1.26
    for flipped in (False, True):  # and whichever way it was flipped
        contrast = drawn["contrast"][drawn["flipped"] == flipped]
        assert contrast.min() < 0.8 and contrast.max() > 1.2


def test_what_it_does_has_a_number():
    """Change `augment`, and raise AUGMENTATION: the results were measured with one of them."""
    image = tf.reshape(tf.range(12 * 10 * 3, dtype=tf.float32) % 256, (12, 10, 3))
    views = np.stack([pipeline.augment(image, (3, view)) for view in range(8)])
    digest = hashlib.sha256(np.round(views).astype("uint8").tobytes()).hexdigest()[:8]
    assert {pipeline.AUGMENTATION: digest} == {2: "b7c4a2f2"}
