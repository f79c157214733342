"""When a record is safe: with the system before it counts, on the disk about a second later, whatever comes after."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from aiohttp import web

from tests.fake_vllm import chat_reply
from tests.promises.conftest import Batch, Row, lines, question, row, write
from tests.promises.crashing_files import Effect, read_trace

RECORD = "tests.promises.crashing_files:record"


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    return tmp_path / "trace"


@pytest.fixture
def traced(batch: Batch, trace: Path) -> Callable[..., list[Effect]]:
    def run(*flags: str) -> list[Effect]:
        ended = batch.run(*flags, first=[RECORD, str(batch.folder), str(trace)])
        assert ended.code == 0, ended.err
        return read_trace(trace)

    return run


def records(trace: list[Effect]) -> list[Effect]:
    """The writes of answers."""
    return [effect for effect in trace if effect.data.startswith(b'{"id":"batch_req_')]


def syncs(trace: list[Effect]) -> list[Effect]:
    """The fsyncs of the file of answers."""
    journal = {effect.file for effect in records(trace)}
    return [effect for effect in trace if effect.kind == "sync" and effect.file in journal]


def test_a_record_is_on_the_disk_a_second_later_even_if_none_follows(
    batch: Batch, trace: Path, traced: Callable[..., list[Effect]]
) -> None:
    """One row is answered at once, the other when that is synced: until then the power may fail."""

    async def slow_at_times(request: web.Request, body: Row) -> web.Response:
        while question(body) == "question 2" and not syncs(read_trace(trace)):  # noqa: ASYNC110 - a file
            await asyncio.sleep(0.05)
        return web.json_response(chat_reply("fine"))

    for server in batch.servers:
        server.handler = slow_at_times
    write(batch.input, [row(1), row(2)])
    effects = traced()
    first, _ = records(effects)
    waited_s = syncs(effects)[0].lived_s - first.lived_s
    assert waited_s < 2.5, f"synced after {waited_s:.1f} s"


def test_syncs_are_grouped_and_the_end_is_synced(batch: Batch, traced: Callable[..., list[Effect]]) -> None:
    write(batch.input, [row(number) for number in range(120)])
    for server in batch.servers:
        server.delay_s = 0.1
    effects = traced("--in-flight", "4")
    written, synced = records(effects), syncs(effects)
    assert len(written) == 120
    took_s = written[-1].at - written[0].at
    assert took_s > 2
    assert 1 <= len(synced) <= took_s + 3, "once a second, not once a record"
    assert synced[-1].at > written[-1].at
    longest_s = max(later.lived_s - earlier.lived_s for earlier, later in pairwise(synced))
    assert longest_s < 2.5


def test_each_record_is_one_write_of_one_whole_line(batch: Batch, traced: Callable[..., list[Effect]]) -> None:
    """So that a line is never torn by a kill, as long as the disk takes it whole."""
    write(batch.input, [row(number) for number in range(50)])
    written = records(traced())
    assert len(written) == len(lines(batch.output)) == 50
    assert all(effect.data.endswith(b"\n") and effect.data.count(b"\n") == 1 for effect in written)
