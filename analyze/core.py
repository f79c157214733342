"""The only sockets to models: one asyncio loop that sends, fails over, probes, and waits for servers to return.

    request ──> pick an instance ──> exchange ──> reply
                  ▲                     ├─ refused, reset, cut: the instance's fault: another one, at once
                  │                     ├─ 5xx: another one; the same from two instances is the row's own fault
                  └── wait while all ───┴─ 429, 503: busy, not broken: wait a little, then the least loaded
                      are out
The decisions are `fleet`'s. This module is the border where the errors of aiohttp become ours, and it is the only
owner of retries. It knows nothing of the OpenAI SDK, of rows, files or jobs.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson

from analyze import settings
from analyze.fleet import Fleet, Instance
from analyze.records import Answer, Body, Failure, FailureKind, Outcome, Request, from_json, to_json

log = logging.getLogger(__name__)

ATTEMPTS = 4
"""Tries of one request in all that reached a server, over different instances where there are any."""

BUSY_WAIT_S = 0.5
BUSY_WAIT_MAX_S = 10.0
"""Pause after 429 or 503 without Retry-After (vLLM's 503 has none), doubled each time."""

KEEPALIVE_S = 4.0
"""Idle connections are closed before the server closes them (uvicorn: after 5 s), or a send could meet a reset."""

PROBE_TIMEOUT_S = 5.0

GARBLED = "a garbled or aborted reply"

INSTANCE_HEADER = "x-analyze-instance"

Headers = Mapping[str, str]

_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length"})


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Bounds of one attempt in seconds, None for none; `unavailable_s` bounds the wait while all servers are out."""

    connect_s: float | None = settings.CONNECT_TIMEOUT_S
    read_s: float | None = settings.REQUEST_TIMEOUT_S
    total_s: float | None = None
    unavailable_s: float = settings.SINGLE_UNAVAILABLE_TIMEOUT_S


SINGLE = Timeouts()
BULK = Timeouts(read_s=None, total_s=settings.REQUEST_TIMEOUT_S, unavailable_s=settings.BULK_UNAVAILABLE_TIMEOUT_S)


@dataclass(slots=True)
class Reply:
    """What a server sent back. A streamed one has `chunks` still to be read, and must be closed."""

    status: int
    headers: list[tuple[str, str]]
    instance: Instance
    attempts: int = 1
    body: bytes = b""
    value: Body | None = None  # what the body means, where `parse` was given
    chunks: AsyncIterator[bytes] | None = None
    close: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class InstanceReport:
    """What one address said when it was looked at: the models it serves, or the problem with it."""

    url: str
    models: tuple[str, ...] = ()
    max_model_len: int | None = None
    problem: str | None = None


class CoreError(Exception):
    """No usable reply could be had, after `attempts` tries, the last at `instance` (a URL)."""

    def __init__(self, message: str, instance: str | None, attempts: int) -> None:
        super().__init__(message)
        self.instance = instance
        self.attempts = attempts


class Unavailable(CoreError):
    """All instances are out, or every attempt failed."""


class TimedOut(CoreError):
    """An instance took the request and did not answer in time."""


class StreamBroken(CoreError):
    """A reply broke off in the middle. It is never silently started again."""


class _InstanceFault(Exception):
    """One attempt failed by the instance's fault. `gone`: nothing listens there, so nothing was sent."""

    def __init__(self, reason: str, *, gone: bool = False) -> None:
        super().__init__(reason)
        self.gone = gone


@dataclass(slots=True)
class _Tries:
    """What one request has been through so far."""

    patience_s: float
    attempts: int = 0
    busy: int = 0
    avoid: list[Instance] = field(default_factory=list)  # failed this request
    erred: list[Instance] = field(default_factory=list)  # answered it with 5xx
    last: str = "nothing was sent"
    last_url: str | None = None
    give_up_at: float | None = None  # set by the first trouble

    def trouble(self, instance: Instance, reason: str, now: float) -> None:
        self.last, self.last_url = f"{instance.url}: {reason}", instance.url
        self.avoid.append(instance)
        self.patience_starts(now)

    def patience_starts(self, now: float) -> float:
        """Return when to give up; the first call sets it."""
        if self.give_up_at is None:
            self.give_up_at = now + self.patience_s
        return self.give_up_at

    def unavailable(self, message: str) -> Unavailable:
        return Unavailable(f"{message}; last: {self.last}", self.last_url, self.attempts)


class Core:
    """Sends requests to whichever instance can answer them soonest. Belongs to the event loop it is used in."""

    def __init__(self, urls: Sequence[str], *, api_key: str, policy: str = "round_robin") -> None:
        self.fleet = Fleet(urls, policy)
        self.on_change: Callable[[str], None] = log.warning  # told in a sentence who goes out and who comes back
        self._authorization = {"Authorization": f"Bearer {api_key}"}
        self._session: aiohttp.ClientSession | None = None
        self._prober: asyncio.Task[None] | None = None
        self._returned = asyncio.Event()  # set whenever an instance comes back

    async def aclose(self) -> None:
        """Stop probing and close every connection."""
        if self._prober is not None:
            self._prober.cancel()
            await asyncio.gather(self._prober, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def abandon(self) -> None:
        """Let go of connections whose event loop is closed, where nothing can be awaited any more."""
        if self._session is not None and self._session.connector is not None:
            connector = self._session.connector
            self._session.detach()
            closing: Any = connector.close()
            with suppress(StopIteration):
                closing.send(None)  # without a loop there is nothing it would wait for

    # -- one request -------------------------------------------------------------------------------------------

    async def request(
        self,
        method: str,
        path: str,
        *,
        content: bytes | None = None,
        headers: Headers | None = None,
        timeouts: Timeouts = SINGLE,
        stream: bool = False,
        parse: Callable[[bytes], Body | None] | None = None,
    ) -> Reply:
        """Send one request, again elsewhere where an instance fails it, and return the reply, whatever its status.

        `path` follows the base URL, as in `/chat/completions`. With `stream`, an event stream is handed over as it
        comes, and the instance counts as loaded until `Reply.close` is called. `parse` reads the body of a good
        reply; where it makes nothing of it, that is the instance's fault. Raises Unavailable, TimedOut.
        """
        tries = _Tries(timeouts.unavailable_s)
        while True:
            instance = await self._next_instance(tries)
            try:
                reply = await self._exchange(instance, method, path, content, headers, timeouts, stream)
            except _InstanceFault as fault:
                tries.attempts += not fault.gone
                self._failed(instance, str(fault), gone=fault.gone)
                tries.trouble(instance, str(fault), _now())
            except TimeoutError:
                self._failed(instance, "no answer in time")
                raise TimedOut(f"{instance.url}: no answer in time", instance.url, tries.attempts + 1) from None
            else:
                tries.attempts += 1
                reply.attempts = tries.attempts
                to_parse = parse is not None and reply.status == 200
                reply.value = parse(reply.body) if parse is not None and to_parse else None
                if not await self._ask_again(reply, tries, garbled=to_parse and reply.value is None):
                    return reply
            if tries.attempts >= ATTEMPTS or _now() >= tries.patience_starts(_now()):
                raise tries.unavailable(f"gave up after {tries.attempts} attempts")

    async def _next_instance(self, tries: _Tries) -> Instance:
        """Return an instance that is up, waiting for one while all are out, as long as the request has patience."""
        while (instance := self.fleet.pick(tries.avoid)) is None:
            left_s = tries.patience_starts(_now()) - _now()
            if left_s <= 0:
                reasons = "; ".join(f"{i.url}: {i.reason}" for i in self.fleet.instances)
                raise Unavailable(f"no server is up ({reasons})", tries.last_url, tries.attempts)
            self._returned.clear()
            try:
                async with asyncio.timeout(left_s):
                    await self._returned.wait()
            except TimeoutError:
                continue
        return instance

    async def _ask_again(self, reply: Reply, tries: _Tries, *, garbled: bool) -> bool:
        """Judge a reply: False hands it to the caller, True asks again, somewhere else if it can be."""
        instance, status = reply.instance, reply.status
        last_try = tries.attempts >= ATTEMPTS
        if status in (429, 503):
            # Overload (vLLM's admission limits) or an engine that just died: waiting is right for the first, and
            # after the second the connection is refused within a second. Neither is a strike.
            if not last_try:
                await asyncio.sleep(_retry_after_s(reply) or min(BUSY_WAIT_MAX_S, BUSY_WAIT_S * 2**tries.busy))
                tries.busy += 1
            return not last_try
        if garbled:
            self._failed(instance, GARBLED)
            tries.trouble(instance, GARBLED, _now())
            return True
        if status < 500:
            self.fleet.answered(instance)
            return False
        if any(earlier is not instance for earlier in tries.erred):
            self.fleet.forgiven(tries.erred)
            return False
        self._failed(instance, f"HTTP {status}")
        tries.erred.append(instance)
        tries.trouble(instance, f"HTTP {status}", _now())
        return not last_try

    async def _exchange(
        self,
        instance: Instance,
        method: str,
        path: str,
        content: bytes | None,
        headers: Headers | None,
        timeouts: Timeouts,
        stream: bool,
    ) -> Reply:
        """Make one attempt. Raises _InstanceFault, TimeoutError. The load is given back on every way out."""
        load = _Load(self.fleet, instance)
        limits = aiohttp.ClientTimeout(
            total=timeouts.total_s, sock_connect=timeouts.connect_s, sock_read=timeouts.read_s
        )
        try:
            with _translated():
                response = await self._open().request(
                    method,
                    instance.url + path,
                    data=content,
                    headers=self._authorization if headers is None else headers,
                    timeout=limits,
                    allow_redirects=False,
                )
                reply = Reply(response.status, _end_to_end_headers(response, instance), instance)
                if stream and response.status < 400 and response.content_type == "text/event-stream":
                    reply.chunks = _chunks(response, instance)
                    reply.close = _in_turn(response.close, load.give_back)
                    return reply
                reply.body = await response.read()
        except BaseException:
            load.give_back()
            raise
        load.give_back()
        return reply

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_S),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,  # the SDK's client decodes; bulk asking never invites compression
                skip_auto_headers=("Accept-Encoding", "User-Agent"),
                trust_env=False,  # http_proxy never diverts requests to servers
            )
        return self._session

    # -- one row -----------------------------------------------------------------------------------------------

    async def ask(self, request: Request, timeouts: Timeouts = BULK) -> Outcome:
        """Ask one row and return what became of it; never raises for anything a server or a row can do."""
        started = _now()
        headers = {**self._authorization, "Content-Type": "application/json"}
        path, content = request.url.removeprefix("/v1"), to_json(request.body)
        try:
            reply = await self.request(
                "POST", path, content=content, headers=headers, timeouts=timeouts, parse=_whole_body
            )
        except CoreError as error:
            kind: FailureKind = "timeout" if isinstance(error, TimedOut) else "server"
            return _failure(request, kind, str(error), error.instance, error.attempts)
        url = reply.instance.url
        if reply.value is None:
            kind, message = _kind_of_refusal(reply.status, reply.body)
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
            self.on_change(f"{instance.url} is out: {reason}; its requests go to the {len(self.fleet.up)} others")
        self._start_probing()

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
            status, _ = await self._get(root + "/health")
        except (_InstanceFault, TimeoutError) as error:
            return str(error) or "no answer to /health in time"
        return None if status in (200, 404) else f"/health says HTTP {status}"

    async def _look_at(self, instance: Instance) -> InstanceReport:
        try:
            status, body = await self._get(instance.url + "/models")
        except (_InstanceFault, TimeoutError) as error:
            return InstanceReport(instance.url, problem=str(error) or f"no answer within {PROBE_TIMEOUT_S:g} s")
        if status in (401, 403):
            return InstanceReport(instance.url, problem=f"HTTP {status}: the key is refused; set VLLM_API_KEY")
        if status != 200:
            return InstanceReport(instance.url, problem=f"/models says HTTP {status}")
        try:
            cards = orjson.loads(body)["data"]
            models = tuple(sorted(str(card["id"]) for card in cards))
            lengths = [int(card["max_model_len"]) for card in cards if card.get("max_model_len")]
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            return InstanceReport(instance.url, problem="/models is not what an OpenAI server says")
        return InstanceReport(instance.url, models, min(lengths, default=None))

    async def _get(self, url: str) -> tuple[int, bytes]:
        limits = aiohttp.ClientTimeout(total=PROBE_TIMEOUT_S)
        with _translated():
            async with self._open().get(url, headers=self._authorization, timeout=limits) as response:
                return response.status, await response.read()


class _Load:
    """One request counted against an instance from before the send, given back exactly once."""

    def __init__(self, fleet: Fleet, instance: Instance) -> None:
        fleet.sent(instance)
        self._fleet, self._instance, self._held = fleet, instance, True

    def give_back(self) -> None:
        if self._held:
            self._held = False
            self._fleet.given_back(self._instance)


@contextmanager
def _translated() -> Iterator[None]:
    """Turn the errors of aiohttp and of the sockets under it into _InstanceFault, or TimeoutError for a slow answer."""
    try:
        yield
    except aiohttp.ConnectionTimeoutError as error:
        raise _InstanceFault("no connection in time", gone=True) from error
    except TimeoutError as error:
        raise TimeoutError from error
    except aiohttp.ClientConnectorError as error:
        raise _InstanceFault(f"cannot connect ({error.os_error.strerror or error.os_error})", gone=True) from error
    except (aiohttp.ClientError, OSError) as error:
        raise _InstanceFault(f"connection lost ({type(error).__name__})") from error


async def _chunks(response: aiohttp.ClientResponse, instance: Instance) -> AsyncIterator[bytes]:
    try:
        with _translated():
            async for chunk in response.content.iter_any():
                yield chunk
    except TimeoutError:
        raise TimedOut(f"{instance.url}: the stream stood still for too long", instance.url, 1) from None
    except _InstanceFault as fault:
        raise StreamBroken(f"{instance.url}: the stream broke off: {fault}", instance.url, 1) from fault


def _in_turn(*steps: Callable[[], None]) -> Callable[[], None]:
    def run() -> None:
        for step in steps:
            step()

    return run


def _end_to_end_headers(response: aiohttp.ClientResponse, instance: Instance) -> list[tuple[str, str]]:
    kept = [(name, value) for name, value in response.headers.items() if name.lower() not in _HOP_BY_HOP]
    return [*kept, (INSTANCE_HEADER, instance.url)]


def _retry_after_s(reply: Reply) -> float | None:
    """Read Retry-After in seconds, as far as it is a number that is worth waiting for."""
    text = next((value for name, value in reply.headers if name.lower() == "retry-after"), "")
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if 0 < seconds <= BUSY_WAIT_MAX_S else None


def _whole_body(raw: bytes) -> Body | None:
    """Return a reply's JSON object; None when it is none, or when the server says that it aborted the generation."""
    try:
        body = from_json(raw)
    except ValueError:
        return None
    if not isinstance(body, dict):
        return None
    choices = body.get("choices") or []
    return None if any(choice.get("finish_reason") == "abort" for choice in choices) else body


def _kind_of_refusal(status: int, raw: bytes) -> tuple[FailureKind, str]:
    """Return the kind of failure that an HTTP error is, and the server's own words."""
    message = _error_message(raw) or f"HTTP {status}"
    if status in (401, 403):
        return "refused", message
    if status >= 500 or status in (408, 429):
        return "server", f"HTTP {status}: {message}"
    too_long = "maximum context length" in message or "maximum model length" in message
    return ("too_long" if too_long else "invalid"), message


def _error_message(raw: bytes) -> str:
    try:
        error = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return raw[:500].decode(errors="replace")
    if isinstance(error, dict):
        error = error.get("error", error.get("detail", error))
    if isinstance(error, dict):
        error = error.get("message", error)
    return error if isinstance(error, str) else orjson.dumps(error)[:500].decode(errors="replace")


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
