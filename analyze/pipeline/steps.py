"""The six steps from tasks to a report, and the order in which files change.

    1 read tasks   2 ask, both orders of every pair   3 fold verdicts per task
    4 statistics and judge check   5 charts and word clouds   6 reports

Everything that is asked goes through the journal in the output folder, so the run can be killed at any instant and
continued by the same command. Steps 3 to 6 are made again from records each time. Knows no HTTP, and no arithmetic.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analyze import settings
from analyze.errors import UsageError
from analyze.judge.tasks import BadLine, Task, read_tasks, task_to_json
from analyze.lang import Lang, is_lang, language
from analyze.per_task import Analysis, Judge, MeasuredAsker, TaskFacts, facts_of
from analyze.pipeline.artefacts import Artefacts
from analyze.pipeline.asking import Asking
from analyze.pipeline.folder import LOCK, move_away, write_lines
from analyze.pipeline.judges import Judges, connected_judges
from analyze.pipeline.manifest import manifest_of
from analyze.pipeline.measuring import in_daemon_thread
from analyze.pipeline.second_judge import SAME_SECOND, of_second_judge, second_urls
from analyze.pipeline.told import Teller
from analyze.records import Outcome
from analyze.runs.journal import Journal, read_outcomes
from analyze.runs.lock import RunLock
from analyze.runs.manifest import Manifest, read_manifest, refuse_other_run, utc_now, write_manifest
from analyze.runs.runner import Stop
from analyze.runs.session import settle

if TYPE_CHECKING:
    from analyze.report.material import Material

ENGINES = ("fleet", "measured")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What one invocation chose beyond the settings."""

    base_urls: Sequence[str] = ()
    target: str | None = None
    in_flight: int | None = None
    skip_bad: bool = False
    update: bool = False
    retry_failed: bool = False
    force_new: bool = False
    round_robin: bool = False


class Pipeline:
    """One run of the six steps."""

    def __init__(self, chosen: settings.Settings, choices: Choices, client: Any = None) -> None:
        """Check what can be checked without reading anything. Raises UsageError."""
        self._settings, self._choices, self._client = chosen, choices, client
        self._say = Teller(language(chosen[settings.ANALYZE_LANG]))
        self._engine = chosen.text(settings.ANALYZE_ENGINE)
        if self._engine not in ENGINES:
            cure = f"use one of: {', '.join(ENGINES)}"
            raise UsageError(f"ANALYZE_ENGINE={self._engine!r} is not known", cure=cure)
        has_first, audit_tasks = self._engine != "measured", chosen.count(settings.AUDIT_TASKS)
        self._second_urls = second_urls(chosen, has_first=has_first, audit_tasks=audit_tasks)
        self._urls = settings.addresses(chosen, choices.base_urls)
        if not chosen.flag(settings.USE_MULTI_VLLM):
            self._urls = self._urls[:1]
        if font := chosen[settings.FONT_PATH]:
            from analyze.report import check_font

            check_font(font)
        self._input = Path(chosen.text(settings.INPUT_JSONL))
        self._out = Path(chosen.text(settings.OUTPUT_DIR))
        self._began, self._started = time.monotonic(), utc_now()
        self._rejects: list[dict[str, Any]] = []
        self._manifest: Manifest = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = Stop(on_first=lambda: print(self._say.texts["stopping"], file=sys.stderr))

    async def run(self) -> Artefacts:
        """Do the six steps. Raises AnalyzeError for all that stops them."""
        from analyze.report import no_cycles

        self._loop = asyncio.get_running_loop()
        self._say_title()
        tasks = self._read()
        with RunLock(self._out / LOCK):
            judge, facts = await self._ask(tasks)
            recorded = {outcome.id: outcome for outcome in read_outcomes(self._out / "journal.jsonl")}
            failed = self._fold(judge, recorded, facts)
            del recorded
            self._finish(len(tasks), failed)
            with no_cycles():
                return self._report(self._gathered(), len(tasks), failed)

    def interrupt(self) -> None:
        """Stop as after a Ctrl-C; may be called from any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stop.request)

    def _say_title(self) -> None:
        self._say.title()
        if self._engine == "measured":
            self._say("measured")
        elif self._client is not None and not hasattr(self._client, "base_urls"):
            self._say("client")
        else:
            self._say.addresses(getattr(self._client, "base_urls", self._urls))

    # -- 1 -------------------------------------------------------------------------------------------------------

    def _read(self) -> list[Task]:
        self._say("step1")

        def reject(bad: BadLine) -> None:
            self._rejects.append({"file": bad.file, "line": bad.line, "reason": bad.reason, "raw": bad.raw})

        on_bad = reject if self._choices.skip_bad else None
        tasks = read_tasks(self._input, target_author=self._choices.target, on_bad=on_bad)
        self._say("read", tasks=len(tasks))
        if self._rejects:
            self._say("rejected", count=len(self._rejects), path=self._out / "rejects.jsonl")
        return tasks

    def _keep_tasks(self, tasks: Sequence[Task]) -> None:
        write_lines(self._out / "tasks.jsonl", map(task_to_json, tasks))
        write_lines(self._out / "rejects.jsonl", self._rejects)

    # -- 2 -------------------------------------------------------------------------------------------------------

    async def _ask(self, tasks: Sequence[Task]) -> tuple[Judge, TaskFacts]:
        """Ask every cell that no record answers. The facts are measured meanwhile, in a thread.

        Nothing of an earlier run is touched before it is known that somebody can answer.
        """
        measured = self._engine == "measured"
        self._say("step2_measured" if measured else "step2")
        async with AsyncExitStack() as at_the_end:
            judges = Judges() if measured else await at_the_end.enter_async_context(self._judges(tasks))
            if self._choices.force_new:
                move_away(self._out)
            measuring = in_daemon_thread(facts_of, tasks)
            with Journal(self._out / "journal.jsonl") as journal:
                before = read_manifest(self._out / "run.json") if journal.seen else None
                judge = self._judge(tasks, judges, before)
                first = judges.first or MeasuredAsker(judge, await measuring, self._say.lang)
                self._begin(judge, judges, journal, before)
                asking = Asking(
                    judge,
                    journal,
                    self._manifest,
                    folder=self._out,
                    stop=self._stop,
                    retry_failed=self._choices.retry_failed,
                    in_flight=self._choices.in_flight,
                    say=self._say,
                )
                await asking.ask(first)
                if judges.second is not None:
                    with of_second_judge():
                        await asking.ask(judges.second, is_second=True)
            return judge, await measuring

    def _judges(self, tasks: Sequence[Task]) -> AbstractAsyncContextManager[Judges]:
        return connected_judges(
            self._settings,
            self._client,
            urls=self._urls,
            second_urls=self._second_urls,
            in_flight=self._choices.in_flight,
            tasks=tasks,
            say=self._say,
        )

    def _judge(self, tasks: Sequence[Task], judges: Judges, before: Manifest | None) -> Judge:
        """Return the cells of these tasks, and say which are more than the pairs."""
        judge = Judge(
            tasks,
            lang=self._judge_lang(before),
            measured=judges.first is None,
            audit_tasks=judges.to_audit(self._settings),
            second_model=judges.second_model,
            round_robin=self._choices.round_robin,
        )
        if judge.audited:
            self._say("audited", tasks=len(judge.audited))
        if self._choices.round_robin:
            self._say("robin", more=judge.robin_count, all=len(judge.cells))
        return judge

    def _begin(self, judge: Judge, judges: Judges, journal: Journal, before: Manifest | None) -> None:
        """Write what this run is, once it is known to continue what is recorded. Raises MixedRunError."""
        self._manifest = manifest_of(
            judge,
            judges,
            started=self._started,
            engine=self._engine,
            lang=self._say.lang,
            judge_lang=self._judge_lang(before),
            round_robin=self._choices.round_robin,
            input_path=self._input,
            chosen=self._settings,
        )
        if judges.second is not None and not self._choices.update:
            refuse_other_run(before, self._manifest, SAME_SECOND)
        settle(journal, before, self._manifest, [list(judge.requests())], update=self._choices.update)
        self._keep_tasks(judge.tasks)
        write_manifest(self._out / "run.json", self._manifest)

    def _judge_lang(self, before: Manifest | None) -> Lang:
        """Return the language the judge writes in: that of the recorded run, whatever the console speaks today."""
        recorded = (before or {}).get("judge_lang")
        keep = not self._choices.update and isinstance(recorded, str) and is_lang(recorded)
        return language(recorded) if keep else self._say.lang

    # -- 3, 4 ----------------------------------------------------------------------------------------------------

    def _fold(self, judge: Judge, recorded: Mapping[str, Outcome], facts: TaskFacts) -> int:
        """Write per_task.jsonl, a task at a time. Return how many tasks could not be judged whole."""
        self._say("step3")
        failed, total = 0, dict.fromkeys(("wins", "ties", "losses", "unscored"), 0)
        probed: Counter[str] = Counter()

        def counted() -> Iterator[Analysis]:
            nonlocal failed
            for analysis in judge.fold(recorded, facts):
                failed += is_incomplete(analysis)
                probed.update(cell["status"] for entry in analysis["audit"] for cell in entry["cells"])
                for name in total:
                    total[name] += analysis[name]
                yield analysis

        write_lines(self._out / "per_task.jsonl", counted())
        if probed["failed"]:
            self._say("probes_failed", failed=probed["failed"], all=probed.total())
        self._say("folded", **total)
        return failed

    def _gathered(self) -> Material:
        """Read back what is recorded, and say what it comes to. Pictures and pages show the same numbers."""
        from analyze.report import gather

        self._say("step4")
        material = gather(self._out, lang=self._say.lang, font_path=self._settings[settings.FONT_PATH])
        summary = material.summary
        if (known := summary.probabilities) is not None:
            read = {"read": known.read, "cells": known.cells, "after_grammar_mask": known.is_masked}
            self._manifest["probabilities"] = read
            write_manifest(self._out / "run.json", self._manifest)
        rate, order = summary.overall.win_rate, summary.check.order_agreement
        if self._engine != "measured":
            self._say(f"judge_{summary.check.state}")
        if rate.value is None:
            self._say("no_rate")
        else:
            low, high = (rate.low or 0.0, rate.high or 1.0)
            self._say("rate", value=rate.value, low=low, high=high, n=summary.overall.tasks)
        if order.value is not None:
            self._say("order", value=order.value)
        if summary.second is not None and summary.second.agreement.value is not None:
            agreement = summary.second.agreement
            self._say("second_agrees", value=agreement.value, n=agreement.n)
        return material

    def _finish(self, tasks: int, failed: int) -> None:
        rows = {"read": tasks + len(self._rejects), "ok": tasks - failed, "failed": failed}
        self._manifest["counts"] |= {**rows, "rejected": len(self._rejects)}
        self._manifest |= {"finished": utc_now(), "seconds": round(time.monotonic() - self._began, 1)}
        write_manifest(self._out / "run.json", self._manifest)

    # -- 5, 6 ----------------------------------------------------------------------------------------------------

    def _report(self, material: Material, tasks: int, failed: int) -> Artefacts:
        from analyze.report import pages_of, pictures_of
        from analyze.report.brief import Brief

        self._say("step5")
        pictures = pictures_of(material)
        self._say("made", count=len(pictures))
        self._say("step6")
        pages = pages_of(material)
        records = [self._out / name for name in ("run.json", "tasks.jsonl", "per_task.jsonl", "journal.jsonl")]
        lists = [self._out / name for name in ("failed.jsonl", "rejects.jsonl")]
        rejected = len(self._rejects)
        made = Artefacts(
            [*pictures.values(), *pages.values(), *records, *lists],
            tasks=tasks,
            failed=failed,
            rejected=rejected,
            brief=Brief.of(material),
        )
        self._say("made", count=len(pages))
        print()
        self._say("report", path=made["report"])
        seconds = time.monotonic() - self._began
        self._say("done", tasks=tasks, ok=tasks - failed, failed=failed, rejected=rejected, seconds=seconds)
        return made


def is_incomplete(analysis: Analysis) -> bool:
    """Whether a judgement of a task failed, of one of its pairs or between rivals. What checks the judge is no part."""
    entries = (*analysis["rivals"], *analysis.get("round_robin", ()))
    return any(cell["status"] == "failed" for entry in entries for cell in entry["cells"])
