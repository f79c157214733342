"""What the records of a run come to, for its page: counts, and a few examples. Memory does not grow with the rows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from analyze.infer.records import Record

EXAMPLES = 3  # of each kind of failure
SAMPLES = 5

LENGTHS = (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
"""Upper bounds of the groups in which replies are counted by their tokens."""


@dataclass(slots=True)
class Results:
    """Counts over records. `samples` are the first rows that were answered, with their answers."""

    statuses: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)  # by kind
    failures: dict[str, list[Record]] = field(default_factory=dict)
    samples: list[Record] = field(default_factory=list)
    lengths: Counter[int] = field(default_factory=Counter)  # by their place in LENGTHS

    def add(self, record: Record, answer: Record) -> None:
        """Take in a record, and what was extracted of it."""
        kind = record.get("failed")
        self.statuses[answer["extract_status"]] += 1
        if kind is not None:
            self.failed[kind] += 1
            examples = self.failures.setdefault(kind, [])
            if len(examples) < EXAMPLES:
                examples.append(record)
            return
        if len(self.samples) < SAMPLES:
            self.samples.append({**record, "answer": answer["answer"]})
        tokens = (record.get("usage") or {}).get("completion")
        if isinstance(tokens, int):
            self.lengths[next((at for at, most in enumerate(LENGTHS) if tokens <= most), len(LENGTHS))] += 1
