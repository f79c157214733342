"""How far a run is, in tasks: outcomes of cells in, finished tasks out. Knows no console, and nobody who is asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Sized

from analyze.judge.cells import Cell
from analyze.records import Answer, Outcome, Request
from analyze.runs.journal import Journal
from analyze.runs.progress import Standing


class TaskProgress:
    """Turns outcomes of cells into finished tasks. A task is fine when its pairs are judged, whatever probes do."""

    def __init__(self, tasks: Sized, cells: Sequence[Cell], wanted: Sequence[Request], journal: Journal) -> None:
        """`tasks` are all that are to be finished, `cells` those of one judge, `wanted` what is left to ask of them."""
        self._task_of = {cell.id: cell.task.task_id for cell in cells}
        self._judging = {cell.id for cell in cells if cell.probe in ("plain", "second")}
        self._left = Counter(self._task_of[request.id] for request in wanted)
        asked_now = {request.id for request in wanted}
        self._bad = {self._task_of[row] for row in self._judging - asked_now if journal.seen.failed(row) is not None}
        self._tasks, self._cells_left = len(tasks), len(wanted)
        self._failed = len(self._bad - self._left.keys())
        self._ok = self._tasks - len(self._left) - self._failed

    def ended(self, outcome: Outcome) -> None:
        task = self._task_of[outcome.id]
        if not isinstance(outcome, Answer) and outcome.id in self._judging:
            self._bad.add(task)
        self._cells_left -= 1
        self._left[task] -= 1
        if self._left[task] == 0:
            self._failed += task in self._bad
            self._ok += task not in self._bad

    def standing(self) -> Standing:
        left = self._tasks - self._ok - self._failed
        return Standing(self._ok, self._failed, left, requests_left=self._cells_left)
