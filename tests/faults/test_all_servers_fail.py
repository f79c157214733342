"""All four servers fail together, or seem to, on each path: nothing is lost, and nobody is thrown out for nothing."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.fake_vllm import FakeVLLM
from tests.faults.conftest import TIMES_S, until
from tests.faults.paths import IN_FLIGHT, PATHS, row_of

ROWS = 240
SILENT_S, STALLED_S = TIMES_S["analyze.watch.SILENT_S"], TIMES_S["analyze.watch.STALLED_S"]


def later(seconds: float, servers: list[FakeVLLM], mode: str = "ok") -> None:
    def change() -> None:
        for server in servers:
            server.mode = mode

    threading.Timer(seconds, change).start()


@pytest.mark.parametrize("path", PATHS)
def test_while_all_are_down_rows_wait_and_somebody_says_so(path, servers, run, cores):
    def is_understood() -> bool:
        """Whether all are out, and each is known to have died: one restarted sooner would pass for one that did not."""
        return all(instance.deaths and not instance.is_up for instance in cores[-1].fleet.instances)

    def start_again() -> None:
        until(is_understood)
        for server in servers:
            server.start()

    def power_cut() -> None:
        with ThreadPoolExecutor(4) as at_once:
            list(at_once.map(FakeVLLM.crash, servers))
        threading.Thread(target=start_again, daemon=True).start()

    done = run(path, ROWS, {60: power_cut})
    assert len(done.lost) <= (IN_FLIGHT if path == "stream" else 0), done.lost
    assert done.thrown_out == [0, 1, 2, 3]
    assert any("no server is left, requests wait" in line for line in done.said)
    assert done.returns >= 1


@pytest.mark.parametrize("path", PATHS)
def test_while_all_are_busy_rows_wait_and_nobody_is_thrown_out(path, servers, run):
    def rush_hour() -> None:
        for server in servers:
            server.mode = "503"
        later(0.8, servers)

    done = run(path, ROWS, {60: rush_hour})
    assert done.lost == {} and done.thrown_out == []


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("mode", "seconds"), [("freeze", 1.2 * SILENT_S), ("never", 1.2 * STALLED_S)])
def test_a_stall_of_all_throws_out_half_of_them_at_most(mode, seconds, path, servers, run):
    def stall() -> None:
        for server in servers:
            server.mode = mode
        later(seconds, servers)

    done = run(path, ROWS, {60: stall})
    assert done.lost == {}
    assert len(done.thrown_out) <= 2
    assert done.extra <= sum(server.peak for server in servers) / 2 + 0.02 * ROWS


@pytest.mark.parametrize("path", PATHS)
def test_a_third_of_all_rows_refused_throws_nobody_out_and_asks_no_such_row_twice(path, servers, run):
    for server in servers:
        server.refuse = lambda body: 400 if (row_of(body) or 1) % 3 == 0 else None
    done = run(path, ROWS, {})
    refused = range(3, ROWS, 3)
    assert set(done.lost) == set(refused) and set(done.lost.values()) <= {"invalid", "BadRequestError"}
    assert {done.asked[row] for row in refused} == {1}
    assert done.thrown_out == []
