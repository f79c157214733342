"""Files as users have them: whole-or-absent writes, and lines of text in whatever encoding. Knows no format.

Journals, which grow line by line, are `runs.journal`'s.
"""

from __future__ import annotations

import codecs
import errno
import hashlib
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from io import BufferedReader, FileIO
from pathlib import Path
from typing import IO, Any

from analyze.errors import InputError, OutputLostError, UsageError

SAMPLE_BYTES = 65536
BINARY_SHARE = 0.02  # compressed data and pictures hold 10 % control bytes, text with a torn block far less
_CONTROL = bytes(sorted(set(range(32)) - set(b"\t\n\r\f\x1b")))


@contextmanager
def whole_file(path: str | os.PathLike[str], mode: str = "w", **open_options: Any) -> Iterator[IO[Any]]:
    """Open a temporary file beside `path` that takes its place when the block ends well, and vanishes when it does not.

    The data reaches the disk before the name does (fsync, rename, fsync of the folder), so a reader, or a
    power cut, sees the old file or the new one, never a part. Raises OutputLostError, UsageError.
    """
    path = Path(path)
    if "b" not in mode:
        open_options.setdefault("encoding", "utf-8")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, mode.replace("w", "x"), **open_options) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        sync_folder(path.parent)


@contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Turn what the system says while `path` is written into OutputLostError (no room left) or UsageError."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
            message = f"{path}: {error.strerror}; everything recorded before is safe"
            raise OutputLostError(message, cure="make room, then run the same command again") from error
        raise UsageError(f"{path} cannot be written: {error.strerror}", cure="give another output") from error


def write_whole(path: str | os.PathLike[str], data: str | bytes) -> Path:
    """Write `data` to `path`, whole or not at all."""
    with whole_file(path, "wb") as file:
        file.write(data.encode() if isinstance(data, str) else data)
    return Path(path)


def sha256_of(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 (hex) of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_folder(folder: Path) -> None:
    """Make a rename or a new name in `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def text_lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, str | bytes]]:
    """Yield (line number from 1, line) of a text file as it is read, without blank lines and line ends.

    UTF-8, with or without BOM; UTF-16 by its BOM; GB18030 where more of the first lines are that than UTF-8. A line
    that cannot be decoded comes as its bytes. Lines end at newlines only: U+2028 inside a value is no end. Raises
    InputError for a file that is missing, unreadable, empty or binary.
    """
    name = os.fspath(path)
    try:
        with BufferedReader(FileIO(path), SAMPLE_BYTES) as file:
            blank = True
            for number, line in enumerate(_lines(file, name), 1):
                if line.strip():
                    blank = False
                    yield number, line
    except FileNotFoundError:
        raise InputError("there is no such file", path=name, cure="give the path of a file that is there") from None
    except IsADirectoryError:
        raise InputError("is a directory", path=name, cure="name the .jsonl file in it") from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path=name, cure="check its permissions") from error
    if blank:
        raise InputError("the file is empty", path=name, cure="write one JSON object a line")


def _lines(file: BufferedReader[FileIO], name: str) -> Iterator[str | bytes]:
    sample = file.peek(SAMPLE_BYTES)[:SAMPLE_BYTES]
    if sample.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        yield from file.read().decode("utf-16", "replace").replace("\r\n", "\n").split("\n")
        return
    controls = len(sample) - len(sample.translate(None, _CONTROL))
    if controls > BINARY_SHARE * len(sample):
        raise InputError("is a binary file, not JSON lines", path=name, cure="give a text file, unpacked")
    if sample.startswith(codecs.BOM_UTF8):
        file.read(len(codecs.BOM_UTF8))
    encoding = "gb18030" if _more_gb18030_than_utf8(sample.split(b"\n")[:-1] or [sample]) else "utf-8"
    for line in file:
        yield _decoded(line.rstrip(b"\r\n"), encoding)


def _more_gb18030_than_utf8(lines: Sequence[bytes]) -> bool:
    """Tell by majority of the lines: one broken line in a UTF-8 file must not turn the others into mojibake.

    Lines may be cut at the byte 0x0A before decoding, which is no part of a longer character in either encoding.
    """
    telling = [line for line in lines if not line.isascii()]
    as_utf8 = sum(isinstance(_decoded(line, "utf-8"), str) for line in telling)
    return as_utf8 < len(telling) - as_utf8


def _decoded(line: bytes, encoding: str) -> str | bytes:
    try:
        return line.decode(encoding, "surrogatepass" if encoding == "utf-8" else "strict")
    except UnicodeDecodeError:
        return line
