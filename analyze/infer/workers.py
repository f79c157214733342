"""`--model_type hf`: worker processes with a model each, and who is asked through them (`runs.askers.Asker`).

    ask ──> the worker with most room ──> a line to its standard input ──> its reply
                 └─ it died: its rows go to the others, and it is started again, once
A worker that died twice stays out; when none is left the run stops, and the next one asks what is missing. A row that
was being generated when two workers died is poison: it is asked alone when all else is done. Knows no task.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from analyze.console import printable
from analyze.core import DEATHS_OF_POISON, Fate
from analyze.errors import NoServerError, ServerError, UsageError
from analyze.files import output_errors
from analyze.lang import Lang
from analyze.records import Answer, Failure, Outcome, Request, from_json, to_json

LONGEST_LINE = 1 << 28
END_TIMEOUT_S = 5.0
LOG_CHARS = 2000

TEXTS: dict[Lang, dict[str, str]] = {
    "en": {
        "died": "{name} died ({how}); its {rows} rows go to the others",
        "again": "{name} is started again",
        "back": "{name} is back",
        "stays": "{name} is not started again: once is enough ({log})",
        "no_more": "{name} could not be started again: {problem}",
    },
    "zh": {
        "died": "{name} 已退出（{how}），其 {rows} 行转给其他进程",
        "again": "正在重新启动 {name}",
        "back": "{name} 已恢复",
        "stays": "{name} 不再重新启动: 只重启一次（{log}）",
        "no_more": "{name} 未能重新启动: {problem}",
    },
}


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """One worker to be: what it loads, where its log is, and what is added to its environment."""

    name: str
    told: Mapping[str, Any]
    env: Mapping[str, str]
    log: Path
    program: tuple[str, ...] = (sys.executable, "-m", "analyze.infer.worker")


class _Died(Exception):
    """The worker ended before it answered. `was_at_it`: it was generating the very row."""

    def __init__(self, *, was_at_it: bool) -> None:
        self.was_at_it = was_at_it


@dataclass(slots=True, eq=False)
class Worker:
    """One worker, and what it has to do. Its lane is itself; `url` names it in records."""

    spec: WorkerSpec
    room: int = 0
    is_up: bool = False
    has_been_restarted: bool = False
    process: asyncio.subprocess.Process | None = None
    waiting: dict[int, asyncio.Future[dict[str, Any]]] = field(default_factory=dict)
    at: set[int] = field(default_factory=set)  # what it is generating
    ready: dict[str, Any] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return self.spec.name

    @property
    def in_flight(self) -> int:
        return len(self.waiting)

    async def start(self) -> None:
        """Start the process and wait until its model is loaded. Raises UsageError, ServerError."""
        with output_errors(self.spec.log):
            self.spec.log.parent.mkdir(parents=True, exist_ok=True)
            log: IO[bytes] = open(self.spec.log, "ab")  # noqa: SIM115, ASYNC230 - the child's from here on
        with log:
            self.process = await asyncio.create_subprocess_exec(
                *self.spec.program,
                to_json(dict(self.spec.told)).decode(),
                env={**os.environ, **self.spec.env},
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                limit=LONGEST_LINE,
                start_new_session=True,  # Ctrl-C is the parent's to handle
            )
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        told = from_json(line) if line.endswith(b"\n") else {}
        if refused := told.get("refused"):
            await self.end()
            raise UsageError(refused["message"], cure=refused["cure"])
        if "ready" not in told:
            how = await self._how_it_ended()
            raise ServerError(
                f"{self.spec.name} ended while loading the model ({how}); the end of {self.spec.log}:\n\n{self._log()}",
                cure="see above; out of memory: fewer --workers, or a smaller model",
            )
        self.ready = told["ready"]
        self.room, self.is_up = self.ready["room"], True

    async def ask(self, number: int, request: Request) -> dict[str, Any]:
        """Return its reply. Raises _Died."""
        process = self.process
        if not self.is_up or process is None or process.stdin is None:
            raise _Died(was_at_it=False)
        reply: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self.waiting[number] = reply
        try:
            with suppress(ConnectionError):  # its end is noticed by whoever listens to it
                process.stdin.write(to_json({"n": number, "url": request.url, "body": request.body}) + b"\n")
                await process.stdin.drain()
            return await reply
        finally:
            self.waiting.pop(number, None)

    async def listen(self, on_reply: Callable[[], None]) -> None:
        """Hand replies to whoever waits for them, until the process ends; those who still wait get _Died."""
        assert self.process is not None and self.process.stdout is not None
        while (line := await self.process.stdout.readline()).endswith(b"\n"):
            told = from_json(line)
            if "began" in told:
                self.at = set(told["began"])
                continue
            if (reply := self.waiting.get(told["n"])) is not None and not reply.done():
                reply.set_result(told)
            on_reply()
        self.is_up = False

    def give_up(self) -> int:
        """Tell whoever waits that it died; return how many do."""
        left = [(number, reply) for number, reply in self.waiting.items() if not reply.done()]
        for number, reply in left:
            reply.set_exception(_Died(was_at_it=number in self.at))
        self.at = set()
        return len(left)

    async def end(self) -> None:
        """End the process: its standard input first, then by force."""
        process, self.is_up = self.process, False
        if process is None or process.returncode is not None:
            return
        if process.stdin is not None:
            process.stdin.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(END_TIMEOUT_S):
                await process.wait()
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _how_it_ended(self) -> str:
        assert self.process is not None
        return how_it_ended(await self.process.wait())

    def _log(self) -> str:
        with suppress(OSError):
            return printable(self.spec.log.read_text(errors="replace")[-LOG_CHARS:])
        return ""


def how_it_ended(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"


class WorkersAsker:
    """Answers rows by worker processes (`runs.askers.Asker`); each is a lane."""

    def __init__(self, specs: Sequence[WorkerSpec], *, in_flight: int | None = None, lang: Lang = "en") -> None:
        self.in_flight = in_flight
        self.on_room: Callable[[], None] = lambda: None
        self.model: str | None = None
        self.workers = [Worker(spec) for spec in specs]
        self._texts = TEXTS[lang]
        self._say: Callable[[str], None] = lambda text: print(printable(text), file=sys.stderr, flush=True)
        self._number = 0
        self._keepers: list[asyncio.Task[None]] = []
        self._is_closing = False
        self._change = asyncio.Event()  # a worker came or went

    async def start(self) -> None:
        """Start all workers. Raises UsageError, ServerError, with none left running."""
        try:
            async with asyncio.TaskGroup() as group:
                for worker in self.workers:
                    group.create_task(worker.start())
        except BaseException as error:
            await asyncio.gather(*(worker.end() for worker in self.workers))
            if isinstance(error, BaseExceptionGroup):
                raise error.exceptions[0] from None
            raise
        self.model = self.workers[0].ready["name"]
        self._keepers = [asyncio.create_task(self._keep(worker)) for worker in self.workers]

    # -- what the runner asks of it --------------------------------------------------------------------------------

    def lane(self, *, near_the_end: bool = False) -> Hashable:
        """Return the worker with most room; near the end one that is not to queue what another could do at once."""
        free = [worker for worker in self.workers if worker.is_up and self._room_of(worker, near_the_end) > 0]
        return max(free, key=lambda worker: self._room_of(worker, near_the_end), default=None)

    def _room_of(self, worker: Worker, near_the_end: bool) -> int:
        most = worker.ready["batch_size"] if near_the_end else worker.room
        return int(most) - worker.in_flight

    def room(self) -> int:
        return sum(max(0, worker.room - worker.in_flight) for worker in self.workers if worker.is_up)

    def idle(self) -> Hashable:
        return None  # a row takes as long at one worker as at another

    def out(self) -> Iterable[Hashable]:
        return [worker for worker in self.workers if not worker.is_up]

    def is_of_use(self) -> bool:
        return any(worker.is_up for worker in self.workers)

    def loads(self) -> Sequence[Worker]:
        return self.workers

    async def ask(self, request: Request, lane: Hashable = None, *, fate: Fate | None = None) -> Outcome:
        """Ask a row at a worker, and at another where that dies. Raises NoServerError when none is left."""
        allowed = DEATHS_OF_POISON if fate is None else fate.deaths_allowed
        deaths, attempts, started = 0, 0, time.monotonic()
        while True:
            worker = lane if isinstance(lane, Worker) and lane.is_up else await self._next()
            lane, attempts, self._number = None, attempts + 1, self._number + 1
            try:
                told = await worker.ask(self._number, request)
            except _Died as death:
                deaths += death.was_at_it
                if deaths >= allowed:
                    message = f"{deaths} worker(s) died while they generated it"
                    return Failure(request.id, request.asked, "poison", message, worker.url, attempts)
                continue
            if "body" in told:
                latency_s = round(time.monotonic() - started, 4)
                return Answer(request.id, request.asked, told["body"], worker.url, attempts, latency_s)
            return Failure(request.id, request.asked, told["kind"], told["message"], worker.url, attempts)

    async def _next(self) -> Worker:
        """Return the worker with least to do; wait while one is being started."""
        while not (up := [worker for worker in self.workers if worker.is_up]):
            if all(keeper.done() for keeper in self._keepers):
                raise NoServerError(
                    "no worker is left: each died, and once more after it was started again",
                    cure=f"see {self.workers[0].spec.log.parent}; the same command continues",
                )
            self._change.clear()
            await self._change.wait()
        return min(up, key=lambda worker: worker.in_flight)

    async def unguarded_tokens(self) -> frozenset[str] | None:
        """Return the control tokens of the model that inserted text could become; None where it cannot be told."""
        tokens = self.workers[0].ready.get("unguarded")
        return None if tokens is None else frozenset(tokens)

    def speak(self, say: Callable[[str], None], lang: Lang) -> None:
        """Say what happens to workers in this way."""
        self._say, self._texts = say, TEXTS[lang]

    async def aclose(self) -> None:
        self._is_closing = True
        await asyncio.gather(*(worker.end() for worker in self.workers))
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)

    # -- their lives -----------------------------------------------------------------------------------------------

    async def _keep(self, worker: Worker) -> None:
        """Listen to a worker; when it dies start it again, once. Ends when it stays out."""
        try:
            while True:
                await worker.listen(lambda: self.on_room())
                if self._is_closing:
                    return
                assert worker.process is not None
                how = how_it_ended(await worker.process.wait())
                rows = worker.give_up()
                self._tell("died", worker, how=how, rows=rows)
                if worker.has_been_restarted:
                    self._tell("stays", worker, log=worker.spec.log)
                    return
                worker.has_been_restarted = True
                self._tell("again", worker)
                self._changed()
                try:
                    await worker.start()
                except (UsageError, ServerError) as error:
                    self._tell("no_more", worker, problem=error.message)
                    return
                self._tell("back", worker)
                self._changed()
        finally:
            asyncio.get_running_loop().call_soon(self._changed)  # when this has ended

    def _changed(self) -> None:
        self._change.set()
        self.on_room()

    def _tell(self, key: str, worker: Worker, **values: object) -> None:
        self._say(self._texts[key].format(name=worker.spec.name, **values))
