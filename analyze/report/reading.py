"""What a run recorded, read back. Knows the names of a run's files, and no number that is computed from them.

Everything foreign is made visible here, once (`safe.visible`), so nothing later can forget to. Tasks are read one by
one, and what the judge wrote is kept of those alone that a page opens: of 100,000 judgements it is half the memory.
"""

from __future__ import annotations

import json
import re
from bisect import insort
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from itertools import compress
from pathlib import Path
from sys import intern
from typing import Any
from zlib import crc32

from analyze.errors import InputError
from analyze.report.safe import MOST_CHARS, NAMES_OF_ROWS, is_name, visible_all

Record = dict[str, Any]

TASKS = "per_task.jsonl"

_BUFFER = 1 << 18  # bytes: a line is 27 kB
_BEGINNING = 1 << 10  # of a line, which has the id of its task

# Tasks that a page opens, those with the lowest scores.
MOST_OPENED = 200

# What is not shown of tasks that are not opened is let go: it would be half the memory.
_WRITTEN = ("strengths", "weaknesses")
_OF_CELL = ("order", "sample", "status", "digit", "score", "dimensions", "probabilities", "legal_mass")
_OF_FACTS = (
    *("language", "syntax_ok", "code_lines", "comment_lines", "duplicated_lines"),
    *("mean_complexity", "max_complexity", "lint", "security", "limits"),
)


@dataclass(frozen=True, slots=True)
class Recorded:
    """The records of one run folder: `run` is the manifest; tasks are by id, the others in the order of their files.

    What is not counted is left out of the tasks that are not among `opened`: the `MOST_OPENED` with the lowest
    scores, the lowest first, those without a score last.
    """

    folder: Path
    run: Record
    tasks: list[Record]
    opened: list[Record]
    failed: list[Record]
    rejects: list[Record]


def read_run(folder: Path) -> Recorded:
    """Read the records of a run. A file that is not there counts as empty.

    Raises InputError where `folder` holds no run at all, or where a line is not a JSON object.
    """
    run = read_manifest(folder)
    tasks, opened = _tasks(_lines(folder / TASKS))
    return Recorded(
        folder=folder,
        run=run,
        tasks=tasks,
        opened=opened,
        failed=list(_lines(folder / "failed.jsonl")),
        rejects=list(_lines(folder / "rejects.jsonl")),
    )


def read_manifest(folder: Path) -> Record:
    """Read what a run is, which may not be known. Raises as `read_run` does."""
    manifest = folder / "run.json"
    if manifest.exists():
        return _object(manifest.read_bytes(), manifest, None)
    if (folder / TASKS).exists():
        return {}
    raise InputError(
        "this folder holds no run: neither run.json nor per_task.jsonl is there",
        path=str(folder),
        cure="name the OUTPUT_DIR of a pipeline run",
    )


def foreign_tasks(folder: Path, most: int) -> tuple[Iterator[Record], int]:
    """Return tasks of a run, whole and just as they were written, and how many there are; of more than `most`, so many.

    Nothing is made visible: that is half the time that reading takes. They are drawn by a hash of their first kilobyte,
    which has the id, so that it makes no difference in which order they were written. Raises InputError as `read_run`
    does.
    """
    path = folder / TASKS
    drawn = [crc32(data[:_BEGINNING]) for data, _ in _numbered(path)]
    last = nsmallest(most, drawn)[-1] if len(drawn) > most else max(drawn, default=0)
    heard = compress(_numbered(path), (hashed <= last for hashed in drawn))
    return (_parsed(data, path, number) for data, number in heard), len(drawn)


def _tasks(lines: Iterable[Record]) -> tuple[list[Record], list[Record]]:
    tasks: list[Record] = []
    opened: list[Record] = []
    for task in lines:
        tasks.append(task)
        insort(opened, task, key=lowest_first)
        if len(opened) > MOST_OPENED:
            _let_go(opened.pop())
    # Sorted: links lead to the first task that has something, and a run that was continued wrote in another order.
    return sorted(tasks, key=_id), opened


def lowest_first(task: Record) -> tuple[bool, float, str]:
    """Sort tasks by score, then by id; those without a score are last."""
    score = task.get("score")
    return (score is None, 0.0 if score is None else score, _id(task))


def _id(task: Record) -> str:
    return str(task.get("task_id"))


def _let_go(task: Record) -> None:
    """Leave what is counted of a task that is not opened."""
    for pair in (rivals := task.get("rivals", ())):
        for name in _WRITTEN:
            pair.pop(name, None)
    for solution in (task.get("target"), *rivals):
        if solution and solution.get("facts"):
            solution["facts"] = _only(_OF_FACTS, solution["facts"])
    for part in (*rivals, *(task.get("audit") or ())):
        part["cells"] = [_only(_OF_CELL, cell) for cell in part.get("cells", ())]


def _only(keys: Sequence[str], record: Record) -> Record:
    """Return these keys of a record, in half the memory that it has when the others are taken out of it."""
    return {key: intern(value) if type(value := record[key]) is str else value for key in keys if key in record}


def _lines(path: Path) -> Iterator[Record]:
    return (_object(data, path, number) for data, number in _numbered(path))


def _numbered(path: Path) -> Iterator[tuple[bytes, int]]:
    """Yield the lines of a file, with their numbers, that are not blank."""
    if not path.exists():
        return
    # A binary file breaks lines at \n alone; text mode would also break at U+2028 inside a string.
    with open(path, "rb", buffering=_BUFFER) as file:
        for number, line in enumerate(file, 1):
            if not line.isspace():
                yield line, number


def _object(data: bytes, path: Path, line: int | None) -> Record:
    value = _parsed(data, path, line)
    seen: Record = value if _is_plain(data) and all(map(is_name, _names(value))) else visible_all(value)
    return seen


def _parsed(data: bytes, path: Path, line: int | None) -> Record:
    import orjson

    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        value = _lenient(data, path, line)
    if not isinstance(value, dict):
        raise InputError("not a JSON object", path=str(path), line=line, cure=_CURE)
    parsed: Record = value
    return parsed


def _names(record: Record) -> Iterator[Any]:
    """Yield what names something in a line of any of the files."""
    for part in (record, record.get("target"), *(record.get("rivals") or ()), *(record.get("audit") or ())):
        for key in NAMES_OF_ROWS.intersection(part or ()):
            value = part[key]
            yield from value if isinstance(value, list) else (value,)


# The escapes of signs that are not shown as they are; a quote that begins or ends a string, for nothing escapes it.
_ESCAPE = re.compile(rb"\\[ubfr]")
_QUOTE = re.compile(rb'[^\\]"')
_WINDOW = MOST_CHARS // 2
_ASCII = bytes(range(128))


def _is_plain(data: bytes) -> bool:
    """Tell whether all texts of a line of JSON are shown as they are: no sign to be made visible, nothing to be cut.

    It looks at bytes, and may say no where all is well: to look at each of 7 million texts takes five times as long.
    """
    if _has_escape(data) or not _is_printable(data):
        return False
    return all(_QUOTE.search(data, at, at + _WINDOW) for at in range(0, len(data) - _WINDOW, _WINDOW))


def _has_escape(data: bytes) -> bool:
    # Code is full of `\\n`, which JSON writes with two backslashes, and now and then the letter of an escape follows.
    return bool(_ESCAPE.search(data) and _ESCAPE.search(data.replace(b"\\\\", b"")))


def _is_printable(data: bytes) -> bool:
    """Tell the same of its characters alone. No JSON holds the controls of ASCII as they are, but for one."""
    return b"\x7f" not in data and data.translate(None, _ASCII).decode("utf-8", "replace").isprintable()


def _lenient(data: bytes, path: Path, line: int | None) -> Any:
    """Parse what orjson refuses and Python writes: half a surrogate pair, NaN."""
    try:
        return json.loads(data.decode("utf-8", "replace"), parse_constant=lambda _name: None)
    except ValueError as error:
        raise InputError(f"not JSON ({error})", path=str(path), line=line, cure=_CURE) from error


_CURE = "run the same pipeline command again: it rebuilds this file from the journal"
