"""What becomes of requests when some or all servers misbehave, over real sockets."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from aiohttp import web

from analyze import core as core_module
from analyze.core import BULK, SINGLE, Bounds, Core, StreamBroken, Unavailable
from analyze.fleet import FIRST_REST_S, Instance
from analyze.records import Answer, Failure, Outcome, Request
from analyze.runs.tally import Tally
from tests.fake_vllm import FakeVLLM, Handler, free_port

BODY = {"model": "fake-model", "messages": [{"role": "user", "content": "Hello!"}]}
IMPATIENT = Bounds(unavailable_s=0.6)


@pytest.fixture(autouse=True)
def quick_to_examine(monkeypatch: pytest.MonkeyPatch) -> None:
    """No server of these tests says 200 to /health a moment after its end."""
    monkeypatch.setattr("analyze.lookout.EXAMINE_AGAIN_S", 0.02)


@asynccontextmanager
async def core_of(*servers: FakeVLLM) -> AsyncIterator[Core]:
    core = Core([server.url for server in servers], api_key="EMPTY")
    try:
        yield core
    finally:
        await core.aclose()


def row(number: int = 0, url: str = "/v1/chat/completions", **body: Any) -> Request:
    return Request(str(number), "asked", url, {**BODY, **body})


async def ask_all(core: Core, count: int, *, in_flight: int = 64, bounds: Bounds = BULK) -> list[Outcome]:
    slots = asyncio.Semaphore(in_flight)

    async def one(number: int) -> Outcome:
        async with slots:
            return await core.ask(row(number), bounds)

    return await asyncio.gather(*(one(number) for number in range(count)))


def kinds(outcomes: list[Outcome]) -> Counter[str]:
    return Counter("ok" if isinstance(outcome, Answer) else outcome.kind for outcome in outcomes)


def says(status: int, **headers: str) -> Handler:
    """Answers every POST with this status, while /health and /models stay fine."""

    async def handler(request: web.Request, body: dict[str, Any]) -> web.Response:
        return web.json_response({"error": {"message": f"told to say {status}"}}, status=status, headers=headers)

    return handler


def replies(raw: bytes) -> Handler:
    async def handler(request: web.Request, body: dict[str, Any]) -> web.Response:
        return web.Response(body=raw, content_type="application/json")

    return handler


# -- busy --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 503])
async def test_one_busy_server_rests_and_the_others_take_its_rows(fleet, status):
    fleet[0].handler = says(status)
    for server in fleet[1:]:
        server.delay_s = 0.02
    async with core_of(*fleet) as core:
        assert kinds(await ask_all(core, 300)) == {"ok": 300}
        assert core.fleet.up == core.fleet.instances
    assert fleet[0].asked < 300 / 4, "being quick to refuse wins no rows"


async def test_rows_outlast_servers_that_are_all_busy_for_a_while(fleet):
    for server in fleet:
        server.handler = says(503)
    asyncio.get_running_loop().call_later(1.2, lambda: [setattr(server, "handler", None) for server in fleet])
    async with core_of(*fleet) as core:
        assert kinds(await ask_all(core, 64)) == {"ok": 64}
        assert not core.gave_up


async def test_retry_after_says_how_long_a_server_rests(fake):
    server, busy = fake(), says(429, **{"Retry-After": "1.2"})

    async def once(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        server.handler = None
        return await busy(request, body)

    server.handler = once
    async with core_of(server) as core:
        started = time.monotonic()
        assert isinstance(await core.ask(row()), Answer)
        assert 1.2 <= time.monotonic() - started < 8
    assert server.asked == 2


async def test_servers_busy_for_good_use_the_patience_up_once_for_all_rows(fleet):
    for server in fleet:
        server.handler = says(503)
    async with core_of(*fleet) as core:
        outcomes = await ask_all(core, 32, bounds=IMPATIENT)
        assert kinds(outcomes) == {"server": 32} and core.gave_up
        assert all(isinstance(outcome, Failure) and outcome.status_code == 503 for outcome in outcomes)
        started = time.monotonic()
        await ask_all(core, 320, in_flight=2, bounds=IMPATIENT)
        assert time.monotonic() - started < 30, "0.6 s for each would be 96"


async def test_servers_that_are_busy_with_long_rows_of_ours_are_of_use(fleet, monkeypatch):
    """They turn others away for longer than a row is patient; one that has just come is as patient as ever."""
    monkeypatch.setattr("analyze.fleet.LAST_REST_S", 0.2)
    for server in fleet:
        server.mode = "endless"
        server.refuse = lambda body, server=server: 503 if server.in_flight > 1 else None
    async with core_of(*fleet) as core:
        first = asyncio.create_task(ask_all(core, 5))  # one finds no place
        await asyncio.sleep(2.5)
        late = asyncio.create_task(core.ask(row(user="late"), Bounds(unavailable_s=2.0)))
        async with asyncio.timeout(60):
            while not any("user" in body for server in fleet for body in server.bodies):  # noqa: ASYNC110 - threads
                await asyncio.sleep(0.01)
        for server in fleet:
            server.mode = "ok"
        assert isinstance(await late, Answer)
        assert kinds(await first) == {"ok": 5} and not core.gave_up


# -- refusals ----------------------------------------------------------------------------------------------------------


def turns_away(server: FakeVLLM, status: int) -> None:
    """Let the server refuse the key or the address to every POST and to /models, as one that was set up wrongly."""
    server.handler = says(status)
    server.models_status = status


@pytest.mark.parametrize("status", [401, 403, 404, 302])
async def test_a_server_that_alone_turns_everybody_away_is_held_out_and_costs_no_row(fleet, status):
    turns_away(fleet[1], status)
    async with core_of(*fleet) as core:
        told: list[str] = []
        core.on_change = told.append
        assert kinds(await ask_all(core, 60, in_flight=4)) == {"ok": 60}
        assert f"{fleet[1].url} is out: " in told[0] and str(status) in told[0]
    assert fleet[1].asked <= 4


async def test_a_server_that_alone_lacks_the_model_is_held_out_and_costs_no_row(fleet):
    fleet[1].handler, fleet[1].model = says(404), "other"
    async with core_of(*fleet) as core:
        assert kinds(await ask_all(core, 60, in_flight=4)) == {"ok": 60}
        assert "serves other" in (core.fleet.instances[1].reason or "")


async def test_a_server_that_came_back_with_another_model_stays_out(fleet):
    async with core_of(*fleet) as core:
        await core.survey()
        fleet[1].handler, fleet[1].model = says(404), "other"
        assert kinds(await ask_all(core, 20)) == {"ok": 20}
        await asyncio.sleep(1.0)
        assert [instance.is_up for instance in core.fleet.instances] == [True, False, True, True]
        assert (core.fleet.instances[1].reason or "").startswith("serves other")


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, "invalid"), (401, "refused"), (403, "refused"), (404, "invalid"), (302, "invalid"), (422, "invalid")],
)
async def test_what_fit_servers_refuse_is_the_rows_fault_and_is_asked_once(fleet, status, kind):
    for server in fleet:
        server.handler = says(status)
    async with core_of(*fleet) as core:
        outcome = await core.ask(row())
        assert isinstance(outcome, Failure)
        assert (outcome.kind, outcome.status_code, outcome.attempts) == (kind, status, 1)
        assert core.fleet.up == core.fleet.instances
    assert sum(server.asked for server in fleet) == 1


async def test_a_wrong_model_name_ejects_nobody(fleet):
    for server in fleet:
        server.handler = says(404)
    async with core_of(*fleet) as core:
        assert kinds([await core.ask(row(model="typo")) for _ in range(8)]) == {"invalid": 8}
        assert core.fleet.up == core.fleet.instances
    assert sum(server.asked for server in fleet) == 8


@pytest.mark.parametrize("status", [408, 409])
async def test_what_speaks_of_the_moment_is_asked_again_elsewhere_and_is_no_strike(fleet, status):
    fleet[0].handler = says(status)
    async with core_of(*fleet) as core:
        assert kinds(await ask_all(core, 40)) == {"ok": 40}
        assert core.fleet.up == core.fleet.instances


async def test_the_refusal_of_the_only_server_is_final(fake):
    server = fake()
    server.handler = says(404)
    async with core_of(server) as core:
        reply = await core.request("POST", "/chat/completions", content=orjson.dumps(BODY))
    assert (reply.status, server.asked) == (404, 1)


# -- 5xx ---------------------------------------------------------------------------------------------------------------


async def test_two_of_four_servers_that_look_healthy_and_break_every_request_cost_no_row(fleet):
    fleet[0].handler = fleet[1].handler = says(500)
    for server in fleet[2:]:
        server.delay_s = 0.02
    async with core_of(*fleet) as core:
        assert kinds(await ask_all(core, 600)) == {"ok": 600}


async def test_two_servers_that_break_together_in_the_middle_cost_one_row_at_most(fleet):
    async with core_of(*fleet) as core:
        assert kinds(await ask_all(core, 40)) == {"ok": 40}
        fleet[0].handler = fleet[1].handler = says(500)
        assert kinds(await ask_all(core, 400))["ok"] >= 399


async def test_a_row_that_breaks_on_two_working_servers_is_at_fault_and_they_are_not(fleet):
    for server in fleet:
        server.refuse = lambda body: 500 if body.get("user") == "poison" else None
    async with core_of(*fleet) as core:
        for number in range(20):
            await ask_all(core, 8)
            outcome = await core.ask(row(number, user="poison"))
            assert isinstance(outcome, Failure) and (outcome.kind, outcome.attempts) == ("server", 2)
            assert [instance.strikes for instance in core.fleet.instances] == [0, 0, 0, 0]


# -- all servers gone --------------------------------------------------------------------------------------------------


async def test_patience_with_dead_servers_is_used_up_once_and_renewed_when_one_returns(fleet):
    async with core_of(*fleet) as core:
        for server in fleet:
            server.stop()
        started = time.monotonic()
        assert kinds(await ask_all(core, 16, bounds=IMPATIENT)) == {"server": 16}
        assert core.gave_up and time.monotonic() - started >= 0.6
        started = time.monotonic()
        assert kinds(await ask_all(core, 1000, in_flight=8, bounds=IMPATIENT)) == {"server": 1000}
        assert time.monotonic() - started < 30, "0.6 s for each would be 75"
        fleet[2].start()
        async with asyncio.timeout(60):
            await core._returned.wait()
        assert not core.gave_up
        assert isinstance(await core.ask(row(), IMPATIENT), Answer)


def test_a_loop_that_stood_still_looks_at_the_servers_before_it_gives_up(fake, monkeypatch):
    monkeypatch.setattr(core_module, "LATE_S", 0.2)
    server, loop = fake(), asyncio.new_event_loop()
    core = Core([server.url], api_key="EMPTY")
    server.stop()
    assert isinstance(loop.run_until_complete(core.ask(row(), IMPATIENT)), Failure)
    server.start()
    time.sleep(2.0)  # nobody runs the loop, so nobody probes
    assert isinstance(loop.run_until_complete(core.ask(row(), IMPATIENT)), Answer)
    loop.run_until_complete(core.aclose())
    loop.close()


async def test_slow_failures_do_not_eat_the_patience_while_others_are_up(fleet):
    async def slowly_reset(request: web.Request, body: dict[str, Any]) -> web.Response:
        await asyncio.sleep(0.4)
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    fleet[0].handler = fleet[1].handler = slowly_reset
    async with core_of(*fleet) as core:
        assert isinstance(await core.ask(row(), Bounds(unavailable_s=0.2)), Answer)


async def test_who_goes_out_is_told_with_who_is_left(fake):
    urls = [f"http://127.0.0.1:{free_port()}/v1" for _ in range(3)]
    core, told = Core(urls, api_key="EMPTY"), []
    core.on_change = told.append
    with pytest.raises(Unavailable, match="no server is up"):
        await core.request("GET", "/models", bounds=IMPATIENT)
    await core.aclose()
    assert [line.partition("; ")[2] for line in told] == [
        "its requests go to the 2 others",
        "its requests go to the other one",
        "no server is left, requests wait",
    ]


# -- replies that are none ---------------------------------------------------------------------------------------------

ODD: list[tuple[str, bytes]] = [
    ("chat/completions", b'{"error": {"message": "boom"}}'),
    ("chat/completions", b"{}"),
    ("chat/completions", b"[]"),
    ("chat/completions", b"null"),
    ("chat/completions", b'{"choices": []}'),
    ("chat/completions", b'{"choices": null}'),
    ("chat/completions", b'{"choices": [null]}'),
    ("chat/completions", b'{"choices": "x"}'),
    ("chat/completions", b'{"choices": {"0": 1}}'),
    ("chat/completions", b'{"choices": [{}]}'),
    ("chat/completions", b'{"choices": [{"message": "hello"}]}'),
    ("chat/completions", b'{"choices": [{"message": {"content": {"a": 1}}}]}'),
    ("chat/completions", b'{"choices": [{"message": {"content": "x"}}], "usage": [1]}'),
    ("chat/completions", b'{"choices": [{"message": {"content": "x"}, "finish_reason": "abort"}]}'),
    ("chat/completions", b"[" * 100_000),
    ("chat/completions", b'{"a":' * 100_000),
    ("chat/completions", b"\xff\xfe"),
    ("completions", b'{"choices": [{"message": {"content": "x"}}]}'),
    ("embeddings", b'{"object": "list"}'),
    ("embeddings", b'{"data": []}'),
    ("responses", b'{"id": "resp_1"}'),
    ("score", b'{"error": "no such thing"}'),
]


@pytest.mark.parametrize(("path", "raw"), ODD, ids=range(len(ODD)))
async def test_a_reply_that_is_no_answer_is_a_failure_of_the_servers_and_never_raises(fleet, path, raw):
    for server in fleet:
        server.handler = replies(raw)
    async with core_of(*fleet) as core:
        outcome = await core.ask(row(url=f"/v1/{path}"))
    assert isinstance(outcome, Failure) and outcome.kind == "server" and "garbled" in outcome.message
    assert sum(server.asked for server in fleet) == BULK.attempts


GOOD: list[tuple[str, dict[str, Any]]] = [
    ("chat/completions", {"choices": [{"message": {"content": None, "tool_calls": []}}], "usage": None}),
    ("chat/completions", {"choices": [{"message": {"content": "x"}}], "usage": {"prompt_tokens": "many"}}),
    ("completions", {"choices": [{"text": ""}]}),
    ("embeddings", {"data": [{"embedding": [0.1]}], "usage": {"prompt_tokens": 2.5}}),
    ("responses", {"output": [], "error": None}),
    ("score", {"anything": 1}),
]


@pytest.mark.parametrize(("path", "body"), GOOD, ids=range(len(GOOD)))
async def test_an_unusual_answer_is_an_answer_and_can_be_counted(fleet, path, body):
    fleet[0].handler = replies(orjson.dumps(body))
    async with core_of(fleet[0]) as core:
        outcome = await core.ask(row(url=f"/v1/{path}"))
    assert isinstance(outcome, Answer) and outcome.body == body
    tally = Tally()
    tally.add(outcome)
    assert tally.usage() == {"prompt_tokens": 0, "completion_tokens": 0}


@pytest.mark.parametrize(
    "raw", [b'{"error": ' + b"[" * 400 + b"]" * 400 + b"}", b"[" * 100_000, b'{"error": {"message": 5}}']
)
async def test_an_error_of_any_shape_has_a_message(fake, raw):
    async def handler(request: web.Request, body: dict[str, Any]) -> web.Response:
        return web.Response(status=400, body=raw)

    server = fake()
    server.handler = handler
    async with core_of(server) as core:
        outcome = await core.ask(row())
    assert isinstance(outcome, Failure) and outcome.kind == "invalid" and outcome.message == raw[:500].decode()


# -- streams -----------------------------------------------------------------------------------------------------------


async def streamed(core: Core) -> tuple[Instance, AsyncIterator[bytes], Callable[[], None]]:
    reply = await core.request("POST", "/chat/completions", content=orjson.dumps({**BODY, "stream": True}), stream=True)
    assert reply.chunks is not None
    return reply.instance, reply.chunks, reply.close


async def test_a_stream_counts_as_answered_when_it_has_ended_not_before(fake):
    server = fake()
    async with core_of(server) as core:
        instance, chunks, close = await streamed(core)
        assert (instance.answers, instance.in_flight) == (0, 1)
        assert b"[DONE]" in b"".join([chunk async for chunk in chunks])
        close()
        assert (instance.answers, instance.in_flight, instance.strikes) == (1, 0, 0)


async def test_a_stream_that_the_caller_closes_early_is_an_answer(fake):
    server = fake(reply="x" * 1000)
    async with core_of(server) as core:
        instance, chunks, close = await streamed(core)
        await anext(chunks)
        close()
        close()
        assert (instance.answers, instance.in_flight, instance.strikes) == (1, 0, 0)


async def test_streams_that_break_put_their_server_out(fake):
    server = fake()
    server.mode = "cut-stream"
    async with core_of(server) as core:
        for strikes in (1, 2, 3):
            instance, chunks, close = await streamed(core)
            with pytest.raises(StreamBroken):
                [chunk async for chunk in chunks]
            close()
            assert (instance.answers, instance.in_flight, instance.strikes) == (0, 0, strikes)
        assert not instance.is_up


# -- out of time -------------------------------------------------------------------------------------------------------


async def test_a_row_that_runs_out_of_time_is_asked_once_more_elsewhere(fleet):
    quick = Bounds(total_s=3.0, slow_asks=BULK.slow_asks)
    fleet[0].mode = "hang"
    async with core_of(*fleet) as core:
        outcome = await core.ask(row(), quick)
        assert isinstance(outcome, Answer) and (outcome.instance, outcome.attempts) == (fleet[1].url, 2)
        for server in fleet:
            server.mode = "hang"
        failure = await core.ask(row(), quick)
        assert isinstance(failure, Failure) and (failure.kind, failure.attempts) == ("timeout", 2)
    assert (BULK.slow_asks, SINGLE.slow_asks) == (2, 1)


async def test_a_slow_row_is_not_asked_again_where_it_was_slow(fake):
    server = fake()
    server.mode = "hang"
    async with core_of(server) as core:
        failure = await core.ask(row(), Bounds(total_s=2.0, slow_asks=2))
    assert isinstance(failure, Failure) and (failure.kind, server.asked) == ("timeout", 1)


async def test_a_rest_is_no_longer_than_the_wait_for_it(fake):
    """The wait ends with the rest: a row is served within a moment of it."""
    server = fake()
    async with core_of(server) as core:
        started = time.monotonic()
        core.fleet.busy(core.fleet.instances[0], started)
        assert isinstance(await core.ask(row()), Answer)
        assert FIRST_REST_S - 0.01 <= time.monotonic() - started < FIRST_REST_S + 5
