"""Rows of numbers on disk, each found by its key and proven when it is read (for `features`).

A store is one SQLite file, `rows.sqlite`, in a folder of its own. A batch of rows is there as a whole or
not at all, whenever the program is killed. Each row has a checksum over its key and its bytes: a disk that
rots, a copy that broke off, a row under another's key are noticed. What is damaged counts as missing.
"""

import contextlib
import hashlib
import json
import os
import re
import sqlite3
import sys
import threading
import time
import weakref
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from . import files, home

FORMAT = "rows.sqlite: float16, CRC-32"
REMEDY = "set TRANSFER_HOME to a folder on a disk of this computer with more room"
SECONDS_TO_COMMIT, BYTES_TO_COMMIT = 1.0, 16e6  # what waits at most: a commit takes about 50 ms
BYTES_AT_ONCE, KEYS_AT_ONCE = 16e6, 500
SECONDS_BUSY = 60  # another program may write for so long
PAGE_BYTES = 16_384  # measured: rows of 200 kB are read as from a plain file, and of 1 kB 10 % is added
TABLE = ("CREATE TABLE IF NOT EXISTS rows (id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE,"
         " crc INTEGER NOT NULL, row BLOB NOT NULL)")
# What SQLite says when the place is at fault and not what is in the file.
PLACE = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN,
         sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_AUTH}


class Damaged(Exception):
    """What is in the file is no store, or no longer."""


class Store:
    """The rows of one recipe.

    Attributes:
        folder: where they lie, with `recipe.json` for people to read.
        shape: of one row.
        row_bytes: of one row.
    """

    def __init__(self, recipe: dict, shape: tuple[int, ...]):
        recipe = {**recipe, "format": FORMAT}
        digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:16]
        name = re.sub(r"[^\w.-]", "_", f"{recipe['network']}-{recipe['layer']}")[:80]
        self.folder = home("features", f"{name}-{digest}")
        self.file, text = self.folder / "rows.sqlite", json.dumps(recipe, indent=1).encode()
        readable = self.folder / "recipe.json"
        with files.named(self.folder):
            self.folder.mkdir(exist_ok=True)
            if not readable.is_file() or readable.read_bytes() != text:  # a folder may only be readable
                files.write_whole(readable, text)
        self.shape, self.row_bytes = shape, 2 * int(np.prod(shape))
        self._lock, self._connection, self._close = threading.RLock(), None, None
        self._waiting, self._committed = [], time.monotonic()

    def find(self, keys: list[str]) -> dict[str, int]:
        """Key -> number of the row, if all of these keys are there; {} as soon as one is not.

        Each row is read and proven; of a damaged one the key is left out.

        Args:
            keys: of 64 hexadecimal digits each.
        """
        if not self.file.exists():
            return {}
        try:
            keys_of = self._stored(keys)
            return self._whole(keys_of) if len(keys_of) == len(set(keys)) else {}
        except Damaged:
            return {}

    def mend(self, keys: list[str]) -> dict[str, int]:
        """As `find`, for all that are there; what is damaged is said and taken out.

        Only for who holds the lock of this store. It looks at what is there now.
        """
        self.close()
        if not self.file.exists():
            return {}
        try:
            keys_of = self._stored(keys)
            whole = self._whole(keys_of)
            if damaged := sorted(keys_of.keys() - whole.values()):
                print(f"{len(damaged):,} stored rows of {self.file} were damaged and are computed again")
                self._remove(damaged)
            return whole
        except Damaged:
            self._set_aside()
            return {}

    def read(self, keys_of: dict[int, str]) -> Iterator[tuple[int, np.ndarray]]:
        """Number and row, float16 and flat, of each of these numbers, in any order.

        Args:
            keys_of: the key of each number, as `find` gave them.

        Raises:
            OSError: a row is not what was stored under its key; the message says what to do.
        """
        got = 0
        with contextlib.suppress(Damaged):
            for number, row in self._proven(keys_of):
                yield number, np.frombuffer(row, "float16")
                got += 1
        if got < len(keys_of):
            raise OSError(f"{self.file} was damaged or replaced after it was looked through: run the cell "
                          "with `features.extract` again, which makes what is missing once more.")

    def append(self, keys: list[str], rows: np.ndarray) -> None:
        """Add rows, (n, …) float16; they count when `commit` has been called, here about once a second.

        Raises:
            ValueError: a number does not fit float16, or the rows have another shape.
            OSError: as `commit`.
        """
        if rows.shape != (len(keys), *self.shape) or rows.dtype != "float16":
            raise ValueError(f"{len(keys)} rows of shape {self.shape} in float16 expected, not {rows.shape} "
                             f"in {rows.dtype}: does the augmentation keep the size of the picture?")
        if not np.isfinite(rows).all():
            raise ValueError("features do not fit float16 (an activation over 65,504): is the "
                             "pre-processing the one these weights were trained with?")
        for key, row in zip(keys, map(np.ndarray.tobytes, rows)):
            self._waiting.append((bytes.fromhex(key), _checksum(key, row), row))
        if (time.monotonic() - self._committed > SECONDS_TO_COMMIT
                or len(self._waiting) * self.row_bytes > BYTES_TO_COMMIT):
            self.commit()

    def commit(self) -> None:
        """Bring to the disk what was appended, all or nothing.

        Raises:
            OSError: the disk is full or cannot be written; what was committed before stays.
        """
        rows, self._waiting = self._waiting, []
        if not rows:
            return
        try:
            self._insert(rows)
        except Damaged:  # since it was looked through; the rows that were in it will be missed and made
            self._set_aside()
            self._insert(rows)
        self._committed = time.monotonic()

    def close(self) -> None:
        """Let go of the file; the next call opens what is there then."""
        with self._lock:
            if self._connection is not None:
                self._close()
            self._connection = None

    def _insert(self, rows: list[tuple]) -> None:
        with self._opened() as connection, connection:
            connection.executemany("INSERT OR REPLACE INTO rows (key, crc, row) VALUES (?, ?, ?)", rows)

    def _remove(self, numbers: list[int]) -> None:
        """Take out these rows; the index is made anew, as it may be what misled to them."""
        with self._opened() as connection, connection:
            connection.executemany("DELETE FROM rows WHERE id = ?", [(number,) for number in numbers])
            connection.execute("REINDEX rows")

    def _stored(self, keys: list[str]) -> dict[int, str]:
        """Number -> key of those that the index knows."""
        found = {}
        for some in _chunks(list(dict.fromkeys(keys)), KEYS_AT_ONCE):
            rows = self._ask(f"SELECT id, key FROM rows WHERE key IN ({_marks(some)})",
                             [bytes.fromhex(key) for key in some])
            found |= {number: key.hex() for number, key in rows}
        return found

    def _whole(self, keys_of: dict[int, str]) -> dict[str, int]:
        proven = tqdm(self._proven(keys_of), "reading stored rows", len(keys_of), unit=" rows", delay=2,
                      file=sys.stdout)
        return {keys_of[number]: number for number, _ in proven}

    def _proven(self, keys_of: dict[int, str]) -> Iterator[tuple[int, bytes]]:
        """The rows of these numbers, in the order of the file; what does not match its key is left out."""
        at_once = int(min(KEYS_AT_ONCE, max(1, BYTES_AT_ONCE // max(1, self.row_bytes))))
        for some in _chunks(sorted(keys_of), at_once):
            for number, crc, row in self._ask(
                    f"SELECT id, crc, row FROM rows WHERE id IN ({_marks(some)})", some):
                if (isinstance(row, bytes) and len(row) == self.row_bytes
                        and crc == _checksum(keys_of[number], row)):
                    yield number, row

    def _ask(self, question: str, values: list) -> list[tuple]:
        with self._opened() as connection:
            return connection.execute(question, values).fetchall()

    @contextlib.contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        """The connection, for one thread at a time; SQLite's errors in words."""
        with self._lock:
            try:
                if self._connection is None:
                    self._connect()
                yield self._connection
            except sqlite3.Error as error:
                raise self._explained(error) from error

    def _connect(self) -> None:
        connection = sqlite3.connect(self.file, timeout=SECONDS_BUSY, check_same_thread=False,
                                     isolation_level="IMMEDIATE")
        self._connection, self._close = connection, weakref.finalize(self, connection.close)
        connection.text_factory = bytes  # there is no text, unless the file is damaged
        for setting in (f"page_size = {PAGE_BYTES}", "cell_size_check = ON",
                        "journal_mode = DELETE",  # others need memory shared between processes
                        "synchronous = FULL"):  # a committed batch survives a power cut
            connection.execute(f"PRAGMA {setting}")
        connection.execute(TABLE)

    def _explained(self, error: sqlite3.Error) -> Exception:
        code = getattr(error, "sqlite_errorcode", None)
        if code is None:  # a mistake in this file, not in the store
            return error
        if code == sqlite3.SQLITE_FULL:
            return OSError(f"{self.file}: {error}. What was stored before is kept. Free some room, or "
                           f"{REMEDY}, and run the cell again.")
        can_be_written = all(os.access(path, os.W_OK) for path in (self.folder, self.file))
        of_the_content = (code == sqlite3.SQLITE_IOERR_SHORT_READ or self.file.is_dir() or (
            code == sqlite3.SQLITE_READONLY and can_be_written))  # of a later version, it thinks
        if code & 0xff in PLACE and not of_the_content:
            return OSError(f"{self.file}: {error}. Folders on some network drives cannot hold a database, "
                           f"and others cannot be written: {REMEDY}, and run the cell again.")
        return Damaged(str(error))

    def _set_aside(self) -> None:
        self.close()
        # The journal belongs to the damaged file; a new one beside it would be spoilt by it.
        self.file.with_name("rows.sqlite-journal").unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            files.set_aside(self.file)


def _checksum(key: str, row: bytes) -> int:
    return zlib.crc32(row, zlib.crc32(bytes.fromhex(key)))


def _chunks(values: list, size: int) -> Iterator[list]:
    return (values[start:start + size] for start in range(0, len(values), size))


def _marks(values: list) -> str:
    return ",".join("?" * len(values))


def old_folders() -> tuple[int, float]:
    """How many folders of features an earlier version has left, which are not read, and their bytes."""
    old = [path.parent for path in Path(home("features", "any")).parent.glob("*/rows.f16")]
    return len(old), sum(file.stat().st_size for folder in old for file in folder.iterdir())
