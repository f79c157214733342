"""A row that ends every server it is sent to: it is found out before it has ended all of them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.fake_vllm import FakeVLLM
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


def test_in_bulk_it_alone_is_lost_where_servers_are_started_again(servers, run):
    def dies(server: FakeVLLM) -> None:
        def kill_on(body: dict[str, Any]) -> bool:
            if is_poison(body):
                threading.Timer(0.3, server.start).start()
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
    """Servers die a moment after they have taken it, in which it is out at two of them."""
    for server in servers:
        server.kill_on = lambda body: row_of(body) == ROWS - 1
        server.kill_after_s = 1.5
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
