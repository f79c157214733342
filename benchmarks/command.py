"""A command in a process of its own, looked at from outside while it runs: wall time, CPU, memory, how far it is."""

from __future__ import annotations

import os
import select
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from benchmarks import peers
from benchmarks.rig import OURS, Failed
from benchmarks.workloads import Row, row

LOOK_EVERY_S = 0.05
LONGEST_S = 900.0
ON_DISK = "/var/tmp"
"""Where the files of these benchmarks are made: /tmp may be memory, and what is synced to memory costs nothing."""

MB = 1e6
TICK_S = 1 / os.sysconf("SC_CLK_TCK")

PROMPT = "Is this a question about medicine? Answer with yes or no, and give the reason in a sentence. "


@dataclass(frozen=True, slots=True)
class Look:
    """A process at one moment: seconds since its start, CPU seconds so far, resident bytes, how far it was."""

    at_s: float
    cpu_s: float
    rss: int
    done: float


@dataclass(slots=True)
class Ran:
    """What a command took, its start and imports included, and what was seen of it on the way.

    `peak` is of the command and the processes that it has started, each at its own most: no less than they ever had.
    """

    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak: int = 0
    looks: list[Look] = field(default_factory=list)

    def at(self, share: float) -> Look:
        """Return the first look at which it had done this share of all that it had done at the last look."""
        wanted = share * self.looks[-1].done
        return next(look for look in self.looks if look.done >= wanted)


def run(
    command: Sequence[str], *, look_every_s: float = LOOK_EVERY_S, progress: Callable[[], float] = lambda: 0.0
) -> Ran:
    """Run a command to its end. Raises Failed where it ends in anything but 0."""
    ran, started = Ran(), time.monotonic()
    with tempfile.TemporaryFile("w+") as said:
        process = start(command, stdout=said)
        end = os.pidfd_open(process.pid)  # seen at once, however seldom one looks
        try:
            while not _ended(process, ran):
                if (look := _look(process.pid, time.monotonic() - started, progress())) is not None:
                    ran.looks.append(look)
                    ran.peak = max(ran.peak, sum(map(peak_of, (process.pid, *_children(process.pid)))))
                if time.monotonic() - started > LONGEST_S:
                    raise Failed(f"was not done after {LONGEST_S:.0f} s")
                select.select([end], [], [], look_every_s)
            ran.wall_s = time.monotonic() - started
        finally:
            os.close(end)
            process.kill()  # nothing to it, if it has ended
        if process.returncode:
            raise ended_badly(process, said)
    return ran


def start(command: Sequence[str], *, stdin: int | IO[Any] = subprocess.DEVNULL, stdout: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command,
        stdin=stdin,
        stdout=stdout,
        stderr=stdout,
        text=True,
        cwd=peers.ROOT,
        env={**os.environ, "ANALYZE_LANG": "en", "NO_PROXY": "*"},
    )


def ended_badly(process: subprocess.Popen[str], said: IO[str]) -> Failed:
    """Return the error of a command, with what it said at last: the problem, and the cure in a line of its own."""
    said.seek(0)
    return Failed(f"ended with {process.returncode}: {peers.last_line(' '.join(said.read().splitlines()[-2:]))}")


def _ended(process: subprocess.Popen[str], ran: Ran) -> bool:
    pid, status, usage = os.wait4(process.pid, os.WNOHANG)
    if pid:
        process.returncode = os.waitstatus_to_exitcode(status)
        ran.cpu_s = usage.ru_utime + usage.ru_stime
    return bool(pid)


def _look(pid: int, at_s: float, done: float) -> Look | None:
    """Return None of a process that has just ended."""
    times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    rss = _bytes_of(pid, "VmRSS")
    return Look(at_s, (int(times[11]) + int(times[12])) * TICK_S, rss, done) if rss else None


def _children(pid: int) -> list[int]:
    """Return the processes that one has started, by any of its threads, and that still run.

    One whose command line is still the parent's has not begun: until then it shows the parent's memory as its own.
    """
    found: list[int] = []
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # a thread that has just ended
            found += map(int, thread.read_text().split())
    own = _command_line(pid)
    return [child for child in found if _command_line(child) != own]


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def peak_of(pid: int) -> int:
    """Return the most bytes that were ever resident. The kernel's count for wait4 has those of the parent in it."""
    return _bytes_of(pid, "VmHWM")


def _bytes_of(pid: int, name: str) -> int:
    try:
        found = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith(name)]
    except OSError:  # a child that has just ended
        return 0
    return int(found[0].split()[1]) * 1024 if found else 0


# -- what is run ---------------------------------------------------------------------------------------------------


def batch(requests: str | Path, answers: Path, urls: Iterable[str]) -> list[str]:
    """Return the command line of a batch, as a user types it."""
    servers = [word for url in urls for word in ("--base-url", url)]
    return [OURS, "-m", "analyze.batch", "-i", str(requests), "-o", str(answers), *servers]


def chats(count: int, size: int = 1000, *, start: int = 0) -> Iterable[Row]:
    """Chats whose prompts are of about so many bytes, and differ from their first words on."""
    prompt = PROMPT * (size // len(PROMPT))
    return (row(f"row-{number}", f"{number}: {prompt}", 60) for number in range(start, start + count))
