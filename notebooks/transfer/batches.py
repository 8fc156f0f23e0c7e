"""Stored rows as arrays and as batches for `fit` (lessons 03 and 04); `features` is what stores them."""

from collections import defaultdict

import numpy as np
import tensorflow as tf

from . import pipeline
from .store import Store


class Features:
    """The stored rows of some photographs, with their labels; read from disk when asked for.

    Attributes:
        keys: (n,) SHA-256 of each photograph's bytes, hexadecimal.
        labels: (n,) int64, in the order of the photographs asked for.
        shape: (n, …), the shape of all rows together.
        computed: how many of the photographs the network had to see for this.
        recipe: the name of the folder they lie in; another recipe has another.
    """

    def __init__(self, store: Store, numbers: dict[str, int], keys: list[str], labels: np.ndarray,
                 computed: int = 0):
        self.keys, self.labels, self.shape = keys, labels, (len(keys), *store.shape)
        self.computed, self.recipe = computed, store.folder.name
        self._store, self._numbers = store, [numbers[key] for key in keys]

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, which) -> np.ndarray:
        """Rows of these positions as float32; `features[:]` is all of them.

        Raises:
            OSError: a row was damaged since `extract`; the message names the file.
        """
        positions = np.arange(len(self))[which]
        places, keys_of = defaultdict(list), {}
        for place, position in enumerate(positions.ravel().tolist()):
            places[self._numbers[position]].append(place)
            keys_of[self._numbers[position]] = self.keys[position]
        rows = np.empty((positions.size, self._store.row_bytes // 2), "float32")
        for number, row in self._store.read(keys_of):
            rows[places[number]] = row
        return rows.reshape(*positions.shape, *self._store.shape)


class Batches:
    """Features and labels in batches, read from disk one batch at a time; `data` is for `fit`.

    The order of an epoch follows from seed and epoch alone, so a training that was interrupted and
    goes on with epoch 3 sees what it would have seen.

    Args:
        features: of the photographs; or a list, the same photographs in several augmented views,
            of which each epoch draws one per photograph.
        batch_size: rows per batch; the last one may be smaller.
        shuffle_seed: None keeps the order of the photographs.
    """

    def __init__(self, features: Features | list[Features], batch_size: int = 32,
                 shuffle_seed: int | None = None):
        self.views = features if isinstance(features, list) else [features]
        self.batch_size, self.seed = batch_size, shuffle_seed
        self.start_epoch(0)

    def start_epoch(self, epoch: int) -> None:
        """Draw the order and the views of this epoch, counted from 0."""
        self.epoch, self.order = epoch, np.arange(len(self.views[0]))
        self.view = np.zeros(len(self.order), int)
        if self.seed is not None:
            random = np.random.default_rng([self.seed, epoch])
            random.shuffle(self.order)
            self.view = random.integers(len(self.views), size=len(self.order))

    def __len__(self) -> int:
        return -(-len(self.order) // self.batch_size)

    def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        which = self.order[number * self.batch_size:(number + 1) * self.batch_size]
        rows = np.empty((len(which), *self.views[0].shape[1:]), "float32")
        for drawn_view, view in enumerate(self.views):
            drawn = self.view[which] == drawn_view
            rows[drawn] = view[which[drawn]]
        return rows, self.views[0].labels[which]

    def data(self) -> tf.data.Dataset:
        """What Keras takes: float32 (batch, …) and int64 (batch,), of the epoch that was started last."""
        rows = tf.TensorSpec((None, *self.views[0].shape[1:]), "float32")
        data = tf.data.Dataset.from_generator(
            lambda: (self[number] for number in range(len(self))),
            output_signature=(rows, tf.TensorSpec((None,), "int64")))
        data = data.apply(tf.data.experimental.assert_cardinality(len(self)))
        return pipeline.without_autotuning(data.prefetch(2))
