"""Write data/weights from ../shared/weights, checked against the models Keras builds.

    python scripts/make_weights.py [--source ../shared/weights]

Only a developer needs this: a clone of the repository has the files. VGG16 stays float16 (its
pooled features keep a cosine similarity of 0.9999996 with the full weights), MobileNetV2 float32
(its BatchNorm statistics span too many magnitudes for float16).
"""

import argparse
import hashlib
import os
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "notebooks"))
from transfer import ROOT, models  # noqa: E402


def write(source: Path, target: Path, dtype: str) -> str:
    """Copy the arrays, in the order and with the names of the source; returns the sha256."""
    with np.load(source, allow_pickle=False) as arrays:
        content = {key: arrays[key].astype(dtype) for key in arrays.files}
    beside = target.with_suffix(".partial")
    with open(beside, "wb") as file:
        np.savez(file, **content)
    os.replace(beside, target)
    return hashlib.sha256(target.read_bytes()).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path, default=ROOT.parent / "shared" / "weights")
    arguments = parser.parse_args()
    import keras

    models.WEIGHTS.mkdir(parents=True, exist_ok=True)
    for name, dtype, build in (("vgg16", "float16", keras.applications.VGG16),
                               ("mobilenet_v2", "float32", keras.applications.MobileNetV2)):
        target = models.WEIGHTS / models.FILES[name]
        digest = write(arguments.source / models.FILES[name], target, dtype)
        backbone = build(include_top=False, weights=None, input_shape=(224, 224, 3))
        models.load_imagenet_weights(backbone)
        print(f"{target.name}  {target.stat().st_size:,} bytes  {backbone.count_params():,} "
              f"parameters  sha256 {digest}")


if __name__ == "__main__":
    main()
