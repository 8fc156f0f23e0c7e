"""Checks to take away: each finds one mistake that runs without an error (lesson 09).

Every check is silent where all is well and raises `Mistake` otherwise, with what it saw and what
to do. None of them needs anything else of this tutorial; copy the one you want.
"""

import hashlib
from pathlib import Path

import keras
import numpy as np
from scipy.stats import binomtest


class Mistake(AssertionError):
    """Something is wrong that no error message would have told."""


def caught(check, *arguments, **options) -> str:
    """What a check says, as text; "" where it is silent. For showing a mistake without stopping."""
    try:
        check(*arguments, **options)
    except Mistake as mistake:
        return str(mistake)
    return ""


def _layers(model: keras.Model):
    """All layers, those of models inside the model included."""
    for layer in model.layers:
        yield layer
        yield from _layers(layer) if hasattr(layer, "layers") else ()


def input_range(prepared: np.ndarray, low: float, high: float) -> None:
    """What reaches the network has the range that its weights know.

    Args:
        prepared: some photographs, dark and light ones, after pre-processing.
        low, high: the range of the recipe: -124 and 152 for VGG16, -1 and 1 for MobileNetV2.
    """
    smallest, largest = float(np.min(prepared)), float(np.max(prepared))
    if not (smallest >= low and largest <= high and largest - smallest >= 0.6 * (high - low)):  # or nan
        raise Mistake(f"the network is fed {smallest:.2f} to {largest:.2f}, its weights know {low:g} to "
                      f"{high:g}. Is the pre-processing done twice, not at all, or that of another network?")


def weights_of(model: keras.Model) -> dict[str, np.ndarray]:
    """A copy of all weights, to compare with after a training."""
    return {weight.path: weight.numpy() for weight in model.weights}


def moved_as_marked(before: dict[str, np.ndarray], model: keras.Model) -> None:
    """After a training every trainable weight has moved, and no frozen one.

    Args:
        before: from `weights_of`, before the training.
        model: after it.
    """
    marked = {weight.path for weight in model.trainable_weights}
    frozen = {weight.path for layer in _layers(model) if not layer.trainable for weight in layer.weights}
    moved = {weight.path for weight in model.weights if np.any(weight.numpy() != before[weight.path])}
    if marked - moved:
        raise Mistake(f"{len(marked - moved)} of {len(marked)} trainable arrays have not moved, the first "
                      f"is {min(marked - moved)}. Compile again after changing `trainable`.")
    if moved & frozen:
        raise Mistake(f"{len(moved & frozen)} frozen arrays have moved, the first is {min(moved & frozen)}. "
                      "Compile again after freezing.")


def thawed(backbone: keras.Model) -> None:
    """A backbone that is to be fine-tuned has something to learn."""
    if not backbone.trainable_weights:
        raise Mistake(f"nothing in {backbone.name} can learn: this trains the head alone. Set `trainable` of "
                      "the last layers to True, then compile.")


def statistics_frozen(model: keras.Model) -> None:
    """No BatchNormalization would move its statistics, however deep it lies in the model."""
    loose = [layer.name for layer in _layers(model)
             if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable]
    if loose:
        raise Mistake(f"{len(loose)} layers of BatchNormalization are thawed ({loose[0]} …): their means and "
                      "variances will follow your batches. Freeze them one by one.")


def begins_well(before: float, history: dict[str, list[float]]) -> None:
    """Fine-tuning goes on from where the frozen network was, and does not begin by destroying it.

    Args:
        before: the validation loss of the frozen network with its trained head.
        history: of the fine-tuning, with "val_loss".
    """
    first = history["val_loss"][0]
    if not first <= 1.3 * before + 0.1:  # or no number
        raise Mistake(f"the validation loss went from {before:.2f} to {first:.2f} in the first epoch: "
                      "what was learned is being thrown away. Train the head first, and take a rate of 1e-5 "
                      "to 1e-4.")


def loss_fits_output(model: keras.Model) -> None:
    """A loss that takes logits has none made into probabilities, and the other way round."""
    last = model
    while hasattr(last, "layers"):
        last = last.layers[-1]
    activation = last.get_config().get("activation", type(last).__name__.lower())
    loss = keras.losses.get(model.loss)
    logits = (loss.get_config() if hasattr(loss, "get_config") else {}).get("from_logits", False)
    if logits == (activation in ("softmax", "sigmoid")):
        raise Mistake(f"the last layer has the activation {activation!r} and the loss has from_logits="
                      f"{logits}. Take softmax or sigmoid with False, none with True.")


def answers_differ(probabilities: np.ndarray) -> None:
    """The answers to photographs of several classes are not all the same class.

    Args:
        probabilities: (n, classes), or (n,) or (n, 1) of the second of two classes.
    """
    found = np.asarray(probabilities)
    found = found[:, None] if found.ndim == 1 else found
    answers = found.argmax(axis=1) if found.shape[1] > 1 else (found[:, 0] > 0.5).astype(int)
    if np.isnan(found).any():
        raise Mistake("the answers are no numbers: the training went wrong. Take a smaller learning rate, "
                      "and look at the inputs' range.")
    if len(answers) > 1 and len(set(answers.tolist())) == 1:
        raise Mistake(f"all {len(answers)} answers are class {answers[0]}, with {found.min():.2f} to "
                      f"{found.max():.2f}. Is a sigmoid or softmax applied to what is a probability already?")


def disjoint(train: list[str], test: list[str]) -> None:
    """No photograph is in both sets, not even under another name; both are lists of paths."""
    def contents(paths):
        return {hashlib.sha256(Path(path).read_bytes()).hexdigest(): path for path in paths}

    learned, asked = contents(train), contents(test)
    if both := learned.keys() & asked.keys():
        one = asked[min(both)]
        raise Mistake(f"{len(both)} of {len(asked)} test photographs were learned from, such as "
                      f"{Path(one).name}. Split by file, once, before anything else.")


def labels_in_step(features: np.ndarray, labels: np.ndarray) -> None:
    """Features know something of their labels: each is nearer to the others of its class than by chance.

    Args:
        features: (n, width). A class with a single photograph is left out, since it has no others.
        labels: (n,) whole numbers. With fewer photographs than could tell, it is silent.
    """
    if len(features) != len(labels):
        raise Mistake(f"there are features of {len(features)} photographs and {len(labels)} labels.")
    _, labels, counts = np.unique(labels, return_inverse=True, return_counts=True)
    several = counts[labels] > 1
    features, labels = features[several], np.unique(labels[several], return_inverse=True)[1]
    if not len(labels):
        return
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    sums = np.stack([unit[labels == label].sum(axis=0) for label in range(labels.max() + 1)])
    others = sums[labels] - unit  # of its own class, without the photograph itself
    similarity = unit @ (sums / np.linalg.norm(sums, axis=1, keepdims=True)).T
    similarity[np.arange(len(labels)), labels] = (unit * others).sum(1) / np.linalg.norm(others, axis=1)
    right = int((similarity.argmax(axis=1) == labels).sum())
    chance = np.bincount(labels).max() / len(labels)
    luck = [binomtest(found, len(labels), chance, alternative="greater").pvalue
            for found in (right, len(labels))]
    if luck[0] > max(0.001, luck[1]):
        raise Mistake(f"{right} of {len(labels)} photographs are nearest to their own class; guessing finds "
                      f"{chance * len(labels):.0f}. Are features and labels from the same pass, unshuffled?")


def repeatable(predict, images: np.ndarray) -> None:
    """Asked twice about the same images, a model gives the same answers; `predict` is how it is asked."""
    first, second = np.asarray(predict(images)), np.asarray(predict(images))
    if not np.allclose(first, second, atol=1e-5):
        raise Mistake("the same photograph is answered differently, by up to "
                      f"{np.abs(first - second).max():.2f}: augmentation or dropout is on. Ask with "
                      "`model.predict(x)` or `training=False`.")


def each_class_recalled(labels: np.ndarray, answers: np.ndarray, at_least: float = 0.5) -> None:
    """No class is given up for a high accuracy, as where one class is rare.

    Args:
        labels, answers: (n,) whole numbers.
        at_least: the share of each class that must be found.
    """
    if not len(labels):
        raise Mistake("there are no answers to look at.")
    recall = {int(label): float((answers[labels == label] == label).mean()) for label in np.unique(labels)}
    worst = min(recall, key=recall.get)
    if recall[worst] < at_least:
        raise Mistake(f"{(answers == labels).mean():.0%} of the answers are right, and of class {worst} only "
                      f"{recall[worst]:.0%} are found. Look at the recall of each class, or weight them.")
