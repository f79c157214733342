"""Asks what is left, many at a time, and hands each outcome over once it is recorded. Knows no job and no server.

    source ──> workers: ask ──> check ──> record ──> queue ──> caller
A first Ctrl-C (or SIGTERM) lets what is in flight finish, for a bounded time; a second ends it at once. Either way
everything recorded stays.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable, Iterator

from analyze.records import Outcome, Request

Ask = Callable[[Request], Awaitable[Outcome]]
Requests = Iterable[Request] | AsyncIterable[Request]

FINISH_S = 60.0
"""How long requests in flight may take after the first Ctrl-C; a long answer at 20 tokens/s has 1,200 tokens."""


class Stop:
    """The wish to stop. `wanted` asks no more; `at_once` drops what is in flight too."""

    def __init__(self, finish_s: float = FINISH_S, on_first: Callable[[], None] = lambda: None) -> None:
        self.wanted = False
        self.at_once = asyncio.Event()
        self._finish_s, self._on_first = finish_s, on_first

    def request(self) -> None:
        """First call: finish what is in flight. Second call: now. Call from the loop's own thread."""
        if self.wanted:
            self.at_once.set()
            return
        self.wanted = True
        asyncio.get_running_loop().call_later(self._finish_s, self.at_once.set)
        self._on_first()

    @contextlib.contextmanager
    def on_signals(self) -> Iterator[None]:
        """Let SIGINT and SIGTERM request the stop, where this is the main thread; elsewhere do nothing."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.request)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)


async def outcomes(
    requests: Requests,
    ask: Ask,
    *,
    in_flight: int,
    stop: Stop | None = None,
    keep: Callable[[Request, Outcome], Outcome] = lambda request, outcome: outcome,
) -> AsyncGenerator[Outcome, None]:
    """Ask every request, at most `in_flight` at a time, and yield the outcomes as they come.

    `keep` is called with each outcome before it is yielded: it checks and records, and returns what it recorded. An
    error it raises, or the source, ends everything at once and is raised here. Memory holds `in_flight` requests.
    """
    source = _Source(requests)
    finished: asyncio.Queue[Outcome | None] = asyncio.Queue(maxsize=in_flight)

    async def work() -> None:
        while not (stop and stop.wanted):
            request = await source.next()
            if request is None:
                return
            await finished.put(keep(request, await ask(request)))

    async def work_all() -> None:
        async with asyncio.TaskGroup() as group:
            workers = [group.create_task(work()) for _ in range(in_flight)]
            if stop:
                watch = asyncio.create_task(_cancel_when(stop.at_once, workers))
                await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
                watch.cancel()

    async def run() -> None:
        try:
            await work_all()
        finally:
            with contextlib.suppress(asyncio.QueueFull):
                finished.put_nowait(None)

    running = asyncio.create_task(run())
    try:
        while not (running.done() and finished.empty()):
            outcome = await finished.get()
            if outcome is not None:
                yield outcome
        await _raise_first(running)
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError, BaseExceptionGroup):
            await running


async def _cancel_when(event: asyncio.Event, tasks: list[asyncio.Task[None]]) -> None:
    await event.wait()
    for task in tasks:
        task.cancel()


async def _raise_first(running: asyncio.Task[None]) -> None:
    """Raise the first error of the workers plainly: the others are consequences of it."""
    try:
        await running
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None


class _Source:
    """One reader of requests for many workers; None when there is no more."""

    def __init__(self, requests: Requests) -> None:
        self._async = aiter(requests) if isinstance(requests, AsyncIterable) else None
        self._sync = None if isinstance(requests, AsyncIterable) else iter(requests)
        self._turn = asyncio.Lock()  # an async iterator may not be advanced twice at once

    async def next(self) -> Request | None:
        if self._sync is not None:
            return next(self._sync, None)
        assert self._async is not None
        async with self._turn:
            return await anext(self._async, None)
