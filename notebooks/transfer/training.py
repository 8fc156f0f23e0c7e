"""Fit, keep the best epoch, remember the curves, go on after an interruption (lessons 03 and 04).

The model is built and compiled in the lesson; here is only what would distract there.
"""

import contextlib
import json
import math
import random
import re
import sys
import time
import weakref

import keras
import tensorflow as tf
from tqdm import tqdm

from . import checkpoint, home, models, write_whole
from .datasets import IMAGE_SIZE
from .description import Undescribable
from .features import Batches, Features
from .runs import changes_the_training, state
from .runs import key as _key

_interrupted = weakref.WeakKeyDictionary()  # model -> its run, what it began with, what it had become


class _Progress(keras.callbacks.Callback):
    """One bar over all epochs (Keras's own prints a line per epoch), the clock, and the dice.

    What is random in an epoch follows from seed and epoch alone, whatever was thrown before: so a
    resumed training does not differ.
    """

    def __init__(self, name: str, batches: Batches):
        super().__init__()
        self.name, self.batches, self.bar = name, batches, None

    def on_epoch_begin(self, epoch, logs=None):
        if self.bar is None:
            self.bar = tqdm(total=self.params["epochs"], initial=epoch, desc=self.name, unit=" epochs",
                            leave=False, file=sys.stdout)
        self.batches.start_epoch(epoch)
        dice = [one for one in self.model.variables if "seed_generator_state" in one.path]
        for number, one in enumerate(dice):  # of dropout, mostly
            one.assign([self.batches.seed + number, epoch])
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        logs["seconds"] = time.perf_counter() - self.start
        if "val_accuracy" in logs:
            self.bar.set_postfix_str(f"validation {logs['val_accuracy']:.1%}", refresh=False)
        self.bar.update()

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()


def fit(model: keras.Model, train: Features | list[Features], validation: Features, epochs: int,
        name: str, batch_size: int = 32, seed: int = 0, callbacks=(), resume: bool = False,
        ) -> dict[str, list[float]]:
    """Fit on cached features and leave the model at its best epoch: the lowest validation loss.

    The loss moves more smoothly than the accuracy, so a lucky epoch is chosen less often.

    A resumable training is filed under all that decides its result: the model's architecture, its
    weights and which of them learn, optimizer, loss, metrics, the photographs and their labels, epochs,
    `batch_size` and `seed`; a function also by its code. Of the callbacks, those of Keras that change a
    training (EarlyStopping, LearningRateScheduler, ReduceLROnPlateau, SwapEMAWeights, TerminateOnNaN)
    and those of your own whose code mentions the model, the optimizer or the like. Callbacks that only
    watch, or interrupt, make no other training.

    Args:
        model: compiled, with the metric "accuracy".
        train, validation: from `features.extract`; they are read in batches from disk. A list for
            `train` holds views of the same photographs, and each epoch draws one of them.
        epochs: passes over the training features.
        name: of the run; its history is kept as `history/<name>.json` below TRANSFER_HOME.
        batch_size: rows per step.
        seed: of the order of the batches.
        callbacks: more Keras callbacks.
        resume: keep every epoch in `runs/` below TRANSFER_HOME. The same training, started again
            after an interruption, goes on with the next epoch; once finished, it is only read.
            A model that was fitted before begins with the weights it has: that is another training.

    Returns:
        History: "accuracy", "loss", "val_accuracy", "val_loss" per epoch, and "seconds" in all.

    Raises:
        ValueError: the model is not compiled, there are no photographs, the name is none, or the loss
            was never a number; the model is what it was before.
        OSError: an epoch could not be written; those before it are kept.
    """
    if re.search(r"[/\\]|^\.*$", name):
        raise ValueError(f"the name of a run is that of a folder: {name!r} is none.")
    batches = Batches(train, batch_size, seed)
    _prepare(model, batches, validation)
    watched = [callback for callback in callbacks if changes_the_training(callback)]
    found = contextlib.nullcontext()
    if resume:
        try:
            key, begin = _run_of(model, batches, validation, epochs, watched)
            found = checkpoint.alone(home("runs", f"{name}-{key}"))
        except Undescribable as error:
            resume = False
            print(f"{name}: this training is not kept for an interruption, because {error}.")
    with found as run:
        kept = checkpoint.Checkpoint(model, epochs, run, watched)
        progress = _Progress(name, batches)
        try:
            if not kept.finished:
                with _plain_errors():
                    model.fit(batches.data(), validation_data=Batches(validation, 256).data(),
                              epochs=epochs, initial_epoch=kept.done, shuffle=False,  # they are already
                              callbacks=[progress, *callbacks, kept], verbose=0)
        except BaseException:
            if resume:
                if not checkpoint.epochs_of(run):
                    kept.begin_again()
                _interrupted[model] = key, begin, state(model)
            raise
        finally:
            progress.close()
    _interrupted.pop(model, None)
    _check_numbers(kept, name)
    model.set_weights(kept.best)
    history = kept.curves | {"seconds": sum(kept.curves.get("seconds", []))}
    try:
        write_whole(home("history", f"{name}.json"), json.dumps(history))
    except OSError as error:  # only a log
        print(f"the history is not kept in a file: {error}")
    return history


def frozen_head(train: Features, validation: Features, classes: int, name: str = "03-final",
                seed: int = 0, epochs: int = 30) -> tuple[keras.Model, dict]:
    """Lesson 03's head with its history: trained if it has not been yet, otherwise only read.

    Args:
        train, validation: the "pooled" features.
        classes: how many there are.
        name: of the run.
        seed: of the first weights and the order of the batches; what is random elsewhere in the session
            goes on as if this had not been called.
        epochs: passes over the training features, in which the rate falls to 0.

    Raises:
        ValueError: a label is not one of so many classes, or as `fit`.
    """
    highest = max((int(max(part.labels)) for part in (train, validation) if len(part)), default=0)
    if highest >= classes:
        raise ValueError(f"the labels go up to {highest}, so {classes} classes are too few: they are counted "
                         "from 0.")
    dice = random.getstate()
    random.seed(seed)  # Keras draws the seed of first weights from Python's dice, and from no others
    try:
        head = keras.Sequential([
            keras.Input(train.shape[1:]), keras.layers.UnitNormalization(),
            keras.layers.Dense(classes, activation="softmax")])
    finally:
        random.setstate(dice)
    rate = keras.optimizers.schedules.CosineDecay(0.1, epochs * -(-len(train) // 16))
    head.compile(keras.optimizers.AdamW(rate, weight_decay=0.02),
                 loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return head, fit(head, train, validation, epochs, name, batch_size=16, seed=seed, resume=True)


def warm_up_and_cosine(peak: float, steps: int) -> keras.optimizers.schedules.CosineDecay:
    """A rate that rises from 0 to `peak` in a tenth of the steps and falls to 0 in the rest."""
    return keras.optimizers.schedules.CosineDecay(
        0.0, steps - steps // 10, warmup_target=peak, warmup_steps=steps // 10)


def fine_tuned(head: keras.Model, train: list[Features], validation: Features, backbone: str = "vgg16",
               epochs: int = 5, name: str = "04-fine-tuned", seed: int = 0,
               batch_size: int = 32, rate: float = 5e-5, size: tuple[int, int] = IMAGE_SIZE,
               ) -> tuple[keras.Model, keras.Model, dict]:
    """Lesson 04's fine-tuning of the last layers and the head: trained if it has not been, or read.

    Args:
        head: from `frozen_head`; it is copied, not changed.
        train, validation: the features of the layer `kept` of the backbone, for `train` of all views.
        backbone: its name, as `models.backbone` takes it.
        epochs: passes over the training features.
        name: of the run.
        seed: of dropout and the order of the batches.
        batch_size: rows per step.
        rate: the highest learning rate.
        size: (height, width) in pixels of the photographs whose features these are.

    Returns:
        The changed network, the tail (its thawed end and the head, on stored features), and the
        history.

    Raises:
        ValueError: the features are of another layer or of photographs of another size.
    """
    chosen, own_head = models.backbone(backbone, size), keras.models.clone_model(head)
    own_head.set_weights(head.get_weights())
    tail = models.tail(chosen.network, own_head, chosen.first)
    if tail.input_shape[1:] != tuple(train[0].shape[1:]):
        raise ValueError(f"{backbone} at {size[0]} x {size[1]} pixels gives {tail.input_shape[1:]} at "
                         f"{chosen.kept}, and the features are {tuple(train[0].shape[1:])}: extract them "
                         "at that layer and size, or say their size.")
    schedule = warm_up_and_cosine(rate, epochs * -(-len(train[0]) // batch_size))
    tail.compile(keras.optimizers.AdamW(schedule), loss="sparse_categorical_crossentropy",
                 metrics=["accuracy"])
    history = fit(tail, train, validation, epochs, name, batch_size, seed, resume=True)
    return chosen.network, tail, history


def _prepare(model: keras.Model, batches: Batches, validation: Features) -> None:
    """See that all variables are there, so that they can be fingerprinted, kept and restored."""
    if not model.compiled:
        raise ValueError(f"{model.name} is not compiled: call its compile(optimizer, loss, "
                         "metrics=[\"accuracy\"]) before training.fit.")
    for part, number in (("to learn from", len(batches.views[0])), ("for validation", len(validation))):
        if number == 0:
            raise ValueError(f"there are no photographs {part}: look at what audit.split returned.")
    if not model.built and isinstance(model, keras.Sequential):
        model.build((None, *batches.views[0].shape[1:]))
    elif not model.built:
        model(batches[0][0][:1])
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)


@contextlib.contextmanager
def _plain_errors():
    """What reading a batch complains of comes back from TensorFlow in the middle of a long report."""
    try:
        yield
    except tf.errors.OpError as error:
        said = re.search(r"^OSError: (.+)$", error.message, re.MULTILINE)
        if said is None:
            raise
        raise OSError(said[1]) from None


def _check_numbers(kept: checkpoint.Checkpoint, name: str) -> None:
    """A loss that is not a number says nothing about the photographs; say so, and what to do."""
    losses = kept.curves.get("val_loss", [])
    whole = [epoch for epoch, loss in enumerate(losses, 1) if math.isfinite(loss)]
    remedy = ("the steps are too large, or the inputs are not what the network expects. Take a smaller "
              "learning rate, and look at the inputs' range (checks.input_range)")
    if losses and not whole:
        kept.begin_again()
        raise ValueError(f"{name}: the loss was never a number, so nothing was learned: {remedy}. The "
                         "model has the weights it had before.")
    if len(whole) < len(losses):
        best = min(whole, key=lambda epoch: losses[epoch - 1])
        print(f"{name}: the loss was no number in {len(losses) - len(whole)} of {len(losses)} epochs; "
              f"epoch {best}, the best before, is kept. It means that {remedy}.")


def _run_of(model, batches: Batches, validation: Features, epochs: int, watched: list) -> tuple[str, tuple]:
    """The key of this run and the state it begins with.

    A model that was interrupted has other weights than it began with. When the same call comes
    again, and nobody has touched them since, it is the same run that goes on.
    """
    begin = state(model)
    if model in _interrupted:
        run, began, became = _interrupted[model]
        untouched = begin[0] == became[0] and begin[1] in (became[1], began[1])  # or compiled anew
        if untouched and _key(model, batches, validation, epochs, watched, began) == run:
            return run, began
    return _key(model, batches, validation, epochs, watched, begin), begin
