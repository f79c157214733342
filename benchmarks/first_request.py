"""How soon the first request of a run over 10 GB is on the wire, as a server sees it, from the start of the process on.

The input is one block, repeated: rows differ within the block, and only the beginning is read before the run is ended.
"""

from __future__ import annotations

import gzip
import json
import os
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from benchmarks import command, peers, workloads
from benchmarks.command import MB, ON_DISK
from benchmarks.peers import Absent
from benchmarks.results import Section, Verdict
from benchmarks.rig import Failed, spread, table

SIZE = 10_000_000_000
BLOCK_ROWS = 250_000  # 300 MB, more than is looked at before the first request
SMALL_ROWS = 1_000
ROUNDS = 5
MOST_S = 2.0
PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class First:
    """What had happened when the first request came: seconds since the start of the process, most bytes resident."""

    at_s: float
    peak: int


@dataclass(frozen=True, slots=True)
class Way:
    """How an input is given: what the tables call it, the file, and whether it comes through a pipe."""

    shown: str
    path: Path
    piped: bool = False


class _Listener(ThreadingHTTPServer):
    """A server that says what it serves, answers no request, and knows when the first came."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked = threading.Event()
        self.asked_at = 0.0


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Listener

    def do_GET(self) -> None:
        card = {"id": workloads.MODEL, "object": "model", "root": workloads.MODEL, "max_model_len": 32768}
        told = json.dumps({"object": "list", "data": [card]}).encode() if self.path == "/v1/models" else b""
        self.send_response(200)
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    def do_POST(self) -> None:
        if not self.server.asked.is_set():
            self.server.asked_at = time.monotonic()
            self.server.asked.set()
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def first_request() -> Section:
    taken, absent = measured(SIZE, ROUNDS)
    rows = [
        [
            shown,
            spread([first.at_s for first in firsts]),
            spread([first.peak / MB for first in firsts], ".0f"),
        ]
        for shown, firsts in taken.items()
    ]
    rows += [[shown, why, ""] for shown, why in absent.items()]
    text = f"""Seconds from the start of the process to the first POST at the server, interpreter and imports included,
and the most memory until then; {ROUNDS} rounds, the ways taking turns, none of the input in the page cache. The input
is {SIZE / 1e9:.0f} GB of chats of 1 kB, unpacked; packed files hold as much. A process that had asked nothing after
{PATIENCE_S:.0f} s was ended. `vllm run-batch` reads and parses all of its input, in memory, before it asks.

{table(["input", "seconds", "peak memory, MB"], rows)}"""
    verdicts = []
    for shown in (PLAIN, GZIP, ZSTD, PIPE):
        seconds = [first.at_s for first in taken.get(shown, ())]
        reached = f"{spread(seconds)} s" if seconds else absent[shown]
        met = bool(seconds) and statistics.median(seconds) <= MOST_S
        verdicts.append(Verdict(f"first request on the wire, {shown}", f"≤ {MOST_S:.0f} s", reached, met))
    return Section("The first request of a large input", text, verdicts)


SMALL = f"{SMALL_ROWS:,} rows, plain"
PLAIN, GZIP, ZSTD, PIPE = (f"{SIZE / 1e9:.0f} GB, {how}" for how in ("plain", "gzip", "zstd", "from a pipe"))
PEER = f"`AsyncOpenAI` in a loop by hand, {PLAIN}"


def measured(size: int, rounds: int, *, with_peer: bool = True) -> tuple[dict[str, list[First]], dict[str, str]]:
    """Return what each way took, round by round, and why others could not be measured."""
    taken: dict[str, list[First]] = {}
    absent: dict[str, str] = {}
    with tempfile.TemporaryDirectory(dir=ON_DISK) as name:
        folder = Path(name)
        block = b"".join(json.dumps(row).encode() + b"\n" for row in command.chats(min(BLOCK_ROWS, size // 1000)))
        times = max(1, size // len(block))
        plain = _repeated(block, times, folder / "requests.jsonl")
        ways = [
            Way(SMALL, workloads.write(command.chats(SMALL_ROWS), folder / "small.jsonl")),
            Way(PLAIN, plain),
            Way(PIPE, plain, piped=True),
            Way(GZIP, _repeated(gzip.compress(block, 1), times, folder / "requests.jsonl.gz")),
        ]
        try:
            ways.append(Way(ZSTD, _repeated(_zstd()(block), times, folder / "requests.jsonl.zst")))
        except Absent as problem:
            absent[ZSTD] = str(problem)
        for _ in range(rounds):
            for way in [way for way in ways if way.shown not in absent]:
                try:
                    taken.setdefault(way.shown, []).append(_first_of_ours(way, folder))
                except Failed as problem:
                    absent[way.shown] = str(problem)
                    del taken[way.shown]
            if with_peer and PEER not in absent:
                try:
                    taken.setdefault(PEER, []).append(_first_of_peer(plain))
                except (Absent, Failed) as problem:
                    absent[PEER] = str(problem)
                    del taken[PEER]
    return taken, absent


def _repeated(block: bytes, times: int, path: Path) -> Path:
    """Write a block so many times: packed or not, the whole is what the parts are, one after the other."""
    with open(path, "wb") as file:
        for _ in range(times):
            file.write(block)
    return path


def _zstd() -> Callable[[bytes], bytes]:
    try:
        from compression import zstd  # type: ignore[import-not-found] # Python 3.14
    except ImportError:
        try:
            from backports import zstd
        except ImportError:
            raise Absent("neither compression.zstd nor backports.zstd is installed") from None
    compress: Callable[[bytes], bytes] = zstd.compress
    return compress


def _first_of_ours(way: Way, folder: Path) -> First:
    with tempfile.TemporaryDirectory(dir=folder) as output, ExitStack() as stack:
        stdin = stack.enter_context(_cat(way.path)) if way.piped else None
        requests = "-" if way.piped else way.path
        return _first_of(lambda url: command.batch(requests, Path(output, "answers.jsonl"), [url]), way.path, stdin)


def _first_of_peer(requests: Path) -> First:
    python = peers.python_of("openai")
    return _first_of(
        lambda url: [python, "-m", "benchmarks.clients", "openai-async", "64", str(requests), url], requests
    )


def _first_of(words: Callable[[str], Sequence[str]], path: Path, stdin: int | None = None) -> First:
    """Run a command until its first request. Raises Failed where none comes."""
    _forget(path)
    with _listening() as server, tempfile.TemporaryFile("w+") as said:
        url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        started = time.monotonic()
        process = command.start(words(url), stdin=subprocess.DEVNULL if stdin is None else stdin, stdout=said)
        try:
            while not server.asked.wait(0.1) and process.poll() is None and time.monotonic() < started + PATIENCE_S:
                pass
            if server.asked.is_set():
                return First(server.asked_at - started, command.peak_of(process.pid))
            if process.poll() is None:
                raise Failed(f"nothing after {PATIENCE_S:.0f} s, {command.peak_of(process.pid) / MB:.0f} MB")
            raise command.ended_badly(process, said)
        finally:
            process.kill()
            process.wait()


@contextmanager
def _listening() -> Iterator[_Listener]:
    server = _Listener()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def _cat(path: Path) -> Iterator[int]:
    process = subprocess.Popen(["cat", str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield process.stdout.fileno()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _forget(path: Path) -> None:
    """Drop a file from the page cache: who reads it reads the disk."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
