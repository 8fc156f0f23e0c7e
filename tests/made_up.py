"""Stored features without a network, for tests of what is done with them."""

import numpy as np
from transfer import features, store


def stored(name: str, rows: np.ndarray, labels: np.ndarray) -> features.Features:
    """These rows, (n, …), in a store of their own; found again where they were stored before."""
    made = store.Store({"network": name, "layer": "made-up"}, rows.shape[1:])
    keys = [f"{number:064x}" for number in range(len(rows))]
    if not made.find(keys):
        made.append(keys, rows.astype("float16"))
        made.commit()
    return features.Features(made, made.find(keys), keys, labels)


def overlapping_classes() -> list[features.Features]:
    """Features of three classes that overlap, for training and for validation."""
    random, labels = np.random.default_rng(0), np.arange(90) % 3
    return [stored(name, np.eye(3)[labels] * 2 + random.normal(size=(90, 3)), labels)
            for name in ("train", "validation")]
