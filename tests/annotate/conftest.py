"""The command over fake servers that see what is sent to them, in a folder of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from base64 import b64decode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from PIL import Image

from tests.fake_vllm import FakeVLLM, chat_reply

Row = dict[str, Any]
Body = dict[str, Any]

CAT = {"name": "cat", "bbox": [100, 200, 300, 400]}


def said(*objects: Row, rationale: str = "in the middle") -> str:
    return json.dumps({"rationale": rationale, "objects": list(objects)}, ensure_ascii=False)


def picture_of(body: Body) -> Image.Image:
    """Return the image of a request."""
    (image,) = (part for part in body["messages"][0]["content"] if part["type"] == "image_url")
    return Image.open(BytesIO(b64decode(image["image_url"]["url"].partition(",")[2])))


def text_of(body: Body) -> str:
    return str(next(part["text"] for part in body["messages"][0]["content"] if part["type"] == "text"))


@dataclass
class Ended:
    code: int
    out: str
    err: str


@dataclass
class Command:
    """`python -m analyze.annotate` over `servers`, which answer with `reply`."""

    folder: Path
    servers: list[FakeVLLM]
    reply: Callable[[Body], str | tuple[str, str]] = lambda body: said(CAT)
    bodies: list[Body] = field(default_factory=list)

    def __post_init__(self) -> None:
        async def handler(request: web.Request, body: Body) -> web.Response:
            self.bodies.append(body)
            reply = self.reply(body)
            return web.json_response(chat_reply(*((reply,) if isinstance(reply, str) else reply)))

        for server in self.servers:
            server.handler = handler
        (self.folder / "images").mkdir()

    def start(self, *flags: str) -> subprocess.Popen[str]:
        urls = [word for server in self.servers for word in ("--api-base", server.url)]
        files = ["--input", "in.jsonl", "--image-root", "images", "--output", "out.jsonl"]
        command = [sys.executable, "-m", "analyze.annotate", *files, "--image-workers", "2", *urls, *flags]
        pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=self.folder, env=environ(), **pipes)

    def run(self, *flags: str) -> Ended:
        process = self.start(*flags)
        out, err = process.communicate(timeout=300)
        return Ended(process.returncode, out, err)

    def other(self, *words: str) -> Ended:
        """`analyze annotate export`, `preview`, `evaluate`."""
        command = [sys.executable, "-m", "analyze", "annotate", *words]
        done = subprocess.run(command, cwd=self.folder, env=environ(), capture_output=True, text=True, timeout=300)
        return Ended(done.returncode, done.stdout, done.stderr)

    def rows(self, *rows: Row | str) -> None:
        lines = [json.dumps(row if isinstance(row, dict) else {"image_path": row}) for row in rows]
        (self.folder / "in.jsonl").write_text("".join(line + "\n" for line in lines))

    def picture(self, name: str, size: tuple[int, int] = (200, 100), colour: str = "red") -> str:
        path = self.folder / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, colour).save(path)
        return name

    def lines(self, name: str = "out.jsonl") -> list[Row]:
        path = self.folder / name
        return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []

    def by_id(self, name: str = "out.jsonl") -> dict[str, Row]:
        return {row["id"]: row for row in self.lines(name)}


def environ() -> dict[str, str]:
    root = str(Path(__file__).parents[2])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))}


@pytest.fixture
def annotate(tmp_path: Path, fake: Callable[..., FakeVLLM]) -> Iterator[Command]:
    yield Command(tmp_path, [fake(), fake()])
