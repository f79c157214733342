"""What results might be without the judge's habits: its errors about correctness, what moves it besides.

Never the headline: both rest on more than was seen. Knows pairs; the arithmetic is in `calibration` and `models`.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import chain, repeat
from typing import TypeVar

from analyze.stats.calibration import Counted, corrected_rate
from analyze.stats.intervals import Estimate
from analyze.stats.models import Sensitivity, length_sensitivity
from analyze.stats.pairs import Pair, comment_difference, correct_side, passing_side

T = TypeVar("T")

MOST_NUMBERS = 20_000_000
"""Of the model's design, verdicts x rivals: 160 MB. Beyond that there is no model."""

_Said = tuple[int, Hashable]
"""The side that is called more correct, 1 the target, -1 the rival, and the pair's cluster."""


def corrected_correctness(pairs: Sequence[Pair]) -> Estimate | None:
    """Return how often the target is the more correct one, of the pairs in which one is, corrected for the judge.

    The judge is known from pairs with exactly one passed test result. Asked for are these and the pairs whose results
    are not both recorded, as far as its verdicts on correctness take a side, the same in both orders; pairs of equal
    results have no such one. A task, or a group of them, counts as one trial. None without labels on both sides, or
    without a verdict.
    """
    said: dict[int | None, list[_Said]] = {1: [], -1: [], None: []}
    for pair in pairs:
        passed = passing_side(pair)
        if passed != 0 and (side := correct_side(pair)):
            said[passed].append((side, pair.cluster))
    if not said[1] or not said[-1]:
        return None
    every = [one for them in said.values() for one in them]
    return corrected_rate(_counted(every, 1), _counted(said[1], 1), _counted(said[-1], -1))


def _counted(said: Sequence[_Said], named: int) -> Counted:
    """Return how often a side is named, of as many trials as there are clusters."""
    trials = len({cluster for _, cluster in said})
    return sum(side == named for side, _ in said) / len(said) * trials, trials


def sensitivity(pairs: Sequence[Pair]) -> Sensitivity | None:
    """Return what order, length of code (in characters) and comments have to do with verdicts; None without any."""
    scored = [pair for pair in pairs if pair.is_scored and pair.cells]
    counts = [len(pair.cells) for pair in scored]
    cells = [cell for pair in scored for cell in pair.cells]
    if not cells or len(cells) * len({pair.author for pair in scored}) > MOST_NUMBERS:
        return None
    return length_sensitivity(
        [cell["score"] for cell in cells],
        _each([pair.author for pair in scored], counts),
        [cell["order"] == "target_first" for cell in cells],
        _each([len(pair.target.get("code") or "") - len(pair.record.get("code") or "") for pair in scored], counts),
        _each([pair.cluster for pair in scored], counts),
        comment_differences=_each([comment_difference(pair) for pair in scored], counts),
    )


def _each(values: Sequence[T], counts: Sequence[int]) -> list[T]:
    """Return each value as often as its pair has verdicts."""
    return list(chain.from_iterable(map(repeat, values, counts)))
