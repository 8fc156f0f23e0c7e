"""What a reader uploads: an archive of class folders, or single photographs (lesson 08).

Whatever the archive holds, nothing is written outside TRANSFER_HOME/uploads, and an earlier upload of
the same name stays until the new one is whole.
"""

import contextlib
import errno
import lzma
import os
import re
import shutil
import stat
import struct
import sys
import tempfile
import zipfile
import zlib
from collections import Counter
from pathlib import Path

from tqdm import tqdm

from . import home, write_whole
from .files import alone, named
from .folders import EXTENSIONS, composed, descend, is_hidden

# An archive is refused that grows more than this. Photographs hardly get smaller in a .zip, drawings as
# BMP or PNG up to some fifty times; a thousand times is what deflate does with nothing but zeros.
GROWS_AT_MOST = 300  # times
ALWAYS_ALLOWED = 100e6  # bytes unpacked: so little does no harm, however it was packed
MEMBERS = 300_000
LONGEST = 255  # bytes of one name, as file systems have it
ROOM_LEFT = 100e6  # bytes of the disk that stay free
ARCHIVES = (".zip", ".rar", ".7z", ".tar", ".gz", ".tgz")
SMALL, LARGE = "áàâãäåæçéèêëíìîïñóòôõöøúùûüýß", "ÁÀÂÃÄÅÆÇÉÈÊËÍÌÎÏÑÓÒÔÕÖØÚÙÛÜÝ"

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
    with _alone():
        for one in value:
            content = bytes(one["content"])
            path = _free(_safe_name(one["name"]), content, paths)
            write_whole(path, content)
            paths.append(path)
    return [str(path) for path in paths]


def _alone():
    return alone(home("uploads", ".lock"), "puts something into uploads")


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
    with _alone(), named(target):
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
        announced = _announced(archive)
        with zipfile.ZipFile(archive) as content:
            if announced != 65_535 and len(content.infolist()) % 65_536 != announced % 65_536:
                raise zipfile.BadZipFile("its list of contents is not whole")
            members = _members(content)
            _check_size(archive, list(members.values()), folder)
            for name, member in tqdm(members.items(), f"unpacking {archive.name}", unit=" files", delay=1,
                                     file=sys.stdout):
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
    except FileExistsError as error:  # a disk that does not tell "A" from "a", or "ã" from a composed one
        raise ValueError(f"holds two names that are one on this disk ({Path(error.filename).name!r}): rename "
                         "one and pack anew.") from error
    except OSError as error:
        if error.errno in (None, errno.EINVAL):  # a broken bzip2 stream, a position before the file's start
            raise ValueError(f"is damaged ({error}): pack and upload it again.") from error
        with named(folder):
            raise OSError(error.errno, f"{archive} cannot be unpacked ({error.strerror})") from error


class _Refused(ValueError):
    """The archive is whole, but is not unpacked."""


def _announced(archive: Path) -> int:
    """How many members the last record says there are, before any is read; zipfile does not compare."""
    with open(archive, "rb") as file:
        file.seek(max(0, os.path.getsize(archive) - 98 - 65_535))
        end = file.read()
    at = end.rindex(b"PK\5\6")
    number, = struct.unpack_from("<H", end, at + 10)
    if number == 65_535 and end[max(0, at - 76):at].startswith(b"PK\6\6"):  # so many that it is said before
        number, = struct.unpack_from("<Q", end, at - 44)
    if number > MEMBERS:
        raise _Refused(f"has {number:,} files, more than {MEMBERS:,}: it is not unpacked.")
    return number


def _members(content: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Where each file goes, below the folder; without folders and what is passed over."""
    found = {}
    for name, member in zip(_names(content.infolist()), content.infolist()):
        parts = [part for part in name.split("/") if part not in ("", ".")] or [""]
        if name.startswith("/") or ".." in parts or re.match("[A-Za-z]:", name):
            raise _Refused(f"wants to write outside its folder ({name!r}): nothing is unpacked. Pack anew.")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise _Refused(f"holds a link ({name!r}): nothing is unpacked. Pack the photographs themselves.")
        if max(len(part.encode("utf-8", "surrogateescape")) for part in parts) > LONGEST:
            raise _Refused(f"holds a name of more than {LONGEST} bytes ({name!r}): rename it and pack anew.")
        *above, last = parts
        if name.endswith("/") or any(map(is_hidden, above)) or last.startswith(".") or not last:
            continue
        if member.flag_bits & 1:
            raise _Refused("is encrypted: pack it anew without a password.")
        if found.setdefault("/".join(parts), member) is not member:
            raise _Refused(f"holds two files of the name {name!r}: pack it anew.")
    if both := found.keys() & {str(above) for name in found for above in Path(name).parents}:
        raise _Refused(f"holds a file and a folder of the name {min(both)!r}: pack it anew.")
    _check_kinds(Counter(Path(name).suffix.lower() for name in found))
    return found


def _check_kinds(kinds: Counter) -> None:
    """Photographs must be there; archives inside the archive are said, as they are not looked into."""
    packed = sum(kinds[kind] for kind in ARCHIVES)
    if kinds.keys() & set(EXTENSIONS):
        if packed:
            print(f"{packed} of the files inside are archives themselves, which are not unpacked.")
        return
    if packed:
        raise _Refused(f"holds no photographs but {packed} other archives: unpack those, and pack the "
                       "folders of photographs as one .zip.")
    there = ", ".join(f"{number:,} {kind or 'without ending'}" for kind, number in kinds.most_common(5))
    raise _Refused(f"holds no photographs ({', '.join(EXTENSIONS)}) but {there or 'nothing'}: nothing is "
                   "unpacked.")


def _names(members: list[zipfile.ZipInfo]) -> list[str]:
    """The members' names with "/", composed.

    Those that are not marked as UTF-8, and which zipfile takes for cp437, are UTF-8 all the same (a Mac's),
    or of a Windows of Western Europe or Brazil: cp850 (the Explorer's) or cp1252, whichever makes letters of
    more of them.
    """
    raw = [_undecoded(one) for one in members]
    old = b" ".join(name for name in raw if name and not _is_utf8(name))
    pattern = f"[{SMALL}]|(?<![a-z{SMALL}])[{LARGE}]"
    page = max("cp850", "cp1252", key=lambda one: len(re.findall(pattern, old.decode(one, "replace"))))
    names = (one.filename if name is None else name.decode("utf-8" if _is_utf8(name) else page, "replace")
             for one, name in zip(members, raw))
    return [composed(name.replace("\\", "/")) for name in names]


def _undecoded(member: zipfile.ZipInfo) -> bytes | None:
    """The bytes of its name; None where it says how they are meant, by its mark or in a field of its own."""
    with contextlib.suppress(UnicodeEncodeError):
        return None if member.flag_bits & 0x800 else member.filename.encode("cp437")


def _is_utf8(name: bytes) -> bool:
    with contextlib.suppress(UnicodeDecodeError):
        return name.decode("utf-8") is not None
    return False


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
