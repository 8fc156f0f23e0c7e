"""The table of what `audit.examine` found out, kept from one look to the next (lesson 01).

It opens no photograph.
"""

import csv
import io
from pathlib import Path

import pandas as pd

from .files import read_sealed, write_sealed

COLUMNS = ["file", "bytes", "changed", "width", "height", "mode", "white", "hash", "sha256", "problem"]
NUMBERS = ["bytes", "changed", "width", "height", "white"]


def read(path: Path) -> dict[str, tuple]:
    """File -> its row, in the order of COLUMNS; what is damaged is said and left out."""
    content = read_sealed(path) or b""
    rows = csv.reader(io.StringIO(content.decode("utf-8", "surrogateescape"), newline=""))
    if next(rows, None) != COLUMNS:
        return {}
    return {row[0]: tuple(int(value) if name in NUMBERS else value for name, value in zip(COLUMNS, row))
            for row in rows}


def write(path: Path, known: dict[str, tuple]) -> None:
    """Keep the rows of photographs that were read. Why one was not may be another reason tomorrow."""
    write_sealed(path, as_csv(COLUMNS, [row for _, row in sorted(known.items()) if is_kept(row)]))


def is_kept(row: tuple | None) -> bool:
    """Whether there is such a row, of a photograph that could be read."""
    return row is not None and not row[-1].startswith("unreadable")


def as_frame(rows: list[tuple]) -> pd.DataFrame:
    """The rows as a table; text as plain objects, for names that are no UTF-8."""
    return pd.DataFrame(rows, columns=COLUMNS, dtype=object).astype(dict.fromkeys(NUMBERS, "int64"))


def as_csv(columns: list[str], rows) -> str:
    """A table as text. Everything is quoted, so a name may hold whatever a disk allows."""
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows([columns, *rows])
    return text.getvalue()
