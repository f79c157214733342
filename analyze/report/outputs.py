"""The output of a file job that is built at the end: its records, as one JSON array or as a table. Knows no job."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from analyze.errors import UsageError
from analyze.files import whole_file
from analyze.records import to_json
from analyze.report.safe import spreadsheet

Record = dict[str, Any]

Kind = Literal["text", "number", "whole"]
Columns = Mapping[str, Kind]
"""The fields of a record that a table has, in their order. A list or an object in a field of text is written as JSON,
a list of texts in CSV with semicolons between them."""

AT_ONCE = 10_000  # rows of a Parquet file that are held


def build(output: Path, records: Iterable[Record], columns: Columns) -> None:
    """Write `output` as its ending says, whole or not at all. Raises UsageError where a library is missing."""
    _WRITERS[output.suffix](output, records, columns)


def is_built(output: Path) -> bool:
    """Whether an output of this ending cannot grow by lines."""
    return output.suffix in _WRITERS


def _json(output: Path, records: Iterable[Record], columns: Columns) -> None:
    with whole_file(output, "wb") as file:
        separator = b"[\n"
        for record in records:
            file.write(separator + to_json(record))
            separator = b",\n"
        file.write(b"[]\n" if separator == b"[\n" else b"\n]\n")


def _csv(output: Path, records: Iterable[Record], columns: Columns) -> None:
    with whole_file(output, "wb") as file:
        text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="", errors="replace", write_through=True)
        writer = csv.writer(text)
        writer.writerow(columns)
        writer.writerows([_cell(record.get(column)) for column in columns] for record in records)
        text.detach()


def _cell(value: Any) -> Any:
    """Return a value as a table program shows it, and never as a formula."""
    if isinstance(value, list | dict):
        is_plain = isinstance(value, list) and all(isinstance(one, str) for one in value)
        value = "; ".join(value) if is_plain else to_json(value).decode()
    return spreadsheet(value) if isinstance(value, str) else value


def _parquet(output: Path, records: Iterable[Record], columns: Columns) -> None:
    try:
        import pyarrow as pa  # type: ignore[import-untyped]  # ships no types
        import pyarrow.parquet as pq  # type: ignore[import-untyped]  # nor does this
    except ImportError as error:
        cure = "pip install 'multi-vllm-analyze[parquet]'"
        raise UsageError(f"{output}: Parquet needs pyarrow", cure=cure) from error
    kinds = {"text": pa.string(), "number": pa.float64(), "whole": pa.int64()}
    schema = pa.schema([(name, kinds[kind]) for name, kind in columns.items()])

    def table(rows: list[Record]) -> Any:
        made = {name: [_plain(row.get(name), kind != "text") for row in rows] for name, kind in columns.items()}
        return pa.table(made, schema=schema)

    with whole_file(output, "wb") as file, pq.ParquetWriter(file, schema) as writer:
        for rows in _by(AT_ONCE, records):
            writer.write_table(table(rows))


def _plain(value: Any, is_number: bool) -> Any:
    if value is None or is_number:
        return value
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else to_json(value).decode()


def _by(count: int, records: Iterable[Record]) -> Iterator[list[Record]]:
    held: list[Record] = []
    for record in records:
        held.append(record)
        if len(held) == count:
            yield held
            held = []
    if held:
        yield held


_WRITERS: dict[str, Callable[[Path, Iterable[Record], Columns], None]] = {
    ".json": _json,
    ".csv": _csv,
    ".parquet": _parquet,
}

ENDINGS = (".jsonl", *_WRITERS)
"""Of outputs: the first grows as answers come."""
