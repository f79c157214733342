"""The process that reads code: `[language, code]` a line in, measured facts a line out. Knows no other file.

Each piece of code is read in a fork of this process, so that what it does to an analyser (endless time, endless
memory, a crash of the interpreter) ends that fork alone. The fork sends a line after each analyser; where it dies
in between, the analyser at work is noted in `limits` and a new fork goes on with the next. The code is never run.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

from analyze.facts.bounded import WALL_PER_CPU, how_it_ended
from analyze.facts.readers import python_facts, shape_facts, token_facts

Measured = dict[str, Any]
READERS: dict[str, Callable[[str, str], Measured]] = {
    "pygments": token_facts,
    "syntax": python_facts,
    "lizard": shape_facts,
}


def main(reader_cpu_s: float) -> None:
    """Serve standard input to its end. `reader_cpu_s` is what each analyser may spend on one piece of code."""
    sys.argv = [""]  # lizard puts the folder of argv[0] on sys.path
    for shared in ("lizard", "pygments.lexers"):  # loaded once, before the forks
        import_module(shared)

    parent = os.getppid()
    for line in sys.stdin.buffer:
        if os.getppid() != parent:  # nobody reads the answers any more
            return
        language, code = json.loads(line)
        print(json.dumps(measure_apart(code, language, reader_cpu_s)), flush=True)


def measure_apart(code: str, language: str, cpu_s: float) -> Measured:
    """Return what the readers found, in forks; `limits` names each reader that died and why."""
    facts: Measured = {}
    limits: list[str] = []
    waiting = list(READERS)
    while waiting:
        sent, returncode = _in_a_fork(_read_all(tuple(waiting), code, language, cpu_s), WALL_PER_CPU * cpu_s)
        for found in sent:
            limits += found.pop("limits", [])
            facts |= found
        waiting = waiting[len(sent) :]
        if waiting:
            limits.append(f"{waiting.pop(0)}: {how_it_ended(returncode, cpu_s)}")
    return {**facts, "limits": limits}


def _read_all(names: tuple[str, ...], code: str, language: str, cpu_s: float) -> Iterator[Measured]:
    for name in names:
        signal.setitimer(signal.ITIMER_PROF, cpu_s)  # user and system time; its signal ends the fork
        try:
            yield READERS[name](code, language)
        except (RecursionError, MemoryError):
            yield {"limits": [f"{name}: nested too deeply or too large"]}


def _in_a_fork(work: Iterator[Measured], wall_s: float) -> tuple[list[Measured], int]:
    """Draw `work` in a fork; return what came of it and the fork's return code (negative: the signal it died of)."""
    readable, writable = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(readable)
            for found in work:
                os.write(writable, json.dumps(found).encode() + b"\n")
            status = 0
        finally:
            os._exit(status)
    os.close(writable)
    data, ended = _read_until(readable, time.monotonic() + wall_s * len(READERS))
    os.close(readable)
    if not ended:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return [json.loads(line) for line in data.split(b"\n")[:-1]], os.waitstatus_to_exitcode(status)


def _read_until(pipe: int, deadline: float) -> tuple[bytes, bool]:
    """Return what came through the pipe, and whether its other end was closed before the deadline."""
    data = b""
    while select.select([pipe], [], [], max(0, deadline - time.monotonic()))[0]:
        part = os.read(pipe, 1 << 16)
        if not part:
            return data, True
        data += part
    return data, False
