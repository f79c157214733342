"""A function in a second process: what it returns, what it raises, and how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from analyze.errors import AnalyzeError
from analyze.report import beside, build_report
from analyze.report.beside import Beside, Worker, at_work
from tests.report import factory


class Answering(Worker[object]):
    """A worker that comes to what it is given."""

    def __init__(self, answer: Callable[[], object]) -> None:
        self._answer = answer

    def finish(self) -> None:
        self._found = self._answer()

    def result(self) -> object:
        return self._found


class Keeping(Worker[list[str]]):
    """A worker that keeps what it is told."""

    def __init__(self) -> None:
        self._told: list[str] = []

    def take(self, said: str, /) -> None:
        self._told.append(said)

    def finish(self) -> None:
        self._told.append("finished")

    def result(self) -> list[str]:
        return self._told


class Writing(Keeping):
    """A worker that makes a file of what it is told, at once."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def take(self, said: str, /) -> None:
        self._path.write_text(said)


class Refusing(Worker[None]):
    def __init__(self) -> None:
        raise ValueError("no such thing")


def noisy_pid() -> int:
    os.write(1, b"a library says hello\n")
    return os.getpid()


def be_killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def sleep() -> None:
    time.sleep(60)


def is_alive(pid: int) -> bool:
    """A process whose parent is gone stays a zombie where nobody reaps it."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_the_result_is_of_another_process_whatever_is_printed_there() -> None:
    with Beside(Answering, noisy_pid) as other:
        other.finish()
        assert other.result() not in (None, os.getpid())


def test_what_a_worker_is_told_comes_in_order_and_whole() -> None:
    said = [f"{number} " + "x" * 1_000 for number in range(3_000)]  # more than a pipe holds
    with Beside(Keeping) as other:
        for one in said:
            other.take(one)
        other.finish()
        assert other.result() == [*said, "finished"]


def test_what_a_worker_is_told_reaches_it_before_that_was_all(tmp_path: Path) -> None:
    heard = tmp_path / "heard"
    with Beside(Writing, heard) as other:
        other.take("hello")
        until = time.monotonic() + 180  # it imports what it needs
        while not heard.exists() and time.monotonic() < until:
            time.sleep(0.02)
        assert heard.exists()


def test_an_error_of_the_other_process_is_raised_here_with_its_traceback() -> None:
    with Beside(Refusing) as other, pytest.raises(ValueError, match="no such thing") as raised:
        other.take("x" * 10_000_000)  # which nobody reads
        other.finish()
        other.result()
    assert 'raise ValueError("no such thing")' in "".join(raised.value.__notes__)


def test_a_process_that_is_killed_is_an_error_with_a_cure() -> None:
    with Beside(Answering, be_killed) as other, pytest.raises(AnalyzeError, match="free some memory"):
        other.finish()
        other.result()


def test_what_interrupts_the_first_process_ends_the_second() -> None:
    with pytest.raises(KeyboardInterrupt), Beside(Answering, sleep) as other:
        pid = other._process.pid
        raise KeyboardInterrupt
    assert not is_alive(pid)


@pytest.mark.parametrize("cores", [1, 2])
def test_on_one_core_the_work_is_done_here(cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside, "_has_two_cores", lambda: cores > 1)
    with at_work(Answering, os.getpid, beside=True) as worker:
        worker.finish()
        assert (worker.result() == os.getpid()) == (cores == 1)


@pytest.mark.parametrize("is_asked", [False, True])
def test_a_second_process_does_not_outlive_the_first(is_asked: bool) -> None:
    """It is killed while the other waits to be told something, or while it works out its result."""
    asked = "other.finish(); time.sleep(0.5); " if is_asked else ""
    code = (
        "import os, time; from analyze.report.beside import Beside; from tests.report.test_beside import *\n"
        f"with Beside(Answering, sleep) as other: {asked}print(other._process.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=False)
    until = time.monotonic() + 120
    while is_alive(int(done.stdout)) and time.monotonic() < until:
        time.sleep(0.02)
    assert not is_alive(int(done.stdout))


def test_a_large_run_comes_to_the_files_that_a_small_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = factory.run_of(tmp_path / "run", 5)
    monkeypatch.setattr(beside, "_has_two_cores", lambda: False)
    here = {name: path.read_bytes() for name, path in build_report(folder, lang="en").items()}
    monkeypatch.setattr(beside, "LARGE_BYTES", 0)
    monkeypatch.setattr(beside, "_has_two_cores", lambda: True)
    assert {name: path.read_bytes() for name, path in build_report(folder, lang="en").items()} == here
