"""What the files of a run tell, whole or not, while it goes on or long after. Changes nothing and takes no lock.

    failures, answers ──> answers: counted ──┬──> counts by kind and server ──> an example of each kind
                     └──> who failed, and how ┘
Memory holds 16 bytes for each row that has failed, none for the others. 2 us a line of the batch format, of answers and
of failures; 4 us a record of a job's own (`runs.lines`).
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import orjson

from analyze.records import FAILURE_KINDS, Answer, Failure
from analyze.runs.index import Index
from analyze.runs.journal import READ_BYTES
from analyze.runs.lines import BATCH, any_outcome, record_outcome
from analyze.runs.tally import Tally

AT_ONCE = 4096  # lines: rows are looked up together, at a tenth of the price

_ANSWERED = b',"error":null,'
_ASKED = b',"asked":"'
_USAGE = b'"usage":{'
_PROMPT = re.compile(rb'"prompt_tokens":(\d+)[,}]')
_COMPLETION = re.compile(rb'"completion_tokens":(\d+)[,}]')
_FAILED = re.compile(
    rb'\{"id":"batch_req_[0-9a-f]{24}","custom_id":"([^"\\]*)",(?:"row":"([^"\\]*)",)?'
    rb'"error":\{"code":"([a-z_]+)","message":'
).match
_WHERE = re.compile(rb',"asked":"[0-9a-f]*","instance":(?:null|"([^"\\]*)"),').match

_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError)

_ANSWERED_SINCE = 0


@dataclass(slots=True)
class Survey:
    """What a journal tells. `tally`: all its answers, and the failures that no later line has replaced."""

    tally: Tally = field(default_factory=Tally)
    examples: dict[str, Failure] = field(default_factory=dict)  # by kind
    foreign: int = 0  # lines that no run of ours wrote
    is_torn: bool = False  # the last line is not whole: it is being written, or its writer was killed
    written_at: float | None = None  # last, as time.time


def survey(answers: Path | Sequence[Path], failures: Path | None = None) -> Survey:
    """Read a journal of one file, two, or several. What cannot be read of it is counted, a missing file is empty."""
    found = Survey()
    failed = _Failed()
    paths = [answers] if isinstance(answers, Path) else [*answers]
    if failures is not None:
        paths = [failures, *paths]
    for path in paths:
        lines = _lines(path, found)
        while chunk := [*islice(lines, AT_ONCE)]:
            if ends := [*_ends_of(chunk, found, failed)]:
                failed.note(ends)
    for kind, instance, count in failed.counts():
        found.tally.add_failures(kind, instance, count)
    wanted = set(found.tally.failed)
    for path in paths:
        if wanted:
            _find_examples(_lines(path, found), wanted, found, failed)
    for kind in wanted:  # such lines begin and end as ours do, and cannot be read
        found.foreign += found.tally.failed.pop(kind)
    return found


def _lines(path: Path, found: Survey) -> Iterator[bytes]:
    """Yield the whole lines of a file. What a power cut has left as zeros is none."""
    try:
        file = open(path, "rb", READ_BYTES)  # noqa: SIM115 - closed below; a missing file is not an error
    except FileNotFoundError:
        return
    with file:
        found.written_at = max(found.written_at or 0.0, os.fstat(file.fileno()).st_mtime)
        for line in file:
            if not line.endswith(b"\n"):
                found.is_torn = True
            elif b"\0" not in line:
                yield line


class _Failed:
    """The rows that have failed: how, and at which server, in one number each; and how many each such number has.

    An answer beats a failure. Rows that were only ever answered are not kept.
    """

    def __init__(self) -> None:
        self._by_row = Index()
        self._numbers: dict[tuple[str, str | None], int] = {}  # from 1
        self._counts: Counter[int] = Counter()

    def __bool__(self) -> bool:
        """Whether any row has failed, ever."""
        return bool(self._numbers)

    def number(self, kind: str, instance: str | None) -> int:
        """Return the number of a failure. Raises ValueError for a kind that there is none of."""
        number = self._numbers.get((kind, instance))
        if number is None:
            if kind not in FAILURE_KINDS:
                raise ValueError(f"{kind!r} is no kind of failure")
            number = self._numbers[kind, instance] = len(self._numbers) + 1
        return number

    def note(self, ends: Sequence[tuple[str, int]]) -> None:
        """Take note of how rows have ended, in this order, later than all before: by the number of a failure, or
        `_ANSWERED_SINCE`."""
        rows = [row for row, _ in ends]
        known = dict(zip(rows, self._by_row.get_many(rows), strict=True))
        changed: dict[str, int] = {}
        for row, number in ends:
            before = known[row]
            if before == _ANSWERED_SINCE or (before is None and number == _ANSWERED_SINCE):
                continue
            if before is not None:
                self._counts[before] -= 1
            self._counts[number] += number != _ANSWERED_SINCE
            known[row] = changed[row] = number
        self._by_row.update(changed.keys(), changed.values())

    def counts(self) -> Iterator[tuple[str, str | None, int]]:
        """Yield how many rows still fail, by kind and server."""
        for (kind, instance), number in self._numbers.items():
            if count := self._counts[number]:
                yield kind, instance, count

    def fails_by(self, row: str, kind: str) -> bool:
        """Whether a row still fails, and in this way."""
        number = self._by_row.get(row)
        return any(found[0] == kind and number == its for found, its in self._numbers.items())


def _ends_of(lines: Iterable[bytes], found: Survey, failed: _Failed) -> Iterator[tuple[str, int]]:
    """Count the answers; yield how each row ended that has failed, or may have before it was answered."""
    for line in lines:
        try:
            if not line.startswith(BATCH.begins):
                yield _end_of_record(line, found, failed)
            elif (failure := _failure_of(line)) is not None:
                row, kind, instance = failure
                yield row, failed.number(kind, instance)
            elif (answer := _answer_of(line)) is not None:
                found.tally.add_answer(*answer)
                if failed:
                    yield BATCH.heading(line)[0], _ANSWERED_SINCE
            else:
                outcome = BATCH.decode(line)
                if isinstance(outcome, Answer):
                    found.tally.add(outcome)
                    yield outcome.id, _ANSWERED_SINCE
                else:
                    yield outcome.id, failed.number(outcome.kind, outcome.instance)
        except _UNREADABLE:
            found.foreign += 1


def _end_of_record(line: bytes, found: Survey, failed: _Failed) -> tuple[str, int]:
    """Count a record of a job's own, which has to be read whole: 4 us for 1 kB."""
    outcome = record_outcome(line)
    if isinstance(outcome, Failure):
        return outcome.id, failed.number(outcome.kind, outcome.instance)
    found.tally.add(outcome)
    return outcome.id, _ANSWERED_SINCE


def _failure_of(line: bytes) -> tuple[str, str, str | None] | None:
    """Return row, kind and instance of a failure without reading all of it; None where it must be, or is none."""
    begin = _FAILED(line)
    where = begin and _WHERE(line, line.find(_ASKED, begin.end()))
    if not (begin and where and line.endswith(b"}\n")):
        return None
    custom_id, row, kind = begin.groups()
    instance = where[1]
    return (custom_id if row is None else row).decode(), kind.decode(), None if instance is None else instance.decode()


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


def _find_examples(lines: Iterable[bytes], wanted: set[str], found: Survey, failed: _Failed) -> None:
    """Look for a failure of each kind whose row still fails in that way; take from `wanted` what is found."""
    for line in lines:
        if _ANSWERED in line:
            continue
        with suppress(*_UNREADABLE):
            told = _failure_of(line)
            if told is not None and told[1] not in wanted:
                continue
            outcome = any_outcome(line)
            if isinstance(outcome, Failure) and outcome.kind in wanted and failed.fails_by(outcome.id, outcome.kind):
                found.examples[outcome.kind] = outcome
                wanted.discard(outcome.kind)
                if not wanted:
                    return


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
