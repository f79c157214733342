"""Commands that start in milliseconds, servers that all tests of this folder share, and files of requests."""

from __future__ import annotations

import itertools
import json
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.fake_vllm import FakeVLLM, chat_reply
from tests.promises.warm import Ended, Process, Warm

Row = dict[str, Any]


def row(number: int, text: str | None = None, **body: object) -> Row:
    content = {"messages": [{"role": "user", "content": text or f"question {number}"}], **body}
    return {"custom_id": f"row-{number}", "method": "POST", "url": "/v1/chat/completions", "body": content}


def question(body: Row) -> str:
    return str(body["messages"][0]["content"])


def write(path: Path, rows: Sequence[object]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


def strictly(text: str | bytes) -> Any:
    """Read JSON as a strict reader does: NaN is none."""

    def refuse(name: str) -> None:
        raise ValueError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def lines(path: Path) -> list[Row]:
    return [strictly(line) for line in path.read_bytes().split(b"\n") if line] if path.exists() else []


def name_of(line: Row) -> str:
    """Return the row that a line of an output belongs to."""
    return str(line.get("row", line["custom_id"]))


def text_of(answer: Row) -> str:
    return str(answer["response"]["body"]["choices"][0]["message"]["content"])


async def echo(request: web.Request, body: Row) -> web.Response:
    """Answer what nobody can answer for another row."""
    return web.json_response(chat_reply(f"answer to {question(body)}"))


def asked(servers: Sequence[FakeVLLM]) -> list[str]:
    return [question(body) for server in servers for body in server.bodies]


def until(condition: Callable[[], object], timeout_s: float = 120.0) -> None:
    """Wait until the condition holds."""
    give_up_at = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < give_up_at, "it did not come to that"
        time.sleep(0.002)


COUNT = re.compile(r"([\d,]+) (ok|invalid|failed|rejected|left)\b")


def account(out: str) -> dict[str, int]:
    """Return what the last lines say of the input: rows read, and how they ended."""
    (said,) = re.findall(r"^.*\brows read\b.*$", out, re.MULTILINE)
    (read,) = re.findall(r"([\d,]+) rows read", said)
    counts = {name: int(count.replace(",", "")) for count, name in COUNT.findall(said)}
    return {"read": int(read.replace(",", "")), **counts}


def new_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder in memory, where there is one: these tests sync files ten thousand times, at 5 ms on a busy disk."""
    memory = Path("/dev/shm")
    return tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None, prefix="promises-")


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    with new_folder() as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    starter = Warm()
    yield starter
    starter.close()


@pytest.fixture(scope="session")
def shared_servers() -> Iterator[list[FakeVLLM]]:
    started = [FakeVLLM() for _ in range(4)]
    yield started
    for server in started:
        server.stop()


def as_new(server: FakeVLLM) -> None:
    """Make the server forget what it was asked, and how it was told to behave."""
    server.mode, server.delay_s, server.reply, server.handler = "ok", 0.0, None, echo
    server.model = "fake-model"
    server.refuse = server.kill_on = lambda body: None
    for heard in (server.bodies, server.probes, server.headers):
        heard.clear()


@pytest.fixture
def servers(shared_servers: list[FakeVLLM]) -> list[FakeVLLM]:
    """Two servers that answer each row in its own words."""
    for server in shared_servers:
        as_new(server)
    return shared_servers[:2]


@dataclass
class Batch:
    """`python -m analyze.batch` over one input and one output, in a folder of their own."""

    folder: Path
    streams: Path
    warm: Warm
    servers: Sequence[FakeVLLM]
    input: Path
    output: Path

    def __post_init__(self) -> None:
        self._runs = itertools.count()

    @property
    def failures(self) -> Path:
        return self.beside("failed.jsonl")

    @property
    def manifest(self) -> Path:
        return self.beside("run.json")

    def beside(self, ending: str) -> Path:
        return self.output.with_name(f"{self.output.name}.{ending}")

    def argv(self, *flags: str | Path) -> list[str | Path]:
        urls = [flag for server in self.servers for flag in ("--base-url", server.url)]
        return ["-i", self.input, "-o", self.output, *urls, *flags]

    def start(self, *flags: str | Path, first: Sequence[Any] = (), stdin: Path | None = None, **env: str) -> Process:
        streams = self.streams / str(next(self._runs))
        streams.mkdir(parents=True)
        env = {"ANALYZE_LANG": "en", **env}
        return self.warm.start(
            self.argv(*flags), folder=self.folder, streams=streams, env=env, first=first, stdin=stdin
        )

    def run(self, *flags: str | Path, first: Sequence[Any] = (), stdin: Path | None = None, **env: str) -> Ended:
        return self.start(*flags, first=first, stdin=stdin, **env).wait()

    @property
    def asked(self) -> list[str]:
        return asked(self.servers)

    @property
    def answers(self) -> dict[str, str]:
        """What each row was answered. A row that has two lines is an error."""
        found = lines(self.output)
        texts = {name_of(line): text_of(line) for line in found}
        assert len(texts) == len(found), "a row has two lines"
        return texts

    @property
    def failed(self) -> dict[str, str]:
        """The kind of failure of each row."""
        found = lines(self.failures)
        kinds = {name_of(line): line["error"]["code"] for line in found}
        assert len(kinds) == len(found), "a row has two lines"
        return kinds


@pytest.fixture
def make_batch(tmp_path: Path, warm: Warm, servers: list[FakeVLLM]) -> Callable[..., Batch]:
    def make(folder: Path | None = None, output: str = "answers.jsonl") -> Batch:
        folder = folder or tmp_path / "run"
        folder.mkdir(exist_ok=True)
        return Batch(folder, tmp_path / "streams", warm, servers, tmp_path / "requests.jsonl", folder / output)

    return make


@pytest.fixture
def batch(make_batch: Callable[..., Batch]) -> Batch:
    return make_batch()
