"""Ask a model that scripts/train.py or lesson 8 saved: classes and probabilities of photographs.

    python scripts/predict.py build/models/mini-mobilenet_v2-frozen.keras PHOTO…

For a .tflite file, on a computer without TensorFlow, there is scripts/predict_litert.py.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "notebooks"))
from transfer import quiet  # noqa: E402

with quiet():
    import keras
    import tensorflow  # noqa: F401
from transfer import pipeline  # noqa: E402


def load(path: Path) -> tuple[keras.Model, list[str]]:
    """A saved model, and its classes from the .txt beside it."""
    if path.suffix != ".keras":
        sys.exit(f"error: {path} is no .keras file" + (
            "; ask it with scripts/predict_litert.py" if path.suffix == ".tflite" else ""))
    for needed in (path, path.with_suffix(".txt")):
        if not needed.exists():
            sys.exit(f"error: {needed} is missing; scripts/train.py writes model and classes side by side")
    try:
        model = keras.models.load_model(path)
    except Exception as error:  # zipfile, h5py and Keras each raise their own
        sys.exit(f"error: {path} cannot be read as a model ({error}); train it again")
    return model, path.with_suffix(".txt").read_text(encoding="utf-8").splitlines()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a .keras file")
    parser.add_argument("photographs", nargs="+", metavar="PHOTO")
    parser.add_argument("--top", type=int, default=3, help="how many classes to show (default: 3)")
    given = parser.parse_args()
    model, class_names = load(given.model)
    width, failed = max(len(Path(name).name) for name in given.photographs), 0
    for photograph in given.photographs:
        try:
            pixels = pipeline.decode(photograph, model.input_shape[1:3])
        except ValueError as error:  # missing or damaged; the others are still answered
            print(error, file=sys.stderr)
            failed += 1
            continue
        probabilities = model.predict(pixels[None].astype("float32"), verbose=0)[0]
        best = probabilities.argsort()[::-1][:max(1, given.top)]
        print(f"{Path(photograph).name:{width}}  "
              + "  ".join(f"{class_names[i]:12} {probabilities[i]:6.1%}" for i in best))
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
