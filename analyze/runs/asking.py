"""`ask_many`: any number of requests in, one Answer or Failure each out, as they finish. Knows no job."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import ExitStack, aclosing
from os import PathLike
from pathlib import Path
from typing import Any

from analyze.errors import InputError
from analyze.files import clear_leftovers
from analyze.loops import LoopThread
from analyze.records import Answer, ChatRequest, Failure, Outcome, Request
from analyze.runs.account import Account
from analyze.runs.askers import ClientAsker, FleetAsker, connected_asker
from analyze.runs.ids import Fields, RowIds, fields_of, requests_of
from analyze.runs.journal import Journal
from analyze.runs.lock import RunLock
from analyze.runs.manifest import new_manifest, read_manifest, refuse_other_run, utc_now, write_manifest
from analyze.runs.plan import Plan, chunks
from analyze.runs.runner import Chunks, Stop, outcomes
from analyze.runs.seen import Seen
from analyze.runs.session import SAME_RUN
from analyze.runs.tally import Tally, manifest_fields

Item = ChatRequest | Mapping[str, Any]


async def aask_many(
    requests: Iterable[Item] | AsyncIterable[Item],
    client: Any = None,
    *,
    journal: str | PathLike[str] | None = None,
    model: str | None = None,
    in_flight: int | None = None,
) -> AsyncGenerator[Answer | Failure, None]:
    """Ask every request and yield its Answer or Failure as it finishes; memory holds what is in flight and read ahead
    (20,000 requests or 64 MiB at most), of which those for one server and the long ones are asked together.

    Arguments:
        requests: ChatRequests or `{"id"?, "group"?, "url"?, "body": {...}}`; any iterable, ten million rows included.
        client: a MultiVLLMClient, any client of the OpenAI client's shape, or None for the servers of the settings.
        journal: a file that remembers outcomes. Rows that it has answered are not asked again, nor yielded again.
        model: fills requests that name none; default: the one model that all servers report.
        in_flight: requests out at a time, in all; default: as many as each server can use, found out from its queue.

    Raises NoServerError, UsageError, ConstraintIgnoredError (a server does not apply a schema); MixedRunError (a row of
    the journal has other content now, or was asked of another model); when what is in flight has finished, InputError
    (a request that is none) and whatever `requests` raises.
    """
    with ExitStack() as stack:
        record = None
        if journal is not None:
            stack.enter_context(RunLock(Path(f"{journal}.lock")))
            record = stack.enter_context(Journal(Path(journal)))
        asker = await connected_asker(client, model=model, in_flight=in_flight)
        run = _Remembered(record, asker, _count_of(requests)) if record is not None else _Forgotten()
        plan, stop = Plan(record.seen if record is not None else Seen(), run.account), Stop()
        try:
            async with aclosing(outcomes(_left(requests, plan), asker, stop=stop, keep=run.keep)) as stream:
                async for outcome in stream:
                    yield outcome
        finally:
            if record is not None:
                record.close()  # on the disk before the manifest says so
            run.end(is_over=not stop.cut_short)
            await asker.aclose()


class _Forgotten:
    """A run without a journal."""

    def __init__(self) -> None:
        self.account = Account()

    def keep(self, request: Request, outcome: Outcome) -> None:
        """Nothing is kept."""

    def end(self, *, is_over: bool) -> None:
        """Nothing is written."""


class _Remembered:
    """A run with a journal, and its manifest beside it."""

    def __init__(self, journal: Journal, asker: FleetAsker | ClientAsker, rows: int | None) -> None:
        """`rows`: how many there are, where that is known. Raises MixedRunError where the journal is of another run."""
        self.account, self._tally = Account(), Tally()
        self._journal, self._path = journal, Path(f"{journal.answers_path}.run.json")
        self._fleet = asker.core.fleet if isinstance(asker, FleetAsker) else None
        engine = "client" if self._fleet is None else "fleet"
        self._began = time.monotonic()
        self._manifest = new_manifest("ask_many", engine=engine, model=asker.model, input={"rows": rows})
        if journal.seen:
            refuse_other_run(read_manifest(self._path), self._manifest, SAME_RUN)
        clear_leftovers(self._path, journal.answers_path)
        write_manifest(self._path, self._manifest)

    def keep(self, request: Request, outcome: Outcome) -> None:
        self.account.ended(outcome, self._journal.record(outcome))
        self._tally.add(outcome)

    def end(self, *, is_over: bool) -> None:
        now = time.monotonic()
        shares = manifest_fields(self._tally, None if self._fleet is None else self._fleet.uses(now), now - self._began)
        ended = {"counts": self.account.counts(), "finished": utc_now() if is_over else None}
        write_manifest(self._path, {**self._manifest, **shares, **ended})


def _count_of(requests: object) -> int | None:
    return len(requests) if isinstance(requests, Sized) else None


def ask_many(
    requests: Iterable[Item],
    client: Any = None,
    *,
    journal: str | PathLike[str] | None = None,
    model: str | None = None,
    in_flight: int | None = None,
) -> Iterator[Answer | Failure]:
    """`aask_many` for code without an event loop; works inside one too (Jupyter), since it brings its own."""
    loop = LoopThread("analyze-ask-many")
    stream = aask_many(requests, client, journal=journal, model=model, in_flight=in_flight)
    try:
        while (outcome := loop.call(_next(stream))) is not None:
            yield outcome
    finally:
        loop.call(_close(stream))
        loop.close()


async def _next(stream: AsyncGenerator[Outcome, None]) -> Outcome | None:
    return await anext(stream, None)


async def _close(stream: AsyncGenerator[Outcome, None]) -> None:
    await stream.aclose()


def _left(items: Iterable[Item] | AsyncIterable[Item], plan: Plan) -> Chunks:
    rows = _Rows()
    if isinstance(items, AsyncIterable):
        return (plan.left_of(rows.of([item])) async for item in items)
    return (plan.left_of(rows.of(chunk)) for chunk in chunks(items))


class _Rows:
    """Names and checks what a user asks."""

    def __init__(self) -> None:
        self._ids = RowIds()
        self._count = 0

    def of(self, items: Sequence[Item]) -> list[Request]:
        return requests_of([*map(self._fields, items)], self._ids)

    def _fields(self, item: Item) -> Fields:
        self._count += 1
        try:
            return fields_of(item)
        except ValueError as error:
            raise InputError(f"request {self._count}: {error}") from error
