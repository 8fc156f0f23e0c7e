"""Get a data set from its publisher once, and only take it for whole when it is (lesson 01).

Two notebooks may ask at the same time, and what an interruption left is continued.
"""

import errno
import http.client
import json
import os
import re
import shutil
import sys
import urllib.error
import urllib.request
from pathlib import Path

from tqdm import tqdm

from . import home, short, write_whole
from .files import DISK_FULL, alone, named
from .folders import classes
from .uploads import extract

# What a whole download looks like. Ranges, because publishers replace single files.
DOWNLOADS = {
    "animals10": {"classes": 10, "files": (26_000, 26_400), "bytes": (550e6, 700e6)},
    "cats_vs_dogs": {"classes": 2, "files": (24_900, 25_000), "bytes": (700e6, 900e6)},
}
MICROSOFT_ZIP = (
    "https://download.microsoft.com/download/3/E/1/3E1C3F21-ECDB-4869-8368-6DEBA77B919F/"
    "kagglecatsanddogs_5340.zip"  # linked from the download centre's page 54765
)
WAIT = 30  # seconds for the server's next bytes
CANNOT_WRITE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EFBIG, errno.EIO, errno.ENAMETOOLONG)

NO_NETWORK = (
    "no connection. Look whether there is a network (on Kaggle: switch Internet on in the notebook's "
    "settings); a firm's proxy goes into the variable HTTPS_PROXY, its certificate into REQUESTS_CA_BUNDLE "
    "and SSL_CERT_FILE; python.org's Python on macOS needs its `Install Certificates.command` once. Then "
    "run the cell again: it goes on where it stopped")


def animals10() -> Path:
    """The folder of the ten class folders of Animals-10, downloaded from Kaggle where it is not there."""
    for mounted in Path("/kaggle/input").glob("**/raw-img"):
        return mounted
    from . import kaggle

    return _download("animals10", "raw-img", kaggle.download)


def cats_vs_dogs() -> Path:
    """The folder of Microsoft's Cat and Dog, downloaded where it is not there."""
    for mounted in Path("/kaggle/input").glob("**/PetImages"):
        return mounted
    return _download("cats_vs_dogs", "PetImages",
                     lambda folder: fetch(MICROSOFT_ZIP, folder / "cats_vs_dogs.zip"))


def check_download(root: Path, name: str, remove: Path | None = None, sizes: bool = True) -> None:
    """Raise an error that says what is wrong unless this folder is a whole copy of the data set.

    Args:
        root: the folder of class folders.
        name: a key of `DOWNLOADS`.
        remove: what the message tells to delete; by default `root`.
        sizes: also add up the files' bytes, which takes a while on a network drive.

    Raises:
        ValueError: too few or too many classes, files or bytes.
    """
    expected, inside = DOWNLOADS[name], classes(root)
    found = {"classes": len(inside), "files": sum(map(len, inside.values()))}
    if sizes:
        found["bytes"] = sum(os.lstat(root / folder / file).st_size
                             for folder, files in inside.items() for file in files)
    for what, value in found.items():
        low, high = expected[what] if what != "classes" else (expected[what], expected[what])
        if not low <= value <= high:
            raise ValueError(f"{name} in {root} is not whole: {value:,} {what}, expected {low:,.0f} to "
                             f"{high:,.0f}. Delete {remove or root} and run the cell again.")


def _download(name: str, inner: str, get) -> Path:
    """Get it, unpack and check it beside, and only then give it its final name.

    Args:
        name: of the data set.
        inner: the folder in the archive that holds the class folders.
        get: puts into a folder, and returns, a .zip or a folder that is unpacked already.
    """
    final, beside = home("downloads", name), home("downloads", f"{name}.partial")
    with alone(home("locks", f"{name}.lock"), f"downloads {name}"), named(final):
        if final.is_dir():
            check_download(final, name, sizes=False)
            return final
        beside.mkdir(exist_ok=True)
        found = get(beside)
        if found.is_file():
            found = _unzipped(found, beside / "unpacked")
        check_download(found / inner, name, remove=beside)
        if not found.is_relative_to(beside):  # Kaggle's own copy, which is only read
            return found / inner
        os.replace(found / inner, final)
        shutil.rmtree(beside, ignore_errors=True)
    return final


def _unzipped(archive: Path, folder: Path) -> Path:
    print(f"unpacking {short(archive)}")
    shutil.rmtree(folder, ignore_errors=True)
    try:
        extract(archive, folder)
    except ValueError as error:
        archive.unlink()
        raise ValueError(f"{archive} was damaged and is deleted: run the cell again, which downloads it anew "
                         f"(it {error})") from error
    return folder


def fetch(url: str, target: Path) -> Path:
    """Download a file, going on where an earlier call was interrupted; `target`.

    The first bytes stand in `<name>.part`, and in `<name>.part.json` the mark by which the server tells
    whether the file is still the same one.

    Raises:
        OSError: no connection, no room, or the connection broke again without bringing anything.
    """
    part = target.with_name(target.name + ".part")
    while not target.exists():
        before = _size(part)
        try:
            _fetch_rest(url, part)
            os.replace(part, target)
        except (OSError, http.client.HTTPException) as error:
            if _size(part) <= before or getattr(error, "errno", None) in DISK_FULL:  # disk or quota full
                raise OSError(f"{target.name} could not be downloaded from {url} "
                              f"({getattr(error, 'reason', None) or error}): {_advice(error)}.") from error
            print(f"the connection broke after {_size(part) / 1e6:,.1f} MB; going on from there", flush=True)
    part.with_name(part.name + ".json").unlink(missing_ok=True)
    return target


def _advice(error: Exception) -> str:
    if getattr(error, "errno", None) in DISK_FULL:
        return "make room, or let TRANSFER_HOME name a folder on another disk"
    if getattr(error, "errno", None) in CANNOT_WRITE:
        return "that file cannot be written; let TRANSFER_HOME name a folder on a disk of this computer"
    if isinstance(error, urllib.error.HTTPError):
        return "the server refuses it; try again later"
    return NO_NETWORK


def _fetch_rest(url: str, part: Path) -> None:
    """Get what is missing of `part`; all of it if the server has another file by now."""
    note = part.with_name(part.name + ".json")
    mark, have = _mark(note), _size(part)
    request = urllib.request.Request(url)
    if mark and have:
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", mark)
    try:
        response = urllib.request.urlopen(request, timeout=WAIT)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not have:
            raise
        if error.headers.get("Content-Range", "") == f"bytes */{have}":
            return None  # nothing is missing
        part.unlink()  # there is no such part: what lies here is of another file
        return _fetch_rest(url, part)
    with response:
        if response.status == 206 and have and not _continues(response, mark, have):
            part.unlink()  # a part, but not the one that was asked for
            return _fetch_rest(url, part)
        if response.status != 206:
            have = 0
            part.unlink(missing_ok=True)  # first, so that bytes of an old file never get a new one's mark
            write_whole(note, json.dumps(_mark_of(response)))
        total = response.headers.get("Content-Length")
        total = have + int(total) if total else None
        _copy(response, part, have, total)
    if total is not None and _size(part) != total:
        raise ConnectionError(f"{_size(part):,} of {total:,} bytes came")


def _copy(response, part: Path, have: int, total: int | None) -> None:
    with open(part, "ab" if have else "wb") as file, tqdm(
            total=total, initial=have, unit="B", unit_scale=True, desc=part.name.removesuffix(".part"),
            file=sys.stdout) as bar:
        while piece := response.read(1 << 20):
            file.write(piece)
            bar.update(len(piece))


def _continues(response, mark: str, have: int) -> bool:
    """Whether this answer begins where `part` ends, and is of the same file."""
    begins = re.match(rf"bytes {have}-", response.headers.get("Content-Range", ""))
    return bool(begins) and _mark_of(response) in ("", mark)


def _mark_of(response) -> str:
    """What tells one version of the file from another; weak marks ("W/…") do not count."""
    tag = response.headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified", "")


def _mark(note: Path) -> str:
    try:
        return str(json.loads(note.read_text()))
    except (OSError, ValueError):
        return ""


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
