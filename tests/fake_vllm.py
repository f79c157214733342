"""A small vLLM look-alike on a real socket, for faults that a real server cannot be asked to show.

Like vLLM it queues without limit, tells in /metrics what it does, sends the headers of a stream before its first
token, and drops a request whose client is gone. It knows no words: every answer is the same text.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from typing import Any

from aiohttp import web

MODEL = "fake-model"

PROMPT_TOKENS, ANSWER_TOKENS = 7, 3

STEP_S = 0.05
"""A token comes out this often while a request is served, so that a slow server is seen to work."""

POLL_S = 0.01

VOCABULARY = 0x3000
"""Its tokens are characters, of Unicode's first; `control_tokens` come behind them."""

EMBEDDING = {"object": "embedding", "index": 0, "embedding": [0.5]}

Serve = Callable[[web.Request], Awaitable[web.StreamResponse]]
Handler = Callable[[web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]


def chat_reply(text: str, finish_reason: str = "stop", model: str = MODEL) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}
    return {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": model} | _rest(choice)


def text_reply(text: str, finish_reason: str = "stop", model: str = MODEL) -> dict[str, Any]:
    choice = {"index": 0, "text": text, "finish_reason": finish_reason}
    return {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": model} | _rest(choice)


def _rest(choice: dict[str, Any]) -> dict[str, Any]:
    total = PROMPT_TOKENS + ANSWER_TOKENS
    usage = {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": ANSWER_TOKENS, "total_tokens": total}
    return {"choices": [choice], "usage": usage}


class FakeVLLM:
    """Serves /health, /metrics, /v1/models and all POSTs under /v1. `mode`, changed at any time, decides how those end.

        ok                    answered after `delay_s`; streams and dripping bodies pause for `drip_s` between pieces
        drip                  answered, byte by byte, for seconds
        endless               served, a token at every step, and not done before the mode changes
        400 ... 503           refused with that status at once; `retry_after` is sent along; 500 makes /health fail too
        never                 taken and not answered: no token comes until the mode changes, while all else is fine
        hang                  the same, of a server that has no /metrics
        freeze                not a byte to anybody, /health included, until the mode changes; connections stay open
        reset                 reset before the reply
        reset-after-headers   reset when a good reply has just begun
        reset-in-body, half   reset, or closed in good order, in the middle of the body
        cut-stream            the same of a stream, after half of its text
        error-event           a stream that is an error and [DONE], in good order, as of an engine that dies; else 500
        garbage, cut-json     200 with something else; with JSON that ends too early
        abort                 200 with finish_reason abort

    `handler` answers in its stead. `refuse` names the status of a request that is refused alone; one that `garble`
    is true for is answered with JSON without choices; one that `kill_on` is true for ends the server, as `crash`
    does, unless it is dropped within `kill_after_s`. `statuses` names paths that say nothing but this, `unanswered`
    those that say nothing at all; `control_tokens` are tokens of its own; `metrics` is told in place of its own. At
    most `slots` are served at a time, the others wait; None: all at once. Probes (one token of /v1/completions) are
    no part of `bodies`.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        model: str = MODEL,
        delay_s: float = 0.0,
        reply: str | None = None,
        slots: int | None = None,
        drip_s: float = 0.0,
    ) -> None:
        self.port, self.model, self.reply = port, model, reply
        self.delay_s, self.drip_s, self.slots = delay_s, drip_s, slots
        self.root, self.max_model_len = f"/models/{model}", 8192
        self.mode = "ok"
        self.retry_after: str | None = None
        self.models_status = 200
        self.handler: Handler | None = None
        self.refuse: Callable[[dict[str, Any]], int | None] = lambda body: None
        self.garble: Callable[[dict[str, Any]], bool] = lambda body: False
        self.kill_on: Callable[[dict[str, Any]], bool] = lambda body: False
        self.kill_after_s = 0.0
        self.statuses: dict[str, int] = {}
        self.unanswered: set[str] = set()
        self.metrics: str | None = None
        self.bodies: list[dict[str, Any]] = []
        self.probes: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.in_flight = self.peak = self.running = 0
        self.disconnects = 0  # requests whose client went away before the answer
        self.prompt_tokens = self.generation_tokens = 0
        self.kv_cache_usage = 0.0
        self.control_tokens: list[str] = []
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def asked(self) -> int:
        return len(self.bodies)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    # -- its life ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Listen, after an end on the same port as before."""
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._live(ready)), daemon=True)
        self._thread.start()
        assert ready.wait(60)

    def stop(self) -> None:
        """Close the socket and every connection, in good order."""
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(60)

    def crash(self) -> None:
        """End at once, as kill -9 does: nothing listens any more, and every connection is cut."""
        self._loop.call_soon_threadsafe(self._die)
        self._thread.join(60)

    def _die(self) -> None:
        self._listener.close()
        assert self._runner.server is not None
        for connection in self._runner.server.connections:
            if connection.transport is not None:
                connection.transport.abort()
        self._ended.set()

    async def _live(self, ready: threading.Event) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        self._slots = asyncio.Semaphore(self.slots or 1)
        app = web.Application(client_max_size=64 * 2**20, middlewares=[self._by_path])
        app.router.add_get("/health", self._health)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/tokenize", self._tokenize)
        app.router.add_post("/detokenize", self._detokenize)
        app.router.add_post("/v1/{path:.*}", self._post)
        self._runner = web.AppRunner(app, shutdown_timeout=0.05, handler_cancellation=True)
        await self._runner.setup()
        assert self._runner.server is not None
        self._listener = await self._loop.create_server(
            self._runner.server, "127.0.0.1", self.port, reuse_address=True, backlog=1024
        )
        self.port = self._listener.sockets[0].getsockname()[1]
        ready.set()
        await self._ended.wait()
        self._listener.close()
        await self._runner.cleanup()

    @web.middleware
    async def _by_path(self, request: web.Request, handler: Serve) -> web.StreamResponse:
        while request.path in self.unanswered:  # noqa: ASYNC110 - the test's own thread changes it
            await asyncio.sleep(POLL_S)
        if request.path in self.statuses:
            return self._refusal(self.statuses[request.path])
        return await handler(request)

    # -- what it says of itself --------------------------------------------------------------------------------

    async def _health(self, request: web.Request) -> web.Response:
        await self._wait_out("freeze")
        return web.Response(status=503 if self.mode == "500" else 200)

    async def _metrics(self, request: web.Request) -> web.Response:
        await self._wait_out("freeze")
        if self.mode == "hang":
            raise web.HTTPNotFound
        if self.metrics is not None:
            return web.Response(text=self.metrics)
        values = {
            "num_requests_running": self.running,
            "num_requests_waiting": self.in_flight - self.running,
            "kv_cache_usage_perc": self.kv_cache_usage,
            "prompt_tokens_total": self.prompt_tokens,
            "generation_tokens_total": self.generation_tokens,
        }
        lines = [
            f"# TYPE vllm:{name} {'counter' if name.endswith('_total') else 'gauge'}\n"
            f'vllm:{name}{{engine="0",model_name="{self.model}"}} {float(value)}\n'
            for name, value in values.items()
        ]
        return web.Response(text="".join(lines), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def _models(self, request: web.Request) -> web.Response:
        await self._wait_out("freeze")
        self.headers.append(dict(request.headers))
        if self.models_status != 200:
            return web.json_response({"error": {"message": "turned away"}}, status=self.models_status)
        card = {"id": self.model, "object": "model", "root": self.root, "max_model_len": self.max_model_len}
        return web.json_response({"object": "list", "data": [card]})

    async def _tokenize(self, request: web.Request) -> web.Response:
        body = await request.json()
        text = body.get("prompt") or "".join(message["content"] for message in body["messages"])
        pieces = [re.escape(token) for token in self.control_tokens] + ["."]
        words = re.findall("|".join(pieces), text, re.DOTALL)
        ids = [VOCABULARY + self.control_tokens.index(w) if w in self.control_tokens else ord(w) for w in words]
        return web.json_response({"tokens": ids, "token_strs": words, "count": len(ids)})

    async def _detokenize(self, request: web.Request) -> web.Response:
        ids = (await request.json())["tokens"]
        if max(ids) >= VOCABULARY + len(self.control_tokens):
            return web.json_response({"error": {"message": "no such token"}}, status=400)
        words = [chr(id) if id < VOCABULARY else self.control_tokens[id - VOCABULARY] for id in ids]
        return web.json_response({"prompt": "".join(words)})

    # -- its answers -------------------------------------------------------------------------------------------

    async def _post(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        is_probe = request.path == "/v1/completions" and body.get("max_tokens") == 1
        (self.probes if is_probe else self.bodies).append(body)
        self.headers.append(dict(request.headers))
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            return await self._answer(request, body)
        except asyncio.CancelledError:
            self.disconnects += not self._ended.is_set()
            raise
        finally:
            self.in_flight -= 1

    async def _answer(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        await self._wait_out("freeze")
        if self.mode.isdecimal() or self.refuse(body) is not None:
            return self._refusal(self.refuse(body) or int(self.mode))
        stream = None
        is_whole = self.handler is not None or self.mode in ("reset", "garbage") or self.garble(body)
        if body.get("stream") and not is_whole:
            stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await stream.prepare(request)
        async with nullcontext() if self.slots is None else self._slots:
            self.running += 1
            try:
                return await self._serve(request, body, stream)
            finally:
                self.running -= 1

    async def _serve(
        self, request: web.Request, body: dict[str, Any], stream: web.StreamResponse | None
    ) -> web.StreamResponse:
        if self.kill_on(body):
            await asyncio.sleep(self.kill_after_s)
            self._die()
            await asyncio.sleep(3600)  # ends with the connection
        await self._wait_out("freeze", "never", "hang")
        self.prompt_tokens += PROMPT_TOKENS
        await self._work(self.delay_s)
        if self.handler is not None:
            return await self.handler(request, body)
        if self.mode == "reset":
            return self._cut(request, web.Response(), reset=True)
        if self.mode.isdecimal() and stream is None:
            return self._refusal(int(self.mode))
        if self.mode == "error-event" and stream is None:
            return self._refusal(500)
        if self.mode == "garbage" and stream is None:
            return web.Response(body=b"<html>no</html>", content_type="text/html")
        if self.garble(body):
            return web.json_response({"object": "chat.completion"})
        self.generation_tokens += ANSWER_TOKENS
        text = self.reply if self.reply is not None else "hello"
        if stream is not None:
            return await self._stream(request, stream, text)
        if request.path.endswith("/embeddings"):
            return web.json_response({"object": "list", "data": [EMBEDDING], "model": self.model})
        reply = text_reply if request.path.endswith("/completions") and "prompt" in body else chat_reply
        return await self._whole(
            request, json.dumps(reply(text, "abort" if self.mode == "abort" else "stop", self.model))
        )

    def _refusal(self, status: int) -> web.Response:
        headers = {} if self.retry_after is None else {"Retry-After": self.retry_after}
        return web.json_response({"error": {"message": f"told to say {status}"}}, status=status, headers=headers)

    async def _whole(self, request: web.Request, text: str) -> web.StreamResponse:
        raw = text.encode()
        if self.mode not in ("drip", "half", "reset-after-headers", "reset-in-body"):
            return web.Response(body=raw[:-20] if self.mode == "cut-json" else raw, content_type="application/json")
        response = web.StreamResponse(headers={"Content-Length": str(len(raw)), "Content-Type": "application/json"})
        await response.prepare(request)
        for n in range(20):
            if self.mode == "reset-after-headers" or (n == 10 and self.mode in ("half", "reset-in-body")):
                await asyncio.sleep(POLL_S)  # what was written is to arrive
                return self._cut(request, response, reset=self.mode != "half")
            await response.write(raw[n * len(raw) // 20 : (n + 1) * len(raw) // 20])
            await self._work(self._drip_s)
        return response

    async def _stream(self, request: web.Request, response: web.StreamResponse, text: str) -> web.StreamResponse:
        if self.mode == "error-event":
            await response.write(b'data: {"error": {"message": "EngineCore encountered an issue.", "code": 500}}\n\n')
            await response.write(b"data: [DONE]\n\n")
            return response
        for n, character in enumerate(text):
            halfway = n == len(text) // 2 and self.mode in ("half", "reset-in-body", "cut-stream")
            if halfway or (n == 0 and self.mode == "reset-after-headers"):
                await asyncio.sleep(POLL_S)
                return self._cut(request, response, reset=self.mode != "half")
            await response.write(self._chunk({"content": character}, None))
            if self._drip_s:  # else it is out before anybody can change the mode
                await self._work(self._drip_s)
        await response.write(self._chunk({}, "stop") + b"data: [DONE]\n\n")
        return response

    def _chunk(self, delta: dict[str, str], finish_reason: str | None) -> bytes:
        chunk = {
            "id": "1",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": self.model,
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
        }
        return b"data: " + json.dumps(chunk).encode() + b"\n\n"

    def _cut(self, request: web.Request, response: web.StreamResponse, *, reset: bool) -> web.StreamResponse:
        transport = request.transport
        assert transport is not None
        if reset:  # closed with SO_LINGER 0, a socket says RST
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
        else:
            transport.close()
        return response

    @property
    def _drip_s(self) -> float:
        return max(self.drip_s, 0.2 if self.mode == "drip" else 0.0)

    async def _work(self, seconds: float) -> None:
        """Let this time pass and a token come out at every step of it; neither while the engine stands still."""
        await self._wait_out("freeze", "never", "hang")
        while seconds > 0 or self.mode == "endless":
            await asyncio.sleep(min(STEP_S, seconds) if seconds > 0 else STEP_S)
            await self._wait_out("freeze", "never", "hang")
            self.generation_tokens += 1
            seconds -= STEP_S

    async def _wait_out(self, *modes: str) -> None:
        while self.mode in modes:  # noqa: ASYNC110 - the test's own thread changes the mode
            await asyncio.sleep(POLL_S)


def hold_at(servers: Sequence[FakeVLLM], asked: int) -> None:
    """Let no request be done from when they were asked so many until `go_on`, however late somebody looks."""

    def hold(body: dict[str, Any]) -> None:
        if sum(server.asked for server in servers) >= asked:
            for server in servers:
                server.mode = "endless"

    for server in servers:
        server.refuse = hold


def go_on(servers: Sequence[FakeVLLM]) -> None:
    for server in servers:
        server.refuse, server.mode = lambda body: None, "ok"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
