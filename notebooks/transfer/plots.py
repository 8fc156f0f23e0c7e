"""Every picture of the lessons in one line each (diagrams stand in `diagrams`).

Colours are Okabe and Ito's, which colour-blind readers tell apart (jfly.uni-koeln.de/color), and
never the only sign: lines also differ in dash or marker. The ground is white in every theme.
"""

import functools
import io
from collections.abc import Sized

import matplotlib.pyplot as plt
import numpy as np
import PIL.Image
from IPython.display import Image, display
from matplotlib.ticker import MaxNLocator, PercentFormatter

from . import language, letters

BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#8A8A8A"
COLOURS = (BLUE, ORANGE, GREEN, RED, "#CC79A7", "#56B4E9", "#444444")
STYLE = {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False,
         "axes.grid": True, "axes.axisbelow": True, "grid.color": "#DDDDDD",
         "figure.facecolor": "white", "axes.facecolor": "white", "figure.constrained_layout.use": True,
         "text.parse_math": False}  # a class "$1" or "$x$" is a name, not a formula

TALLEST = 12  # inches: no picture grows beyond it
MOST_NAMED, MOST_COUNTED, MOST_SHOWN = 60, 30, 30  # rows with names, with numbers; photographs in a grid

PORTUGUESE = {
    "accuracy": "acurácia", "epoch": "época", "loss": "perda", "train": "treino",
    "validation": "validação", "test": "teste", "photographs": "fotografias", "chance": "acaso",
    "width (pixels)": "largura (pixels)", "height (pixels)": "altura (pixels)",
    "original": "original", "seconds": "segundos", "images a second": "imagens por segundo",
    "best epoch": "melhor época", "epoch 1": "época 1", "epoch 2": "época 2", "epoch 3": "época 3",
    "upside down": "de cabeça para baixo", "any rotation": "qualquer rotação",
    "far too close": "perto demais", "blinded": "ofuscada", "other colours": "outras cores",
    "one after the other": "um depois do outro", "reading ahead": "lendo adiante",
    "from the photographs": "das fotografias",
    "from stored features": "das características guardadas",
    "milliseconds an image": "milissegundos por imagem",
    "step": "passo", "learning rate": "taxa de aprendizado", "constant": "constante",
    "warm-up and cosine": "aquecimento e cosseno", "feature extraction": "extração de características",
    "fine-tuning": "ajuste fino", "fine-tuned": "com ajuste fino", "frozen": "congelada",
    "answer": "resposta", "truth": "verdade", "confidence": "confiança",
    "as trained": "como treinada", "temperature scaled": "com temperatura",
    "another thing, of the errors": "outra coisa, dos erros",
    "another thing, of the rest": "outra coisa, do resto",
    "two of the ten, of the errors": "dois dos dez, dos erros",
    "two of the ten, of the rest": "dois dos dez, do resto",
    "not a live one, of the errors": "nenhum vivo, dos erros",
    "not a live one, of the rest": "nenhum vivo, do resto",
    "share of the photographs": "parte das fotografias",
    "scratch": "do zero", "nearest mean": "média mais próxima",
    "validation accuracy": "acurácia na validação", "test accuracy": "acurácia no teste",
    "images per class to learn from": "imagens por classe para aprender", "your data": "os seus dados",
    "alike: nearest mean with five a class": "parecidas: média mais próxima, cinco por classe",
    "drawings": "desenhos", "block 1": "bloco 1", "block 2": "bloco 2", "block 3": "bloco 3",
    "block 4": "bloco 4", "block 5": "bloco 5", "shuffled labels": "rótulos embaralhados",
    "true labels": "rótulos verdadeiros",
    "as it should be": "como deve ser", "right": "certo", "wrong": "errado",
    "share of the answer yes": "parte das respostas sim",
    "not at all": "sem aumento", "in the pipeline": "no pipeline", "in the model": "no modelo",
}


def word(text: str) -> str:
    """A word of a picture in the reader's language; other text stays as it is."""
    return PORTUGUESE.get(text, text) if language() == "pt-BR" else text


def show(figure, photographic: bool = False) -> None:
    """Put a figure under the cell: as JPEG where it shows photographs, otherwise as a lean PNG."""
    letters.make_readable(figure)
    drawn, stored = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=80)
    plt.close(figure)
    pixels = PIL.Image.open(drawn).convert("RGB")
    if photographic:
        pixels.save(stored, "jpeg", quality=75)
    else:
        pixels.quantize(64).save(stored, "png", optimize=True)
    display(Image(stored.getvalue()))


def _picture(draw):
    """Draws in the style of all pictures; where there is nothing to draw, a sentence says so."""
    @functools.wraps(draw)
    def drawn(*arguments, **options):
        if any(isinstance(given, Sized) and len(given) == 0 for given in [*arguments, *options.values()]):
            return print("There is nothing to show here.")
        with plt.rc_context(STYLE):
            draw(*arguments, **options)

    return drawn


def _rows(axis, names: list[str]) -> None:
    """A name at each row; where they would run into each other, rows are counted."""
    if len(names) <= MOST_NAMED:
        axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.5, -0.8)
    axis.grid(axis="y", visible=False)


@_picture
def grid(images, titles=None, columns: int = 5, width: float = 9) -> None:
    """Images in rows, each under its title; of more than 30 the first 30.

    Args:
        images: (height, width, 3) arrays in 0–255, or file paths.
        titles: one text per image, shown as it is: a class may be called "test" (`word` translates).
        columns: images in a row.
        width: of the whole picture, in inches.
    """
    from .pipeline import decode

    if len(images) > MOST_SHOWN:
        print(f"The first {MOST_SHOWN} of {len(images)} are shown.")
        images = images[:MOST_SHOWN]
    rows = -(-len(images) // columns)
    figure, axes = plt.subplots(rows, columns, squeeze=False,
                                figsize=(width, width / columns * rows * 1.12))
    for axis in axes.flat:
        axis.axis("off")
    for number, image in enumerate(images):
        pixels = decode(image) if isinstance(image, str) else np.clip(image, 0, 255)
        axes.flat[number].imshow(np.asarray(pixels).astype("uint8"))
        if titles is not None:
            axes.flat[number].set_title(titles[number], fontsize=10)
    show(figure, photographic=True)


@_picture
def counts(parts: dict) -> None:
    """How many photographs each class has, as stacked bars: {"train": Dataset, …} or {"": Dataset}."""
    first = next(iter(parts.values()))
    left = np.zeros(len(first.class_names))
    figure, axis = plt.subplots(figsize=(8, min(0.6 + 0.3 * len(left), TALLEST)))
    for colour, (name, part) in zip(COLOURS, parts.items()):
        values = np.bincount(part.labels, minlength=len(left))
        bars = axis.barh(range(len(left)), values, left=left, color=colour, label=word(name),
                         edgecolor="white")
        if len(left) <= MOST_COUNTED:
            axis.bar_label(bars, label_type="center", fontsize=9,
                           color="black" if colour == ORANGE else "white")
        left += values
    _rows(axis, first.class_names)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set_xlabel(word("photographs"))
    if len(parts) > 1:
        figure.legend(loc="outside upper center", ncols=len(parts), frameon=False)
    show(figure)


@_picture
def sizes(table) -> None:
    """Width and height of every photograph, from `audit.examine`."""
    figure, axis = plt.subplots(figsize=(5.5, 4.2))
    axis.scatter(table["width"], table["height"], s=14, alpha=0.5, color=BLUE, linewidths=0)
    axis.set(xlabel=word("width (pixels)"), ylabel=word("height (pixels)"), xlim=0, ylim=0)
    show(figure)


def _mark_chance(axis, chance: float | None) -> None:
    """A line where guessing would be, named above the axis."""
    if chance is not None:
        axis.axvline(chance, color=RED, linestyle="--")
        axis.text(chance, 1.01, word("chance"), color=RED, ha="center", fontsize=9,
                  transform=axis.get_xaxis_transform())


@_picture
def bars(values: dict, label: str = "accuracy", chance: float | None = None) -> None:
    """One horizontal bar per name; a value may be a number or a list of numbers (dots, with mean)."""
    figure, axis = plt.subplots(figsize=(8, min(0.9 + 0.38 * len(values), TALLEST)))
    means = [float(np.mean(value)) for value in values.values()]
    axis.barh(range(len(means)), means, color=BLUE, height=0.65)
    for row, (value, mean) in enumerate(zip(values.values(), means)):
        if np.size(value) > 1:
            axis.plot(value, [row] * len(value), "o", color=ORANGE, markersize=5,
                      markeredgecolor="white")
        text = f"{mean:.1%}" if label == "accuracy" else f"{mean:,.0f}" if mean >= 100 else f"{mean:.3g}"
        if len(values) <= MOST_COUNTED:
            axis.text(0.01 * max(means), row, " " + text, color="white", va="center")
    _rows(axis, [word(name) for name in values])
    axis.set_xlabel(word(label))
    if label == "accuracy":
        axis.set_xlim(0, 1)
        axis.xaxis.set_major_formatter(PercentFormatter(1))
    _mark_chance(axis, chance)
    show(figure)


@_picture
def curves(histories: dict[str, dict], chance: float | None = None) -> None:
    """Accuracy and loss per epoch: training dashed, validation solid, the best epoch marked."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.6))
    for colour, (name, history) in zip(COLOURS, histories.items()):
        epochs = np.arange(1, len(history["loss"]) + 1)
        best = int(np.argmin(history["val_loss"]))
        for axis, key in zip(axes, ("accuracy", "loss")):
            axis.plot(epochs, history[key], "--", color=colour, linewidth=1.2)
            axis.plot(epochs, history["val_" + key], color=colour, label=word(name))
            axis.plot(epochs[best], history["val_" + key][best], "o", color=colour)
            axis.set(xlabel=word("epoch"), ylabel=word(key))
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0].yaxis.set_major_formatter(PercentFormatter(1))
    axes[1].set_ylim(bottom=0)
    if chance is not None:
        axes[0].axhline(chance, color=GREY, linestyle=":", label=word("chance"))
    axes[0].plot([], [], "--", color=GREY, label=word("train"))
    axes[0].plot([], [], color=GREY, label=word("validation"))
    axes[0].plot([], [], "o", color=GREY, label=word("best epoch"))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", frameon=False)
    show(figure)


@_picture
def joined(histories: dict[str, dict]) -> None:
    """One training after the other on one axis, and a line where the next one begins."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.6))
    for axis, key in zip(axes, ("accuracy", "loss")):
        values = {part: np.concatenate([history[part + key] for history in histories.values()])
                  for part in ("", "val_")}
        epochs = np.arange(1, len(values[""]) + 1)
        axis.plot(epochs, values[""], "--", color=ORANGE, label=word("train"))
        axis.plot(epochs, values["val_"], color=BLUE, label=word("validation"))
        end = 0.5
        for number, (name, history) in enumerate(histories.items()):
            if number:
                axis.axvline(end, color=GREY, linestyle=":")
            place = (end + len(history["loss"]), -2, "right") if number else (end, 2, "left")
            axis.annotate(word(name), (place[0], 1.02), (place[1], 0), fontsize=9, ha=place[2],
                          textcoords="offset points", xycoords=("data", "axes fraction"))
            end += len(history["loss"])
        axis.set(xlabel=word("epoch"), ylabel=word(key), xlim=(0.5, end))
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0].yaxis.set_major_formatter(PercentFormatter(1))
    axes[1].set_ylim(bottom=0)
    axes[0].legend(frameon=False, loc="best")
    show(figure)


@_picture
def rates(schedules: dict[str, list[float]]) -> None:
    """The learning rate at every step."""
    figure, axis = plt.subplots(figsize=(6.5, 2.8))
    for colour, dash, (name, values) in zip(COLOURS, ("-", "--", ":", "-."), schedules.items()):
        axis.plot(values, dash, color=colour, label=word(name))
    axis.set(xlabel=word("step"), ylabel=word("learning rate"), ylim=0)
    axis.legend(frameon=False)
    show(figure)


@_picture
def intervals(scores: dict, chance: float | None = None, label: str = "accuracy") -> None:
    """Accuracy (or what `label` says) as dots with 95 % intervals; {name: evaluation.Score}."""
    figure, axis = plt.subplots(figsize=(8, min(0.9 + 0.38 * len(scores), TALLEST)))
    axis.hlines(range(len(scores)), *zip(*(score.interval for score in scores.values())), color=BLUE,
                linewidth=2)
    axis.plot([score.accuracy for score in scores.values()], range(len(scores)), "o", color=BLUE)
    for row, score in enumerate(scores.values()):
        if len(scores) <= MOST_COUNTED:
            axis.annotate(f"{score.accuracy:.1%}", (score.accuracy, row), (0, 6), fontsize=9,
                          textcoords="offset points", ha="center")
    _rows(axis, [word(name) for name in scores])
    axis.set_xlabel(word(label))
    low, high = axis.get_xlim()
    axis.xaxis.set_major_formatter(PercentFormatter(1, decimals=0 if high - low > 0.04 else 1))
    _mark_chance(axis, chance)
    show(figure)


@_picture
def amounts(accuracies: dict, chance: float | None = None, label: str = "accuracy") -> None:
    """Accuracy against images per class: {method: {images per class: [accuracy of each run]}}."""
    figure, axis = plt.subplots(figsize=(7, 3.8))
    draw_amounts(axis, accuracies, chance, label)
    show(figure)


def draw_amounts(axis, accuracies: dict, chance: float | None = None, label: str = "accuracy") -> None:
    """A dot per run, a line through the means."""
    ticks = sorted({number for runs in accuracies.values() for number in runs})
    for colour, marker, (name, runs) in zip(COLOURS, "os^Dvp", accuracies.items()):
        axis.plot(list(runs), [np.mean(one) for one in runs.values()], "-" + marker, color=colour,
                  label=word(name), markersize=4)
        for number, one in runs.items():
            axis.plot([number] * len(one), one, marker, color=colour, markersize=4, alpha=0.6,
                      markeredgecolor="white", markeredgewidth=0.4)
    if chance is not None:
        axis.axhline(chance, color=GREY, linestyle=":", label=word("chance"))
    axis.set_xscale("log")
    axis.set_xticks(ticks, ticks)
    axis.minorticks_off()
    axis.set(xlabel=word("images per class to learn from"), ylabel=word(label), ylim=(0, 1))
    axis.yaxis.set_major_formatter(PercentFormatter(1))
    axis.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))


@_picture
def decision(points: list[tuple], yours: tuple[float, float]) -> None:
    """How much data against how alike the tasks; each point says which method to take.

    Args:
        points: (images per class, similarity 0 to 1, method, accuracy of the frozen network).
        yours: images per class and similarity of the reader's own data, drawn as a star.
    """
    figure, axis = plt.subplots(figsize=(8, 4))
    looks = {"nearest_mean": (GREEN, "D", "nearest mean"), "frozen": (BLUE, "o", "frozen"),
             "fine_tuned": (ORANGE, "s", "fine-tuned")}
    for method, (colour, marker, name) in looks.items():
        chosen = np.array([point[:2] for point in points if point[2] == method]).reshape(-1, 2)
        axis.plot(*chosen.T, marker, color=colour, markersize=11, label=word(name))
    for number, similarity, _, accuracy in points:
        axis.annotate(f"{accuracy:.0%}", (number, similarity), (0, 9), textcoords="offset points",
                      ha="center", fontsize=9)
    axis.plot(*yours, "*", color=RED, markersize=17, label=word("your data"))
    ticks = sorted({point[0] for point in points})
    axis.set_xscale("log")
    axis.set_xticks(ticks, ticks)
    axis.minorticks_off()
    axis.set(xlabel=word("images per class to learn from"), ylim=(0, 1),
             ylabel=word("alike: nearest mean with five a class"))
    axis.yaxis.set_major_formatter(PercentFormatter(1))
    axis.margins(x=0.1)
    axis.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    show(figure)


@_picture
def confusion(matrix: np.ndarray, class_names: list[str]) -> None:
    """How many photographs of each class (row) were given which answer (column)."""
    side = min(2.2 + 0.42 * len(matrix), TALLEST)
    figure, axis = plt.subplots(figsize=(side + 0.6, side))
    draw_confusion(axis, matrix, class_names)
    show(figure)


def draw_confusion(axis, matrix: np.ndarray, class_names: list[str]) -> None:
    """Numbers in each field, coloured by the share of the row; colours alone where there is no room."""
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
    axis.grid(False)
    for row, column in zip(*np.nonzero(matrix)) if len(matrix) <= MOST_COUNTED else ():
        axis.text(column, row, matrix[row, column], ha="center", va="center", fontsize=9,
                  clip_on=True, color="white" if share[row, column] > 0.5 else "black")
    if len(matrix) <= MOST_NAMED:
        axis.set_xticks(range(len(matrix)), class_names, rotation=45, ha="right")
        axis.set_yticks(range(len(matrix)), class_names)
    axis.set(xlabel=word("answer"), ylabel=word("truth"))


@_picture
def reliability(calibrations: dict) -> None:
    """Accuracy against confidence, bin by bin; on the diagonal a model is as right as it is sure.

    Args:
        calibrations: {name: evaluation.Calibration}; bins with fewer than 5 photographs are left out.
    """
    figure, axis = plt.subplots(figsize=(5.2, 4.4))
    axis.plot([0, 1], [0, 1], color=GREY, linestyle=":")
    for colour, marker, (name, found) in zip(COLOURS, "os^", calibrations.items()):
        used = found.counts >= 5
        axis.plot(found.confidence[used], found.accuracy[used], "-" + marker, color=colour,
                  label=f"{word(name)} ({found.error:.1%})")
    axis.set(xlabel=word("confidence"), ylabel=word("accuracy"), xlim=(0, 1.02), ylim=(0, 1.02))
    axis.xaxis.set_major_formatter(PercentFormatter(1))
    axis.yaxis.set_major_formatter(PercentFormatter(1))
    axis.legend(frameon=False, loc="lower right")
    show(figure)


@_picture
def heat(images, maps: np.ndarray, titles: list[str]) -> None:
    """Each of up to 9 images, and below it the same under its map (0 to 1; bright is where it looked)."""
    images = images[:9]
    figure, axes = plt.subplots(2, len(images), figsize=(9, 18.6 / len(images) + 0.3), squeeze=False)
    for column, (image, seen) in enumerate(zip(images, maps)):
        grey = np.asarray(image).astype("float32").mean(axis=-1)
        axes[0, column].imshow(np.asarray(image).astype("uint8"))
        axes[0, column].set_title(titles[column], fontsize=9)
        axes[1, column].imshow(grey, cmap="gray", vmin=0, vmax=255)
        axes[1, column].imshow(seen, cmap="viridis", alpha=0.6, vmin=0, vmax=1,
                               interpolation="bilinear", extent=(0, *grey.shape[::-1], 0))
    for axis in axes.flat:
        axis.axis("off")
    show(figure, photographic=True)


@_picture
def feature_maps(image: np.ndarray, maps: dict[str, np.ndarray], shown: int = 5) -> None:
    """What some channels of some layers answer to one image; the most varied channels are shown.

    Args:
        image: (height, width, 3) in 0–255.
        maps: layer name -> (height, width, channels).
        shown: channels per layer.
    """
    figure, axes = plt.subplots(len(maps), shown + 1, figsize=(8, 1.4 * len(maps)), squeeze=False)
    for row, (name, values) in zip(axes, maps.items()):
        for axis in row:
            axis.axis("off")
        row[0].imshow(image.astype("uint8"))
        row[0].set_title(name, fontsize=8)
        strongest = np.argsort(values.std(axis=(0, 1)))[::-1][:shown]
        for axis, channel in zip(row[1:], strongest):
            axis.imshow(values[..., channel], cmap="viridis")
            axis.set_title(f"{channel}", fontsize=8)
    show(figure, photographic=True)
