"""One file for each finished epoch of a training: whole or not there, and sealed with its SHA-256.

`runs/<name>-<key>/epoch-0003.npz` holds what three epochs have left: weights, the optimizer's
variables, the weights of the best epoch and the curves. The one before it goes when it is there.
"""

import contextlib
import inspect
import io
import json
import math
import os
import shutil
from pathlib import Path

import keras
import numpy as np

from . import files
from .files import read_sealed, set_aside, write_sealed


@contextlib.contextmanager
def alone(run: Path):
    """The folder of a run, for one program at a time; the second waits, and says so."""
    if run.exists() and not run.is_dir():
        set_aside(run)
    with files.named(run):
        run.mkdir(parents=True, exist_ok=True)
    if (run / "lock").is_dir():
        set_aside(run / "lock")
    with files.alone(run / "lock", "is at this very training"):
        _tidy(run)
        yield run


class Checkpoint(keras.callbacks.Callback):
    """Remembers the curves and the best epoch and, with a folder, everything to go on from.

    Comes after all other callbacks, so that it sees what they have done.

    Args:
        model: compiled, its weights and the optimizer's variables there.
        run: the folder, held by `alone`; None keeps all in memory.
        watched: callbacks whose counters (how long to be patient still) are restored, too.

    Attributes:
        curves: one list of numbers, a number per epoch, for each metric.
        finished: nothing is left to do: all epochs are done or a callback has stopped the training.
    """

    def __init__(self, model: keras.Model, epochs: int, run: Path | None = None, watched=()):
        super().__init__()
        self.network, self.epochs, self.run, self.watched = model, epochs, run, watched
        self.curves, self.finished, self.counters = {}, epochs <= 0, []
        self.best = model.get_weights()
        self._begin = self.best, _values(model.optimizer.variables)
        if run:
            self._read()

    @property
    def done(self) -> int:
        """How many epochs are finished."""
        return len(self.curves.get("val_loss", []))

    def on_train_begin(self, logs=None):
        for callback, counters in zip(self.watched, self.counters, strict=False):
            vars(callback).update(counters)  # they have just begun from zero

    def on_epoch_end(self, epoch, logs=None):
        before = min(filter(math.isfinite, self.curves.get("val_loss", [])), default=math.inf)
        if logs["val_loss"] < before:
            self.best = self.network.get_weights()
        for key, value in logs.items():
            self.curves.setdefault(key, []).append(float(value))
        self.finished = epoch + 1 >= self.epochs or bool(self.network.stop_training)
        if self.run:
            self._write()

    def begin_again(self) -> None:
        """Back to what the model was when it came here."""
        weights, optimizer = self._begin
        self.network.set_weights(weights)
        _assign(self.network.optimizer.variables, optimizer)

    def _write(self) -> None:
        note = {"curves": self.curves, "finished": self.finished, "run": self.run.name,
                "counters": [_counters(callback) for callback in self.watched]}
        arrays = {"note": np.array(json.dumps(note))} | {
            f"{kind}-{number}": value for kind, values in (
                ("weights", self.network.get_weights()), ("best", self.best),
                ("optimizer", _values(self.network.optimizer.variables)))
            for number, value in enumerate(values)}
        content = io.BytesIO()
        np.savez(content, **arrays)
        file = self.run / f"epoch-{self.done:04}.npz"
        try:
            write_sealed(file, content.getbuffer())
        except OSError as error:
            said = os.strerror(error.errno) if error.errno else error
            raise OSError(error.errno, f"{said}. The epochs before it are kept: make room, or set "
                          "TRANSFER_HOME to a folder on a larger disk, and run this again",
                          str(file)) from error
        self._keep_only(file)

    def _read(self) -> None:
        """Take over the newest state that can be trusted."""
        for file in epochs_of(self.run):
            content = read_sealed(file)
            if content is None:
                continue
            try:
                with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                    self._take(arrays)
            except Exception:  # whole, and yet not ours: numpy, zipfile and json each raise their own
                set_aside(file)
            else:
                return self._keep_only(file)

    def _keep_only(self, newest: Path) -> None:
        for older in epochs_of(self.run):
            if older != newest:
                older.unlink()
                older.with_name(older.name + ".sha256").unlink(missing_ok=True)

    def _take(self, arrays) -> None:
        note, model = json.loads(str(arrays["note"])), self.network
        weights, best = (_like(model.weights, arrays, kind) for kind in ("weights", "best"))
        optimizer = _like(model.optimizer.variables, arrays, "optimizer")
        if note["run"] != self.run.name:
            raise ValueError("of another run")
        self.curves, self.finished, self.counters = note["curves"], note["finished"], note["counters"]
        self.best = best
        _assign(model.weights, weights)
        _assign(model.optimizer.variables, optimizer)


def epochs_of(run: Path) -> list[Path]:
    """The files of a run's epochs, the newest first."""
    return sorted(run.glob("epoch-*.npz"), key=lambda file: (len(file.name), file.name), reverse=True)


def _tidy(run: Path) -> None:
    """Remove what a killed program has left half-written, and put aside what cannot be ours."""
    for path in run.iterdir():
        if path.name.startswith(".partial-"):
            shutil.rmtree(path, ignore_errors=True)
        elif path.is_dir() and path.suffix in (".npz", ".sha256"):
            set_aside(path)
        elif path.suffix == ".sha256" and not path.with_suffix("").exists():
            path.unlink()


def _values(variables) -> list[np.ndarray]:
    return [np.array(variable.numpy()) for variable in variables]


def _assign(variables, values: list[np.ndarray]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _like(variables, arrays, kind: str) -> list[np.ndarray]:
    """The arrays of this kind, one for each variable; numpy does not know bfloat16 by name."""
    found = [arrays[f"{kind}-{number}"].view(variable.numpy().dtype)
             for number, variable in enumerate(variables)]
    if [value.shape for value in found] != [tuple(variable.shape) for variable in variables]:
        raise ValueError("of another network")
    return found


def settings(callback) -> set[str]:
    """Names of what a callback was made with; its other attributes move in training."""
    return {name for kind in type(callback).__mro__ for name in inspect.signature(kind.__init__).parameters}


def _counters(callback) -> dict:
    made_with = settings(callback) | {"params", "model"}
    return {key: plain for key, value in vars(callback).items() if key.lstrip("_") not in made_with
            and (plain := _plain(value)) is not NotImplemented}


def _plain(value):
    """What JSON can hold of it, lists and NumPy's numbers too; NotImplemented where that is not all."""
    value = value.item() if isinstance(value, np.generic) else value
    try:
        same = json.loads(json.dumps(value)) == value
    except (TypeError, ValueError):
        same = False
    return value if same else NotImplemented
