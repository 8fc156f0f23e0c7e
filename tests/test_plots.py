"""Class names and file names are text in every picture, whatever they hold."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from transfer import diagrams, evaluation, plots
from transfer.datasets import Dataset

NAMES = ["$1", r"$\frac$", "$$", "a_b", "50 %", "$x^2$", "^", "{}"]
HISTORY = {"loss": [2.0, 1.0], "val_loss": [2.0, 1.5], "accuracy": [0.2, 0.5], "val_accuracy": [0.2, 0.4]}


@pytest.fixture
def shown(monkeypatch):
    """The texts of each figure that was shown, after it was drawn whole."""
    texts = []

    def show(figure, photographic=False):
        figure.savefig("/dev/null", format="png", dpi=20)
        texts.extend(text for text in figure.findobj(plt.Text) if text.get_text())
        plt.close(figure)

    monkeypatch.setattr(plots, "show", show)
    monkeypatch.setattr(diagrams, "show", show)
    return texts


def dataset() -> Dataset:
    files = np.array([f"{name}/1.jpg" for name in NAMES])
    return Dataset("$x$", None, files, np.arange(len(NAMES)), tuple(NAMES), files)


@pytest.mark.parametrize("draw", [
    lambda: plots.grid(np.zeros((len(NAMES), 4, 4, 3)), NAMES),
    lambda: plots.counts({"train": dataset(), "test": dataset()}),
    lambda: plots.bars(dict.fromkeys(NAMES, 0.5)),
    lambda: plots.curves({name: HISTORY for name in NAMES[:6]}),
    lambda: plots.joined({name: HISTORY for name in NAMES}),
    lambda: plots.rates({name: [1, 2] for name in NAMES[:4]}),
    lambda: plots.intervals({name: evaluation.Score(1, 2) for name in NAMES}),
    lambda: plots.amounts({name: {1: [0.1], 10: [0.3]} for name in NAMES[:6]}),
    lambda: plots.confusion(np.eye(len(NAMES), dtype=int), NAMES),
    lambda: plots.heat(np.zeros((len(NAMES), 4, 4, 3)), np.zeros((len(NAMES), 4, 4)), NAMES),
    lambda: plots.feature_maps(np.zeros((4, 4, 3)), {name: np.zeros((2, 2, 6)) for name in NAMES[:4]}),
])
def test_a_name_is_no_formula(shown, draw):
    draw()
    drawn = {text.get_text(): text.get_parse_math() for text in shown}
    assert len(set(NAMES) & set(drawn)) >= 4, drawn
    assert not any(drawn.values())


def test_nothing_that_a_diagram_says_is_a_formula(shown):
    diagrams.transfer_learning(3)
    assert shown and not any(text.get_parse_math() for text in shown)


def test_numbers_on_a_logarithmic_axis_stay_numbers(shown):
    plots.amounts({"frozen": {5: [0.1], 100: [0.3]}})
    plots.decision([(5, 0.5, "frozen", 0.9), (100, 0.6, "fine_tuned", 0.95)], (10, 0.4))
    assert {"5", "100"} <= {text.get_text() for text in shown}
    assert not any("$" in text.get_text() for text in shown)
