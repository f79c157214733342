"""What a run knows, on disk: one line an outcome, appended as it comes. The same file continues after any kill.

What a line looks like is a matter of `lines`: of an OpenAI batch output file, or of a job's own records. Answers and
failures stand in one file, or in two (file jobs: `answers.jsonl`, `answers.jsonl.failed.jsonl`). Of several lines of
one row the last holds, and an answer beats a failure. Knows nothing of who asks, or how.

What can be lost: a line is written (write(2)) before it counts, so killing the process loses nothing. It is
synced to the disk at most a second or 1,000 lines later: a power cut loses at most those, and they are asked again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from analyze.errors import InputError, OutputLostError, UsageError
from analyze.files import output_errors, sync_folder, whole_file
from analyze.records import Answer, Failure, Outcome, Request
from analyze.runs.index import Index
from analyze.runs.lines import BATCH, Heading, Lines
from analyze.runs.seen import Known, Seen, short

T = TypeVar("T")
OnHole = Callable[[Path], object]

SYNC_AFTER_S = 1.0
SYNC_AFTER_LINES = 1000
READ_BYTES = 1 << 20  # at a time: lines of 1 kB come four times as quickly as with the 8 kB that are usual


class _Appender:
    """A file that only grows, by whole lines."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with output_errors(path):
            drop_torn_tail(path)
            is_new = not path.exists()
            self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
            if is_new:
                sync_folder(path.parent)
        self._unsynced = 0
        self._synced_at = time.monotonic()

    def append(self, line: bytes) -> None:
        """Hand one line to the operating system. Raises OutputLostError, leaving no part of the line behind."""
        written = 0
        try:
            while written < len(line):
                written += os.write(self._fd, line[written:])
        except OSError:
            with output_errors(self.path):
                os.ftruncate(self._fd, os.fstat(self._fd).st_size - written)
                raise
        self._unsynced += 1
        if self._unsynced >= SYNC_AFTER_LINES or time.monotonic() - self._synced_at >= SYNC_AFTER_S:
            self.sync()

    def sync(self) -> None:
        if not self._unsynced:
            return
        if os.fstat(self._fd).st_nlink == 0:
            raise OutputLostError(f"{self.path} was removed while the run wrote to it", cure="run the command again")
        with output_errors(self.path):
            os.fsync(self._fd)
        self._unsynced, self._synced_at = 0, time.monotonic()

    def close(self) -> None:
        """Sync and close."""
        try:
            self.sync()
        finally:
            os.close(self._fd)


class Journal:
    """The outcomes of one run. Open it under a RunLock: two writers would mix their lines."""

    def __init__(self, answers: Path, failures: Path | None = None, *, lines: Lines = BATCH) -> None:
        """Open or continue a journal. Raises InputError if a file holds something else."""
        self.answers_path, self.failures_path, self._lines = answers, failures or answers, lines
        self._open()

    def _open(self) -> None:
        known = self._what_is_known()
        self.seen, self._outdated, self._holed = known.seen, known.outdated, known.holed
        self._fails_in_output = known.fails_in_output
        self._appenders: dict[Path, _Appender] = {}  # made by the first record: opening a journal changes no file

    def _what_is_known(self) -> WhatIsKnown:
        return what_is_known(self.answers_path, self.failures_path, self._lines)

    def _files(self) -> Sequence[Path]:
        """Return the files in the order in which lines are retired from them."""
        return list(dict.fromkeys((self.failures_path, self.answers_path)))

    def _path_of(self, outcome: Outcome, request: Request | None) -> Path:
        """Return the file that an outcome is written to."""
        return self.answers_path if self._lines.is_output(outcome) else self.failures_path

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def record(self, outcome: Outcome, request: Request | None = None) -> Known | None:
        """Write one outcome; when this returns, killing the process cannot lose it. Return what was known before.

        `request` is what was asked; lines that are records of a job's own are made of it.
        """
        line = self._lines.encode(outcome, request)
        self._appender(self._path_of(outcome, request)).append(line)
        self._fails_in_output |= isinstance(outcome, Failure) and self._lines.is_output(outcome)
        known = self.seen.get(outcome.id)
        self._outdated += known is not None and known.failed is not None
        self.seen.note(outcome.id, short(outcome.asked), None if isinstance(outcome, Answer) else outcome.kind)
        return known

    def _appender(self, path: Path) -> _Appender:
        appender = self._appenders.get(path)
        if appender is None:
            self._fill_holes(path)
            appender = self._appenders[path] = _Appender(path)
        return appender

    def _fill_holes(self, path: Path) -> None:
        if path in self._holed:
            rewrite(path, lambda row_id, start: True, self._lines)
            self._holed.discard(path)

    def sync(self) -> None:
        """Have the disk hold all that is recorded."""
        for appender in self._appenders.values():
            appender.sync()

    def retire(self, is_outdated: Callable[[str], bool]) -> None:
        """Remove the lines of these rows, each file in one step: a kill leaves the old file or the new one."""
        self.close()
        for path in self._files():
            rewrite(path, lambda row_id, start: not is_outdated(row_id), self._lines)
        self._open()

    def tidy(self) -> None:
        """Leave one line of each failed row, and of failures none of a row that has been answered."""
        for path in self._files():
            self._fill_holes(path)
        if not self._outdated or self.failures_path == self.answers_path:
            return
        self.close()  # what replaces a failure is on the disk before that is forgotten
        last = starts(self.failures_path, self._lines)
        output = starts(self.answers_path, self._lines) if self._fails_in_output else Index()

        def is_current(row_id: str, start: int) -> bool:
            is_told = output.get(row_id) is not None  # a reply that cannot be used tells more than a failed server
            return last.get(row_id) == start and self.seen.failed(row_id) is not None and not is_told

        rewrite(self.failures_path, is_current, self._lines)
        if self._fails_in_output:
            rewrite(self.answers_path, lambda row_id, start: output.get(row_id) == start, self._lines)
        self._outdated = 0

    def close(self) -> None:
        """Sync and close the files; the next record opens them again."""
        with ExitStack() as stack:
            for appender in self._appenders.values():
                stack.callback(appender.close)
            self._appenders = {}


@dataclass(slots=True)
class WhatIsKnown:
    """What a journal says. `outdated`: lines of failures that later ones replace. `holed`: files with holes in them.
    `fails_in_output`: failures stand among the answers, of a journal in two files (`Lines.is_output`)."""

    seen: Seen
    outdated: int
    holed: set[Path]
    fails_in_output: bool = False


def what_is_known(answers: Path, failures: Path, lines: Lines = BATCH) -> WhatIsKnown:
    """Read a journal, changing nothing. Raises InputError."""
    known = WhatIsKnown(Seen(), 0, set())
    in_two = failures != answers
    for path in (failures, answers):
        refuse_foreign(path, lines)
    if in_two:
        for row_id, asked, failed in _read(failures, lines.heading, known.holed.add):
            known.outdated += known.seen.get(row_id) is not None
            known.seen.note(row_id, asked, failed)
    _note_file(known, answers, lines, in_two=in_two)
    if in_two:
        known.outdated += sum(known.seen.failed(row_id) is None for row_id, _, _ in headings(failures, lines))
    return known


def what_files_know(paths: Iterable[Path], lines: Lines) -> WhatIsKnown:
    """Read a journal of several files, each with answers and failures, changing nothing. Raises InputError.

    Of several lines of one row the last one of the last file holds, and an answer beats a failure.
    """
    known = WhatIsKnown(Seen(), 0, set())
    for path in paths:
        refuse_foreign(path, lines)
        _note_file(known, path, lines)
    return known


def _note_file(known: WhatIsKnown, path: Path, lines: Lines, *, in_two: bool = False) -> None:
    """Take note of a file. `in_two`: it is that of the answers, and failures have one of their own."""
    for number, block in _blocks(path):
        if known.fails_in_output or not _note_answers(known.seen, block, lines):
            for row_id, asked, failed in _each(path, number, block, lines.heading, known.holed.add):
                known.fails_in_output |= in_two and failed is not None
                known.outdated += known.fails_in_output and known.seen.failed(row_id) is not None
                known.seen.note(row_id, asked, failed)


def _note_answers(seen: Seen, block: Sequence[bytes], lines: Lines) -> bool:
    """Take note of lines if all are whole and of answers, at half the price; return whether they are."""
    answered = lines.answered(block)
    if answered is None or any(b"\0" in line for line in block) or not block[-1].endswith(b"\n"):
        return False
    seen.note_answers(*answered)
    return True


def rewrite(path: Path, keep: Callable[[str, int], bool], lines: Lines = BATCH) -> None:
    """Keep the lines for which `keep` (of the row's id and where the line begins) is true, in one step."""
    if path.exists():
        with whole_file(path, "wb") as new:
            new.writelines(line for start, line in read_lines(path) if keep(lines.heading(line)[0], start))


def offsets(path: Path, lines: Lines = BATCH) -> Iterator[tuple[str, int]]:
    """Yield the id of each line's row, and where the line begins."""
    for start, line in read_lines(path):
        yield lines.heading(line)[0], start


def starts(path: Path, lines: Lines = BATCH) -> Index:
    """Return where the last line of each row begins; memory holds 16 bytes a row."""
    found = Index()
    for row_id, start in offsets(path, lines):
        found[row_id] = start
    return found


def refuse_foreign(path: Path, lines: Lines = BATCH) -> None:
    """Raise InputError for a file that does not begin as a journal does, before anything of it could be cut."""
    try:
        with open(path, "rb") as file:
            start = file.read(len(lines.begins))
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", cure="give another output") from error
    if not lines.begins.startswith(start.replace(b"\0", b"")):  # a power cut may have left it empty
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


def read_outcomes(path: Path, lines: Lines = BATCH) -> Iterator[Outcome]:
    """Yield the outcomes of a journal in the order they came; a torn tail is left out, a missing file is empty.

    Raises InputError for a line that no run of ours wrote.
    """
    return _read(path, lines.decode)


def headings(path: Path, lines: Lines = BATCH) -> Iterator[Heading]:
    """Yield of each line only the row's id, what was asked in short, and the kind of failure. Raises InputError."""
    return _read(path, lines.heading)


def _read(path: Path, reader: Callable[[bytes], T], on_hole: OnHole = lambda path: None) -> Iterator[T]:
    for number, lines in _blocks(path):
        yield from _each(path, number, lines, reader, on_hole)


def _each(
    path: Path, number: int, lines: Sequence[bytes], reader: Callable[[bytes], T], on_hole: OnHole
) -> Iterator[T]:
    """Yield what `reader` makes of each whole line; `number` is the first one's."""
    for here, line in enumerate(lines, number):
        try:
            if _is_whole(line, path, on_hole):
                yield reader(line)
        except (ValueError, KeyError, TypeError) as error:
            raise foreign(path, here, error) from error


def foreign(path: Path, line: int, error: Exception) -> InputError:
    """Return what is said of a line that no run of ours wrote."""
    return InputError(
        f"this line was not written by a run of ours ({error})",
        path=str(path),
        line=line,
        cure="give another output, or move this file away",
    )


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield beginning and content of each line that was written whole."""
    start = 0
    for _, lines in _blocks(path):
        for line in lines:
            if _is_whole(line, path, lambda path: None):
                yield start, line
            start += len(line)


def _is_whole(line: bytes, path: Path, on_hole: OnHole) -> bool:
    """Tell of a torn tail that it is none. `on_hole` is told of a line in which a power cut has left a hole.

    Such a line was not synced, and is asked again.
    """
    if b"\0" in line:
        on_hole(path)
        return False
    return line.endswith(b"\n")


def _blocks(path: Path) -> Iterator[tuple[int, list[bytes]]]:
    """Yield the lines of a file, a megabyte at a time, with the first one's number; a missing file has none."""
    try:
        file = open(path, "rb", READ_BYTES)  # noqa: SIM115 - closed below; a missing file is not an error
    except FileNotFoundError:
        return
    with file:
        number = 1
        while lines := file.readlines(READ_BYTES):
            yield number, lines
            number += len(lines)
