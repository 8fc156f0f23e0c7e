"""One image file as an array, with Pillow and NumPy (lessons 01, 02 and 08).

It knows nothing of data sets. Not noticed: rows that are missing at the end of a PNG, and damage that
libjpeg mends. Colour profiles are not looked at, as in the training of ImageNet's networks.
"""

import contextlib
import importlib
import io
import math
import os
import threading
import warnings

import numpy as np
from PIL import Image, PngImagePlugin

from .kinds import MOST, kind, reason

# Pillow would read more kinds of files, among them PostScript: for that it starts another program.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "MPO", "TIFF", "AVIF", "JPEG2000", "HEIF")
PNG = b"\x89PNG"
LARGE = 24e6  # pixels; what has more is scaled down while it is read
_one_large = threading.Lock()
_TURN = Image.Transpose
_UPRIGHT = {2: _TURN.FLIP_LEFT_RIGHT, 3: _TURN.ROTATE_180, 4: _TURN.FLIP_TOP_BOTTOM, 5: _TURN.TRANSPOSE,
            6: _TURN.ROTATE_270, 7: _TURN.TRANSVERSE, 8: _TURN.ROTATE_90}  # by EXIF's mark

Image.init()
Image.MAX_IMAGE_PIXELS = int(MOST / 2)  # Pillow refuses what has twice as many
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = 2**26  # ComfyUI and Photoshop write much
warnings.filterwarnings("ignore", module="PIL")  # odd metadata, by the hundred


def decode(path: str, size: tuple[int, int] | None = None, white: int = 0) -> np.ndarray:
    """One image file as (height, width, 3) uint8 RGB, whatever its mode.

    The camera's rotation mark (EXIF) is obeyed and a transparent background becomes white.

    Args:
        path: the file.
        size: (height, width) in pixels to stretch to. None keeps the file's own, or of a picture of
            more than 24 megapixels the half, the third …, so that little memory is enough.
        white: the value of 16-bit grey that is shown as white, such as 4095 for scans of 12 bits
            (`Dataset.white`); 0 takes the picture's own.

    Raises:
        ValueError: the file is damaged or is no image; the message names it and says what to do.
    """
    return look(path, size, white)[0]


def look(path: str, size: tuple[int, int] | None = None, white: int = 0) -> tuple[np.ndarray, dict]:
    """As `decode`, and of the file its width, height (upright), mode and white.

    That "white" is 0, or for 16-bit grey its own: the least of 255, 511 … 65535 that 99 % of the
    pixels do not exceed (a hot pixel or burnt-in text may).
    """
    try:
        if os.path.exists(path) and not os.path.isfile(path):  # a pipe would be waited for
            raise IsADirectoryError
        with open(path, "rb") as file:
            start = file.read(64)
            if kind(start) == "HEIC":
                register_heif()
            file.seek(0)
            try:  # of a file by its path, Pillow maps an uncompressed TIFF with the turned size
                return _opened(file, size, white)
            except Exception:
                if not start.startswith(PNG):
                    raise
            file.seek(0)
            return _opened(io.BytesIO(_bare(file.read())), size, white)
    except Exception as error:  # Pillow's plug-ins raise many kinds
        raise ValueError(f"cannot read the image {path}: {reason(path, error)}") from error


def _opened(file, size, white: int) -> tuple[np.ndarray, dict]:
    with Image.open(file, formats=[one for one in FORMATS if one in Image.OPEN]) as image:
        return _pixels(image, size, white)


def _bare(content: bytes) -> bytes:
    """A PNG without what is not needed to see it, such as text that is too long or a damaged note."""
    kept, place = [content[:8]], 8
    while place < len(content):
        end = place + 12 + int.from_bytes(content[place:place + 4])
        if content[place + 4:place + 8] in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"):
            kept.append(content[place:end])
        place = end
    return b"".join(kept)


def _pixels(image: Image.Image, size, white: int) -> tuple[np.ndarray, dict]:
    about, size_on_disk = {"mode": image.mode, "white": 0}, image.size
    factor = 2 ** math.ceil(math.log2(max(1, image.width * image.height / LARGE)) / 2)
    if factor > 1:  # a JPEG is decoded at half the size, a quarter …, quicker and in less memory
        image.draft(None, (image.width // factor, image.height // factor))
    with _one_large if image.width * image.height > LARGE else contextlib.nullcontext():
        image.load()
        mark = _orientation(image)  # of a PNG it is read with the pixels
        image = _reduced(image)
        if image.mode[0] in "IF":
            image, about["white"] = _grey(image, white)
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        image = _reduced(image if image.mode == "RGB" else image.convert("RGB"))
    about["width"], about["height"] = size_on_disk if mark < 5 else size_on_disk[::-1]
    image = image.transpose(_UPRIGHT[mark]) if mark in _UPRIGHT else image
    return np.asarray(image if size is None else image.resize(size[::-1], Image.Resampling.BILINEAR)), about


def _orientation(image: Image.Image) -> int:
    """EXIF's mark; 1, upright, where the metadata cannot be read: it says nothing of the pixels."""
    try:
        mark = int(image.getexif().get(274, 1))
        return mark if mark in _UPRIGHT else 1
    except Exception:  # Pillow reads a number there, or raises whatever comes of the bytes
        return 1


def _reduced(image: Image.Image) -> Image.Image:
    """Averages over squares, if it is large; a palette and 16-bit grey wait until they are RGB."""
    factor = math.ceil(math.sqrt(image.width * image.height / LARGE))
    waits = image.mode in ("1", "P", "PA") or image.mode[0] == "I"
    return image if factor < 2 or waits else image.reduce(factor)


def _grey(image: Image.Image, white: int) -> tuple[Image.Image, int]:
    """Grey of more than 8 bits as 8, and its "white"; Pillow's own conversion would clip it."""
    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > 65_535:
        raise ValueError(f"its values go from {values.min():g} to {values.max():g}, as in a measurement: "
                         "save it as grey of 8 or 16 bits")
    some = values.ravel()[::max(1, values.size // 1_000_000)]
    found = max(255, 2 ** int(np.quantile(some, 0.99, method="higher")).bit_length() - 1)
    white = white or found
    grey = (np.minimum(values, white).astype("uint32") * 255 // white).astype("uint8")
    if getattr(image, "tag_v2", {}).get(262) == 0:  # a TIFF that says: 0 is white
        grey = 255 - grey
    if isinstance(clear := image.info.get("transparency"), int):
        grey[values == clear] = 255
    return Image.fromarray(grey), found


def register_heif() -> None:
    """Pillow reads HEIC with a package of its own, which may have been installed a moment ago."""
    with contextlib.suppress(ImportError):
        importlib.invalidate_caches()
        importlib.import_module("pillow_heif").register_heif_opener()
