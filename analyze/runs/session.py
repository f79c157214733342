"""One execution over one output: is it the same run, what is left, ask it, keep it. The same for every job.

    connect ──> settle: refuse to mix runs, or retire what is asked again ──> ask_left
Nothing recorded is touched before it is known that somebody can answer. Knows no job and no file format.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass

from analyze.core import InstanceReport
from analyze.errors import AnalyzeError, StoppedEarly, TimeUp
from analyze.records import Failure, Outcome, Request
from analyze.runs.account import Account
from analyze.runs.askers import Asker, FleetAsker, no_server
from analyze.runs.journal import SYNC_AFTER_S, Journal
from analyze.runs.manifest import Manifest, is_other_run, refuse_other_run
from analyze.runs.plan import changed_rows, mixed
from analyze.runs.progress import ProgressLine
from analyze.runs.replies import Around, as_it_is
from analyze.runs.runner import Chunks, Stop, outcomes

SAME_RUN = {"engine": "the engine", "model": "the model"}

FEWEST_TELLING = 50
"""Outcomes before their share of failures is believed: of 50 rows with 1 % failures, 3 fail once in 70 runs."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When a run stops early. `max_error_rate`: share of failures among the rows that this execution has asked."""

    max_time_s: float | None = None
    max_error_rate: float | None = None


NO_LIMITS = Limits()


def settle(
    journal: Journal,
    before: Manifest | None,
    now: Manifest,
    chunks: Iterable[Sequence[Request]],
    *,
    update: bool,
) -> None:
    """Make sure that the recorded run (`before`) is this one (`now`); with `update`, retire the lines that differ.

    `chunks` are of rows to look at: all of them with `update`, else as many as can be had in short time; the others
    are looked at when they are planned. Raises MixedRunError where the engine, the model or rows differ.
    """
    if not journal.seen:
        return
    if not update:
        refuse_other_run(before, now, SAME_RUN)
        if changed := list(changed_rows(chunks, journal.seen)):
            raise mixed(changed)
    elif is_other_run(before, now, SAME_RUN):
        journal.retire(lambda row_id: True)
    elif retired := set(changed_rows(chunks, journal.seen)):
        journal.retire(retired.__contains__)


async def ask_left(
    left: Chunks,
    asker: Asker,
    journal: Journal,
    account: Account,
    *,
    stop: Stop,
    progress: ProgressLine,
    on_outcome: Callable[[Outcome], None],
    limits: Limits = NO_LIMITS,
    around: Around = as_it_is,
) -> None:
    """Ask what is left and record each outcome before `account` and `on_outcome` hear of it; `around`: see `outcomes`.

    Raises ConstraintIgnoredError, OutputLostError; StoppedEarly at a limit; NoServerError when all servers are gone and
    none comes back, with the rows not asked left to the next run.
    """
    if (speak := getattr(asker, "speak", None)) is not None:
        speak(progress.note, progress.lang)

    def keep(request: Request, outcome: Outcome) -> None:
        if isinstance(outcome, Failure) and isinstance(asker, FleetAsker) and asker.core.gave_up:
            raise no_server([InstanceReport(i.url, problem=i.reason) for i in asker.core.fleet.instances])
        account.ended(outcome, journal.record(outcome, request))

    asked = failed = 0
    with _time_limit(stop, limits.max_time_s), _synced_each_second(journal, stop):
        async with aclosing(outcomes(left, asker, stop=stop, keep=keep, around=around)) as stream:
            async for outcome in stream:
                on_outcome(outcome)
                asked, failed = asked + 1, failed + isinstance(outcome, Failure)
                if _fail_too_often(asked, failed, limits.max_error_rate) and not stop.wanted:
                    stop.request(_too_many(asked, failed))


@contextmanager
def _synced_each_second(journal: Journal, stop: Stop) -> Iterator[None]:
    """Sync the last records too, where no other follows for a while."""

    async def sync() -> None:
        try:
            while True:
                await asyncio.sleep(SYNC_AFTER_S)
                journal.sync()
        except AnalyzeError as error:
            stop.request(error)

    syncing = asyncio.create_task(sync())
    try:
        yield
    finally:
        syncing.cancel()


@contextmanager
def _time_limit(stop: Stop, max_time_s: float | None) -> Iterator[None]:
    if max_time_s is None:
        yield
        return
    reason = TimeUp("the time is up; everything recorded is safe", cure="the same command continues")

    def time_is_up() -> None:
        if not stop.wanted:
            stop.request(reason)

    timer = asyncio.get_running_loop().call_later(max_time_s, time_is_up)
    try:
        yield
    finally:
        timer.cancel()


def _fail_too_often(asked: int, failed: int, limit: float | None) -> bool:
    return limit is not None and asked >= FEWEST_TELLING and failed > limit * asked


def _too_many(asked: int, failed: int) -> StoppedEarly:
    return StoppedEarly(
        f"{failed} of {asked} rows failed, more than --max-error-rate allows; everything recorded is safe",
        cure="look at the failures; the same command continues",
    )
