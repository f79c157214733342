"""Asks what is left, as many at a time as servers can use, and hands each outcome over once it is recorded.

    source ──> backlog ──> workers: a row for the instance with most room ──> ask ──> check, record ──> queue ──> caller
                                ├─ the end is near, a server idle: the slowest rows are asked there too (`tail`)
                                └─ it may have killed two servers: asked alone, when all else is done
Who has room, and what a row's group is, others decide (`askers`, `backlog`). Knows no job and no server.
A first Ctrl-C (or SIGTERM), a limit, or an error of the source lets what is in flight finish, for a bounded time, as
long as any server is of use; a second Ctrl-C ends it at once. Either way everything recorded stays.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Coroutine, Hashable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from analyze.core import Fate
from analyze.records import Answer, Failure, Outcome, Request
from analyze.runs.askers import Asker
from analyze.runs.backlog import Backlog
from analyze.runs.replies import Around, ReplyCheck, as_it_is, ask_checked
from analyze.runs.tail import Out, Tail

Chunks = Iterable[Sequence[Request]] | AsyncIterable[Sequence[Request]]
"""Requests as they are read, some at a time: none, where nothing of what was read is left to ask."""

FINISH_S = 60.0
"""How long requests in flight may take after the first Ctrl-C; a long answer at 20 tokens/s has 1,200 tokens."""

TAIL_POLL_S = 0.25
"""How often the end of a run is looked at for rows worth a second ask."""

READ_FOR_S = 0.005
"""How long reading may keep the event loop, and with it the answers, waiting."""

NEAR = 2
"""The end is near when fewer rows wait than this many times those that are out: what queues at a server a third as
fast as the others is worked off while they do the rest."""

UNREAD = 4
"""Outcomes that may wait for the caller however few rows are out."""


class Stop:
    """The wish to stop. `asked`: no more rows are asked; `at_once`: what is in flight is dropped too.

    `reason` is the error that a run ends in which was stopped for something else than by hand; `cut_short` tells at its
    end whether rows were left unasked.
    """

    def __init__(self, finish_s: float = FINISH_S, on_first: Callable[[], None] = lambda: None) -> None:
        self.asked = asyncio.Event()
        self.at_once = asyncio.Event()
        self.reason: Exception | None = None
        self.cut_short = True
        self._finish_s, self._on_first = finish_s, on_first

    @property
    def wanted(self) -> bool:
        return self.asked.is_set()

    def request(self, reason: Exception | None = None) -> None:
        """First call: finish what is in flight. Second call: now. Call from the loop's own thread."""
        if self.wanted:
            self.at_once.set()
            return
        self.reason = reason
        self.asked.set()
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
    chunks: Chunks,
    asker: Asker,
    *,
    stop: Stop | None = None,
    keep: Callable[[Request, Outcome], object] = lambda request, outcome: None,
    around: Around = as_it_is,
) -> AsyncGenerator[Outcome, None]:
    """Ask every request, as many at a time as the asker has room for, and yield the outcomes as they come.

    `around` may change what goes to the asker and what comes back, before it is checked. `keep` is called with each
    request and its outcome before that is yielded, to record it. An error it raises ends all
    and is raised here; one that the source raises, and the reason of a stop, when what is in flight has finished.
    Structured answers are checked, and asked once more where they are wrong: raises ConstraintIgnoredError. Memory
    holds what is read ahead, at most LOOK_AHEAD_ROWS or LOOK_AHEAD_BYTES, and what is in flight.
    """
    stop = stop or Stop()
    run = _Run(chunks, asker, stop, keep, around)
    running = asyncio.create_task(run.all())
    try:
        while not (running.done() and run.finished.empty()):
            outcome = await run.finished.get()
            if outcome is not None:
                yield outcome
                run.read_by_caller()
        await _raise_first(running)
        stop.cut_short = not run.is_complete
        if stop.reason is not None and stop.cut_short:
            raise stop.reason
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError, BaseExceptionGroup):
            await running


class _Row(Out):
    """A row that is out, and the workers that ask it."""

    def __init__(self, request: Request, lane: Hashable) -> None:
        super().__init__(lane, time.monotonic())
        self.request = request
        self.fate = Fate()
        self.workers: set[asyncio.Task[Any]] = set()
        self.is_done = False


class _Run:
    """The workers of one run, and what they share: changed only between two awaits of one event loop."""

    def __init__(
        self, chunks: Chunks, asker: Asker, stop: Stop, keep: Callable[[Request, Outcome], object], around: Around
    ) -> None:
        self._check, self._around = ReplyCheck(), around
        self._source, self._asker, self._stop, self._keep = _Source(chunks), asker, stop, keep
        self.finished: asyncio.Queue[Outcome | None] = asyncio.Queue()
        self._backlog = Backlog()
        self._space = asyncio.Event()  # in the backlog
        self._out: set[_Row] = set()
        self._suspects: list[Request] = []  # they may have killed servers, and wait until all else is done
        self._tail = Tail()
        self._workers: set[asyncio.Task[None]] = set()
        self._starting = 0  # workers that have not yet taken a row
        self._is_unread = False  # a worker ended because the caller was behind
        self._is_over = asyncio.Event()  # nothing is out, and nothing more will be
        self._is_read = False  # the source has no more
        self._is_ending = False  # no worker can be started any more

    async def all(self) -> None:
        """Ask everything. Raises what `keep` or the source raises, in an ExceptionGroup."""
        dropping = asyncio.create_task(self._drop_all_at_once())
        try:
            async with asyncio.TaskGroup() as self._group:
                try:
                    self._asker.on_room = self._look_around
                    await self._read_until_stopped()
                    await self._see_out()
                    await self._ask_suspects()
                finally:
                    self._is_ending = True
                    self._asker.on_room = lambda: None
        finally:
            dropping.cancel()
            self.finished.put_nowait(None)

    @property
    def is_complete(self) -> bool:
        """Whether every row of the source was asked."""
        return self._is_read and not len(self._backlog) and not self._suspects

    def read_by_caller(self) -> None:
        """The caller has taken an outcome: go on if its slowness has held workers back."""
        if self._is_unread and self.finished.qsize() <= len(self._out):
            self._is_unread = False
            self._start_workers()

    async def _drop_all_at_once(self) -> None:
        await self._stop.at_once.wait()
        for worker in self._workers:
            worker.cancel()

    # -- reading -----------------------------------------------------------------------------------------------

    async def _read_until_stopped(self) -> None:
        reading = asyncio.create_task(self._read())
        stopping = asyncio.create_task(self._stop.asked.wait())
        try:
            await asyncio.wait([reading, stopping], return_when=asyncio.FIRST_COMPLETED)
            if reading.done() and (error := reading.exception()) is not None:
                if not isinstance(error, Exception):
                    raise error
                self._stop.request(error)
            self._is_read = reading.done() and not self._stop.wanted
        finally:
            reading.cancel()
            stopping.cancel()

    async def _read(self) -> None:
        while (chunk := await self._source.chunk()) is not None:
            for request in chunk:
                self._backlog.add(request)
            if chunk:
                self._start_workers()
            while self._backlog.is_full:
                self._space.clear()
                await self._space.wait()

    # -- asking ------------------------------------------------------------------------------------------------

    def _look_around(self) -> None:
        """An instance may hold more than before, or is out."""
        for lane in self._asker.out():
            self._backlog.let_go(lane)
        self._start_workers()

    def _start_workers(self) -> None:
        if self._stop.wanted or self._is_ending:
            return
        wanted = min(len(self._backlog), self._room() - self._starting)
        if wanted <= 0 and len(self._backlog) and not self._workers:
            wanted = 1  # it waits until a server is of use
        for _ in range(wanted):
            self._starting += 1
            self._start(self._work())

    def _room(self) -> int:
        limit = self._asker.in_flight
        room = self._asker.room()
        return room if limit is None else min(room, limit - len(self._out))

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        worker = self._group.create_task(work)
        self._workers.add(worker)
        worker.add_done_callback(self._ended)
        return worker

    def _ended(self, worker: asyncio.Task[None]) -> None:
        self._workers.discard(worker)
        if not worker.cancelled() and worker.exception() is not None:
            self._is_ending = True

    async def _work(self) -> None:
        self._starting -= 1
        while (row := self._next_row()) is not None:
            await self._ask(row, row.lane)

    def _next_row(self) -> _Row | None:
        """Take a row for the instance with most room; where none has, only if nothing is out that would make some."""
        if self._stop.wanted or not len(self._backlog):
            return None
        if self.finished.qsize() > max(len(self._out), UNREAD):
            self._is_unread = True
            return None
        limit = self._asker.in_flight
        near_the_end = self._is_read and len(self._backlog) < NEAR * len(self._out)
        is_full = limit is not None and len(self._out) >= limit
        lane = None if is_full else self._asker.lane(near_the_end=near_the_end)
        if lane is None and self._out:
            return None
        request = self._backlog.take(lane)
        assert request is not None
        if not self._backlog.is_full:
            self._space.set()
        row = _Row(request, lane)
        self._out.add(row)
        return row

    async def _ask(self, row: _Row, lane: Hashable, *, alone: bool = False) -> None:
        """Ask the row and hand its outcome over, unless another worker has its answer first, or still may."""
        worker = asyncio.current_task()
        assert worker is not None
        row.workers.add(worker)
        self._tail.asked += 1
        since = time.monotonic()
        try:
            ask = self._around(partial(self._asker.ask, lane=lane, fate=row.fate))
            outcome = await ask_checked(ask, self._check, row.request)
        finally:
            row.workers.discard(worker)
            if not row.workers:
                self._back(row)
        is_poison = isinstance(outcome, Failure) and outcome.kind == "poison"
        if row.is_done or (row.workers and isinstance(outcome, Failure) and not is_poison):
            return  # poison is taken back at once from whoever else has it
        row.is_done = True
        self._back(row)
        for other in row.workers:
            other.cancel()
        if is_poison and not alone:
            self._suspects.append(row.request)
            return
        if isinstance(outcome, Answer):
            self._learn(row, lane, outcome, since)
        self._keep(row.request, outcome)
        self.finished.put_nowait(outcome)

    def _back(self, row: _Row) -> None:
        self._out.discard(row)
        if not self._out and (self._stop.wanted or not len(self._backlog)):
            self._is_over.set()

    def _learn(self, row: _Row, lane: Hashable, answer: Answer, since: float) -> None:
        if answer.attempts == 1:
            self._tail.answered(lane, time.monotonic() - since)
        tokens = answer.usage.get("completion_tokens")
        if isinstance(tokens, int):
            self._backlog.heard(row.request, tokens)

    # -- the end -----------------------------------------------------------------------------------------------

    async def _see_out(self) -> None:
        """Wait for what is out; where servers stand idle meanwhile, ask the slowest rows there too.

        A run that is to stop does not wait for servers to come back.
        """
        while self._out or (len(self._backlog) and not self._stop.wanted):
            self._is_over.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TAIL_POLL_S):
                    await self._is_over.wait()
            if self._stop.wanted and not self._asker.is_of_use():
                self._stop.at_once.set()
            self._start_workers()
            if not len(self._backlog) and not self._stop.wanted:
                await self._ask_slowest_again()

    async def _ask_slowest_again(self) -> None:
        while (lane := self._asker.idle()) is not None:
            unsuspected = (row for row in self._out if not row.fate.lost_at)
            row = self._tail.slowest(unsuspected, lane, time.monotonic())
            if not isinstance(row, _Row):
                return
            row.asks += 1
            row.fate.deaths_allowed = 1  # out at two servers, it may kill both before it is known
            self._tail.again += 1
            self._start(self._ask(row, lane))
            await asyncio.sleep(0)  # now it is out, and counts as the lane's load

    async def _ask_suspects(self) -> None:
        while self._suspects and not self._stop.wanted:
            request = self._suspects.pop(0)
            row = _Row(request, None)
            row.fate.deaths_allowed = 1
            self._out.add(row)
            await asyncio.wait([self._start(self._ask(row, None, alone=True))])


async def _raise_first(running: asyncio.Task[None]) -> None:
    """Raise the first error of the workers plainly: the others are consequences of it."""
    try:
        await running
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None


class _Source:
    """Reads chunks of requests, without keeping the event loop waiting for longer than one of them takes."""

    def __init__(self, chunks: Chunks) -> None:
        self._async = aiter(chunks) if isinstance(chunks, AsyncIterable) else None
        self._sync = None if isinstance(chunks, AsyncIterable) else iter(chunks)
        self._breathed_at = 0.0

    async def chunk(self) -> Sequence[Request] | None:
        """Return the next chunk, None when there are no more."""
        if time.monotonic() > self._breathed_at + READ_FOR_S:
            await asyncio.sleep(0)
            self._breathed_at = time.monotonic()
        if self._async is not None:
            return await anext(self._async, None)
        assert self._sync is not None
        return next(self._sync, None)
