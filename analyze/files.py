"""Files as users have them: whole-or-absent writes, and lines of text in whatever encoding. Knows no format.

Journals, which grow line by line, are `runs.journal`'s.
"""

from __future__ import annotations

import codecs
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from analyze.errors import InputError


@contextmanager
def whole_file(path: str | os.PathLike[str], mode: str = "w", **open_options: Any) -> Iterator[IO[Any]]:
    """Open a temporary file beside `path` that takes its place when the block ends well, and vanishes when it does not.

    The data reaches the disk before the name does (fsync, rename, fsync of the folder), so a reader, or a
    power cut, sees the old file or the new one, never a part.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if "b" not in mode:
        open_options.setdefault("encoding", "utf-8")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with open(temporary, mode.replace("w", "x"), **open_options) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_whole(path: str | os.PathLike[str], data: str | bytes) -> Path:
    """Write `data` to `path`, whole or not at all."""
    with whole_file(path, "wb") as file:
        file.write(data.encode() if isinstance(data, str) else data)
    return Path(path)


def sync_folder(folder: Path) -> None:
    """Make a rename or a new name in `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def text_lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, line without its end) of a text file; blank lines are left out.

    UTF-8, with or without BOM; UTF-16 by its BOM; a line that is no UTF-8 is read as GB18030. Lines end at newlines
    only: U+2028 inside a value is no end. Raises InputError for a file that is missing, unreadable, empty or binary.
    """
    name = os.fspath(path)
    try:
        with open(path, "rb") as file:
            number, empty = 0, True
            for number, line in enumerate(_raw_lines(file, name), 1):
                text = _decoded(line, name, number)
                if text.strip():
                    empty = False
                    yield number, text
    except FileNotFoundError:
        raise InputError("there is no such file", path=name, cure="give the path of an existing file") from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path=name, cure="give a readable file") from error
    if empty:
        raise InputError("the file is empty", path=name, cure="give a file with one JSON object a line")


def _raw_lines(file: IO[bytes], name: str) -> Iterator[bytes | str]:
    start = file.peek(8192)[:8192]  # type: ignore[attr-defined] # open(..., "rb") returns a BufferedReader
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        yield from file.read().decode("utf-16", "replace").split("\n")
        return
    if b"\0" in start:
        raise InputError("this is a binary file", path=name, cure="give a text file with one JSON object a line")
    if start.startswith(codecs.BOM_UTF8):
        file.read(len(codecs.BOM_UTF8))
    yield from file


def _decoded(line: bytes | str, name: str, number: int) -> str:
    if isinstance(line, str):
        return line.rstrip("\r\n")
    try:
        return line.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        try:
            return line.decode("gb18030").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise InputError(
                "neither UTF-8 nor GB18030 text", path=name, line=number, cure="convert the file to UTF-8"
            ) from error
