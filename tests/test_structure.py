"""A model is described by what it computes: its names do not matter, everything else does."""

import dataclasses
import functools
import hashlib
import importlib
import json
import math
import shutil
import sys
import types

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from keras import layers
from transfer.structure import describe, structure, words


def network(activation="relu", kernel=3, strides=1, padding="valid", units=4, rate=0.5, beside=False,
            before_relu=False, shared=True, constant=1.0, first_row=1, order=False, name=None, seed=None):
    """Convolution, dropout, a shortcut, calls of keras.ops, a shared layer and a model in the model."""
    def called(part):
        return name and f"{name}_{part}"

    photograph = keras.Input((8, 8, 3), name=called("photograph"))
    first = layers.Conv2D(units, kernel, strides, padding, activation=activation, name=called("a"))(
        photograph)
    x = layers.Conv2D(units, 3, padding="same", name=called("b"))(first)
    x = layers.Dropout(rate, seed=seed, name=called("c"))(x)
    shortcut = layers.ReLU(name=called("d"))(first) if not before_relu else first
    x = layers.Add(name=called("e"))([shortcut, x] if order else [x, shortcut])
    x = keras.ops.mean(x[:, first_row:] - constant, axis=(1, 2))
    dense = layers.Dense(units, name=called("f"))
    x = dense(dense(x)) if shared else layers.Dense(units)(dense(x))
    inner = keras.Sequential([keras.Input((units,)), layers.Dense(2, name=called("g"))], name=called("h"))
    x = inner(x, training=False) if beside else inner(x)
    return keras.Model(photograph, x, name=called("all"))


def text(value) -> str:
    return json.dumps(structure(value) if isinstance(value, keras.Layer) else describe(value))


def test_the_same_network_built_twice_or_with_other_names_is_the_same():
    assert text(network()) == text(network()) == text(network(name="mine"))
    assert text(network()) == text(network(seed=3)), "dice are thrown anew in every epoch by training.fit"


def test_whatever_computes_differently_is_different():
    ways = [{}, {"activation": "gelu"}, {"kernel": 2}, {"strides": 2}, {"padding": "same"}, {"units": 5},
            {"rate": 0.4}, {"beside": True}, {"before_relu": True}, {"shared": False}, {"constant": 2.0},
            {"constant": np.float32([1, 2, 3, 4])}, {"first_row": 2}, {"order": True}]
    found = [text(network(**way)) for way in ways]
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        found.append(text(network()))
    finally:
        keras.config.set_dtype_policy("float32")
    assert len(set(found)) == len(ways) + 1


def test_what_learns_is_said_when_it_is_asked_for():
    one, other = network(), network()
    other.layers[1].trainable = False
    assert structure(one) == structure(other)
    assert structure(one, trainable=True) != structure(other, trainable=True)


def test_several_inputs_and_shared_layers_of_several_models_are_told_apart():
    first, second = keras.Input((3,)), keras.Input((3,))
    assert text(keras.Model([first, second], first - second)) != text(
        keras.Model([first, second], second - first))
    inner, other = (keras.Sequential([keras.Input((3,)), layers.Dense(3)]) for _ in range(2))
    assert text(keras.Model(first, inner(inner(first)))) != text(keras.Model(first, other(inner(first))))
    split = keras.ops.split(first, 3, axis=1)
    assert text(keras.Model(first, split[0])) != text(keras.Model(first, split[1]))


CODE = """
class Loss(keras.losses.Loss):
    def __init__(self, amount):
        super().__init__()
        self.amount = amount

    def call(self, labels, predictions):
        return {0} * self.amount * predictions

class Layer(layers.Layer):
    def __init__(self, amount):
        super().__init__()
        self._amount, self.dense = amount, layers.Dense(int(amount))

    def call(self, x):
        return {0} * self._amount * self.dense(x)

class Model(keras.Model):
    def __init__(self, amount):
        super().__init__()
        self.layer = Layer(amount)

    def call(self, x):
        return self.layer(x)

class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    def __init__(self, amount):
        self.amount = amount

    def __call__(self, step):
        return {0} * self.amount

class SGD(keras.optimizers.SGD):
    def update_step(self, gradient, variable, learning_rate):
        return super().update_step({0} * gradient, variable, learning_rate)

class Regularizer(keras.regularizers.Regularizer):
    def __init__(self, amount):
        self.amount = amount

    def __call__(self, x):
        return {0} * self.amount * keras.ops.sum(x)
"""


def cell(number: int) -> dict:
    """The classes as if their cell was run (again), with this number in their code."""
    names = {"keras": keras, "layers": layers, "__name__": "__main__"}
    exec(CODE.format(number), names)
    return names


def stacked(*inside, shape=(3,)) -> keras.Model:
    return keras.Sequential([keras.Input(shape), *inside])


def called(model: keras.Model) -> keras.Model:
    model(np.zeros((1, 3), "float32"))
    return model


OWN = {
    "loss": lambda own, amount: own["Loss"](amount),
    "layer": lambda own, amount: stacked(own["Layer"](amount)),
    "model": lambda own, amount: called(own["Model"](amount)),
    "schedule": lambda own, amount: keras.optimizers.SGD(own["Schedule"](amount)),
    "optimizer": lambda own, amount: own["SGD"](0.1, momentum=amount / 4),
    "regularizer": lambda own, amount: stacked(
        layers.Dense(2, kernel_regularizer=own["Regularizer"](amount))),
}


@pytest.mark.parametrize("kind", OWN)
def test_code_of_ones_own_belongs_to_it(kind):
    make = OWN[kind]
    first = text(make(cell(1), 1))
    assert first == text(make(cell(1), 1)), "the cell was run again"
    assert first != text(make(cell(1), 2)) and first != text(make(cell(2), 1))


def weighted(amount):
    def loss(labels, predictions):
        return amount * (labels - predictions)
    return loss


@functools.wraps(keras.ops.add)
def wrapper(*arguments):
    return keras.ops.add(*arguments) * FACTOR


FACTOR = 1


class Mode(layers.Layer):
    def __init__(self, mode):
        super().__init__()
        self.mode = mode

    def get_config(self):
        return super().get_config() | {"mode": self.mode}

    def call(self, x):
        return x if self.mode == "way_1" else -x


@pytest.mark.parametrize("make", [
    weighted, lambda amount: weighted(keras.Variable(float(amount))), lambda amount: weighted([amount]),
    lambda amount: stacked(layers.Dense(2, activation=weighted(amount))),
    lambda amount: stacked(layers.Lambda(lambda x: x * amount)),
    lambda amount: stacked(layers.TimeDistributed(layers.Dense(amount)), shape=(4, 3)),
    lambda amount: stacked(layers.Bidirectional(layers.LSTM(amount)), shape=(4, 3)),
    lambda amount: stacked(layers.RNN(layers.LSTMCell(amount)), shape=(4, 3)),
    lambda amount: functools.partial(min, amount), lambda amount: [math.sin, math.cos][amount - 1],
    lambda amount: [np.sin, np.cos][amount - 1], lambda amount: tf.function(weighted(amount)),
    lambda amount: stacked(Mode(f"way_{amount}")), lambda amount: eval("lambda x: x + " + str(amount)),
])
def test_functions_are_known_by_their_code_and_values(make):
    assert text(make(1)) == text(make(1)) != text(make(2))


def test_a_global_value_behind_a_wrapper_counts(monkeypatch):
    before = text(wrapper)
    monkeypatch.setitem(globals(), "FACTOR", 2)
    assert text(wrapper) != before


def test_the_weights_of_a_network_that_a_function_refers_to_count():
    teacher = stacked(layers.Dense(2, kernel_initializer="ones"))
    before = text(lambda labels, predictions: teacher(labels) - predictions)
    teacher.set_weights([2 * one for one in teacher.get_weights()])
    assert text(lambda labels, predictions: teacher(labels) - predictions) != before


def test_training_changes_no_description():
    own = cell(1)
    models = [stacked(own["Layer"](1)), called(own["Model"](1)),
              stacked(layers.Dense(2), layers.Dropout(0.5), layers.BatchNormalization(), layers.Dense(1))]
    for model in models:
        model.compile(own["SGD"](0.1, momentum=0.5), "mse", run_eagerly=True)
        model.optimizer.build(model.trainable_variables)
        before = text(model), text(model.optimizer)
        model.fit(np.ones((2, 3)), np.zeros((2, 1)), verbose=0)
        model.optimizer.learning_rate = 3.0
        assert (text(model), text(model.optimizer)) == before


def test_names_that_code_uses_are_found():
    def inner(model):
        return model.optimizer

    assert {"inner", "optimizer"} <= words(lambda x: inner(x)) and "other" not in words(inner)


@pytest.mark.parametrize("name, wanted", [("VGG16", "2dd9a99e3311"), ("MobileNetV2", "85ef6f2d0861")])
def test_the_backbones_are_the_same_in_every_keras(name, wanted):
    """Keras 3.15 gives layers settings that 3.10 has not; what one has stored the other finds."""
    network = getattr(keras.applications, name)(weights=None, include_top=False, input_shape=(224, 224, 3))
    found = json.dumps(structure(network), sort_keys=True)
    assert hashlib.sha256(found.encode()).hexdigest()[:12] == wanted


@dataclasses.dataclass(slots=True)
class Slotted:
    gamma: float


def losses_that_differ() -> dict[str, list]:
    """Pairs of losses of which a name or a `__dict__` alone does not tell the difference."""
    def by_attribute(value):
        return lambda labels, predictions: predictions * value.gamma

    def remembered(value):
        @functools.lru_cache
        def weight():
            return value

        return lambda labels, predictions: predictions * weight()

    def by_gradient(value):
        @tf.custom_gradient
        def scaled(x):
            return x, lambda upstream: upstream * value

        return lambda labels, predictions: scaled(predictions)

    def by_kind(value):
        @functools.singledispatch
        def weight(kind):
            return value

        return lambda labels, predictions: predictions * weight(labels)

    def teacher(value):
        network = keras.Sequential([keras.Input((2,)), layers.Dense(2)])
        network.set_weights([np.full((2, 2), value), np.zeros(2)])
        return network

    def distilled(labels, predictions, networks=()):
        return predictions - networks[0](predictions)

    def frame(value):
        return pd.DataFrame({"weight": np.where(np.arange(100) == 50, value, 0)})

    class WithVariable(keras.losses.Loss):
        def __init__(self, value):
            super().__init__()
            self.weight = keras.Variable(value)

    return {
        "slots": [by_attribute(Slotted(value)) for value in (1.0, 2.0)],
        "lru_cache": [remembered(value) for value in (1.0, 2.0)],
        "custom_gradient": [by_gradient(value) for value in (1.0, 2.0)],
        "singledispatch": [by_kind(value) for value in (1.0, 2.0)],
        "partial of a network": [functools.partial(distilled, networks=[teacher(value)])
                                 for value in (1.0, 2.0)],
        "a large table": [by_attribute(types.SimpleNamespace(gamma=frame(value))) for value in (1.0, 2.0)],
        "a method of a dictionary": [by_attribute(types.SimpleNamespace(gamma={"a": value}.get))
                                     for value in (1.0, 2.0)],
        "a loss with a variable": [WithVariable(value) for value in (1.0, 2.0)],
    }


LOSSES = losses_that_differ()


@pytest.mark.parametrize("name", LOSSES)
def test_what_hides_its_values_is_told_apart(name):
    first, second = map(describe, LOSSES[name])
    assert first == describe(LOSSES[name][0]) != second


def test_modules_of_ones_own_are_looked_into(tmp_path, monkeypatch):
    """`import mine.losses`, and an import inside the function."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "__init__.py").touch()
    found = []
    for value in (1, 2):
        (tmp_path / "mine" / "losses.py").write_text(f"def weight():\n    return {value}\n")
        for name in ("mine.losses", "mine"):
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        shutil.rmtree(tmp_path / "mine" / "__pycache__", ignore_errors=True)
        around = {}
        exec("import mine.losses\n"
             "def outside(x):\n    return x * mine.losses.weight()\n"
             "def inside(x):\n    from mine.losses import weight\n    return x * weight()\n", around)
        found.append([describe(around["outside"]), describe(around["inside"])])
    assert found[0][0] != found[1][0] and found[0][1] != found[1][1]
