"""Rows of tables: CSV, TSV, Parquet, each row as JSON would have it."""

from __future__ import annotations

import base64
import csv
from collections.abc import Callable, Iterator
from datetime import date, datetime, time
from io import BufferedReader
from typing import Any

from analyze.errors import InputError, UsageError
from analyze.files import CHUNK_BYTES, decoded_lines
from analyze.runs.inputs.row import LONGEST_ROW, NO_TEXT, RAW_CHARS, Bad, Row
from analyze.runs.inputs.stored import Opened

BATCH_BYTES = 1 << 24  # of a table, unpacked at a time


def csv_rows(text: BufferedReader[Any], encoding: str, name: str, *, delimiters: str) -> Iterator[Row]:
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
            problem = NO_TEXT if lines.broken else ""
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


def parquet_rows(name: str, opened: Opened) -> Iterator[Row]:
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
