"""Files as users have them: whole-or-absent writes, and lines of text in whatever encoding. Knows no format.

Journals, which grow line by line, are `runs.journal`'s.
"""

from __future__ import annotations

import codecs
import errno
import glob
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader, FileIO
from pathlib import Path
from typing import IO, Any

from analyze.errors import InputError, OutputLostError, UsageError

SAMPLE_BYTES = 65536
CHUNK_BYTES = 262144
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
BINARY_SHARE = 0.02  # compressed data and pictures hold 10 % control bytes, text with a torn block far less
_CONTROL = bytes(sorted(set(range(32)) - set(b"\t\n\r\f\x1b")))
_BOMS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


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


def clear_leftovers(*paths: Path) -> None:
    """Remove what killed processes have left of whole files that were to stand at these paths. Hold their lock."""
    for path in paths:
        for leftover in path.parent.glob(f".{glob.escape(path.name)}.{'[0-9a-f]' * 8}.part"):
            leftover.unlink(missing_ok=True)


@contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Turn what the system says while `path` is written into OutputLostError or UsageError.

    The output is lost that could be written before: there is no room left, the disk fails, or was made read-only. What
    can never have been written is the wrong output.
    """
    try:
        yield
    except OSError as error:
        if error.errno in NO_ROOM:
            cure = "make room"
        elif _was_writable(path, error):
            cure = "see what is wrong with the disk (dmesg, mount)"
        else:
            raise UsageError(f"{path} cannot be written: {error.strerror}", cure="give another output") from error
        message = f"{path}: {error.strerror}; everything recorded before is safe"
        raise OutputLostError(message, cure=f"{cure}, then run the same command again") from error


def _was_writable(path: Path, error: OSError) -> bool:
    """Whether `path` could be written until now: it was open (such errors name no file), or it is there already."""
    is_there = error.errno == errno.EROFS and os.path.exists(path)
    return error.filename is None or error.errno == errno.EIO or is_there


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


@contextmanager
def input_errors(name: str) -> Iterator[None]:
    """Turn what the system says while the input called `name` is opened or read into InputError."""
    try:
        yield
    except FileNotFoundError:
        raise InputError("there is no such file", path=name, cure="give the path of a file that is there") from None
    except IsADirectoryError:
        raise InputError("is a directory", path=name, cure="name the file in it") from None
    except PermissionError as error:
        raise InputError("cannot be read: no permission", path=name, cure=f"chmod +r {name}") from error
    except OSError as error:
        cure = "see that the disk or network below it works"
        raise InputError(f"cannot be read: {error.strerror or error}", path=name, cure=cure) from error


def text_lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, str | bytes]]:
    """Yield (line number from 1, line) of a text file as it is read, without blank lines and line ends.

    A line that cannot be decoded comes as its bytes. Raises InputError for a file that is missing, unreadable, empty
    or binary.
    """
    name = os.fspath(path)
    blank = True
    with input_errors(name), BufferedReader(FileIO(path), CHUNK_BYTES) as file:
        for number, line in enumerate(decoded_lines(file, text_encoding(file, name)), 1):
            if line.strip():
                blank = False
                yield number, line.rstrip("\r\n") if isinstance(line, str) else line.rstrip(b"\r\n")
    if blank:
        raise InputError("the file is empty", path=name, cure="write one JSON object a line")


def text_encoding(file: BufferedReader[Any], name: str) -> str:
    """Tell the encoding of the text that `file` starts with, by its first buffer, and read past the BOM.

    UTF-16 by its BOM, GB18030 where more of the first lines are that than UTF-8, else UTF-8. Raises InputError for
    what is no text.
    """
    sample = file.peek(SAMPLE_BYTES)[:SAMPLE_BYTES]
    for bom, encoding in _BOMS.items():
        if sample.startswith(bom):
            file.read(len(bom))
            return encoding
    controls = len(sample) - len(sample.translate(None, _CONTROL))
    if controls > BINARY_SHARE * len(sample):
        raise InputError("is a binary file, not text", path=name, cure="give a text file, unpacked")
    return "gb18030" if _more_gb18030_than_utf8(sample) else "utf-8"


def decoded_lines(file: BufferedReader[Any], encoding: str) -> Iterator[str | bytes]:
    """Yield the lines of `file` with their ends; one that cannot be decoded comes as its bytes.

    Lines end at newlines only: U+2028 inside a value is no end.
    """
    if encoding.startswith("utf-16"):
        yield from _utf16_lines(file, encoding)
    else:
        for line in file:
            yield _decoded(line, encoding)


def strictness(encoding: str) -> str:
    """Return how strictly to decode: lone surrogates, which models and old Windows programs write, are kept."""
    return "surrogatepass" if encoding.startswith("utf") else "strict"


def _utf16_lines(file: BufferedReader[Any], encoding: str) -> Iterator[str | bytes]:
    decoder = codecs.getincrementaldecoder(encoding)(strictness(encoding))
    rest = ""
    while chunk := file.read1(CHUNK_BYTES):
        *lines, rest = (rest + decoder.decode(chunk)).split("\n")
        for line in lines:
            yield line + "\n"
    last: str | bytes
    try:
        last = rest + decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:  # half a character
        last = rest.encode(encoding, "surrogatepass") + error.object
    if last:
        yield last


def _more_gb18030_than_utf8(sample: bytes) -> bool:
    """Tell by majority of the lines: one broken line in a UTF-8 file must not turn the others into mojibake.

    Lines may be cut at the byte 0x0A before decoding, which is no part of a longer character in either encoding.
    """
    lines = sample.split(b"\n")
    votes = [_is_utf8(line, whole=line is not lines[-1]) for line in lines if not line.isascii()]
    return 2 * sum(votes) < len(votes)


def _is_utf8(line: bytes, *, whole: bool) -> bool:
    """Whether `line` is UTF-8; one that is not `whole` may end inside a character."""
    try:
        codecs.utf_8_decode(line, "surrogatepass", whole)
    except UnicodeDecodeError:
        return False
    return True


def _decoded(line: bytes, encoding: str) -> str | bytes:
    try:
        return line.decode(encoding, strictness(encoding))
    except UnicodeDecodeError:
        return line
