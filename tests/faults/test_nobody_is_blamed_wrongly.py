"""What looks like the fault of a server and is none: it stays in, on each path, and nothing is asked without end."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from typing import Any

import openai
import pytest

from analyze import AsyncMultiVLLMClient, ChatRequest, MultiVLLMClient, ask_many
from analyze.core import BULK, SINGLE, Core
from tests.fake_vllm import FakeVLLM
from tests.faults import conftest
from tests.faults.conftest import TIMES_S
from tests.faults.paths import PATHS, question, row_of

ROWS = 120
FAILED = {"server", "InternalServerError", "APIConnectionError"}
SILENT_S, STALLED_S = TIMES_S["analyze.watch.SILENT_S"], TIMES_S["analyze.watch.STALLED_S"]
FAR_S = 600.0


@asynccontextmanager
async def client_of(servers: list[FakeVLLM], **options: Any) -> AsyncIterator[AsyncMultiVLLMClient]:
    async with AsyncMultiVLLMClient([server.url for server in servers], **options) as client:
        yield client


async def ask(client: AsyncMultiVLLMClient, row: int = 0) -> str | None:
    reply = await client.chat.completions.create(model="fake-model", messages=question(row))
    return reply.choices[0].message.content


async def stream_of(client: AsyncMultiVLLMClient, row: int) -> openai.AsyncStream[Any]:
    return await client.chat.completions.create(model="fake-model", messages=question(row), stream=True)


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not happened():  # noqa: ASYNC110 - servers live in threads of their own
            await asyncio.sleep(0.01)


def ups(core: Core) -> list[bool]:
    return [instance.is_up for instance in core.fleet.instances]


# -- rows that are at fault themselves ---------------------------------------------------------------------------------


def answer_500(server: FakeVLLM, every: int) -> None:
    server.refuse = lambda body: 500 if (row_of(body) or 1) % every == 0 else None


def answer_without_choices(server: FakeVLLM, every: int) -> None:
    server.garble = lambda body: (row_of(body) or 1) % every == 0


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("fail", [answer_500, answer_without_choices])
@pytest.mark.parametrize(("count", "every"), [(4, 3), (1, 10)])
def test_rows_that_no_server_can_answer_fail_alone(fail, count, every, path, servers, run):
    del servers[count:]
    for server in servers:
        fail(server, every)
    done = run(path, ROWS, {})
    failing = range(every, ROWS, every)
    assert set(done.lost) == set(failing) and set(done.lost.values()) <= FAILED
    attempts = SINGLE.attempts if path != "bulk" else 2 * BULK.attempts  # its last rows are asked twice at once
    assert max(done.asked[row] for row in failing) <= attempts
    assert done.extra <= attempts * len(failing) + 0.02 * ROWS, "no other row pays for it"
    assert done.thrown_out == []


@pytest.mark.parametrize("path", ["async", "bulk"])
def test_rows_refused_at_once_put_nobody_out_who_is_long_about_the_others(path, servers, run):
    """No answer speaks for the servers yet, and a token that they are asked for waits behind the rows."""
    for server in servers:
        answer_500(server, 3)
        server.delay_s = 1.5
    done = run(path, 24, {})
    assert set(done.lost) == set(range(3, 24, 3)) and set(done.lost.values()) <= FAILED
    assert done.thrown_out == []


# -- slow readers, callers in a hurry ----------------------------------------------------------------------------------


async def test_a_stream_is_read_as_slowly_as_its_reader_likes(servers, cores):
    """The server has sent all of it, and stands idle, while the reader sleeps between two pieces."""
    async with client_of(servers) as client:
        text = ""
        async for chunk in await stream_of(client, 0):
            text += chunk.choices[0].delta.content or ""
            if text in ("h", "hel"):
                await asyncio.sleep(STALLED_S * 1.4)
                assert servers[0].in_flight == 0 and cores[-1].fleet.instances[0].in_flight == 1
        assert text == "hello" and ups(cores[-1]) == [True] * 4


def test_a_server_too_busy_to_take_connections_is_not_put_out_by_callers_in_a_hurry(cores):
    """Nor is it said to be away: they are told that their time is up."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, closing(socket.socket()) as first:
        first.connect(full.getsockname())  # from now on the kernel answers nobody
        with MultiVLLMClient([f"http://127.0.0.1:{full.getsockname()[1]}/v1"], timeout=0.5) as client:
            for _ in range(4):
                with pytest.raises(openai.APITimeoutError):
                    client.chat.completions.create(model="fake-model", messages=question(0))
            assert ups(cores[-1]) == [True]


def test_a_caller_in_a_hurry_is_told_so_and_speaks_against_nobody(servers, cores):
    for server in servers:
        server.slots, server.delay_s = None, 5.0
    client = MultiVLLMClient([server.url for server in servers], timeout=0.6)

    def hurry(row: int) -> type[Exception] | None:
        try:
            client.chat.completions.create(model="fake-model", messages=question(row))
        except openai.APIConnectionError as error:
            return type(error)
        return None

    with client, ThreadPoolExecutor(10) as pool:
        assert list(pool.map(hurry, range(40))) == [openai.APITimeoutError] * 40
        assert ups(cores[-1]) == [True] * 4
        rows = (ChatRequest(question(row), id=str(row)) for row in range(16))
        assert {outcome.kind for outcome in ask_many(rows, client)} == {"timeout"}
        assert ups(cores[-1]) == [True] * 4


# -- servers that tell little of themselves ----------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["async", "bulk"])
def test_a_server_that_answers_health_and_requests_may_keep_its_metrics_to_itself(path, servers, run):
    servers[1].unanswered.add("/metrics")
    servers[1].slots, servers[1].delay_s = None, 1.5 * max(SILENT_S, STALLED_S)
    done = run(path, 16, {})
    assert done.lost == {} and done.thrown_out == []


async def test_a_stream_that_goes_on_slowly_is_a_sign_of_life(servers, cores):
    """The only one: neither /metrics nor /health says anything, for longer than a server may be silent."""
    servers[0].unanswered |= {"/metrics", "/health"}
    servers[0].reply, servers[0].drip_s = "x" * 20, SILENT_S / 10
    async with client_of(servers) as client:
        assert len([chunk async for chunk in await stream_of(client, 0)]) == 21
        assert ups(cores[-1]) == [True] * 4
    assert servers[0].asked == 1


def test_metrics_that_are_no_numbers_do_no_harm(servers, run, monkeypatch, caplog):
    """They are a sign of life, as any answer is; more they do not say."""
    monkeypatch.setattr("analyze.watch.STALLED_S", 10.0)
    names = ("num_requests_running", "num_requests_waiting", "generation_tokens_total", "kv_cache_usage_perc")
    for server, value in zip(servers, ("NaN", "+Inf", "-1e999", "x"), strict=True):
        server.metrics = "# Metrics\n" + "".join(f'vllm:{name}{{engine="0"}} {value}\n' for name in names)
        server.slots, server.delay_s = None, 1.5 * SILENT_S
    servers[3].metrics += "vllm:num_requests_running\nvllm: 5\n\x00\xff vllm:\n" + "<html>" * 1000
    done = run("bulk", 24, {})
    gc.collect()
    assert done.lost == {} and done.thrown_out == []
    assert not [record for record in caplog.records if record.name == "asyncio"]


@pytest.mark.parametrize(("path", "status"), [("async", 404), ("bulk", 403)])
def test_a_proxy_that_keeps_health_to_itself_is_no_complaint(path, status, servers, run, cores):
    """Neither when a server is examined after a fault, nor when it is about to come back."""
    shaky = servers[1]
    for server in servers:
        server.statuses["/health"] = status
    events = {
        60: lambda: setattr(shaky, "mode", "reset"),
        80: lambda: setattr(shaky, "mode", "ok"),
        400: lambda: conftest.until(lambda: all(ups(cores[-1]))),
    }
    done = run(path, 500, events)
    assert done.lost == {} and done.thrown_out in ([], [1])
    assert ups(done.core) == [True] * 4


# -- who comes back, though others do not ------------------------------------------------------------------------------


async def test_one_that_only_looks_healthy_does_not_keep_another_waiting(servers, cores, monkeypatch):
    monkeypatch.setattr("analyze.lookout.GENERATION_TIMEOUT_S", FAR_S)
    looks_healthy, well = servers[:2]
    async with client_of([looks_healthy, well], unavailable_timeout_s=120) as client:
        looks_healthy.mode = well.mode = "reset"
        calls = [asyncio.create_task(ask(client)) for _ in range(8)]
        await until(lambda: ups(cores[-1]) == [False, False])
        looks_healthy.mode = "never"
        await until(lambda: len(looks_healthy.probes) > 0 and looks_healthy.in_flight > 0)
        well.mode = "ok"
        assert await asyncio.gather(*calls) == ["hello"] * 8
        assert ups(cores[-1]) == [False, True]


@pytest.mark.parametrize("status", [404, 501])
async def test_a_server_for_embeddings_comes_back_though_it_completes_nothing(status, servers, cores):
    silent = servers[0]
    for server in servers:
        server.statuses |= {"/v1/completions": status, "/v1/chat/completions": status}
    async with client_of(servers) as client:
        silent.mode = "freeze"
        sent = [asyncio.create_task(client.embeddings.create(model="fake-model", input="x")) for _ in range(8)]
        await until(lambda: not cores[-1].fleet.instances[0].is_up)
        silent.mode = "ok"
        assert [len((await reply).data) for reply in sent] == [1] * 8
        await until(lambda: cores[-1].fleet.instances[0].is_up)


async def test_who_gave_up_looks_again_before_it_turns_the_next_call_away(servers, cores, monkeypatch):
    """Patience has ended, the servers are back, and nobody has seen it: the next probe is far away."""
    monkeypatch.setattr("analyze.fleet.LAST_PROBE_S", FAR_S)
    monkeypatch.setattr("analyze.fleet.FIRST_PROBE_S", FAR_S)
    monkeypatch.setattr("analyze.lookout.LAST_LOOK_S", 3.0)  # a machine that is busy may need longer than half a second
    monkeypatch.setattr("analyze.lookout.PROBE_TIMEOUT_S", 3.0)
    async with client_of(servers, unavailable_timeout_s=0.2) as client:
        assert await asyncio.gather(*(ask(client) for _ in range(8))) == ["hello"] * 8
        for server in servers:
            server.stop()
        for _ in range(2):
            with pytest.raises(openai.APIConnectionError):
                await ask(client)
            assert ups(cores[-1]) == [False] * 4
        servers[2].start()
        await asyncio.sleep(3.0)  # for so long the last look is believed
        assert await ask(client) == "hello"
