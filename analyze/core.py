"""The only way to models: one asyncio loop that sends, fails over, probes, and waits for servers to return.

    request ──> pick an instance ──> exchange ──> reply
                  ▲                     ├─ refused, reset, cut, garbled: the instance's fault: another one, at once
                  │                     ├─ 5xx: another one; the row's fault once two that answered others say it
                  │                     ├─ 401, 403, 404, 3xx: another one; the row's fault once a second says it
                  └── wait while all ───┴─ 429, 503: busy, not broken: it rests, another one takes the request
                      are out or rest
Attempts bound the failures of a request, patience its waiting. Patience is the fleet's: it counts from when no
instance was of use any more, so that the thousandth request does not wait as long again as the first.

The decisions are `fleet`'s, the sockets `wire`'s, the meaning of bodies `server_replies`'. This module is the only
owner of retries. It knows nothing of the OpenAI SDK, of files or jobs.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import orjson

from analyze.fleet import Fleet, Instance
from analyze.records import Answer, Body, Failure, FailureKind, Outcome, Request, to_json
from analyze.server_replies import kind_of_refusal, retry_after_s, whole_body
from analyze.wire import (
    BULK,
    INSTANCE_HEADER,
    SINGLE,
    Bounds,
    Call,
    CoreError,
    Headers,
    InstanceFault,
    Reply,
    StreamBroken,
    TimedOut,
    Unavailable,
    Wire,
)

__all__ = [
    "BULK",
    "INSTANCE_HEADER",
    "SINGLE",
    "Bounds",
    "Core",
    "CoreError",
    "InstanceReport",
    "Reply",
    "StreamBroken",
    "TimedOut",
    "Unavailable",
]

log = logging.getLogger(__name__)

BUSY = frozenset({429, 503})
"""Overload (vLLM's admission limits) or an engine that just died: waiting is right for the first, and after the second
the connection is refused within a second. Neither is a strike, neither is an attempt."""

REFUSALS = frozenset({401, 403, 404, *range(300, 400)})
"""What a server says that has another key, model or address than the rest, as well as to a request that is wrong."""

PROBE_TIMEOUT_S = 5.0

SLOW = "no answer in time"


@dataclass(frozen=True, slots=True)
class InstanceReport:
    """What one address said when it was looked at: the models it serves, or the problem with it."""

    url: str
    models: tuple[str, ...] = ()
    problem: str | None = None


@dataclass(slots=True)
class _Tries:
    """What one request has been through so far. Times in seconds of `_now`."""

    patience_s: float
    attempts_left: int
    sent: int = 0  # reached a server, busy ones included
    slow: int = 0
    avoid: list[Instance] = field(default_factory=list)  # failed or refused this request
    witnesses: set[Instance] = field(default_factory=set)  # failed it with 5xx, and had answered the request before
    refusal: Reply | None = None  # the first, while a second opinion is sought
    busy: Reply | None = None  # what is handed over when patience ends here
    waiting_since: float | None = None  # since when nobody has really taken it
    last: str = "nothing was sent"

    def trouble(self, instance: Instance, reason: str, *, gone: bool = False) -> None:
        self.last, self.busy = f"{instance.url}: {reason}", None
        self.avoid.append(instance)
        if not gone:
            self.sent += 1
            self.attempts_left -= 1
            self.waiting_since = None

    def told_busy(self, reply: Reply) -> None:
        self.sent += 1
        self.last, self.busy = f"{reply.instance.url}: HTTP {reply.status}", reply
        self.wait()

    def wait(self) -> None:
        if self.waiting_since is None:
            self.waiting_since = _now()

    def unavailable(self, message: str) -> Unavailable:
        return Unavailable(f"{message}; last: {self.last}", self.avoid[-1].url if self.avoid else None, self.sent)


class Core:
    """Sends requests to whichever instance can answer them soonest. Belongs to the event loop it is used in."""

    def __init__(self, urls: Sequence[str], *, api_key: str, policy: str = "round_robin") -> None:
        self.fleet = Fleet(urls, policy)
        self.on_change: Callable[[str], None] = log.warning  # told in a sentence who goes out and who comes back
        self._wire = Wire(api_key)
        self._prober: asyncio.Task[None] | None = None
        self._returned = asyncio.Event()  # set whenever an instance comes back
        self._given_up_on: float | None = None  # since when the fleet stood still when patience with it ended

    @property
    def gave_up(self) -> bool:
        """Whether a request has waited in vain as long as it may, and no instance has been of use ever since."""
        return self._given_up_on is not None and self._given_up_on == self.fleet.standstill_since

    async def aclose(self) -> None:
        """Stop probing and close every connection."""
        if self._prober is not None:
            self._prober.cancel()
            await asyncio.gather(self._prober, return_exceptions=True)
        await self._wire.aclose()

    def abandon(self) -> None:
        """Let go of connections whose event loop is closed, where nothing can be awaited any more."""
        self._wire.abandon()

    # -- one request -------------------------------------------------------------------------------------------

    async def request(
        self,
        method: str,
        path: str,
        *,
        content: bytes | None = None,
        headers: Headers | None = None,
        bounds: Bounds = SINGLE,
        stream: bool = False,
        group: str | None = None,
        parse: Callable[[bytes], Body] | None = None,
    ) -> Reply:
        """Send one request, again elsewhere where an instance fails it, and return the reply, whatever its status.

        `path` follows the base URL, as in `/chat/completions`. With `stream`, an event stream is handed over as it
        comes, and the instance counts as loaded until it ends or `Reply.close` is called. `parse` reads the body of a
        good reply; a ValueError from it is the instance's fault. `group` names requests that share a long prefix.
        Raises Unavailable, TimedOut.
        """
        call = Call(method, path, content, headers, bounds, stream)
        tries = _Tries(bounds.unavailable_s, bounds.attempts)
        while True:
            instance = await self._next_instance(tries)
            if instance is None:
                if tries.busy is not None:
                    return tries.busy
                raise tries.unavailable(self._nobody())
            try:
                reply = await self._attempt(instance, call, parse)
            except InstanceFault as fault:
                self._failed(instance, str(fault), gone=fault.gone)
                tries.trouble(instance, str(fault), gone=fault.gone)
            except TimeoutError:
                self._failed(instance, SLOW)
                tries.trouble(instance, SLOW)
                tries.slow += 1
                if tries.slow >= bounds.slow_asks or not self.fleet.has_other(instance):
                    raise TimedOut(tries.last, instance.url, tries.sent) from None
            else:
                final = self._is_final(reply, tries)
                reply.attempts = tries.sent
                if final:
                    return reply
            if tries.attempts_left <= 0:
                raise tries.unavailable(f"gave up after {bounds.attempts} attempts")

    # -- waiting for an instance -------------------------------------------------------------------------------

    async def _next_instance(self, tries: _Tries) -> Instance | None:
        """Return the instance to ask, waiting while all are out or at rest; None when patience is used up."""
        while (instance := self.fleet.pick(_now(), tries.avoid)) is None:
            tries.wait()
            left_s = self._patience_left_s(tries)
            if left_s <= 0:
                return None
            wakes_at = self.fleet.wakes_at(tries.avoid)
            self._returned.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left_s if wakes_at is None else min(left_s, wakes_at - _now())):
                    await self._returned.wait()
        return instance

    def _patience_left_s(self, tries: _Tries) -> float:
        """Return how long the request may still wait; take note when the fleet itself has used the patience up."""
        now, still_since = _now(), self.fleet.standstill_since
        since = [start for start in (tries.waiting_since, still_since) if start is not None]
        left_s = min(since, default=now) + tries.patience_s - now
        if left_s > 0:
            return left_s
        if now - (self.fleet.next_probe_at() or now) > 2 * PROBE_TIMEOUT_S:
            return PROBE_TIMEOUT_S  # the loop was not run for a while: look before giving up
        if still_since is not None and still_since + tries.patience_s <= now:
            self._given_up_on = still_since
        return left_s

    def _nobody(self) -> str:
        reasons = "; ".join(f"{i.url}: {i.reason or 'at rest'}" for i in self.fleet.instances)
        return f"no server {'takes the request' if self.fleet.up else 'is up'} ({reasons})"

    # -- what a reply means for the request and its instance ---------------------------------------------------

    def _is_final(self, reply: Reply, tries: _Tries) -> bool:
        """Judge a reply: True hands it to the caller, False asks again, somewhere else if it can be."""
        if reply.status in BUSY:
            tries.told_busy(reply)
            self.fleet.busy(reply.instance, _now(), retry_after_s(reply.headers))
            return self._patience_left_s(tries) <= 0
        if reply.status >= 500:
            return self._is_the_rows_fault(reply, tries)
        if reply.status in REFUSALS and tries.refusal is None and self.fleet.has_other(reply.instance):
            tries.trouble(reply.instance, f"HTTP {reply.status}")
            tries.refusal = reply
            return tries.attempts_left <= 0
        tries.sent += 1
        if reply.chunks is None:
            self.fleet.answered(reply.instance)
        if reply.status < 300 and tries.refusal is not None:
            self._hold_out_who_alone_refused(tries.refusal, reply)
        return True

    def _is_the_rows_fault(self, reply: Reply, tries: _Tries) -> bool:
        """Judge a 5xx. Two instances whose last reply was an answer do not break at once by chance: the row did it.

        Those that have failed other rows too, or answered none yet, are no witnesses: half a fleet may be broken.
        """
        instance, reason = reply.instance, f"HTTP {reply.status}"
        if instance.proven:
            tries.witnesses.add(instance)
        self._failed(instance, reason)
        tries.trouble(instance, reason)
        if len(tries.witnesses) > 1:
            self.fleet.forgiven(tries.witnesses)
            return True
        return tries.attempts_left <= 0

    def _hold_out_who_alone_refused(self, refusal: Reply, answer: Reply) -> None:
        refuser = refusal.instance
        if refuser is not answer.instance and refuser.is_up:
            reason = f"HTTP {refusal.status}, where {answer.instance.url} answers"
            self.hold_out(refuser, reason)
            self._say_out(refuser, reason)

    # -- one attempt -------------------------------------------------------------------------------------------

    async def _attempt(self, instance: Instance, call: Call, parse: Callable[[bytes], Body] | None) -> Reply:
        """Ask this instance once. Raises InstanceFault, TimeoutError. It is loaded until the reply has ended."""

        def stream_ended(problem: str | None) -> None:
            self.fleet.given_back(instance)
            if problem is None:
                self.fleet.answered(instance)
            else:
                self._failed(instance, problem)

        self.fleet.sent(instance)
        try:
            reply = await self._wire.exchange(instance, call, stream_ended)
        except BaseException:
            self.fleet.given_back(instance)
            raise
        if reply.chunks is not None:
            return reply
        self.fleet.given_back(instance)
        if parse is not None and reply.status == 200:
            try:
                reply.value = parse(reply.body)
            except ValueError as error:
                raise InstanceFault(f"a garbled reply: {error}") from error
        return reply

    # -- one row -----------------------------------------------------------------------------------------------

    async def ask(self, request: Request, bounds: Bounds = BULK) -> Outcome:
        """Ask one row and return what became of it; never raises for anything a server or a row can do."""
        started = _now()
        headers = {**self._wire.authorization, "Content-Type": "application/json"}
        try:
            reply = await self.request(
                "POST",
                request.url.removeprefix("/v1"),
                content=to_json(request.body),
                headers=headers,
                bounds=bounds,
                parse=lambda raw: whole_body(raw, request.url),
            )
        except CoreError as error:
            kind: FailureKind = "timeout" if isinstance(error, TimedOut) else "server"
            return _failure(request, kind, str(error), error.instance, error.attempts)
        url = reply.instance.url
        if reply.value is None:
            kind, message = kind_of_refusal(reply.status, reply.body)
            return _failure(request, kind, message, url, reply.attempts, reply.status)
        latency_s = round(_now() - started, 4)
        return Answer(request.id, request.asked, reply.value, url, reply.attempts, latency_s, request.custom_id)

    # -- who is out, who comes back ----------------------------------------------------------------------------

    async def survey(self) -> list[InstanceReport]:
        """Look at every instance, at once, and hold out those that do not answer. Takes seconds, never longer."""
        reports = await asyncio.gather(*(self._look_at(instance) for instance in self.fleet.instances))
        for instance, report in zip(self.fleet.instances, reports, strict=True):
            instance.models = report.models or None
            if report.problem is not None:
                self.hold_out(instance, report.problem)
        return reports

    def hold_out(self, instance: Instance, reason: str) -> None:
        """Send nothing to this instance until a probe finds it fit."""
        self.fleet.hold_out(instance, reason, _now())
        self._start_probing()

    def _failed(self, instance: Instance, reason: str, *, gone: bool = False) -> None:
        if self.fleet.failed(instance, reason, _now(), gone=gone):
            self._say_out(instance, reason)
        self._start_probing()

    def _say_out(self, instance: Instance, reason: str) -> None:
        left = len(self.fleet.up)
        others = f"its requests go to {'the other one' if left == 1 else f'the {left} others'}"
        self.on_change(f"{instance.url} is out: {reason}; {others if left else 'no server is left, requests wait'}")

    def _start_probing(self) -> None:
        if self.fleet.next_probe_at() is not None and (self._prober is None or self._prober.done()):
            self._prober = asyncio.create_task(self._probe_until_all_are_up())

    async def _probe_until_all_are_up(self) -> None:
        while (probe_at := self.fleet.next_probe_at()) is not None:
            await asyncio.sleep(max(0.0, probe_at - _now()))
            await asyncio.gather(*(self._probe(instance) for instance in self.fleet.due(_now())))

    async def _probe(self, instance: Instance) -> None:
        problem = await self._unhealthy(instance)
        if problem is None:
            report = await self._look_at(instance)
            problem = report.problem
            if problem is None and not set(instance.models or ()) <= set(report.models):
                problem = f"serves {', '.join(report.models)} now, not {', '.join(instance.models or ())}"
        self.fleet.probed(instance, problem, _now())
        if problem is None:
            self._returned.set()
            self.on_change(f"{instance.url} is back")

    async def _unhealthy(self, instance: Instance) -> str | None:
        """Return what /health has against the instance. Servers that are not vLLM may lack it: 404 is no complaint."""
        root = instance.url.removesuffix("/v1")
        try:
            status, _ = await self._wire.get(root + "/health", PROBE_TIMEOUT_S)
        except (InstanceFault, TimeoutError) as error:
            return str(error) or "no answer to /health in time"
        return None if status in (200, 404) else f"/health says HTTP {status}"

    async def _look_at(self, instance: Instance) -> InstanceReport:
        try:
            status, body = await self._wire.get(instance.url + "/models", PROBE_TIMEOUT_S)
        except (InstanceFault, TimeoutError) as error:
            return InstanceReport(instance.url, problem=str(error) or f"no answer within {PROBE_TIMEOUT_S:g} s")
        if status in (401, 403):
            return InstanceReport(instance.url, problem=f"HTTP {status}: the key is refused; set VLLM_API_KEY")
        if status != 200:
            return InstanceReport(instance.url, problem=f"/models says HTTP {status}")
        try:
            models = tuple(sorted(str(card["id"]) for card in orjson.loads(body)["data"]))
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return InstanceReport(instance.url, problem="/models is not what an OpenAI server says")
        return InstanceReport(instance.url, models)


def _failure(
    request: Request,
    kind: FailureKind,
    message: str,
    instance: str | None,
    attempts: int,
    status_code: int | None = None,
) -> Failure:
    return Failure(
        request.id, request.asked, kind, message, instance, attempts, status_code, custom_id=request.custom_id
    )


def _now() -> float:
    return time.monotonic()
