"""Every method of the OpenAI SDK, found by walking it: what a plain client sends to its server, ours sends to one of
its servers, and gives the same back; or it refuses, before anything is sent.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import re
import threading
import typing
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args, get_origin

import openai
import pydantic
import pytest
from aiohttp import web
from openai._resource import AsyncAPIResource, SyncAPIResource

from analyze import AsyncMultiVLLMClient, MultiVLLMClient
from analyze.errors import UsageError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")  # of old SDK methods

# What no server remembers. Everything else that the SDK has or gets must be refused.
STATELESS = {
    "audio.speech.create",
    "audio.transcriptions.create",
    "audio.translations.create",
    "beta.chat.completions.create",
    "beta.chat.completions.parse",
    "beta.chat.completions.stream",
    "beta.responses.compact",
    "beta.responses.create",
    "beta.responses.input_tokens.count",
    "chat.completions.create",
    "chat.completions.parse",
    "chat.completions.stream",
    "completions.create",
    "content_provenance_checks.create",
    "decisions.create",
    "embeddings.create",
    "images.create_variation",
    "images.edit",
    "images.generate",
    "models.list",
    "models.retrieve",
    "moderations.create",
    "responses.compact",
    "responses.create",
    "responses.input_tokens.count",
    "responses.parse",
    "responses.stream",
}

# Why the walk does not call a method: by its whole name, or the last part for every resource that has one.
NOT_CALLED = {
    "connect": "opens a WebSocket, which is no HTTP request",
    "unwrap": "reads a webhook that was received, asks no server",
    "verify_signature": "reads a webhook that was received, asks no server",
    "upload_file_chunked": "reads a file from disk and calls uploads.create, which is walked",
    "wait_for_processing": "asks files.retrieve, which is walked, until a status that no other call knows",
    "prepare": "checks local paths, asks no server",
    "prepare_directory": "checks local paths, asks no server",
    "for_result": "asks nothing before its argument, the result of another call, is at hand",
    "beta.agents.environments.files.upload": "checks local paths first; create beside it is walked",
}

# For methods that need one of several sets of arguments.
ARGUMENTS: dict[str, dict[str, Any]] = {
    "admin.organization.external_keys.create": {
        name: "x" for name in ("external_id", "kms_arn", "name", "role_arn", "type")
    },
    "audio.voices.create": {"name": "x", "prompt": "x", "type": "x"},
    "beta.agents.automations.create": {"name": "x", "run_at": "x", "target": {}, "type": "x"},
    "beta.agents.environments.files.create": {"file_id": "x", "path": "x", "type": "x"},
    "responses.stream": {"model": "m", "input": "hi"},
}

KEYS = {"api_key": "EMPTY", "admin_api_key": "EMPTY"}

REPLY = {
    "id": "an-id",
    "object": "thing",
    "status": "completed",
    "model": "m",
    "created": 1,
    "created_at": 1,
    "data": [{"id": "m", "object": "embedding", "index": 0, "embedding": [0.5]}],
    "has_more": False,
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop", "text": "hi"}],
    "output": [],
    "tools": [],
    "parallel_tool_calls": False,
    "tool_choice": "auto",
    "text": "words",
}
EVENTS = [
    {"type": "response.created", "sequence_number": 0, "response": REPLY},
    {"type": "response.completed", "sequence_number": 1, "response": REPLY},
]
CHUNK = {
    "id": "an-id",
    "object": "chat.completion.chunk",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "delta": {"role": "assistant", "content": "hi"}, "finish_reason": "stop", "text": "hi"}],
}


class Recorder:
    """A server that answers everything alike and writes down what the SDK asked it."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, str, bytes]] = []
        self.headers: list[Mapping[str, str]] = []
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._live(ready)), daemon=True)
        self._thread.start()
        assert ready.wait(60)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(60)

    async def _live(self, ready: threading.Event) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, shutdown_timeout=0.05)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        ready.set()
        await self._ended.wait()
        await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        if "x-stainless-lang" not in request.headers:  # a look at the server, by the client itself
            return web.json_response(REPLY)
        self.headers.append(request.headers)
        kind, _, boundary = request.headers.get("Content-Type", "").partition("; boundary=")
        self.requests.append(
            (request.method, request.path_qs, kind, body.replace(boundary.encode() or b"\0", b"BOUNDARY"))
        )
        if b'"stream":true' in body.replace(b" ", b"") or request.path.endswith("/stream"):
            events = [CHUNK] if "completions" in request.path else EVENTS
            text = "".join(f"event: {e.get('type')}\ndata: {json.dumps(e)}\n\n" for e in events)
            return web.Response(text=text + "data: [DONE]\n\n", content_type="text/event-stream")
        return web.json_response(REPLY)


@pytest.fixture(scope="module")
def servers() -> Iterator[list[Recorder]]:
    started = [Recorder() for _ in range(3)]
    yield started
    for server in started:
        server.stop()


def walk(resource: Any, path: str = "") -> Iterator[str]:
    """Yield the dotted names of all public methods under a resource, or under the client itself."""
    for name in sorted(dir(type(resource))):
        if name.startswith(("_", "with_")):
            continue
        found = getattr(resource, name)
        if isinstance(found, SyncAPIResource | AsyncAPIResource):
            yield from walk(found, f"{path}{name}.")
        elif path and callable(found):
            yield path + name


METHODS = list(walk(openai.OpenAI(api_key="x", base_url="http://x/v1")))
CALLED = [name for name in METHODS if not {name, name.rpartition(".")[2]} & set(NOT_CALLED)]


def argument(hint: Any, name: str) -> Any:
    """Return something that fits a type hint."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint in (str, object, Any) or hint is inspect.Parameter.empty:
        return f"a-{name}"
    if hint in (int, float):
        return 1
    if hint is bool:
        return False
    if hint is bytes:
        return b"bytes"
    if origin is typing.Literal:
        return inner[0]
    if origin in (typing.Annotated, typing.Required, typing.NotRequired):
        return argument(inner[0], name)
    if typing.is_typeddict(hint):
        hints = typing.get_type_hints(hint)
        return {key: argument(hints[key], key) for key in sorted(hint.__required_keys__)}
    if isinstance(hint, type) and issubclass(hint, pydantic.BaseModel):
        return hint.model_construct()
    if origin in (list, Iterable, Sequence, AsyncIterable):
        return [argument(inner[0], name)]
    if origin in (dict, Mapping):
        return {"key": argument(inner[1], name)}
    if inner:
        return ("a.txt", b"a file") if "FileTypes" in str(hint) or "PathLike" in str(hint) else argument(inner[0], name)
    return f"a-{name}"


def arguments(client: Any, name: str) -> dict[str, Any]:
    """Return arguments for all parameters of a method that need one."""
    method = find(client, name, "")
    hints = typing.get_type_hints(inspect.unwrap(method))
    needed = (
        p
        for p in inspect.signature(method).parameters.values()
        if p.default is p.empty and p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)
    )
    return {p.name: argument(hints.get(p.name, str), p.name) for p in needed} | ARGUMENTS.get(name, {})


def find(client: Any, name: str, variant: str) -> Callable[..., Any]:
    path, _, method = name.rpartition(".")
    for part in path.split("."):
        client = getattr(client, part)
    return typing.cast(Callable[..., Any], getattr(getattr(client, variant) if variant else client, method))


def shown(value: Any) -> Any:
    """Return what a user can read in a result, without what differs between two equal ones."""
    if isinstance(value, pydantic.BaseModel):
        return value.model_dump(warnings=False)
    if hasattr(value, "content") and isinstance(value.content, bytes):
        return value.content
    return re.sub(r"0x[0-9a-f]+|:\d+/", "", repr(value)) if not isinstance(value, str | bytes | list) else value


def call(client: openai.OpenAI, name: str, variant: str, **more: Any) -> Any:
    """Call a method and use up what it gives. An error is a result too."""
    method = find(client, name, variant)
    try:
        result = method(**arguments(client, name), **more)
        if hasattr(result, "__enter__"):
            with result as entered:
                if variant:
                    return entered.status_code, entered.read()
                return [shown(item) for item in entered]
        if variant:
            return result.status_code, result.content
        return [shown(item) for item in result] if isinstance(result, openai.Stream) else shown(result)
    except UsageError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever the plain client raises, ours is to raise
        return type(error).__name__, str(error)


async def acall(client: openai.AsyncOpenAI, name: str, variant: str, **more: Any) -> Any:
    method = find(client, name, variant)
    try:
        result = method(**arguments(client, name), **more)
        if inspect.isawaitable(result):
            result = await result
        if hasattr(result, "__aenter__"):
            async with result as entered:
                if variant:
                    return entered.status_code, await entered.read()
                return [shown(item) async for item in entered]
        if variant:
            return result.status_code, result.content
        return [shown(item) async for item in result] if isinstance(result, AsyncIterator) else shown(result)
    except UsageError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever the plain client raises, ours is to raise
        return type(error).__name__, str(error)


def taken(*servers: Recorder) -> list[tuple[str, str, str, bytes]]:
    """Take what the servers have written down since the last time."""
    found = [request for server in servers for request in server.requests]
    for server in servers:
        server.requests.clear()
        server.headers.clear()
    return found


def has_variant(client: Any, name: str, variant: str) -> bool:
    try:
        find(client, name, variant)
    except AttributeError:  # helpers that call other methods: parse, stream, polls
        return False
    return True


def test_the_walk_finds_the_sdk():
    assert len(METHODS) > 300
    assert set(METHODS) >= STATELESS
    named = {*METHODS, *(name.rpartition(".")[2] for name in METHODS)}
    assert named >= {*NOT_CALLED, *ARGUMENTS}, "what the SDK no longer has is to go"


@pytest.mark.parametrize("variant", ["", "with_raw_response", "with_streaming_response"])
def test_every_method_sends_what_the_plain_client_sends_or_is_refused(servers, variant):
    plain_server, *ours = servers
    plain = openai.OpenAI(**KEYS, base_url=plain_server.url, max_retries=0)
    with MultiVLLMClient([server.url for server in ours], **KEYS) as client:
        taken(*servers)
        for name in CALLED:
            if not has_variant(plain, name, variant):
                continue
            expected = call(plain, name, variant)
            sent = taken(plain_server)
            assert sent, f"{name} asks no server: {expected}"
            if name in STATELESS:
                assert call(client, name, variant) == expected, name
                assert taken(*ours) == sent, name
            else:
                with pytest.raises(UsageError, match=r"one server would remember this.*\n.*ask one server"):
                    call(client, name, variant)
                assert taken(*ours) == [], name


@pytest.mark.parametrize("variant", ["", "with_raw_response", "with_streaming_response"])
async def test_every_async_method_does_too(servers, variant):
    plain_server, *ours = servers
    async with (
        openai.AsyncOpenAI(**KEYS, base_url=plain_server.url, max_retries=0) as plain,
        AsyncMultiVLLMClient([server.url for server in ours], **KEYS) as client,
    ):
        taken(*servers)
        for name in CALLED:
            if not has_variant(plain, name, variant):
                continue
            expected = await acall(plain, name, variant)
            sent = taken(plain_server)
            assert sent, f"{name} asks no server: {expected}"
            if name in STATELESS:
                assert await acall(client, name, variant) == expected, name
                assert taken(*ours) == sent, name
            else:
                with pytest.raises(UsageError, match="one server would remember this"):
                    await acall(client, name, variant)
                assert taken(*ours) == [], name


STREAMED = ["chat.completions.create", "completions.create", "responses.create", "images.generate", "images.edit"]


@pytest.mark.parametrize("name", STREAMED)
async def test_streams_are_the_same(servers, name):
    plain_server, *ours = servers
    taken(*servers)
    plain = openai.OpenAI(api_key="EMPTY", base_url=plain_server.url)
    with MultiVLLMClient([server.url for server in ours]) as client:
        assert call(client, name, "", stream=True) == call(plain, name, "", stream=True)
        assert taken(*ours) == taken(plain_server)
    urls = [server.url for server in ours]
    async with (
        openai.AsyncOpenAI(api_key="EMPTY", base_url=plain_server.url) as aplain,
        AsyncMultiVLLMClient(urls) as a,
    ):
        assert await acall(a, name, "", stream=True) == await acall(aplain, name, "", stream=True)
        assert taken(*ours) == taken(plain_server)


@pytest.mark.parametrize("field", [{"previous_response_id": "resp_1"}, {"conversation": "c"}, {"background": True}])
def test_responses_that_build_on_what_a_server_remembers_are_refused(servers, field):
    urls = [server.url for server in servers]
    with MultiVLLMClient(urls) as client, pytest.raises(UsageError, match=next(iter(field))):
        client.responses.create(model="m", input="hi", **field)
    assert taken(*servers) == []
    with MultiVLLMClient(urls[:1]) as client:
        assert client.responses.create(model="m", input="hi", **field).id == "an-id", "one server may remember"
        assert client.files.retrieve("f").id == "an-id"
    assert len(taken(*servers)) == 2


def test_extra_headers_queries_and_bodies_arrive_and_ours_do_not(servers):
    taken(*servers)
    with MultiVLLMClient([server.url for server in servers], default_headers={"x-mine": "1"}) as client:
        client.chat.completions.create(
            model="m",
            messages=[],
            extra_headers={"x-yours": "2", "x-analyze-group": "g1"},
            extra_query={"q": "3"},
            extra_body={"top_k": 4},
        )
    (headers,) = servers[0].headers
    assert (headers["x-mine"], headers["x-yours"]) == ("1", "2")
    assert not [name for name in headers if name.lower().startswith("x-analyze")]
    ((_, path, _, body),) = taken(servers[0])
    assert path == "/v1/chat/completions?q=3"
    assert json.loads(body)["top_k"] == 4
