"""A structured reply that was cut is a failure with what came of it: nobody completes it, however easy that looks."""

from __future__ import annotations

import pytest
from aiohttp import web

from analyze import Failure, MultiVLLMClient, ask_many
from tests.fake_vllm import FakeVLLM, chat_reply
from tests.promises.conftest import Batch, Row, lines, question, row, write

SCHEMA = {
    "type": "object",
    "properties": {"label": {"enum": ["a", "b"]}, "why": {"type": "string"}},
    "required": ["label"],
}
FORM = {"response_format": {"type": "json_schema", "json_schema": {"name": "label", "schema": SCHEMA}}}
CUTS = [
    "",
    "{",
    '{"label":"a',
    '{"label":"a"',
    '{"label":"a","why":"it is',
    '{"label":"a","why":"it is"',
    '{"label":"a"}',
]
"""The fourth and those after it a repair would complete to what the schema allows; the last is whole by chance."""


@pytest.fixture
def cutting(servers: list[FakeVLLM]) -> list[FakeVLLM]:
    """Servers whose answer to `cut 3` is the third cut, for want of tokens; others are good."""

    async def handler(request: web.Request, body: Row) -> web.Response:
        text = question(body)
        cut = text.startswith("cut ")
        return web.json_response(chat_reply(CUTS[int(text[4:])], "length") if cut else chat_reply('{"label":"b"}'))

    for server in servers:
        server.handler = handler
    return servers


def rows(*, first_is_good: bool) -> list[Row]:
    cuts = [row(number, f"cut {number}", **FORM) for number in range(len(CUTS))]
    return [*([row(100, "a good one", **FORM)] if first_is_good else []), *cuts]


@pytest.mark.parametrize("first_is_good", [True, False])
def test_a_cut_reply_is_a_failure_that_keeps_its_raw_text(
    batch: Batch, cutting: list[FakeVLLM], first_is_good: bool
) -> None:
    write(batch.input, rows(first_is_good=first_is_good))
    for flags in ([], [], ["--retry-failed"]):
        ended = batch.run("--in-flight", "1", *flags)
        assert ended.code == 1, ended.err
        assert batch.answers == ({"row-100": '{"label":"b"}'} if first_is_good else {})
        failures = {line["custom_id"]: line for line in lines(batch.failures)}
        assert {name: (line["error"]["code"], line["raw"]) for name, line in failures.items()} == {
            f"row-{number}": ("truncated", cut) for number, cut in enumerate(CUTS)
        }
        assert all("length" in line["error"]["message"] for line in failures.values())
    assert len(batch.asked) == first_is_good + 2 * len(CUTS), "for good, until it is to be asked again; never corrected"


def test_ask_many_hands_it_over_as_a_failure_too(cutting: list[FakeVLLM]) -> None:
    client = MultiVLLMClient([server.url for server in cutting])
    requests = [{"id": each["custom_id"], "body": each["body"]} for each in rows(first_is_good=True)]
    failures = [outcome for outcome in ask_many(requests, client) if isinstance(outcome, Failure)]
    assert {(failure.id, failure.kind, failure.raw) for failure in failures} == {
        (f"row-{number}", "truncated", cut) for number, cut in enumerate(CUTS)
    }
