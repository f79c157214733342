"""A row that ends every server it is sent to: it is found out before it has ended all of them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from tests.fake_vllm import STEP_S, FakeVLLM, Handler, chat_reply
from tests.faults.conftest import until
from tests.faults.paths import row_of

ROWS = 240
POISON = 77


def is_poison(body: dict[str, Any]) -> bool:
    return row_of(body) == POISON


def test_in_bulk_it_alone_is_lost_and_one_server_at_least_survives(servers, run):
    for server in servers:
        server.kill_on = is_poison
    done = run("bulk", ROWS, {})
    assert done.lost == {POISON: "poison"}
    assert any(server.alive for server in servers)
    assert done.asked[POISON] <= 3


def test_in_bulk_it_alone_is_lost_where_servers_are_started_again(servers, run, cores):
    def start_again(server: FakeVLLM, deaths: int) -> None:
        """Once it is known to have died: one that is there again at once passes for one that has lost a connection."""
        until(lambda: deaths_of(server) > deaths and not server.alive)
        server.start()

    def deaths_of(server: FakeVLLM) -> int:
        return cores[-1].fleet.instances[servers.index(server)].deaths

    def dies(server: FakeVLLM) -> None:
        def kill_on(body: dict[str, Any]) -> bool:
            if is_poison(body):
                threading.Thread(target=start_again, args=[server, deaths_of(server)], daemon=True).start()
            return is_poison(body)

        server.kill_on = kill_on

    for server in servers:
        dies(server)
    done = run("bulk", ROWS, {})
    assert done.lost == {POISON: "poison"}
    assert done.asked[POISON] <= 3


@pytest.mark.parametrize("path", ["sync", "async", "stream"])
def test_a_single_call_raises_after_two_servers(path, servers, run):
    """So do, at most, those that were with it both times: nobody can tell them from it at once."""
    for server in servers:
        server.kill_on = is_poison
    done = run(path, ROWS, {})
    assert done.lost[POISON] == "APIConnectionError"
    assert sum(not server.alive for server in servers) <= 2 and done.asked[POISON] <= 2
    begun = sum(server.peak for server in servers if not server.alive) if path == "stream" else 0
    assert len(done.lost) <= min(server.peak for server in servers if not server.alive) + begun


def test_among_the_last_rows_which_idle_servers_are_asked_too_it_ends_two_servers_at_most(servers, run):
    """The first dies when it is out at a second one, which would die seconds later if it kept it."""
    taken: list[FakeVLLM] = []

    async def die(server: FakeVLLM) -> None:
        taken.append(server)
        steps = {1: 1200, 2: 200}.get(len(taken), 0)
        while steps and not (taken[0] is server and len(taken) > 1):
            await asyncio.sleep(STEP_S)
            server.generation_tokens += 1
            steps -= 1
        server._die()

    def deadly(server: FakeVLLM) -> Handler:
        async def handler(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
            if row_of(body) == ROWS - 1:
                await die(server)
            return web.json_response(chat_reply("hello"))

        return handler

    for server in servers:
        server.handler = deadly(server)
    done = run("bulk", ROWS, {})
    assert done.lost == {ROWS - 1: "poison"}
    assert sum(server.alive for server in servers) >= 2


def test_a_row_that_has_ended_a_server_is_not_asked_at_two_at_once(servers, run):
    """It ends the first at once, the next ones a moment later: all four, if idle servers were given it too."""
    taken: list[FakeVLLM] = []

    def ends(server: FakeVLLM) -> Callable[[dict[str, Any]], bool]:
        def kill_on(body: dict[str, Any]) -> bool:
            if row_of(body) == ROWS - 1:
                server.kill_after_s = 1.0 if taken else 0.0
                taken.append(server)
            return row_of(body) == ROWS - 1

        return kill_on

    for server in servers:
        server.kill_on = ends(server)
    done = run("bulk", ROWS, {})
    assert done.lost == {ROWS - 1: "poison"}
    assert len(taken) <= 3 and any(server.alive for server in servers)
