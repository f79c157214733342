"""The state of each instance, as a table or JSON. Starts and ends nothing."""

from __future__ import annotations

import json
import time
import unicodedata
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

from analyze.lang import Lang
from analyze.servers import processes
from analyze.servers.planning import GPU_STARTUP_TIMEOUT_S
from analyze.servers.probing import InstanceState, load_of, look, state_of
from analyze.servers.settings import ServerSettings
from analyze.servers.texts import TEXTS

EXIT_READY, EXIT_SOME, EXIT_NONE = 0, 1, 3


def check(settings: ServerSettings) -> list[InstanceState]:
    """Look at each instance once, in order of VLLM_PORTS.

    Ports for which the last start had no GPU are left out: they were never meant to answer.
    """
    records = processes.read_records(settings.log_dir)
    by_port = {record.port: record for record in records.values()}
    started = {port for record in records.values() for port in record.ports}
    ports = [port for port in settings.ports if port in started] or settings.ports
    with ThreadPoolExecutor(len(ports)) as pool:  # a port that hangs holds up no other
        return list(pool.map(lambda port: check_port(settings, port, by_port.get(port)), ports))


def check_port(settings: ServerSettings, port: int, record: processes.Record | None) -> InstanceState:
    """Look at one port once; `record` is the pid file that speaks of it, believed or not."""
    running = record is not None and processes.alive(record)
    host = record.host if record is not None and running else settings.host
    seen = look(host, port, settings.api_key)
    timeout_s = settings.startup_timeout_s or GPU_STARTUP_TIMEOUT_S
    state = state_of(record, running, seen, startup_timeout_s=timeout_s, now=time.time())
    ours = running and record is not None
    detail = ""
    if state == "dead" and record is not None:
        detail = f"{len(processes.remains(record))} processes left; log: {record.log}"
    elif state == "foreign":
        detail = processes.listener(port) or ""
    return InstanceState(
        port=port,
        state=state,
        ours=ours,
        pid=record.pid if ours and record else None,
        gpus=record.gpus if ours and record else (),
        model=seen.names[0] if seen.names else None,
        load=load_of(host, port) if state == "ready" else None,
        detail=detail,
    )


def wait_until_settled(settings: ServerSettings, wait_s: float) -> list[InstanceState]:
    """Check until all are ready or `wait_s` is over."""
    deadline = time.monotonic() + wait_s
    while True:
        states = check(settings)
        if exit_code(states) == EXIT_READY or time.monotonic() >= deadline:
            return states
        time.sleep(min(1.0, max(0.0, deadline - time.monotonic())))


def exit_code(states: Sequence[InstanceState]) -> int:
    """Return 0 if all are ready, 3 if none is, else 1."""
    ready = sum(state.state == "ready" for state in states)
    return EXIT_NONE if ready == 0 else EXIT_READY if ready == len(states) else EXIT_SOME


def as_json(states: Sequence[InstanceState]) -> str:
    return json.dumps([asdict(state) for state in states], ensure_ascii=False, indent=2)


def as_table(states: Sequence[InstanceState], lang: Lang) -> str:
    """Return the table for a console. Widths count Chinese characters as the two columns they take."""
    texts = TEXTS[lang]
    rows = [tuple(texts["columns"].split("|"))] + [_row(state, lang) for state in states]
    widths = [max(_width(row[column]) for row in rows) for column in range(len(rows[0]))]
    padded = ("  ".join(cell + " " * (w - _width(cell)) for cell, w in zip(row, widths, strict=True)) for row in rows)
    lines = [line.rstrip() for line in padded]
    lines += [f"  {state.port}: {state.detail}" for state in states if state.detail]
    return "\n".join(lines)


def _row(state: InstanceState, lang: Lang) -> tuple[str, ...]:
    load = state.load
    word = TEXTS[lang]["state_" + state.state]
    if state.state == "ready" and not state.ours:
        word += " " + TEXTS[lang]["not_ours"]
    return (
        str(state.port),
        ",".join(state.gpus) or "—",
        str(state.pid or "—"),
        word,
        state.model or "—",
        *((str(load.running), str(load.waiting), f"{load.kv_used:.1%}") if load else ("—", "—", "—")),
    )


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)
