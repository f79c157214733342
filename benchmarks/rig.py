"""Servers up, a client in a process of its own against them, and what it took: the setting of every measurement."""

from __future__ import annotations

import json
import os
import resource
import signal
import statistics
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import peers
from benchmarks.engine import Profile

LONGEST_RUN_S = 240.0
OURS = sys.executable
ENVIRONMENTS = {"litellm": "litellm"} | dict.fromkeys(("openai-threads", "openai-async", "openai-aiohttp"), "openai")


class Failed(Exception):
    """A client did not get through; the message, said after its name, says how."""


@dataclass(frozen=True, slots=True)
class Server:
    """A simulated server to be: its profile, None to answer at once, and what goes wrong with it."""

    profile: Profile | None = None
    delay_s: float = 0.0
    faults: tuple[str, ...] = ()

    def flags(self) -> list[str]:
        kind = ["--instant"] if self.profile is None else ["--profile", json.dumps(asdict(self.profile))]
        return [*kind, "--delay-s", str(self.delay_s), *(flag for fault in self.faults for flag in ("--fault", fault))]


@dataclass(frozen=True, slots=True)
class Measured:
    """What a client took: seconds of wall time and of CPU from its first request on, and of CPU in all."""

    rows: int
    answers: int
    wall_s: float
    cpu_s: float
    process_cpu_s: float
    said: str  # the last line of what the client complained of

    @property
    def lost(self) -> int:
        return self.rows - self.answers

    @property
    def cpu_ms(self) -> float:
        return 1000 * self.cpu_s / self.rows

    @property
    def process_cpu_ms(self) -> float:
        return 1000 * self.process_cpu_s / self.rows


@dataclass(slots=True)
class Running:
    """The servers that are up. After their end: what all were asked, and how far the last fell behind its clock."""

    urls: list[str]
    processes: list[subprocess.Popen[str]]
    posts: int = 0
    behind_s: float = 0.0

    def kill(self, number: int) -> None:
        self.processes[number].kill()
        self.processes[number].wait()


@contextmanager
def running(servers: Sequence[Server]) -> Iterator[Running]:
    processes = []
    for server in servers:
        command = [OURS, "-m", "benchmarks.simulated_vllm", "0", *server.flags()]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=peers.ROOT))
    fleet = Running([], processes)
    try:
        fleet.urls = [f"http://127.0.0.1:{int(_line_of(process))}/v1" for process in processes]
        yield fleet
    finally:
        for process in processes:
            process.send_signal(signal.SIGCONT)  # one that hangs hears nothing else
            process.terminate()
        for process in processes:
            counts = json.loads(_line_of(process) or "{}")  # nothing from one that was killed
            fleet.posts += counts.get("posts", 0)
            fleet.behind_s = max(fleet.behind_s, counts.get("behind_s", 0.0))
            process.wait()


def _line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def measure(
    client: str, requests: Path, urls: Sequence[str], *, in_flight: int, warm_up: Path | None = None
) -> Measured:
    """Run one client over the rows of a file, in its own environment. Raises Absent, and Failed when it breaks down."""
    python = peers.python_of(ENVIRONMENTS[client]) if client in ENVIRONMENTS else OURS
    command = [python, "-m", "benchmarks.clients", client, str(in_flight), str(requests), *urls]
    if warm_up is not None:
        command += ["--warm-up", str(warm_up)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=peers.ROOT, env=_environment(), timeout=LONGEST_RUN_S
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"was not done after {LONGEST_RUN_S:.0f} s") from None
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise Failed(f"broke down: {peers.last_line(done.stderr)}")
    result = json.loads(done.stdout)
    return Measured(
        rows=requests.read_bytes().count(b"\n"),
        process_cpu_s=after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        said=peers.last_line(done.stderr),
        **result,
    )


def _environment() -> dict[str, str]:
    """Return the environment of a client: no proxy between it and the servers, no look at the network for prices."""
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return {**kept, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "ANALYZE_LANG": "en"}


def spread(values: Sequence[float], form: str = ".2f") -> str:
    """Return `median (least – most)`, or the one value there is."""
    middle = f"{statistics.median(values):{form}}"
    return middle if len(values) == 1 else f"{middle} ({min(values):{form}} – {max(values):{form}})"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
