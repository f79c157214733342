"""How far each task is: its log, and the mark that all its rows are answered.

    logs/tasks/task_0003.log          what is planned, what fails, when it is complete
    logs/completions/task_0003.json   {"plan_sha", "n", "ids_sha", "finished"}
A mark is a statement for people and scripts, never a reason to skip rows: what is left to ask, the journal tells. It
holds for one plan (model, sampling, the task's code) and for the very rows it was made of; one of another plan goes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from analyze.files import output_errors, write_whole
from analyze.infer.segments import Cut
from analyze.infer.tree import Tree
from analyze.records import Answer, Outcome, Request, to_json
from analyze.runs.index import Index
from analyze.runs.manifest import utc_now
from analyze.runs.seen import Seen


class Checkpoints:
    """Follows the rows of a run, from their planning to their ends."""

    def __init__(self, tree: Tree, cut: Cut, plan_sha: str) -> None:
        self._tree, self._cut, self._plan_sha = tree, cut, plan_sha
        self.ids = Index()  # the place of each planned row, by its id
        self._ids_sha = [hashlib.sha256() for _ in range(cut.tasks)]
        self._answered = [0] * cut.tasks
        self._failed = [0] * cut.tasks
        self._is_begun = [False] * cut.tasks

    def _remove_others(self) -> None:
        """Remove the marks of other plans."""
        for path in self._tree.completions.glob("*.json"):
            if _read(path).get("plan_sha") != self._plan_sha:
                path.unlink(missing_ok=True)

    def planned(self, rows: Sequence[Request], seen: Seen) -> None:
        """Hear of a chunk of rows in their order; `seen` is what is recorded of them."""
        if not self.ids:
            self._remove_others()
        places = [request.row.at for request in rows]
        self.ids.update([request.id for request in rows], places)
        tasks = [self._cut.task_of(index) - 1 for index in places]
        for request, at, is_answered in zip(rows, tasks, seen.are_answered(rows), strict=True):
            self._ids_sha[at].update(f"{request.id}\0{request.asked}\n".encode(errors="surrogatepass"))
            self._answered[at] += is_answered
        for at in dict.fromkeys(tasks):
            self._look(at)

    def ended(self, request: Request, outcome: Outcome) -> None:
        """A row has an outcome."""
        at = self._cut.task_of(request.row.at) - 1
        self._begin(at)
        if isinstance(outcome, Answer):
            self._answered[at] += 1
            self._look(at)
        else:
            self._failed[at] += 1
            self._log(at, f"row {request.row.at + 1} ({request.id}) failed: {outcome.kind}: {outcome.message}")

    def end(self) -> None:
        """Remove the marks that hold no longer, and write down how each task stands."""
        holding = {self._tree.mark(at + 1) for at in range(self._cut.tasks) if self._is_complete(at)}
        for path in self._tree.completions.glob("*.json"):
            if path not in holding:
                path.unlink(missing_ok=True)
        for at in range(self._cut.tasks):
            if self._is_begun[at] and not self._is_complete(at):
                size = len(self._cut.range_of(at + 1))
                self._log(at, f"not complete: {self._answered[at]} of {size} rows answered, {self._failed[at]} failed")

    @property
    def complete(self) -> int:
        return sum(map(self._is_complete, range(self._cut.tasks)))

    def _is_complete(self, at: int) -> bool:
        return self._answered[at] == len(self._cut.range_of(at + 1))

    def _begin(self, at: int) -> None:
        if not self._is_begun[at]:
            self._is_begun[at] = True
            rows = self._cut.range_of(at + 1)
            self._log(at, f"begins: rows {rows.start + 1} to {rows.stop}, {self._answered[at]} answered before")

    def _look(self, at: int) -> None:
        """Mark a task that is complete, unless its mark is there."""
        if not self._is_complete(at):
            return
        told = {
            "plan_sha": self._plan_sha,
            "n": self._answered[at],
            "ids_sha": self._ids_sha[at].hexdigest(),
        }
        path = self._tree.mark(at + 1)
        if {name: value for name, value in _read(path).items() if name in told} != told:
            self._log(at, f"complete: {self._answered[at]} rows")
            write_whole(path, to_json({**told, "finished": utc_now()}) + b"\n")

    def _log(self, at: int, text: str) -> None:
        path = self._tree.task_log(at + 1)
        with output_errors(path), open(path, "a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{utc_now()} {' '.join(text.split())}\n")


def _read(path: Path) -> dict[str, Any]:
    """Return what a mark says; nothing where there is none that can be read."""
    with suppress(OSError, ValueError):
        told = orjson.loads(path.read_bytes())
        if isinstance(told, dict):
            return told
    return {}


def plan_sha(**settings: Any) -> str:
    """Return the SHA-256 (hex) of what makes the rows of a run comparable."""
    return hashlib.sha256(to_json(dict(sorted(settings.items())))).hexdigest()
