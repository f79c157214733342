"""A file of rows in, a file of records out: what every file job does, whatever it asks about a row.

    rows ──> plan ──> ask ──> output            one line an answered row, as they come
                         └──> output.failed.jsonl    one line a failed row, with the reason
Beside them `output.run.json` (what this run is) and, with --skip-bad, `output.rejects.jsonl`. The input is read once,
as rows are asked; before that, for a moment, to find what is wrong with it soon. A job says what a row asks (`maker`),
what a line looks like (`lines`), and who is asked (`connect`). Knows none of them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from analyze.console import printable
from analyze.errors import EXIT_OK, EXIT_SOME_FAILED, UsageError, in_language
from analyze.files import clear_leftovers, whole_file
from analyze.fleet import Fleet
from analyze.lang import Lang
from analyze.records import Request
from analyze.runs.account import Account
from analyze.runs.askers import Asker, FleetAsker
from analyze.runs.command import command_argv, interrupted
from analyze.runs.duplicates import Duplicates
from analyze.runs.ending import last_lines
from analyze.runs.index import Index
from analyze.runs.inputs import Input
from analyze.runs.journal import Journal, WhatIsKnown, offsets, starts, what_is_known
from analyze.runs.lines import BATCH, Lines
from analyze.runs.lock import RunLock
from analyze.runs.manifest import new_manifest, read_manifest, rows_kept_current, utc_now, write_manifest
from analyze.runs.plan import Plan
from analyze.runs.progress import Load, ProgressLine, Standing
from analyze.runs.replies import Around, as_it_is
from analyze.runs.rows import OnBad, Rejects, RequestMaker, Rows, Shard, Source
from analyze.runs.runner import Chunks, Stop
from analyze.runs.seen import Seen
from analyze.runs.session import NO_LIMITS, Limits, ask_left, settle
from analyze.runs.tally import Tally, manifest_fields

T = TypeVar("T")

log = logging.getLogger(__name__)

LOOK_FIRST_S = 0.02
"""Before anything is asked, as much of the input is looked through as can be in this time: 1,500 rows of 1 kB. They
are read again when their turn comes, at 15 us a row."""

TEXTS: dict[Lang, dict[str, str]] = {
    "en": {
        "servers": "{up} of {all} servers, model {model}",
        "down": "  not used: {url}: {problem}",
        "stopping": "finishing what is in flight; Ctrl-C stops at once",
        "no_locks": "{path}: this file system has no working locks; see that no other run writes there",
        "answers": "answers:  {path}",
        "failures": "failures: {path} ({kinds})",
        "rejects": "rejects:  {path}",
    },
    "zh": {
        "servers": "{all} 个服务器中 {up} 个可用，模型 {model}",
        "down": "  未使用: {url}: {problem}",
        "stopping": "正在完成已发出的请求；按 Ctrl-C 立即停止",
        "no_locks": "{path}: 此文件系统的文件锁无效，请确认没有其他任务写入此处",
        "answers": "结果: {path}",
        "failures": "失败: {path}（{kinds}）",
        "rejects": "拒收: {path}",
    },
}


@dataclass(frozen=True, slots=True)
class Paths:
    """The files of a run with this output, to which answers are appended as they come.

    An output that cannot grow by lines (`.json`, a table) is built at the end, from a journal beside it.
    """

    output: Path

    @property
    def answers(self) -> Path:
        return self.output if self.output.suffix == ".jsonl" else self.beside("journal.jsonl")

    def beside(self, ending: str) -> Path:
        return self.output.with_name(f"{self.output.name}.{ending}")

    @property
    def failures(self) -> Path:
        return self.beside("failed.jsonl")

    @property
    def rejects(self) -> Path:
        return self.beside("rejects.jsonl")

    @property
    def manifest(self) -> Path:
        return self.beside("run.json")

    @property
    def lock(self) -> Path:
        return self.beside("lock")

    @property
    def all(self) -> tuple[Path, ...]:
        return self.answers, self.failures, self.rejects, self.manifest


def paths_of(output: Path, source: str) -> Paths:
    """Return the files of a run with this output. Raises UsageError where it is the input as well."""
    with suppress(OSError):  # one of them is not there, or cannot be looked at: who opens it says so
        if source != "-" and output.samefile(source):
            raise UsageError(f"{output} is the input too; it would be overwritten", cure="give another output with -o")
    return Paths(output.resolve() if output.is_symlink() else output)  # a link is the same output, and stays one


@dataclass(frozen=True, slots=True, kw_only=True)
class FileJob:
    """One invocation, checked: what to read, where to write, what to make of rows and answers.

    `label` stands before the progress; `told` are the job's own fields of the manifest. `ready` makes what is left
    ready to be asked, as it is read; `around` goes around each asking (`runs.replies`). `finish` is called when all is
    recorded, in the manifest too; what it returns is said before the account.
    """

    name: str
    label: str
    input: str  # a path, or - for standard input
    paths: Paths
    lang: Lang
    list_key: str | None = None  # where rows are listed in a `.json` that is one object
    maker: RequestMaker | None = None
    lines: Lines = BATCH
    limit: int | None = None
    shard: Shard | None = None
    in_flight: int | None = None
    limits: Limits = NO_LIMITS
    skip_bad: bool = False
    update: bool = False
    retry_failed: bool = False
    dedupe: bool = False
    ordered: bool = False
    log_json: bool = False
    told: Mapping[str, Any] = field(default_factory=dict)
    ready: Callable[[Chunks], Chunks] = lambda chunks: chunks
    around: Around = as_it_is
    finish: Callable[[FileJob], Sequence[str]] = lambda job: ()

    def source(self) -> Source:
        """Return the input, to be read from its beginning."""
        return Input(self.input, list_key=self.list_key)

    def journal(self) -> Journal:
        """Open what the run records in. Raises InputError where that holds something else."""
        return Journal(self.paths.answers, self.paths.failures, lines=self.lines)

    def known(self) -> WhatIsKnown:
        """Return what is recorded, changing nothing. Raises InputError."""
        return what_is_known(self.paths.answers, self.paths.failures, self.lines)

    def planned(self, rows: Sequence[Request], seen: Seen) -> None:
        """Hear of a chunk of rows in their order before they are asked; `seen` is what is recorded."""

    def rows(self, source: Source, account: Account | None = None, rejects: Rejects | None = None) -> Rows:
        """Return a pass over the input. Rows that cannot be used are an error, or with --skip-bad go to `rejects`."""
        on_bad = None if not self.skip_bad else _pass_over if rejects is None else self.rejected_by(rejects)
        return Rows(source, template=self.maker, limit=self.limit, shard=self.shard, account=account, on_bad=on_bad)

    def rejected_by(self, rejects: Rejects) -> OnBad:
        """Return what is told of rows that cannot be used, and lists them."""
        return rejects.add


def _pass_over(line: int, reason: str, raw: str) -> None:
    """It is listed when its turn to be asked has come."""


async def run(job: FileJob, connect: Callable[[], Awaitable[Asker]]) -> int:
    """Run the job; return the exit code. Raises AnalyzeError for all that stops it.

    `connect` finds out who can be asked. It is called when nothing is seen to be wrong with the input, and before
    anything of an earlier run is touched.
    """
    source = job.source()
    if not source.can_be_read_again and (job.update or job.ordered):
        raise UsageError("--update and --ordered read the input twice", cure="save it as a file, and give that")
    if not source.can_be_read_again and job.paths.answers != job.paths.output:
        cure = f"-o {job.paths.output.with_suffix('.jsonl')}, or save the input as a file, and give that"
        raise UsageError(
            f"{job.paths.output} is built in the order of the input, which is read twice for it", cure=cure
        )
    with (
        RunLock(job.paths.lock) as lock,
        job.journal() as journal,
    ):
        if not lock.is_sure:
            log.warning(TEXTS[job.lang]["no_locks"].format(path=job.paths.answers))
        _look_first(job, journal)
        asker = await connect()
        try:
            return await Execution(job, source, journal, asker).run()
        finally:
            await asker.aclose()


def _look_first(job: FileJob, journal: Journal) -> None:
    """Look at the first rows, so that what is wrong with them is told before anything is asked.

    Raises InputError, and MixedRunError where they have changed since they were recorded.
    """
    source = job.source()
    if not source.can_be_read_again:
        return
    plan = Plan(Seen() if job.update else journal.seen, Account())
    for chunk in for_a_while(job.rows(source).chunks(), LOOK_FIRST_S):
        plan.left_of(chunk)


def nothing_left(job: FileJob) -> bool:
    """Whether every row of the input has its record, so that nobody needs to be there to answer.

    Reads the whole input: for jobs to which an answerer costs more. Raises InputError, MixedRunError.
    """
    if job.update or not job.source().can_be_read_again:
        return False
    plan = Plan(job.known().seen, Account(), retry_failed=job.retry_failed)
    return not any(map(plan.left_of, job.rows(job.source()).chunks()))


class Execution:
    """One execution of a job: from servers that answer to the account of all rows."""

    def __init__(self, job: FileJob, source: Source, journal: Journal, asker: Asker) -> None:
        self._job, self._source, self._journal, self._asker = job, source, journal, asker
        self._fleet = asker.core.fleet if isinstance(asker, FleetAsker) else None
        self._loads: Callable[[], Sequence[Load]] = getattr(asker, "loads", tuple)
        self._texts = TEXTS[job.lang]
        self._account, self._tally = Account(), Tally()
        self._duplicates = Duplicates() if job.dedupe else None
        self._is_all_read = False
        self._stop = Stop()
        self._began = time.monotonic()
        told = {"engine": "fleet", "model": asker.model, **job.told}
        self._manifest = new_manifest(job.name, command=command_argv(), input={"path": job.input}, **told)

    async def run(self) -> int:
        """Ask what is left, and say how every row has ended. Return the exit code."""
        job, journal = self._job, self._journal
        before = read_manifest(job.paths.manifest)
        chunks = job.rows(job.source()).chunks() if job.update else ()
        settle(journal, before, self._manifest, chunks, update=job.update)
        clear_leftovers(*job.paths.all)
        write_manifest(job.paths.manifest, self._manifest)
        if self._fleet is not None:
            _say_servers(self._fleet, self._asker.model, job.lang)
        rejects = Rejects(job.paths.rejects, job.input)
        try:
            await self._ask(rejects)
            journal.tidy()
            if job.ordered and not self._account.left:
                journal.close()
                put_in_order(job.paths.answers, chain.from_iterable(job.rows(job.source()).chunks()), job.lines)
        finally:
            rejects.close()
            journal.close()  # on the disk before the manifest says so
            self._end()
        if self._stop.cut_short or self._account.left:
            raise interrupted(job.lang)
        return EXIT_SOME_FAILED if self._account.failed.total() or self._account.rejected else EXIT_OK

    async def _ask(self, rejects: Rejects) -> None:
        job, account = self._job, self._account
        plan = Plan(self._journal.seen, account, retry_failed=job.retry_failed, duplicates=self._duplicates)
        progress = ProgressLine(
            job.label,
            job.lang,
            self._tally,
            self._standing,
            loads=self._loads,
            log_json=job.log_json,
        )
        stop = self._stop = Stop(on_first=lambda: progress.note(self._texts["stopping"]))

        left = job.ready(self._left(job.rows(self._source, account, rejects), plan))
        known = rows_kept_current(
            job.paths.manifest, self._manifest, self._rows_expected, is_all_read=lambda: self._is_all_read
        )
        try:
            with stop.on_signals(), known:
                await ask_left(
                    left,
                    self._asker,
                    self._journal,
                    account,
                    stop=stop,
                    progress=progress,
                    on_outcome=self._tally.add,
                    limits=job.limits,
                    around=job.around,
                )
            self._answer_duplicates()
        finally:
            progress.close()

    def _standing(self) -> Standing:
        account, rows = self._account, self._rows_expected()
        left = None if rows is None else rows - account.read + account.left
        return Standing(account.ok, account.failed.total(), left, is_exact=self._is_all_read)

    def _rows_expected(self) -> float | None:
        """Return how many rows the input has; until all are read, by what has been read of the file: the rest is taken
        for alike."""
        account, fraction = self._account, self._source.fraction_read
        if self._is_all_read:
            return account.read
        if not fraction or not account.read:
            return None
        total = account.read / fraction
        return total if self._job.limit is None else min(total, self._job.limit)

    def _left(self, rows: Rows, plan: Plan) -> Chunks:
        if not self._source.can_be_read_again:
            return self._left_as_they_come(rows, plan)
        return self._left_in_turn(rows, plan)

    def _left_in_turn(self, rows: Rows, plan: Plan) -> Iterator[list[Request]]:
        for chunk in rows.chunks():
            left = plan.left_of(chunk)
            self._job.planned(chunk, self._journal.seen)
            yield left
        self._is_all_read = True

    async def _left_as_they_come(self, rows: Rows, plan: Plan) -> AsyncIterator[list[Request]]:
        async for chunk in rows.chunks_as_they_come():
            yield plan.left_of(chunk)
        self._is_all_read = True

    def _answer_duplicates(self) -> None:
        if self._duplicates:
            for outcome in self._duplicates.outcomes(self._job.paths.answers, self._job.paths.failures):
                self._account.ended(outcome, self._journal.record(outcome))

    def _end(self) -> None:
        """Say how every row has ended, and write it down."""
        job, account = self._job, self._account
        is_over = not self._stop.cut_short and not account.left
        seconds = time.monotonic() - self._began
        uses = self._fleet.uses(time.monotonic()) if self._fleet is not None else {}
        self._say_files()
        lines = last_lines(
            account,
            self._tally,
            self._tally.parts(uses),
            seconds,
            job.lang,
            in_flight=job.in_flight,
            is_all_read=self._is_all_read,
        )
        self._manifest["input"] |= {"sha256": self._source.sha256, "rows": account.read if self._is_all_read else None}
        ended = {"counts": account.counts(), "finished": utc_now() if is_over else None}
        write_manifest(job.paths.manifest, {**self._manifest, **manifest_fields(self._tally, uses, seconds), **ended})
        print("\n".join([*job.finish(job), *lines]))

    def _say_files(self) -> None:
        texts, paths, failed = self._texts, self._job.paths, self._account.failed
        print(texts["answers"].format(path=paths.output))
        kinds = sorted(kind for kind, count in failed.items() if count)
        if kinds and paths.failures.exists():  # some jobs have failures in their output, and no such file
            print(texts["failures"].format(path=paths.failures, kinds=", ".join(kinds)))
        if self._account.rejected:
            print(texts["rejects"].format(path=paths.rejects))


def for_a_while(items: Iterable[T], seconds: float) -> Iterator[T]:
    """Yield items until so much time has passed."""
    until = time.monotonic() + seconds
    for item in items:
        yield item
        if time.monotonic() > until:
            return


def _say_servers(fleet: Fleet, model: str | None, lang: Lang) -> None:
    texts = TEXTS[lang]
    print(printable(texts["servers"].format(up=len(fleet.up), all=len(fleet.instances), model=model)))
    for instance in fleet.instances:
        if not instance.is_up:
            print(printable(texts["down"].format(url=instance.url, problem=in_language(instance.reason or "", lang))))


def put_in_order(path: Path, requests: Iterable[Request], lines: Lines = BATCH) -> None:
    """Rewrite a finished output in the order of the input, in one step; rows of earlier inputs come last.

    Memory holds one offset a row, no answers.
    """
    places, written = starts(path, lines), Index()
    with open(path, "rb") as old, whole_file(path, "wb") as new:
        earlier = (row_id for row_id, _ in offsets(path, lines))
        for row_id in chain((request.id for request in requests), earlier):
            start_of_line = places.get(row_id)
            if start_of_line is not None and written.add(row_id):
                old.seek(start_of_line)
                new.write(old.readline())
