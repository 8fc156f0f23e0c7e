"""Under what a training is filed: all that decides its result, as one key."""

import hashlib
import json
import types

import keras
import numpy as np

from . import checkpoint, models
from .description import of_a_library
from .features import Batches, Features
from .structure import describe, structure, words

CHANGE_THE_TRAINING = tuple(getattr(keras.callbacks, name) for name in (
    "EarlyStopping", "LearningRateScheduler", "ReduceLROnPlateau", "SwapEMAWeights", "TerminateOnNaN"))
TOUCH_THE_MODEL = {"model", "optimizer", "learning_rate", "stop_training", "trainable", "set_weights",
                   "assign"}


def key(model: keras.Model, batches: Batches, validation: Features, epochs: int, callbacks=(),
        begin: tuple[str, str] | None = None) -> str:
    """Whatever decides the result, as 12 hexadecimal digits: change it, and it is another run.

    Args:
        model: compiled, and its variables and the optimizer's are there.
        batches: to learn from, with their size and seed.
        validation: which decides on the best epoch.
        epochs: how many are to be done in all.
        callbacks: those for which `changes_the_training` says so.
        begin: the `state` that the training begins with; the model's own by default.
    """
    decay = getattr(model.optimizer, "_use_weight_decay", lambda _: True)  # some variables may be exempt
    settings = model._compile_config.config
    compiled = [describe(model.optimizer), [bool(decay(one)) for one in model.trainable_variables],
                *(describe(settings.get(part)) for part in (
                    "loss", "loss_weights", "metrics", "weighted_metrics"))]  # metrics decide on the curves
    photographs = [[view.recipe, list(view.keys), np.asarray(view.labels).tolist()]
                   for view in [*batches.views, validation]]
    decides = json.dumps([
        "epoch files", begin or state(model), structure(model, trainable=True), compiled, photographs,
        epochs, batches.batch_size, batches.seed, [describe(_parts(callback)) for callback in callbacks]])
    return hashlib.sha256(decides.encode()).hexdigest()[:12]


def state(model: keras.Model) -> tuple[str, str]:
    """Fingerprints of the weights and of the optimizer's variables, the learning rate among them."""
    optimizer = types.SimpleNamespace(weights=model.optimizer.variables)
    return models.weights_digest(model), models.weights_digest(optimizer)


def changes_the_training(callback: keras.callbacks.Callback) -> bool:
    """A callback of Keras that does, or one of the caller's whose code could."""
    return isinstance(callback, CHANGE_THE_TRAINING) or bool(TOUCH_THE_MODEL & words(_parts(callback)))


def _parts(callback: keras.callbacks.Callback) -> list:
    """Its class and what it was made with; of one of the caller's all that it holds, its counters too."""
    made_with = checkpoint.settings(callback) - {"verbose", "model", "params"}
    own = not of_a_library(type(callback))
    return [type(callback), {
        name: abs(value) if isinstance(value, float) else value  # Keras turns the sign of min_delta
        for name, value in vars(callback).items()
        if (own and name not in ("_model", "params", "validation_data", "verbose"))
        or name.lstrip("_") in made_with or isinstance(value, types.FunctionType)}]
