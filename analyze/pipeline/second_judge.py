"""A second judge: another model, on servers of its own, that judges the audited tasks too. Knows no task and no file.

Who names one wants to know whether another model would have said the same. It enters no result, so a run whose second
judge cannot be reached goes on without it as soon as it is no longer named.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from analyze import settings
from analyze.errors import NoServerError, UsageError
from analyze.judge.families import same_family
from analyze.runs.askers import FleetAsker
from analyze.settings import Settings

SAME_SECOND = {"second_model": "the second judge's model"}
"""What a continued run must have in common with the recorded one, where both have a second judge."""


def second_urls(chosen: Settings, *, has_first: bool, audit_tasks: int) -> tuple[str, ...]:
    """Return where the second judge is, nothing where none is named. Raises UsageError where it had no question."""
    named, model = chosen[settings.SECOND_JUDGE_ENDPOINTS], chosen[settings.SECOND_JUDGE_MODEL]
    if not named:
        if model:
            cure = "SECOND_JUDGE_ENDPOINTS=http://HOST:PORT/v1 says where"
            raise UsageError(f"SECOND_JUDGE_MODEL={model!r} is given, but not which servers serve it", cure=cure)
        return ()
    if not has_first:
        cure = "ANALYZE_ENGINE=fleet, or leave SECOND_JUDGE_ENDPOINTS away"
        raise UsageError("a second judge needs a first one, and ANALYZE_ENGINE=measured asks no model", cure=cure)
    if not audit_tasks:
        cure = f"AUDIT_TASKS={settings.AUDIT_TASKS.default}, or leave SECOND_JUDGE_ENDPOINTS away"
        raise UsageError("a second judge is asked on the audited tasks, and AUDIT_TASKS=0 names none", cure=cure)
    return settings.endpoints(named)


async def connected_second(urls: tuple[str, ...], model: str | None, in_flight: int | None) -> FleetAsker:
    """Return the second judge, connected. Raises NoServerError, and UsageError where its model cannot be settled."""
    api_key = settings.api_key(Settings(settings.ADDRESSES)[settings.VLLM_API_KEY])
    asker = FleetAsker(urls, api_key=api_key, in_flight=in_flight)
    try:
        with of_second_judge():
            await asker.connect(model)
    except BaseException as error:
        await asker.aclose()
        if isinstance(error, UsageError):
            cure = "choose with --second-judge-model"
            raise UsageError(f"the second judge: {error.message}", cure=cure) from error
        raise
    return asker


@contextmanager
def of_second_judge() -> Iterator[None]:
    """Say of servers that cannot be reached that they are the second judge's, and what can be done."""
    try:
        yield
    except NoServerError as error:
        cure = "start its servers, or leave SECOND_JUDGE_ENDPOINTS away: the run goes on without it"
        raise NoServerError(f"the second judge: {error.message}", cure=cure) from error


def are_kin(first: str | None, second: str | None) -> bool:
    """Tell whether two judges are of one family of models, or one model: they may share their errors."""
    return first == second or same_family(first or "", second or "")
