"""The command over fake servers that tell medicine from the rest, in a folder of its own."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.fake_vllm import FakeVLLM, chat_reply

Row = dict[str, Any]
Body = dict[str, Any]

MEDICAL = re.compile("pneumonia|health|肺炎|medical")


def text_of(body: Body) -> str:
    """Return the text that a request with the packaged prompt asks about; what asks for a letter comes behind it."""
    content = str(body["messages"][0]["content"])
    return re.split(r"\n(?:Query|Text|查询|文本): ?", content)[-1].partition("\n\n")[0]


def right(body: Body) -> str:
    return '{"label": "%s"}' % ("medical" if MEDICAL.search(text_of(body)) else "others")


@dataclass
class Ended:
    code: int
    out: str
    err: str


@dataclass
class Command:
    """`python -m analyze.classify` over `servers`, which answer with `reply`."""

    folder: Path
    servers: list[FakeVLLM]
    reply: Callable[[Body], str | web.Response] = right
    tokens: Callable[[Body], list[Any]] | None = None  # the log-probabilities of a reply
    bodies: list[Body] = field(default_factory=list)

    def __post_init__(self) -> None:
        async def handler(request: web.Request, body: Body) -> web.Response:
            self.bodies.append(body)
            said = self.reply(body)
            if isinstance(said, web.Response):
                return said
            reply = chat_reply(said)
            if self.tokens is not None:
                reply["choices"][0]["logprobs"] = {"content": self.tokens(body)}
            return web.json_response(reply)

        for server in self.servers:
            server.handler = handler

    def start(self, *flags: str, output: str = "out.jsonl", addresses: bool = True) -> subprocess.Popen[str]:
        urls = [word for server in self.servers for word in ("--base-url", server.url)] if addresses else []
        command = [sys.executable, "-m", "analyze.classify", "--output", output, *urls, *flags]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=self.folder, env=environ()
        )

    def run(self, *flags: str, output: str = "out.jsonl", addresses: bool = True) -> Ended:
        process = self.start(*flags, output=output, addresses=addresses)
        out, err = process.communicate(timeout=300)
        return Ended(process.returncode, out, err)

    def write(self, name: str, content: str | list[Any]) -> str:
        text = content if isinstance(content, str) else "".join(json.dumps(row) + "\n" for row in content)
        (self.folder / name).write_text(text, encoding="utf-8", newline="\n")
        return name

    def lines(self, name: str = "out.jsonl") -> list[Row]:
        path = self.folder / name
        return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []

    def lines_whole(self, name: str = "out.jsonl") -> list[bytes]:
        """Return what is written so far, of a run that goes on."""
        path = self.folder / name
        return path.read_bytes().splitlines() if path.exists() else []

    def labels(self, name: str = "out.jsonl") -> dict[str, Any]:
        return {row["query"]: row["label"] for row in self.lines(name)}


def environ() -> dict[str, str]:
    root = str(Path(__file__).parents[2])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))}


@pytest.fixture
def classify(tmp_path: Path, fake: Callable[..., FakeVLLM]) -> Iterator[Command]:
    yield Command(tmp_path, [fake(), fake()])


# -- gold, and servers whose errors are known --------------------------------------------------------------------------

GOLD = ["medical"] * 6 + ["others"] * 4
# Errors that are known: texts 0 and 1 are medical and called others, text 9 the other way round.
WRONG = {0, 1, 9}


def gold_rows(field: str = "truth") -> list[Row]:
    return [{"id": f"r{n}", "query": f"text {n}", field: gold} for n, gold in enumerate(GOLD)]


def with_errors(body: Body) -> str:
    number = int(text_of(body).removeprefix("text "))
    gold = GOLD[number]
    other = "others" if gold == "medical" else "medical"
    return json.dumps({"label": other if number in WRONG else gold})


def sure(label: str, p: float) -> list[Row]:
    """Return the log-probabilities of a reply: this label with `p`, the other one with the rest."""
    other = "others" if label == "medical" else "medical"
    top = [{"token": label, "logprob": math.log(p)}, {"token": other, "logprob": math.log(1 - p)}]
    plain = [{"token": text, "logprob": 0.0, "top_logprobs": []} for text in ('{"label": "', '"}')]
    return [plain[0], {"token": label, "logprob": math.log(p), "top_logprobs": top}, plain[1]]


def letters(**probabilities: float) -> list[Row]:
    """Return the log-probabilities of a label read: of each letter, as vLLM tells them of tokens by their numbers."""
    top = [{"token": f"token_id:{ord(letter)}", "logprob": math.log(p)} for letter, p in probabilities.items()]
    return [{**max(top, key=lambda one: one["logprob"]), "top_logprobs": top}]


@pytest.fixture
def known(classify: Command) -> Command:
    """The command over servers whose errors are known; the higher a text's number, the surer they are."""
    classify.reply = with_errors
    classify.tokens = lambda body: sure(
        json.loads(with_errors(body))["label"], 0.55 + 0.04 * int(text_of(body).removeprefix("text "))
    )
    classify.write("q.jsonl", gold_rows())
    return classify
