"""A private fleet: the servers that a job starts for itself, on free ports, and stops at its end. Knows no job."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from analyze.errors import ServerError
from analyze.servers import processes
from analyze.servers.hardware import find_gpus
from analyze.servers.planning import Plan, device_for, plan
from analyze.servers.settings import ServerSettings
from analyze.servers.starting import Started, start
from analyze.servers.stopping import stop_records
from analyze.servers.texts import Console


@dataclass(slots=True)
class PrivateFleet:
    """The servers of one job. `settings` say what they are to be; ports and groups of GPUs are found here.

    `instances`: how many; None: as many as the GPUs allow, one without any.
    """

    settings: ServerSettings
    console: Console
    instances: int | None = None
    _started: Started = field(default_factory=Started, init=False)

    async def start(self) -> list[str]:
        """Start the servers and return their base URLs. Raises UsageError, ServerError; takes minutes."""
        return await asyncio.get_running_loop().run_in_executor(None, self._start)

    def stop(self) -> None:
        """Stop what was started, draining it."""
        stop_records(self._started.launched, console=self.console)
        self._started = Started()

    def _start(self) -> list[str]:
        self._stop_leftovers()
        made = self._plan()
        if made.demo_model is not None:
            write_tiny_model(made.demo_model, self.console)
        self._started = start(made.specs, console=self.console)
        return [f"http://{spec.host}:{spec.port}/v1" for spec in made.specs]

    def _stop_leftovers(self) -> None:
        """Stop what an earlier execution of the job left running, because it was killed: it holds the GPUs' memory."""
        stop_records(processes.read_records(self.settings.log_dir), drain_timeout_s=0, console=self.console)

    def _plan(self) -> Plan:
        gpus = find_gpus(os.environ) if self.settings.device != "cpu" else []
        count = self.instances or 1
        if device_for(self.settings, gpus) == "cuda" and self.instances is None:
            count = max(1, len(gpus) // (self.settings.tensor_parallel_size or 1))
        return plan(replace(self.settings, ports=tuple(free_ports(count))), gpus)


def write_tiny_model(folder: Path, console: Console) -> None:
    """Write the tiny model if it is not there. Raises ServerError.

    In a process of its own: torch would keep 400 MB in this one for as long as the job takes.
    """
    if folder.exists():
        return
    console.say("making_model", path=folder)
    done = subprocess.run(model_command(folder), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ServerError(f"the tiny model could not be written:\n{done.stderr.strip()}", cure="see above")


def model_command(folder: Path) -> list[str]:
    return [sys.executable, "-m", "analyze.tiny_model", str(folder)]


def free_ports(count: int) -> Sequence[int]:
    """Return ports that nobody listens on now, all different."""
    held = [socket.socket() for _ in range(count)]
    try:
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in held]
    finally:
        for one in held:
            one.close()
