"""Four real vLLM servers on the CPU, started once for the session with the commands that users get."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from analyze import servers
from analyze.errors import ServerError
from analyze.servers import InstanceSpec, processes
from analyze.servers.private import free_ports


@dataclass
class RealFleet:
    """The servers of the session. `kill` ends one at once, as a crash of the machine would; `heal` brings it back.

    A server is two processes: its web server, which leads the session, and the engine that generates.
    """

    specs: tuple[InstanceSpec, ...]

    @property
    def urls(self) -> list[str]:
        return [f"http://127.0.0.1:{spec.port}/v1" for spec in self.specs]

    @property
    def ports(self) -> str:
        return ",".join(str(spec.port) for spec in self.specs)

    def pid(self, number: int) -> int:
        record = processes.read_record(self.specs[number].pid_file)
        assert record is not None
        return record.pid

    def kill(self, number: int) -> None:
        os.killpg(self.pid(number), signal.SIGKILL)

    def engine(self, number: int) -> int:
        (child,) = (child for child in psutil.Process(self.pid(number)).children() if "EngineCore" in child.name())
        return child.pid

    def kill_engine(self, number: int) -> None:
        os.kill(self.engine(number), signal.SIGKILL)

    def stop_engine(self, number: int) -> None:
        """The engine generates nothing from now on; its web server knows nothing of it."""
        os.kill(self.engine(number), signal.SIGSTOP)

    def stop(self, number: int) -> None:
        """Not a byte from now on; connections stay open."""
        os.killpg(self.pid(number), signal.SIGSTOP)

    def go_on(self, number: int) -> None:
        os.killpg(self.pid(number), signal.SIGCONT)

    def end_in_good_order(self, number: int) -> None:
        os.kill(self.pid(number), signal.SIGTERM)

    def is_up(self, number: int) -> bool:
        """Whether anything listens there."""
        with socket.socket() as knocking:
            return knocking.connect_ex(("127.0.0.1", self.specs[number].port)) == 0

    def clear_away(self, number: int) -> None:
        """End what is left of a server that died or was told to end."""
        with suppress(ProcessLookupError):
            self.kill(number)
        while self.is_up(number):
            time.sleep(0.1)

    def heal(self) -> None:
        servers.start(self.specs)


@contextmanager
def running(logs: Path, count: int, *extra_args: str) -> Iterator[RealFleet]:
    """Servers with further flags of `vllm serve`, stopped at the end."""
    environ = {
        "VLLM_PORTS": ",".join(map(str, free_ports(count))),
        "VLLM_LOG_DIR": str(logs),
        "VLLM_EXTRA_ARGS": shlex.join(extra_args),
    }
    plan = servers.plan(servers.server_settings(environ), gpus=())
    assert plan.demo_model is not None
    subprocess.run([sys.executable, "-m", "analyze.tiny_model", str(plan.demo_model)], check=True, timeout=600)
    servers.start(plan.specs)
    try:
        yield RealFleet(plan.specs)
    finally:  # by the pid files, so that servers brought back by `heal` are stopped too
        servers.stop_records(processes.read_records(logs), drain_timeout_s=0)


@pytest.fixture(scope="session")
def real_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealFleet]:
    with running(tmp_path_factory.mktemp("vllm_logs"), 4) as fleet:
        yield fleet


@pytest.fixture
def real_fleet(real_servers: RealFleet) -> Iterator[RealFleet]:
    """The four servers, all up; whatever the test does to them is made good after it."""
    yield real_servers
    deadline = time.monotonic() + 300
    while True:
        try:
            real_servers.heal()
            return
        except ServerError:  # its ports may still be closing
            if time.monotonic() > deadline:
                raise
            time.sleep(1)
