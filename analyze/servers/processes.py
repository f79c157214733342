"""Our processes and only ours: launched in a session of their own, known again by /proc, ended as a whole.

    pid file     JSON: who was launched (pid and birth), for which port, writing to which log
    alive        a process with that pid and that birth: a recycled pid has another birth, and is never believed
    remains      the members of the session that the pid led. Where it is dead (kill -9 of the API process leaves
                 vLLM's engine running for ever) a member is ours if it was born later and still writes to our log

Linux keeps a number out of use as a pid while it is still the id of a session, so a session that we find under the
pid of a dead leader is either ours or began after all of ours were gone; the log decides. Knows nothing of HTTP.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from analyze.errors import ServerError
from analyze.files import write_whole
from analyze.servers.planning import InstanceSpec
from analyze.servers.settings import LOCAL_VARIABLES

PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Record:
    """The content of a pid file. `birth` is boot id and clock ticks since boot; `ports` are those started together."""

    pid: int
    birth: str
    number: int
    host: str
    port: int
    ports: tuple[int, ...]
    gpus: tuple[str, ...]
    model: str
    argv: tuple[str, ...]
    log: str
    started: float


@dataclass(frozen=True, slots=True)
class ProcessStat:
    state: str
    session: int
    ticks: int


def launch(spec: InstanceSpec, ports: Iterable[int]) -> tuple[subprocess.Popen[bytes], Record]:
    """Start the server of `spec` and write its pid file. The log of the launch before is kept as `….log.1`.

    Raises ServerError where its program cannot be run.
    """
    spec.log.parent.mkdir(parents=True, exist_ok=True)
    if spec.log.exists():
        spec.log.replace(spec.log.with_name(spec.log.name + ".1"))
    environ = {name: value for name, value in os.environ.items() if name not in LOCAL_VARIABLES} | dict(spec.env)
    with open(spec.log, "ab") as log:
        log.write(f"# {time.strftime('%Y-%m-%d %H:%M:%S')} {spec.command}\n".encode())
        log.flush()
        try:
            process = subprocess.Popen(
                _program(spec.argv),
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        except OSError as error:
            raise ServerError(
                f"server {spec.number} (port {spec.port}) cannot be started: {spec.argv[0]}: {error.strerror}",
                cure="pip install -e '.[vllm]' in the environment you use, or ./start_vllm.sh, which does it",
            ) from error
    try:
        record = _record(spec, process.pid, ports)
        write_whole(spec.pid_file, json.dumps(asdict(record), ensure_ascii=False) + "\n")
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)  # without its pid file nobody would ever find it again
        raise
    return process, record


def _record(spec: InstanceSpec, pid: int, ports: Iterable[int]) -> Record:
    return Record(
        pid=pid,
        birth=birth(pid) or "",
        number=spec.number,
        host=spec.host,
        port=spec.port,
        ports=tuple(ports),
        gpus=spec.gpus,
        model=spec.model,
        argv=spec.argv,
        log=os.path.realpath(spec.log),
        started=time.time(),
    )


def _program(argv: tuple[str, ...]) -> tuple[str, ...]:
    """Return `argv` with a bare program name looked up on PATH, else beside the Python that runs this."""
    if "/" in argv[0]:
        return argv
    beside = Path(sys.executable).with_name(argv[0])
    return (shutil.which(argv[0]) or str(beside if beside.exists() else argv[0]), *argv[1:])


def read_record(pid_file: Path) -> Record | None:
    """Return what a pid file says; None where there is none, or one that is not ours to read."""
    try:
        value = json.loads(pid_file.read_text(encoding="utf-8"))
        value |= {name: tuple(value[name]) for name in ("ports", "gpus", "argv")}
        return Record(**value)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def read_records(log_dir: Path) -> dict[Path, Record]:
    """Return the readable pid files of a folder, in order of instance number."""
    return {path: record for path in sorted(log_dir.glob("vllm_*.pid")) if (record := read_record(path))}


def alive(record: Record) -> bool:
    """Return whether the process of `record` itself runs: same pid, same birth, not a zombie."""
    return birth(record.pid) == record.birth and bool(record.birth)


def remains(record: Record) -> list[int]:
    """Return the pids of all living processes of the record's session, the leader first."""
    born = int(record.birth.rpartition("/")[2] or 0)
    leader = _stat(record.pid)
    if leader is not None and birth(record.pid, zombies=True) != record.birth:
        return []  # the pid was recycled, which Linux does only once the session is empty
    leader_known = leader is not None
    pids = []
    for pid in (int(path.name) for path in PROC.iterdir() if path.name.isdecimal()):
        stat = _stat(pid)
        if stat is None or stat.state in "ZX" or stat.session != record.pid or stat.ticks < born:
            continue
        if leader_known or _writes_to(pid, record.log):
            pids.append(pid)
    return sorted(pids, key=lambda pid: (pid != record.pid, pid))


def send(pids: Iterable[int], number: signal.Signals) -> None:
    """Send a signal to each process that still runs. Raises ServerError for those of another user."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
        except PermissionError as error:
            raise ServerError(
                f"process {pid} belongs to another user", cure="stop it as the user who started it"
            ) from error


def reap(record: Record) -> None:
    """Take a dead server that this very process had started out of the process table."""
    try:
        os.waitpid(record.pid, os.WNOHANG)
    except ChildProcessError:  # another process started it, or it is reaped already
        return


def birth(pid: int, *, zombies: bool = False) -> str | None:
    """Return boot id and start tick of a process: with its pid they name it for ever. None if it is gone."""
    stat = _stat(pid)
    if stat is None or (stat.state in "ZX" and not zombies):
        return None
    boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}/{stat.ticks}"


def _stat(pid: int) -> ProcessStat | None:
    try:
        text = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:  # gone, or hidden from us
        return None
    fields = text.rpartition(")")[2].split()  # the name in parentheses may hold blanks and parentheses of its own
    return ProcessStat(state=fields[0], session=int(fields[3]), ticks=int(fields[19]))


def _writes_to(pid: int, log: str) -> bool:
    for descriptor in (1, 2):
        try:
            target = os.readlink(PROC / str(pid) / "fd" / str(descriptor))
        except OSError:  # gone, or another user's
            continue
        if target.removesuffix(" (deleted)") in (log, log + ".1"):
            return True
    return False


def listener(port: int) -> str | None:
    """Return `PID COMMAND` of the process that listens on a TCP port, where this user may see it."""
    inodes = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    if not inodes:
        return None
    for process in PROC.iterdir():
        if not process.name.isdecimal():
            continue
        try:
            if any(os.readlink(fd) in inodes for fd in (process / "fd").iterdir()):
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                return f"{process.name} {command[:120]}"
        except OSError:  # gone meanwhile, or another user's
            continue
    return None


def _listening_inodes(port: int) -> set[str]:
    found = set()
    for table in ("tcp", "tcp6"):
        try:
            lines = (PROC / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for fields in (line.split() for line in lines):
            if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:  # 0A: LISTEN
                found.add(fields[9])
    return found


def forget(pid_file: Path, record: Record) -> None:
    """Remove a pid file, unless another launch has written it anew."""
    if read_record(pid_file) == record:
        pid_file.unlink(missing_ok=True)


def last_lines(log: Path, count: int = 30) -> str:
    """Return the end of a log, without the control characters that could steer a terminal."""
    try:
        with open(log, "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 400 * count))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    clean = "".join(c for c in text if c.isprintable() or c in "\n\t")
    return "\n".join(clean.splitlines()[-count:])
