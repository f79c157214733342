"""`ask_many`: any number of requests in, one Answer or Failure each out, as they finish. Knows no job."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from contextlib import ExitStack, aclosing
from os import PathLike
from pathlib import Path
from typing import Any

from analyze.errors import InputError
from analyze.loops import LoopThread
from analyze.records import Answer, ChatRequest, Failure, Outcome, Request
from analyze.runs.askers import connected_asker
from analyze.runs.ids import RowIds, request_of
from analyze.runs.journal import Journal, RunLock
from analyze.runs.plan import Plan
from analyze.runs.replies import ReplyCheck
from analyze.runs.runner import outcomes

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

    Raises NoServerError, UsageError, InputError (a request that is none), MixedRunError (a row of the journal has
    other content now), ConstraintIgnoredError (a server does not apply a schema).
    """
    check = ReplyCheck()
    with ExitStack() as stack:
        record = None
        if journal is not None:
            stack.enter_context(RunLock(Path(f"{journal}.lock")))
            record = stack.enter_context(Journal(Path(journal)))

        def keep(request: Request, outcome: Outcome) -> Outcome:
            outcome = check(request, outcome)
            if record is not None:
                record.record(outcome)
            return outcome

        left = _requests(requests, Plan(record.seen if record else {}))
        asker = await connected_asker(client, model=model, in_flight=in_flight)
        try:
            async with aclosing(outcomes(left, asker, keep=keep)) as stream:
                async for outcome in stream:
                    yield outcome
        finally:
            await asker.aclose()


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


def _requests(items: Iterable[Item] | AsyncIterable[Item], plan: Plan) -> Iterator[Request] | AsyncIterator[Request]:
    ids = RowIds()
    if isinstance(items, AsyncIterable):
        return _requests_async(items, ids, plan)
    return plan.left(_request(item, number, ids) for number, item in enumerate(items, 1))


async def _requests_async(items: AsyncIterable[Item], ids: RowIds, plan: Plan) -> AsyncIterator[Request]:
    number = 0
    async for item in items:
        number += 1
        for request in plan.left([_request(item, number, ids)]):
            yield request


def _request(item: Item, number: int, ids: RowIds) -> Request:
    try:
        return request_of(item, ids)
    except ValueError as error:
        raise InputError(f"request {number}: {error}") from error
