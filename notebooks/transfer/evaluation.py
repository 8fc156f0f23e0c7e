"""How good is it, how sure can one be, and where does it look (lessons 03 and 05)."""

import json
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from scipy.optimize import minimize_scalar
from scipy.special import softmax
from scipy.stats import binomtest

from . import ROOT, home
from .features import Batches, Features
from .files import alone, read_sealed, write_sealed


@dataclass(frozen=True)
class Score:
    """So many right of so many, with Wilson's 95 % interval (Wilson, 1927).

    The interval answers: between which values does the accuracy on all photographs of this kind
    lie, if these are a fair sample? It assumes that the photographs are independent.

    Raises:
        ValueError: there are no photographs, or more are right than there are.
    """

    right: int
    total: int

    def __post_init__(self):
        if not 0 <= self.right <= self.total or not self.total:
            raise ValueError(f"{self.right} right of {self.total} photographs is no score: look at which "
                             "photographs were asked about.")

    @property
    def accuracy(self) -> float:
        """Fraction right, 0 to 1."""
        return self.right / self.total

    @property
    def interval(self) -> tuple[float, float]:
        """Lower and upper end of the 95 % interval, as fractions."""
        found = binomtest(self.right, self.total).proportion_ci(0.95, method="wilson")
        return float(found.low), float(found.high)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.accuracy:.1%} ({low:.1%} to {high:.1%}, {self.right} of {self.total})"


def _check(probabilities: np.ndarray, labels: np.ndarray) -> None:
    """One sentence where these cannot be the answers to photographs with these labels."""
    if not len(labels) or len(labels) != len(probabilities):
        raise ValueError(f"there are {len(probabilities)} answers to {len(labels)} photographs, so nothing "
                         "can be said of the model: look at which photographs it was asked about.")
    if np.min(labels) < 0 or np.max(labels) >= probabilities.shape[1]:
        raise ValueError(f"the labels are {np.min(labels)} to {np.max(labels)}, and the model has "
                         f"{probabilities.shape[1]} outputs, one per class from 0 on: it was made for other "
                         "classes.")
    if not np.isfinite(probabilities).all():
        raise ValueError("the model answers with what is no number: its training went wrong, so train it "
                         "again, with a smaller learning rate.")


def predict(model: keras.Model, features: Features) -> np.ndarray:
    """(n, classes) outputs of a head for stored features.

    Raises:
        ValueError: there are no photographs.
    """
    if not len(features):
        raise ValueError("there are no photographs to ask the model about: look at what audit.split "
                         "returned.")
    return model.predict(Batches(features, 256).data(), verbose=0)


def score(model: keras.Model, features: Features) -> Score:
    """How many of these photographs a head (one softmax output per class) gets right.

    Raises:
        ValueError: there are no photographs, the labels are not those of the model's classes, or an
            answer is no number.
    """
    found = predict(model, features)
    _check(found, features.labels)
    right = found.argmax(axis=1) == features.labels
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

    Groups, not images, are drawn again and again with replacement (bootstrap; Efron, 1979). That never
    gives more or less than the best or worst group, so where it gets there (all are right, or nearly,
    or there are hardly any groups) it would be too sure. Then the interval is Wilson's for as many
    questions as there are groups: one question each is what images that stand or fall together are.
    Of a difference it is then from Wilson's interval of where the first alone is right less that of
    where the second alone is: two models that never differ on 12 groups may differ by 24 points.

    Args:
        right: (n,) booleans; or whole numbers, of two models, the difference: -1, 0 or 1.
        groups: (n,) the name of each image's group.
        draws: how many times.

    Raises:
        ValueError: there are no images, or not as many as groups' names.
    """
    right = np.asarray(right)
    if not len(right) or len(right) != len(groups):
        raise ValueError(f"{len(right)} images with {len(groups)} names of groups have no interval.")
    _, number = np.unique(groups, return_inverse=True)
    rights, totals = np.bincount(number, right), np.bincount(number)
    drawn = np.random.default_rng(0).integers(len(totals), size=(draws, len(totals)))
    low, high = np.quantile(rights[drawn].sum(1) / totals[drawn].sum(1), [0.025, 0.975])
    if (rights / totals).min() < low and high < (rights / totals).max():
        return float(low), float(high)
    low, high = _wilson(right > 0, len(totals))
    if right.dtype == bool:
        return low, high
    other = _wilson(right < 0, len(totals))
    return low - other[1], high - other[0]


def _wilson(seen: np.ndarray, questions: int) -> tuple[float, float]:
    """The interval if the same share of so many questions were right, rounded to whole ones outwards."""
    count = int(seen.sum()) * questions
    return (Score(count // len(seen), questions).interval[0],
            Score(-(-count // len(seen)), questions).interval[1])


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

    Raises:
        ValueError: as `score`.
    """
    _check(probabilities, labels)
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
    """The temperature of lowest loss on these (validation) photographs (Guo et al., 2017), up to 10.

    Where all answers are right, the loss falls for ever as the model is made surer; that is no reason
    to do so. Then it is 1, which changes nothing, and a sentence says so.

    Raises:
        ValueError: as `score`.
    """
    _check(probabilities, labels)
    given = probabilities[np.arange(len(labels)), labels]

    def loss(value):
        return -np.log(soften(probabilities, value)[np.arange(len(labels)), labels] + 1e-12).mean()

    found = float(minimize_scalar(loss, bounds=(0.2, 10), method="bounded").x)
    if (given >= probabilities.max(axis=1)).all() or found < 0.201:
        print(f"These {len(labels)} photographs hold too few errors to choose a temperature; it stays at 1.")
        return 1.0
    if found > 9.99:
        print(f"On these {len(labels)} photographs even a temperature of 10, the highest that is tried, "
              "leaves the model too sure: look at what it gets wrong.")
    return found


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
    with alone(path.with_name(f"{path.name}.lock"), "notes its result"):  # two lessons may run at once
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
        photograph it is, for `interval_by_groups`: one of several test sets is drawn as one. Alike
        ones, which the split keeps together, are drawn one by one: on the 5,000 photographs drawing
        them together moves no end by more than 0.06 points.
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
