"""Asking how sure the judge is: never at the price of an answer, and no more is kept than the verdict's token."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from analyze import run_pipeline
from analyze.log_probabilities import WithLogProbabilities
from analyze.records import CHAT_URL, Answer, Failure, Outcome, Request
from tests.fake_vllm import MODEL, FakeVLLM, chat_reply
from tests.test_pipeline import judged, lines, some_tasks


@pytest.fixture
def server(fake: Callable[..., FakeVLLM]) -> FakeVLLM:
    return fake()


REQUEST = Request("row", "asked", CHAT_URL, {"messages": []})
SHARES = {"1": 0.02, "2": 0.03, "3": 0.15, "4": 0.6, "5": 0.2}


def token(text: str, shares: dict[str, float] | None = None) -> dict[str, Any]:
    top = [
        {"token": other, "logprob": math.log(share), "bytes": list(other.encode())}
        for other, share in (shares or {text: 1.0, "a": 1e-9, "b": 1e-9, "c": 1e-9, "d": 1e-9}).items()
    ]
    logprob = math.log((shares or {text: 1.0})[text])
    return {"token": text, "logprob": logprob, "bytes": list(text.encode()), "top_logprobs": top}


def told(reply: dict[str, Any]) -> dict[str, Any]:
    """A reply whose text, which ends in the digit, `"` and `}`, is told of token by token."""
    (choice,) = reply["choices"]
    text = choice["message"]["content"]
    pieces = [text[n : n + 4] for n in range(0, len(text) - 3, 4)]
    pieces[-1] = pieces[-1][: len(text) - 3 - 4 * (len(pieces) - 1)]
    content = [*map(token, pieces), token(text[-3], SHARES), token(text[-2:])]
    return {**reply, "choices": [{**choice, "logprobs": {"content": content}}]}


def tells(server: FakeVLLM) -> FakeVLLM:
    """Let a server answer with a verdict, and with log-probabilities whom it is asked for them."""

    async def answer(request: web.Request, body: dict[str, Any]) -> web.Response:
        reply = chat_reply(judged())
        return web.json_response(told(reply) if body.get("logprobs") else reply)

    server.handler = answer
    return server


def refuses(server: FakeVLLM) -> FakeVLLM:
    server.reply = judged()
    server.refuse = lambda body: 400 if "logprobs" in body else None
    return server


def records(folder: Path) -> list[dict[str, Any]]:
    return [rival for task in lines(folder / "per_task.jsonl") for rival in task["rivals"]]


def judge(folder: Path, server: FakeVLLM, **choices: Any) -> list[dict[str, Any]]:
    tasks = some_tasks(folder / "tasks.jsonl", 2)
    run_pipeline(tasks, folder / "out", base_urls=[server.url], **{"audit_tasks": 2, **choices})
    return records(folder / "out")


def test_a_run_knows_how_sure_its_judge_was_and_keeps_one_token_of_each_reply(tmp_path: Path, server: FakeVLLM) -> None:
    rivals = judge(tmp_path, tells(server))
    asked_so = [body for body in server.bodies if body.get("logprobs") is True and body["top_logprobs"] == 5]
    assert len(asked_so) == sum(len(rival["cells"]) for rival in rivals)
    for rival in rivals:
        assert rival["score"] == 0.5 and rival["expected"] == pytest.approx(0.5)
        assert all(cell["probabilities"] == pytest.approx(SHARES) for cell in rival["cells"])
        assert all(cell["legal_mass"] == pytest.approx(1) for cell in rival["cells"])
    told_of = 0
    for row in lines(tmp_path / "out/journal.jsonl"):
        (choice,) = row["response"]["body"]["choices"]
        assert choice["message"]["content"] == judged()
        if "logprobs" in choice:
            told_of += 1
            (kept,) = choice["logprobs"]["content"]
            assert kept["token"] == "4" and len(kept["top_logprobs"]) == 5
    assert told_of == len(asked_so)
    manifest = json.loads((tmp_path / "out/run.json").read_text())
    assert (manifest["asked"]["logprobs"], manifest["asked"]["top_logprobs"]) == (True, 5)
    cells = sum(len(rival["cells"]) for rival in rivals)
    assert manifest["probabilities"] == {"read": cells, "cells": cells, "after_grammar_mask": True}
    asked = server.asked
    assert judge(tmp_path, server) == rivals and server.asked == asked


def test_a_journal_from_before_they_were_asked_for_goes_on_as_it_is(tmp_path: Path, server: FakeVLLM) -> None:
    server.reply = judged()
    assert {rival["expected"] for rival in judge(tmp_path, server)} == {None}
    asked = server.asked
    judge(tmp_path, tells(server))
    assert server.asked == asked, "what is asked is the same"


def test_it_is_asked_of_the_audited_tasks_alone(tmp_path: Path, server: FakeVLLM) -> None:
    rivals = judge(tmp_path, tells(server), audit_tasks=1)
    known = [rival for rival in rivals if rival["expected"] is not None]
    assert 0 < len(known) < len(rivals)
    assert sum("logprobs" in body for body in server.bodies) == sum(len(rival["cells"]) for rival in known)


def test_where_no_task_is_audited_nobody_is_asked(tmp_path: Path, server: FakeVLLM) -> None:
    judge(tmp_path, tells(server), audit_tasks=0)
    assert not any("logprobs" in body for body in server.bodies)
    assert "logprobs" not in json.loads((tmp_path / "out/run.json").read_text())["asked"]


def test_a_server_that_refuses_costs_no_answer(tmp_path: Path, server: FakeVLLM) -> None:
    rivals = judge(tmp_path, refuses(server), in_flight=1)
    assert {rival["expected"] for rival in rivals} == {None} and {rival["outcome"] for rival in rivals} == {"tie"}
    assert sum("logprobs" in body for body in server.bodies) == 1, "it is asked for them once"
    assert "probabilities" not in json.loads((tmp_path / "out/run.json").read_text())


def test_a_client_that_takes_no_such_arguments_is_asked_without(tmp_path: Path) -> None:
    class Strict:
        @property
        def chat(self) -> Any:
            return self

        completions = chat

        def create(self, *, model: str, messages: Any, temperature: float, response_format: Any) -> dict[str, Any]:
            return chat_reply(judged())

    tasks = some_tasks(tmp_path / "tasks.jsonl", 1)
    run_pipeline(tasks, tmp_path / "out", Strict(), model=MODEL, audit_tasks=1)
    assert {rival["outcome"] for rival in records(tmp_path / "out")} == {"tie"}


class Scripted:
    """Answers by a rule, and remembers what it was asked."""

    def __init__(self, with_logprobs: Failure | Answer, without: Failure | Answer) -> None:
        self.outcomes, self.asked = (without, with_logprobs), []

    async def __call__(self, request: Request) -> Outcome:
        self.asked.append("logprobs" in request.body)
        return self.outcomes["logprobs" in request.body]


def failed(status: int | None, message: str = "no", kind: Any = "invalid") -> Failure:
    return Failure("row", "asked", kind, message, attempts=1, status_code=status)


ANSWER = Answer("row", "asked", chat_reply("{}"))


@pytest.mark.parametrize(
    "refusal",
    [
        failed(400, "This model does not support the 'logprobs' parameter."),
        failed(403, "You are not allowed to request logprobs from this model", "refused"),
        failed(422, "Input validation error"),
        failed(500, "Out of range float values are not JSON compliant", "server"),
        failed(None, "TypeError: create() got an unexpected keyword argument 'logprobs'", "server"),
    ],
)
async def test_who_refuses_is_asked_without_from_then_on(refusal: Failure) -> None:
    ask, around = Scripted(refusal, ANSWER), WithLogProbabilities(lambda request: True)
    first = await around(ask)(REQUEST)
    assert isinstance(first, Answer) and first.attempts == 2
    assert await around(ask)(REQUEST) == ANSWER
    assert ask.asked == [True, False, False]
    assert REQUEST.body == {"messages": []}


@pytest.mark.parametrize(
    "failure",
    [
        failed(503, "busy", "server"),
        failed(None, "no server is up", "server"),
        failed(None, "no answer in time", "timeout"),
        failed(400, "maximum context length", "too_long"),
    ],
)
async def test_other_failures_are_no_refusal(failure: Failure) -> None:
    ask = Scripted(failure, ANSWER)
    assert await WithLogProbabilities(lambda request: True)(ask)(REQUEST) == failure
    assert ask.asked == [True]


async def test_a_request_that_fails_either_way_does_not_end_the_asking_for_them() -> None:
    around, wrong = WithLogProbabilities(lambda request: True), Scripted(failed(400), failed(400))
    assert isinstance(await around(wrong)(REQUEST), Failure)
    ask = Scripted(ANSWER, ANSWER)
    await around(ask)(REQUEST)
    assert ask.asked == [True]


async def test_once_given_only_a_refusal_that_names_them_is_one() -> None:
    """As where one server of several has another limit."""
    around = WithLogProbabilities(lambda request: True)
    await around(Scripted(ANSWER, ANSWER))(REQUEST)
    assert isinstance(await around(Scripted(failed(400), ANSWER))(REQUEST), Failure)
    limited = Scripted(failed(400, "Requested sample logprobs of 5, which is greater than max allowed: 3"), ANSWER)
    assert isinstance(await around(limited)(REQUEST), Answer)
    await around(limited)(REQUEST)
    assert limited.asked == [True, False, True, False]


async def test_rows_that_do_not_want_them_are_asked_as_they_are() -> None:
    ask = Scripted(ANSWER, ANSWER)
    assert await WithLogProbabilities(lambda request: False)(ask)(REQUEST) is ANSWER
    assert ask.asked == [False]
