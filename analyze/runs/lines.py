"""How an outcome is written as a line, and read again: as the OpenAI Batch format has it, or as a job's own record.

    BATCH     {"id", "custom_id", "row"?, "error": null, "response": {"status_code", "request_id", "body"},
               "asked", "instance", "attempts", "latency_s"}
    RECORDS   {the job's own fields ..., "id", "asked", "failed": null, "instance", "attempts", "latency_s"}

Both tell without being parsed how a row has ended, BATCH at the beginning of a line, RECORDS at its end, so that a
million lines are looked through in seconds. Pure: knows no file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from analyze.records import Answer, Failure, FailureKind, Outcome, Request, from_json, to_json
from analyze.runs.seen import short

Heading = tuple[str, int, FailureKind | None]
"""A row's id, what was asked in short, and the kind of failure (None: an answer)."""

Answered = tuple[Iterable[str], Iterable[int]]
"""The ids of answered rows, and what each was asked, in short."""


class Lines(Protocol):
    """A way to write outcomes as lines. Readers raise ValueError, KeyError or TypeError for a line of another kind."""

    @property
    def begins(self) -> bytes:
        """What every line begins with: a file that begins otherwise is somebody else's."""

    def encode(self, outcome: Outcome, request: Request | None = None) -> bytes:
        """Return the line; `request` is what was asked, with what the row itself says."""

    def decode(self, line: bytes) -> Outcome: ...

    def heading(self, line: bytes) -> Heading: ...

    def answered(self, lines: Sequence[bytes]) -> Answered | None:
        """Return what some lines tell if all are of answers, at half the price; else None."""

    def is_output(self, outcome: Outcome) -> bool:
        """Whether an outcome stands in the output, not among the failures: answers do, and what a job adds to them."""


class BatchLines:
    """Lines of an OpenAI batch output file with a few fields more."""

    begins = b'{"id":"batch_req_'

    def encode(self, outcome: Outcome, request: Request | None = None) -> bytes:
        record: dict[str, Any] = {
            "id": f"batch_req_{outcome.asked[:24]}",
            "custom_id": outcome.id if outcome.custom_id is None else outcome.custom_id,
        }
        if outcome.custom_id is not None:
            record["row"] = outcome.id
        if isinstance(outcome, Answer):
            record["error"] = None
            record["response"] = {"status_code": 200, "request_id": outcome.body.get("id"), "body": outcome.body}
        else:
            record["error"] = {"code": outcome.kind, "message": outcome.message}
            status = outcome.status_code
            record["response"] = None if status is None else {"status_code": status, "request_id": None, "body": None}
        record["asked"] = outcome.asked
        record["instance"] = outcome.instance
        record["attempts"] = outcome.attempts
        if isinstance(outcome, Answer):
            record["latency_s"] = outcome.latency_s
        elif outcome.raw is not None:
            record["raw"] = outcome.raw
        return to_json(record) + b"\n"

    def decode(self, line: bytes) -> Outcome:
        record = from_json(line)
        row, custom_id = record.get("row"), record["custom_id"]
        row_id, own = (custom_id, None) if row is None else (row, custom_id)
        response, error = record["response"], record["error"]
        asked, instance, attempts = record["asked"], record["instance"], record["attempts"]
        if error is None:
            return Answer(row_id, asked, response["body"], instance, attempts, record["latency_s"], own)
        status = None if response is None else response["status_code"]
        raw = record.get("raw")
        return Failure(row_id, asked, error["code"], error["message"], instance, attempts, status, raw, own)

    def heading(self, line: bytes) -> Heading:
        """Return how a row has ended. Of an answer, only the beginning is read (1 us; all of 1 kB takes 4)."""
        if (answered := _BATCH_ANSWERED(line)) is not None:
            asked, custom_id, row = answered.groups()
            return (custom_id if row is None else row).decode(), int(asked, 16), None
        return _heading_of(self.decode(line))

    def answered(self, lines: Sequence[bytes]) -> Answered | None:
        found = [*map(_BATCH_ANSWERED, lines)]
        if None in found:
            return None
        askeds, ids, rows = zip(*(answered.groups() for answered in found if answered), strict=True)
        names = ids if not any(rows) else (own if row is None else row for own, row in zip(ids, rows, strict=True))
        return map(bytes.decode, names), (int(asked, 16) for asked in askeds)

    def is_output(self, outcome: Outcome) -> bool:
        return isinstance(outcome, Answer)


BATCH = BatchLines()

_BATCH_ANSWERED = re.compile(
    rb'\{"id":"batch_req_([0-9a-f]{15})[0-9a-f]{9}","custom_id":"([^"\\]*)",(?:"row":"([^"\\]*)",)?"error":null,'
).match


@dataclass(frozen=True, slots=True)
class RecordLines:
    """Lines that are a job's own records, and end in what a run must know of them.

    `fields` makes the record of a row that was asked and what came of it; what it calls its first field is what lines
    begin with. Of a record that is read again, `body` of the Answer is all of it.
    """

    first: str
    fields: Callable[[Request, Outcome], Mapping[str, Any]]

    @property
    def begins(self) -> bytes:
        return b'{"%s":' % self.first.encode()

    def encode(self, outcome: Outcome, request: Request | None = None) -> bytes:
        assert request is not None, "the record of a row needs the row"
        record = {
            **self.fields(request, outcome),
            "id": outcome.id,
            "asked": outcome.asked,
            "failed": None if isinstance(outcome, Answer) else outcome.kind,
            "instance": outcome.instance,
            "attempts": outcome.attempts,
            "latency_s": outcome.latency_s if isinstance(outcome, Answer) else None,
        }
        return to_json(record) + b"\n"

    def decode(self, line: bytes) -> Outcome:
        return record_outcome(line)

    def heading(self, line: bytes) -> Heading:
        if (told := _end_of(line)) is not None:
            row_id, asked = told.groups()
            return row_id.decode(), int(asked, 16), None
        return _heading_of(self.decode(line))

    def answered(self, lines: Sequence[bytes]) -> Answered | None:
        found = [*map(_end_of, lines)]
        if None in found:
            return None
        ids, askeds = zip(*(told.groups() for told in found if told), strict=True)
        return map(bytes.decode, ids), (int(asked, 16) for asked in askeds)

    def is_output(self, outcome: Outcome) -> bool:
        return isinstance(outcome, Answer)


def record_outcome(line: bytes) -> Outcome:
    """Return what became of a row by its record, whichever job's it is. Raises ValueError, KeyError, TypeError for a
    line that is none."""
    record = from_json(line)
    row_id, asked, failed = record["id"], record["asked"], record["failed"]
    if failed is None:
        return Answer(row_id, asked, record, record["instance"], record["attempts"], record["latency_s"])
    message, raw = record.get("error") or "", record.get("raw_output")
    return Failure(row_id, asked, failed, message, record["instance"], record["attempts"], raw=raw)


def any_outcome(line: bytes) -> Outcome:
    """Return what became of a row by a line of either kind. Raises as `record_outcome` does."""
    return BATCH.decode(line) if line.startswith(BATCH.begins) else record_outcome(line)


_ENDS_ANSWERED = re.compile(
    rb',"id":"([^"\\]*)","asked":"([0-9a-f]{15})[0-9a-f]{49}","failed":null,'
    rb'"instance":(?:null|"[^"\\]*"),"attempts":\d+,"latency_s":[0-9.e+-]+\}\n'
)


def _end_of(line: bytes) -> re.Match[bytes] | None:
    """Return the end of a record that was answered. Quotes in strings are escaped, so that it is nowhere else."""
    start = line.rfind(b',"id":"')
    return _ENDS_ANSWERED.fullmatch(line, start) if start >= 0 else None


def _heading_of(outcome: Outcome) -> Heading:
    return outcome.id, short(outcome.asked), None if isinstance(outcome, Answer) else outcome.kind
