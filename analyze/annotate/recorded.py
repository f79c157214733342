"""Which file a row's record was made of: the same as now? By size and time of change; by content where those differ.

    row ──> stat ──> as recorded? ── yes ──> what it was known as      (asked already)
                          └─ no ──> hashed: the same bytes? ─ yes ─┘
                                                            └─ no ──> what it is now (asked anew, with --update)
A row whose image could not be used is known as it was then, so that --retry-failed asks it again once the file is
good. Lines that an older script wrote tell nothing but the path, and count by it. Memory holds 32 bytes a record.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from analyze.files import sha256_of
from analyze.records import from_json
from analyze.runs.index import Index
from analyze.runs.journal import READ_BYTES

OLDER = "older"
"""What an image is known as whose line an older script wrote."""

NO_FILE = "none"
_FILE_BIT = 60


def stat_of(path: str) -> str:
    """Return what tells a file from another version of it, without reading it: size and time of change (ns)."""
    try:
        stat = os.stat(path)
    except (OSError, ValueError):
        return NO_FILE
    return f"{stat.st_size}-{stat.st_mtime_ns}"


def relative(path: str, root: str) -> str:
    """Return the name of an image: its path below the root, if it is there, however it was written."""
    if os.path.isabs(path):
        for top in _spellings(root):
            if os.path.normpath(path).startswith(top.rstrip(os.sep) + os.sep):
                return os.path.relpath(path, top)
        return os.path.normpath(path)
    return os.path.normpath(path)


@cache
def _spellings(root: str) -> tuple[str, str]:
    return os.path.abspath(root), os.path.realpath(root)


def name_in_older_line(path: str, root: str) -> str:
    """Return the name of an image by the path that an older script wrote: its root may have been somewhere else."""
    name = relative(path, root)
    parts = Path(name).parts
    if os.path.isabs(name):
        for first in range(1, len(parts)):
            tail = os.path.join(*parts[first:])
            if os.path.exists(os.path.join(root, tail)):
                return tail
    return name


class Recorded:
    """What records say of the files they were made of."""

    def __init__(self, files: Sequence[Path], root: str) -> None:
        """`files`: failures first, then the output: of several lines of a row the last holds."""
        self._files, self._root = files, root
        self._read()

    def _read(self) -> None:
        self._places, self._stats = Index(), Index()
        self._versions = _versions(self._files)
        for number, path in enumerate(self._files):
            for start, line in _lines(path):
                self._note(number, start, line)

    def _note(self, number: int, start: int, line: bytes) -> None:
        try:
            record = from_json(line)
            name = record["id"] if "id" in record else name_in_older_line(record["image_path"], self._root)
        except (ValueError, KeyError, TypeError):
            return  # whose line this is, the journal asks
        self._places[name] = number << _FILE_BIT | start
        self._stats[name] = _short(_plainly_known_as(record))

    def known_as(self, name: str, path: str) -> str:
        """Return what the image called `name`, now at `path`, is known as."""
        now = stat_of(path)
        recorded = self._stats.get(name)
        if recorded is None or recorded == _short(now) or (record := self._record(name)) is None:
            return now
        if "id" not in record:
            return OLDER
        image = record.get("image") or {}
        then = str(image.get("known_as") or NO_FILE)
        if now in (NO_FILE, _stat_in(image)) or _could_not_be_used(record):
            return then
        content = image.get("bytes_sha256")
        return then if content is not None and content == _hashed(path) else now

    def _record(self, name: str) -> dict[str, Any] | None:
        """Return a record; None where it was retired since its place was noted."""
        if self._versions != _versions(self._files):
            self._read()
        place = self._places.get(name)
        if place is None:
            return None
        with open(self._files[place >> _FILE_BIT], "rb") as file:
            file.seek(place & (1 << _FILE_BIT) - 1)
            record: dict[str, Any] = from_json(file.readline())
        return record


def _versions(files: Sequence[Path]) -> list[int | None]:
    """Return what changes when a file is rewritten, and not when it grows."""
    return [os.stat(path).st_ino if path.exists() else None for path in files]


def _plainly_known_as(record: dict[str, Any]) -> str:
    """Return what the file is known as, where that is its size and time; else something that no file has."""
    image = record.get("image") or {}
    known_as = image.get("known_as")
    return known_as if known_as is not None and known_as == _stat_in(image) else OLDER


def _stat_in(image: dict[str, Any]) -> str:
    return f"{image.get('bytes')}-{image.get('mtime_ns')}"


def _could_not_be_used(record: dict[str, Any]) -> bool:
    return record.get("failed") is not None and (record.get("image") or {}).get("bytes_sha256") is None


def _hashed(path: str) -> str | None:
    try:
        return sha256_of(path)
    except OSError:
        return None


def _short(text: str) -> int:
    return int(sha256(text.encode()).hexdigest()[:15], 16)


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        file = open(path, "rb", READ_BYTES)  # noqa: SIM115 - closed below; a missing file has no records
    except FileNotFoundError:
        return
    with file:
        start = 0
        for line in file:
            if line.endswith(b"\n"):
                yield start, line
            start += len(line)
