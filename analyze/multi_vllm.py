"""The OpenAI SDK over the core: clients whose requests go to several servers as if they were one.

    client.chat.completions.create ──> the SDK ──> FleetTransport ──> core ──> an instance

The SDK builds requests and reads replies; its HTTP transport is ours. Retries have one owner, the core: what the
transport raises or returns is never retried by the SDK again. Knows nothing of runs and files.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from typing import Any

import httpx2
import openai

from analyze import settings
from analyze.core import Bounds, Core, CoreError, Reply, TimedOut
from analyze.errors import UsageError
from analyze.loops import LoopThread
from analyze.settings import Settings, addresses, base_url, urls_of_ports

# Calls whose result one server keeps: any other instance would answer 404, or with somebody else's.
_STATEFUL = (
    "/files",
    "/batches",
    "/uploads",
    "/fine_tuning",
    "/vector_stores",
    "/assistants",
    "/threads",
    "/containers",
)


class _Target:
    """Where the requests of one client go. `base` is what the SDK takes for the URL."""

    def __init__(self, urls: Sequence[str], api_key: str, policy: str) -> None:
        self.urls, self.api_key, self.policy = tuple(urls), api_key, policy
        self.base = httpx2.URL(self.urls[0])
        self.new_core()  # a wrong policy or address is told now, not at the first request

    def new_core(self) -> Core:
        return Core(self.urls, api_key=self.api_key, policy=self.policy)

    def path_of(self, request: httpx2.Request) -> str:
        """Return the request's path after the base URL. Raises UsageError for calls that cannot be spread."""
        whole, base = request.url.raw_path.decode(), self.base.raw_path.decode().rstrip("/")
        if request.url.netloc != self.base.netloc or not whole.startswith(base + "/"):
            raise UsageError(f"{request.url} is not on this client's servers", cure="make a plain openai.OpenAI for it")
        path = whole.removeprefix(base)
        if len(self.urls) > 1 and _keeps_state(request, path):
            raise UsageError(
                f"{request.method} {path}: one server would remember this, and the next call may reach another",
                cure=f'ask one server: openai.OpenAI(base_url="{self.urls[0]}")',
            )
        return path


def _keeps_state(request: httpx2.Request, path: str) -> bool:
    if path.startswith("/responses"):
        return path.partition("?")[0] != "/responses" or b'"previous_response_id"' in request.content
    return path.startswith(_STATEFUL)


class FleetTransport(httpx2.BaseTransport):
    """The sync transport: the core runs in a thread of its own, started by the first request of each process."""

    def __init__(self, target: _Target) -> None:
        self.target = target
        # The lock guards the fields below: several threads may make the first request, and a fork inherits the
        # fields but not the thread.
        self._lock = threading.Lock()
        self._pid: int | None = None
        self._thread: LoopThread | None = None
        self._core: Core | None = None
        self._end: weakref.finalize[[int, LoopThread, Core], FleetTransport] | None = None

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        request.read()
        path = self.target.path_of(request)
        thread, core = self._running()
        with _sdk_errors(request):
            reply = thread.call(_send(core, request, path))
        stream = None if reply.chunks is None else _SyncStream(thread, reply, request)
        return _response(reply, request, stream)

    def close(self) -> None:
        with self._lock:
            end, self._end, self._thread = self._end, None, None
        if end is not None:
            end()

    def _running(self) -> tuple[LoopThread, Core]:
        with self._lock:
            if self._thread is None or self._core is None or self._pid != os.getpid():
                self._pid, self._core = os.getpid(), self.target.new_core()
                self._thread = LoopThread("analyze-core")
                # A client that nobody closes ends as quietly as the SDK's own, at the latest with the interpreter.
                self._end = weakref.finalize(self, _end_core, self._pid, self._thread, self._core)
            return self._thread, self._core


def _end_core(pid: int, thread: LoopThread, core: Core) -> None:
    if pid == os.getpid():
        thread.close(core.aclose)


def _end_cores(cores: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Core]) -> None:
    for loop, core in list(cores.items()):
        if loop.is_closed():
            core.abandon()
            del cores[loop]


class AsyncFleetTransport(httpx2.AsyncBaseTransport):
    """The async transport: one core for each event loop that it is used in."""

    def __init__(self, target: _Target) -> None:
        self.target = target
        self._cores: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Core] = weakref.WeakKeyDictionary()
        weakref.finalize(self, _end_cores, self._cores)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        await request.aread()
        path = self.target.path_of(request)
        loop = asyncio.get_running_loop()
        core = self._cores.get(loop)
        if core is None:
            _end_cores(self._cores)
            core = self._cores[loop] = self.target.new_core()
        with _sdk_errors(request):
            reply = await _send(core, request, path)
        return _response(reply, request, None if reply.chunks is None else _AsyncStream(reply, request))

    async def aclose(self) -> None:
        core = self._cores.pop(asyncio.get_running_loop(), None)
        if core is not None:
            await core.aclose()


async def _send(core: Core, request: httpx2.Request, path: str) -> Reply:
    timeout = request.extensions.get("timeout") or {}
    headers = {name: value for name, value in request.headers.items() if name not in ("host", "content-length")}
    return await core.request(
        request.method,
        path,
        content=request.content or None,
        headers=headers,
        bounds=Bounds(connect_s=timeout.get("connect"), read_s=timeout.get("read")),
        stream=True,
    )


@contextmanager
def _sdk_errors(request: httpx2.Request) -> Iterator[None]:
    """Turn the core's errors into the SDK's own, which the SDK passes on without a retry of its own."""
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
    headers = [*reply.headers, ("x-should-retry", "false")]
    if stream is None:
        return httpx2.Response(reply.status, headers=headers, content=reply.body, request=request)
    return httpx2.Response(reply.status, headers=headers, stream=stream, request=request)


def _target_of(
    base_urls: str | Sequence[str] | None, api_key: str | None, policy: str, http_client: object
) -> _Target | None:
    """Return the target of a new client; None for a copy, which keeps the HTTP client of the original."""
    if http_client is not None and base_urls is None:
        return None
    if base_urls is None:
        urls = addresses(Settings(settings.ADDRESSES))
    else:
        urls = tuple(base_url(url) for url in ([base_urls] if isinstance(base_urls, str) else base_urls))
    if not urls:
        raise UsageError("MultiVLLMClient got no base URL", cure='MultiVLLMClient(["http://localhost:8001/v1", ...])')
    return _Target(urls, _key(api_key), policy)


def _key(api_key: str | None) -> str:
    return settings.api_key(api_key or os.environ.get(settings.VLLM_API_KEY.env))


class MultiVLLMClient(openai.OpenAI):
    """An `openai.OpenAI` whose requests go to several vLLM servers.

    Arguments:
        base_urls: the servers, as `http://HOST:PORT/v1`; default: `VLLM_ENDPOINTS`, else `VLLM_PORTS` at `VLLM_HOST`.
        api_key: sent to these servers only; default `VLLM_API_KEY`, else `EMPTY`. `OPENAI_API_KEY` is never sent.
        policy: `round_robin`: among the servers that are up and least loaded, the next in turn.
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
        http_client: httpx2.Client | None = None,
        **sdk_options: Any,
    ) -> None:
        target = _target_of(base_urls, api_key, policy, http_client)
        if target is not None:
            http_client = httpx2.Client(transport=FleetTransport(target), timeout=openai.DEFAULT_TIMEOUT)
            self.base_urls = target.urls
            sdk_options["base_url"] = target.urls[0]
        super().__init__(api_key=_key(api_key), http_client=http_client, **_without_openai_secrets(sdk_options))
        _forget_openai_account(self, sdk_options)

    def copy(self, **options: Any) -> MultiVLLMClient:
        """Return a client with some options changed, on the same servers and connections."""
        copied = super().copy(**options)
        copied.base_urls = self.base_urls
        return copied

    with_options = copy


class AsyncMultiVLLMClient(openai.AsyncOpenAI):
    """`MultiVLLMClient` for asyncio: an `openai.AsyncOpenAI`, usable in several event loops."""

    def __init__(
        self,
        base_urls: str | Sequence[str] | None = None,
        *,
        api_key: str | None = None,
        policy: str = "round_robin",
        http_client: httpx2.AsyncClient | None = None,
        **sdk_options: Any,
    ) -> None:
        target = _target_of(base_urls, api_key, policy, http_client)
        if target is not None:
            http_client = httpx2.AsyncClient(transport=AsyncFleetTransport(target), timeout=openai.DEFAULT_TIMEOUT)
            self.base_urls = target.urls
            sdk_options["base_url"] = target.urls[0]
        super().__init__(api_key=_key(api_key), http_client=http_client, **_without_openai_secrets(sdk_options))
        _forget_openai_account(self, sdk_options)

    def copy(self, **options: Any) -> AsyncMultiVLLMClient:
        """Return a client with some options changed, on the same servers and connections."""
        copied = super().copy(**options)
        copied.base_urls = self.base_urls
        return copied

    with_options = copy


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
