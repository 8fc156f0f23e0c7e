"""How good is it, and how sure can one be (lesson 03; more in lesson 05)."""

import json
import os
from dataclasses import dataclass

import keras
import numpy as np
from scipy.stats import binomtest

from . import ROOT, home
from .features import Batches, Features


@dataclass(frozen=True)
class Score:
    """So many right of so many, with Wilson's 95 % interval (Wilson, 1927).

    The interval answers: between which values does the accuracy on all photographs of this kind
    lie, if these are a fair sample? It assumes that the photographs are independent.
    """

    right: int
    total: int

    @property
    def accuracy(self) -> float:
        """Fraction right, 0 to 1."""
        return self.right / self.total

    @property
    def interval(self) -> tuple[float, float]:
        """Lower and upper end of the 95 % interval, as fractions."""
        found = binomtest(self.right, self.total).proportion_ci(0.95, method="wilson")
        return found.low, found.high

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.accuracy:.1%} ({low:.1%} to {high:.1%}, {self.right} of {self.total})"


def predict(model: keras.Model, features: Features) -> np.ndarray:
    """(n, classes) outputs of a head for stored features."""
    return model.predict(Batches(features, 256), verbose=0)


def score(model: keras.Model, features: Features) -> Score:
    """How many of these photographs a head (one softmax output per class) gets right."""
    right = predict(model, features).argmax(axis=1) == features.labels
    return Score(int(right.sum()), len(right))


def note(method: str, score: Score, seconds: float) -> None:
    """Write a result down for the summary that `make tutorial` prints at its end."""
    path = home("summary.json")
    noted = json.loads(path.read_text()) if path.exists() else {}
    noted[method] = [str(score), round(seconds, 1)]
    path.with_suffix(".partial").write_text(json.dumps(noted))
    os.replace(path.with_suffix(".partial"), path)


def measured(dataset: str) -> dict:
    """What was measured once, on real photographs, with scripts/measure.py: data/results."""
    return json.loads((ROOT / "data" / "results" / f"{dataset}.json").read_text(encoding="utf-8"))
