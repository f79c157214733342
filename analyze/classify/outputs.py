"""The output that is built at the end: every text in the order of the input, as one JSON array or as a table.

Memory holds one offset a row. What is not there yet is left out; what failed has no label. Knows no server.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from analyze.errors import UsageError
from analyze.files import whole_file
from analyze.records import Request, from_json, to_json
from analyze.report.safe import spreadsheet
from analyze.runs.journal import starts
from analyze.runs.lines import Lines

Record = dict[str, Any]

COLUMNS = ("query", "label", "raw_output", "status", "error", "confidence", "id", "index", "gold")
AT_ONCE = 10_000  # rows of a Parquet file that are held


def build(output: Path, records: Iterable[Record]) -> None:
    """Write `output` as its ending says, whole or not at all. Raises UsageError where a library is missing."""
    _WRITERS[output.suffix](output, records)


def is_built(output: Path) -> bool:
    """Whether an output of this ending cannot grow by lines."""
    return output.suffix in _WRITERS


def in_order(requests: Iterable[Request], answers: Path, failures: Path, lines: Lines) -> Iterator[Record]:
    """Yield the records of rows that have one, in the order of `requests`."""
    known = [(path, starts(path, lines)) for path in (answers, failures) if path.exists()]
    files = [(open(path, "rb"), places) for path, places in known]  # noqa: SIM115 - closed below
    try:
        for request in requests:
            for file, places in files:
                start = places.get(request.id)
                if start is not None:
                    file.seek(start)
                    yield from_json(file.readline())
                    break
    finally:
        for file, _ in files:
            file.close()


def _json(output: Path, records: Iterable[Record]) -> None:
    with whole_file(output, "wb") as file:
        separator = b"[\n"
        for record in records:
            file.write(separator + to_json(record))
            separator = b",\n"
        file.write(b"[]\n" if separator == b"[\n" else b"\n]\n")


def _csv(output: Path, records: Iterable[Record]) -> None:
    with whole_file(output, "wb") as file:
        text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="", errors="replace", write_through=True)
        writer = csv.writer(text)
        writer.writerow(COLUMNS)
        writer.writerows([_cell(record.get(column)) for column in COLUMNS] for record in records)
        text.detach()


def _cell(value: Any) -> Any:
    """Return a value as a table program shows it, and never as a formula."""
    if isinstance(value, list):
        value = "; ".join(map(str, value))
    return spreadsheet(value) if isinstance(value, str) else value


def _parquet(output: Path, records: Iterable[Record]) -> None:
    try:
        import pyarrow as pa  # type: ignore[import-untyped]  # ships no types
        import pyarrow.parquet as pq  # type: ignore[import-untyped]  # nor does this
    except ImportError as error:
        cure = "pip install 'multi-vllm-analyze[parquet]'"
        raise UsageError(f"{output}: Parquet needs pyarrow", cure=cure) from error
    kinds = {"confidence": pa.float64(), "index": pa.int64()}
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in COLUMNS])

    def table(rows: list[Record]) -> Any:
        columns = {name: [_plain(row.get(name), name in kinds) for row in rows] for name in COLUMNS}
        return pa.table(columns, schema=schema)

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


_WRITERS: dict[str, Callable[[Path, Iterable[Record]], None]] = {".json": _json, ".csv": _csv, ".parquet": _parquet}
