"""What is known of the rows of a run: what each was asked, and how it ended. Pure; 16 bytes a row.

`asked` is kept by its first 60 bits, beside the outcome in one number.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from analyze.records import FAILURE_KINDS, FailureKind, Request
from analyze.runs.index import Index

_KINDS: tuple[FailureKind | None, ...] = (None, *FAILURE_KINDS)
_NUMBER_OF = {kind: number for number, kind in enumerate(_KINDS)}
_KIND_BITS = 4


class Known(NamedTuple):
    """How a row has ended: `failed` is the kind of its failure, None of an answer. `asked` is its short form."""

    asked: int
    failed: FailureKind | None


def short(asked: str) -> int:
    """Return the part of `asked` (hex) that is kept: enough to tell a row that was edited."""
    return int(asked[:15], 16)


class Seen:
    """How rows have ended, by id. Of several outcomes of a row the last holds, and an answer beats a failure."""

    def __init__(self) -> None:
        self._numbers = Index()

    def __bool__(self) -> bool:
        """Whether anything is known."""
        return bool(self._numbers)

    def note(self, row_id: str, asked: int, failed: FailureKind | None) -> None:
        """Take note of an outcome, later than all before."""
        if failed is not None and (known := self.get(row_id)) is not None and known == (asked, None):
            return
        self._numbers[row_id] = asked << _KIND_BITS | _NUMBER_OF[failed]

    def note_answers(self, row_ids: Iterable[str], asked: Iterable[int]) -> None:
        """Take note of many answers, later than all before. A third of `note`'s price."""
        self._numbers.update(row_ids, (one << _KIND_BITS for one in asked))

    def get(self, row_id: str) -> Known | None:
        return _known(self._numbers.get(row_id))

    def failed(self, row_id: str) -> FailureKind | None:
        """Return the kind of failure of a row; None of one that is answered, or not known."""
        known = self.get(row_id)
        return None if known is None else known.failed

    def get_many(self, row_ids: Sequence[str]) -> Iterator[Known | None]:
        return map(_known, self._numbers.get_many(row_ids))

    def are_answered(self, requests: Sequence[Request]) -> Iterator[bool]:
        """Tell of each request whether its row is answered as it asks. A third of `get_many`'s price."""
        numbers = self._numbers.get_many([request.id for request in requests])
        return (
            number is not None and number == int(request.asked[:15], 16) << _KIND_BITS
            for number, request in zip(numbers, requests, strict=True)
        )


def _known(number: int | None) -> Known | None:
    if number is None:
        return None
    return Known(number >> _KIND_BITS, _KINDS[number & (1 << _KIND_BITS) - 1])
