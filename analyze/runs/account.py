"""The account of a run: how every row of the input has ended. Pure; knows no file.

    read = rejected + ok + invalid + failed + left

Failures are those recorded now: a row that is asked again leaves them when its new outcome comes. `invalid` are those
that a server can never answer as they are.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from analyze.records import Answer, FailureKind, Outcome
from analyze.runs.seen import Known


@dataclass(slots=True)
class Account:
    """Counts of rows. `before`: of the ok ones, those that an earlier execution has answered."""

    read: int = 0
    rejected: int = 0
    elsewhere: int = 0  # rows of other shards, not counted as read
    ok: int = 0
    before: int = 0
    failed: Counter[FailureKind] = field(default_factory=Counter)  # of every kind

    @property
    def invalid(self) -> int:
        return self.failed["invalid"] + self.failed["too_long"]

    @property
    def left(self) -> int:
        return self.read - self.rejected - self.ok - self.failed.total()

    def were_answered(self, rows: int) -> None:
        """Rows of the input were answered by an earlier execution."""
        self.ok += rows
        self.before += rows

    def found(self, failed: FailureKind) -> None:
        """A row of the input has failed before."""
        self.failed[failed] += 1

    def ended(self, outcome: Outcome, before: Known | None) -> None:
        """A row has an outcome; `before` is what was known of it."""
        if before is not None and before.failed is not None:
            self.failed[before.failed] -= 1
        if isinstance(outcome, Answer):
            self.ok += 1
        else:
            self.failed[outcome.kind] += 1

    def counts(self) -> dict[str, int]:
        """Return the account as manifests hold it."""
        return {
            "read": self.read,
            "ok": self.ok,
            "invalid": self.invalid,
            "failed": self.failed.total() - self.invalid,
            "rejected": self.rejected,
            "left": self.left,
        }
