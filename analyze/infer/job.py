"""A task as a job from rows to records (`runs.filejob`): several files in, `results/infer` as the journal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from analyze.errors import MixedRunError
from analyze.infer.checkpoints import Checkpoints
from analyze.infer.plain import plain
from analyze.infer.records import Record
from analyze.infer.rows import TaskRows
from analyze.infer.segments import Cut, Layout, Segments, segments
from analyze.infer.tree import Tree
from analyze.records import Request
from analyze.runs.filejob import FileJob
from analyze.runs.journal import Journal, WhatIsKnown, what_files_know
from analyze.runs.manifest import read_manifest
from analyze.runs.rows import OnBad, Rejects
from analyze.runs.seen import Seen
from analyze.servers import processes
from analyze.servers.stopping import stop_records


@dataclass(frozen=True, slots=True)
class Places:
    """Where each row of the input stands: its task, its file, its row there."""

    rows: TaskRows
    cut: Cut

    def head(self, index: int) -> Record:
        """Return what the record of a row says of its place."""
        file, row = self.rows.place(index)
        return {"index": index, "task": self.cut.task_of(index), "source": {"file": file, "row": row}}


def refuse_other_task(tree: Tree, task_name: str, cure: str) -> None:
    """Raise MixedRunError where another task has its results: its answers and its page would be replaced."""
    before = (read_manifest(tree.manifest) or {}).get("task_name")
    if before not in (None, task_name):
        raise MixedRunError(
            f"this output holds another run: the task was {before!r}, is {task_name!r}",
            cure=cure,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class InferJob(FileJob):
    """One invocation, checked. Rows that cannot be used are listed, and the others go on."""

    tree: Tree
    places: Places
    checkpoints: Checkpoints
    rerun: bool = False
    skip_bad: bool = True
    """Start afresh: what is recorded is unknown to this run, and is moved away when it begins."""

    def source(self) -> TaskRows:
        return self.places.rows

    def journal(self) -> Journal:
        cut, tree = self.places.cut, self.tree
        self._refuse_other_task()
        tree.restore()
        stop_records(processes.read_records(tree.servers), drain_timeout_s=0)  # left by a run that was killed
        return Segments(
            tree,
            self.lines,
            lambda request: tree.segment(cut.task_of(request.row.at)),
            self.checkpoints.ended,
            is_fresh=self.rerun,
        )

    def _refuse_other_task(self) -> None:
        if not self.rerun:
            cure = "give another --output_path; --rerun moves what is there to previous/"
            refuse_other_task(self.tree, self.told["task_name"], cure)

    def begin(self) -> Path | None:
        """Make the folders, now that somebody can answer; return where earlier results were moved to, if any were."""
        moved = self.tree.move_away() if self.rerun else None
        self.tree.make()
        return moved

    def known(self) -> WhatIsKnown:
        self._refuse_other_task()
        return what_files_know([] if self.rerun else segments(self.tree.infer), self.lines)

    def rejected_by(self, rejects: Rejects) -> OnBad:
        """Return what lists rows by the file they come from, and their number in it."""

        def listed(number: int, reason: str, raw: str) -> None:
            file, row = self.places.rows.place(number - 1)
            rejects.add(row, reason, raw, file)

        return listed

    def planned(self, rows: Sequence[Request], seen: Seen) -> None:
        self.checkpoints.planned(rows, seen)

    def layout(self) -> Layout:
        """Return what the files should hold when all is recorded."""
        rows = self.places.rows
        return Layout(self.places.cut, self.checkpoints.ids, self.places.head, lambda index: plain(rows[index])[0])
