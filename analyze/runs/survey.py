"""What the files of a run tell, whole or not, while it goes on or long after. Changes nothing and takes no lock.

    failures, answers ──> how each row that failed has ended ──> answers: counted ──> what still fails: counted, shown
Memory holds 16 bytes for each row that has failed, none for the others.
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from analyze.records import Failure
from analyze.runs.journal import FIRST_BYTES, decode, heading
from analyze.runs.seen import Seen, short
from analyze.runs.tally import Tally

_ANSWERED = b',"error":null,'
_ASKED = b',"asked":"'
_USAGE = b'"usage":{'
_PROMPT = re.compile(rb'"prompt_tokens":(\d+)[,}]')
_COMPLETION = re.compile(rb'"completion_tokens":(\d+)[,}]')

_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError)


@dataclass(slots=True)
class Survey:
    """What a journal tells. `tally`: all its answers, and the failures that no later line has replaced."""

    tally: Tally = field(default_factory=Tally)
    examples: dict[str, Failure] = field(default_factory=dict)  # by kind
    foreign: int = 0  # lines that no run of ours wrote
    is_torn: bool = False  # the last line is not whole: it is being written, or its writer was killed
    written_at: float | None = None  # last, as time.time


def survey(answers: Path, failures: Path | None = None) -> Survey:
    """Read a journal of one file or two. What cannot be read of it is counted, a missing file is empty."""
    found, ended = Survey(), Seen()
    with_failures = []
    for path in [answers] if failures is None else [failures, answers]:
        has_failures = False
        for line in _lines(path, found):
            try:
                has_failures |= _look_at(line, found.tally, ended)
            except _UNREADABLE:
                found.foreign += 1
        with_failures += [path] * has_failures
    for path in with_failures:
        for line in _lines(path, found):
            if _ANSWERED not in line:
                with suppress(*_UNREADABLE):
                    _count_failure(line, found, ended)
    return found


def _lines(path: Path, found: Survey) -> Iterator[bytes]:
    """Yield the whole lines of a file. What a power cut has left as zeros is none."""
    try:
        file = open(path, "rb")  # noqa: SIM115 - closed below; a missing file is not an error
    except FileNotFoundError:
        return
    with file:
        found.written_at = max(found.written_at or 0.0, os.fstat(file.fileno()).st_mtime)
        for line in file:
            if not line.endswith(b"\n"):
                found.is_torn = True
            elif b"\0" not in line:
                yield line


def _look_at(line: bytes, tally: Tally, ended: Seen) -> bool:
    """Count an answer; note a failure, or the answer that makes up for one. Return whether it is a failure."""
    if not line.startswith(FIRST_BYTES):
        raise ValueError("not written by a run of ours")
    answer = _answer_of(line)
    if answer is not None:
        tally.add_answer(*answer)
        if ended:
            row_id, asked, _ = heading(line)
            if ended.failed(row_id) is not None:
                ended.note(row_id, asked, None)
        return False
    outcome = decode(line)
    if isinstance(outcome, Failure):
        ended.note(outcome.id, short(outcome.asked), outcome.kind)
        return True
    tally.add(outcome)
    if ended.failed(outcome.id) is not None:
        ended.note(outcome.id, short(outcome.asked), None)
    return False


def _answer_of(line: bytes) -> tuple[str | None, int, int, float] | None:
    """Return instance, tokens in and out, and latency of an answer, without reading all of it: 2 us, however long.

    None: it is a failure, or an answer that must be read to be understood. Quotes inside of strings are escaped, so
    that these words stand nowhere but where they mean something, and a failure has no body to hold them.
    """
    asked_at = line.rfind(_ASKED)
    if asked_at < 0 or _ANSWERED not in line:
        return None
    prompt = completion = 0
    usage_at = line.rfind(_USAGE, 0, asked_at)
    if usage_at >= 0:
        prompt_found = _PROMPT.search(line, usage_at, asked_at)
        completion_found = _COMPLETION.search(line, usage_at, asked_at)
        if prompt_found is None or completion_found is None:
            return None
        prompt, completion = int(prompt_found[1]), int(completion_found[1])
    rest = orjson.loads(b"{" + line[asked_at + 1 :])
    return rest["instance"], prompt, completion, rest["latency_s"]


def _count_failure(line: bytes, found: Survey, ended: Seen) -> None:
    outcome = decode(line)
    if isinstance(outcome, Failure) and ended.failed(outcome.id) == outcome.kind:
        ended.note(outcome.id, short(outcome.asked), None)  # counted: other lines of this row are older, or the same
        found.tally.add(outcome)
        found.examples.setdefault(outcome.kind, outcome)


# -- who writes to it --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that writes to an output. Not `is_sure`: it is on another machine, where nobody here sees it end."""

    pid: int
    host: str
    started: str | None
    is_sure: bool


def holder_of(lock: Path) -> Holder | None:
    """Return who holds a run's lock, None where nobody does.

    It is not tried: a run that began at that moment would be refused. What the file says is believed while that
    process lives; one that began later than the file was written is another of the same number.
    """
    try:
        told = orjson.loads(lock.read_bytes())
        written_at = lock.stat().st_mtime
        holder = Holder(int(told["pid"]), str(told["host"]), told.get("started"), told["host"] == socket.gethostname())
    except (OSError, *_UNREADABLE):
        return None
    if not holder.is_sure:
        return holder
    began_at = _began_at(holder.pid)
    return holder if began_at is not None and began_at <= written_at + 1.0 else None


def _began_at(pid: int) -> float | None:
    """Return when a process began, as time.time; None where there is no such process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        up_s = float(Path("/proc/uptime").read_text().split()[0])
    except (OSError, ValueError):
        return None
    if fields[0] == "Z":
        return None
    return time.time() - up_s + int(fields[19]) / os.sysconf("SC_CLK_TCK")
