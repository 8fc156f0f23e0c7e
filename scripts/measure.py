"""Measure methods on photographs and write what the lessons quote: data/results/NAME.json.

    python scripts/measure.py --dataset ../shared/animals10/raw-img --out data/results/animals10.json
    python scripts/measure.py --dataset mini --methods nearest_mean pooled --out data/results/mini.json

Each run is one method and one seed: the seed makes the split, the first weights and the order of
the batches. What is in the file already is not measured again, so an interrupted command goes on; what
was measured on other photographs, another split or with other settings is refused, never replaced.
Settings were chosen on validation data; test figures are only noted. A relative path is meant from where
the command is given.

The file holds the list of photographs once. A test set is a list of positions in it, and of every
test photograph a run notes the answer (the number of the class) and the probability it was given.
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
from filelock import Timeout

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "notebooks"))
import measure_amounts  # noqa: E402
import measure_fine_tuning  # noqa: E402
import measure_heads  # noqa: E402
from transfer import audit, datasets, evaluation, features, files, models, pipeline, write_whole  # noqa: E402

MODULES = (measure_heads, measure_fine_tuning, measure_amounts)
SETTINGS = {method: settings for module in MODULES for method, settings in module.SETTINGS.items()}
PARTS = ("validation", "test", "validation_frozen", "test_frozen")
METHODS = {method: run for module in MODULES for method, run in module.METHODS.items()}


class Measurement:
    """One data set, the backbones asked for, and the runs noted so far."""

    def __init__(self, dataset: str, out: Path, test: str = ""):
        self.photographs, self.out = datasets.load_from_here(dataset), out
        asked = datasets.load_from_here(test).only(self.photographs.class_folders) if test else None
        self.test = audit.without_copies(asked, self.photographs) if test else None
        self.backbones = {}
        self.classes = len(self.photographs.class_folders)
        self.noted = json.loads(out.read_text()) if out.exists() else {}
        now = described(self.photographs) | ({"test": described(self.test)} if self.test else {})
        if self.noted.setdefault("dataset", now) != now:
            raise ValueError(f"{out} was measured on other photographs "
                             f"({self.noted['dataset']['name']}); choose another --out")
        self.versions = versions() | {"contents_sha256": contents(self.photographs, self.test)}
        for entry in self.noted.values():
            for run in entry.get("runs", {}).values():
                if run.get("versions", self.versions)["contents_sha256"] != self.versions["contents_sha256"]:
                    raise ValueError(f"{out} was measured on other photographs in files of the same names; "
                                     "choose another --out")

    def backbone(self, backbone: str, size: int) -> models.Backbone:
        """Built once."""
        if (backbone, size) not in self.backbones:
            self.backbones[backbone, size] = models.backbone(backbone, (size, size))
        return self.backbones[backbone, size]

    def split(self, seed: int):
        """Train, validation and test; a test folder that was given is the test set of every seed."""
        if self.test:
            parts = *audit.split(self.photographs, seed, {"validation": 0.2}), self.test
        else:
            parts = audit.split(self.photographs, seed)
        position = {file: number for number, file in enumerate((self.test or self.photographs).files)}
        drawn = {"train": len(parts[0]), "validation": len(parts[1]),
                 "test": [position[file] for file in parts[2].files]}
        if self.noted.setdefault("splits", {}).setdefault(str(seed), drawn) != drawn:
            raise ValueError(f"the split of seed {seed} is not the one that the runs in {self.out} were "
                             "measured on (photographs, or how they are dealt out, have changed); choose "
                             "another --out")
        return parts

    def parts(self, settings: dict, seed: int):
        """The split, or as much of it as the method may learn from and choose with."""
        train, validation, test = self.split(seed)
        if number := settings.get("per_class"):
            train, validation = train.few(number, seed), validation.few(max(1, number // 5), seed)
        return train, validation, test

    def features(self, part, layer: str, recipe=None, **options):
        """Stored features of a part; where the network had to run, its seconds are added up."""
        return self.extract(part, [layer], recipe, **options)[layer]

    def extract(self, part, layers: list[str], recipe=None, backbone: str = "vgg16", size: int = 224,
                **options):
        start = time.perf_counter()
        chosen = self.backbone(backbone, size)
        found = features.extract(part, chosen.network, recipe or chosen.preprocess, layers,
                                 (size, size), **options)
        if found[layers[0]].computed:
            name = f"{backbone}{'' if size == 224 else f' at {size} pixels'}"
            total = self.noted.setdefault("extraction", {}).setdefault(
                f"{name} {', '.join(layers)}", {"images": 0, "seconds": 0})
            total["images"] += found[layers[0]].computed
            total["seconds"] = round(total["seconds"] + time.perf_counter() - start, 1)
        return found

    def prepare(self, methods: list[str]) -> None:
        """One pass over the photographs for all that these methods read, not one pass for each."""
        layers = {}
        for settings in (SETTINGS[method] for method in methods):
            if "layer" in settings and not settings.keys() & {"train", "per_class"}:
                seen = tuple(measure_heads.seen_by(settings).items())
                layers.setdefault(seen, {"pooled"}).add(settings["layer"])
        for seen, wanted in layers.items():
            for photographs in filter(None, (self.photographs, self.test)):
                self.extract(audit.undamaged(photographs), sorted(wanted, reverse=True), **dict(seen))

    def run(self, method: str, seed: int) -> bool:
        """Measure unless it is in the file; write the file. True if it was measured.

        Raises:
            ValueError: the file holds runs of this method with other settings.
        """
        entry = self.noted.setdefault(method, {"settings": SETTINGS[method], "runs": {}})
        if entry["settings"] != SETTINGS[method]:
            changed = sorted(key for key in entry["settings"].keys() | SETTINGS[method].keys()
                             if entry["settings"].get(key) != SETTINGS[method].get(key))
            raise ValueError(f"{self.out} holds {len(entry['runs'])} runs of {method!r} with other settings "
                             f"({', '.join(changed)}); choose another --out")
        if str(seed) in entry["runs"]:
            return False
        keras.utils.set_random_seed(seed)
        start = time.perf_counter()
        run = METHODS[method](self, self.parts(SETTINGS[method], seed), SETTINGS[method], seed)
        entry["runs"][str(seed)] = run | {"wall_seconds": round(time.perf_counter() - start, 1),
                                          "versions": self.versions}
        summarise(entry, self.noted)
        write_whole(self.out, text(self.noted) + "\n")
        return True


def described(photographs: datasets.Dataset) -> dict:
    """What was measured on; the digest is of the list of files, not of what is in them."""
    return {"name": photographs.name, "photographs": len(photographs),
            "classes": dict(zip(photographs.class_folders, np.bincount(photographs.labels).tolist())),
            "image_size": list(datasets.IMAGE_SIZE),
            "files_sha256": hashlib.sha256("\n".join(photographs.files).encode()).hexdigest(),
            "files": photographs.files.tolist()}


def text(value, depth: int = 5, indent: str = "") -> str:
    """JSON with one line per entry and lists in one line, so that a change is read as a change."""
    if not (isinstance(value, dict) and value and depth):
        return json.dumps(value, ensure_ascii=False)
    inner = indent + " "
    lines = (f"{inner}{json.dumps(key, ensure_ascii=False)}: {text(entry, depth - 1, inner)}"
             for key, entry in value.items())
    return "{\n" + ",\n".join(lines) + "\n" + indent + "}"


def contents(*sets: datasets.Dataset | None) -> str:
    """SHA-256 of what is in all files of these sets, in their order."""
    digest = hashlib.sha256()
    for path in (path for one in sets if one is not None for path in one.paths):
        digest.update(bytes.fromhex(files.digest(path)))
    return digest.hexdigest()


def versions() -> dict:
    """With what a run was measured; `augmentation` is the number of what `pipeline.augment` does."""
    return {"augmentation": pipeline.AUGMENTATION, "python": platform.python_version(),
            "tensorflow": tf.__version__, "keras": keras.__version__,
            "machine": f"{os.cpu_count()} cores, {platform.machine()}",
            "gpu": bool(tf.config.list_physical_devices("GPU"))}


def summarise(entry: dict, noted: dict) -> None:
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
    if len(runs) > 1 and "answers" in runs[0].get("test", {}):
        entry["test"]["pooled_interval"] = pooled_interval(entry, noted)


def pooled_interval(entry: dict, noted: dict) -> list[float]:
    """95 % interval over all runs together; a photograph of several test sets is drawn as one.

    Near-duplicates, which a split keeps together, are drawn one by one: on the 5,000 photographs drawing
    them together moves no end by more than 0.06 points.
    """
    runs = evaluation.answers(noted, entry["runs"]).values()
    right = np.concatenate([run.right for run in runs])
    found = evaluation.interval_by_groups(right, np.concatenate([run.positions for run in runs]))
    return [round(end, 4) for end in found]


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
    try:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        with files.alone(Path(f"{arguments.out}.lock"), "", wait=False):
            measure(Measurement(arguments.dataset, arguments.out, arguments.test),
                    [(method, seed) for method in arguments.methods for seed in range(arguments.seeds)])
    except Timeout:
        sys.exit(f"error: another process is writing to {arguments.out}; choose another --out, or wait")
    except (ValueError, OSError, RuntimeError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("\ninterrupted; the same command goes on from here")


def measure(measurement: Measurement, runs: list[tuple[str, int]]) -> None:
    """Every run that is not in the file yet, with the time left."""
    measurement.prepare(list(dict.fromkeys(method for method, _ in runs)))
    for number, (method, seed) in enumerate(runs, start=1):
        measurement.run(method, seed)
        run = measurement.noted[method]["runs"][str(seed)]
        print(f"{number} of {len(runs)}  {method} {seed}: {run.get('validation', '')}, "
              f"{run.get('wall_seconds', 0):.0f} s; {time_left(measurement.noted, runs[number:])}",
              flush=True)


def time_left(noted: dict, runs: list[tuple[str, int]]) -> str:
    """By the runs of the same method that are in the file."""
    took = {method: np.mean([run.get("wall_seconds", 0) for run in noted[method]["runs"].values()])
            for method in {method for method, _ in runs} & noted.keys()}
    to_do = [(method, seed) for method, seed in runs
             if str(seed) not in noted.get(method, {"runs": {}})["runs"]]
    unknown = {method for method, _ in to_do} - took.keys()
    text = f"about {sum(took.get(method, 0) for method, _ in to_do) / 60:.0f} min left"
    return text + (f", and {', '.join(sorted(unknown))}" if unknown else "")


if __name__ == "__main__":
    main()
