"""One execution over one output: is it the same run, what is left, ask it, keep it. The same for every job.

    connect ──> settle: refuse to mix runs, retire what is asked again ──> ask_left
Nothing recorded is touched before it is known that somebody can answer. Knows no job and no file format.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import aclosing

from analyze.core import InstanceReport
from analyze.records import Failure, Outcome, Request
from analyze.runs.askers import Asker, FleetAsker, no_server
from analyze.runs.journal import Journal
from analyze.runs.manifest import Manifest, refuse_other_run
from analyze.runs.plan import mixed, stale
from analyze.runs.progress import Progress
from analyze.runs.replies import ReplyCheck
from analyze.runs.runner import Requests, Stop, outcomes

SAME_RUN = {"engine": "the engine", "model": "the model"}


def settle(
    journal: Journal,
    before: Manifest | None,
    now: Manifest,
    requests: Iterable[Request],
    *,
    update: bool,
    retry_failed: bool,
) -> None:
    """Make sure that the recorded run (`before`) is this one (`now`), and retire the lines that it will replace.

    Raises MixedRunError where the engine, the model or rows differ; with `update` those lines are retired instead.
    """
    if not journal.seen:
        return
    changed, again = stale(requests, journal.seen, retry_failed=retry_failed)
    if not update:
        refuse_other_run(before, now, SAME_RUN)
        if changed:
            raise mixed(changed)
    elif before is not None and any(before.get(key) != now[key] for key in SAME_RUN):
        changed = list(journal.seen)
    journal.retire({*changed, *again})


async def ask_left(
    left: Requests,
    asker: Asker,
    journal: Journal,
    *,
    stop: Stop,
    progress: Progress,
    on_outcome: Callable[[Outcome], None],
) -> None:
    """Ask what is left and record each outcome before `on_outcome` hears of it.

    Raises ConstraintIgnoredError, OutputLostError; NoServerError when all servers are gone and none comes back, with
    the rows not asked left to the next run.
    """
    check = ReplyCheck()
    if isinstance(asker, FleetAsker):
        asker.core.on_change = progress.note

    def keep(request: Request, outcome: Outcome) -> Outcome:
        if isinstance(outcome, Failure) and isinstance(asker, FleetAsker) and asker.core.gave_up:
            raise no_server([InstanceReport(i.url, problem=i.reason) for i in asker.core.fleet.instances])
        outcome = check(request, outcome)
        journal.record(outcome)
        return outcome

    stream = outcomes(left, asker, stop=stop, keep=keep)
    async with aclosing(stream):
        async for outcome in stream:
            on_outcome(outcome)
