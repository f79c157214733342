"""The OpenAI SDK over the core: clients whose requests go to several servers as if they were one.

    client.chat.completions.create ──> the SDK ──> FleetTransport ──> core ──> an instance

The SDK builds requests and reads replies; its HTTP transport is ours. Retries have one owner, the core: the SDK is told
to retry nothing, and the transport how often it may. Knows nothing of runs and files.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, Any

import httpx2
import openai

from analyze import settings
from analyze.core import BULK, SINGLE, Bounds, Core, CoreError, Reply, TimedOut
from analyze.errors import UsageError
from analyze.loops import LoopThread
from analyze.records import Body, from_json
from analyze.server_replies import ANSWERED_IN_JSON, whole_body
from analyze.settings import Settings, addresses, endpoints, urls_of_ports

if TYPE_CHECKING:
    from openai._models import FinalRequestOptions

GROUP_HEADER = "x-analyze-group"
"""Names requests that share a long prompt prefix: `extra_headers={"x-analyze-group": ...}`. Servers never see it."""

_BOUNDS_HEADER = "x-analyze-bounds"
"""From the client to its transport: attempts, and seconds of patience while no server is of use."""

_NOT_FOR_SERVERS = frozenset(
    # Replies are read here, to see whether they are whole, so they must not be compressed; vLLM never does.
    {b"host", b"content-length", b"accept-encoding", GROUP_HEADER.encode(), _BOUNDS_HEADER.encode()}
)

_NO_BOUNDS = f"{SINGLE.attempts} {SINGLE.unavailable_s}"

MAX_RETRIES = SINGLE.attempts - 1

# The first part of the path of calls whose result one server keeps, or which change one server: any other instance
# would answer 404, or with somebody else's. The last two are vLLM's own.
_KEPT = frozenset(
    """agents assistants batches chatkit containers conversations evals files fine_tuning live organization projects
    realtime safety skills threads uploads vaults vector_stores videos webhook_endpoints webhook_event_types
    load_lora_adapter unload_lora_adapter""".split()  # noqa: SIM905 - as a list it is a page
)
# Calls under /responses that a server has forgotten when it has answered, and fields for which it must not.
_FORGOTTEN = frozenset({"/responses", "/responses/compact", "/responses/input_tokens"})
_REMEMBERED = ("previous_response_id", "conversation", "background")


class _Target:
    """Where the requests of one client go. `base` is what the SDK takes for the URL."""

    def __init__(self, urls: Sequence[str], api_key: str, policy: str) -> None:
        self.urls, self.api_key, self.policy = tuple(urls), api_key, policy
        self.base = httpx2.URL(self.urls[0])
        self._prefix = self.base.raw_path.decode().rstrip("/")
        self.new_core()  # a wrong policy or address is told now, not at the first request

    def new_core(self) -> Core:
        return Core(self.urls, api_key=self.api_key, policy=self.policy)

    def path_of(self, request: httpx2.Request) -> str:
        """Return the request's path after the base URL. Raises UsageError for calls that cannot be spread."""
        whole = request.url.raw_path.decode()
        if request.url.netloc != self.base.netloc or not whole.startswith(self._prefix + "/"):
            raise UsageError(f"{request.url} is not on this client's servers", cure="make a plain openai.OpenAI for it")
        path = whole.removeprefix(self._prefix)
        if len(self.urls) > 1 and _is_kept(request.method, path.partition("?")[0]):
            raise self._cannot_be_spread(request.method, path)
        return path

    def check_body(self, request: httpx2.Request, path: str) -> None:
        """Raise UsageError where it is the body that asks a server to remember something."""
        if len(self.urls) > 1 and path.startswith("/responses") and request.content:
            body = from_json(request.content)
            for name in _REMEMBERED:
                if isinstance(body, dict) and body.get(name):
                    raise self._cannot_be_spread(request.method, path, f" with {name}")

    def _cannot_be_spread(self, method: str, path: str, why: str = "") -> UsageError:
        return UsageError(
            f"{method} {path}{why}: one server would remember this, and the next call may reach another",
            cure=f'ask one server: openai.OpenAI(base_url="{self.urls[0]}")',
        )


def _is_kept(method: str, path: str) -> bool:
    """Return whether a call makes, reads or changes what one server keeps: all but questions and the list of models."""
    head, _, rest = path.lstrip("/").partition("/")
    if head in _KEPT or (head == "audio" and rest.startswith("voice")):
        return True
    if head == "responses":
        return path not in _FORGOTTEN
    if method == "GET":
        return path == "/chat/completions" or (rest != "" and head != "models")
    return method != "POST" or path.startswith("/chat/completions/")


# Guards the start of each client's thread: several threads may make the first request. A fork takes it with it.
_starting = threading.Lock()
os.register_at_fork(before=_starting.acquire, after_in_parent=_starting.release, after_in_child=_starting.release)


class FleetTransport(httpx2.BaseTransport):
    """The sync transport: the core runs in a thread of its own, started by the first request of each process."""

    def __init__(self, target: _Target) -> None:
        self.target = target
        # Shared by all threads that use the client, changed only under `_starting`.
        self._thread: LoopThread | None = None
        self._core: Core | None = None
        self._end: weakref.finalize[[LoopThread, Core], FleetTransport] | None = None

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        path = self.target.path_of(request)
        request.read()
        self.target.check_body(request, path)
        thread, core = self._running()
        with _sdk_errors(request):
            reply = thread.call(_sending(core, request, path))
        return _response(reply, request, None if reply.chunks is None else _SyncStream(thread, reply, request))

    def close(self) -> None:
        with _starting:
            end, self._end, self._thread = self._end, None, None
        if end is not None:
            end()

    def _running(self) -> tuple[LoopThread, Core]:
        thread, core = self._thread, self._core
        if thread is not None and core is not None and thread.is_open:
            return thread, core
        with _starting:
            if self._thread is None or self._core is None or not self._thread.is_open:
                self._core, self._thread = self.target.new_core(), LoopThread("analyze-core")
                # A client that nobody closes ends as quietly as the SDK's own, at the latest with the interpreter.
                self._end = weakref.finalize(self, _end_core, self._thread, self._core)
            return self._thread, self._core


def _end_core(thread: LoopThread, core: Core) -> None:
    if thread.is_open:
        thread.close(core.aclose)


class AsyncFleetTransport(httpx2.AsyncBaseTransport):
    """The async transport: one core for each event loop that it is used in."""

    def __init__(self, target: _Target) -> None:
        self.target = target
        self._cores: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Core] = weakref.WeakKeyDictionary()
        weakref.finalize(self, _end_cores, self._cores, all_loops=True)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        path = self.target.path_of(request)
        await request.aread()
        self.target.check_body(request, path)
        loop = asyncio.get_running_loop()
        core = self._cores.get(loop)
        if core is None:
            _end_cores(self._cores)
            core = self._cores[loop] = self.target.new_core()
        with _sdk_errors(request):
            reply = await _sending(core, request, path)
        return _response(reply, request, None if reply.chunks is None else _AsyncStream(reply, request))

    async def aclose(self) -> None:
        core = self._cores.pop(asyncio.get_running_loop(), None)
        if core is not None:
            await core.aclose()


def _end_cores(cores: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Core], *, all_loops: bool = False) -> None:
    """End the cores whose event loop is closed; with `all_loops` the others too, as soon as their loop can."""
    for loop, core in list(cores.items()):
        if loop.is_closed():
            core.abandon()
            del cores[loop]
        elif all_loops:
            with suppress(RuntimeError):  # closed just now
                loop.call_soon_threadsafe(_end_soon, core)


def _end_soon(core: Core) -> None:
    task = asyncio.ensure_future(core.aclose())
    _ending.add(task)  # a loop holds its tasks weakly
    task.add_done_callback(_ending.discard)


_ending: set[asyncio.Task[None]] = set()


def _sending(core: Core, request: httpx2.Request, path: str) -> Coroutine[Any, Any, Reply]:
    timeout = request.extensions.get("timeout") or {}
    attempts, _, unavailable_s = request.headers.get(_BOUNDS_HEADER, _NO_BOUNDS).partition(" ")
    headers = {
        name.decode("latin-1"): value.decode("latin-1")
        for name, value in request.headers.raw
        if name.lower() not in _NOT_FOR_SERVERS
    }
    return core.request(
        request.method,
        path,
        content=request.content or None,
        headers=headers,
        bounds=Bounds(
            connect_s=timeout.get("connect"),
            read_s=timeout.get("read"),
            unavailable_s=min(float(unavailable_s), timeout.get("read") or inf),  # a short timeout bounds this too
            attempts=int(attempts),
        ),
        stream=True,
        group=request.headers.get(GROUP_HEADER),
        parse=_reader(request, path),
    )


def _reader(request: httpx2.Request, path: str) -> Callable[[bytes], Body] | None:
    """Return what tells a whole answer from a garbled one, None where an answer may be anything (speech)."""
    if request.method != "POST" or path not in ANSWERED_IN_JSON:
        return None
    if b'"stream":true' in request.content and from_json(request.content).get("stream"):
        return _no_stream
    return lambda raw: whole_body(raw, path)


def _no_stream(raw: bytes) -> Body:
    raise ValueError("a whole reply, where a stream was asked for")


@contextmanager
def _sdk_errors(request: httpx2.Request) -> Iterator[None]:
    """Turn the core's errors into the SDK's own, which the SDK passes on as they are."""
    try:
        yield
    except TimedOut as error:
        raise openai.APITimeoutError(request=request) from error
    except CoreError as error:
        raise openai.APIConnectionError(message=str(error), request=request) from error
    except CancelledError as error:
        raise openai.APIConnectionError(message="the client was closed meanwhile", request=request) from error


class _SyncStream(httpx2.SyncByteStream):
    def __init__(self, thread: LoopThread, reply: Reply, request: httpx2.Request) -> None:
        self._thread, self._reply, self._request = thread, reply, request
        # A stream that is thrown away unread gives its load back too.
        self._close = weakref.finalize(self, thread.call_soon, reply.close)

    def __iter__(self) -> Iterator[bytes]:
        assert self._reply.chunks is not None
        chunks = self._reply.chunks
        while True:
            with _sdk_errors(self._request):
                chunk = self._thread.call(_next_chunk(chunks))
            if chunk is None:
                return
            yield chunk

    def close(self) -> None:
        self._close()


class _AsyncStream(httpx2.AsyncByteStream):
    def __init__(self, reply: Reply, request: httpx2.Request) -> None:
        self._reply, self._request = reply, request
        weakref.finalize(self, _close_soon, asyncio.get_running_loop(), reply)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        assert self._reply.chunks is not None
        with _sdk_errors(self._request):
            async for chunk in self._reply.chunks:
                yield chunk

    async def aclose(self) -> None:
        self._reply.close()


def _close_soon(loop: asyncio.AbstractEventLoop, reply: Reply) -> None:
    with suppress(RuntimeError):  # the loop is closed, and its connections with it
        loop.call_soon_threadsafe(reply.close)


async def _next_chunk(chunks: AsyncIterator[bytes]) -> bytes | None:
    return await anext(chunks, None)


def _response(
    reply: Reply, request: httpx2.Request, stream: httpx2.SyncByteStream | httpx2.AsyncByteStream | None
) -> httpx2.Response:
    if stream is None:
        return httpx2.Response(reply.status, headers=reply.headers, content=reply.body, request=request)
    return httpx2.Response(reply.status, headers=reply.headers, stream=stream, request=request)


def _bounded(options: FinalRequestOptions, max_retries: int, unavailable_s: float) -> FinalRequestOptions:
    """Return a copy by which the SDK retries nothing, and the transport as often as was asked for."""
    headers = dict(options.headers) if isinstance(options.headers, Mapping) else {}
    headers[_BOUNDS_HEADER] = f"{options.get_max_retries(max_retries) + 1} {unavailable_s}"
    return options.model_copy(update={"headers": headers, "max_retries": 0})


def _target_of(
    base_urls: str | Sequence[str] | None, api_key: str | None, policy: str, http_client: Any, options: dict[str, Any]
) -> _Target | None:
    """Return the target of a new client; None for a copy, which keeps the HTTP client of the original."""
    if http_client is not None:
        if base_urls is None and isinstance(http_client._transport, FleetTransport | AsyncFleetTransport):
            return None
        raise UsageError("http_client= would send the requests past the servers of this client", cure="leave it out")
    if base_urls is None and options.get("base_url") is not None:
        raise UsageError("base_url= is one server", cure="name all of them: base_urls=[...]")
    if base_urls is None:
        urls = addresses(Settings(settings.ADDRESSES))
    else:
        urls = endpoints(*([base_urls] if isinstance(base_urls, str) else base_urls))
    if not urls:
        raise UsageError("MultiVLLMClient got no base URL", cure='MultiVLLMClient(["http://localhost:8001/v1", ...])')
    return _Target(urls, _key(api_key), policy)


def _patience(unavailable_timeout_s: float) -> float:
    if not unavailable_timeout_s >= 0:  # NaN too
        raise UsageError(f"unavailable_timeout_s={unavailable_timeout_s} is no time", cure="give seconds, 0 or more")
    return unavailable_timeout_s


def _key(api_key: str | None) -> str:
    return settings.api_key(api_key or os.environ.get(settings.VLLM_API_KEY.env))


class MultiVLLMClient(openai.OpenAI):
    """An `openai.OpenAI` whose requests go to several vLLM servers.

    Arguments:
        base_urls: the servers, as `http://HOST:PORT/v1`; default: `VLLM_ENDPOINTS`, else `VLLM_PORTS` at `VLLM_HOST`.
        api_key: sent to these servers only; default `VLLM_API_KEY`, else `EMPTY`. `OPENAI_API_KEY` is never sent.
        policy: `round_robin`: among the servers that are up and least loaded, the next in turn; `least_loaded`: load is
            weighed by expected tokens; `prefix_affinity`: requests of one group (`extra_headers={"x-analyze-group":
            ...}`), or with one beginning, go to one server until it is too busy.
        unavailable_timeout_s: how long a call waits, in seconds, while no server is of use.
        max_retries: a call that fails is asked this many times more, over different servers where there are any. What a
            busy server (429, 503) turns away has not failed, and waits; with 0, nothing is asked twice.
        sdk_options: every other argument of `openai.OpenAI`: timeout, default_headers ...

    A server that refuses, resets or breaks off is passed over and comes back when it answers again. Safe to use from
    many threads, and after a fork. Raises the SDK's own errors: `openai.APIConnectionError` when no server answers.
    """

    def __init__(
        self,
        base_urls: str | Sequence[str] | None = None,
        *,
        api_key: str | None = None,
        policy: str = "round_robin",
        unavailable_timeout_s: float = settings.SINGLE_UNAVAILABLE_TIMEOUT_S,
        max_retries: int = MAX_RETRIES,
        http_client: httpx2.Client | None = None,
        **sdk_options: Any,
    ) -> None:
        self.unavailable_timeout_s = _patience(unavailable_timeout_s)
        target = _target_of(base_urls, api_key, policy, http_client, sdk_options)
        if target is not None:
            http_client = httpx2.Client(transport=FleetTransport(target), timeout=openai.DEFAULT_TIMEOUT)
            self.base_urls = target.urls
            sdk_options["base_url"] = target.urls[0]
        super().__init__(
            api_key=_key(api_key),
            max_retries=max_retries,
            http_client=http_client,
            **_without_openai_secrets(sdk_options),
        )
        _forget_openai_account(self, sdk_options)

    def copy(self, *, unavailable_timeout_s: float | None = None, **options: Any) -> MultiVLLMClient:
        """Return a client with some options changed, on the same servers and connections."""
        patience_s = self.unavailable_timeout_s if unavailable_timeout_s is None else unavailable_timeout_s
        copied = super().copy(**options, _extra_kwargs={"unavailable_timeout_s": patience_s})
        copied.base_urls = self.base_urls
        return copied

    with_options = copy

    def fleet_options(self) -> dict[str, Any]:
        """Return what `FleetAsker` needs to ask many rows as this client would."""
        return _fleet_options(self)

    def request(self, cast_to: Any, options: FinalRequestOptions, **stream: Any) -> Any:
        """Where all calls of the SDK meet. The one owner of retries is the core."""
        bounded = _bounded(options, self.max_retries, self.unavailable_timeout_s)
        return super().request(cast_to, bounded, **stream)


class AsyncMultiVLLMClient(openai.AsyncOpenAI):
    """`MultiVLLMClient` for asyncio: an `openai.AsyncOpenAI`, usable in several event loops."""

    def __init__(
        self,
        base_urls: str | Sequence[str] | None = None,
        *,
        api_key: str | None = None,
        policy: str = "round_robin",
        unavailable_timeout_s: float = settings.SINGLE_UNAVAILABLE_TIMEOUT_S,
        max_retries: int = MAX_RETRIES,
        http_client: httpx2.AsyncClient | None = None,
        **sdk_options: Any,
    ) -> None:
        self.unavailable_timeout_s = _patience(unavailable_timeout_s)
        target = _target_of(base_urls, api_key, policy, http_client, sdk_options)
        if target is not None:
            http_client = httpx2.AsyncClient(transport=AsyncFleetTransport(target), timeout=openai.DEFAULT_TIMEOUT)
            self.base_urls = target.urls
            sdk_options["base_url"] = target.urls[0]
        super().__init__(
            api_key=_key(api_key),
            max_retries=max_retries,
            http_client=http_client,
            **_without_openai_secrets(sdk_options),
        )
        _forget_openai_account(self, sdk_options)

    def copy(self, *, unavailable_timeout_s: float | None = None, **options: Any) -> AsyncMultiVLLMClient:
        """Return a client with some options changed, on the same servers and connections."""
        patience_s = self.unavailable_timeout_s if unavailable_timeout_s is None else unavailable_timeout_s
        copied = super().copy(**options, _extra_kwargs={"unavailable_timeout_s": patience_s})
        copied.base_urls = self.base_urls
        return copied

    with_options = copy

    def fleet_options(self) -> dict[str, Any]:
        """Return what `FleetAsker` needs to ask many rows as this client would."""
        return _fleet_options(self)

    async def request(self, cast_to: Any, options: FinalRequestOptions, **stream: Any) -> Any:
        """Where all calls of the SDK meet. The one owner of retries is the core."""
        bounded = _bounded(options, self.max_retries, self.unavailable_timeout_s)
        return await super().request(cast_to, bounded, **stream)


def _fleet_options(client: openai.OpenAI | openai.AsyncOpenAI) -> dict[str, Any]:
    """Return what of a client's settings holds for many rows too; a total timeout only where one was set."""
    timeout = client.timeout
    seconds = timeout.read if isinstance(timeout, httpx2.Timeout) else timeout
    return {
        "urls": client.base_urls,  # type: ignore[union-attr] # only ever one of the two clients below
        "api_key": client.api_key,
        "policy": client._client._transport.target.policy,  # type: ignore[union-attr] # the transport is ours
        "headers": dict(client._custom_headers),
        "bounds": BULK if timeout == openai.DEFAULT_TIMEOUT else replace(BULK, total_s=seconds),
    }


def _without_openai_secrets(options: dict[str, Any]) -> dict[str, Any]:
    """Keep the SDK from reading OPENAI_ADMIN_KEY and OPENAI_WEBHOOK_SECRET, which are not for these servers."""
    return {"admin_api_key": "", "webhook_secret": "", **options}


def _forget_openai_account(client: openai.OpenAI | openai.AsyncOpenAI, options: dict[str, Any]) -> None:
    """Drop OPENAI_ORG_ID and OPENAI_PROJECT_ID, which the SDK took from the environment."""
    client.organization = options.get("organization")
    client.project = options.get("project")


def create_multi_vllm_client(ports: Sequence[int] | None = None, host: str | None = None) -> MultiVLLMClient:
    """Return a client of the servers on `ports` of `host`; what is not given comes from `VLLM_*`, then the defaults."""
    if ports is None and host is None:
        return MultiVLLMClient()
    resolved = Settings(settings.ADDRESSES)
    wanted = settings.ports(resolved.text(settings.VLLM_PORTS)) if ports is None else tuple(ports)
    return MultiVLLMClient(urls_of_ports(wanted, host or resolved.text(settings.VLLM_HOST)))
