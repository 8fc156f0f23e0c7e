"""Files that are whole or not there, and that tell when they have been damaged.

A computer is switched off, a disk fills up, two notebooks run at once: a reader never notices, because
a file appears under its name only when it is complete. It knows nothing of what the files hold.
"""

import contextlib
import hashlib
import os
import shutil
import tempfile
from pathlib import Path

PATIENCE = 3  # seconds to wait for another program without a word


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
    try:
        with tempfile.TemporaryDirectory(prefix=".partial-", dir=path.parent) as folder:
            beside = Path(folder, path.name)
            yield beside
            with open(beside, "rb+") as file:
                os.fsync(file.fileno())
            os.replace(beside, path)
    except OSError as error:  # "No space left on device" alone does not say where
        raise (OSError(error.errno, error.strerror, str(path)) if error.errno else error) from error


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
    print(f"{path} is damaged (or of an earlier version) and is made again; "
          f"what was there is now {path.name}.damaged")
    aside = path.with_name(path.name + ".damaged")
    shutil.rmtree(aside) if aside.is_dir() else aside.unlink(missing_ok=True)
    os.replace(path, aside)


@contextlib.contextmanager
def alone(lock: Path, at: str):
    """One program at a time; another waits, and after a few seconds says for what.

    Args:
        lock: the file to lock.
        at: what it is at, such as "downloads animals10", to follow "another notebook or program".

    Raises:
        OSError: the file system has no locks.
    """
    from filelock import FileLock, Timeout  # here, for the set-up cell to say what is not installed

    held = FileLock(lock)
    try:
        held.acquire(timeout=PATIENCE)
    except Timeout:
        print(f"waiting for another notebook or program, which {at} ({lock})", flush=True)
        held.acquire()
    except NotImplementedError as error:
        raise OSError(f"{lock} cannot be locked there: set TRANSFER_HOME to a folder on a disk of this "
                      "computer.") from error
    try:
        yield
    finally:
        held.release()


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
