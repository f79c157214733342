"""One input of a job, row by row, in one pass: files of lines, tables, packed or not, and what comes through a pipe.

    stored bytes ──> unpacked ──> text in its encoding ──> rows
    counted, hashed   .gz .zst ├─────────────────────────> .jsonl .ndjson .json .txt (lines), .csv .tsv (tables)
                └────────────────────────────────────────> .parquet (tables)
Memory holds a buffer and the row that is read, however long the input. Reading waits where a pipe has nothing yet.
Knows nothing of what rows mean.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from analyze.errors import InputError, UsageError
from analyze.files import input_errors, text_encoding
from analyze.runs.inputs.lines import array_rows, line_rows, lists, text_rows
from analyze.runs.inputs.row import Bad, Row
from analyze.runs.inputs.stored import PARQUET, Opened
from analyze.runs.inputs.tables import csv_rows, parquet_rows

__all__ = ["FORMATS", "STDIN", "Bad", "Input", "Row"]

STDIN = "-"
FORMATS = ("jsonl", "ndjson", "json", "csv", "tsv", "parquet", "txt")
PACKINGS = (".gz", ".zst")


class Input:
    """One input. `-` is standard input, JSON lines unless `format` says otherwise; so are pipes without an ending.

    Raises InputError for what is missing, a folder, unreadable, or of a kind not known here.
    """

    def __init__(self, path: str | Path, *, format: str | None = None, list_key: str | None = None) -> None:
        """`list_key`: where rows are listed in a `.json` that is one object."""
        self._path = None if str(path) == STDIN else Path(path)
        self.name = "standard input" if self._path is None else str(path)
        self.can_be_read_again = self._path is not None and _is_file(self._path, self.name)
        self.format = format.lower() if format else self._format_by_ending()
        if self.format not in FORMATS:
            raise UsageError(f"{self.format!r} is no format of an input", cure=f"one of {', '.join(FORMATS)}")
        self._list_key = list_key
        self._opened: Opened | None = None
        self._sha256: str | None = None

    @property
    def fraction_read(self) -> float | None:
        """The share of the stored bytes that the rows given out so far took; None where there is no telling."""
        if self._opened is None:
            return 0.0 if self.can_be_read_again else None
        return self._opened.fraction_read()

    @property
    def sha256(self) -> str | None:
        """The SHA-256 (hex) of the stored bytes, once they were read to the end."""
        return self._sha256

    def rows(self) -> Iterator[Row]:
        """Yield every row with its number. Raises InputError where the input cannot be read, or holds no row."""
        if self._opened and not self.can_be_read_again:
            raise InputError("can be read only once", path=self.name, cure="save it as a file")
        self._sha256 = None
        with input_errors(self.name), self._stored_bytes() as file:
            size = os.fstat(file.fileno()).st_size if self.can_be_read_again else None
            self._opened = opened = Opened(file, size, self.name)
            rows = self._rows(opened)
            first = next(rows, None)
            if first is None:
                raise InputError("holds no rows", path=self.name, cure="see that the right file is given")
            yield first
            yield from rows
            self._sha256 = opened.stored.hash.hexdigest()

    def _rows(self, opened: Opened) -> Iterator[Row]:
        if opened.magic.startswith(PARQUET):
            return self._parquet(opened)
        if self.format == "parquet":
            raise InputError("is no Parquet file", path=self.name, cure="give it the ending of what it is")
        text = opened.text
        encoding = text_encoding(text, self.name)
        if self.format in ("csv", "tsv"):
            return csv_rows(text, encoding, self.name, delimiters=",;\t" if self.format == "csv" else "\t")
        if self.format == "txt":
            return text_rows(text, encoding)
        if self.format == "json" and text.peek().lstrip(b" \t\r\n\0").startswith(b"["):
            return array_rows(text, encoding, self.name)
        if self.format == "json" and self._list_key is not None and lists(text.peek(), self._list_key):
            return array_rows(text, encoding, self.name, self._list_key)
        return line_rows(text, encoding)

    def _parquet(self, opened: Opened) -> Iterator[Row]:
        if not self.can_be_read_again:
            raise InputError("is Parquet, which cannot be read from a pipe", path=self.name, cure="save it as a file")
        return parquet_rows(self.name, opened)

    def _format_by_ending(self) -> str:
        if self._path is None:
            return "jsonl"
        endings = [ending for ending in self._path.suffixes if ending.lower() not in PACKINGS]
        ending = endings[-1].lower() if endings else ""
        if ending[1:] in FORMATS:
            return ending[1:]
        if not self.can_be_read_again:
            return "jsonl"
        known = ", ".join(f".{name}" for name in FORMATS)
        problem = f"has the unknown ending {ending!r}" if ending else "has no ending that says what it holds"
        raise InputError(problem, path=self.name, cure=f"rename it: {known}; the text ones also with .gz or .zst")

    @contextmanager
    def _stored_bytes(self) -> Iterator[BinaryIO]:
        if self._path is not None:
            with open(self._path, "rb") as file:
                yield file
        elif sys.stdin is None:
            raise InputError("is closed", path=self.name, cure="give a file")
        else:
            yield sys.stdin.buffer


def _is_file(path: Path, name: str) -> bool:
    """Whether `path` is a regular file: pipes are not. Raises InputError where it cannot be read at all."""
    with input_errors(name):
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError
        if not os.access(path, os.R_OK):
            raise PermissionError
    return stat.S_ISREG(mode)
