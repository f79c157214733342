"""What a run knows, on disk: one line an outcome, appended as it comes. The same file continues after any kill.

A line is a line of an OpenAI batch output file with a few fields more:

    {"id", "custom_id", "response": {"status_code", "request_id", "body"}, "error": null,
     "asked", "instance", "attempts", "latency_s", "row"?}

Answers and failures stand in one file, or in two (file jobs: `answers.jsonl`, `answers.jsonl.failed.jsonl`). Of
several lines of one row the last holds, and an answer beats a failure. Knows nothing of who asks, or how.

What can be lost: a line is written (write(2)) before it counts, so killing the process loses nothing. It is
synced to the disk at most a second or 1,000 lines later: a power cut loses at most those, and they are asked again.
"""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from analyze.errors import InputError, OutputHeldError, OutputLostError, UsageError
from analyze.files import output_errors, whole_file
from analyze.records import Answer, Failure, FailureKind, Outcome, from_json, to_json

FIRST_BYTES = b'{"id":"batch_req_'
SYNC_AFTER_S = 1.0
SYNC_AFTER_LINES = 1000


@dataclass(frozen=True, slots=True)
class Seen:
    """What the journal knows of a row: what was asked, and the kind of failure if it failed."""

    asked: str
    failed: FailureKind | None = None


class RunLock:
    """One writer an output, as a context manager. The lock is the kernel's (flock): it ends with the process."""

    def __init__(self, path: Path) -> None:
        """Take the lock or raise OutputHeldError, naming who holds it."""
        self.path = path
        with output_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._locked()
            self._file.truncate(0)
            started = datetime.now(UTC).isoformat(timespec="seconds")
            holder = {"pid": os.getpid(), "host": socket.gethostname(), "started": started}
            self._file.write(to_json(holder) + b"\n")
            self._file.flush()

    def _locked(self) -> IO[bytes]:
        while True:
            file = open(self.path, "a+b")  # noqa: SIM115 - held open for as long as the run
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = self.path.read_text(errors="replace").strip() or "another process"
                file.close()
                raise OutputHeldError(
                    f"another run writes to this output: {holder} ({self.path})",
                    cure="wait for it to end, or stop it; this run changed nothing",
                ) from None
            if self.path.exists() and os.path.samestat(os.fstat(file.fileno()), self.path.stat()):
                return file
            file.close()  # its last holder removed the name between our open and our lock

    def __enter__(self) -> RunLock:
        return self

    def __exit__(self, *exc: object) -> None:
        self.path.unlink(missing_ok=True)
        self._file.close()


class _Appender:
    """A file that only grows, by whole lines."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with output_errors(path):
            drop_torn_tail(path)
            self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        self._open = True
        self._unsynced = 0
        self._synced_at = time.monotonic()

    def append(self, line: bytes) -> None:
        """Hand one line to the operating system. Raises OutputLostError, leaving no part of the line behind."""
        size = os.fstat(self._fd).st_size
        with output_errors(self.path):
            try:
                rest = memoryview(line)
                while rest:
                    rest = rest[os.write(self._fd, rest) :]
            except OSError:
                os.ftruncate(self._fd, size)
                raise
        self._unsynced += 1
        if self._unsynced >= SYNC_AFTER_LINES or time.monotonic() - self._synced_at >= SYNC_AFTER_S:
            self.sync()

    def sync(self) -> None:
        if os.fstat(self._fd).st_nlink == 0:
            raise OutputLostError(f"{self.path} was removed while the run wrote to it", cure="run the command again")
        with output_errors(self.path):
            os.fsync(self._fd)
        self._unsynced, self._synced_at = 0, time.monotonic()

    def close(self) -> None:
        """Sync and close; a second call does nothing."""
        if not self._open:
            return
        self._open = False
        try:
            if self._unsynced:
                self.sync()
        finally:
            os.close(self._fd)


class Journal:
    """The outcomes of one run. Open it under a RunLock: two writers would mix their lines."""

    def __init__(self, answers: Path, failures: Path | None = None) -> None:
        """Open or continue a journal. Raises InputError if a file holds something else."""
        self.answers_path, self.failures_path = answers, failures or answers
        self._open()

    def _open(self) -> None:
        paths = dict.fromkeys((self.failures_path, self.answers_path))
        self.seen: dict[str, Seen] = {}
        for path in paths:
            refuse_foreign(path)
            for outcome in read_outcomes(path):
                failed = outcome.kind if isinstance(outcome, Failure) else None
                known = self.seen.get(outcome.id)
                if failed is None or known is None or known.failed is not None or known.asked != outcome.asked:
                    self.seen[outcome.id] = Seen(outcome.asked, failed)
        self._answers = _Appender(self.answers_path)
        self._failures = self._answers if len(paths) == 1 else _Appender(self.failures_path)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def record(self, outcome: Outcome) -> None:
        """Write one outcome; when this returns, killing the process cannot lose it."""
        answered = isinstance(outcome, Answer)
        (self._answers if answered else self._failures).append(encode(outcome))
        self.seen[outcome.id] = Seen(outcome.asked, None if isinstance(outcome, Answer) else outcome.kind)

    def retire(self, ids: Collection[str]) -> None:
        """Remove the lines of these rows, in one step: a kill leaves the old files or the new ones."""
        if not ids:
            return
        self.close()
        for path in dict.fromkeys((self.failures_path, self.answers_path)):
            with open(path, "rb") as old, whole_file(path, "wb") as new:
                new.writelines(line for line in old if decode(line).id not in ids)
        self._open()

    def close(self) -> None:
        try:
            self._answers.close()
        finally:
            if self._failures is not self._answers:
                self._failures.close()


def refuse_foreign(path: Path) -> None:
    """Raise InputError for a file that does not begin as a journal does, before anything of it could be cut."""
    try:
        with open(path, "rb") as file:
            start = file.read(len(FIRST_BYTES))
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", cure="give another output") from error
    if not FIRST_BYTES.startswith(start):
        cure = "give another output, or move this file away"
        raise InputError("this file was not written by a run of ours", path=str(path), line=1, cure=cure)


def drop_torn_tail(path: Path) -> None:
    """Cut a last line that a crash left without its newline, so that the next append starts on a line of its own."""
    try:
        with open(path, "rb+") as file:
            size = file.seek(0, os.SEEK_END)
            keep = size
            while keep > 0:
                start = max(0, keep - 2**16)
                file.seek(start)
                newline = file.read(keep - start).rfind(b"\n")
                if newline >= 0:
                    keep = start + newline + 1
                    break
                keep = start
            if keep < size:
                file.truncate(keep)
    except FileNotFoundError:
        return


def read_outcomes(path: Path) -> Iterator[Outcome]:
    """Yield the outcomes of a journal in the order they came; a torn tail is left out, a missing file is empty.

    Raises InputError for a line that no run of ours wrote.
    """
    try:
        file = open(path, "rb")  # noqa: SIM115 - closed below; a missing file is not an error
    except FileNotFoundError:
        return
    with file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            try:
                yield decode(line)
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(
                    f"this line was not written by a run of ours ({error})",
                    path=str(path),
                    line=number,
                    cure="give another output, or move this file away",
                ) from error


def encode(outcome: Outcome) -> bytes:
    record: dict[str, Any] = {
        "id": f"batch_req_{outcome.asked[:24]}",
        "custom_id": outcome.id if outcome.custom_id is None else outcome.custom_id,
        "response": None,
        "error": None,
        "asked": outcome.asked,
        "instance": outcome.instance,
        "attempts": outcome.attempts,
    }
    if isinstance(outcome, Answer):
        record["response"] = {"status_code": 200, "request_id": outcome.body.get("id"), "body": outcome.body}
        record["latency_s"] = outcome.latency_s
    else:
        record["error"] = {"code": outcome.kind, "message": outcome.message}
        if outcome.status_code is not None:
            record["response"] = {"status_code": outcome.status_code, "request_id": None, "body": None}
        if outcome.raw is not None:
            record["raw"] = outcome.raw
    if outcome.custom_id is not None:
        record["row"] = outcome.id
    return to_json(record) + b"\n"


def decode(line: bytes) -> Outcome:
    """Read one line. Raises ValueError, KeyError or TypeError for one that `encode` did not write."""
    record = from_json(line)
    row, custom_id = record.get("row"), record["custom_id"]
    row_id, own = (custom_id, None) if row is None else (row, custom_id)
    response, error = record["response"], record["error"]
    if error is None:
        return Answer(
            row_id, record["asked"], response["body"], record["instance"], record["attempts"], record["latency_s"], own
        )
    return Failure(
        row_id,
        record["asked"],
        error["code"],
        error["message"],
        record["instance"],
        record["attempts"],
        None if response is None else response["status_code"],
        record.get("raw"),
        own,
    )
