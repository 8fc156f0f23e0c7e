"""Ask a model that scripts/train.py or lesson 8 saved: classes and probabilities of photographs.

    python scripts/predict.py build/models/mini-mobilenet_v2-frozen.keras PHOTO…

Open only models that you trust: a model is a program. What is not made of the parts that this tutorial's
models are made of is refused. For a .tflite file, on a computer without TensorFlow, there is
scripts/predict_litert.py.
"""

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "notebooks"))
from transfer import _tensorflow  # noqa: E402

_tensorflow()
from transfer import export, images, loading  # noqa: E402
from transfer.files import printable  # noqa: E402


def pixels_of(photograph: str, size: tuple[int, int], white: int):
    """(height, width, 3) of a file; a folder or a pipe, which would wait for ever, is a ValueError."""
    path = Path(photograph)
    if path.is_dir():
        raise ValueError(f"{photograph} is a folder; name the photographs in it, as {path}/*")
    if path.exists() and not path.is_file():
        raise ValueError(f"{photograph} is no file")
    return images.decode(photograph, size, white)


def count(text: str) -> int:
    """What --top means."""
    if not text.isdecimal() or not 1 <= int(text[:10]) <= 1000:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no whole number from 1 to 1000")
    return int(text)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a .keras file; only models that you trust")
    parser.add_argument("photographs", nargs="+", metavar="PHOTO")
    parser.add_argument("--top", type=count, default=3, help="how many classes to show (default: 3)")
    return parser.parse_args()


def answer(given) -> int:
    """Print what the model says of each photograph; 1 where one could not be read."""
    model, class_names = loading.load(given.model)
    white = int(export.inside(given.model).get("white", 0))
    width, failed = max(len(printable(Path(name).name)) for name in given.photographs), 0
    for photograph in given.photographs:
        try:
            pixels = pixels_of(photograph, model.input_shape[1:3], white)
        except (ValueError, OSError) as error:  # missing or damaged; the others are still answered
            print(printable(str(error)), file=sys.stderr)
            failed = 1
            continue
        probabilities = model.predict(pixels[None].astype("float32"), verbose=0)[0]
        best = probabilities.argsort()[::-1][:given.top]
        shown = "  ".join(f"{printable(class_names[i]):12} {probabilities[i]:6.1%}" for i in best)
        print(f"{printable(Path(photograph).name):{width}}  {shown}", flush=True)
    return failed


def main() -> None:
    if sys.stdout:  # it may be closed; a name that the terminal cannot show stops nothing
        sys.stdout.reconfigure(errors="backslashreplace")
    given = arguments()
    try:
        sys.exit(answer(given))
    except BrokenPipeError:  # as of `| head`: what Python writes at its end has to go somewhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit("\ninterrupted")
    except (ValueError, OSError, MemoryError) as error:
        sys.exit(f"error: {printable(str(error)) or 'not enough memory for this model'}")


if __name__ == "__main__":
    main()
