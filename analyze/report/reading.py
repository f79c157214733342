"""What a run recorded, read back. Knows the names of a run's files, and no number that is computed from them.

Everything foreign is made visible here, once (`safe.visible`), so nothing later can forget to.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analyze.errors import InputError
from analyze.report.safe import visible_all

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Recorded:
    """The records of one run folder: `run` is the manifest; tasks are by id, the others in the order of their files."""

    folder: Path
    run: Record
    tasks: list[Record]
    failed: list[Record]
    rejects: list[Record]


def read_run(folder: Path) -> Recorded:
    """Read the records of a run. A file that is not there counts as empty.

    Raises InputError where `folder` holds no run at all, or where a line is not a JSON object.
    """
    if not (folder / "run.json").exists() and not (folder / "per_task.jsonl").exists():
        raise InputError(
            "this folder holds no run: neither run.json nor per_task.jsonl is there",
            path=str(folder),
            cure="name the OUTPUT_DIR of a pipeline run",
        )
    manifest = folder / "run.json"
    return Recorded(
        folder=folder,
        run=_object(manifest.read_bytes(), manifest, None) if manifest.exists() else {},
        # Sorted: links lead to the first task that has something, and a run that was continued wrote in another order.
        tasks=sorted(_lines(folder / "per_task.jsonl"), key=lambda task: str(task.get("task_id"))),
        failed=list(_lines(folder / "failed.jsonl")),
        rejects=list(_lines(folder / "rejects.jsonl")),
    )


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
    seen: Record = visible_all(value)
    return seen


def _lenient(data: bytes, path: Path, line: int | None) -> Any:
    """Parse what orjson refuses and Python writes: half a surrogate pair, NaN."""
    try:
        return json.loads(data.decode("utf-8", "replace"), parse_constant=lambda _name: None)
    except ValueError as error:
        raise InputError(f"not JSON ({error})", path=str(path), line=line, cure=_CURE) from error


_CURE = "run the same pipeline command again: it rebuilds this file from the journal"
