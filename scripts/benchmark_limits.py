"""Beside a yardstick: what extraction and an epoch of fine-tuning add to the arithmetic.

    python scripts/benchmark_limits.py --dataset ../shared/animals10/raw-img --out data/results/limits.json

Four rates, in turn, several rounds in one process: a large matrix product (a yardstick, not a bound: a
forward pass may be quicker), VGG16's forward pass on images in memory, `features.extract` from files to
stored rows, and a step of block 5 on rows in memory against an epoch on stored ones. Let the machine do
nothing else.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "notebooks"))
from transfer import quiet, write_whole  # noqa: E402

with quiet():
    import tensorflow as tf
import keras  # noqa: E402
import measure  # noqa: E402
import numpy as np  # noqa: E402
from transfer import datasets, features, models, pipeline  # noqa: E402

FLOP_AN_IMAGE = 2 * 15.35e9  # VGG16 without top at 224 x 224: a multiplication and an addition each
BATCH = 32


def seconds(work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def matrix_product(side: int = 4096):
    """Seconds per floating point operation of a large product."""
    square = tf.random.normal((side, side))
    multiply = tf.function(lambda: tf.reduce_sum(square @ square))
    multiply()
    return lambda: seconds(lambda: multiply().numpy()) / (2 * side**3)


def forward(backbone: models.Backbone, images: np.ndarray):
    """Seconds per image of the network alone, with the pre-processing, on images in memory."""
    network = keras.Model(backbone.network.inputs, keras.ops.mean(backbone.network.output, axis=(1, 2)))
    run = tf.function(lambda batch: network(backbone.preprocess(batch), training=False))
    batches = [tf.constant(images[i:i + BATCH]) for i in range(0, len(images), BATCH)]
    run(batches[0])
    return lambda: seconds(lambda: [run(batch).numpy() for batch in batches]) / len(images)


def extraction(backbone: models.Backbone, photographs: datasets.Dataset):
    """Seconds per image from files to stored rows; what was stored before is forgotten."""
    def again() -> float:
        shutil.rmtree(Path(os.environ["TRANSFER_HOME"], "features"), ignore_errors=True)
        return seconds(lambda: features.extract(
            photographs, backbone.network, backbone.preprocess, ["pooled", backbone.kept])) / len(photographs)

    return again


def tail_of(backbone: models.Backbone, classes: int) -> keras.Model:
    head = keras.Sequential([keras.Input(backbone.network.output.shape[-1:]),
                             keras.layers.Dense(classes, activation="softmax")])
    tail = models.tail(backbone.network, head, backbone.first)
    tail.compile(keras.optimizers.AdamW(1e-6), loss="sparse_categorical_crossentropy",
                 metrics=["accuracy"])
    return tail


def epoch(backbone: models.Backbone, photographs: datasets.Dataset, in_memory: bool):
    """Seconds per image of an epoch of block 5 and head, on the stored rows or on a copy in memory."""
    stored = features.extract(photographs, backbone.network, backbone.preprocess,
                              [backbone.kept])[backbone.kept]
    data = features.Batches(stored, BATCH, shuffle_seed=0).data()
    if in_memory:
        data = pipeline.without_autotuning(
            tf.data.Dataset.from_tensor_slices((stored[:], stored.labels)).batch(BATCH).cache())
    tail = tail_of(backbone, len(photographs.class_folders))
    tail.fit(data, shuffle=False, verbose=0)  # compiles
    return lambda: seconds(lambda: tail.fit(data, shuffle=False, verbose=0)) / len(photographs)


def measured(photographs: datasets.Dataset, rounds: int) -> dict[str, list[float]]:
    """Seconds of each kind of work, one after the other in every round."""
    backbone = models.backbone("vgg16")
    images = np.random.default_rng(0).uniform(0, 255, (len(photographs), 224, 224, 3)).astype("float32")
    extract = extraction(backbone, photographs)
    extract()
    works = {"operation": matrix_product(), "forward": forward(backbone, images), "extraction": extract,
             "epoch in memory": epoch(backbone, photographs, True),
             "epoch": epoch(backbone, photographs, False)}
    took = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            took[name].append(work())
    return took


def table(noted: dict) -> str:
    """As the README shows it; of each kind of work the fastest round, since what disturbs only adds."""
    best = {name: min(found) for name, found in noted["seconds"].items()}
    rate = FLOP_AN_IMAGE * best["operation"] / best["forward"]
    extracted, read = best["forward"] / best["extraction"], best["epoch in memory"] / best["epoch"]
    compared = {
        "forward": ("VGG16's forward pass, images in memory", f"{100 * rate:.0f} % of that rate"),
        "extraction": ("`features.extract`, from files to stored rows",
                       f"{100 * extracted:.1f} % of the forward pass's images a second"),
        "epoch in memory": ("an epoch of block 5 and head, rows in memory", ""),
        "epoch": ("the same on stored rows, shuffled",
                  f"{100 * read:.1f} % of its images a second")}
    return "\n".join([
        "| | milliseconds an image | |", "| --- | ---: | --- |",
        f"| a product of two 4,096 × 4,096 matrices | | {1e-9 / best['operation']:.0f} GFLOP/s |",
        *(f"| {what} | {1000 * best[name]:.1f} | {rates} |" for name, (what, rates) in compared.items())])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="mini", help="a folder of class folders")
    parser.add_argument("--images", type=int, default=480, help="how many, in whole batches of 32")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="where to note the seconds, ending in .json")
    given = parser.parse_args()
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)  # now, not after minutes of measuring
    photographs = datasets.load_from_here(given.dataset)
    chosen = np.random.default_rng(0).permutation(len(photographs))[:given.images // BATCH * BATCH]
    if not len(chosen) or given.rounds < 1:
        parser.error(f"at least {BATCH} photographs (--images) and one round (--rounds) are needed")
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["TRANSFER_HOME"] = scratch
        took = measured(photographs.select(np.sort(chosen)), given.rounds)
    noted = {"images": len(chosen), "versions": measure.versions(), "seconds": took}
    if given.out:
        write_whole(given.out, json.dumps(noted, indent=1) + "\n")
    print(table(noted))


if __name__ == "__main__":
    main()
