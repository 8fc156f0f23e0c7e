"""Draw what data/results holds: the tables of README between their markers, and the figures.

    python scripts/make_results.py            # write
    python scripts/make_results.py --check    # say what is stale; exit status 1 if anything is
"""

import argparse
import hashlib
import json
import re
import sys
import textwrap
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image
from sklearn.metrics import confusion_matrix

matplotlib.use("Agg")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "notebooks"))
import benchmark  # noqa: E402
import benchmark_limits  # noqa: E402
from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.ticker import MaxNLocator, PercentFormatter  # noqa: E402
from transfer import ROOT, datasets, evaluation, plots, write_whole  # noqa: E402

FIGURES = ROOT / "data" / "results"
LARGER, BEST = "mobilenet_v2, 288 pixels", "mobilenet_v2, 288 pixels, mirror, fine-tuned"
NAMES = {  # of the methods, in the order of the table
    "scratch": "small network, from scratch",
    "nearest_mean": "frozen VGG16, nearest class mean, nothing trained",
    "flatten": "frozen VGG16, Flatten + Dense(1024), 1,050 photographs",
    "pooled": "frozen VGG16, pooled + Dense (lesson 3)",
    "fine_tuned": "VGG16, block 5 and head fine-tuned (lesson 4)",
    "mobilenet_v2": "frozen MobileNetV2, pooled + Dense",
    LARGER: "frozen MobileNetV2 at 288 pixels",
    f"{LARGER}, mirror": "frozen MobileNetV2 at 288 pixels, with the mirror image",
    BEST: "MobileNetV2 at 288 pixels, with the mirror image, fine-tuned",
    "mobilenet_v2, fine-tuned": "MobileNetV2, fine-tuned from layer 100 on",
}
PAIRS = [("pooled", "nearest_mean"), ("pooled", "flatten"), ("fine_tuned", "pooled"),
         ("mobilenet_v2", "pooled"), (LARGER, "mobilenet_v2"), (f"{LARGER}, mirror", LARGER),
         (BEST, f"{LARGER}, mirror"), (BEST, "fine_tuned")]
AMOUNTS = {"frozen": ("frozen VGG16", "pooled"), "fine_tuned": ("VGG16 fine-tuned", "fine_tuned"),
           "nearest_mean": ("nearest class mean", "nearest_mean"),
           "scratch": ("small network, from scratch", "scratch")}


def percent(rate: float) -> str:
    return f"{100 * rate:.1f} %"


def to(low: float, high: float) -> str:
    return f"{percent(low)} to {percent(high)}"


def duration(runs: list[dict]) -> str:
    """Of the training alone, shortest to longest."""
    seconds = [run.get("seconds", 0) for run in runs]
    unit, size = ("min", 60) if max(seconds) >= 90 else ("s", 1)
    low, high = (round(end / size) for end in (min(seconds), max(seconds)))
    return "<1 s" if max(seconds) < 1 else f"{low} {unit}" if low == high else f"{low} to {high} {unit}"


def row(cells: list) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def results(noted: dict) -> str:
    """One row per method that was measured with a test set."""
    lines = [row(["method", "runs", "test accuracy, mean", "95 % interval", "range over the runs",
                  "training", "trainable parameters", "file"]), row(["---"] + 7 * ["---:"])]
    for method in (method for method in NAMES if method in noted):
        found, runs = noted[method]["test"], list(noted[method]["runs"].values())
        lines.append(row([
            NAMES[method], len(runs), percent(found["mean"]),
            to(*found.get("pooled_interval", found["interval"])),
            to(found["lowest"], found["highest"]) if len(runs) > 1 else "", duration(runs),
            f"{runs[0]['trainable_parameters']:,}",
            f"{runs[0]['file_mb']:.0f} MB" if "file_mb" in runs[0] else ""]))
    if len(noted["dataset"]["files"]) < 26_179:
        lines.append(row(["all 26,179 photographs, on a GPU of Colab", "not measured yet", *6 * [""]]))
    return "\n".join(lines)


def paired(noted: dict) -> str:
    """Two methods on the same test photographs; a photograph of several splits is drawn as one."""
    lines = [row(["first", "second", "splits", "only the first is right", "only the second", "difference",
                  "95 % interval of the difference"]), row(2 * ["---"] + 5 * ["---:"])]
    for pair in PAIRS:
        if all(method in noted for method in pair):
            gain, which = evaluation.gains(noted, *pair)
            splits = noted[pair[0]]["runs"].keys() & noted[pair[1]]["runs"].keys()
            low, high = evaluation.interval_by_groups(gain, which)
            lines.append(row([*(NAMES[method] for method in pair), len(splits), (gain > 0).sum(),
                              (gain < 0).sum(), benchmark.points(gain.mean()),
                              f"{benchmark.points(low)} to {benchmark.points(high)}"]))
    return "\n".join(lines)


def ingredients(noted: dict) -> str:
    """Fine-tuning on all photographs, and what changes with one setting; judged on validation."""
    base = noted["fine_tuned"]
    lines = [row(["what differs", "splits", "validation accuracy", "the lesson's recipe on these splits"]),
             row(["---"] + 3 * ["---:"])]
    for method, entry in noted.items():
        if method.startswith("fine_tuned, ") and "per_class" not in entry["settings"]:
            shared = [base["runs"][seed] for seed in entry["runs"] if seed in base["runs"]]
            rates = [np.mean([run["validation"]["right"] / run["validation"]["total"] for run in runs])
                     for runs in (entry["runs"].values(), shared)]
            changed = [f"{key}: {value} (recipe: {base['settings'].get(key)})".replace("_", " ")
                       for key, value in entry["settings"].items() if base["settings"].get(key) != value]
            lines.append(row([", ".join(changed), len(shared), *map(percent, rates)]))
    return "\n".join(lines)


def rendered(text: str) -> str:
    """A document with everything between its markers drawn anew."""
    tables = {"results": results, "paired": paired, "ingredients": ingredients, "speed": benchmark.table,
              "limits": benchmark_limits.table}

    def draw(match):
        kind, name = match[1], match[2]
        table = tables[kind](evaluation.measured(name))
        return f"<!-- {kind}: {name} -->\n\n{table}\n\n<!-- end -->"

    return re.sub(r"<!-- (\w+): (\w+) -->.*?<!-- end -->", draw, text, flags=re.S)


def learning_curves(noted: dict, figure) -> None:
    """Validation solid, training dashed; a panel per method, a line per run of the first three splits."""
    shown = [method for method in ("pooled", "fine_tuned", BEST) if method in noted]
    panels = figure.subplots(1, len(shown), sharey=True)
    for axes, method, colour in zip(panels, shown, plots.COLOURS):
        for run in list(noted[method]["runs"].values())[:3]:
            history = run["history"]
            epochs = np.arange(1, len(history["loss"]) + 1)
            axes.plot(epochs, history["val_accuracy"], color=colour, linewidth=1.5)
            axes.plot(epochs, history["accuracy"], "--", color=colour, linewidth=0.9, alpha=0.8)
        axes.set_title("\n".join(textwrap.wrap(NAMES[method], 30, break_on_hyphens=False)), fontsize=9)
        axes.set(xlabel="epoch", ylim=(0.86, 1.005))
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    panels[0].set_ylabel("accuracy")
    panels[0].yaxis.set_major_formatter(PercentFormatter(1, 0))
    for style, name in (("--", "training"), ("-", "validation")):
        panels[0].plot([], [], style, color=plots.GREY, label=name)
    panels[0].legend(frameon=False, loc="lower right")


def per_class(noted: dict, figure) -> None:
    """Test accuracy against photographs per class; a dot per run, a line through the means."""
    shown = {}
    for method, (label, whole) in AMOUNTS.items():
        shown[label] = evaluation.by_amount(noted, method)
        if whole in noted:
            number = round(noted["splits"]["0"]["train"] / len(noted["dataset"]["classes"]))
            shown[label][number] = evaluation.accuracies(noted[whole])
    plots.draw_amounts(figure.subplots(), {label: runs for label, runs in shown.items() if runs},
                       label="test accuracy")


def confusion(noted: dict, figure) -> None:
    """All runs of the best method together, in shares of each row."""
    runs = evaluation.answered(noted, BEST).values()
    names = datasets.names(noted["dataset"]["classes"])
    matrix = sum(confusion_matrix(run.labels, run.answers, labels=range(len(names))) for run in runs)
    plots.draw_confusion(figure.subplots(), matrix, names)


DRAWN = {"curves": (learning_curves, (9, 3.6)), "per_class": (per_class, (8, 4)),
         "confusion": (confusion, (5.6, 5.2))}


def digest(noted: dict) -> str:
    """Of what the figures show; each figure keeps it in its file."""
    return hashlib.sha256(json.dumps(noted, sort_keys=True).encode()).hexdigest()


def draw_figures(noted: dict, folder: Path = FIGURES) -> None:
    for name, (draw, size) in DRAWN.items():
        with plt.rc_context(plots.STYLE):
            figure = plt.figure(figsize=size)
            draw(noted, figure)
            figure.savefig(folder / f"{name}.png", dpi=110, metadata={"Description": digest(noted)})
            plt.close(figure)


def stale() -> list[str]:
    """Documents and figures that do not show what data/results holds."""
    noted = evaluation.measured("animals10")
    texts = {path.name: path.read_text(encoding="utf-8") for path in ROOT.glob("README*.md")}
    found = [name for name, text in texts.items() if rendered(text) != text]
    for name in DRAWN:
        path = FIGURES / f"{name}.png"
        if not path.exists() or Image.open(path).info.get("Description") != digest(noted):
            found.append(path.name)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; say what is stale")
    if parser.parse_args().check:
        found = stale()
        sys.exit(f"stale: {', '.join(found)}; run scripts/make_results.py" if found else 0)
    for path in ROOT.glob("README*.md"):
        write_whole(path, rendered(path.read_text(encoding="utf-8")))
    draw_figures(evaluation.measured("animals10"))


if __name__ == "__main__":
    main()
