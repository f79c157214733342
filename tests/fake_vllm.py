"""A small vLLM look-alike on a real socket, for faults that a real server cannot be asked to show."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

MODEL = "fake-model"

Handler = Callable[[web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]


def chat_reply(text: str, finish_reason: str = "stop", model: str = MODEL) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
    }


class FakeVLLM:
    """Serves /health, /v1/models and every POST under /v1. `mode` decides how a POST ends; changed at any time."""

    def __init__(self, port: int = 0, *, model: str = MODEL, delay_s: float = 0.0, reply: str | None = None) -> None:
        self.port, self.model, self.delay_s, self.reply = port, model, delay_s, reply
        self.mode = "ok"
        self.handler: Handler | None = None
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.in_flight = self.peak = 0
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def asked(self) -> int:
        return len(self.bodies)

    def start(self) -> None:
        ready = threading.Event()
        self._loop = asyncio.new_event_loop()

        def serve() -> None:
            asyncio.set_event_loop(self._loop)
            self._loop.run_until_complete(self._start())
            ready.set()
            self._loop.run_forever()

        self._thread = threading.Thread(target=serve, daemon=True)
        self._thread.start()
        assert ready.wait(10)

    def stop(self) -> None:
        """Close the socket and every connection, as a kill does."""
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    async def _start(self) -> None:
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_get("/health", self._health)
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/{path:.*}", self._post)
        self._runner = web.AppRunner(app, shutdown_timeout=0.05)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response(status=503 if self.mode == "500" else 200)

    async def _models(self, request: web.Request) -> web.Response:
        self.headers.append(dict(request.headers))
        card = {"id": self.model, "object": "model", "max_model_len": 8192}
        return web.json_response({"object": "list", "data": [card]})

    async def _post(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            return await self._answer(request, body)
        finally:
            self.in_flight -= 1

    async def _answer(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        await asyncio.sleep(self.delay_s)
        if self.handler is not None:
            return await self.handler(request, body)
        if self.mode == "hang":
            await asyncio.sleep(3600)
        if self.mode == "reset":
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if self.mode == "half":
            response = web.StreamResponse(headers={"Content-Length": "1000"})
            await response.prepare(request)
            await response.write(b'{"choices":')
            assert request.transport is not None
            request.transport.abort()
            return response
        if self.mode == "garbage":
            return web.Response(body=b"<html>no</html>", content_type="text/html")
        if self.mode.isdecimal():
            return web.json_response({"error": {"message": f"told to say {self.mode}"}}, status=int(self.mode))
        text = self.reply if self.reply is not None else "hello"
        if body.get("stream"):
            return await self._stream(request, text)
        return web.json_response(chat_reply(text, "abort" if self.mode == "abort" else "stop", self.model))

    async def _stream(self, request: web.Request, text: str) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for character in text:
            if self.mode == "cut-stream" and character == text[len(text) // 2]:
                assert request.transport is not None
                request.transport.abort()
                return response
            chunk = {
                "id": "1",
                "object": "chat.completion.chunk",
                "created": int(time.time()),
                "model": self.model,
                "choices": [{"index": 0, "delta": {"content": character}, "finish_reason": None}],
            }
            await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        await response.write(b"data: [DONE]\n\n")
        return response


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
