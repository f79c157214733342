"""Ctrl-C, SIGTERM, a second Ctrl-C, a closed console: nothing recorded is lost, and it is said how to go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from analyze.runs.runner import FINISH_S
from analyze.runs.tail import SHARE
from tests.promises.conftest import Batch, account, lines, row, until, write
from tests.promises.warm import ROOT, Process

ROWS, IN_FLIGHT = 300, 8
MOST_ASKED = (ROWS + IN_FLIGHT) * (1 + SHARE)
"""After a kill: what was in flight is asked again, and of the last rows a few may be asked twice at once."""


def at_work(batch: Batch) -> Process:
    write(batch.input, [row(number) for number in range(ROWS)])
    for server in batch.servers:
        server.delay_s = 0.2
    process = batch.start("--in-flight", str(IN_FLIGHT))
    until(lambda: len(batch.asked) >= 3 * IN_FLIGHT)
    return process


def asked_twice(batch: Batch, recorded: Iterable[str]) -> list[str]:
    """Return which of these rows were asked more than once."""
    times = Counter(batch.asked)
    return [name for name in recorded if times[f"question {name.removeprefix('row-')}"] > 1]


def finish(batch: Batch) -> None:
    """The same command, at quick servers, to the end."""
    for server in batch.servers:
        server.delay_s, server.mode = 0.0, "ok"
    assert batch.run().code == 0
    assert batch.answers == {f"row-{n}": f"answer to question {n}" for n in range(ROWS)}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_lets_what_is_in_flight_finish_and_says_how_to_continue(
    batch: Batch, number: signal.Signals
) -> None:
    process = at_work(batch)
    os.kill(process.pid, number)
    ended = process.wait()
    assert ended.code == 130, ended.err
    assert "Traceback" not in ended.err
    assert f"continue with: python -m analyze.batch -i {batch.input} -o {batch.output}" in ended.err
    assert len(batch.asked) < ROWS
    assert len(lines(batch.output)) == len(batch.asked), "what was in flight is recorded"
    recorded = list(batch.answers)
    finish(batch)
    assert asked_twice(batch, recorded) == []


def test_a_second_ctrl_c_stops_at_once(batch: Batch) -> None:
    process = at_work(batch)
    recorded = len(lines(batch.output))
    for server in batch.servers:
        server.mode = "never"
    process.interrupt()
    until(lambda: "Ctrl-C stops at once" in process.err)
    process.interrupt()
    ended = process.wait(timeout_s=FINISH_S / 2)  # sooner than what is in flight may take
    assert ended.code == 130, ended.err
    assert "continue with: python -m analyze.batch" in ended.err and "Traceback" not in ended.err
    assert len(lines(batch.output)) >= recorded
    finish(batch)
    assert len(batch.asked) <= MOST_ASKED


def test_an_interrupted_run_accounts_for_what_it_has_read(batch: Batch) -> None:
    process = at_work(batch)
    process.interrupt()
    ended = process.wait()
    counts = account(ended.out)
    assert counts["ok"] == len(lines(batch.output))
    assert sum(count for name, count in counts.items() if name != "read") == counts["read"]


def test_interrupted_while_failures_are_asked_again_each_row_has_one_record(batch: Batch) -> None:
    write(batch.input, [row(number) for number in range(ROWS)])
    for server in batch.servers:
        server.refuse = lambda body: 400
    assert batch.run().code == 1
    for server in batch.servers:
        server.refuse, server.delay_s = lambda body: None, 0.2
    process = batch.start("--retry-failed", "--in-flight", "4")
    until(lambda: len(batch.answers) >= 8)
    process.interrupt()
    ended = process.wait()
    assert ended.code == 130, ended.err
    assert len(batch.answers) < ROWS
    assert not set(batch.answers) & set(batch.failed)
    assert len(batch.answers) + len(batch.failed) == ROWS


def command(batch: Batch, *flags: str) -> list[str]:
    return [sys.executable, "-m", "analyze.batch", *map(str, batch.argv(*flags))]


def environment(**more: str) -> dict[str, str]:
    folder = str(Path(sys.executable).parent)
    return {**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{folder}:{os.environ['PATH']}", **more}


def test_the_command_that_is_printed_continues_the_run_as_it_stands(batch: Batch) -> None:
    """Typed into a shell, word for word; file names with blanks and quotes included."""
    batch.input = batch.input.with_name("it's the input.jsonl")
    batch.output = batch.folder / "the output.jsonl"
    write(batch.input, [row(number) for number in range(ROWS)])
    for server in batch.servers:
        server.delay_s = 0.2
    process = subprocess.Popen(
        command(batch, "--in-flight", str(IN_FLIGHT)), env=environment(), text=True, stderr=subprocess.PIPE
    )
    until(lambda: len(batch.asked) >= IN_FLIGHT)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    (printed,) = [line.split("continue with: ")[1] for line in err.splitlines() if "continue with: " in line]
    for server in batch.servers:
        server.delay_s = 0.0
    recorded = list(batch.answers)
    done = subprocess.run(["bash", "-c", printed], env=environment(), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert len(batch.answers) == ROWS
    assert asked_twice(batch, recorded) == []


@pytest.mark.parametrize("reader", ["head -n 1", "true"])
def test_a_reader_that_goes_away_costs_no_answer(batch: Batch, reader: str) -> None:
    write(batch.input, [row(number) for number in range(20)])
    for server in batch.servers:
        server.delay_s = 0.1
    piped = subprocess.run(
        ["bash", "-c", f'"$@" | {reader}; echo "${{PIPESTATUS[0]}}" >&2', "_", *command(batch, "--in-flight", "4")],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "Traceback" not in piped.stderr and "Exception ignored" not in piped.stderr
    assert len(batch.answers) == len(lines(batch.output)) <= 20
    recorded = len(lines(batch.output))
    assert recorded >= len(batch.asked) - 4
    assert batch.run().code == 0
    assert len(batch.answers) == 20
    assert len(batch.asked) <= 20 + 4


def test_a_terminal_that_is_closed_is_no_worse_than_a_kill(batch: Batch) -> None:
    process = at_work(batch)
    os.kill(process.pid, signal.SIGHUP)
    process.wait()
    finish(batch)
    assert len(batch.asked) <= MOST_ASKED
