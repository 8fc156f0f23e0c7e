"""What a file is that cannot be read as a photograph, and what to do about it (lessons 01 and 08)."""

import os

from PIL import Image, UnidentifiedImageError

MOST = 300e6  # pixels; a picture that has more is not read
RAW = (".cr2", ".cr3", ".nef", ".arw", ".dng", ".raf", ".orf", ".rw2")
BEGINNINGS = {  # of files, in small letters
    b"<!doctype html": "a web page", b"<html": "a web page", b"version https://git-lfs": "a pointer",
    b"%pdf": "a PDF", b"%!ps": "a PostScript file", b"<svg": "an SVG drawing",
    b"<?xml": "XML, such as an SVG drawing", b"8bps": "a Photoshop file", b"pk\x03\x04": "a zip file",
    b"rar!": "a rar archive", b"\x1ae\xdf\xa3": "a film",
    b"7z\xbc\xaf": "a 7z archive", b"\x1f\x8b": "a gzip archive", b"\xff\x0a": "a JPEG XL picture",
    b"\0\0\0\x0cjxl ": "a JPEG XL picture"}
MAGIC = (b"\x89PNG", b"\xff\xd8\xff", b"RIFF", b"II*\0", b"MM\0*", b"GIF8", b"BM")  # of pictures
HEIC = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"}  # brands in its first bytes
REMEDIES = {
    "a pointer": "it is a pointer of Git LFS, not the photograph: `git lfs pull` gets it",
    "a web page": "it is a web page, saved in place of a photograph: get it again",
    "HEIC": "it is HEIC, the format of iPhones: `pip install pillow-heif` and run this again, or export it "
            "as JPEG (on the telephone: Settings, Camera, Formats, Most Compatible)"}


def reason(path: str, error: Exception) -> str:
    """Why a file cannot be read, and what to do where that is known; to follow its name."""
    if os.path.islink(path) and not os.path.exists(path):
        return "it is a link to nothing"
    if isinstance(error, Image.DecompressionBombError):
        return f"it has more than {MOST / 1e6:.0f} megapixels: scale it down"
    if isinstance(error, MemoryError):
        return "not enough memory (MemoryError)"
    if isinstance(error, OSError) and error.errno:
        return f"[Errno {error.errno}] {error.strerror}"
    if os.path.exists(path) and not os.path.isfile(path):
        return "it is no file but a folder, a pipe or a device"
    if os.path.exists(path) and not os.path.getsize(path):
        return "it is empty: get it again"
    if what := remedy(path):
        return what
    if not isinstance(error, UnidentifiedImageError):
        return str(error) or type(error).__name__
    if (start := _start(path)).startswith(MAGIC) or start[4:8] == b"ftyp":
        return "it is damaged or cut off: get it again"
    return "it is no picture, or of a kind that is not read here (JPEG and PNG are)"


def remedy(path: str) -> str:
    """What a file is that is no photograph of a kind read here, and what to do; "" if it may be one."""
    ending, what = os.path.splitext(path)[1].lower(), kind(_start(path))
    if what == "HEIC" and "HEIF" in Image.OPEN:
        return ""
    if not what and ending in RAW:
        what = f"a raw file of a camera ({ending})"
    return REMEDIES.get(what) or what and f"it is {what}: export it as JPEG or PNG"


def _start(path: str) -> bytes:
    """The first bytes of a file; none where it cannot be opened, which is told elsewhere."""
    try:
        with open(path, "rb") as file:
            return file.read(64)
    except OSError:
        return b""


def kind(start: bytes) -> str:
    """What a file is by its first 64 bytes, where Pillow by itself does not read it; or ""."""
    if start[4:8] == b"ftyp":
        brands = {start[place:place + 4] for place in (8, *range(16, len(start), 4))}
        if brands & {b"avif", b"avis"}:
            return ""
        return "HEIC" if brands & HEIC else "a raw file of a camera" if b"crx " in brands else "a film"
    begins = start.lstrip(b"\xef\xbb\xbf \r\n\t").lower()
    return next((name for first, name in BEGINNINGS.items() if begins.startswith(first)), "")
