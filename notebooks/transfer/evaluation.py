"""How good is it, how sure can one be, and where does it look (lessons 03 and 05)."""

import json
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from filelock import FileLock
from scipy.optimize import minimize_scalar
from scipy.special import softmax
from scipy.stats import binomtest

from . import ROOT, home
from .features import Batches, Features
from .files import read_sealed, write_sealed


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
    return model.predict(Batches(features, 256).data(), verbose=0)


def score(model: keras.Model, features: Features) -> Score:
    """How many of these photographs a head (one softmax output per class) gets right."""
    right = predict(model, features).argmax(axis=1) == features.labels
    return Score(int(right.sum()), len(right))


def mcnemar(first: np.ndarray, second: np.ndarray) -> tuple[int, int, float]:
    """Two models on the same photographs: the exact test of McNemar (1947).

    Args:
        first, second: (n,) booleans, which photographs each model gets right.

    Returns:
        How many only the first gets right, how many only the second, and p: how often chance alone
        would share out these photographs at least as unevenly if the models were equally good.
    """
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    return only_first, only_second, coin(only_first, only_second)


def coin(heads: int, tails: int) -> float:
    """How often a fair coin, thrown so many times, falls at least as unevenly (exact, two-sided)."""
    return float(binomtest(heads, heads + tails).pvalue) if heads + tails else 1.0


def interval_by_groups(right: np.ndarray, groups: np.ndarray, draws: int = 4000) -> tuple[float, float]:
    """95 % interval of the accuracy when the images of a group stand or fall together.

    Groups, not images, are drawn again and again with replacement (bootstrap; Efron, 1979).

    Args:
        right: (n,) booleans; or of two models, the difference.
        groups: (n,) the name of each image's group.
        draws: how many times.
    """
    _, number = np.unique(groups, return_inverse=True)
    rights, totals = np.bincount(number, right), np.bincount(number)
    drawn = np.random.default_rng(0).integers(len(totals), size=(draws, len(totals)))
    low, high = np.quantile(rights[drawn].sum(1) / totals[drawn].sum(1), [0.025, 0.975])
    return float(low), float(high)


@dataclass(frozen=True)
class Calibration:
    """How often a model is right when it says that it is so sure; one entry per bin of confidence.

    Attributes:
        confidence, accuracy: (bins,) means over the photographs in the bin, nan where there are none.
        counts: (bins,) photographs in the bin.
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    counts: np.ndarray

    @property
    def error(self) -> float:
        """Expected calibration error (Naeini et al., 2015): mean distance of the two, as a fraction."""
        gaps = np.nan_to_num(np.abs(self.confidence - self.accuracy))
        return float((gaps * self.counts).sum() / self.counts.sum())


def calibration(probabilities: np.ndarray, labels: np.ndarray, bins: int = 10) -> Calibration:
    """Sort photographs by the probability of the answer given, into bins of equal width.

    Args:
        probabilities: (n, classes).
        labels: (n,).
    """
    sure, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    number = np.minimum((sure * bins).astype(int), bins - 1)
    counts = np.bincount(number, minlength=bins)
    with np.errstate(invalid="ignore"):
        return Calibration(np.bincount(number, sure, bins) / counts,
                           np.bincount(number, right, bins) / counts, counts)


def soften(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Divide what goes into the softmax by the temperature: above 1 the model becomes less sure."""
    return softmax(np.log(probabilities + 1e-12) / temperature, axis=1)


def temperature(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The temperature of lowest loss on these (validation) photographs (Guo et al., 2017)."""
    def loss(value):
        return -np.log(soften(probabilities, value)[np.arange(len(labels)), labels] + 1e-12).mean()

    return float(minimize_scalar(loss, bounds=(0.2, 10), method="bounded").x)


def grad_cam(backbone: keras.Model, head: keras.Model, images: np.ndarray, classes: np.ndarray,
             layer: str = "block5_conv3") -> np.ndarray:
    """Where the network looks: Grad-CAM (Selvaraju et al., 2017).

    Each channel of `layer` is weighted by how much the class's output grows with it.

    Args:
        backbone: a network without top.
        head: from its pooled output to probabilities.
        images: (n, height, width, 3), pre-processed.
        classes: (n,) the class to ask about, one per image.

    Returns:
        (n, h, w) maps of the layer's size, 0 to 1.
    """
    inside = keras.Model(backbone.inputs, [backbone.get_layer(layer).output, backbone.output])
    with tf.GradientTape() as tape:
        images = tf.convert_to_tensor(images)
        tape.watch(images)  # so that everything on the way is recorded, frozen or not
        maps, output = inside(images, training=False)
        answers = head(tf.reduce_mean(output, axis=(1, 2)), training=False)
        logs = tf.math.log(tf.gather(answers, classes, axis=1, batch_dims=1) + 1e-12)
    weights = tf.reduce_mean(tape.gradient(logs, maps), axis=(1, 2), keepdims=True)
    seen = tf.nn.relu(tf.reduce_sum(weights * maps, axis=-1)).numpy()
    return seen / np.maximum(seen.max(axis=(1, 2), keepdims=True), 1e-12)


def note(method: str, score: Score, seconds: float) -> None:
    """Write a result down for the summary that `make tutorial` prints at its end."""
    path = home("summary.json")
    with FileLock(f"{path}.lock"):  # two lessons may run at once
        content = read_sealed(path)
        noted = json.loads(content) if content else {}
        noted[method] = [str(score), round(seconds, 1)]
        write_sealed(path, json.dumps(noted))


def measured(dataset: str) -> dict:
    """What was measured once, on real photographs, with scripts/measure.py: data/results."""
    return json.loads((ROOT / "data" / "results" / f"{dataset}.json").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Answers:
    """What a measured run answered to its test photographs.

    Attributes:
        positions: (n,) which photographs, as positions in the list of files of the results.
        labels, answers: (n,) the number of the true class and of the one given.
        confidence: (n,) the probability of the answer, 0 to 1.
    """

    positions: np.ndarray
    labels: np.ndarray
    answers: np.ndarray
    confidence: np.ndarray

    @property
    def right(self) -> np.ndarray:
        """(n,) booleans."""
        return self.answers == self.labels


def answered(noted: dict, method: str) -> dict[str, Answers]:
    """The answers of every run of a method in a results file, by the seed of the run."""
    return answers(noted, noted[method]["runs"])


def answers(noted: dict, runs: dict) -> dict[str, Answers]:
    """As `answered`, of runs that need not be in the file."""
    listed = noted["dataset"].get("test", noted["dataset"])
    number = {folder: label for label, folder in enumerate(listed["classes"])}
    labels = np.array([number[file.split("/")[0]] for file in listed["files"]])
    found = {}
    for seed, run in runs.items():
        positions, test = np.array(noted["splits"][seed]["test"]), run["test"]
        found[seed] = Answers(positions, labels[positions], np.array(test["answers"]),
                              np.array(test["confidence"]))
    return found


def gains(noted: dict, first: str, second: str) -> tuple[np.ndarray, np.ndarray]:
    """Two methods of a results file on the same test photographs, the splits that both have together.

    Returns:
        (n,) 1 where only the first is right, -1 where only the second, otherwise 0; and (n,) which
        photograph it is, for `interval_by_groups`: one of several test sets is drawn as one.
    """
    one, other = answered(noted, first), answered(noted, second)
    shared = [seed for seed in one if seed in other]
    return (np.concatenate([one[seed].right.astype(int) - other[seed].right for seed in shared]),
            np.concatenate([one[seed].positions for seed in shared]))


def by_amount(noted: dict, method: str) -> dict[int, list[float]]:
    """Test accuracy of each run of a method, by images per class to learn from (lesson 06)."""
    entries = {entry["settings"]["per_class"]: entry for name, entry in noted.items()
               if name.startswith(f"{method}, ") and name.endswith(" a class")}
    return {number: accuracies(entry) for number, entry in sorted(entries.items())}


def accuracies(entry: dict) -> list[float]:
    """Test accuracy of each run of one method."""
    return [run["test"]["right"] / run["test"]["total"] for run in entry["runs"].values()]
