"""One attempt at one server over aiohttp: a call goes out, a reply or an error of ours comes back.

The border where the errors of aiohttp, and of the sockets under it, become ours. Decides nothing: it knows no retry,
no other server, and not whose fault a reply is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import aiohttp
import orjson

from analyze import settings
from analyze.fleet import Instance
from analyze.records import Body

KEEPALIVE_S = 4.0
"""Idle connections are closed before the server closes them (uvicorn: after 5 s), or a send could meet a reset."""

PATIENT_S = 60.0
"""A timeout below this says little about the server."""

INSTANCE_HEADER = "x-analyze-instance"

Headers = Mapping[str, str]

_IN_PLACE_OF_AIOHTTPS_OWN = {"Accept-Encoding": "identity", "User-Agent": "analyze"}
"""Sent where a call says nothing else. Having aiohttp leave its own out instead costs 2 us a call."""

_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length"})


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bounds of one request: seconds of an attempt, None for none; `unavailable_s`, the patience while no server is of
    use; `attempts`, tries that reached a server which was not busy, over different instances where there are any.

    A request may run out of time at `slow_asks` different instances before that is its failure.
    """

    connect_s: float | None = settings.CONNECT_TIMEOUT_S
    read_s: float | None = settings.REQUEST_TIMEOUT_S
    total_s: float | None = None
    unavailable_s: float = settings.SINGLE_UNAVAILABLE_TIMEOUT_S
    slow_asks: int = 1
    attempts: int = 4

    @property
    def is_patient(self) -> bool:
        """Whether running out of time speaks against the server, not of somebody in a hurry."""
        return min(self.read_s or PATIENT_S, self.total_s or PATIENT_S) >= PATIENT_S


SINGLE = Bounds()
BULK = Bounds(
    read_s=None,
    total_s=settings.REQUEST_TIMEOUT_S,
    unavailable_s=settings.BULK_UNAVAILABLE_TIMEOUT_S,
    slow_asks=2,
)


@dataclass(slots=True)
class Reply:
    """What a server sent back. A streamed one has `chunks` still to be read, and must be closed."""

    status: int
    received: Headers  # as they came
    instance: Instance
    attempts: int = 1
    body: bytes = b""
    value: Body | None = None  # what the body means, where that was asked for
    chunks: AsyncIterator[bytes] | None = None
    close: Callable[[], None] = lambda: None
    abort: Callable[[], None] = lambda: None  # end a stream as if it had broken off

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The headers that speak of the reply, not of the connection, and who sent it."""
        kept = [(name, value) for name, value in self.received.items() if name.lower() not in _HOP_BY_HOP]
        return [*kept, (INSTANCE_HEADER, self.instance.url)]


class CoreError(Exception):
    """No usable reply could be had, after `attempts` tries, the last at `instance` (a URL)."""

    def __init__(self, message: str, instance: str | None, attempts: int) -> None:
        super().__init__(message)
        self.instance = instance
        self.attempts = attempts


class Unavailable(CoreError):
    """No instance was of use for as long as there was patience, or every attempt failed."""


class TimedOut(CoreError):
    """An instance took the request and did not answer in time."""


class Poisoned(CoreError):
    """Instances died while they had the request, which may be why."""


class StreamBroken(CoreError):
    """A reply broke off in the middle. It is never silently started again."""


class InstanceFault(Exception):
    """One attempt failed by the instance's fault. `gone`: nothing listens there, so nothing was sent.

    `garbled`: there was a reply, which made no sense; that may be the row's fault too.
    """

    def __init__(self, reason: str, *, gone: bool = False, garbled: bool = False) -> None:
        super().__init__(reason)
        self.gone, self.garbled = gone, garbled


class Call(NamedTuple):
    """One request as every attempt sends it. Made for every row."""

    method: str
    path: str
    content: bytes | None
    headers: Headers | None
    bounds: Bounds
    stream: bool


class Wire:
    """The connections to all servers, opened by the first call. Belongs to the event loop it is used in."""

    def __init__(self, api_key: str) -> None:
        self._api_key = api_key
        self.authorization = {"Authorization": f"Bearer {api_key}"}
        self._session: aiohttp.ClientSession | None = None

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()

    def without_key(self, text: str) -> str:
        """Return what a server said without our key, which some repeat where they refuse it."""
        return text if self._api_key == settings.DEFAULT_API_KEY else text.replace(self._api_key, "***")

    def abandon(self) -> None:
        """Let go of connections whose event loop is closed, where nothing can be awaited any more."""
        if self._session is not None and self._session.connector is not None:
            connector = self._session.connector
            self._session.detach()
            closing: Any = connector.close()
            with suppress(StopIteration):
                closing.send(None)  # without a loop there is nothing it would wait for

    async def exchange(
        self, instance: Instance, call: Call, ended: Callable[[str | None], None], heard: Callable[[], None]
    ) -> Reply:
        """Send, and read the whole reply, or the first of a stream. Raises InstanceFault, TimeoutError.

        `heard` is called for every part of a stream, `ended` when it is over, once, with what broke it, or None for an
        end in good order or an early close.
        """
        with _TRANSLATED if call.bounds.is_patient else _IN_A_HURRY:
            response = await self._open().request(
                call.method,
                instance.url + call.path,
                data=None if call.content is None else _in_json(call.content),
                headers=self.authorization if call.headers is None else call.headers,
                timeout=_limits(call.bounds),
                allow_redirects=False,
            )
            reply = Reply(response.status, response.headers, instance)
            if call.stream and response.status < 400 and response.content_type == "text/event-stream":
                await _begin_stream(reply, response, ended, heard)
            else:
                reply.body = await response.read()
        return reply

    async def get(self, url: str, timeout_s: float) -> tuple[int, bytes]:
        """Return status and body of `url`. Raises InstanceFault, TimeoutError."""
        limits = aiohttp.ClientTimeout(total=timeout_s)
        with _TRANSLATED:
            async with self._open().get(url, headers=self.authorization, timeout=limits) as response:
                return response.status, await response.read()

    async def post(self, url: str, content: bytes, timeout_s: float) -> tuple[int, bytes]:
        """Send JSON to `url`; return status and body. Raises InstanceFault, TimeoutError."""
        limits = aiohttp.ClientTimeout(total=timeout_s)
        with _TRANSLATED:
            async with self._open().post(
                url, data=_in_json(content), headers=self.authorization, timeout=limits
            ) as response:
                return response.status, await response.read()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_S),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,  # the SDK's client decodes; bulk asking never invites compression
                headers=_IN_PLACE_OF_AIOHTTPS_OWN,
                trust_env=False,  # http_proxy never diverts requests to servers
            )
        return self._session


async def _begin_stream(
    reply: Reply, response: aiohttp.ClientResponse, ended: Callable[[str | None], None], heard: Callable[[], None]
) -> None:
    """Wait for the first of a stream, so that what breaks or stands still before it can be asked again elsewhere.

    vLLM sends the headers before it knows anything; an engine that dies then is told in the stream. That is a 500.
    """
    try:
        first = await response.content.readany()
    except BaseException:
        response.close()
        raise
    if not first:
        raise InstanceFault("a stream without anything in it")
    error = _server_error(first)
    if error is not None:
        response.close()
        reply.status, reply.body = error
        reply.received = {"content-type": "application/json"}
        return
    streamed = _Stream(response, first, reply.instance.url, ended, heard)
    reply.chunks, reply.close, reply.abort = streamed.chunks(), streamed.close, streamed.abort


_ERROR_EVENT = b'data: {"error":'


def _server_error(chunk: bytes) -> tuple[int, bytes] | None:
    """Return status and JSON of the server's own error (5xx), where a chunk of a stream begins with one."""
    if not chunk.startswith(_ERROR_EVENT):
        return None
    event = chunk.removeprefix(b"data: ").partition(b"\n")[0]
    try:
        status = orjson.loads(event)["error"]["code"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    return (status, event) if isinstance(status, int) and 500 <= status < 600 else None


class _Stream:
    """A reply still to come: over when it has ended, broken off, or is closed by whoever reads it."""

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        first: bytes,
        url: str,
        ended: Callable[[str | None], None],
        heard: Callable[[], None],
    ) -> None:
        self._response, self._first, self._url, self._heard = response, first, url, heard
        self._ended: Callable[[str | None], None] | None = ended

    async def chunks(self) -> AsyncIterator[bytes]:
        problem = None
        try:
            yield self._first
            with _TRANSLATED:
                async for chunk in self._response.content.iter_any():
                    self._heard()
                    if _server_error(chunk):
                        problem = "a stream ended in an error"
                    yield chunk
        except TimeoutError:
            self._end("a stream stood still for too long")
            raise TimedOut(f"{self._url}: the stream stood still for too long", self._url, 1) from None
        except InstanceFault as fault:
            self._end(f"a stream broke off: {fault}")
            raise StreamBroken(f"{self._url}: the stream broke off: {fault}", self._url, 1) from fault
        self._end(problem)

    def close(self) -> None:
        self._response.close()
        self._end(None)

    def abort(self) -> None:
        """Cut the connection: whoever reads, or reads next, is told that the stream broke off."""
        self._response.close()
        self._end("a stream was given up")

    def _end(self, problem: str | None) -> None:
        ended, self._ended = self._ended, None
        if ended is not None:
            ended(problem)


class _Translated:
    """Turns the errors of aiohttp and of the sockets under it into InstanceFault, or TimeoutError for a slow answer.

    That no connection came in time says something of the server only where somebody waited for it (`is_patient`).
    """

    def __init__(self, *, is_patient: bool) -> None:
        self._is_patient = is_patient

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            return
        if isinstance(error, aiohttp.ConnectionTimeoutError) and self._is_patient:
            raise InstanceFault("no connection in time", gone=True) from error
        if isinstance(error, TimeoutError):
            raise TimeoutError from error
        if isinstance(error, aiohttp.ClientConnectorError):
            raise InstanceFault(f"cannot connect ({error.os_error.strerror or error.os_error})", gone=True) from error
        if isinstance(error, aiohttp.ClientError | OSError):
            raise InstanceFault(f"connection lost ({type(error).__name__})") from error


_TRANSLATED = _Translated(is_patient=True)
_IN_A_HURRY = _Translated(is_patient=False)


def _in_json(content: bytes) -> aiohttp.BytesPayload:
    """Say that the content is JSON, unless the headers say something else."""
    return aiohttp.BytesPayload(content, content_type="application/json")


@lru_cache(maxsize=64)
def _limits(bounds: Bounds) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=bounds.total_s, sock_connect=bounds.connect_s, sock_read=bounds.read_s)
