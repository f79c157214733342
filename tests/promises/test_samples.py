"""Several answers to one question: each is asked for, kept apart from the others, and not asked for again."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from analyze import ChatRequest, MultiVLLMClient, aask_many, ask_many
from tests.fake_vllm import FakeVLLM, chat_reply
from tests.promises.conftest import Batch, Row, lines, row, write

WARM = {"temperature": 0.7}
QUESTION = [{"role": "user", "content": "the same"}]


@pytest.fixture
def sampled(servers: list[FakeVLLM]) -> list[FakeVLLM]:
    """Servers that never answer alike, and give as many choices as they are asked for."""
    count = itertools.count()

    async def handler(request: web.Request, body: Row) -> web.Response:
        choices = [chat_reply(f"sample {next(count)}")["choices"][0] for _ in range(body.get("n", 1))]
        choices = [{**choice, "index": index} for index, choice in enumerate(choices)]
        return web.json_response({**chat_reply(""), "choices": choices})

    for server in servers:
        server.handler = handler
    return servers


def texts(reply: Row) -> list[str]:
    return [choice["message"]["content"] for choice in reply["choices"]]


def test_n_2_is_one_request_with_two_answers_and_a_rerun_asks_nothing(batch: Batch, sampled: list[FakeVLLM]) -> None:
    write(batch.input, [row(number, **WARM, n=2) for number in range(5)])
    for _ in range(2):
        assert batch.run().code == 0
        found = [texts(line["response"]["body"]) for line in lines(batch.output)]
        assert [len(set(two)) for two in found] == [2] * 5
        assert len(batch.asked) == 5
    assert {body["n"] for server in sampled for body in server.bodies} == {2}


def test_two_rows_of_one_body_are_two_samples_and_a_rerun_asks_nothing(batch: Batch, sampled: list[FakeVLLM]) -> None:
    rows = [row(number, "the same", **WARM) for number in range(2)]
    write(batch.input, rows)
    for again in (rows, rows[::-1]):
        write(batch.input, again)
        assert batch.run().code == 0
        assert sorted(batch.answers) == ["row-0", "row-1"] and len(set(batch.answers.values())) == 2
        assert len(batch.asked) == 2
    write(batch.input, [*rows, row(2, "the same", **WARM)])
    assert batch.run().code == 0
    assert len(batch.asked) == len(set(batch.answers.values())) == 3, "a third sample"


def test_another_n_is_another_question(batch: Batch, sampled: list[FakeVLLM]) -> None:
    write(batch.input, [row(0, **WARM, n=2)])
    assert batch.run().code == 0
    write(batch.input, [row(0, **WARM, n=3)])
    refused = batch.run()
    assert refused.code == 2 and "row-0" in refused.err and "--update" in refused.err
    assert len(batch.asked) == 1
    assert batch.run("--update").code == 0
    (line,) = lines(batch.output)
    assert len(texts(line["response"]["body"])) == 3


BODY: dict[str, Any] = {"messages": QUESTION, **WARM}
Make = Callable[[], Any]


@pytest.mark.parametrize(
    "make",
    [
        lambda: [{"body": BODY}, {"body": BODY}],
        lambda: ({"id": name, "body": BODY} for name in "ab"),
        lambda: [ChatRequest(QUESTION, options=WARM), ChatRequest(QUESTION, options=WARM)],
    ],
    ids=["without ids", "with ids", "ChatRequests"],
)
async def test_ask_many_asks_equal_requests_as_often_as_they_come(
    make: Make, tmp_path: Path, sampled: list[FakeVLLM]
) -> None:
    client = MultiVLLMClient([server.url for server in sampled])

    def asked() -> int:
        return sum(server.asked for server in sampled)

    outcomes = [*ask_many(make(), client, journal=tmp_path / "j.jsonl")]
    assert len({outcome.id for outcome in outcomes}) == len({outcome.text for outcome in outcomes}) == asked() == 2
    assert [*ask_many(make(), client, journal=tmp_path / "j.jsonl")] == [], "they are done"
    assert [outcome async for outcome in aask_many(make(), client, journal=tmp_path / "j.jsonl")] == []
    assert asked() == 2
    more = [*make(), {"body": BODY, "id": "c"}]
    assert len([*ask_many(more, client, journal=tmp_path / "j.jsonl")]) == 1
    assert asked() == 3
    assert len([*ask_many(make(), client)]) == 2, "without a journal nothing is remembered"
