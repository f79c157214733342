"""Rows that ask the same: one of them is asked, and its answer is everybody's. For runs with --dedupe.

The others are set aside until all else is done; their outcomes are then copied from the journal, with `attempts` 0.
Knows no server.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from analyze.records import Outcome, Request
from analyze.runs.index import Index
from analyze.runs.journal import read_outcomes


class Duplicates:
    """Sets rows aside by what they ask."""

    def __init__(self) -> None:
        self._asked = Index()
        self._aside: dict[str, list[tuple[str, str | None]]] = {}  # asked → the ids of rows that wait, and their own

    def __len__(self) -> int:
        return sum(map(len, self._aside.values()))

    def first_of(self, rows: Sequence[Request]) -> set[str]:
        """Return the ids of the rows of a chunk that ask something for the first time. All rows of a run pass here."""
        return {row.id for row in rows if self._asked.add(row.asked)}

    def set_aside(self, row: Request) -> None:
        self._aside.setdefault(row.asked, []).append((row.id, row.custom_id))

    def outcomes(self, *paths: Path) -> Iterator[Outcome]:
        """Yield an outcome for each row that waits, as far as `paths` (answers first) have one for what it asks."""
        for path in paths:
            for outcome in read_outcomes(path):
                for row_id, own in self._aside.pop(outcome.asked, ()):
                    yield replace(outcome, id=row_id, custom_id=own, attempts=0)
