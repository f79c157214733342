"""Load is given back on every way out: after a thousand requests that were dropped, every counter is at zero."""

from __future__ import annotations

import asyncio
import gc
import itertools
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest

from analyze import AsyncMultiVLLMClient, ChatRequest, MultiVLLMClient, aask_many
from analyze.core import Core
from tests.fake_vllm import FakeVLLM
from tests.faults.conftest import all_are_back_at_zero, until
from tests.faults.paths import question


@pytest.fixture
def urls(servers) -> list[str]:
    return [server.url for server in servers]


async def test_a_thousand_cancelled_calls(urls, servers, cores):
    for server in servers:
        server.delay_s = 0.1
    draw = random.Random(3)
    async with AsyncMultiVLLMClient(urls) as client:

        async def ask(row: int) -> None:
            as_stream = row % 2 == 0
            async with asyncio.timeout(draw.uniform(0.0, 0.3)):
                reply = await client.chat.completions.create(
                    model="fake-model", messages=question(row), stream=as_stream
                )
                if as_stream:
                    [chunk async for chunk in reply]

        rounds = 0
        while rounds < 5 or sum(server.disconnects for server in servers) <= 100:  # they are told, and stop generating
            ended = await asyncio.gather(*(ask(row) for row in range(200)), return_exceptions=True)
            assert any(isinstance(end, TimeoutError) for end in ended)
            rounds += 1
            assert rounds < 100, "nobody tells the servers"
        await asyncio.to_thread(all_are_back_at_zero, cores[0])
        assert [instance.is_up for instance in cores[0].fleet.instances] == [True] * 4
        assert (await client.chat.completions.create(model="fake-model", messages=question(0))).choices


async def test_a_thousand_streams_that_are_left_in_the_middle(urls, servers, cores):
    for server in servers:
        server.slots, server.drip_s = None, 0.05
    draw = random.Random(3)
    async with AsyncMultiVLLMClient(urls) as client:

        async def ask(row: int) -> None:
            stream = await client.chat.completions.create(model="fake-model", messages=question(row), stream=True)
            async with stream:
                for _ in range(draw.randrange(3)):
                    await anext(aiter(stream))

        for _ in range(5):
            await asyncio.gather(*(ask(row) for row in range(200)))
        await asyncio.to_thread(all_are_back_at_zero, cores[0])
        assert [instance.is_up for instance in cores[0].fleet.instances] == [True] * 4


def test_calls_of_a_sync_client_that_run_out_of_time(urls, servers, cores):
    for server in servers:
        server.delay_s = 30.0
    with MultiVLLMClient(urls) as client:
        for row in range(8):
            with pytest.raises(openai.APITimeoutError):
                client.with_options(timeout=0.5).chat.completions.create(model="fake-model", messages=question(row))
        all_are_back_at_zero(cores[0])


async def test_hundreds_of_rows_of_bulk_runs_that_are_left_early(urls, servers, cores):
    dropped = 0
    while dropped < 400:
        rows = (ChatRequest(question(row), id=str(row)) for row in itertools.count())
        stream = aask_many(rows, MultiVLLMClient(urls))
        for _ in range(8):
            await anext(stream)
        dropped += sum(instance.in_flight for instance in cores[-1].fleet.instances)
        await stream.aclose()
        await asyncio.to_thread(all_are_back_at_zero, cores[-1])
    for server in servers:  # they are told, and stop generating
        await asyncio.to_thread(until, lambda server=server: server.in_flight == 0)


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[Core]:
    """The core of each request that has come to one."""
    came: list[Core] = []
    original = Core.request

    async def request(core: Core, *args: Any, **options: Any) -> Any:
        came.append(core)
        return await original(core, *args, **options)

    monkeypatch.setattr(Core, "request", request)
    return came


WAYS_TO_WAIT: dict[str, Callable[[FakeVLLM], object]] = {
    "for an answer": lambda server: setattr(server, "mode", "never"),
    "for a server that is not busy": lambda server: setattr(server, "mode", "503"),
    "for any server": FakeVLLM.crash,
    "for a server that says nothing": lambda server: setattr(server, "mode", "freeze"),
}


@pytest.mark.parametrize("way", WAYS_TO_WAIT)
async def test_closing_an_async_client_ends_its_calls_and_leaves_no_task(way, urls, servers, begun, caplog):
    before = asyncio.all_tasks()
    client = AsyncMultiVLLMClient(urls, unavailable_timeout_s=60)
    for server in servers:
        WAYS_TO_WAIT[way](server)
    calls = [
        asyncio.create_task(
            client.chat.completions.create(model="fake-model", messages=question(row), stream=row % 2 == 0)
        )
        for row in range(8)
    ]
    await asyncio.to_thread(until, lambda: len(begun) == 8)
    await asyncio.sleep(0.3)
    await client.close()
    async with asyncio.timeout(60):
        ends = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(end) for end in ends} == {openai.APIConnectionError}
    assert all("closed" in str(end) for end in ends), ends
    async with asyncio.timeout(60):
        while asyncio.all_tasks() != before:  # noqa: ASYNC110 - a task is one until the loop has run once more
            await asyncio.sleep(0.01)
    del calls, ends
    gc.collect()
    assert not [record for record in caplog.records if record.name == "asyncio"]


@pytest.mark.parametrize("way", WAYS_TO_WAIT)
def test_closing_a_sync_client_ends_its_calls_and_leaves_no_thread(way, urls, servers, begun, caplog):
    before = set(threading.enumerate())
    client = MultiVLLMClient(urls, unavailable_timeout_s=60)
    for server in servers:
        WAYS_TO_WAIT[way](server)

    def call(row: int) -> Exception | None:
        try:
            client.chat.completions.create(model="fake-model", messages=question(row), stream=row % 2 == 0)
        except openai.APIConnectionError as error:
            return error
        return None

    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(call, row) for row in range(8)]
        until(lambda: len(begun) == 8)
        time.sleep(0.3)
        client.close()
        assert all("closed" in str(future.result(60)) for future in calls)
    assert set(threading.enumerate()) <= before
    gc.collect()
    assert not [record for record in caplog.records if record.name == "asyncio"]


async def test_a_stream_whose_client_is_closed_raises(urls, servers):
    for server in servers:
        server.reply, server.drip_s = "x" * 10_000, 0.05
    async_client, client = AsyncMultiVLLMClient(urls), MultiVLLMClient(urls)
    asked = {"model": "fake-model", "messages": question(0), "stream": True}
    async_stream, stream = await async_client.chat.completions.create(**asked), client.chat.completions.create(**asked)
    await anext(aiter(async_stream))
    next(iter(stream))
    await async_client.close()
    client.close()
    async with asyncio.timeout(60):
        with pytest.raises(openai.APIConnectionError):
            [chunk async for chunk in async_stream]
    with pytest.raises(openai.APIConnectionError):
        list(stream)
