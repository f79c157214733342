"""Four real vLLM servers on the CPU, started once for the session with the commands that users get."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from analyze import servers
from analyze.servers import InstanceSpec, processes


@dataclass
class RealFleet:
    """The servers of the session. `kill` ends one at once, as a crash of the machine would; `heal` brings it back."""

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

    def heal(self) -> None:
        servers.start(self.specs)


def free_ports(count: int) -> list[int]:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


@pytest.fixture(scope="session")
def real_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealFleet]:
    logs: Path = tmp_path_factory.mktemp("vllm_logs")
    environ = {"VLLM_PORTS": ",".join(map(str, free_ports(4))), "VLLM_LOG_DIR": str(logs)}
    plan = servers.plan(servers.server_settings(environ), gpus=())
    assert plan.demo_model is not None
    subprocess.run([sys.executable, "-m", "analyze.tiny_model", str(plan.demo_model)], check=True, timeout=120)
    servers.start(plan.specs)
    try:
        yield RealFleet(plan.specs)
    finally:  # by the pid files, so that servers brought back by `heal` are stopped too
        servers.stop_records(processes.read_records(logs), drain_timeout_s=0)


@pytest.fixture
def real_fleet(real_servers: RealFleet) -> Iterator[RealFleet]:
    """The four servers, all up; whatever the test does to them is made good after it."""
    yield real_servers
    deadline = time.monotonic() + 30
    while True:
        try:
            real_servers.heal()
            return
        except servers.ServerError:  # its ports may still be closing
            if time.monotonic() > deadline:
                raise
            time.sleep(1)
