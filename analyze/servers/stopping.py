"""Stop what we started: drain, SIGTERM, SIGKILL, each with its time. Ends no process that no pid file of ours proves.

A server that gets SIGTERM with requests in flight may leave its clients hanging until their own timeout, so those are
waited for first. SIGTERM goes to the API process, which ends its engine; whatever of the session is left is killed.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from analyze.errors import ServerError
from analyze.servers import processes
from analyze.servers.probing import PROBE_TIMEOUT_S, Load, get, load_of
from analyze.servers.processes import Record
from analyze.servers.texts import SILENT, Console

DRAIN_TIMEOUT_S = 30.0
TERM_TIMEOUT_S = 40.0
"""Above the --shutdown-timeout of 30 s that servers are given for requests that are still in flight."""

TERM_STARTING_TIMEOUT_S = 5.0
"""For a server that answers nothing yet: it has no request to lose, and loading a model cannot be interrupted."""

ENGINE_TIMEOUT_S = 5.0
"""How long an engine may take to end after its API process has."""

KILL_TIMEOUT_S = 10.0
POLL_S = 0.1


def stop_records(
    records: Mapping[Path, Record], *, drain_timeout_s: float = DRAIN_TIMEOUT_S, console: Console = SILENT
) -> list[int]:
    """Stop the servers of these pid files, all at once, and remove the files. Return the ports of those that ran.

    A second call for the same records finds nothing and does nothing. A KeyboardInterrupt cuts every wait short:
    what is left is killed, then it is raised again. Raises ServerError for processes of another user, or that
    outlive SIGKILL.
    """
    living = [record for record in records.values() if processes.remains(record)]
    if living:
        console.say("stopping", ports=",".join(str(record.port) for record in living))
    try:
        patience_s = {record: TERM_TIMEOUT_S if _listens(record) else TERM_STARTING_TIMEOUT_S for record in living}
        if drain_timeout_s > 0:
            _drain(living, drain_timeout_s, console)
        _terminate(living, patience_s)
    finally:
        _kill(living, console)
        for path, record in records.items():
            processes.forget(path, record)
    return [record.port for record in living]


def _listens(record: Record) -> bool:
    status, _ = get(record.host, record.port, "/health", timeout_s=PROBE_TIMEOUT_S)
    return status is not None


def _drain(records: Sequence[Record], timeout_s: float, console: Console) -> None:
    """Wait until no request runs or waits. A server that never answers has none that could be saved; one that was seen
    at work and does not answer in time, on a machine that is busy, still has those that it had."""
    deadline = time.monotonic() + timeout_s
    said = False
    loads: dict[Record, Load] = {}
    while True:
        for record in records:
            if not processes.alive(record):
                loads.pop(record, None)
            elif load := load_of(record.host, record.port, timeout_s=PROBE_TIMEOUT_S):
                loads[record] = load
        requests = sum(load.running + load.waiting for load in loads.values())
        if requests == 0:
            return
        if time.monotonic() > deadline:
            console.say("drain_over", seconds=timeout_s, requests=requests)
            return
        if not said:
            console.say("draining", seconds=timeout_s, requests=requests)
            said = True
        time.sleep(POLL_S)


def _terminate(records: Sequence[Record], patience_s: Mapping[Record, float]) -> None:
    """Ask the API processes to end, and wait for each as long as its patience says, then for its engine."""
    now = time.monotonic()
    deadlines = {record: now + patience_s[record] for record in records if processes.alive(record)}
    processes.send([record.pid for record in deadlines], signal.SIGTERM)
    while deadlines:
        time.sleep(POLL_S)
        now = time.monotonic()
        for record, deadline in list(deadlines.items()):
            if now > deadline or not processes.remains(record):
                del deadlines[record]
            elif not processes.alive(record):
                deadlines[record] = min(deadline, now + ENGINE_TIMEOUT_S)


def _kill(records: Sequence[Record], console: Console) -> None:
    """Kill what is left of the sessions. New members may be born meanwhile, so look again until there are none."""
    deadline = time.monotonic() + KILL_TIMEOUT_S
    for record in records:
        survivors = processes.remains(record)
        if survivors:
            console.say("killing", port=record.port, count=len(survivors))
        while pids := processes.remains(record):
            processes.send(pids, signal.SIGKILL)
            if time.monotonic() > deadline:
                raise ServerError(
                    f"processes {pids} of the server on port {record.port} outlive SIGKILL",
                    cure="a driver or a disk holds them (state D in ps): look at dmesg; only a reboot may help",
                )
            time.sleep(POLL_S)
        processes.reap(record)
