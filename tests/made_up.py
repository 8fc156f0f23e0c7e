"""Stored features without a network, for tests of what is done with them."""

import numpy as np
from transfer import features


def stored(name: str, rows: np.ndarray, labels: np.ndarray) -> features.Features:
    """These rows, (n, …), in a store of their own; found again where they were stored before."""
    store = features.Store({"network": name, "layer": "made-up"}, rows.shape[1:])
    if not store.index():
        store.append([f"{number:064x}" for number in range(len(rows))], rows.astype("float16"))
    return features.Features(store, np.arange(len(rows)), labels)


def overlapping_classes() -> list[features.Features]:
    """Features of three classes that overlap, for training and for validation."""
    random, labels = np.random.default_rng(0), np.arange(90) % 3
    return [stored(name, np.eye(3)[labels] * 2 + random.normal(size=(90, 3)), labels)
            for name in ("train", "validation")]
