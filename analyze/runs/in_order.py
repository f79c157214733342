"""The records of a journal in the order of the input: what an output that is built at the end is made of.

Memory holds one offset a row. What is not there yet is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from analyze.records import Request, from_json
from analyze.runs.journal import starts
from analyze.runs.lines import Lines


def in_order(requests: Iterable[Request], answers: Path, failures: Path, lines: Lines) -> Iterator[dict[str, Any]]:
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
