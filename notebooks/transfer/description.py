"""Functions, classes and objects as lists, strings and numbers: equal when they do the same.

A loss that was edited in its cell keeps its name. So what is not of a library is described by its
bytecode, which knows no comments and no line numbers, and by the values that it refers to.
`structure` adds Keras's layers and models to it.
"""

import dis
import functools
import hashlib
import importlib
import inspect
import json
import sys
import types
from pathlib import Path

import keras
import numpy as np

LIBRARIES = {"keras", "tensorflow", "numpy", "builtins"}
NO_MATTER = {"name", "trainable", "dtype", "registered_name", "build_config", "shared_object_id"}


class Undescribable(ValueError):
    """Two different ones of these could not be told apart."""


class Description:
    """One description under way.

    Attributes:
        words: every name that the code in it uses: of globals, attributes and enclosed variables.
    """

    def __init__(self):
        self.words = set()
        self._within = []  # what is being described now: some things contain themselves
        self._known = {}  # id of a function or class -> itself, its description: many refer to it

    def of(self, value):
        """Anything, as what `json.dumps` takes."""
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        if isinstance(value, np.memmap):  # stored features, may be
            return ["file", str(value.filename), *shape_of(value)]
        if _is_array(value):
            try:
                array = np.ascontiguousarray(value.numpy() if hasattr(value, "numpy") else value)
            except Exception as error:  # such as a table that TensorFlow alone can look into
                raise Undescribable(f"two different {type(value).__name__} cannot be told apart") from error
            return ["array", *shape_of(array), _hash(array)]
        if any(value is outer for outer in self._within):
            return ["itself", getattr(value, "__qualname__", type(value).__qualname__)]
        if id(value) in self._known:
            return self._known[id(value)][1]
        self._within.append(value)
        found = self._of_one(value)
        self._within.pop()
        if isinstance(value, (type, types.FunctionType)) and not of_a_library(value):
            found = ["code", _hash(json.dumps(found).encode())]
            self._known[id(value)] = value, found
        return found

    def _of_one(self, value):
        match value:
            case dict():
                return ["dict", sorted(([str(key), self.of(one)] for key, one in value.items()), key=repr)]
            case list() | tuple():
                return [self.of(one) for one in value]
            case set() | frozenset():
                return ["set", sorted((self.of(one) for one in value), key=repr)]
            case bytes():
                return ["bytes", _hash(value)]
            case type():
                return self._class(value)
            case types.CodeType():
                self.words.update(value.co_names, value.co_freevars)
                return [value.co_code.hex(), self.of(value.co_consts), list(value.co_names)]
            case types.FunctionType():
                return self._function(value)
            case types.MethodType():
                return ["method", self.of(value.__func__), self.of(value.__self__)]
            case functools.partial():
                return ["partial", self.of(value.func), self.of(value.args), self.of(value.keywords)]
            case types.ModuleType():
                return ["module", value.__name__]
        for within in ("python_function", "__wrapped__"):  # of tf.function, and of functools.lru_cache
            if hasattr(value, within):
                return [within, self.of(getattr(value, within))]
        return self._object(value)

    def _function(self, function: types.FunctionType) -> list:
        if of_a_library(function):  # such as a decorator's, round a function of one's own
            inside = getattr(function, "__wrapped__", None)
            own = inside is not None and not of_a_library(inside)
            inside = [inside, dict(getattr(function, "registry", {}))]  # of functools.singledispatch
            return ["function", function.__module__, function.__qualname__] + [self.of(inside)] * own
        code, around = function.__code__, function.__globals__
        outside = {name: self._referred(around[name], code) for name in _global_names(code) & around.keys()}
        outside |= {name: self._referred(module, code) for name, module in _imported(code).items()}
        enclosed = [self._referred(cell.cell_contents, code) for cell in function.__closure__ or ()
                    if cell != types.CellType()]  # an empty one, of what is assigned later
        return ["function", self.of(code), self.of(function.__defaults__),
                self.of(function.__kwdefaults__), self.of(outside), enclosed]

    def _referred(self, value, code: types.CodeType):
        """A value that a function refers to: of a module of one's own what the function may use of it,
        of a network, such as a teacher, the weights too."""
        if not isinstance(value, types.ModuleType) or of_a_library(value):
            weights = [self.of(one) for one in value.weights] if isinstance(value, keras.Layer) else []
            return [self.of(value), weights]
        if any(value is outer for outer in self._within):
            return ["module", value.__name__]
        self._within.append(value)
        used = {name: self._referred(vars(value)[name], code) for name in _names(code) & vars(value).keys()}
        self._within.pop()
        return ["module", value.__name__, self.of(used)]

    def _class(self, kind: type) -> list:
        if of_a_library(kind):
            return ["class", kind.__module__, kind.__qualname__]
        members = {name: _function_behind(member) for name, member in vars(kind).items()}
        return ["class", kind.__qualname__, self.of(kind.__bases__), self.of(
            {name: member for name, member in members.items()
             if isinstance(member, types.FunctionType) or not name.startswith("__")})]

    def _object(self, value) -> list:
        """By class and configuration; one whose class is no library's also by its attributes."""
        kind, config, usual = self.of(type(value)), self._config(value), self._usual(value)
        if not of_a_library(type(value)) or (usual and config is None):
            return ["object", kind, config, self._attributes(value, usual)]
        if config is not None:
            return ["object", kind, config]
        return ["object", kind, self.of(_state(value))]

    def _usual(self, value) -> frozenset[str]:
        """Names of the attributes that any object of this kind has, whatever its author adds."""
        return frozenset()

    def _config(self, value) -> list | None:
        """`get_config` without names; where it only names a function or an object, that one itself."""
        try:
            config = value.get_config()
        except Exception:  # none, or one that its author has not finished
            return None
        own, attributes = not of_a_library(type(value)), getattr(value, "__dict__", {})
        # What a library's class does by itself is left out: its next version may have one setting more.
        usual = {} if own else inspect.signature(type(value).__init__).parameters
        found = {}
        for key, setting in config.items():
            behind = attributes.get(key, attributes.get("_" + key))
            # A setting that moves in training, such as the learning rate, is a variable: no setting.
            if (_matters(key, own) and not isinstance(behind, keras.Variable)
                    and not (key in usual and _is_default(setting, usual[key].default))):
                found[key] = self.of(behind) if _holds_object(behind) else self._setting(setting)
        return sorted([key, one] for key, one in found.items())

    def _setting(self, setting):
        """A setting in which Keras may have written down layers, with their names."""
        if isinstance(setting, (list, tuple)):
            return [self._setting(one) for one in setting]
        if not isinstance(setting, dict) or "DTypePolicy" in str(setting.get("class_name")):
            return self.of(setting)
        return sorted([str(key), self._setting(one)] for key, one in setting.items() if _matters(key, False))

    def _attributes(self, value, usual: frozenset[str]) -> list:
        """What its author has put into an object; a layer's variables are weights: of them the shape."""
        found = {slot: getattr(value, slot) for kind in type(value).__mro__
                 for slot in _slots(kind) if hasattr(value, slot)} | getattr(value, "__dict__", {})
        if usual:  # of Keras
            found = {key: one for key, one in found.items()
                     if key not in usual and _matters(key, True) and not key.startswith("_self_")}
        if isinstance(value, (keras.Operation, keras.Optimizer)):
            found = {key: _without_weights(one) for key, one in found.items()}
        return self.of(found)


def of_a_library(value) -> bool:
    """Whether a function, class or module is known by its name: its code changes with versions only."""
    around = getattr(value, "__globals__", None)
    named = around.get("__name__") if isinstance(around, dict) else None
    module = value.__name__ if isinstance(value, types.ModuleType) else (
        named or getattr(value, "__module__", None) or "")
    top, file = module.split(".")[0], getattr(sys.modules.get(module), "__file__", None) or ""
    if top == "__main__":  # a notebook's cell, although its kernel lies among the libraries
        return False
    return top in LIBRARIES or top in sys.stdlib_module_names or bool(
        {"site-packages", "dist-packages"} & set(Path(file).parts))


def shape_of(tensor) -> list:
    return [list(tensor.shape), str(tensor.dtype)]


def _is_array(value) -> bool:
    if isinstance(value, (type, types.ModuleType)):
        return False
    return isinstance(value, (np.ndarray, np.generic)) or callable(getattr(value, "numpy", None))


def _without_weights(value):
    if isinstance(value, (list, tuple)):
        return [_without_weights(one) for one in value]
    return shape_of(value) if isinstance(value, keras.Variable) else value


def _slots(kind: type) -> tuple:
    slots = vars(kind).get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)


def _state(value):
    """What pickle would write down of an object.

    Raises:
        Undescribable: pickle would not.
    """
    try:
        found = value.__reduce_ex__(4)
    except Exception as error:
        if isinstance(getattr(value, "__name__", None), str):  # of a library's own kind of function
            return value.__name__
        if type(value).__module__.split(".")[0] in sys.stdlib_module_names:  # a lock, a queue, an open file
            return type(value).__qualname__
        raise Undescribable(f"two different {type(value).__qualname__} cannot be told apart") from error
    return found if isinstance(found, str) else [list(one) if hasattr(one, "__next__") else one
                                                 for one in found]


def _names(code: types.CodeType) -> set[str]:
    """All names that a function, or one inside it, uses."""
    inner = (_names(one) for one in code.co_consts if isinstance(one, types.CodeType))
    return set(code.co_names).union(*inner)


def _imported(code: types.CodeType) -> dict[str, types.ModuleType]:
    """Modules of one's own that a function imports by itself."""
    found = {}
    for step in dis.get_instructions(code):
        if step.opname == "IMPORT_NAME" and step.argval:
            try:
                found[step.argval] = importlib.import_module(step.argval)
            except ImportError:  # the function may know what to do then
                continue
    return {name: module for name, module in found.items() if not of_a_library(module)}


def _global_names(code: types.CodeType) -> set[str]:
    names = {step.argval for step in dis.get_instructions(code)
             if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    return names.union(*(_global_names(one) for one in code.co_consts if isinstance(one, types.CodeType)))


def _matters(key: str, own: bool) -> bool:
    """Names do not; how weights are drawn and the seeds of Keras's own layers do not either."""
    return key not in NO_MATTER and not str(key).endswith("initializer") and (own or key != "seed")


def _is_default(setting, default) -> bool:
    return type(setting) is type(default) and setting == default


def _holds_object(value) -> bool:
    if isinstance(value, (list, tuple)):
        return any(map(_holds_object, value))
    return callable(value) or hasattr(value, "get_config")


def _function_behind(member):
    """The function of a method, static method, class method or property."""
    member = getattr(member, "__func__", member)
    return member.fget if isinstance(member, property) else member


def _hash(content) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
