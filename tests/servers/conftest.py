"""A machine to play on: its own PATH with fake `vllm` and `nvidia-smi`, its own device files, logs and ports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from analyze.servers import processes, stop_records
from analyze.servers.private import free_ports

PROJECT = Path(__file__).resolve().parents[2]
VLLM_PROGRAM = Path(__file__).with_name("vllm_program.py")
GIB_EACH = 80


def executable(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


@dataclass
class Machine:
    """A machine in a folder. `env` is the environment of everything that runs on it."""

    folder: Path
    ports: list[int]
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.bin, self.told, self.logs = self.folder / "bin", self.folder / "told", self.folder / "日志 logs"
        self.told.mkdir(parents=True)
        executable(self.bin / "vllm", f'#!/bin/sh\nexec "{sys.executable}" "{VLLM_PROGRAM}" "$@"\n')
        self.env = {
            "PATH": f"{self.bin}:{Path(sys.executable).parent}:/usr/bin:/bin",
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "VLLM_PORTS": ",".join(map(str, self.ports)),
            "VLLM_LOG_DIR": str(self.logs),
            "FAKE_VLLM_DIR": str(self.told),
            "ANALYZE_HARDWARE_ROOT": str(self.folder / "hardware"),
            "http_proxy": "http://127.0.0.1:9",  # port 9 answers nobody: a probe that used it would fail
        } | self.env

    def add_gpus(self, count: int, gib: int = GIB_EACH) -> None:
        lines = [f"{index}, NVIDIA Test, {gib * 1024}, GPU-{index:04}-abcd" for index in range(count)]
        executable(self.bin / "nvidia-smi", "#!/bin/sh\n" + "".join(f"echo '{line}'\n" for line in lines))

    def script(
        self, name: str, *arguments: str, cwd: Path | None = None, **env: str
    ) -> subprocess.CompletedProcess[str]:
        return self.run(str(PROJECT / name), *arguments, cwd=cwd, **env)

    def servers(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-m", "analyze.servers", *arguments, **env)

    def run(self, *command: str, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, env=self.env | env, cwd=cwd or PROJECT, capture_output=True, text=True, timeout=300, check=False
        )

    def spawn(self, *command: str, **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command, env=self.env | env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=PROJECT
        )

    def called(self, port: int) -> dict[str, object] | None:
        file = self.told / f"{port}.json"
        return json.loads(file.read_text()) if file.exists() else None

    def record(self, number: int) -> processes.Record:
        record = processes.read_record(self.logs / f"vllm_{number:02}.pid")
        assert record is not None
        return record

    def tell(self, file: str, text: str) -> None:
        whole = self.told / f"{file}.part"  # a server may look at any moment
        whole.write_text(text)
        whole.replace(self.told / file)

    def hold(self) -> None:
        """Let servers that start now answer nothing until `release`."""
        self.tell("hold", "")

    def release(self) -> None:
        (self.told / "hold").unlink()

    def clean(self) -> None:
        stop_records(processes.read_records(self.logs), drain_timeout_s=0)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path / "机器 one", [*free_ports(4)])
    yield made
    made.clean()


@pytest.fixture(autouse=True)
def nothing_left(tmp_path: Path) -> Iterator[None]:
    """No process that a test started may outlive it: all of them have the test's folder in their environment."""
    yield
    deadline = time.monotonic() + 60  # for what has been ended and is not gone yet
    while (left := _left(str(tmp_path))) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left


def _left(folder: str) -> dict[str, bytes]:
    """Return the processes that have this folder in their environment, with their commands."""
    left = {}
    for process in Path("/proc").iterdir():
        if process.name.isdecimal() and int(process.name) != os.getpid() and _mentions(process, folder):
            with suppress(OSError):  # it ends at this moment
                left[process.name] = (process / "cmdline").read_bytes()
    return left


def _mentions(process: Path, text: str) -> bool:
    try:
        return f"FAKE_VLLM_DIR={text}".encode() in (process / "environ").read_bytes()
    except OSError:
        return False
