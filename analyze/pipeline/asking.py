"""Asks the cells that no record answers, records what becomes of them, and lists those that failed.

Knows the journal and the console; not who answers, nor what a verdict means.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from analyze.judge.cells import Cell
from analyze.per_task import Judge
from analyze.pipeline.folder import write_lines
from analyze.pipeline.progress import TaskProgress
from analyze.pipeline.told import Teller
from analyze.records import Failure, Outcome
from analyze.runs.account import Account
from analyze.runs.askers import Asker, FleetAsker
from analyze.runs.command import interrupted
from analyze.runs.ending import work_lines
from analyze.runs.journal import Journal, read_outcomes
from analyze.runs.manifest import Manifest, write_manifest
from analyze.runs.plan import Plan
from analyze.runs.progress import ProgressLine
from analyze.runs.runner import Stop
from analyze.runs.session import ask_left
from analyze.runs.tally import Part, Tally, manifest_fields


class Asking:
    """Asks the cells of one run, first those of the first judge, then those of the second."""

    def __init__(
        self,
        judge: Judge,
        journal: Journal,
        manifest: Manifest,
        *,
        folder: Path,
        stop: Stop,
        retry_failed: bool,
        in_flight: int | None,
        say: Teller,
    ) -> None:
        """`manifest` is the run's own: what the servers did, and how the cells have ended, is added to it here."""
        self._judge, self._journal, self._manifest = judge, journal, manifest
        self._folder, self._stop, self._retry_failed = folder, stop, retry_failed
        self._in_flight, self._say = in_flight, say

    async def ask(self, asker: Asker, *, is_second: bool = False) -> None:
        """Ask the cells that are the first judge's, or the second's. Raises Interrupted where some are left."""
        cells = self._judge.cells_for(second=is_second)
        account, tally = Account(), Tally()
        plan = Plan(self._journal.seen, account, retry_failed=self._retry_failed)
        wanted = plan.left_of(list(self._judge.requests(cells)))
        tasks = TaskProgress(self._judge.audited if is_second else self._judge.tasks, cells, wanted, self._journal)
        fleet = asker.core.fleet if isinstance(asker, FleetAsker) else None
        progress = ProgressLine(
            self._say.texts["second_label" if is_second else "label"],
            self._say.lang,
            tally,
            tasks.standing,
            loads=lambda: fleet.instances if fleet else (),
        )

        def hear(outcome: Outcome) -> None:
            tally.add(outcome)
            tasks.ended(outcome)

        began = time.monotonic()
        try:
            with self._stop.on_signals():
                await ask_left(
                    [wanted],
                    asker,
                    self._journal,
                    account,
                    stop=self._stop,
                    progress=progress,
                    on_outcome=hear,
                    around=self._judge.around,
                )
        finally:
            progress.close()
        seconds, uses = time.monotonic() - began, fleet.uses(time.monotonic()) if fleet else {}
        ended = self._ended()
        left = self._say_cells("second_cells" if is_second else "cells", cells, ended, account.before)
        self._say_work(tally, tally.parts(uses), seconds)
        work = manifest_fields(tally, uses, seconds)
        self._manifest |= {"second_judge": {**self._manifest["second_judge"], **work}} if is_second else work
        self._settle(ended, is_over=bool(left) or self._stop.cut_short)

    def _ended(self) -> dict[str, Outcome]:
        recorded = read_outcomes(self._journal.answers_path)
        return {outcome.id: outcome for outcome in recorded if outcome.id in self._judge.cells}

    def _say_cells(self, line: str, cells: Sequence[Cell], ended: Mapping[str, Outcome], before: int) -> int:
        """Say how these cells have ended; return how many have not."""
        outcomes = [ended[cell.id] for cell in cells if cell.id in ended]
        kinds = Counter(outcome.kind for outcome in outcomes if isinstance(outcome, Failure))
        failed, left = kinds.total(), len(cells) - len(outcomes)
        self._say(line, ok=len(outcomes) - failed, before=before, failed=failed, left=left)
        if failed:
            said = ", ".join(f"{kind} {count}" for kind, count in kinds.most_common())
            self._say("kinds", kinds=said, path=self._folder / "failed.jsonl")
        return left

    def _say_work(self, tally: Tally, parts: Sequence[Part], seconds: float) -> None:
        """Say what the servers did, where there are any."""
        lang, in_flight, too_long = self._say.lang, self._in_flight, tally.failed["too_long"]
        if parts:
            self._say.also(work_lines(tally, parts, seconds, lang, in_flight=in_flight, too_long=too_long))

    def _settle(self, ended: Mapping[str, Outcome], *, is_over: bool) -> None:
        """Write how all cells have ended. Raises Interrupted where it `is_over` before its time."""
        counts = self._list_failed(ended)
        if is_over or not counts["cells_left"]:  # else the second judge comes next
            self._manifest["counts"] = counts
        write_manifest(self._folder / "run.json", self._manifest)
        if is_over:
            raise interrupted(self._say.lang)

    def _list_failed(self, ended: Mapping[str, Outcome]) -> dict[str, int]:
        """List the failed cells in failed.jsonl, and return how all cells have ended.

        A probe is a question of our own beside the input's rows. One that fails takes evidence from the check of the
        judge, which says so; the task is judged all the same, and neither it nor the run counts as failed.
        """
        failures = [outcome for outcome in ended.values() if isinstance(outcome, Failure)]
        write_lines(self._folder / "failed.jsonl", (self._row_of(failure) for failure in failures))
        probes = sum(self._judge.cells[failure.id].probe != "plain" for failure in failures)
        return {
            "cells": len(self._judge.cells),
            "cells_ok": len(ended) - len(failures),
            "cells_failed": len(failures),
            "cells_left": len(self._judge.cells) - len(ended),
            "probes_failed": probes,
        }

    def _row_of(self, failure: Failure) -> dict[str, Any]:
        cell = self._judge.cells[failure.id]
        against = {"against": cell.against.author} if cell.probe == "robin" else {}
        return {
            "id": failure.id,
            "task_id": cell.task.task_id,
            "rival": cell.rival.author,
            "order": cell.order,
            **against,
            "sample": cell.sample,
            "probe": cell.probe,
            "kind": failure.kind,
            "message": failure.message,
            "attempts": failure.attempts,
            "instance": failure.instance,
        }
