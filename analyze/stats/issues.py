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


def count_issues(named: Iterable[Mapping[str, Sequence[str]]]) -> list[IssueCount]:
    """Count the codes named for "target" and "rival" in each comparison, the most frequent first.

    An issue counts once per comparison and side.
    """
    of_target: Counter[str] = Counter()
    of_rival: Counter[str] = Counter()
    of_either: Counter[str] = Counter()
    pairs = 0
    for sides in named:
        pairs += 1
        target_has, rival_has = set(sides.get("target", ())), set(sides.get("rival", ()))
        of_target.update(target_has)
        of_rival.update(rival_has)
        of_either.update(target_has | rival_has)
    counts = [IssueCount(code, of_target[code], of_rival[code], n, pairs) for code, n in of_either.items()]
    return sorted(counts, key=lambda count: (-count.either, count.code))
