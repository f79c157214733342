"""`python -m analyze.pipeline`: the six steps from tasks to a report.

    1 read tasks   2 ask, both orders of every pair   3 fold verdicts per task
    4 statistics and judge check   5 charts and word clouds   6 reports

Everything that is asked goes through the journal in the output folder, so the run can be killed at any instant and
continued by the same command. Steps 3 to 6 are made again from records each time. Knows no HTTP, and no arithmetic.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from asyncio import Future
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, aclosing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from analyze import settings
from analyze.console import printable
from analyze.errors import EXIT_OK, EXIT_SOME_FAILED, UsageError, in_language
from analyze.files import sha256_of, whole_file
from analyze.lang import Lang, is_lang, language
from analyze.per_task import Analysis, Judge, MeasuredAsker, TaskFacts, facts_of, inserted_texts
from analyze.pipeline_texts import RULE, TEXTS
from analyze.records import Answer, Failure, Outcome, Request, to_json
from analyze.runs.account import Account
from analyze.runs.askers import Asker, ClientAsker, FleetAsker, connected_asker
from analyze.runs.command import Parser, add_run_flags, add_settings, flags_of, interrupted, run_command
from analyze.runs.ending import work_lines
from analyze.runs.journal import Journal, read_outcomes
from analyze.runs.lock import RunLock
from analyze.runs.manifest import Manifest, new_manifest, read_manifest, refuse_other_run, utc_now, write_manifest
from analyze.runs.plan import Plan
from analyze.runs.progress import ProgressLine, Standing
from analyze.runs.replies import as_it_is
from analyze.runs.runner import Stop
from analyze.runs.session import ask_left, settle
from analyze.runs.tally import Part, Tally, manifest_fields
from analyze.second_judge import SAME_SECOND, are_kin, connected_second, of_second_judge, second_urls
from analyze.tiny_model import DEMO_MODEL_NAME
from analyze.tokens import CANNOT_TELL, refuse_unguarded

if TYPE_CHECKING:
    from analyze.judge.cells import Cell
    from analyze.judge.tasks import Task
    from analyze.report.brief import Brief
    from analyze.report.material import Material

ENGINES = ("fleet", "measured")
LOCK = "journal.jsonl.lock"

DEMO_AUDIT_TASKS = 4
"""Audited tasks where none is said and the model is the demo's: its verdicts are noise, and a CPU has to write them."""


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


class Artefacts(Mapping[str, Path]):
    """What a run has made: artefact name (file name without extension) → path.

    Where two files share a name (`report.html`, `report.md`) the name means the first; the other has its full name.
    `failed` tasks of `tasks` have a pair that could not be judged, `rejected` lines were no tasks. A notebook shows
    `brief`.
    """

    def __init__(self, paths: Iterable[Path], *, tasks: int, failed: int, rejected: int, brief: Brief) -> None:
        self._paths: dict[str, Path] = {}
        for path in sorted(paths, key=lambda path: (path.suffix not in (".html", ".png"), path)):
            self._paths[path.name if path.stem in self._paths else path.stem] = path
        self.tasks, self.failed, self.rejected = tasks, failed, rejected
        self._brief = brief

    def __getitem__(self, name: str) -> Path:
        return self._paths[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)

    def __repr__(self) -> str:
        return "\n".join(f"{name}: {path}" for name, path in self._paths.items())

    def _repr_html_(self) -> str:
        return self._brief.html(self)

    def _repr_markdown_(self) -> str:
        return self._brief.markdown(self)

    @property
    def exit_code(self) -> int:
        return EXIT_SOME_FAILED if self.failed or self.rejected else EXIT_OK


async def arun_pipeline(
    input_jsonl: str | PathLike[str] | None = None,
    output_dir: str | PathLike[str] | None = None,
    client: Any = None,
    *,
    model: str | None = None,
    engine: str | None = None,
    lang: str | None = None,
    font_path: str | PathLike[str] | None = None,
    audit_tasks: int | None = None,
    second_judge_endpoints: str | Sequence[str] | None = None,
    second_judge_model: str | None = None,
    **choices: Any,
) -> Artefacts:
    """Judge the tasks of a file and write the report; what is recorded in `output_dir` is not asked again.

    Arguments:
        input_jsonl, output_dir, model, engine, lang, font_path, audit_tasks: the settings of these names; what is not
            given comes from the environment, then the defaults (`INPUT_JSONL`, `OUTPUT_DIR` ...).
        second_judge_endpoints, second_judge_model: servers with another model, which judges the audited tasks too.
        client: a MultiVLLMClient, or any client of the OpenAI client's shape; default: the servers of the settings.
        choices: the fields of `Choices`: base_urls, target, in_flight, skip_bad, update, retry_failed, force_new,
            round_robin (judge rivals against each other too, for a ranking).

    Raises the errors of `analyze.errors`: InputError, NoServerError, MixedRunError, OutputHeldError, Interrupted ...
    """
    chosen = {
        "model": model,
        "analyze_engine": engine,
        "analyze_lang": lang,
        "font_path": font_path,
        "audit_tasks": audit_tasks,
        "second_judge_endpoints": listed(second_judge_endpoints),
        "second_judge_model": second_judge_model,
    }
    return await _pipeline(input_jsonl, output_dir, client, chosen, choices).run()


def run_pipeline(
    input_jsonl: str | PathLike[str] | None = None,
    output_dir: str | PathLike[str] | None = None,
    client: Any = None,
    *,
    model: str | None = None,
    engine: str | None = None,
    lang: str | None = None,
    font_path: str | PathLike[str] | None = None,
    audit_tasks: int | None = None,
    second_judge_endpoints: str | Sequence[str] | None = None,
    second_judge_model: str | None = None,
    **choices: Any,
) -> Artefacts:
    """`arun_pipeline` for code without an event loop, and for notebooks, which have one running already.

    It runs in a thread of its own. A first Ctrl-C lets it finish what is in flight, a second one drops that.
    """
    chosen = {
        "model": model,
        "analyze_engine": engine,
        "analyze_lang": lang,
        "font_path": font_path,
        "audit_tasks": audit_tasks,
        "second_judge_endpoints": listed(second_judge_endpoints),
        "second_judge_model": second_judge_model,
    }
    pipeline = _pipeline(input_jsonl, output_dir, client, chosen, choices)
    with ThreadPoolExecutor(1, thread_name_prefix="analyze-pipeline") as executor:
        running = executor.submit(asyncio.run, pipeline.run())
        while True:
            try:
                return running.result()
            except KeyboardInterrupt:
                if running.done():
                    raise
                pipeline.interrupt()


def listed(urls: str | Sequence[str] | None) -> str | None:
    """Return base URLs as the setting has them: comma separated."""
    return urls if urls is None or isinstance(urls, str) else ",".join(urls)


def _pipeline(
    input_jsonl: object, output_dir: object, client: Any, chosen: Mapping[str, object], choices: Mapping[str, Any]
) -> Pipeline:
    given = {"input_jsonl": input_jsonl, "output_dir": output_dir, **chosen}
    flags = {key: None if value is None else str(value) for key, value in given.items()}
    return Pipeline(settings.Settings(settings.PIPELINE, flags), Choices(**choices), client)


class Pipeline:
    """One run of the six steps."""

    def __init__(self, chosen: settings.Settings, choices: Choices, client: Any = None) -> None:
        """Check what can be checked without reading anything. Raises UsageError."""
        self._settings, self._choices, self._client = chosen, choices, client
        self._lang: Lang = language(chosen[settings.ANALYZE_LANG])
        self._texts = TEXTS[self._lang]
        self._engine = chosen.text(settings.ANALYZE_ENGINE)
        if self._engine not in ENGINES:
            cure = f"use one of: {', '.join(ENGINES)}"
            raise UsageError(f"ANALYZE_ENGINE={self._engine!r} is not known", cure=cure)
        self._audit_tasks = chosen.count(settings.AUDIT_TASKS)
        has_first = self._engine != "measured"
        self._second_urls = second_urls(chosen, has_first=has_first, audit_tasks=self._audit_tasks)
        self._urls = settings.addresses(chosen, choices.base_urls)
        if not chosen.flag(settings.USE_MULTI_VLLM):
            self._urls = self._urls[:1]
        if font := chosen[settings.FONT_PATH]:
            from analyze.report import check_font

            check_font(font)
        self._input = Path(chosen.text(settings.INPUT_JSONL))
        self._out = Path(chosen.text(settings.OUTPUT_DIR))
        self._began = time.monotonic()
        self._rejects: list[dict[str, Any]] = []
        self._manifest: Manifest = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = Stop(on_first=lambda: print(self._texts["stopping"], file=sys.stderr))

    async def run(self) -> Artefacts:
        """Do the six steps. Raises AnalyzeError for all that stops them."""
        self._loop = asyncio.get_running_loop()
        self._say_title()
        tasks = self._read()
        with RunLock(self._out / LOCK):
            judge, facts = await self._ask(tasks)
            recorded = {outcome.id: outcome for outcome in read_outcomes(self._out / "journal.jsonl")}
            failed = self._fold(judge, recorded, facts)
            del recorded
            self._finish(len(tasks), failed)
            return self._report(self._gathered(), len(tasks), failed)

    def interrupt(self) -> None:
        """Stop as after a Ctrl-C; may be called from any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stop.request)

    # -- 1 -------------------------------------------------------------------------------------------------------

    def _read(self) -> list[Task]:
        from analyze.judge.tasks import BadLine, read_tasks

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
        from analyze.judge.tasks import task_to_json

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
            asker = second = None
            if not measured:
                asker = await at_the_end.enter_async_context(aclosing(await self._connected()))
            if asker is not None and self._second_urls:
                second = await at_the_end.enter_async_context(aclosing(await self._connected_second(asker.model)))
            for each in (asker, second):
                if each is not None:
                    await self._guard(tasks, each)
            if self._choices.force_new:
                move_away(self._out)
            measuring = in_daemon_thread(facts_of, tasks)
            with Journal(self._out / "journal.jsonl") as journal:
                before = read_manifest(self._out / "run.json") if journal.seen else None
                judge = Judge(
                    tasks,
                    lang=self._judge_lang(before),
                    measured=measured,
                    audit_tasks=self._to_audit(asker),
                    second_model=second.model if second else None,
                    round_robin=self._choices.round_robin,
                )
                if judge.audited:
                    self._say("audited", tasks=len(judge.audited))
                if self._choices.round_robin:
                    self._say("robin", more=judge.robin_count, all=len(judge.cells))
                chosen = asker or MeasuredAsker(judge, await measuring, self._lang)
                self._manifest = self._new_manifest(judge, before, asker, second)
                if second is not None and not self._choices.update:
                    refuse_other_run(before, self._manifest, SAME_SECOND)
                settle(journal, before, self._manifest, [list(judge.requests())], update=self._choices.update)
                self._keep_tasks(tasks)
                write_manifest(self._out / "run.json", self._manifest)
                await self._ask_cells(judge, journal, chosen)
                if second is not None:
                    with of_second_judge():
                        await self._ask_cells(judge, journal, second, is_second=True)
            return judge, await measuring

    async def _guard(self, tasks: Sequence[Task], asker: FleetAsker | ClientAsker) -> None:
        """Raise InputError where a text to be inserted holds a control token of the model that would stay one."""
        tokens = await asker.unguarded_tokens()
        if tokens is None:
            print(f"   {CANNOT_TELL[self._lang]}")
        refuse_unguarded(inserted_texts(tasks), tokens or (), asker.model)

    def _judge_lang(self, before: Manifest | None) -> Lang:
        """Return the language the judge writes in: that of the recorded run, whatever the console speaks today."""
        recorded = (before or {}).get("judge_lang")
        keep = not self._choices.update and isinstance(recorded, str) and is_lang(recorded)
        return language(recorded) if keep else self._lang

    def _to_audit(self, asker: FleetAsker | ClientAsker | None) -> int:
        """Return on how many tasks the judge is checked.

        The measured judge is not checked: it always says the same, reads no comment, and takes no orders.
        """
        if asker is None:
            return 0
        is_said = self._settings.resolved[settings.AUDIT_TASKS].source != "default"
        return self._audit_tasks if is_said or asker.model != DEMO_MODEL_NAME else DEMO_AUDIT_TASKS

    async def _connected(self) -> FleetAsker | ClientAsker:
        asker = await connected_asker(
            self._client,
            urls=self._urls,
            model=self._settings[settings.MODEL],
            in_flight=self._choices.in_flight,
        )
        self._say_up("up", asker)
        if asker.model == DEMO_MODEL_NAME:
            self._say("demo")
        return asker

    async def _connected_second(self, first: str | None) -> FleetAsker:
        """Return the second judge. `first` is the first one's model."""
        model = self._settings[settings.SECOND_JUDGE_MODEL]
        asker = await connected_second(self._second_urls, model, self._choices.in_flight)
        self._say_up("second_up", asker)
        if are_kin(first, asker.model):
            self._say("second_kin", first=first, second=asker.model)
        return asker

    def _say_up(self, line: str, asker: FleetAsker | ClientAsker) -> None:
        """Say which servers answer, where there are any."""
        if not isinstance(asker, FleetAsker):
            return
        fleet = asker.core.fleet
        self._say(line, up=len(fleet.up), all=len(fleet.instances), model=asker.model)
        for instance in fleet.instances:
            if not instance.is_up:
                self._say("down", url=instance.url, problem=in_language(instance.reason or "", self._lang))

    def _new_manifest(
        self,
        judge: Judge,
        before: Manifest | None,
        asker: FleetAsker | ClientAsker | None,
        second: FleetAsker | None,
    ) -> Manifest:
        from analyze.judge.cells import REPEATED_SAMPLING, SAMPLING
        from analyze.judge.families import same_family
        from analyze.judge.probabilities import LOGPROBS
        from analyze.judge.prompts import prompts_sha256
        from analyze.judge.schema import schema_sha256

        judge_lang = self._judge_lang(before)
        model = asker.model if asker else None
        of_second: dict[str, Any] = {}
        if second is not None:
            of_second = {"second_model": second.model, "second_judge": {"same_family": are_kin(model, second.model)}}
        authors = {solution.author for task in judge.tasks for solution in (task.target, *task.rivals)}
        return new_manifest(
            "pipeline",
            engine="client" if isinstance(asker, ClientAsker) else self._engine,
            model=model,
            demo=model == DEMO_MODEL_NAME,
            lang=self._lang,
            judge_lang=judge_lang,
            same_family=sorted(author for author in authors if model and same_family(model, author)),
            round_robin=self._choices.round_robin,
            audit={"tasks": judge.audited, "sampling": REPEATED_SAMPLING},
            **of_second,
            input={"path": str(self._input), "sha256": sha256_of(self._input), "rows": len(judge.tasks)},
            settings=self._settings.record(),
            asked={
                "prompt": prompts_sha256(judge_lang),
                "schema": schema_sha256(),
                "sampling": SAMPLING,
                **(LOGPROBS if asker and model != DEMO_MODEL_NAME else {}),
            },
        )

    async def _ask_cells(self, judge: Judge, journal: Journal, asker: Asker, *, is_second: bool = False) -> None:
        """Ask the cells that are the first judge's, or the second's, and that no record answers."""
        cells = judge.cells_for(second=is_second)
        account, tally = Account(), Tally()
        plan = Plan(journal.seen, account, retry_failed=self._choices.retry_failed)
        wanted = plan.left_of(list(judge.requests(cells)))
        tasks = TaskProgress(judge.audited if is_second else judge.tasks, cells, wanted, journal)
        fleet = asker.core.fleet if isinstance(asker, FleetAsker) else None
        progress = ProgressLine(
            self._texts["second_label" if is_second else "label"],
            self._lang,
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
                    journal,
                    account,
                    stop=self._stop,
                    progress=progress,
                    on_outcome=hear,
                    # The demo's verdicts are noise; to tell alternatives of each token kept its servers silent for 6 s.
                    around=as_it_is if self._manifest["demo"] else judge.around,
                )
        finally:
            progress.close()
        seconds, uses = time.monotonic() - began, fleet.uses(time.monotonic()) if fleet else {}
        ended = {outcome.id: outcome for outcome in read_outcomes(journal.answers_path) if outcome.id in judge.cells}
        left = self._say_cells("second_cells" if is_second else "cells", cells, ended, account.before)
        self._say_work(tally, tally.parts(uses), seconds)
        work = manifest_fields(tally, uses, seconds)
        self._manifest |= {"second_judge": {**self._manifest["second_judge"], **work}} if is_second else work
        counts = self._list_failed(judge, ended)
        has_ended = bool(left) or self._stop.cut_short
        if has_ended or not counts["cells_left"]:  # else the second judge comes next
            self._manifest["counts"] = counts
        write_manifest(self._out / "run.json", self._manifest)
        if has_ended:
            raise interrupted(self._lang)

    def _say_cells(self, line: str, cells: Sequence[Cell], ended: Mapping[str, Outcome], before: int) -> int:
        """Say how these cells have ended; return how many have not."""
        outcomes = [ended[cell.id] for cell in cells if cell.id in ended]
        kinds = Counter(outcome.kind for outcome in outcomes if isinstance(outcome, Failure))
        failed, left = kinds.total(), len(cells) - len(outcomes)
        self._say(line, ok=len(outcomes) - failed, before=before, failed=failed, left=left)
        if failed:
            said = ", ".join(f"{kind} {count}" for kind, count in kinds.most_common())
            self._say("kinds", kinds=said, path=self._out / "failed.jsonl")
        return left

    def _list_failed(self, judge: Judge, ended: Mapping[str, Outcome]) -> dict[str, int]:
        """List the failed cells in failed.jsonl, and return how all cells have ended.

        A probe is a question of our own beside the input's rows. One that fails takes evidence from the check of the
        judge, which says so; the task is judged all the same, and neither it nor the run counts as failed.
        """
        failures = [outcome for outcome in ended.values() if isinstance(outcome, Failure)]
        write_lines(self._out / "failed.jsonl", (failure_row(judge, failure) for failure in failures))
        probes = sum(judge.cells[failure.id].probe != "plain" for failure in failures)
        return {
            "cells": len(judge.cells),
            "cells_ok": len(ended) - len(failures),
            "cells_failed": len(failures),
            "cells_left": len(judge.cells) - len(ended),
            "probes_failed": probes,
        }

    def _say_work(self, tally: Tally, parts: Sequence[Part], seconds: float) -> None:
        """Say what the servers did, where there are any."""
        in_flight, too_long = self._choices.in_flight, tally.failed["too_long"]
        lines = work_lines(tally, parts, seconds, self._lang, in_flight=in_flight, too_long=too_long)
        for line in lines if parts else ():
            print(printable(f"   {line}"))

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
        material = gather(self._out, lang=self._lang, font_path=self._settings[settings.FONT_PATH])
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
            self._say("rate", value=rate.value, low=low, high=high, n=summary.tasks)
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

    # -- console -------------------------------------------------------------------------------------------------

    def _say_title(self) -> None:
        print(f"{RULE}\n{self._texts['title']}\n{RULE}")
        if self._engine == "measured":
            self._say("measured")
        elif self._client is not None and not hasattr(self._client, "base_urls"):
            self._say("client")
        else:
            urls = getattr(self._client, "base_urls", self._urls)
            self._say("multi" if len(urls) > 1 else "single", count=len(urls), where=self._where(urls))

    def _where(self, urls: Sequence[str]) -> str:
        """Say where the servers are: their ports if that is all in which they differ, else their addresses."""
        parts = [urlsplit(url) for url in urls]
        if len({part.hostname for part in parts}) == 1 and all(part.port for part in parts):
            return self._texts["ports"].format(ports=[part.port for part in parts])
        return ", ".join(urls)

    def _say(self, line: str, **values: Any) -> None:
        text = self._texts[line].format(**values)
        print(printable(f"\n{text}" if line.startswith("step") else text), flush=True)


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


def is_incomplete(analysis: Analysis) -> bool:
    """Whether a judgement of a task failed, of one of its pairs or between rivals. What checks the judge is no part."""
    entries = (*analysis["rivals"], *analysis.get("round_robin", ()))
    return any(cell["status"] == "failed" for entry in entries for cell in entry["cells"])


def failure_row(judge: Judge, failure: Failure) -> dict[str, Any]:
    cell = judge.cells[failure.id]
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


def write_lines(path: Path, rows: Iterable[Any]) -> None:
    """Write JSON lines, whole or not at all."""
    with whole_file(path, "wb") as file:
        file.writelines(to_json(row) + b"\n" for row in rows)


def in_daemon_thread(function: Callable[[Sequence[Task]], TaskFacts], tasks: Sequence[Task]) -> Future[TaskFacts]:
    """Run `function` in a thread that holds up nobody: neither an error nor a Ctrl-C waits for it to end."""
    loop = asyncio.get_running_loop()
    future: Future[TaskFacts] = loop.create_future()

    def run() -> None:
        try:
            facts, error = function(tasks), None
        except Exception as raised:  # noqa: BLE001 - carried over to the awaiting coroutine
            facts, error = {}, raised
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(tell, facts, error)

    def tell(facts: TaskFacts, error: Exception | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(facts)
        else:
            future.set_exception(error)

    threading.Thread(target=run, name="analyze-facts", daemon=True).start()
    return future


def move_away(folder: Path) -> None:
    """Move everything of an output folder into `previous/<UTC time>/`."""
    old = [path for path in folder.iterdir() if path.name not in ("previous", LOCK)]
    if not old:
        return
    place = folder / "previous" / datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%S.%fZ")
    place.mkdir(parents=True)
    for path in old:
        path.rename(place / path.name)


def parse(argv: Sequence[str]) -> tuple[settings.Settings, Choices] | settings.Settings:
    """Read the command line; with --show-settings return the settings alone. Raises UsageError."""
    parser = Parser("analyze.pipeline", description=__doc__.splitlines()[0] if __doc__ else None)
    add_settings(parser, settings.PIPELINE, language())
    add_run_flags(parser)
    parser.add_argument("--target", metavar="AUTHOR", help="judge this author, where tasks list `solutions`")
    parser.add_argument("--round-robin", action="store_true", help="judge rivals against each other too, and rank all")
    parser.add_argument("--force-new", action="store_true", help="move what is there to previous/ and start afresh")
    args = parser.parse_args(argv)
    chosen = flags_of(args, settings.PIPELINE)
    if args.show_settings:
        return chosen
    return chosen, Choices(
        base_urls=args.base_url,
        target=args.target,
        in_flight=args.in_flight,
        skip_bad=args.skip_bad,
        update=args.update,
        retry_failed=args.retry_failed,
        force_new=args.force_new,
        round_robin=args.round_robin,
    )


def command(argv: Sequence[str]) -> int:
    parsed = parse(argv)
    if isinstance(parsed, settings.Settings):
        print(parsed.show())
        return EXIT_OK
    return asyncio.run(Pipeline(*parsed).run()).exit_code


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(command, argv)


if __name__ == "__main__":
    sys.exit(main())
