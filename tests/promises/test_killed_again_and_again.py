"""kill -9 at 100 random instants of one long run: it ends as if nobody had ever touched it."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter

from aiohttp import web

from tests.fake_vllm import FakeVLLM, Handler
from tests.promises.conftest import Batch, Row, as_new, asked, echo, lines, question, row, until, write

ROWS, KILLS, IN_FLIGHT = 3000, 100, 16
REFUSED_EACH = 50
SEED = 20240229


def test_killed_100_times_it_ends_as_if_never_interrupted(batch: Batch, shared_servers: list[FakeVLLM]) -> None:
    batch.servers = shared_servers
    refused = {f"question {number}" for number in range(0, ROWS, REFUSED_EACH)}
    for server in shared_servers:
        as_new(server)
        server.refuse = lambda body: 400 if question(body) in refused else None
    write(batch.input, [row(number) for number in range(ROWS)])
    chance = random.Random(SEED)
    killed_at_work, recorded = 0, b""
    for _ in range(KILLS):
        before, (wanted, pause_s) = _count(shared_servers), _instant(chance)
        for server in shared_servers:
            server.delay_s = 0.05
            server.handler = _up_to(before + max(wanted, IN_FLIGHT), shared_servers)
        process = batch.start("--in-flight", str(IN_FLIGHT))
        until(lambda reached=before + wanted: _count(shared_servers) >= reached)
        time.sleep(pause_s)
        process.kill()
        assert process.wait().code == -9, process.err
        killed_at_work += _count(shared_servers) > before
        left = batch.output.read_bytes() if batch.output.exists() else b""
        whole_lines = recorded[: recorded.rfind(b"\n") + 1]
        assert left.startswith(whole_lines), "a recorded line is gone"
        recorded = left
    assert killed_at_work > KILLS / 2, "most kills are to hit a run at work"
    assert recorded.count(b"\n") > KILLS

    for server in shared_servers:
        server.delay_s, server.handler = 0.0, echo
    ended = batch.run("--in-flight", str(IN_FLIGHT))
    assert ended.code == 1, ended.err
    numbers = range(ROWS)
    assert batch.answers == {f"row-{n}": f"answer to question {n}" for n in numbers if n % REFUSED_EACH}
    assert batch.failed == {f"row-{n}": "invalid" for n in numbers if n % REFUSED_EACH == 0}
    times = Counter(asked(shared_servers))
    extra = sum(times.values()) - ROWS
    assert set(times) == {f"question {n}" for n in numbers}
    assert extra <= KILLS * IN_FLIGHT, "asked again: what was in flight at each kill, at most"

    assert batch.run().code == 1
    assert len(asked(shared_servers)) == ROWS + extra, "and then there is nothing left to ask"
    assert len(lines(batch.output)) + len(lines(batch.failures)) == ROWS


def _count(servers: list[FakeVLLM]) -> int:
    return sum(server.asked for server in servers)


def _up_to(wanted: int, servers: list[FakeVLLM]) -> Handler:
    """Answer while fewer rows were asked: a kill that is late finds the run where it was, and rows are left for all."""

    async def handler(request: web.Request, body: Row) -> web.Response:
        while _count(servers) > wanted:  # noqa: ASYNC110 - until it is dropped
            await asyncio.sleep(0.01)
        return await echo(request, body)

    return handler


def _instant(chance: random.Random) -> tuple[int, float]:
    """Return a random instant: after so many rows and seconds, while the run starts or when it has asked some."""
    if chance.random() < 0.25:
        return 0, chance.uniform(0, 0.1)
    return chance.randint(1, 3 * IN_FLIGHT), chance.uniform(0, 0.01)
