"""Train a classifier on a folder of class folders, without a notebook.

    python scripts/train.py --dataset ~/flowers
    python scripts/train.py --dataset mini --classes cane gatto --backbone vgg16 --method fine-tuned

It does what lessons 3, 4 and 8 do, with the same helper: looks at the photographs, splits them,
computes what the frozen layers make of them once, trains, and asks the test set at the end, once.
Interrupted and started again, it goes on where it was.
"""

import argparse
import hashlib
import json
import os
import sys
import textwrap
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "notebooks"))
from transfer import _tensorflow, datasets, destination, export, files, write_whole  # noqa: E402

tensorflow, _ = _tensorflow()
from transfer import audit, evaluation, features, models, pipeline, training  # noqa: E402

PARTS = ("train", "validation", "test")
DECIDES = ("backbone", "method", "seed", "epochs", "views", "rate", "alike_bits")  # besides the photographs


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="mini", type=given_name,
                        help="mini, animals10, cats_vs_dogs or a folder with one folder per class")
    parser.add_argument("--test", type=lambda name: path(name).resolve(),
                        help="a folder of test photographs with the same class folders; "
                             "without it, 15 %% of the data set are set apart")
    parser.add_argument("--classes", nargs="+", help="only these class folders")
    parser.add_argument("--backbone", default="mobilenet_v2",
                        help="vgg16, mobilenet_v2 (in the repository) or another of keras.applications")
    parser.add_argument("--method", choices=("frozen", "fine-tuned"), default="frozen")
    parser.add_argument("--views", type=number(int, 0, 1000), default=1,
                        help="augmented pictures of each photograph for fine-tuning (default: 1)")
    parser.add_argument("--epochs", type=number(int, 1, 10_000), default=5,
                        help="of fine-tuning (default: 5)")
    parser.add_argument("--rate", type=number(float, 1e-9, 1), default=5e-5,
                        help="the highest learning rate of fine-tuning (default: 5e-5; 1e-5 changes less, "
                             "for photographs much like ImageNet's)")
    parser.add_argument("--alike-bits", type=bits, default=audit.NEAR_DUPLICATE_BITS, metavar="N|off",
                        help="how many of 64 bits two photographs may differ in and stay together when the "
                             "set is split (default: %(default)s); off where all are alike by nature, as "
                             "from a fixed camera")
    parser.add_argument("--seed", type=number(int, 0, 2**32 - 1), default=0,
                        help="of split and training (default: 0)")
    parser.add_argument("--output", type=path,
                        help="the model, ending in .keras; by default its name says data set, backbone and "
                             "method, and more where that name is taken by another training")
    parser.add_argument("--litert", action="store_true", help="also write a .tflite file")
    given = parser.parse_args()
    if given.output and given.output.suffix != ".keras":
        parser.error(f"--output {given.output}: a model's name ends in .keras")
    return given


def given_name(text: str) -> str:
    """An empty variable of a shell is no choice."""
    if not text.strip():
        raise argparse.ArgumentTypeError("is empty")
    return text


def path(text: str) -> Path:
    """A path, with ~ for the user's home."""
    try:
        return Path(given_name(text)).expanduser()
    except RuntimeError as error:
        raise argparse.ArgumentTypeError(f"{text}: there is no such user's home") from error


def number(kind: type, least: float, most: float):
    """For argparse: a number within these bounds."""
    def read(text: str):
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not least <= value <= most:  # what is no number is in no range
            raise argparse.ArgumentTypeError(f"{text[:40]!r} is no {'whole ' * (kind is int)}number from "
                                             f"{least} to {most}")
        return value

    return read


def bits(text: str) -> int | None:
    """What --alike-bits means."""
    return None if text == "off" else number(int, 0, 64)(text)


def split(given, photographs: datasets.Dataset) -> tuple[list[datasets.Dataset], int]:
    """Train, validation and test, after a look at every photograph; how many the test lost."""
    table = audit.examine(photographs)
    for sentence in audit.advice(photographs, table, given.alike_bits):
        print("-", sentence)
    readable = (table["hash"] != "").to_numpy()
    if lost := sorted(set(photographs.labels) - set(photographs.labels[readable])):
        raise ValueError(f"nothing of {', '.join(photographs.class_folders[label] for label in lost)} can be "
                         "read; what is said above tells why, and what to do")
    photographs = photographs.select(readable)  # the others have been named
    if not given.test:
        return list(audit.split(photographs, given.seed, alike_bits=given.alike_bits)), 0
    test = datasets.from_folder(given.test, "test")
    wanted, there = ({datasets.composed(name): name for name in one.class_folders}
                     for one in (photographs, test))
    if missing := [name for key, name in wanted.items() if key not in there]:
        raise ValueError(f"the test folder {given.test} has no {', '.join(missing)}; put photographs of it "
                         "there, or name the classes to use with --classes")
    if extra := [name for key, name in there.items() if key not in wanted]:
        print(f"- ignored in the test folder, for they are not among the classes: {', '.join(extra)}")
    test = test.only(photographs.class_folders)
    unseen = audit.without_copies(test, photographs, bits=given.alike_bits)
    parts = audit.split(photographs, given.seed, {"validation": 0.2}, alike_bits=given.alike_bits)
    return [*parts, unseen], len(test) - len(unseen)


def train(given, backbone, parts) -> tuple:
    """The model, scores and history, and a digest of the photographs and labels they come from."""
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
    seen = json.dumps([[one["pooled"].keys, one["pooled"].labels.tolist()] for one in (learn, check, final)])
    return (models.whole(network, head, backbone.preprocess), scores, history,
            hashlib.sha256(seen.encode()).hexdigest())


def run(given) -> None:
    """From the photographs to the files beside each other: .keras, .txt, .json and, if asked for, .tflite."""
    start = time.perf_counter()
    photographs = datasets.load_from_here(given.dataset)
    photographs = photographs.only(given.classes) if given.classes else photographs
    names = photographs.class_names
    about = {"folder": str(photographs.root.resolve()), "test": str(given.test or ""),
             "classes": list(photographs.class_folders)} | {key: getattr(given, key) for key in DECIDES}
    export.check_class_names(names)
    path, said = destination.choose(given.output, photographs.name, about)
    backbone = models.backbone(given.backbone)
    weights = 4.2 * backbone.network.count_params()  # bytes; the head is small
    destination.check(path, weights * (1 + given.litert) + 20e6)
    parts, left_out = split(given, photographs)
    print(", ".join(f"{len(part):,} {name}" for name, part in zip(PARTS, parts)))
    model, scores, history, about["photographs"] = train(given, backbone, parts)
    note = {"settings": {key: str(value) for key, value in vars(given).items()}, "training": about,
            "classes": names, "photographs": list(map(len, parts)), "left_out_of_the_test": left_out,
            "history": history}
    note |= {part: {"right": score.right, "total": score.total} for part, score in scores.items()}
    with export.lock(given.output or destination.plain(photographs.name, about)):  # another may have ended
        path, _ = destination.choose(given.output, photographs.name, about, said)
        if not given.litert:
            destination.set_stale_apart(path, about)
        white = parts[0].white
        models.save(model, path, names, white)
        if given.litert:
            models.export_litert(model, path.with_suffix(".tflite"), names, white=white)
        note["model"] = files.digest(path)
        write_whole(path.with_suffix(".json"), json.dumps(note, indent=1) + "\n")
    for part, score in scores.items():
        print(f"{part:11}{score}")
    print(f"{path}  ({path.stat().st_size / 1e6:.0f} MB, {time.perf_counter() - start:.0f} s)")


def main() -> None:
    if sys.stdout:  # it may be closed; a name that the terminal cannot show stops nothing
        sys.stdout.reconfigure(errors="backslashreplace")
    given = arguments()
    try:
        run(given)
        sys.stdout.flush()
    except BrokenPipeError:  # as of `| head`: what Python writes at its end has to go somewhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit("error: nobody reads what is printed any more; the same command goes on from here")
    except MemoryError:
        sys.exit("error: not enough memory; close other programs, or take --backbone mobilenet_v2")
    except tensorflow.errors.OpError as error:
        sys.exit(f"error: {type(error).__name__}: {textwrap.shorten(error.message, 300)}")
    except (ValueError, OSError, RuntimeError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("\ninterrupted; the same command goes on from here")


if __name__ == "__main__":
    main()
