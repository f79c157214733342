"""One input of a job, row by row, in one pass: files of lines, tables, packed or not, and what comes through a pipe.

    stored bytes ──> unpacked ──> text in its encoding ──> rows
    counted, hashed   .gz .zst ├─────────────────────────> .jsonl .ndjson .json .csv .tsv .txt
                └────────────────────────────────────────> .parquet
Memory holds a buffer and the row that is read, however long the input. Reading waits where a pipe has nothing yet.
Knows nothing of what rows mean.
"""

from __future__ import annotations

import base64
import codecs
import csv
import gzip
import json
import os
import re
import stat
import sys
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, time
from functools import partial
from hashlib import sha256
from io import BufferedIOBase, BufferedReader, RawIOBase
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import orjson

from analyze.errors import InputError, UsageError
from analyze.files import CHUNK_BYTES, decoded_lines, input_errors, strictness, text_encoding
from analyze.records import from_json

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

STDIN = "-"
FORMATS = ("jsonl", "ndjson", "json", "csv", "tsv", "parquet", "txt")
PACKINGS = (".gz", ".zst")
RAW_CHARS = 2000
LONGEST_ROW = 1 << 28  # bytes of one line: a file without line ends must not fill the memory
CHUNKS_UNHASHED = 8  # at most, of CHUNK_BYTES each: they take memory
BATCH_BYTES = 1 << 24  # of a table, unpacked at a time

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_PARQUET = b"PAR1"
_MAGIC_BYTES = 4
_LONGEST_WORD = len("-Infinity")
_NO_TEXT = "neither UTF-8 nor GB18030 text"


@dataclass(frozen=True, slots=True)
class Bad:
    """A row that cannot be used: why, and the first 2,000 characters of what was there."""

    reason: str
    raw: str


Row = tuple[int, Any]
"""A number from 1, of the line (in JSON arrays and Parquet: of the row), and what the row holds, or a Bad."""


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
        self._opened: _Opened | None = None
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
            self._opened = opened = _Opened(file, size, self.name)
            rows = self._rows(opened)
            first = next(rows, None)
            if first is None:
                raise InputError("holds no rows", path=self.name, cure="see that the right file is given")
            yield first
            yield from rows
            self._sha256 = opened.stored.hash.hexdigest()

    def _rows(self, opened: _Opened) -> Iterator[Row]:
        if opened.magic.startswith(_PARQUET):
            return self._parquet(opened)
        if self.format == "parquet":
            raise InputError("is no Parquet file", path=self.name, cure="give it the ending of what it is")
        text = opened.text
        encoding = text_encoding(text, self.name)
        if self.format in ("csv", "tsv"):
            return _csv_rows(text, encoding, self.name, delimiters=",;\t" if self.format == "csv" else "\t")
        if self.format == "txt":
            return _text_rows(text, encoding)
        if self.format == "json" and text.peek().lstrip(b" \t\r\n\0").startswith(b"["):
            return _array_rows(text, encoding, self.name)
        if self.format == "json" and self._list_key is not None and _lists(text.peek(), self._list_key):
            return _array_rows(text, encoding, self.name, self._list_key)
        return _line_rows(text, encoding)

    def _parquet(self, opened: _Opened) -> Iterator[Row]:
        if not self.can_be_read_again:
            raise InputError("is Parquet, which cannot be read from a pipe", path=self.name, cure="save it as a file")
        return _parquet_rows(self.name, opened)

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


# --- bytes ---


class _Stored(RawIOBase):
    """The bytes as they are stored, counted and hashed on their way."""

    def __init__(self, file: BinaryIO) -> None:
        self._file: Any = file  # whose readinto1 gives what is there at once; BinaryIO's declaration lacks it
        self.hash = _Hash()
        self.position = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer)
        count: int = self._file.readinto1(view)
        # What this is shows in the first bytes, and a pipe may hand over one at a time.
        while 0 < self.position + count < _MAGIC_BYTES and (more := self._file.readinto1(view[count:])):
            count += more
        self.hash.update(bytes(view[:count]))
        self.position += count
        return count

    def tell(self) -> int:
        return self.position


class _Hash:
    """A SHA-256 made in a thread, beside the parsing: a million rows of 1 kB are passed over in 8 s instead of 9."""

    def __init__(self) -> None:
        self._sha256 = sha256()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="analyze-hash")
        self._waiting: deque[Future[None]] = deque()

    def update(self, chunk: bytes) -> None:
        if len(self._waiting) == CHUNKS_UNHASHED:
            self._waiting.popleft().result()
        self._waiting.append(self._thread.submit(self._sha256.update, chunk))

    def hexdigest(self) -> str:
        self._thread.shutdown()
        return self._sha256.hexdigest()


class _Unpacked(RawIOBase):
    """The bytes that a packed file holds. Raises InputError where it is damaged, after all that came before."""

    def __init__(self, packed: BufferedReader[_Stored], magic: bytes, name: str) -> None:
        self._file: BufferedIOBase
        self._damage: tuple[type[Exception], ...]
        if magic.startswith(_GZIP):
            self._file = gzip.GzipFile(fileobj=packed, mode="rb")
            self._damage = (EOFError, gzip.BadGzipFile, zlib.error)
        else:
            if sys.version_info >= (3, 14):
                from compression import zstd
            else:
                from backports import zstd
            self._file = zstd.ZstdFile(packed)
            self._damage = (EOFError, zstd.ZstdError)
        self._name = name
        self.position = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        try:
            count = self._file.readinto1(buffer)
        except self._damage as error:
            problem = f"is packed, and damaged or cut short: {error}"
            raise InputError(problem, path=self._name, cure="copy or pack it again") from error
        self.position += count
        return count

    def tell(self) -> int:
        return self.position


class _Opened:
    """An input while it is read. What it is shows in its first bytes, whatever its ending says."""

    def __init__(self, file: BinaryIO, size: int | None, name: str) -> None:
        self._size = size
        self.stored = _Stored(file)
        self._packed = BufferedReader(self.stored, CHUNK_BYTES)
        self.magic = self._packed.peek(_MAGIC_BYTES)[:_MAGIC_BYTES]
        self._unpacked: _Unpacked | None = None
        self.text: BufferedReader[Any] = self._packed
        if self.magic.startswith((_GZIP, _ZSTD)):
            self._unpacked = _Unpacked(self._packed, self.magic, name)
            self.text = BufferedReader(self._unpacked, CHUNK_BYTES)

    def fraction_read(self) -> float | None:
        """Leave out what waits in buffers: of a small file, that is everything."""
        if not self._size:
            return None
        share = self._packed.tell() / self._size
        if self._unpacked:
            share *= self.text.tell() / max(1, self._unpacked.position)
        return min(1.0, share)

    def read_up_to(self, share: float) -> None:
        """Read the stored bytes, for their hash only, to this share of them."""
        while self._size and self.text.tell() < share * self._size and self.text.read1(CHUNK_BYTES):
            pass


# --- JSON ---


def _line_rows(text: BufferedReader[Any], encoding: str) -> Iterator[Row]:
    """Rows of JSON lines. UTF-8 goes to the parser as it is: decoding it first takes as long again as parsing."""
    lines: Iterator[str | bytes]
    lines = iter(partial(text.readline, LONGEST_ROW), b"") if encoding == "utf-8" else decoded_lines(text, encoding)
    for number, line in enumerate(lines, 1):
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError:
            if not line.strip():
                continue
            value = _leniently(line)
            while len(line) == LONGEST_ROW and isinstance(line, bytes) and not line.endswith(b"\n"):
                line = text.readline(LONGEST_ROW)
        yield number, value


def _leniently(line: str | bytes) -> Any:
    """Read a line that a strict parser refused: it may hold lone surrogates or NaN, or be Bad."""
    if len(line) == LONGEST_ROW:
        reason = f"longer than {LONGEST_ROW >> 20} MiB"
    else:
        try:
            return from_json(line if isinstance(line, str) else line.decode("utf-8", strictness("utf-8")))
        except UnicodeDecodeError:
            reason = _NO_TEXT
        except ValueError as error:
            reason = f"no JSON: {error}"
    start = line[: 4 * RAW_CHARS]
    return Bad(reason, (start if isinstance(start, str) else start.decode(errors="replace"))[:RAW_CHARS].rstrip("\r\n"))


def _text_rows(text: BufferedReader[Any], encoding: str) -> Iterator[Row]:
    """Rows of plain text: each line that is not blank."""
    for number, line in enumerate(decoded_lines(text, encoding), 1):
        if isinstance(line, bytes):
            yield number, Bad(_NO_TEXT, line.decode(errors="replace")[:RAW_CHARS].rstrip("\r\n"))
        elif line.strip():
            yield number, line.strip()


def _lists(start: bytes, key: str) -> bool:
    return re.search(rb'"%s"\s*:\s*\[' % re.escape(key.encode()), start) is not None


def _array_rows(text: BufferedReader[Any], encoding: str, name: str, key: str | None = None) -> Iterator[Row]:
    """Rows of one JSON array, or of the one under `key` of an object, each read as soon as it is there."""
    array = _JsonText(text, encoding)
    number = 0
    try:
        if key is not None:
            array.take("{")
            while array.member() != key:
                array.value()
                array.take(",")
        array.take("[")
        if array.next_character() != "]":
            number += 1
            yield number, array.value()
            while array.next_character() == ",":
                array.take(",")
                number += 1
                yield number, array.value()
        array.take("]")
        while key is not None and array.next_character() == ",":
            array.take(",")
            array.member()
            array.value()
        array.take("" if key is None else "}")
        array.take("")
    except UnicodeDecodeError as error:
        cure = "save the file as UTF-8"
        raise InputError(f"{_NO_TEXT} after row {number}", path=name, cure=cure) from error
    except (ValueError, RecursionError) as error:
        problem = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        cure = "correct it: where one row of an array ends wrongly, the next ones cannot be told"
        raise InputError(f"no JSON in or after row {number}: {problem}", path=name, cure=cure) from error


class _JsonText:
    """JSON text of any length, of which as much is held as the next value needs."""

    _blank = re.compile(r"[ \t\r\n]*")

    def __init__(self, file: BufferedReader[Any], encoding: str) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder(encoding)(strictness(encoding))
        self._read = json.JSONDecoder().raw_decode
        self._text = ""
        self._at = 0

    def next_character(self) -> str:
        """Return the next character that is not blank, without taking it; nothing at the end."""
        while True:
            self._at = self._blank.match(self._text, self._at).end()  # type: ignore[union-attr]
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def take(self, character: str) -> None:
        found = self.next_character()
        if found != character:
            raise _no_json(f"{character!r} expected" if character else "nothing more expected", self._text, self._at)
        self._at += len(character)

    def member(self) -> Any:
        """Take the name of an object's next member, and its colon."""
        name = self.value()
        self.take(":")
        return name

    def value(self) -> Any:
        self.next_character()
        while True:
            try:
                value, end = self._read(self._text, self._at)
            except json.JSONDecodeError as error:
                if not (self._may_go_on(error.pos) and self._more()):
                    raise _no_json(error.msg, error.doc, error.pos) from None
                continue
            is_near_the_end = end > len(self._text) - _LONGEST_WORD
            if isinstance(value, int | float) and is_near_the_end and self._more():  # 1 may go on as 1.5e-7
                continue
            self._at = end
            return value

    def _may_go_on(self, error: int) -> bool:
        """Whether a value stops making sense at `error` only because the text held ends: near there, or in a string."""
        longer = len(self._text) - self._at < LONGEST_ROW
        return longer and (error > len(self._text) - _LONGEST_WORD or self._text[error] == '"')

    def _more(self) -> bool:
        """Read on; twice as much each time, so that a long value is not read from its start too often."""
        chunk = self._file.read1(max(CHUNK_BYTES, len(self._text) - self._at))
        text = self._decoder.decode(chunk, final=not chunk)
        if chunk:
            self._text, self._at = self._text[self._at :] + text, 0
        return bool(chunk)


def _no_json(problem: str, text: str, at: int) -> ValueError:
    there = text[at : at + 40]
    return ValueError(f"{problem} at {there!r}" if there else f"{problem}, but the text ends")


# --- tables ---


def _csv_rows(text: BufferedReader[Any], encoding: str, name: str, *, delimiters: str) -> Iterator[Row]:
    """Rows of a table in text, its delimiter the one of `delimiters` that gives the header most columns."""
    csv.field_size_limit(LONGEST_ROW)  # 131,072 otherwise; the limit is one for the whole process
    first_line = text.peek().decode(encoding, "replace").lstrip().splitlines()[:1]
    delimiter = max(delimiters, key=lambda each: len(next(csv.reader(first_line, delimiter=each), [])))
    lines = _TableLines(decoded_lines(text, encoding), name)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    header: list[str] = []
    while True:
        number = lines.begin_row()
        try:
            cells = next(reader, None)
        except csv.Error as error:
            if lines.ended:
                raise lines.unclosed_quote() from None
            cells, problem = [], f"no CSV: {error}"
        else:
            problem = _NO_TEXT if lines.broken else ""
        if cells is None:
            return
        if not header and (cells or problem):
            header = _checked_header(cells, name, problem, line=number)
        elif problem or len(cells) not in (0, len(header)):
            yield number, Bad(problem or f"{len(cells)} cells, the header has {len(header)}", lines.raw.rstrip("\r\n"))
        elif cells:
            yield number, dict(zip(header, cells, strict=True))


class _TableLines:
    """Feeds a csv.reader, which takes no more lines than its next row has, and knows what that row was made of."""

    def __init__(self, lines: Iterator[str | bytes], name: str) -> None:
        self._lines, self._name = lines, name
        self._taken = 0
        self.ended = False
        self.begin_row()

    def begin_row(self) -> int:
        """Return the number of the line that the next row begins with."""
        self.raw, self.broken, self._size = "", False, 0
        self._begin = self._taken + 1
        return self._begin

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines, None)
        if line is None:
            self.ended = True
            raise StopIteration
        self._taken += 1
        self._size += len(line)
        if self._size > LONGEST_ROW:
            raise self.unclosed_quote()
        if isinstance(line, bytes):
            self.broken = True
            line = line.decode(errors="replace")
        self.raw = self.raw or line[:RAW_CHARS]
        return line

    def unclosed_quote(self) -> InputError:
        cure = 'close the quote; one inside a cell is written twice: "say ""hi"""'
        return InputError("a quote opens in this row and never closes", path=self._name, line=self._begin, cure=cure)


def _checked_header(names: list[str], path: str, problem: str = "", line: int | None = None) -> list[str]:
    """Return the names of a table's columns. Raises InputError where they do not tell the columns apart."""
    if not problem and "" in names:
        problem = f"column {names.index('') + 1} has no name"
    twice = next((name for name in names if names.count(name) > 1), None)
    if not problem and twice is not None:
        problem = f"two columns are named {twice!r}"
    if problem:
        raise InputError(problem, path=path, line=line, cure="give a first row with a name of its own for each column")
    return names


def _parquet_rows(name: str, opened: _Opened) -> Iterator[Row]:
    """Rows of a Parquet file as JSON has them. Its bytes are hashed in step: the rows come from all over the file."""
    try:
        import pyarrow  # type: ignore[import-untyped]
        import pyarrow.parquet  # type: ignore[import-untyped]
    except ImportError:
        raise UsageError(f"{name}: Parquet needs pyarrow", cure="pip install 'multi-vllm-analyze[parquet]'") from None
    number = 0
    try:
        # By default a whole row group is read at once, which may be most of the file: 547 MB of 560, so 16.
        streaming = {"pre_buffer": False, "buffer_size": CHUNK_BYTES}
        with pyarrow.parquet.ParquetFile(name, page_checksum_verification=True, **streaming) as file:
            _checked_header(file.schema_arrow.names, name)
            rows = file.metadata.num_rows
            for batch in file.iter_batches(_rows_at_once(file.metadata)):
                for row in _in_microseconds(batch).to_pylist():
                    number += 1
                    yield number, _plain(row)
                opened.read_up_to(number / rows)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        problem = f"cannot be read as Parquet after row {number}: {error}"
        raise InputError(problem, path=name, cure="see that it was copied and written whole") from error
    opened.read_up_to(1.0)


def _in_microseconds(batch: Any) -> Any:
    """Return a batch whose times Python can hold: its own end at microseconds, those of pandas' files do not."""
    import pyarrow

    coarser: dict[Callable[[Any], bool], Callable[[Any], Any]] = {
        pyarrow.types.is_timestamp: lambda kind: pyarrow.timestamp("us", kind.tz),
        pyarrow.types.is_time64: lambda kind: pyarrow.time64("us"),
        pyarrow.types.is_duration: lambda kind: pyarrow.duration("us"),
    }
    for place, field in enumerate(batch.schema):
        for is_such, cut in coarser.items():
            if is_such(field.type) and field.type.unit == "ns":
                batch = batch.set_column(place, field.name, batch.column(place).cast(cut(field.type), safe=False))
    return batch


def _rows_at_once(metadata: Any) -> int:
    unpacked: int = sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))
    rows: int = metadata.num_rows
    return min(1024, max(1, BATCH_BYTES * rows // max(1, unpacked)))


def _plain(value: Any) -> Any:
    """Return a table's value as JSON has it; bytes that are no text in Base64, NaN as None."""
    match value:
        case None | str() | int():
            return value
        case float():
            return value if value == value else None
        case dict():
            return {key: _plain(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_plain(inner) for inner in value]
        case bytes():
            try:
                return value.decode()
            except UnicodeDecodeError:
                return base64.b64encode(value).decode()
        case datetime() | date() | time():
            return value.isoformat()
        case _:
            return str(value)
