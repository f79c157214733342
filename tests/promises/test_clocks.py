"""The time of day may jump: a run counts its seconds on a clock that does not."""

from __future__ import annotations

import os

import pytest

from tests.promises.conftest import Batch, lines, row, write

SET_BACK = "tests.promises.wrappers:clock_set_back"
DAY_S, YEAR_S = 86_400.0, 365 * 86_400.0


@pytest.mark.parametrize("by_s", [DAY_S, -DAY_S])
def test_a_clock_that_jumps_during_a_run_changes_nothing(batch: Batch, by_s: float) -> None:
    write(batch.input, [row(number) for number in range(30)])
    for server in batch.servers:
        server.delay_s = 0.05
    ended = batch.run("--in-flight", "4", first=[SET_BACK, by_s, 0.2])
    assert ended.code == 0, ended.err
    assert len(batch.answers) == 30
    assert len(batch.asked) == 30
    assert all(0 <= line["latency_s"] < DAY_S / 2 for line in lines(batch.output))
    assert str(DAY_S)[:5] not in ended.out + ended.err


def test_a_clock_set_back_between_two_runs_changes_nothing(batch: Batch) -> None:
    write(batch.input, [row(number) for number in range(5)])
    assert batch.run().code == 0
    write(batch.input, [row(number) for number in range(9)])
    ended = batch.run(first=[SET_BACK, YEAR_S])
    assert ended.code == 0, ended.err
    assert len(batch.asked) == len(batch.answers) == 9


def test_files_from_the_future_are_files_like_any_other(batch: Batch) -> None:
    write(batch.input, [row(number) for number in range(5)])
    assert batch.run().code == 0
    for path in (batch.input, *batch.folder.iterdir()):
        os.utime(path, (4e9, 4e9))
    write(batch.input, [row(number) for number in range(6)])
    assert batch.run().code == 0
    assert len(batch.asked) == 6
