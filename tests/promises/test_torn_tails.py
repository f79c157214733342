"""A journal that ends in the middle of a line, at whatever byte, continues on a line of its own."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from analyze import Failure, aask_many
from tests.promises.conftest import Batch, lines, name_of, row, write

REQUESTS = [
    {"id": f"r{number}", "body": {"messages": [{"role": "user", "content": f"q{number}"}]}} for number in range(5)
]
BROKEN = "q3"


class Client:
    """Somebody's own client: it answers at once, and fails one row in a way that passes."""

    def __init__(self) -> None:
        self.chat = self.completions = self
        self.asked: list[str] = []

    async def create(self, **body: Any) -> dict[str, Any]:
        text = body["messages"][0]["content"]
        self.asked.append(text)
        if text == BROKEN:
            raise ConnectionError
        return {"id": "c", "choices": [{"message": {"content": text.upper()}, "finish_reason": "stop"}]}


async def outcomes(journal: Path, client: Client) -> dict[str, str]:
    stream = aask_many(REQUESTS, client, journal=journal, in_flight=1)
    return {end.id: end.kind if isinstance(end, Failure) else end.text async for end in stream}


def test_cut_at_every_byte_of_the_last_three_lines_a_journal_continues(tmp_path: Path) -> None:
    """The lines hold a failure too, in the order answer, failure, answer."""

    async def at_every_byte() -> None:
        journal = tmp_path / "journal.jsonl"
        whole_run = await outcomes(journal, Client())
        assert set(whole_run.values()) == {"Q0", "Q1", "Q2", "server", "Q4"}
        whole = journal.read_bytes()
        starts = [0]
        for line in whole.splitlines(keepends=True):
            starts.append(starts[-1] + len(line))
        assert b"error" in whole and len(starts) == 6
        for cut in range(starts[-4], starts[-1] + 1):
            journal.write_bytes(whole[:cut])
            recorded = sum(end <= cut for end in starts[1:])
            client = Client()
            await outcomes(journal, client)
            kept = [text for text in ("q0", "q1", "q2", "q3", "q4")[:recorded] if text != BROKEN]
            assert sorted([*client.asked, *kept]) == ["q0", "q1", "q2", "q3", "q4"], f"cut at {cut}"
            ends = {name_of(line): line["error"] is None for line in lines(journal)}
            assert ends == {"r0": True, "r1": True, "r2": True, "r3": False, "r4": True}, f"cut at {cut}"

    asyncio.run(at_every_byte())


@pytest.mark.parametrize("cut", [1, 2, 30, 120, 250, 400, 600])
def test_both_files_of_a_batch_continue_after_a_cut(batch: Batch, cut: int) -> None:
    for server in batch.servers:
        server.refuse = lambda body: 400 if body["messages"][0]["content"] in ("question 1", "question 4") else None
    write(batch.input, [row(number) for number in range(6)])
    assert batch.run().code == 1
    lost = 0
    for path in (batch.output, batch.failures):
        whole = path.read_bytes()
        path.write_bytes(whole[:-cut])
        lost += whole.count(b"\n") - whole[:-cut].count(b"\n")
    assert batch.run().code == 1
    assert batch.answers == {f"row-{n}": f"answer to question {n}" for n in (0, 2, 3, 5)}
    assert batch.failed == {"row-1": "invalid", "row-4": "invalid"}
    assert len(batch.asked) == 6 + lost


def test_a_journal_of_one_torn_line_begins_anew(batch: Batch) -> None:
    write(batch.input, [row(1)])
    assert batch.run().code == 0
    batch.output.write_bytes(batch.output.read_bytes()[:-1])
    assert batch.run().code == 0
    assert batch.answers == {"row-1": "answer to question 1"}


def test_a_torn_line_of_a_row_that_left_the_input_is_in_nobodys_way(batch: Batch) -> None:
    """Nothing is appended then, which would cut it."""
    for server in batch.servers:
        server.refuse = lambda body: 400 if body["messages"][0]["content"] in ("question 4", "question 5") else None
    write(batch.input, [row(number) for number in range(8)])
    assert batch.run("--in-flight", "1").code == 1
    for path in (batch.output, batch.failures):
        path.write_bytes(path.read_bytes()[:-60])
    for server in batch.servers:
        server.refuse = lambda body: None
    write(batch.input, [row(number) for number in range(5)])
    for flags in (("--ordered",), ("--ordered", "--retry-failed"), ("--update",), ("--dry-run",)):
        ended = batch.run(*flags)
        assert ended.code in (0, 1), ended.err
    assert set(batch.answers) >= {f"row-{n}" for n in range(5)}
    assert batch.failed == {}


def test_a_file_that_is_no_journal_is_left_as_it_is(batch: Batch) -> None:
    write(batch.input, [row(1)])
    for content in (b"notes without a newline", b'{"id": "of somebody else"}\n', b"\n\n", b'{"a": 1}'):
        batch.output.write_bytes(content)
        refused = batch.run()
        assert refused.code == 2, refused.err
        assert str(batch.output) in refused.err
        assert batch.output.read_bytes() == content
    assert batch.asked == []
