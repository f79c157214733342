"""The end of a bulk run, when servers stand idle and the last rows are with the slowest one."""

from __future__ import annotations

import time

from tests.faults.conftest import until

ROWS = 1000


def test_the_last_rows_of_a_slow_server_are_asked_elsewhere_too(servers, run):
    """It would need two minutes for what it holds from the start; the others need 2 s for all rows."""
    slow = servers[2]
    for server in servers:
        server.delay_s = 30.0 if server is slow else 0.02
    started = time.monotonic()
    done = run("bulk", ROWS, {})
    assert done.lost == {} and done.thrown_out == []
    assert time.monotonic() - started < 60
    assert 1 <= done.extra <= 0.02 * ROWS
    assert max(done.asked.values()) == 2
    until(lambda: slow.disconnects >= 1)  # the loser is cancelled
