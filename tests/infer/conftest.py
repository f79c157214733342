"""The command over fake servers, in a folder of its own with a task of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from analyze.infer.command import main
from tests.fake_vllm import FakeVLLM, chat_reply, text_reply

Row = dict[str, Any]
Body = dict[str, Any]

TASK = """\
import json
from pathlib import Path

FOLDER = Path(__file__).parent


def get_file_list(input_path):
    return sorted(str(path) for path in Path(input_path or FOLDER / "data").glob("*.jsonl"))


def read_file(file_path):
    return [json.loads(line) for line in open(file_path, encoding="utf-8")]


def format_prompt(org_data):
    return [{"role": "user", "content": org_data["question"]}]


def extract_answer(model_response):
    return model_response.partition("answer: ")[2] or None
"""


def question(body: Body) -> str:
    return str(body["messages"][-1]["content"]) if "messages" in body else str(body["prompt"])


@dataclass
class Ended:
    code: int
    out: str
    err: str


@dataclass
class Infer:
    """`analyze infer` in `folder`, over `servers` that answer with `reply`; `bodies` are what they were asked."""

    folder: Path
    servers: list[FakeVLLM]
    capture: pytest.CaptureFixture[str]
    reply: Callable[[Body], str] = lambda body: f"answer: {question(body)}"
    bodies: list[Body] = field(default_factory=list)

    def __post_init__(self) -> None:
        async def handler(request: web.Request, body: Body) -> web.Response:
            self.bodies.append(body)
            make = chat_reply if "messages" in body else text_reply
            return web.json_response(make(self.reply(body)))

        for server in self.servers:
            server.handler = handler

    def task(self, code: str = TASK, *, name: str = "mine", rows: list[Row] | None = None, **files: str) -> None:
        """Write a task, and its rows into one file."""
        folder = self.folder / "configs" / name
        (folder / "data").mkdir(parents=True, exist_ok=True)
        (folder / "task_config.py").write_text(code)
        for file, content in files.items():
            (folder / file.replace("__", ".")).write_text(content)
        if rows is not None:
            self.rows(rows)

    def rows(self, rows: list[Row], file: str = "rows.jsonl", name: str = "mine") -> None:
        path = self.folder / "configs" / name / "data" / file
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")

    def argv(self, *flags: str, name: str = "mine") -> list[str]:
        urls = [word for server in self.servers for word in ("--base-url", server.url)]
        return ["--model_type", "server", *urls, "--output_path", "out", "--task_name", name, *flags]

    def run(self, *flags: str, name: str = "mine") -> Ended:
        return self.typed(*self.argv(*flags, name=name))

    def extract(self, *flags: str) -> Ended:
        return self.typed("--extract_only", "--output_path", "out", "--task_name", "mine", *flags)

    def typed(self, *argv: str) -> Ended:
        """Run in this process: no start of an interpreter, which takes longer than most runs."""
        code = main(argv)
        out, err = self.capture.readouterr()
        return Ended(code, out, err)

    def hold_after(self, answers: int) -> None:
        """Let nothing be answered any more once so many rows were, until `go_on`, however late somebody looks."""
        reply = self.reply

        def hold(body: Body) -> str:
            if len(self.bodies) >= answers:
                for server in self.servers:
                    server.mode = "endless"
            return reply(body)

        self.reply, self._usual_reply = hold, reply

    def go_on(self, *, when_dropped: bool = False) -> None:
        """`when_dropped`: not before the servers know that their client is gone, else they would answer it."""
        give_up_at = time.monotonic() + 180
        while when_dropped and any(server.in_flight for server in self.servers):
            assert time.monotonic() < give_up_at
            time.sleep(0.01)
        self.reply = self._usual_reply
        for server in self.servers:
            server.mode = "ok"

    def start(self, *flags: str) -> subprocess.Popen[str]:
        """Run in a process of its own, which can be killed."""
        command = [sys.executable, "-m", "analyze.infer", *self.argv(*flags)]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=self.folder, env=environ()
        )

    @property
    def asked(self) -> list[str]:
        return [question(body) for body in self.bodies]

    def lines(self, kind: str = "infer") -> list[Row]:
        """Return all lines of a folder of results, one file after the other."""
        paths = sorted((self.folder / "out" / "results" / kind).glob("task_*.jsonl"))
        return [json.loads(line) for path in paths for line in path.read_bytes().splitlines()]

    def counts(self, kind: str = "infer") -> dict[str, int]:
        paths = sorted((self.folder / "out" / "results" / kind).glob("*.jsonl"))
        return {path.name: path.read_bytes().count(b"\n") for path in paths}

    def answers(self) -> list[Any]:
        return [row["answer"] for row in self.lines("extract")]

    def json(self, name: str) -> Any:
        return json.loads((self.folder / "out" / name).read_text(encoding="utf-8"))

    def log(self, name: str) -> str:
        return (self.folder / "out" / "logs" / name).read_text(encoding="utf-8")

    def marks(self) -> list[str]:
        return sorted(path.stem for path in (self.folder / "out" / "logs" / "completions").glob("*.json"))


def questions(count: int, start: int = 0) -> list[Row]:
    return [{"question": f"question {number}"} for number in range(start, start + count)]


def environ() -> dict[str, str]:
    root = str(Path(__file__).parents[2])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))}


@pytest.fixture
def infer(
    tmp_path: Path,
    fake: Callable[..., FakeVLLM],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Infer]:
    monkeypatch.chdir(tmp_path)
    yield Infer(tmp_path, [fake(), fake()], capsys)
