"""Counts the issues that were named in comparisons. Knows no code of the list and no label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class IssueCount:
    """In how many of the `pairs` scored comparisons an issue was named for the target, for the rival, for either."""

    code: str
    target: int
    rival: int
    either: int
    pairs: int


class IssueCounter:
    """Counts the codes named for "target" and "rival" in each comparison, once a comparison and side."""

    def __init__(self) -> None:
        self._pairs = 0
        self._target: Counter[str] = Counter()
        self._rival: Counter[str] = Counter()
        self._either: Counter[str] = Counter()

    def add(self, named: Mapping[str, Sequence[str]]) -> None:
        """Count one comparison."""
        self._pairs += 1
        target, rival = set(named.get("target", ())), set(named.get("rival", ()))
        self._target.update(target)
        self._rival.update(rival)
        self._either.update(target | rival)

    def counts(self) -> list[IssueCount]:
        """Return what is counted so far, the most frequent first."""
        every = self._either.items()
        counts = [IssueCount(code, self._target[code], self._rival[code], n, self._pairs) for code, n in every]
        return sorted(counts, key=lambda count: (-count.either, count.code))


def count_issues(named: Iterable[Mapping[str, Sequence[str]]]) -> list[IssueCount]:
    """Return the counts of these comparisons."""
    counter = IssueCounter()
    for one in named:
        counter.add(one)
    return counter.counts()
