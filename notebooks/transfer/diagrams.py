"""The drawings that explain: what is transferred, and VGG16 from end to end (lessons 01 and 03)."""

import keras
import matplotlib.pyplot as plt
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from . import language
from .plots import BLUE, ORANGE, STYLE, show

PORTUGUESE = {
    "ImageNet\n1.28 million photographs": "ImageNet\n1,28 milhão de fotografias",
    "head:\n1,000 classes": "cabeça:\n1.000 classes",
    "your photographs": "as suas fotografias",
    "new head:\n{} classes": "cabeça nova:\n{} classes",
    "edges,\ncolours": "bordas,\ncores", "textures": "texturas", "parts": "partes",
    "the same weights, copied": "os mesmos pesos, copiados",
    "trained elsewhere, for weeks": "treinada em outro lugar, por semanas",
    "trained here, in seconds": "treinada aqui, em segundos",
    "frozen": "congelado", "learns": "aprende", "image": "imagem", "pooled": "média",
    "convolutions": "convoluções", "parameters": "parâmetros", "block {}": "bloco {}",
    "head": "cabeça",
}


def word(text: str, *values) -> str:
    """A label in the reader's language."""
    return (PORTUGUESE[text] if language() == "pt-BR" else text).format(*values)


def _box(axis, x, y, width, height, text, colour, hatch=None):
    axis.add_patch(FancyBboxPatch((x, y), width, height, boxstyle="round,pad=0,rounding_size=0.08",
                                  facecolor=colour, edgecolor="#333333", hatch=hatch, alpha=0.85))
    axis.text(x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=9,
              bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.5})


def _arrow(axis, start, end, style="-|>"):
    axis.add_patch(FancyArrowPatch(start, end, arrowstyle=style, mutation_scale=12, color="#333333"))


def transfer_learning(classes: int) -> None:
    """Two rows: a network trained on ImageNet, and the same blocks, frozen, under a new head."""
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(10, 4))
        axis.set(xlim=(0, 10.2), ylim=(-0.3, 4.1))
        axis.axis("off")
        stages = [word("edges,\ncolours"), word("textures"), word("parts")]
        rows = [(2.7, "ImageNet\n1.28 million photographs", word("head:\n1,000 classes"), None),
                (0.5, "your photographs", word("new head:\n{} classes", classes), "//")]
        for y, source, head, hatch in rows:
            _box(axis, 0.1, y, 2.1, 0.9, word(source), "#EEEEEE")
            for number, stage in enumerate(stages):
                _box(axis, 2.8 + 1.55 * number, y, 1.25, 0.9, stage, "#9CC9E6", hatch)
                _arrow(axis, (2.5 + 1.55 * number - (0.3 if number == 0 else 0), y + 0.45),
                       (2.8 + 1.55 * number, y + 0.45))
            _box(axis, 7.75, y, 1.5, 0.9, head, "#DDDDDD" if hatch is None else ORANGE)
            _arrow(axis, (7.15, y + 0.45), (7.75, y + 0.45))
        for number in range(3):
            _arrow(axis, (3.42 + 1.55 * number, 2.65), (3.42 + 1.55 * number, 1.45))
        axis.text(4.98, 2.08, word("the same weights, copied"), ha="center", fontsize=10,
                  bbox={"facecolor": "white", "edgecolor": "none", "pad": 2})
        axis.text(4.98, 3.75, word("trained elsewhere, for weeks"), ha="center", fontsize=10)
        axis.text(4.98, 0.12, word("frozen"), ha="center", fontsize=10, color=BLUE)
        axis.text(8.5, 0.12, word("trained here, in seconds"), ha="center", fontsize=10,
                  color="#9A5B00")
        show(figure)


def vgg16(backbone: keras.Model, classes: int) -> None:
    """VGG16's five blocks with the shapes and counts of this very model, and a new head."""
    blocks = []
    for number in range(1, 6):
        layers = [layer for layer in backbone.layers if layer.name.startswith(f"block{number}_")]
        convolutions = [layer for layer in layers if isinstance(layer, keras.layers.Conv2D)]
        height, width, channels = layers[-1].output.shape[1:]
        blocks.append((number, len(convolutions), f"{height} × {width} × {channels}",
                       sum(layer.count_params() for layer in convolutions),
                       all(not layer.trainable for layer in convolutions)))
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(10.5, 3.7))
        axis.set(xlim=(0, 10.6), ylim=(0, 3.9))
        axis.axis("off")
        height, width = backbone.input_shape[1:3]
        axis.text(0.55, 2.2, f"{word('image')}\n{height} × {width} × 3", ha="center", va="center",
                  fontsize=9)
        for number, convolutions, shape, parameters, frozen in blocks:
            x, tall = 1.35 + 1.42 * (number - 1), 2.7 - 0.35 * number
            _box(axis, x, 2.2 - tall / 2, 1.05, tall, word("block {}", number),
                 "#9CC9E6" if frozen else ORANGE, "//" if frozen else None)
            _arrow(axis, (x - 0.32, 2.2), (x, 2.2))
            axis.text(x + 0.52, 0.78, f"{convolutions} {word('convolutions')}\n{parameters:,}\n{shape}",
                      ha="center", va="top", fontsize=8, linespacing=1.35)
        _arrow(axis, (8.08, 2.2), (8.5, 2.2))
        _box(axis, 8.5, 1.9, 0.75, 0.6, word("pooled"), "#EEEEEE")
        axis.text(8.87, 0.78, f"\n\n{backbone.output_shape[-1]}", ha="center", va="top", fontsize=8,
                  linespacing=1.35)
        _arrow(axis, (9.25, 2.2), (9.55, 2.2))
        _box(axis, 9.55, 1.75, 0.85, 0.9, word("head"), ORANGE)
        learned = (backbone.output_shape[-1] + 1) * classes
        axis.text(9.97, 0.78, f"\n{learned:,}\n{classes}", ha="center", va="top", fontsize=8,
                  linespacing=1.35)
        frozen = sum(block[-1] for block in blocks)  # the first ones, always
        if frozen:
            axis.text(1.35 + 0.71 * frozen - 0.18, 3.65, word("frozen"), ha="center", color=BLUE)
        axis.text((9.97 + (9.97 if frozen == 5 else 1.87 + 1.42 * frozen)) / 2, 3.65, word("learns"),
                  ha="center", color="#9A5B00")
        show(figure)
