"""What a run recorded, read back. Knows the names of a run's files, and no number that is computed from them.

Everything foreign is made visible here, once (`safe.visible`), so nothing later can forget to. Tasks are read one by
one, and what the judge wrote is kept of those alone that a page opens: of 100,000 judgements it is half the memory.
"""

from __future__ import annotations

import json
import re
from bisect import insort
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analyze.errors import InputError
from analyze.report.safe import MOST_CHARS, NAME_CHARS, NAMES_OF_ROWS, visible_all

Record = dict[str, Any]


# Tasks that a page opens, those with the lowest scores.
MOST_OPENED = 200

# What a judge writes of a pair, and in a cell.
_OF_PAIR = ("strengths", "weaknesses")
_OF_CELL = ("reason", "requirements", "analysis", "evidence")


@dataclass(frozen=True, slots=True)
class Recorded:
    """The records of one run folder: `run` is the manifest; tasks are by id, the others in the order of their files.

    What the judge wrote is left out of the tasks that are not among `opened`: the `MOST_OPENED` with the lowest
    scores, the lowest first, those without a score last.
    """

    folder: Path
    run: Record
    tasks: list[Record]
    opened: list[Record]
    failed: list[Record]
    rejects: list[Record]


def read_run(folder: Path, hear: Callable[[Record], None] = lambda task: None) -> Recorded:
    """Read the records of a run. A file that is not there counts as empty. `hear` is told every whole task, once.

    Raises InputError where `folder` holds no run at all, or where a line is not a JSON object.
    """
    if not (folder / "run.json").exists() and not (folder / "per_task.jsonl").exists():
        raise InputError(
            "this folder holds no run: neither run.json nor per_task.jsonl is there",
            path=str(folder),
            cure="name the OUTPUT_DIR of a pipeline run",
        )
    manifest = folder / "run.json"
    tasks, opened = _tasks(_lines(folder / "per_task.jsonl"), hear)
    return Recorded(
        folder=folder,
        run=_object(manifest.read_bytes(), manifest, None) if manifest.exists() else {},
        tasks=tasks,
        opened=opened,
        failed=list(_lines(folder / "failed.jsonl")),
        rejects=list(_lines(folder / "rejects.jsonl")),
    )


def _tasks(lines: Iterable[Record], hear: Callable[[Record], None]) -> tuple[list[Record], list[Record]]:
    tasks: list[Record] = []
    opened: list[Record] = []
    for task in lines:
        hear(task)
        tasks.append(task)
        insort(opened, task, key=lowest_first)
        if len(opened) > MOST_OPENED:
            _without_prose(opened.pop())
    # Sorted: links lead to the first task that has something, and a run that was continued wrote in another order.
    return sorted(tasks, key=_id), opened


def lowest_first(task: Record) -> tuple[bool, float, str]:
    """Sort tasks by score, then by id; those without a score are last."""
    score = task.get("score")
    return (score is None, 0.0 if score is None else score, _id(task))


def _id(task: Record) -> str:
    return str(task.get("task_id"))


def _without_prose(task: Record) -> None:
    for pair in task.get("rivals", ()):
        for name in _OF_PAIR:
            pair.pop(name, None)
    for cells in (part.get("cells", ()) for part in (*task.get("rivals", ()), *(task.get("audit") or ()))):
        for cell in cells:
            for name in _OF_CELL:
                cell.pop(name, None)


def _lines(path: Path) -> Iterator[Record]:
    if not path.exists():
        return
    # A binary file breaks lines at \n alone; text mode would also break at U+2028 inside a string.
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield _object(line, path, number)


def _object(data: bytes, path: Path, line: int | None) -> Record:
    import orjson

    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        value = _lenient(data, path, line)
    if not isinstance(value, dict):
        raise InputError("not a JSON object", path=str(path), line=line, cure=_CURE)
    seen: Record = value if _is_plain(data) else visible_all(value)
    return seen


# The escapes of signs that are not shown as they are; a quote that begins or ends a string, for nothing escapes it.
_ESCAPE = re.compile(rb"\\[ubfr]")
_QUOTE = re.compile(rb'[^\\]"')
_WINDOW = MOST_CHARS // 2
_LONG_NAME = re.compile(rb'"(?:%s)"\s*:\s*\[?\s*"[^"]{%d}' % ("|".join(NAMES_OF_ROWS).encode(), NAME_CHARS))


def _is_plain(data: bytes) -> bool:
    """Tell whether all of a line of JSON is shown as it is: no sign to be made visible, no text to be cut.

    It looks at bytes, and may say no where all is well: to look at each of 7 million texts takes five times as long.
    """
    if _ESCAPE.search(data) or _LONG_NAME.search(data) or not data.strip().decode("utf-8", "replace").isprintable():
        return False
    return all(_QUOTE.search(data, at, at + _WINDOW) for at in range(0, len(data) - _WINDOW, _WINDOW))


def _lenient(data: bytes, path: Path, line: int | None) -> Any:
    """Parse what orjson refuses and Python writes: half a surrogate pair, NaN."""
    try:
        return json.loads(data.decode("utf-8", "replace"), parse_constant=lambda _name: None)
    except ValueError as error:
        raise InputError(f"not JSON ({error})", path=str(path), line=line, cure=_CURE) from error


_CURE = "run the same pipeline command again: it rebuilds this file from the journal"
