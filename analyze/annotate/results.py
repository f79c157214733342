"""What the records of a run come to: endings, names, boxes an image, flags, failures. Knows no server and no page.

Memory holds counts and a few examples, however many records there are; of names it holds each once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analyze.records import from_json

Record = dict[str, Any]
EXAMPLES = 3  # of each kind of failure
MOST_TOLD = 10
"""Boxes an image that have a bar of their own; images with more come together."""


@dataclass(slots=True)
class Results:
    """Counts over records. `boxes`: how many good images have so many, MOST_TOLD for that many and more."""

    rows: int = 0
    annotated: int = 0
    objects: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    names: Counter[str] = field(default_factory=Counter)
    images_with: Counter[str] = field(default_factory=Counter)  # of each name
    boxes: Counter[int] = field(default_factory=Counter)
    flags: Counter[str] = field(default_factory=Counter)
    coords: Counter[str] = field(default_factory=Counter)
    failures: dict[str, list[Record]] = field(default_factory=dict)  # the first of each status
    prompt_tokens: int = 0
    completion_tokens: int = 0
    older: int = 0

    def add(self, record: Record) -> None:
        self.rows += 1
        if "id" not in record:
            self.older += 1
        has_failed = bool(record.get("annotations_error"))
        status = str(record.get("status") or ("invalid" if has_failed else "ok"))
        self.statuses[status] += 1
        self.flags.update(map(_kind_of_flag, record.get("flags") or ()))
        usage = record.get("usage") or {}
        self.prompt_tokens += usage.get("prompt") or 0
        self.completion_tokens += usage.get("completion") or 0
        if has_failed:
            examples = self.failures.setdefault(status, [])
            if len(examples) < EXAMPLES:
                examples.append(record)
            return
        self._add_objects(record)

    def _add_objects(self, record: Record) -> None:
        names = [str(one.get("name") or "") for one in record.get("objects") or ()]
        self.annotated += 1
        self.objects += len(names)
        self.boxes[min(len(names), MOST_TOLD)] += 1
        self.names.update(names)
        self.images_with.update(set(names))
        if record.get("coords"):
            self.coords[record["coords"]] += 1

    @property
    def failed(self) -> int:
        return self.rows - self.annotated

    @property
    def empty(self) -> int:
        """Images on which the model sees nothing."""
        return self.boxes[0]


def _kind_of_flag(flag: str) -> str:
    return flag.partition(":")[0] if flag.startswith("deduplicated") else flag


def records(paths: Sequence[Path]) -> Iterator[Record]:
    """Yield the records of some files, those that are there."""
    for path in paths:
        if path.exists():
            with open(path, "rb") as file:
                yield from (from_json(line) for line in file if line.endswith(b"\n") and line.strip())
