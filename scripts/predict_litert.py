"""Classify photographs with an exported model, with LiteRT, Pillow and NumPy alone (lesson 05).

    pip install ai-edge-litert pillow numpy
    python scripts/predict_litert.py build/models/fine_tuning-mini-int8.tflite photograph.jpg …

Copy this file and the two model files (.tflite, .txt with one class a line) wherever you like.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image, ImageOps


def read(path: str, size: tuple[int, int]) -> np.ndarray:
    """(1, height, width, 3) float32 RGB in 0–255, as the lessons read it (`transfer.pipeline.decode`).

    Raises:
        ValueError: the file is damaged or is no image; the message names it.
    """
    try:
        with Image.open(path) as image:
            image = ImageOps.exif_transpose(image)
            if image.mode.startswith("I"):  # 16-bit grey: Pillow's own conversion would clip it
                image = Image.fromarray((np.asarray(image) // 257).astype("uint8"))
            if image.has_transparency_data:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            image = image.convert("RGB").resize(size[::-1], Image.Resampling.BILINEAR)
            return np.asarray(image, dtype="float32")[None]
    except Exception as error:  # Pillow's plug-ins raise many kinds
        raise ValueError(f"cannot read the image {path}: {error}") from error


class Classifier:
    """An exported model: what it was trained to see, and how to ask it."""

    def __init__(self, path: Path, threads: int = 2):
        if not path.exists():
            sys.exit(f"there is no model {path}; lesson 05 exports one.")
        self.interpreter = Interpreter(str(path), num_threads=threads)
        self.interpreter.allocate_tensors()
        self.input = self.interpreter.get_input_details()[0]
        self.output = self.interpreter.get_output_details()[0]["index"]
        self.class_names = path.with_suffix(".txt").read_text(encoding="utf-8").splitlines()

    def __call__(self, photograph: str) -> tuple[np.ndarray, float]:
        """Probabilities per class, and the milliseconds that the model took (without reading)."""
        pixels = read(photograph, tuple(self.input["shape"][1:3]))
        start = time.perf_counter()
        self.interpreter.set_tensor(self.input["index"], pixels)
        self.interpreter.invoke()
        return self.interpreter.get_tensor(self.output)[0], 1000 * (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="a .tflite file, its .txt beside it")
    parser.add_argument("photographs", nargs="*", help="none: their paths are read from standard input")
    parser.add_argument("--json", action="store_true", help="one line of JSON per photograph")
    arguments = parser.parse_args()
    classify, failed = Classifier(arguments.model), 0
    for photograph in arguments.photographs or sys.stdin.read().splitlines():
        try:
            probabilities, milliseconds = classify(photograph)
        except ValueError as error:  # missing or damaged; the others are still answered
            print(error, file=sys.stderr)
            failed += 1
            continue
        if arguments.json:
            print(json.dumps({"file": photograph, "milliseconds": round(milliseconds, 2),
                              "probabilities": probabilities.tolist()}))
        else:
            best = np.argsort(probabilities)[::-1][:3]
            print(f"{photograph}: " + ", ".join(
                f"{classify.class_names[i]} {probabilities[i]:.1%}" for i in best))
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
