"""What a reader uploads: an archive of class folders, or single photographs (lesson 08).

Whatever the archive holds, nothing is written outside TRANSFER_HOME/uploads, and an earlier upload of
the same name stays until the new one is whole.
"""

import errno
import lzma
import os
import re
import shutil
import stat
import struct
import tempfile
import unicodedata
import zipfile
import zlib
from pathlib import Path

from filelock import FileLock

from . import home, write_whole
from .folders import EXTENSIONS, descend, is_hidden

# An archive is refused that grows more than this. Photographs hardly get smaller in a .zip, drawings as
# BMP or PNG up to some fifty times; a thousand times is what deflate does with nothing but zeros.
GROWS_AT_MOST = 300  # times
ALWAYS_ALLOWED = 100e6  # bytes unpacked: so little does no harm, however it was packed
MEMBERS = 300_000
ROOM_LEFT = 100e6  # bytes of the disk that stay free

DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, struct.error, ValueError, OverflowError)


def uploaded(value) -> list[str]:
    """What was given to an ipywidgets `FileUpload`, written to files; their paths.

    Two different files of one name become two files.

    Args:
        value: the widget's `value`, of ipywidgets 7 (Colab: a dictionary) or 8 (a tuple).
    """
    if isinstance(value, dict):
        value = [{"name": name, "content": one["content"]} for name, one in value.items()]
    paths = []
    with FileLock(home("uploads", ".lock")):
        for one in value:
            content = bytes(one["content"])
            path = _free(_safe_name(one["name"]), content, paths)
            write_whole(path, content)
            paths.append(path)
    return [str(path) for path in paths]


def _safe_name(name: str) -> str:
    """The name without folders and control characters, short enough for every file system."""
    name = re.split(r"[/\\]", name.encode("utf-8", "replace").decode())[-1]
    name = "".join(character if character.isprintable() else "_" for character in name)
    ending = Path(name).suffix[:20]
    name = name.removesuffix(ending).encode()[:150].decode(errors="ignore") + ending
    return name.lstrip(".") or "photograph"


def _free(name: str, content: bytes, taken: list[Path]) -> Path:
    """The first of name, name-2, name-3 … that is not taken, or that holds the same already."""
    number, path = 1, home("uploads", name)
    while path in taken or os.path.lexists(path) and not (path.is_file() and path.read_bytes() == content):
        number += 1
        path = home("uploads", f"{Path(name).stem}-{number}{Path(name).suffix}")
    return path


def unpack(archive: Path) -> Path:
    """Unpack a .zip of class folders into uploads/<its name>; the folder that holds the class folders.

    Raises:
        ValueError: it is no whole .zip of photographs, or one that would do harm.
        OSError: there is no such file, or no room.
    """
    archive = Path(archive).expanduser()
    name = _safe_name(archive.stem).rstrip(" .")
    if archive.stem.startswith(".") or not name:
        raise ValueError(f"{archive.name!r} gives no name for a folder: rename it to photos.zip or the like.")
    if not archive.is_file():
        raise FileNotFoundError(errno.ENOENT, "there is no such file", str(archive))
    target = home("uploads", name)
    if archive.resolve().is_relative_to(target.resolve()):
        raise ValueError(f"{archive} lies in the folder that it would be unpacked to: move it elsewhere.")
    with FileLock(home("uploads", ".lock")):
        _tidy(target.parent)
        with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=target.parent) as beside:
            new = Path(beside, "new")
            try:
                extract(archive, new)
            except ValueError as error:
                raise ValueError(f"{archive} {error}") from error
            _swap(new, target, Path(beside, "old"))
    return descend(target)


def _tidy(uploads: Path) -> None:
    """Remove what a killed unpacking left, and give back the folder that it was about to replace."""
    for old in uploads.glob(".unpacking-*/old/*"):
        if not os.path.lexists(uploads / old.name):
            os.rename(old, uploads / old.name)
    for left in uploads.glob(".unpacking-*"):
        shutil.rmtree(left, ignore_errors=True)


def _swap(new: Path, target: Path, old: Path) -> None:
    """`new` becomes `target`; what was there goes to the folder `old`, or stays if that fails."""
    old.mkdir()
    if os.path.lexists(target):
        os.rename(target, old / target.name)
    try:
        os.rename(new, target)
    except BaseException:
        if os.path.lexists(old / target.name):
            os.rename(old / target.name, target)
        raise


def extract(archive: Path, folder: Path) -> None:
    """Unpack a .zip into a new folder, after a look at all that it says of itself.

    Raises:
        ValueError: what is wrong with the archive and what to do; it follows the archive's name.
        OSError: no room on the disk, or the folder cannot be written.
    """
    try:
        with zipfile.ZipFile(archive) as content:
            members = _members(content)
            _check_size(archive, list(members.values()), folder)
            for name, member in members.items():
                _write(content, member, folder / name)
    except NotImplementedError as error:
        raise ValueError(f"is packed in a way that is not read here ({error}): pack it anew as an ordinary "
                         ".zip (method Deflate).") from error
    except _Refused:
        raise
    except (*DAMAGE, RuntimeError) as error:
        if not zipfile.is_zipfile(archive):
            raise ValueError("is damaged or no .zip: pack the folder as .zip and upload it again.") from error
        raise ValueError(f"is damaged ({str(error) or 'cut off'}): pack and upload it again.") from error
    except OSError as error:
        if error.errno in (None, errno.EINVAL):  # a broken bzip2 stream, a position before the file's start
            raise ValueError(f"is damaged ({error}): pack and upload it again.") from error
        raise OSError(error.errno, f"{archive} cannot be unpacked ({error.strerror})", str(folder)) from error


class _Refused(ValueError):
    """The archive is whole, but is not unpacked."""


def _members(content: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Where each file goes, below the folder; without folders and what is passed over."""
    found = {}
    if len(content.infolist()) % 65_536 != _announced(content) % 65_536:
        raise zipfile.BadZipFile("its list of contents is not whole")
    if len(content.infolist()) > MEMBERS:
        raise _Refused(f"has {len(content.infolist()):,} files, more than {MEMBERS:,}: it is not unpacked.")
    for member in content.infolist():
        name = _name(member)
        parts = [part for part in name.split("/") if part not in ("", ".")] or [""]
        if name.startswith("/") or ".." in parts or re.match("[A-Za-z]:", name):
            raise _Refused(f"wants to write outside its folder ({name!r}): nothing is unpacked. Pack anew.")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise _Refused(f"holds a link ({name!r}): nothing is unpacked. Pack the photographs themselves.")
        *above, last = parts
        if name.endswith("/") or any(map(is_hidden, above)) or last.startswith(".") or not last:
            continue
        if member.flag_bits & 1:
            raise _Refused("is encrypted: pack it anew without a password.")
        if found.setdefault("/".join(parts), member) is not member:
            raise _Refused(f"holds two files of the name {name!r}: pack it anew.")
    if not any(Path(name).suffix.lower() in EXTENSIONS for name in found):
        raise _Refused(f"holds no photographs ({', '.join(EXTENSIONS)}): nothing is unpacked.")
    return found


def _announced(content: zipfile.ZipFile) -> int:
    """How many members the archive's last record says there are; zipfile does not compare."""
    content.fp.seek(0, os.SEEK_END)
    content.fp.seek(max(0, content.fp.tell() - 22 - 65_535))
    end = content.fp.read()
    number = struct.unpack_from("<H", end, end.rindex(b"PK\5\6") + 10)[0]
    return len(content.infolist()) if number == 65_535 else number  # as many, or more: another record says


def _name(member: zipfile.ZipInfo) -> str:
    """The member's name with "/", composed; a Mac writes UTF-8 without saying so."""
    name = member.filename
    if not member.flag_bits & 0x800:
        try:
            name = name.encode("cp437").decode("utf-8")
        except UnicodeError:
            pass  # really the old code page
    return unicodedata.normalize("NFC", name.replace("\\", "/"))


def _check_size(archive: Path, members: list[zipfile.ZipInfo], folder: Path) -> None:
    unpacked = sum(member.file_size for member in members)
    packed = min(os.path.getsize(archive), sum(member.compress_size for member in members))
    if unpacked > max(ALWAYS_ALLOWED, GROWS_AT_MOST * packed):
        raise _Refused(f"would grow from {packed / 1e6:,.1f} to {unpacked / 1e6:,.0f} MB, more than "
                       f"{GROWS_AT_MOST} times: no photographs do, so it is not unpacked.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    room = shutil.disk_usage(folder.parent).free
    if unpacked + ROOM_LEFT > room:
        raise OSError(errno.ENOSPC, f"it needs {unpacked / 1e6:,.0f} MB and {ROOM_LEFT / 1e6:,.0f} to spare; "
                                    f"{room / 1e6:,.0f} MB are free")


def _write(content: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> None:
    """One file; never more than the archive announced, which is what there is room for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with content.open(member) as source, open(path, "xb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
        if target.tell() != member.file_size:  # zipfile stops where the announced size is reached
            raise zipfile.BadZipFile(f"{member.filename} ends too early")
