"""Runs that earlier versions have left (frozen in `old_runs/`) are continued by this one.

    response_first   the first format: "response" before "error", "row" last
    error_first      what tells how a row has ended comes first
Each holds 11 rows: answers (of chats, of a completion, in Chinese, with half a surrogate pair, of a row without an id,
of an id that comes twice), and a failure each of the kinds invalid, server and truncated.
"""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest
from aiohttp import web

from tests.fake_vllm import chat_reply
from tests.promises.conftest import Batch, Row, account, lines, name_of, question, write

RUNS = sorted(path for path in (Path(__file__).parent / "old_runs").iterdir() if path.is_dir())


async def answer(request: web.Request, body: Row) -> web.Response:
    """Answer as the servers of those runs did, now without a failure."""
    if "prompt" in body:
        return web.json_response({"id": "c", "choices": [{"index": 0, "text": "upon a time", "finish_reason": "stop"}]})
    return web.json_response(
        chat_reply('{"label":"a"}' if "response_format" in body else f"answer to {question(body)}")
    )


@pytest.fixture(params=RUNS, ids=lambda path: path.name)
def old(request: pytest.FixtureRequest, batch: Batch) -> Batch:
    for server in batch.servers:
        server.handler = answer
    shutil.copy(request.param / "requests.jsonl", batch.input)
    for path in request.param.glob("answers.jsonl*"):
        shutil.copy(path, batch.folder)
    return batch


def test_nothing_is_asked_but_the_failure_that_may_pass(old: Batch) -> None:
    before = old.output.read_bytes()
    ended = old.run()
    assert ended.code == 1, ended.err
    assert old.asked == ["question 6"]
    assert old.output.read_bytes().startswith(before), "old lines stay as they are"
    assert Counter(line["error"]["code"] for line in lines(old.failures)) == {"invalid": 1, "truncated": 1}
    counts = account(ended.out)
    assert (counts["read"], counts["ok"]) == (11, 9)
    assert old.run().code == 1
    assert old.asked == ["question 6"]


def test_each_row_keeps_its_name_and_its_answer(old: Batch) -> None:
    old.run()
    texts = {name_of(line): line["response"]["body"]["choices"][0] for line in lines(old.output)}
    assert texts["row-1"]["message"]["content"] == "answer to 请比较这两段代码"
    assert texts["row-2"]["message"]["content"] == "half \ud83d"
    assert texts["row-2#2"]["message"]["content"] == "answer to another of that id"
    assert texts["row-6"]["message"]["content"] == "answer to question 6"
    assert texts["completion"]["text"] == "upon a time"
    assert len(texts) == 9


def test_retry_failed_asks_the_failures_and_leaves_one_line_a_row(old: Batch) -> None:
    ended = old.run("--retry-failed")
    assert ended.code == 0, ended.err
    assert sorted(old.asked) == ["question 5", "question 6", "question 8"]
    names = [name_of(line) for path in (old.output, old.failures) for line in lines(path)]
    assert len(names) == len(set(names)) == 11


def test_an_edited_row_is_still_seen(old: Batch) -> None:
    rows = lines(old.input)
    rows[0]["body"]["messages"][0]["content"] = "edited"
    write(old.input, rows)
    refused = old.run()
    assert refused.code == 2
    assert "row-0" in refused.err
    assert old.asked == []
    ended = old.run("--update")
    assert ended.code == 1, ended.err
    assert sorted(old.asked) == ["edited", "question 6"]


def test_ordered_puts_old_and_new_lines_in_the_order_of_the_input(old: Batch) -> None:
    assert old.run("--ordered").code == 1
    names = [name_of(line) for line in lines(old.output)]
    assert names[:4] == ["row-0", "row-1", "row-2", "row-2#2"] and names[-2:] == ["row-9", "completion"]


def test_a_torn_tail_of_an_old_run_is_cut_too(old: Batch) -> None:
    old.output.write_bytes(old.output.read_bytes()[:-30])
    old.failures.write_bytes(old.failures.read_bytes()[:-30])
    assert old.run().code == 1
    names = [name_of(line) for path in (old.output, old.failures) for line in lines(path)]
    assert len(names) == len(set(names)) == 11
    assert sum(server.asked for server in old.servers) == 3, "the two that were torn, and the one that may pass"


def test_without_its_manifest_an_old_run_continues_from_its_journal(old: Batch) -> None:
    old.manifest.unlink()
    assert old.run().code == 1
    assert old.asked == ["question 6"]
