"""The files of a run that are lists of rows, and moving a folder's old files aside. Knows no step."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from analyze.files import whole_file
from analyze.records import to_json

LOCK = "journal.jsonl.lock"


def write_lines(path: Path, rows: Iterable[Any]) -> None:
    """Write JSON lines, whole or not at all."""
    with whole_file(path, "wb") as file:
        file.writelines(to_json(row) + b"\n" for row in rows)


def move_away(folder: Path) -> None:
    """Move everything of an output folder into `previous/<UTC time>/`."""
    old = [path for path in folder.iterdir() if path.name not in ("previous", LOCK)]
    if not old:
        return
    place = folder / "previous" / datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%S.%fZ")
    place.mkdir(parents=True)
    for path in old:
        path.rename(place / path.name)
