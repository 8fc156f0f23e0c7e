"""Files that are whole or not there, and that tell when they have been damaged.

A computer is switched off, a disk fills up, two notebooks run at once: a reader never notices, because
a file appears under its name only when it is complete. It knows nothing of what the files hold.
"""

import contextlib
import errno
import hashlib
import os
import shutil
import tempfile
from pathlib import Path

PATIENCE = 3  # seconds to wait for another program without a word
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
# What file systems without locks answer: network drives, clouds mounted as folders.
NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EIO, errno.EINVAL)


@contextlib.contextmanager
def named(path: str | Path):
    """The system's error with the file's name and what to do: "No space left on device" says neither."""
    try:
        yield
    except OSError as error:
        if error.errno is None or "TRANSFER_HOME" in str(error):  # a sentence already
            raise
        raise OSError(error.errno, f"{error.strerror}. {_remedy(error.errno, Path(path))}",
                      str(path)) from error


def _remedy(number: int, path: Path) -> str:
    from . import base  # here, as it needs this module

    inside = path.absolute().is_relative_to(base())
    what = f"set TRANSFER_HOME (now {base()}) to" if inside else "choose"
    if number not in DISK_FULL:
        return f"{what[0].upper()}{what[1:]} a folder that can be written, on a disk of this computer"
    room = "" if inside else f" (all in TRANSFER_HOME, {base()}, can be made again)"
    return f"Make room{room}, or {what} a folder with more of it"


def write_whole(path: Path, content: str | bytes) -> None:
    """Write beside, then rename: an interruption leaves the old file or the new one, never a part.

    The name beside is this call's own, so two that write the same file do not meet.

    Raises:
        OSError: the disk is full or the folder cannot be written; the message names the file.
    """
    content = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
    with new_whole(path) as beside:
        beside.write_bytes(content)


@contextlib.contextmanager
def new_whole(path: Path):
    """A path beside `path` for others to write to; it becomes `path` when all went well.

    The ending is kept, for libraries that choose the format by it.
    """
    path = Path(path)
    with named(path), tempfile.TemporaryDirectory(prefix=".partial-", dir=path.parent) as folder:
        beside = Path(folder, path.name)
        yield beside
        with open(beside, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(beside, path)


def write_sealed(path: Path, content: str | bytes) -> None:
    """`write_whole`, and its SHA-256 in `<name>.sha256` beside it, for `read_sealed`.

    Who may write at the same time as another holds a lock.
    """
    content = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
    seal = _seal(path)
    digest = hashlib.sha256(content).hexdigest()
    before = _digests(path)[-1:]
    # Between the two renames the old and the new content are both good, so a kill there loses nothing.
    write_whole(seal, "\n".join([*before, digest]) + "\n")
    write_whole(path, content)
    write_whole(seal, digest + "\n")


def read_sealed(path: Path) -> bytes | None:
    """What `write_sealed` wrote; None where there is nothing, or nothing that can be trusted.

    A file that does not match its seal is renamed to `<name>.damaged` and named, so that the caller
    makes it again.
    """
    path = Path(path)
    for _ in range(2):  # who reads without the lock may meet a writer between its renames, but not twice
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except IsADirectoryError:
            break
        if hashlib.sha256(content).hexdigest() in _digests(path):
            return content
    set_aside(path)
    return None


def set_aside(path: Path) -> None:
    """Rename a damaged file or folder to `<name>.damaged`, and say so."""
    aside = path.with_name(path.name + ".damaged")
    with named(path):
        shutil.rmtree(aside) if aside.is_dir() else aside.unlink(missing_ok=True)
        os.replace(path, aside)
    print(f"{path} is damaged (or of an earlier version) and is made again; "
          f"what was there is now {aside.name}")


@contextlib.contextmanager
def alone(lock: Path, at: str, wait: bool = True):
    """One program at a time; another waits, and after a few seconds says for what.

    Args:
        lock: the file to lock; a kill frees it. Where the file system has no locks, a file `<name>.held`
            beside it is the mark; who is killed on another computer leaves it behind.
        at: what it is at, such as "downloads animals10", to follow "another notebook or program".
        wait: whether to wait at all.

    Raises:
        OSError: neither can be written there.
        TimeoutError: another has it, and this one is not to wait.
    """
    with named(lock):
        held = _acquired(Path(lock), at, wait)
    try:
        yield
    finally:
        held.release()


def _acquired(lock: Path, at: str, wait: bool, soft: bool = False):
    from filelock import FileLock, SoftFileLock, Timeout  # here, for the set-up cell to say what is missing

    soft = soft or not _has_locks(lock.parent)
    file = lock.with_name(lock.name + ".held") if soft else lock
    held = SoftFileLock(file) if soft else FileLock(file)
    try:
        held.acquire(timeout=PATIENCE if wait else 0)
    except (OSError, NotImplementedError) as error:
        if not soft and getattr(error, "errno", errno.ENOSYS) in NO_LOCKS:
            return _acquired(lock, at, wait, soft=True)
        if not wait or not isinstance(error, Timeout):
            raise
        print(f"waiting for another notebook or program, which {at} ({file})"
              + f"; if none runs any more, delete {file}" * soft, flush=True)
        held.acquire()
    return held


def _has_locks(folder: Path) -> bool:
    """Whether files there can be locked, tried with one of its own: EACCES may also mean that one is held."""
    import fcntl

    with tempfile.TemporaryFile(dir=folder) as trial, contextlib.suppress(OSError):
        fcntl.flock(trial, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def digest(path: str | Path) -> str:
    """SHA-256 of what is in a file, hexadecimal; it is read in pieces."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def printable(text: str) -> str:
    """A name as it can be printed on one line: whatever else it holds is escaped."""
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


def _seal(path: Path) -> Path:
    return Path(path).with_name(Path(path).name + ".sha256")


def _digests(path: Path) -> list[str]:
    """What its seal says; nothing where there is none."""
    try:
        return _seal(path).read_bytes().decode("ascii", "replace").split()
    except OSError:
        return []
