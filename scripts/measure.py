"""Measure methods on photographs and write what the lessons quote: data/results/NAME.json.

    python scripts/measure.py --dataset ../shared/animals10/raw-img --out data/results/animals10.json
    python scripts/measure.py --dataset mini --methods nearest_mean pooled --out data/results/mini.json

Each run is one method and one seed: the seed makes the split, the first weights and the order of
the batches. What is in the file already, with the same settings, is not measured again, so an
interrupted command goes on. Settings were chosen on validation data; test figures are only noted.
"""

import argparse
import hashlib
import json
import os
import platform
import sys
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "notebooks"))
import measure_fine_tuning  # noqa: E402
import measure_heads  # noqa: E402
from transfer import audit, datasets, evaluation, features, models, write_whole  # noqa: E402

SETTINGS = measure_heads.SETTINGS | measure_fine_tuning.SETTINGS
PARTS = ("validation", "test", "validation_frozen", "test_frozen")
METHODS = measure_heads.METHODS | measure_fine_tuning.METHODS


class Measurement:
    """One data set, the backbones asked for, and the runs noted so far."""

    def __init__(self, dataset: str, out: Path, test: str = ""):
        self.photographs, self.out = datasets.load(dataset), out
        self.test = datasets.load(test) if test else None
        if self.test:
            self.test = self.test.select(audit.readable(audit.examine(self.test)))
        self.backbones = {}
        self.classes = len(self.photographs.class_folders)
        self.noted = json.loads(out.read_text()) if out.exists() else {}
        self.noted["dataset"] = {
            "name": self.photographs.name, "photographs": len(self.photographs),
            "classes": self.classes, "image_size": list(datasets.IMAGE_SIZE),
            "files_sha256": digest(self.photographs)}
        if self.test:
            self.noted["dataset"]["test"] = {
                "photographs": len(self.test), "files_sha256": digest(self.test)}

    def backbone(self, name: str) -> models.Backbone:
        """Built once."""
        if name not in self.backbones:
            self.backbones[name] = models.backbone(name)
        return self.backbones[name]

    def split(self, seed: int):
        """Train, validation and test; a test folder that was given is the test set of every seed."""
        if self.test is None:
            return audit.split(self.photographs, seed)
        return *audit.split(self.photographs, seed, {"validation": 0.2}), self.test

    def features(self, part, layer: str, recipe=None, backbone: str = "vgg16", **options):
        """Stored features of a part; where the network had to run, its seconds are added up."""
        start = time.perf_counter()
        chosen = self.backbone(backbone)
        found = features.extract(part, chosen.network, recipe or chosen.preprocess, [layer], **options)[layer]
        if found.computed:
            total = self.noted.setdefault("extraction", {"images": 0, "seconds": 0})
            total["images"] += found.computed
            total["seconds"] = round(total["seconds"] + time.perf_counter() - start, 1)
        return found

    def run(self, method: str, seed: int) -> None:
        """Measure unless it is in the file with these very settings; write the file."""
        entry = self.noted.setdefault(method, {})
        if entry.get("settings") != SETTINGS[method]:
            entry = self.noted[method] = {"settings": SETTINGS[method], "versions": versions(), "runs": {}}
        if str(seed) in entry["runs"]:
            return
        keras.utils.set_random_seed(seed)
        parts = self.split(seed)
        entry["runs"][str(seed)] = METHODS[method](self, parts, SETTINGS[method], seed)
        summarise(entry)
        write_whole(self.out, json.dumps(self.noted, indent=1) + "\n")


def digest(photographs: datasets.Dataset) -> str:
    """Of the list of files, not of what is in them."""
    return hashlib.sha256("\n".join(photographs.files).encode()).hexdigest()


def versions() -> dict:
    return {"python": platform.python_version(), "tensorflow": tf.__version__,
            "keras": keras.__version__, "machine": f"{os.cpu_count()} cores, {platform.machine()}",
            "gpu": bool(tf.config.list_physical_devices("GPU"))}


def summarise(entry: dict) -> None:
    """Mean, lowest and highest over the runs, and Wilson's interval for one test set at the mean.

    Where a run compares several things, the accuracy of each, one number per run.
    """
    runs = list(entry["runs"].values())
    if "total" not in runs[0].get("validation", {"total": 0}):
        entry["accuracy"] = {name: [round(run["validation"][name]["right"] /
                                          run["validation"][name]["total"], 4) for run in runs]
                             for name in runs[0]["validation"]}
        return
    for part in PARTS:
        results = [run[part] for run in runs if part in run]
        if results:
            rates = [result["right"] / result["total"] for result in results]
            total = results[0]["total"]
            low, high = evaluation.Score(round(np.mean(rates) * total), total).interval
            entry[part] = {"mean": round(float(np.mean(rates)), 4), "lowest": round(min(rates), 4),
                           "highest": round(max(rates), 4), "photographs": total,
                           "interval": [round(low, 4), round(high, 4)]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", required=True, help="mini, animals10 or a folder of class folders")
    parser.add_argument("--test", default="",
                        help="a folder of test photographs; without it, a part is set apart")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS),
                        metavar="METHOD", help=", ".join(METHODS))
    parser.add_argument("--seeds", type=int, default=5, help="runs per method")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    tf.config.experimental.enable_op_determinism()
    measurement = Measurement(arguments.dataset, arguments.out, arguments.test)
    for method in arguments.methods:
        for seed in range(arguments.seeds):
            measurement.run(method, seed)
            run = measurement.noted[method]["runs"][str(seed)]
            print(f"{method} {seed}: {run.get('validation', run)} {run.get('seconds', '')}", flush=True)


if __name__ == "__main__":
    main()
