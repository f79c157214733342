"""What results might be without the judge's habits: its errors about correctness, its taste for order and length.

Never the headline: both rest on more than was seen. Knows pairs; the arithmetic is in `calibration` and `models`.
"""

from __future__ import annotations

from collections.abc import Sequence

from analyze.stats.calibration import Counted, corrected_rate
from analyze.stats.intervals import Estimate
from analyze.stats.models import Sensitivity, length_sensitivity
from analyze.stats.pairs import Pair, lean

CORRECTNESS = "correctness"
MOST_NUMBERS = 20_000_000
"""Of the model's design, verdicts x rivals: 160 MB. Beyond that there is no model."""


def corrected_correctness(pairs: Sequence[Pair]) -> Estimate | None:
    """Return how often the target is the more correct one, of the pairs in which one is, corrected for the judge.

    The judge is known from pairs with exactly one passed test result. Asked for are these and the pairs whose results
    are not both recorded, as far as its verdict on correctness takes a side; pairs of equal results have no such one.
    A task, or a group of them, counts as one trial. None without labels on both sides, or without a verdict.
    """
    said: dict[int | None, list[Pair]] = {1: [], -1: [], None: []}
    for pair in pairs:
        if pair.record["dimensions"].get(CORRECTNESS, 0.5) != 0.5 and (truth := _truth(pair)) != 0:
            said[truth].append(pair)
    if not said[1] or not said[-1]:
        return None
    every = [pair for them in said.values() for pair in them]
    return corrected_rate(_counted(every, 1), _counted(said[1], 1), _counted(said[-1], -1))


def _truth(pair: Pair) -> int | None:
    """Return which side alone passed its tests: 1 the target, -1 the rival, 0 neither alone, None if not recorded."""
    passed, rival_passed = pair.target.get("passed"), pair.record.get("passed")
    return None if passed is None or rival_passed is None else int(passed) - int(rival_passed)


def _counted(pairs: Sequence[Pair], side: int) -> Counted:
    """Return how often verdicts on correctness name a side, of as many trials as there are clusters."""
    trials = len({pair.cluster for pair in pairs})
    return sum(lean(pair.record["dimensions"][CORRECTNESS]) == side for pair in pairs) / len(pairs) * trials, trials


def sensitivity(pairs: Sequence[Pair]) -> Sensitivity | None:
    """Return what order and length of code (in characters) have to do with verdicts; None without any."""
    verdicts = [(pair, cell) for pair in pairs if pair.is_scored for cell in pair.cells]
    rivals = [pair.author for pair, _ in verdicts]
    if not verdicts or len(verdicts) * len(set(rivals)) > MOST_NUMBERS:
        return None
    return length_sensitivity(
        [cell["score"] for _, cell in verdicts],
        rivals,
        [cell["order"] == "target_first" for _, cell in verdicts],
        [len(pair.target.get("code") or "") - len(pair.record.get("code") or "") for pair, _ in verdicts],
        [pair.cluster for pair, _ in verdicts],
    )
