"""A program that takes too much is ended, with all that it started."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from analyze.facts import bounded
from analyze.facts.bounded import GaveUp, run_python


def test_what_a_program_prints_is_returned_also_when_it_found_something(tmp_path: Path) -> None:
    """Exit status 1 is how ruff and bandit say that there are findings."""
    code = "import sys; print(sys.stdin.read().upper()); sys.exit(1)"
    assert run_python(["-c", code], folder=tmp_path, stdin=b"hello", cpu_s=5) == b"HELLO\n"


def test_endless_work_is_ended_by_its_cpu_time(tmp_path: Path) -> None:
    with pytest.raises(GaveUp, match="over 1 s of CPU"):
        run_python(["-c", "while True: pass"], folder=tmp_path, cpu_s=1)


def test_a_sleeper_and_what_it_started_are_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "WALL_PER_CPU", 10)  # as it is, this would take a minute
    code = "import subprocess as s; p = s.Popen(['sleep', '600']); open('pid', 'w').write(str(p.pid)); p.wait()"
    with pytest.raises(GaveUp, match="over 10 s"):
        run_python(["-c", code], folder=tmp_path, cpu_s=1)
    sleeper = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 60
    while _runs(sleeper) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _runs(sleeper)


def _runs(pid: int) -> bool:
    """Whether the process is there and is not merely waiting to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_memory_and_output_are_bounded(tmp_path: Path) -> None:
    hoard = "try:\n    x = b' ' * (3 << 30)\nexcept MemoryError:\n    print('refused')"
    assert run_python(["-c", hoard], folder=tmp_path, cpu_s=5) == b"refused\n"
    flood = "import os\ntry:\n    while True: os.write(1, b' ' * (1 << 20))\nexcept OSError:\n    os._exit(0)"
    assert len(run_python(["-c", flood], folder=tmp_path, cpu_s=20)) <= 64 << 20


def test_limits_hold_from_the_first_moment_however_late_we_come_to_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy machine a program may run before whoever started it does."""

    class Late(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.wait()

    monkeypatch.setattr(subprocess, "Popen", Late)
    code = (
        "import resource as r; print([r.getrlimit(getattr(r, f'RLIMIT_{n}')) for n in ('CPU', 'AS', 'FSIZE', 'CORE')])"
    )
    limits = [(5, 6), (2 << 30,) * 2, (64 << 20,) * 2, (0, 0)]
    assert run_python(["-c", code], folder=tmp_path, cpu_s=5) == f"{limits}\n".encode()


def test_a_crash_is_told_by_its_signal(tmp_path: Path) -> None:
    with pytest.raises(GaveUp, match="ended by SIGSEGV"):
        run_python(["-c", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"], folder=tmp_path, cpu_s=5)


def test_our_environment_stays_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "secret")
    printed = run_python(["-c", "import os; print(sorted(os.environ))"], folder=tmp_path, cpu_s=5)
    assert b"VLLM_API_KEY" not in printed and "VLLM_API_KEY" in os.environ
