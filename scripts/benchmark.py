"""What does it cost to run the frozen network again and again? Side by side, one after the other.

    python scripts/benchmark.py --dataset ../shared/animals10/raw-img --out data/results/benchmark.json
    python scripts/benchmark.py --smoke    # 12 drawings and 2 epochs, into build/benchmark.json

Each contestant (benchmark_contestants.py says what they are) runs in a process of its own and begins
with nothing computed; those that fine-tune take up the head of an earlier one. What is in the file
already is not run again, so an interrupted command goes on; a file of other photographs, settings or
versions is refused and stays as it is. Let the machine do nothing else meanwhile.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "notebooks"))
from transfer import home, quiet, write_whole  # noqa: E402

with quiet():
    import tensorflow  # noqa: F401
import measure  # noqa: E402
from benchmark_contestants import CONTESTANTS, PARTS  # noqa: E402
from transfer import audit, datasets, evaluation, files  # noqa: E402

HERE = Path(__file__).resolve().parent


def lay_out(parts: dict[str, datasets.Dataset], folder: Path) -> None:
    """The split as three folders of links to the files, as the loaders of Keras want them."""
    for name, part in parts.items():
        shutil.rmtree(folder / name, ignore_errors=True)
        for classes in part.class_folders:  # an empty one as well: loaders count folders
            (folder / name / classes).mkdir(parents=True)
        for file, path in zip(part.files, part.paths):
            (folder / name / file).symlink_to(path)


def run(name: str, folder: Path, epochs: int) -> dict:
    """One contestant in its own process, and what it took."""
    result, log = folder / "result.json", folder / "log.txt"
    command = [sys.executable, HERE / "benchmark_contestants.py", name, folder, str(epochs), result]
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch, open(log, "w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output,
                                   env=os.environ | {"TRANSFER_HOME": scratch})
        _, status, used = os.wait4(process.pid, 0)  # of this process alone
    seconds = time.perf_counter() - start
    if status:
        raise RuntimeError(f"{name} failed:\n{log.read_text()[-2000:]}")
    megabytes = used.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
    return json.loads(result.read_text()) | {
        "seconds": round(seconds, 1), "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "peak_mb": round(megabytes)}


def check_head(name: str, folder: Path) -> None:
    """Those that fine-tune go on with what another contestant has left."""
    head = folder / f"{name.removesuffix(', fine-tuned')}.keras"
    if "fine-tuned" in name and not head.exists():
        raise ValueError(f"{name!r} goes on with the head of {head.stem!r}, and {head} is not there: "
                         "run that one too, into a new --out")


def opponent(name: str) -> str:
    return "ours, fine-tuned" if "fine-tuned" in name else "ours"


def table(noted: dict) -> str:
    """As the README shows it; in brackets, how many times what ours takes."""
    lines = ["| | seconds | processor seconds | an epoch, s | memory, MB | test accuracy | "
             "ours less this, points |", "| --- |" + " ---: |" * 6]
    runs = {name: noted["runs"][name] for name in CONTESTANTS if opponent(name) in noted["runs"]
            and name in noted["runs"]}
    for name, run in runs.items():
        own = runs[opponent(name)]
        took = [f"{run[key]:,.{digits}f} ({run[key] / own[key]:,.1f})" for key, digits in
                (("seconds", 0), ("cpu_seconds", 0), ("epoch_seconds", 1))]
        right = int((np.array(run["answers"]) == noted["labels"]).sum())
        low, high = difference(noted, name)
        lines.append(f"| {CONTESTANTS[name][0]} | {' | '.join(took)} | "
                     f"{run['peak_mb']:,} | {100 * right / len(noted['labels']):.1f} % | "
                     + (f"{points(low)} to {points(high)} |" if name != opponent(name) else "|"))
    return "\n".join(lines)


def points(difference: float) -> str:
    return f"{100 * difference:+.1f}".replace("-", "−")


def difference(noted: dict, name: str) -> tuple[float, float]:
    """95 % interval of our test accuracy less this contestant's, on the same photographs."""
    ours, theirs = (np.array(noted["runs"][one]["answers"]) == noted["labels"]
                    for one in (opponent(name), name))
    return evaluation.interval_by_groups(ours.astype(int) - theirs, np.arange(len(ours)))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", help="a folder of class folders, of JPEG or PNG files")
    parser.add_argument("--per-class", type=int, default=100, help="photographs (default: 100)")
    parser.add_argument("--contestants", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS),
                        metavar="NAME", help=", ".join(CONTESTANTS))
    parser.add_argument("--out", type=Path, help="where to note the results, ending in .json")
    parser.add_argument("--smoke", action="store_true", help="12 drawings, 2 epochs, build/benchmark.json")
    given = parser.parse_args()
    if given.smoke:
        given.dataset, given.per_class = given.dataset or "mini", 4
        given.out = given.out or home("benchmark.json")
    if not (given.dataset and given.out):
        parser.error("--dataset and --out are needed, or --smoke")
    return given


def main() -> None:
    try:
        given = arguments()
        photographs = datasets.load_from_here(given.dataset).few(given.per_class)
        if given.smoke:
            photographs = photographs.only(photographs.class_folders[:3])
        compete(given, photographs)
    except (ValueError, OSError, RuntimeError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("\ninterrupted; the same command goes on from here")


def compete(given: argparse.Namespace, photographs: datasets.Dataset) -> None:
    """Every contestant that is not in the file yet, in turn; the file is written after each."""
    parts = dict(zip(PARTS, audit.split(photographs, seed=0)))
    described = {
        "dataset": measure.described(photographs), "contents_sha256": measure.contents(photographs),
        "versions": measure.versions(),
        "photographs": {name: len(part) for name, part in parts.items()},
        "labels": parts["test"].labels.tolist(), "epochs": 2 if given.smoke else 10}
    folder = home("benchmark", hashlib.sha256(json.dumps(described).encode()).hexdigest()[:12])
    given.out.parent.mkdir(parents=True, exist_ok=True)
    with (files.alone(Path(f"{given.out}.lock"), "writes the same file"),
          files.alone(folder.with_suffix(".lock"), "runs the same benchmark")):
        noted = run_all(given, parts, described, folder)
    print(table(noted))


def run_all(given: argparse.Namespace, parts: dict, described: dict, folder: Path) -> dict:
    """The contestants' runs, those of the file and the new ones."""
    noted = json.loads(given.out.read_text()) if given.out.exists() else described | {"runs": {}}
    if changed := sorted(key for key in described if noted.get(key) != described[key]):
        raise ValueError(f"{given.out} holds {len(noted.get('runs', {}))} runs with another "
                         f"{', '.join(changed)}; choose another --out")
    lay_out(parts, folder)
    for name in given.contestants:
        if name not in noted["runs"]:
            check_head(name, folder)
            print(f"{name} ...", flush=True)
            noted["runs"][name] = run(name, folder, min(noted["epochs"], CONTESTANTS[name][1]))
            write_whole(given.out, measure.text(noted, 3) + "\n")
    return noted


if __name__ == "__main__":
    main()
