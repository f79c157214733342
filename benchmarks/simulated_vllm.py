"""A vLLM look-alike to measure clients with: `python -m benchmarks.simulated_vllm PORT [--profile JSON | --instant]`.

    socket ── Connection ── Server ── engine.Engine        one process; the engine's steps pass in real time
Serves /v1/chat/completions and /v1/completions (plain and streamed), /v1/models, /health, /metrics. With --instant
every request is answered at once (or after --delay-s), so that what remains is the client's own cost.

A prompt has a token per 4 bytes. The length of an answer is what the prompt's last words say (`workloads.length_mark`),
else `max_tokens`. A request whose connection closes is aborted. Faults, in seconds after the first request: `--fault
reset:1` (from then on), `--fault 500:2-4`, `--fault hang:3-7` (the process is stopped: connections stay open, nothing
is answered). It prints its port when it is ready; when it is ended, how many POSTs there were, and how far its clock
fell behind because the machine was busy.

It is light: 20 us a step, 60 us a request. It knows no tokens, no sampling, no schema, and refuses nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import socket
import struct
import subprocess
from dataclasses import asdict
from typing import Any

from benchmarks.engine import Counters, Engine, Profile, Sequence
from benchmarks.workloads import MODEL, sequence_of_body

WORD = "yes "
CATCH_UP_S = 0.05
"""A step begins when the one before was due, not when the timer fired, so that late timers (1 ms each) do not add up.
After a longer pause (the process was stopped) nothing is made good."""

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
REASONS = {200: "OK", 404: "Not Found", 500: "Internal Server Error", 503: "Service Unavailable"}


class Connection(asyncio.Protocol):
    """One client's connection: takes requests off it one at a time and writes what the server says."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.buffer = bytearray()
        self.busy = False
        self.sequence: Sequence | None = None
        self.streamed: int | None = None  # tokens sent of a stream
        self.chat = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.server.connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.server.connections.discard(self)
        self.server.gone(self)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        self.take()

    def take(self) -> None:
        if self.busy or (end := self.buffer.find(b"\r\n\r\n")) < 0:
            return
        head = bytes(self.buffer[: end + 2])
        body, rest = self._body(head, end + 4)
        if body is None:
            return
        del self.buffer[:rest]
        self.busy = True
        method, path, version = head.partition(b"\r\n")[0].split(b" ", 2)
        if not version.startswith(b"HTTP/1"):  # sglang-router asks in HTTP/2 whether this is a gRPC worker
            self.transport.abort()
            return
        self.server.handle(self, method.decode(), path.decode().partition("?")[0], body)

    def _body(self, head: bytes, start: int) -> tuple[bytes | None, int]:
        """Return the body and where the next request begins; None while it is not all there."""
        if CHUNKED.search(head):
            parts: list[bytes] = []
            while (line := self.buffer.find(b"\r\n", start)) >= 0:
                size = int(bytes(self.buffer[start:line]).partition(b";")[0], 16)
                start = line + 2 + size + 2
                if len(self.buffer) < start:
                    break
                if size == 0:
                    return b"".join(parts), start
                parts.append(bytes(self.buffer[line + 2 : line + 2 + size]))
            return None, 0
        found = LENGTH.search(head)
        rest = start + (int(found[1]) if found else 0)
        return (bytes(self.buffer[start:rest]), rest) if len(self.buffer) >= rest else (None, 0)

    def answer(self, status: int, body: bytes = b"", content_type: str = "application/json") -> None:
        head = f"HTTP/1.1 {status} {REASONS[status]}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}"
        self.transport.write(head.encode() + b"\r\n\r\n" + body)
        self.finished()

    def begin_stream(self) -> None:
        self.streamed = 0
        head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        self.transport.write(head.encode())

    def send_event(self, data: bytes) -> None:
        event = b"data: " + data + b"\n\n"
        self.transport.write(b"%x\r\n%b\r\n" % (len(event), event))

    def end_stream(self) -> None:
        self.send_event(b"[DONE]")
        self.transport.write(b"0\r\n\r\n")
        self.finished()

    def finished(self) -> None:
        self.busy, self.sequence, self.streamed = False, None, None
        if self.buffer:
            asyncio.get_running_loop().call_soon(self.take)

    def reset(self) -> None:
        """Close with a reset, not with an orderly end."""
        raw: socket.socket = self.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


class Server:
    """Answers requests with the engine's steps, one after the other in real time; `profile` None answers at once."""

    def __init__(self, profile: Profile | None, faults: list[str], delay_s: float = 0.0, model: str = MODEL) -> None:
        self.engine = None if profile is None else Engine(profile)
        self.model, self.delay_s = model, delay_s
        self.connections: set[Connection] = set()
        self.streams: set[Connection] = set()
        self.posts = 0
        self.behind_s = 0.0  # that steps began late and could not make good: the machine was too busy, or this hung
        self._faults = faults
        self._mode: str | None = None
        self._due: float | None = None  # when the current step ends, None while idle
        self._instant = Counters()  # of what was answered without an engine

    # -- requests ----------------------------------------------------------------------------------------------

    def handle(self, connection: Connection, method: str, path: str, body: bytes) -> None:
        if self._mode == "reset":
            connection.reset()
        elif method == "POST" and path in ("/v1/chat/completions", "/v1/completions"):
            self._asked(connection, path, body)
        elif path == "/health":
            connection.answer(503 if self._mode == "500" else 200)
        elif path == "/v1/models":
            card = {"id": self.model, "object": "model", "root": self.model, "max_model_len": 32768}
            connection.answer(200, json.dumps({"object": "list", "data": [card]}).encode())
        elif path == "/metrics":
            connection.answer(200, self.metrics().encode(), "text/plain; version=0.0.4")
        else:
            connection.answer(404, b'{"error": {"message": "Not Found", "code": 404}}')

    def _asked(self, connection: Connection, path: str, body: bytes) -> None:
        self.posts += 1
        if self.posts == 1:
            self._schedule_faults()
        connection.chat = path == "/v1/chat/completions"
        if self._mode == "500":
            self._fail(connection)
            return
        # In instant mode nothing of a body matters but whether it wants a stream.
        request = json.loads(body) if self.engine is not None or b'"stream"' in body else {}
        if request.get("stream"):
            connection.begin_stream()
            self.streams.add(connection)
        if self.engine is None:
            connection.sequence = Sequence(250, 60, owner=connection, generated=60)
            asyncio.get_running_loop().call_later(self.delay_s, self._answer_whole, connection.sequence)
            return
        connection.sequence = sequence_of_body(request, connection)
        self.engine.add(connection.sequence)
        if self._due is None:
            self._begin(asyncio.get_running_loop().time())

    def _answer_whole(self, sequence: Sequence) -> None:
        self._instant.prompt_tokens += sequence.prompt_tokens
        self._instant.generated_tokens += sequence.generated
        self._instant.finished += 1
        self._stream_on()
        self._finish(sequence)

    def _fail(self, connection: Connection) -> None:
        error = {"message": "EngineCore encountered an issue", "type": "InternalServerError", "code": 500}
        connection.answer(500, json.dumps({"error": error}).encode())

    def gone(self, connection: Connection) -> None:
        """Abort what a closed connection had asked for."""
        self.streams.discard(connection)
        sequence, connection.sequence = connection.sequence, None
        if self.engine is not None and sequence is not None:
            self.engine.abort(sequence)

    # -- steps -------------------------------------------------------------------------------------------------

    def _begin(self, start: float) -> None:
        assert self.engine is not None
        duration = self.engine.begin()
        self._due = None if duration is None else start + duration
        if self._due is not None:
            asyncio.get_running_loop().call_at(self._due, self._end)

    def _end(self) -> None:
        assert self.engine is not None and self._due is not None
        finished = self.engine.end()
        self._stream_on()
        for sequence in finished:
            self._finish(sequence)
        start = max(self._due, asyncio.get_running_loop().time() - CATCH_UP_S)
        self.behind_s += start - self._due
        self._begin(start)

    def _finish(self, sequence: Sequence) -> None:
        connection: Connection = sequence.owner
        if connection.sequence is not sequence:
            return  # it has gone, or was failed meanwhile
        if connection.streamed is None:
            connection.answer(200, _reply(sequence, connection.chat, self.model))
        else:
            self.streams.discard(connection)
            connection.end_stream()

    def _stream_on(self) -> None:
        for connection in self.streams:
            sequence = connection.sequence
            assert sequence is not None and connection.streamed is not None
            fresh = sequence.generated - connection.streamed
            if fresh:
                connection.streamed = sequence.generated
                connection.send_event(_event(WORD * fresh, sequence, connection.chat, self.model))

    # -- faults ------------------------------------------------------------------------------------------------

    def _schedule_faults(self) -> None:
        loop = asyncio.get_running_loop()
        for fault in self._faults:
            mode, _, times = fault.partition(":")
            start, _, end = times.partition("-")
            if mode == "hang":
                loop.call_later(float(start), _stand_still, float(end) - float(start))
                continue
            loop.call_later(float(start), self._break, mode)
            if end:
                loop.call_later(float(end), self._break, None)

    def _break(self, mode: str | None) -> None:
        self._mode = mode
        if mode is None:
            return
        for connection in list(self.connections):
            if mode == "reset":
                connection.reset()
            elif connection.sequence is not None:  # a dead engine fails what it was working on too
                self.gone(connection)
                if connection.streamed is None:
                    self._fail(connection)
                else:
                    connection.transport.abort()

    # -- metrics -----------------------------------------------------------------------------------------------

    def metrics(self) -> str:
        """Return the counters and gauges under vLLM's names, and the number of POSTs under ours."""
        engine = self.engine or Engine(Profile(0, 0, 0), counters=self._instant)
        counters = engine.counters
        values = {
            "vllm:num_requests_running": len(engine.running),
            "vllm:num_requests_waiting": len(engine.waiting),
            "vllm:kv_cache_usage_perc": round(engine.kv_usage, 4),
            "vllm:prompt_tokens_total": counters.prompt_tokens,
            "vllm:generation_tokens_total": counters.generated_tokens,
            "vllm:prefix_cache_queries_total": counters.cache_queried_tokens,
            "vllm:prefix_cache_hits_total": counters.cache_hit_tokens,
            "vllm:request_success_total": counters.finished,
            "simulated:aborted_total": counters.aborted,
            "simulated:posts_total": self.posts,
        }
        lines = []
        for name, value in values.items():
            kind = "counter" if name.endswith("_total") else "gauge"
            lines.append(f'# TYPE {name} {kind}\n{name}{{engine="0",model_name="{self.model}"}} {float(value)}\n')
        return "".join(lines)


def _stand_still(seconds: float) -> None:
    """Stop this whole process, as SIGSTOP from outside does; a child wakes it."""
    subprocess.Popen(["sh", "-c", f"sleep {seconds}; kill -CONT {os.getpid()}"])
    os.kill(os.getpid(), signal.SIGSTOP)


def _reply(sequence: Sequence, chat: bool, model: str) -> bytes:
    text = WORD * sequence.output_tokens
    choice: dict[str, Any] = {"index": 0, "logprobs": None, "finish_reason": "stop"}
    choice |= {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
    usage = {"prompt_tokens": sequence.prompt_tokens, "completion_tokens": sequence.output_tokens}
    usage["total_tokens"] = sum(usage.values())
    kind = "chat.completion" if chat else "text_completion"
    reply = {"id": f"{kind}-1", "object": kind, "created": 1, "model": model, "choices": [choice], "usage": usage}
    return json.dumps(reply).encode()


def _event(text: str, sequence: Sequence, chat: bool, model: str) -> bytes:
    last = sequence.generated >= sequence.output_tokens
    choice: dict[str, Any] = {"index": 0, "finish_reason": "stop" if last else None}
    choice |= {"delta": {"content": text}} if chat else {"text": text}
    kind = "chat.completion.chunk" if chat else "text_completion"
    return json.dumps({"id": "1", "object": kind, "created": 1, "model": model, "choices": [choice]}).encode()


async def serve(server: Server, port: int) -> None:
    listening = await asyncio.get_running_loop().create_server(
        lambda: Connection(server), "127.0.0.1", port, backlog=4096
    )
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    print(listening.sockets[0].getsockname()[1], flush=True)
    await ended.wait()
    print(json.dumps({"posts": server.posts, "behind_s": round(server.behind_s, 3)}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="a simulated vLLM server")
    parser.add_argument("port", type=int, help="0: any that is free")
    parser.add_argument("--profile", help=f"JSON with the fields {', '.join(asdict(Profile(0, 0, 0)))}")
    parser.add_argument("--instant", action="store_true", help="answer at once")
    parser.add_argument("--delay-s", type=float, default=0.0, help="with --instant: answer so much later")
    parser.add_argument("--slower", type=float, default=1.0, help="every step takes so many times as long")
    parser.add_argument("--fault", action="append", default=[], help="reset:T, 500:T1-T2 or hang:T1-T2")
    parser.add_argument("--model", default=MODEL)
    args = parser.parse_args()
    if args.instant == (args.profile is not None):
        parser.error("give either --profile or --instant")
    profile = None if args.instant else Profile(**json.loads(args.profile)).slower(args.slower)
    asyncio.run(serve(Server(profile, args.fault, args.delay_s, args.model), args.port))


if __name__ == "__main__":
    main()
