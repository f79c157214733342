"""The only way to models: one asyncio loop that sends, fails over, takes back, and waits for servers to return.

    request ──> pick an instance ──> exchange ──> reply
                  ▲                     ├─ refused, reset, cut, garbled, hung: its fault: another one, at once
                  │                     ├─ 5xx: another one; the row's fault once two that do generate say it
                  │                     ├─ 401, 403, 404, 3xx: final, unless this instance alone is unfit for it
                  │                     ├─ other 4xx: final
                  └── wait while all ───┴─ 429, 503: busy, not broken: it rests, another one takes the request
                      are out or rest
Attempts bound the failures of a request, patience its waiting. Patience is the fleet's: it counts from when no
instance was of use any more, so that the thousandth request does not wait as long again as the first.
A request that was with two instances when they died is not sent to a third: it may be what killed them.

The decisions are `fleet`'s, the sockets `wire`'s, the meaning of bodies `server_replies`', the looks at servers
`lookout`'s. This module is the only owner of retries. It knows nothing of the OpenAI SDK, of files or jobs.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self

import orjson

from analyze.fleet import Fleet, Instance, InstanceReport
from analyze.lang import Lang
from analyze.lookout import Lookout
from analyze.prefixes import chain
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
    Poisoned,
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
    "Fate",
    "Headers",
    "InstanceReport",
    "Poisoned",
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

COLLISIONS = frozenset({408, 409})
"""4xx that speak of the moment, not of the request."""

DEATHS_OF_POISON = 2
"""Instances that may die of one request before it is suspected: one dies by chance, two at once hardly ever."""

COMMON_CAUSE_S = 2.0
"""Deaths so close to each other may have one cause."""

SLOW = "no answer in time"
CLOSED = "the client was closed meanwhile"

LATE_S = 5.0
"""A probe that is twice as late tells that the loop was not run: the machine slept, or somebody blocked it."""

POST_BESIDE_S = 60.0
"""What a server may take for a question beside /v1: its tokenizer may be busy with prompts."""

BYTES_PER_TOKEN = 4
PREFILL_WEIGHT = 1 / 20
"""What taking in a prompt token costs of generating one: 0.02 ms against 0.4 ms in a full batch (anchor: routers)."""
TYPICAL_OUTPUT_TOKENS = 256


@dataclass(slots=True)
class Fate:
    """What a request may have done to instances, shared by all who ask it: `lost_at` it failed, and the deaths each had
    had before. It is held back when `deaths_allowed` of them have died: fewer when it is out at two at a time.
    """

    deaths_allowed: int = DEATHS_OF_POISON
    lost_at: list[tuple[Instance, int]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Suspicion:
    """An instance said 5xx, or nonsense, to one row: is it the instance, or the row?

    `vetting` tells whether it generates a token; `answers` had it given when it was sent the row.
    """

    reason: str
    vetting: asyncio.Task[bool]
    answers: int

    @property
    def is_cleared(self) -> bool:
        return self.vetting.done() and not self.vetting.cancelled() and self.vetting.result()


@dataclass(slots=True)
class _Tries:
    """What one request has been through so far. Times in seconds of `_now`."""

    patience_s: float
    attempts_left: int
    fate: Fate
    sent: int = 0  # reached a server, busy ones included
    slow: int = 0
    avoid: list[Instance] = field(default_factory=list)  # failed or refused this request
    suspects: dict[Instance, Suspicion] = field(default_factory=dict)  # said 5xx, or nonsense
    busy: Reply | None = None  # what is handed over when patience ends here
    has_looked: bool = False  # at those that are out, before it gives up
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

    @property
    def killed(self) -> list[str]:
        """The instances that have died since they were given this request, once for each death."""
        return [instance.url for instance, deaths in dict.fromkeys(self.fate.lost_at) if instance.deaths > deaths]

    def unavailable(self, message: str) -> Unavailable:
        return Unavailable(f"{message}; last: {self.last}", self.avoid[-1].url if self.avoid else None, self.sent)


class _Attempt:
    """One request out to one instance, which may be taken back: as `asyncio.timeout` ends what takes too long."""

    def __init__(self, prompt_tokens: int) -> None:
        self.prompt_tokens = prompt_tokens
        self.reason: str | None = None  # why it was taken back
        self.abort: Callable[[], None] | None = None  # of a stream that has begun, which nobody can take back

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None
        self._task, self._cancelling = task, task.cancelling()
        return self

    def take_back(self, reason: str) -> None:
        if self.abort is not None:
            self.abort()
        elif self.reason is None:
            self.reason = reason
            self._task.cancel()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if self.reason is not None and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise InstanceFault(self.reason) from None


class Core:
    """Sends requests to whichever instance can answer them soonest. Belongs to the event loop it is used in."""

    def __init__(
        self, urls: Sequence[str], *, api_key: str, policy: str = "round_robin", headers: Headers | None = None
    ) -> None:
        """`headers` go with every row that is asked (`ask`)."""
        self.fleet = Fleet(urls, policy)
        self.on_change: Callable[[str], None] = log.warning  # told in a sentence who goes out and who comes back
        self.on_room: Callable[[], None] = lambda: None  # an instance may hold more than before
        self._wire = Wire(api_key)
        self._row_headers = {**headers, **self._wire.authorization} if headers else None
        self._attempts: dict[Instance, set[_Attempt]] = {instance: set() for instance in self.fleet.instances}
        self._lookout = Lookout(
            self.fleet,
            self._wire,
            say=lambda text: self.on_change(text),
            take_back=self._take_back,
            longest_prompt_tokens=lambda i: max((attempt.prompt_tokens for attempt in self._attempts[i]), default=0),
            is_awaited=lambda i: any(attempt.abort is None for attempt in self._attempts[i]),
            back=self._back,
            room=lambda: self.on_room(),
        )
        self._is_closed = False
        self._returned = asyncio.Event()  # set whenever an instance has come back
        self._given_up_on: float | None = None  # since when the fleet stood still when patience with it ended

    def speak(self, say: Callable[[str], None], lang: Lang) -> None:
        """Say in this language who goes out and who comes back, in place of the log, which is English."""
        self.on_change, self._lookout.lang = say, lang

    @property
    def gave_up(self) -> bool:
        """Whether a request has waited in vain as long as it may, and no instance has been of use ever since."""
        return self._given_up_on is not None and self._given_up_on == self.fleet.standstill_since

    async def aclose(self) -> None:
        """End every request, stop looking at servers and close every connection."""
        self._is_closed = True
        for instance in self.fleet.instances:
            self._take_back(instance, CLOSED)
        self._returned.set()
        await self._lookout.aclose()
        await self._wire.aclose()

    def abandon(self) -> None:
        """Let go of connections whose event loop is closed, where nothing can be awaited any more."""
        self._wire.abandon()

    async def survey(self) -> list[InstanceReport]:
        """Look at every instance, at once, and hold out those that do not answer. Takes seconds, never longer."""
        return await self._lookout.survey()

    async def post_beside(self, path: str, body: Mapping[str, Any]) -> Any:
        """POST JSON to `path`, which stands beside /v1, of a server that is up; None for all but a good answer in JSON.

        One that refuses speaks for all of them; nobody is blamed.
        """
        for instance in self.fleet.up:
            with suppress(InstanceFault, TimeoutError, orjson.JSONDecodeError):
                url = instance.url.removesuffix("/v1") + path
                status, content = await self._wire.post(url, to_json(body), POST_BESIDE_S)
                if status < 500:
                    return orjson.loads(content) if status == 200 else None
        return None

    def hold_out(self, instance: Instance, reason: str) -> None:
        """Send nothing to this instance until a probe finds it fit."""
        self._lookout.hold_out(instance, reason)

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
        first: Instance | None = None,
        fate: Fate | None = None,
    ) -> Reply:
        """Send one request, again elsewhere where an instance fails it, and return the reply, whatever its status.

        `path` follows the base URL, as in `/chat/completions`. With `stream`, an event stream is handed over as it
        comes, and the instance counts as loaded until it ends or `Reply.close` is called. `parse` reads the body of a
        good reply; a ValueError from it is the instance's fault. `group` names requests that share a long prefix.
        `first` is the instance to begin with, where the caller has chosen it. Raises Unavailable, TimedOut, Poisoned.
        """
        call = Call(method, path, content, headers, bounds, stream)
        tries = _Tries(bounds.unavailable_s, bounds.attempts, fate or Fate())
        prefix = self._prefix(content, group)
        weight = 1.0 if self.fleet.policy == "round_robin" else _weight(content)
        while True:
            instance = first or await self._next_instance(tries, prefix)
            first = None
            if instance is None:
                if tries.busy is not None:
                    return tries.busy
                raise tries.unavailable(self._nobody())
            deaths, answers = instance.deaths, instance.answers
            try:
                reply = await self._attempt(instance, call, parse, weight)
            except InstanceFault as fault:
                if self._is_closed:
                    raise Unavailable(CLOSED, instance.url, tries.sent) from None
                if fault.garbled:
                    self._suspect(instance, str(fault), call, answers, tries)
                else:
                    self._failed(instance, str(fault), gone=fault.gone)
                tries.trouble(instance, str(fault), gone=fault.gone)
                if not fault.gone:
                    await self._count_deaths(instance, deaths, tries)
            except TimeoutError:
                if bounds.is_patient:
                    self._failed(instance, SLOW)
                tries.trouble(instance, SLOW)
                tries.slow += 1
                if tries.slow >= bounds.slow_asks or not self.fleet.has_other(instance):
                    raise TimedOut(tries.last, instance.url, tries.sent) from None
            else:
                if reply.status >= 500 and reply.status not in BUSY:
                    self._suspect(instance, f"HTTP {reply.status}", call, answers, tries)
                    tries.trouble(instance, f"HTTP {reply.status}")
                    final = await self._is_the_rows_fault(tries)
                    await self._count_deaths(instance, deaths, tries)
                    final = tries.attempts_left <= 0 or (final and not tries.killed)
                else:
                    final = await self._is_final(reply, call, tries)
                reply.attempts = tries.sent
                if final:
                    return reply
            if tries.attempts_left <= 0:
                raise tries.unavailable(f"gave up after {bounds.attempts} attempts")

    def _prefix(self, content: bytes | None, group: str | None) -> tuple[int, ...]:
        if self.fleet.policy != "prefix_affinity":
            return ()
        return chain(content or b"") if group is None else (hash(group),)

    # -- waiting for an instance -------------------------------------------------------------------------------

    async def _next_instance(self, tries: _Tries, prefix: Sequence[int]) -> Instance | None:
        """Return the instance to ask, waiting while all are out or at rest; None when patience is used up."""
        while True:
            if self._is_closed:
                raise Unavailable(CLOSED, tries.avoid[-1].url if tries.avoid else None, tries.sent)
            instance = self.fleet.pick(_now(), tries.avoid, prefix)
            if instance is not None:
                return instance
            tries.wait()
            left_s = self._patience_left_s(tries)
            if left_s <= 0 and not tries.has_looked and self.fleet.next_probe_at() is not None:
                tries.has_looked = True  # they may be back, and nobody has seen it
                await self._lookout.last_look()
                continue
            if left_s <= 0:
                return None
            wakes_at = self.fleet.wakes_at(tries.avoid)
            self._returned.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left_s if wakes_at is None else min(left_s, wakes_at - _now())):
                    await self._returned.wait()

    def _patience_left_s(self, tries: _Tries) -> float:
        """Return how long the request may still wait; take note when the fleet itself has used the patience up."""
        now, still_since = _now(), self.fleet.standstill_since
        since = [start for start in (tries.waiting_since, still_since) if start is not None]
        left_s = min(since, default=now) + tries.patience_s - now
        if left_s > 0:
            return left_s
        if now - (self.fleet.next_probe_at() or now) > 2 * LATE_S:
            return LATE_S  # the loop was not run for a while: look before giving up
        if still_since is not None and still_since + tries.patience_s <= now:
            self._given_up_on = still_since
        return left_s

    def _nobody(self) -> str:
        reasons = "; ".join(f"{i.url}: {i.reason or 'at rest'}" for i in self.fleet.instances)
        return f"no server {'takes the request' if self.fleet.up else 'is up'} ({reasons})"

    # -- what a reply means for the request and its instance ---------------------------------------------------

    async def _is_final(self, reply: Reply, call: Call, tries: _Tries) -> bool:
        """Judge a reply: True hands it to the caller, False asks again, somewhere else if it can be."""
        instance = reply.instance
        if reply.status in BUSY:
            tries.told_busy(reply)
            self.fleet.busy(instance, _now(), retry_after_s(reply.headers))
            return call.bounds.attempts == 1 or self._patience_left_s(tries) <= 0
        if reply.status in COLLISIONS:
            tries.trouble(instance, f"HTTP {reply.status}")
            return tries.attempts_left <= 0
        if reply.status in REFUSALS and tries.attempts_left > 1 and self.fleet.has_other(instance):
            unfit = await self._lookout.alone_unfit(instance, _model_of(call.content))
            if unfit is not None:
                tries.trouble(instance, f"HTTP {reply.status}")
                if instance.is_up:
                    self.hold_out(instance, unfit)
                    self._lookout.say_out(instance, unfit)
                return False
        tries.sent += 1
        if reply.status < 400:
            self._blame(tries)
        if reply.chunks is None:
            self.fleet.answered(instance, _now())
        return True

    def _suspect(self, instance: Instance, reason: str, call: Call, answers: int, tries: _Tries) -> None:
        """Have an instance that answered a row with an error show that it generates; it is a strike if it does not."""
        suspicion = Suspicion(reason, self._lookout.vet(instance, _model_of(call.content)), answers)
        tries.suspects[instance] = suspicion

        def judge(vetting: asyncio.Task[bool]) -> None:
            if not vetting.cancelled() and not suspicion.is_cleared:
                self._failed(instance, reason)

        suspicion.vetting.add_done_callback(judge)

    async def _is_the_rows_fault(self, tries: _Tries) -> bool:
        """Judge by 5xx from several instances: the row did it if two of them do generate. Half a fleet may be broken.

        The first 5xx does not wait for the finding, so that the request is elsewhere within milliseconds.
        """
        if len(tries.suspects) > 1:
            await asyncio.wait([suspicion.vetting for suspicion in tries.suspects.values()])
        return sum(suspicion.is_cleared for suspicion in tries.suspects.values()) > 1

    def _blame(self, tries: _Tries) -> None:
        """Another instance answers the row: it is a strike for those that failed it and have answered nothing since,
        though they generate: one that lacks an adapter, say."""
        for instance, suspicion in tries.suspects.items():
            if suspicion.is_cleared and instance.answers == suspicion.answers:
                self._failed(instance, suspicion.reason)

    async def _count_deaths(self, instance: Instance, deaths_before: int, tries: _Tries) -> None:
        """Find out whether the instance died of the fault; raise Poisoned at the last one that may. At once, if it can.

        The first fault does not wait for the finding, so that the request is elsewhere within milliseconds.
        """
        fate = tries.fate
        fate.lost_at.append((instance, deaths_before))
        findings = [self._lookout.examine(lost) for lost, deaths in fate.lost_at if lost.deaths == deaths]
        if len(fate.lost_at) < fate.deaths_allowed:
            return
        if findings:
            await asyncio.wait(findings)
        if len(killed := tries.killed) < fate.deaths_allowed:
            return
        if fate.deaths_allowed == 1 or not await self._others_died_too(tries):
            text = f"it was in flight when servers died ({', '.join(killed)}), and may be why"
            raise Poisoned(text, instance.url, tries.sent)

    async def _others_died_too(self, tries: _Tries) -> bool:
        """Return whether instances that did not have this request died just now: then the power failed, or the like."""
        had_it = {instance for instance, _ in tries.fate.lost_at}
        others = [instance for instance in self.fleet.instances if instance not in had_it]
        if alive := [self._lookout.examine(other) for other in others if other.is_up]:
            await asyncio.wait(alive)
        since = _now() - COMMON_CAUSE_S
        return any(other.died_at is not None and other.died_at > since for other in others)

    def _failed(self, instance: Instance, reason: str, *, gone: bool = False) -> None:
        if self._is_closed:
            return
        if self.fleet.failed(instance, reason, _now(), gone=gone):
            self._lookout.say_out(instance, reason)
        self._lookout.begin_probing()

    # -- one attempt -------------------------------------------------------------------------------------------

    async def _attempt(
        self, instance: Instance, call: Call, parse: Callable[[bytes], Body] | None, weight: float
    ) -> Reply:
        """Ask this instance once. Raises InstanceFault, TimeoutError. It is loaded until the reply has ended."""
        attempt = _Attempt(len(call.content or b"") // BYTES_PER_TOKEN)
        out = self._attempts[instance]

        def ended() -> None:
            out.discard(attempt)
            self.fleet.given_back(instance, _now(), weight)

        def stream_ended(problem: str | None) -> None:
            ended()
            if problem is None:
                self.fleet.answered(instance, _now())
            else:
                self._failed(instance, problem)

        def heard() -> None:
            self.fleet.streamed(instance, _now())

        self.fleet.sent(instance, _now(), weight)
        out.add(attempt)
        self._lookout.begin_watching()
        try:
            with attempt:
                reply = await self._wire.exchange(instance, call, stream_ended, heard)
        except BaseException:
            ended()
            raise
        if reply.chunks is not None:
            attempt.abort = reply.abort
            return reply
        ended()
        if parse is not None and reply.status == 200:
            try:
                reply.value = parse(reply.body)
            except ValueError as error:
                raise InstanceFault(f"a garbled reply: {error}", garbled=True) from error
        return reply

    def _take_back(self, instance: Instance, reason: str) -> None:
        for attempt in tuple(self._attempts[instance]):
            attempt.take_back(reason)

    def _back(self) -> None:
        self._returned.set()
        self.on_room()

    # -- one row -----------------------------------------------------------------------------------------------

    async def ask(
        self,
        request: Request,
        bounds: Bounds = BULK,
        *,
        body: Body | None = None,
        first: Instance | None = None,
        fate: Fate | None = None,
    ) -> Outcome:
        """Ask one row and return what became of it; never raises for anything a server or a row can do.

        `body`: what is sent, where it is not the row's own (a model is filled in).
        A Failure of the kind `poison`: it was in flight when as many instances died as its `fate` allows.
        """
        started = _now()
        try:
            reply = await self.request(
                "POST",
                request.url.removeprefix("/v1"),
                content=to_json(request.body if body is None else body),
                headers=self._row_headers,
                bounds=bounds,
                group=request.group,
                parse=lambda raw: whole_body(raw, request.url),
                first=first,
                fate=fate,
            )
        except CoreError as error:
            return _failure(request, _KINDS.get(type(error), "server"), str(error), error.instance, error.attempts)
        url = reply.instance.url
        if reply.value is None:
            kind, message = kind_of_refusal(reply.status, reply.body)
            return _failure(request, kind, self._wire.without_key(message), url, reply.attempts, reply.status)
        latency_s = round(_now() - started, 4)
        return Answer(request.id, request.asked, reply.value, url, reply.attempts, latency_s, request.custom_id)


_KINDS: Mapping[type[CoreError], FailureKind] = {TimedOut: "timeout", Poisoned: "poison"}


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


def _weight(content: bytes | None) -> float:
    """Return the work a request is expected to be, in generated tokens: what it may generate, and its prompt."""
    body = _body_of(content)
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    output_tokens = limit if isinstance(limit, int) else TYPICAL_OUTPUT_TOKENS
    return output_tokens + len(content or b"") / BYTES_PER_TOKEN * PREFILL_WEIGHT


def _model_of(content: bytes | None) -> str | None:
    model = _body_of(content).get("model")
    return model if isinstance(model, str) else None


def _body_of(content: bytes | None) -> dict[str, Any]:
    try:
        body = orjson.loads(content or b"{}")
    except orjson.JSONDecodeError:  # an upload
        return {}
    return body if isinstance(body, dict) else {}


def _now() -> float:
    return time.monotonic()
