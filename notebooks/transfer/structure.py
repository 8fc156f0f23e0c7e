"""What a Keras model computes, written down without the names of its layers.

Keras numbers names (`dropout`, `dropout_1`), so the same model built twice in one session has two
configurations. Here layers are known by their place, and what computes differently is described
differently: a training's run and a store of features are filed under such a description.
"""

import functools

import keras
import numpy as np

from .description import Description, of_a_library, shape_of

KINDS = (keras.Model, keras.Layer, keras.Operation, keras.Optimizer, keras.Loss, keras.Metric)


def structure(model: keras.Model, trainable: bool = False) -> list:
    """Describe a model's architecture as lists, strings and numbers, fit for `json.dumps`.

    Equal for the same model built twice and for renamed layers. Different for another class of layer
    (its own code included), setting, function, precision policy, order, wiring or sharing of layers.

    Not in it: the weights and how they were drawn at first (hash the weights beside it), and the
    seeds of Keras's own layers such as Dropout (`training.fit` sets their dice anew in every epoch).

    Args:
        model: any Keras model or layer. One that was built is described with the shapes of its weights.
        trainable: also say of each layer whether it learns.
    """
    return _Structure(trainable).of(model)


def describe(value):
    """The same for any value: a function by its code and all that it refers to, an object by its
    class and settings, an array by its content, a network also by its weights.

    What it cannot see: files, environment variables and random states that a function reads.

    Raises:
        Undescribable: two different ones could not be told apart.
    """
    return _Structure(trainable=False, weights=True).of(value)


def words(value) -> set[str]:
    """All names that the code of a value uses, and the code that it refers to."""
    description = _Structure(trainable=False)
    description.of(value)
    return description.words


class _Structure(Description):
    """A description that knows layers, models and calls of `keras.ops`."""

    def __init__(self, trainable: bool, weights: bool = False):
        super().__init__()
        self.trainable, self.weights = trainable, weights
        self.met = {}  # id of a layer -> how many were met before it
        self.sources = {}  # id of a symbolic tensor of the model under way -> where it comes from

    def of(self, value):
        if isinstance(value, keras.KerasTensor):
            return self.sources.get(id(value)) or shape_of(value)
        if isinstance(value, keras.Operation):
            return self._operation(value)
        if isinstance(value, (keras.DTypePolicy, keras.dtype_policies.DTypePolicyMap)):
            return ["policy", value.name, value.compute_dtype, value.variable_dtype]
        return super().of(value)

    def _operation(self, operation: keras.Operation) -> list:
        if id(operation) in self.met:  # shared
            return ["again", self.met[id(operation)]]
        self.met[id(operation)] = len(self.met)
        found = ["layer", self.of(type(operation))]
        if isinstance(operation, keras.Layer):
            found += [self.of(operation.dtype_policy)] + [operation.trainable] * self.trainable
        if isinstance(operation, keras.Model) and getattr(operation, "inputs", None):
            inside = self._graph(operation)
        elif isinstance(operation, keras.Sequential):  # its inputs are not known yet
            inside = self.of(operation.layers)
        else:
            inside = self._config(operation)
        leaf = self.weights and not isinstance(operation, keras.Model)
        found += [inside, [self._weight(one, leaf) for one in getattr(operation, "weights", [])]]
        if of_a_library(type(operation)) and inside is not None:
            return found
        return found + [self._attributes(operation, self._usual(operation))]

    def _weight(self, weight, content: bool) -> list:
        later = [getattr(weight, key, None) for key in ("regularizer", "constraint")]  # may be set by hand
        return [*shape_of(weight), *([self.of(later)] if any(later) else [])] + [self.of(weight)] * content

    def _usual(self, value) -> frozenset[str]:
        return next((_usual_of(kind) for kind in KINDS if isinstance(value, kind)), frozenset())

    def _graph(self, model: keras.Model) -> list:
        """Which output of which earlier call feeds each call, from the inputs to the outputs."""
        around, self.sources = self.sources, {
            id(tensor): ["input", place] for place, tensor in enumerate(model.inputs)}
        calls = []
        for place, node in enumerate(_calls(model)):
            arguments = self.of([node.arguments.args, node.arguments.kwargs])
            calls.append([self.of(node.operation), arguments])
            self.sources |= {id(tensor): ["call", place, number]
                             for number, tensor in enumerate(node.outputs)}
        outputs = self.of(model.outputs)
        self.sources = around
        return [[shape_of(tensor) for tensor in model.inputs], calls, outputs]


def _calls(model: keras.Model) -> list:
    """The nodes between a model's inputs and outputs, each after those that feed it."""
    ready, calls, waiting = {id(tensor) for tensor in model.inputs}, [], model.outputs[::-1]
    while waiting:
        history = waiting[-1]._keras_history
        node = history.operation._inbound_nodes[history.node_index]
        missing = [tensor for tensor in node.input_tensors if id(tensor) not in ready]
        if id(waiting[-1]) in ready:
            waiting.pop()
        elif missing:
            waiting += missing[::-1]
        else:
            calls.append(node)
            ready |= {id(tensor) for tensor in node.outputs}
    return calls


@functools.cache
def _usual_of(kind: type) -> frozenset[str]:
    """Names of the attributes that Keras gives to any object of this kind once it is in use."""
    if kind is keras.Optimizer:
        optimizer = keras.optimizers.SGD()
        optimizer.build([keras.Variable(0.0)])
        return frozenset(name for name in vars(optimizer) if name[0] == "_") - {"_learning_rate"} | {
            "name", "built"}
    if not issubclass(kind, keras.Layer):
        return frozenset(vars(kind(name="any")))
    layer = keras.layers.Identity()
    layer(np.zeros((1, 1), "float32"))
    if kind is keras.Layer:
        return frozenset(vars(layer))
    model = keras.Sequential([keras.Input((1,)), layer])
    model.compile("sgd", "mse")
    return frozenset(vars(model)) | {"history", "stop_evaluating", "stop_predicting", "_eval_epoch_iterator"}
