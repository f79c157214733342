"""What the records of a run come to: counts of labels, of endings, of how sure the model was, of tokens.

    output, failures ──> records, each with its place ──> Results
Memory holds counts and a few examples, however many records there are. Knows no true label and no server.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analyze.records import from_json

Record = dict[str, Any]
Place = tuple[int, int]
"""Where a record is: in which of the files, and at which byte its line begins."""

CONFIDENCE_BINS = 20
EXAMPLES = 3  # of each kind of failure


@dataclass(slots=True)
class Results:
    """Counts over records.

    `labels` may begin with all there are, at 0. It has None for rows without one; with several labels a row, () for
    rows that have none of them.
    """

    labels: Counter[str | tuple[()] | None] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    flags: Counter[str] = field(default_factory=Counter)
    confidences: list[int] = field(default_factory=lambda: [0] * CONFIDENCE_BINS)
    failures: dict[str, list[Record]] = field(default_factory=dict)  # the first of each kind
    failed: Counter[str] = field(default_factory=Counter)
    masses: int = 0  # records that tell how probable the labels were together
    mass: float = 0.0  # all of these added up
    rows: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    told_cached_of: int = 0  # prompt tokens of the answers that say how many were cached

    def add(self, record: Record) -> None:
        self.rows += 1
        label = record["label"]
        self.labels.update((label or [()]) if isinstance(label, list) else [label])
        self.statuses[record["status"]] += 1
        self.flags.update(record.get("flags") or ())
        if (confidence := record.get("confidence")) is not None:
            self.confidences[min(int(confidence * CONFIDENCE_BINS), CONFIDENCE_BINS - 1)] += 1
        if (mass := record.get("label_mass")) is not None:
            self.masses += 1
            self.mass += mass
        if (kind := record.get("failed")) is not None:
            self.failed[kind] += 1
            examples = self.failures.setdefault(kind, [])
            if len(examples) < EXAMPLES:
                examples.append(record)
        self._add_usage(record.get("usage") or {})

    def _add_usage(self, usage: Record) -> None:
        prompt, cached = usage.get("prompt") or 0, usage.get("cached")
        self.prompt_tokens += prompt
        self.completion_tokens += usage.get("completion") or 0
        if cached is not None:
            self.cached_tokens += cached
            self.told_cached_of += prompt

    @property
    def cached_share(self) -> float | None:
        return self.cached_tokens / self.told_cached_of if self.told_cached_of else None

    @property
    def mean_mass(self) -> float | None:
        return self.mass / self.masses if self.masses else None

    @property
    def labelled(self) -> int:
        """How many rows have a label, or with several labels a row are known to have none."""
        return self.rows - self.labels[None]


def records(paths: Sequence[Path]) -> Iterator[tuple[Place, Record]]:
    """Yield the records of some files, those that are there, with their places."""
    for number, path in enumerate(paths):
        if path.exists():
            start = 0
            with open(path, "rb") as file:
                for line in file:
                    if line.endswith(b"\n"):
                        yield (number, start), from_json(line)
                    start += len(line)


def records_at(paths: Sequence[Path], places: Sequence[Place]) -> Iterator[Record]:
    """Yield the records at these places, in this order."""
    files = {number: open(paths[number], "rb") for number in {number for number, _ in places}}  # noqa: SIM115 - see below
    try:
        for number, start in places:
            files[number].seek(start)
            yield from_json(files[number].readline())
    finally:
        for file in files.values():
            file.close()
