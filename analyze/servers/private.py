"""A private fleet: the servers that a job starts for itself, on free ports, and stops at its end. Knows no job.

start ── plan, launch, wait ──> base URLs        keep_alive: one that dies is started again, once
guard ── a process that outlives the job for a moment: where that is killed it stops the servers
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path

from analyze.errors import ServerError, UsageError
from analyze.servers import processes
from analyze.servers.hardware import find_gpus
from analyze.servers.planning import InstanceSpec, Plan, device_for, plan
from analyze.servers.settings import ServerSettings
from analyze.servers.starting import Started, start
from analyze.servers.stopping import stop_records
from analyze.servers.texts import Console

LOOK_EVERY_S = 1.0

PORTS = range(30_000, 32_768)
"""Above vLLM's internal ports (`planning`) and those of Ray's workers (10002-19999), below those that Linux gives to
whoever asks for any."""


@dataclass(slots=True)
class PrivateFleet:
    """The servers of one job. `settings` say what they are to be; ports and groups of GPUs are found here.

    `instances`: how many; None: as many as the GPUs allow, one without any.
    """

    settings: ServerSettings
    console: Console
    instances: int | None = None
    _started: Started = field(default_factory=Started, init=False)
    _specs: Sequence[InstanceSpec] = field(default=(), init=False)
    _guard: subprocess.Popen[bytes] | None = field(default=None, init=False)

    async def start(self) -> list[str]:
        """Start the servers and return their base URLs. Raises UsageError, ServerError; takes minutes.

        When cancelled it stops what it has started: a large model keeps nobody waiting who has thought better of it.
        """
        is_given_up = threading.Event()
        starting = asyncio.get_running_loop().run_in_executor(None, self._start, is_given_up.is_set)
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            is_given_up.set()
            with suppress(ServerError, UsageError):
                await starting
            raise

    def stop(self) -> None:
        """Stop what was started, draining it."""
        stop_records(self._started.launched, console=self.console)
        self._started = Started()
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.stdin.close()
            self._guard.wait()
            self._guard = None

    def guard(self) -> None:
        """Have the servers stopped when this process ends, however it ends: kill -9 included. Call it before `start`.

        A server leads a session of its own, which no signal to the job reaches.
        """
        self.settings.log_dir.mkdir(parents=True, exist_ok=True)
        self._guard = subprocess.Popen(
            [sys.executable, "-m", "analyze.servers.guard", str(self.settings.log_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    async def keep_alive(self, say: Callable[[int, str], object]) -> None:
        """Start each server that dies again, once; until cancelled. `say` is told its port and what was done: `died`,
        `back`, `stays` (dead), or the problem of its start."""
        restarted: dict[Path, asyncio.Task[None]] = {}
        gone: set[Path] = set()
        try:
            while True:
                await asyncio.sleep(LOOK_EVERY_S)
                for spec in self._specs:
                    record = self._started.launched.get(spec.pid_file)
                    if record is None or processes.alive(record) or spec.pid_file in gone:
                        continue
                    if (task := restarted.get(spec.pid_file)) is None:
                        say(spec.port, "died")
                        restarted[spec.pid_file] = asyncio.create_task(self._restart(spec, say))
                    elif task.done():
                        gone.add(spec.pid_file)
                        say(spec.port, "stays")
        finally:
            for path in restarted:  # what is being started would keep its thread waiting for minutes
                stop_records({path: r} if (r := processes.read_record(path)) else {}, drain_timeout_s=0)
            await asyncio.gather(*restarted.values(), return_exceptions=True)

    async def _restart(self, spec: InstanceSpec, say: Callable[[int, str], object]) -> None:
        try:
            again = await asyncio.get_running_loop().run_in_executor(None, lambda: start([spec]))
        except (ServerError, UsageError) as error:
            say(spec.port, error.message)
            return
        self._started.launched |= again.launched
        say(spec.port, "back")

    def _start(self, is_given_up: Callable[[], bool]) -> list[str]:
        self.stop_leftovers()
        made = self._plan()
        if made.demo_model is not None:
            write_tiny_model(made.demo_model, self.console)
        self._specs = made.specs
        self._started = start(made.specs, console=self.console, is_given_up=is_given_up)
        return [f"http://{spec.host}:{spec.port}/v1" for spec in made.specs]

    def stop_leftovers(self) -> None:
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
    """Return ports that nobody uses now, next to each other but for those in use. Raises ServerError.

    A server takes its port seconds after it was chosen: one of those that Linux gives to connections could be anybody's
    by then. Neighbours share no internal ports of vLLM's, which go by the remainder.
    """
    first = random.choice(PORTS)
    found = list(islice(filter(_is_free, chain(range(first, PORTS.stop), range(PORTS.start, first))), count))
    if len(found) < count:
        raise ServerError(
            f"of the ports from {PORTS.start} to {PORTS.stop - 1} only {len(found)} are free, {count} are needed",
            cure="end what listens there (ss -ltnp shows it)",
        )
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
