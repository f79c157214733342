"""One of four servers fails in every way a server can, while the sync, async, streaming and bulk path ask."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import web

from tests.fake_vllm import FakeVLLM, Handler, chat_reply
from tests.faults.conftest import until
from tests.faults.paths import PATHS, Run, row_of

ROWS = 240
HEDGES = 0.02 * ROWS
STRIKES = 3
BROKEN_STREAM = {"APIConnectionError", "APIError"}


@dataclass(frozen=True)
class Fault:
    """`put_out`: the server is; else it is busy. `begins`: an answer has begun by then, so that a stream must raise.

    `is_silent`: it fails no request, and is noticed by its silence alone.
    """

    name: str
    begin: Callable[[FakeVLLM], object]
    put_out: bool = True
    begins: bool = False
    is_silent: bool = False
    paths: tuple[str, ...] = tuple(PATHS)


def mode(name: str) -> Callable[[FakeVLLM], object]:
    return lambda server: setattr(server, "mode", name)


def busy(retry_after: str | None) -> Callable[[FakeVLLM], object]:
    def begin(server: FakeVLLM) -> None:
        server.mode, server.retry_after = "503", retry_after

    return begin


WHOLE = ("sync", "async", "bulk")  # what is wrong with a whole body
FAULTS = [
    Fault("refused", FakeVLLM.crash),
    Fault("reset before the reply", mode("reset")),
    Fault("reset after the headers", mode("reset-after-headers")),
    Fault("reset in the body", mode("reset-in-body"), begins=True),
    Fault("half a body", mode("half"), begins=True),
    Fault("garbage", mode("garbage")),
    Fault("cut JSON", mode("cut-json"), paths=WHOLE),
    Fault("abort", mode("abort"), paths=WHOLE),
    Fault("an error in place of a stream", mode("error-event"), paths=("stream",)),
    Fault("500", mode("500")),
    Fault("503", busy(None), put_out=False),
    Fault("503 with Retry-After", busy("0.3"), put_out=False),
    Fault("never generates", mode("never"), begins=True),
    Fault("ignores everything", mode("freeze"), begins=True),
]


def each(faults: list[Fault]) -> pytest.MarkDecorator:
    pairs = [(fault, path) for fault in faults for path in fault.paths]
    return pytest.mark.parametrize(("fault", "path"), pairs, ids=[f"{path}: {fault.name}" for fault, path in pairs])


def no_row_is_lost(run: Run, path: str, broken_streams: int = 0) -> None:
    """All rows are answered, but for streams that had begun: those raise, and nobody asks them again."""
    if path == "stream" and broken_streams:
        assert len(run.lost) <= broken_streams and set(run.lost.values()) <= BROKEN_STREAM, run.lost
        assert all(run.asked[row] == 1 for row in run.lost)
    else:
        assert run.lost == {}


@each(FAULTS)
def test_a_server_that_fails_in_the_middle_costs_no_row(fault: Fault, path: str, servers, run):
    failing = servers[1]
    done = run(path, ROWS, {60: lambda: fault.begin(failing)})
    no_row_is_lost(done, path, broken_streams=failing.peak + STRIKES + done.returns if fault.begins else 0)
    assert done.thrown_out == ([1] if fault.put_out else [])
    if fault.put_out:  # what it held, what it was given until that had come back, and one try a return
        assert done.extra <= 2 * max(failing.peak, STRIKES) + done.returns + HEDGES
    else:
        assert failing.asked <= ROWS / 4 + HEDGES, "being quick to refuse wins no rows"


@each([fault for fault in FAULTS if fault.name in ("refused", "never generates", "ignores everything")])
def test_a_server_that_fails_from_the_start_costs_no_row(fault: Fault, path: str, servers, run):
    fault.begin(servers[1])
    done = run(path, ROWS, {})
    assert done.lost == {}
    assert not done.core.fleet.instances[1].is_up
    assert done.extra <= servers[1].peak + STRIKES + done.returns + HEDGES


@each(
    [
        Fault("restarted", FakeVLLM.crash),
        Fault("reset before the reply", mode("reset"), paths=("bulk",)),
        Fault("500", mode("500"), paths=("async", "bulk")),
        Fault("never generates", mode("never"), is_silent=True, paths=("async", "bulk")),
        Fault("ignores everything", mode("freeze"), is_silent=True, paths=("async", "bulk")),
    ]
)
def test_a_server_that_is_well_again_is_asked_again(fault: Fault, path: str, servers, run, cores):
    """Or started again, where it had ended."""
    healed, others = servers[1], [*servers[:1], *servers[2:]]
    asked = []

    def work(mode: str) -> None:
        for server in others:
            server.mode = mode

    def heal() -> None:
        until(lambda: not cores[-1].fleet.instances[1].is_up)
        work("endless")  # rows are left for it, however long it takes to come back
        asked.append(healed.asked)
        healed.mode = "ok"
        if not healed.alive:
            healed.start()
        until(lambda: cores[-1].fleet.instances[1].is_up)
        work("ok")

    def fall_ill() -> None:
        if fault.is_silent:
            work("endless")
        fault.begin(healed)
        threading.Thread(target=heal, daemon=True).start()

    done = run(path, 480, {60: fall_ill})
    assert done.lost == {}
    assert done.thrown_out == [1] and f"{healed.url} is back" in done.said
    assert healed.asked > asked[0] + 5
    assert done.core.fleet.instances[1].is_up


@pytest.mark.parametrize("path", PATHS)
def test_a_server_that_is_only_slow_is_neither_put_out_nor_asked_twice(path, servers, run):
    """Its answers come in drips, for longer than a server that has stopped is borne with."""
    for server in servers:
        server.slots = None
    servers[1].mode = "drip"
    done = run(path, 48, {})
    assert done.lost == {} and done.thrown_out == []
    assert done.extra <= 0.02 * 48


@pytest.mark.parametrize("path", WHOLE)
def test_a_long_prefill_is_no_death(path, servers, run):
    """No token comes for long, but the prompt takes up more and more of the memory."""

    def prefill(server: FakeVLLM) -> Handler:
        async def handler(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
            for _ in range(80 if row_of(body) == 7 else 0):
                await asyncio.sleep(0.05)
                server.kv_cache_usage += 0.01
            return web.json_response(chat_reply("hello"))

        return handler

    for server in servers:
        server.handler = prefill(server)
    done = run(path, 48, {})
    assert done.lost == {} and done.thrown_out == []
    assert done.extra <= 0.02 * 48


@pytest.mark.parametrize(
    ("path", "card", "value"), [*((path, "root", "/models/other") for path in PATHS), ("async", "max_model_len", 4096)]
)
def test_a_server_that_comes_back_with_other_weights_under_the_same_name_is_held_out_and_named(
    path, card, value, servers, run, cores
):
    changed, others = servers[1], [*servers[:1], *servers[2:]]
    asked = []

    def work(servers: list[FakeVLLM], mode: str) -> None:
        for server in servers:
            server.mode = mode

    def begin() -> None:
        until(lambda: cores and all(instance.models for instance in cores[-1].fleet.instances))
        work(servers, "ok")

    def come_back() -> None:
        """Once it is known to have died: one that is there again at once passes for one that has lost a connection."""
        until(lambda: cores[-1].fleet.instances[1].deaths and not cores[-1].fleet.instances[1].is_up)
        asked.append(changed.asked)
        setattr(changed, card, value)
        changed.start()
        until(lambda: str(value) in (cores[-1].fleet.instances[1].reason or ""))
        work(others, "ok")

    def change() -> None:
        work(others, "endless")  # rows are left for it, however long it takes to come back
        changed.crash()
        threading.Thread(target=come_back, daemon=True).start()

    work(servers, "endless")
    threading.Thread(target=begin, daemon=True).start()  # when it is known what each serves
    done = run(path, 400, {60: change})
    assert done.thrown_out == [1] and len(done.lost) <= (changed.peak if path == "stream" else 0)
    assert changed.asked == asked[0], "it is asked nothing any more"
    instance = done.core.fleet.instances[1]
    assert not instance.is_up
    assert str(value) in (instance.reason or "")
