"""A row that ends every server it is sent to: it is found out before it has ended all of them."""

from __future__ import annotations

import threading
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
