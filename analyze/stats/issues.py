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
    """Count the codes named for "target" and "rival" in each comparison, once a comparison and side.

    The most frequent comes first.
    """
    pairs, of_target, of_rival, of_either = 0, Counter[str](), Counter[str](), Counter[str]()
    for one in named:
        pairs += 1
        target, rival = set(one.get("target", ())), set(one.get("rival", ()))
        of_target.update(target)
        of_rival.update(rival)
        of_either.update(target | rival)
    counts = [IssueCount(code, of_target[code], of_rival[code], n, pairs) for code, n in of_either.items()]
    return sorted(counts, key=lambda count: (-count.either, count.code))
