"""Train a classifier on a folder of class folders, without a notebook.

    python scripts/train.py --dataset ~/flowers
    python scripts/train.py --dataset mini --classes cane gatto --backbone vgg16 --method fine-tuned

It does what lessons 3, 4 and 8 do, with the same helper: looks at the photographs, splits them,
computes what the frozen layers make of them once, trains, and asks the test set at the end, once.
Interrupted and started again, it goes on where it was.
"""

import argparse
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "notebooks"))
from transfer import datasets, home, quiet, write_whole  # noqa: E402

with quiet():
    import tensorflow  # noqa: F401
from transfer import audit, evaluation, features, models, pipeline, training  # noqa: E402

PARTS = ("train", "validation", "test")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="mini",
                        help="mini, animals10, cats_vs_dogs or a folder with one folder per class")
    parser.add_argument("--test", help="a folder of test photographs with the same class folders; "
                                       "without it, 15 %% of the data set are set apart")
    parser.add_argument("--classes", nargs="+", help="only these class folders")
    parser.add_argument("--backbone", default="mobilenet_v2",
                        help="vgg16, mobilenet_v2 (in the repository) or another of keras.applications")
    parser.add_argument("--method", choices=("frozen", "fine-tuned"), default="frozen")
    parser.add_argument("--views", type=int, default=1, help="augmented pictures of each photograph "
                                                             "for fine-tuning (default: 1)")
    parser.add_argument("--epochs", type=int, default=5, help="of fine-tuning (default: 5)")
    parser.add_argument("--rate", type=float, default=5e-5,
                        help="the highest learning rate of fine-tuning (default: 5e-5; 1e-5 changes less, "
                             "for photographs much like ImageNet's)")
    parser.add_argument("--seed", type=int, default=0, help="of split and training (default: 0)")
    parser.add_argument("--output", type=Path, help="the model, ending in .keras")
    parser.add_argument("--litert", action="store_true", help="also write a .tflite file")
    given = parser.parse_args()
    if given.output and given.output.suffix != ".keras":
        parser.error(f"--output {given.output}: a model's name ends in .keras")
    if given.epochs < 1 or given.views < 0 or given.rate <= 0:
        parser.error("--epochs must be 1 or more, --views 0 or more, --rate above 0")
    return given


def split(given) -> list[datasets.Dataset]:
    """Train, validation and test, after a look at every photograph."""
    photographs = datasets.load_from_here(given.dataset)
    if given.classes:
        photographs = photographs.only(given.classes)
    for sentence in audit.advice(photographs, audit.examine(photographs)):
        print("-", sentence)
    if not given.test:
        return list(audit.split(photographs, given.seed))
    test = datasets.from_folder(Path(given.test).resolve(), "test").only(photographs.class_folders)
    return [*audit.split(photographs, given.seed, {"validation": 0.2}), audit.undamaged(test)]


def train(given, parts) -> tuple:
    """The model, and what to note about it."""
    backbone = models.backbone(given.backbone)
    layers = ["pooled"] if given.method == "frozen" else ["pooled", backbone.kept]

    def stored(part, layers, **view):
        return features.extract(part, backbone.network, backbone.preprocess, layers, **view)

    learn, check, final = (stored(part, layers) for part in parts)
    name = f"train-{given.backbone}"
    head, history = training.frozen_head(
        learn["pooled"], check["pooled"], len(parts[0].class_folders), name, given.seed)
    model, kept, network = head, "pooled", backbone.network
    if given.method == "fine-tuned":
        kept = backbone.kept
        views = [learn[kept], *(stored(parts[0], [kept], augment=pipeline.augment, view=view)[kept]
                                for view in range(1, given.views + 1))]
        network, model, history = training.fine_tuned(
            head, views, check[kept], given.backbone, given.epochs, name + "-fine-tuned", given.seed,
            rate=given.rate)
        head = model.layers[-1]
    scores = {part: evaluation.score(model, found[kept])
              for part, found in (("validation", check), ("test", final))}
    return models.whole(network, head, backbone.preprocess), scores, history


def main() -> None:
    given, start = arguments(), time.perf_counter()
    try:
        parts = split(given)
        print(", ".join(f"{len(part):,} {name}" for name, part in zip(PARTS, parts)))
        model, scores, history = train(given, parts)
    except (ValueError, OSError, RuntimeError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("\ninterrupted; the same command goes on from here")
    path = given.output or home("models", f"{parts[0].name}-{given.backbone}-{given.method}.keras")
    models.save(model, path, parts[0].class_names)
    if given.litert:
        models.export_litert(model, path.with_suffix(".tflite"), parts[0].class_names)
    note = {"settings": {key: str(value) for key, value in vars(given).items()},
            "classes": parts[0].class_names, "photographs": list(map(len, parts)), "history": history}
    note |= {part: {"right": score.right, "total": score.total} for part, score in scores.items()}
    write_whole(path.with_suffix(".json"), json.dumps(note, indent=1) + "\n")
    for part, score in scores.items():
        print(f"{part:11}{score}")
    print(f"{path}  ({path.stat().st_size / 1e6:.0f} MB, {time.perf_counter() - start:.0f} s)")


if __name__ == "__main__":
    main()
