"""What the judge's own probabilities say beside its digits: a second score, never the headline. Knows pairs, no server.

    pairs with an `expected` score  -> Expected: mean, and its error beside that of the graded score on the same pairs
    of these, those that tests tell apart  -> Reliability: was the judge as often right as it was sure?

A judge that writes 4 may have been torn between 4 and 3; the digit forgets it, the mean over its probabilities does
not. On 805 AlpacaEval tasks that took the standard error from 1.76 to 1.48 points, near a win rate of one half.

Swapping target and rival mirrors every number here; the order of records changes no digit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum, isnan

from analyze.stats.calibration import expected_calibration_error
from analyze.stats.intervals import Estimate, mean_se
from analyze.stats.pairs import (
    Pair,
    Record,
    TaskMeans,
    cluster_values,
    means_of_tasks,
    over_tasks,
    passing_side,
    rate,
)

LEAST_TESTED = 30
"""Pairs before certainty is held against tests: over five levels of it that is six a level."""

ALL_OF_IT = 1 - 1e-5
"""A legal mass that leaves nothing to other tokens, but for rounding in 32 bits."""


@dataclass(frozen=True, slots=True)
class Expected:
    """The target against one rival (`author`), or all ("*"), on the pairs whose probabilities are known.

    `score` is the mean of expected scores, `graded` that of graded ones on the same pairs, both over tasks as
    `Result.score` is; `se` and `graded_se` are their clustered standard errors, None where there is one cluster.
    """

    author: str
    score: Estimate
    se: float | None
    graded: Estimate
    graded_se: float | None

    @property
    def worth(self) -> float | None:
        """How many times the tasks the graded score would need to tell the two sides apart as clearly: z²/z_graded².

            z = (mean − ½)/SE

        The ratio of the variances alone would take probabilities for precise because they lie nearer to the middle: a
        judge that gives 0.6 to whatever it writes halves every deviation, SE included, and knows nothing more. None
        where the graded score's interval holds ½ (z would be noise) or one of the two was not seen to vary.
        """
        low, high = self.graded.low, self.graded.high
        if low is None or high is None or low <= 0.5 <= high or not self.se or not self.graded_se:
            return None
        assert self.score.value is not None and self.graded.value is not None
        return ((self.score.value - 0.5) / self.se * self.graded_se / (self.graded.value - 0.5)) ** 2


@dataclass(frozen=True, slots=True)
class Reliability:
    """Certainty held against recorded tests, on pairs of which exactly one side passed.

    P(target better) is the mean over both orders of P(a digit for the target) + ½·P(3). `stated` is the mean of what
    the likelier side was given, `right` how often that side had passed (½ where neither is likelier); `error` the
    expected calibration error, over both sides of each pair.
    """

    stated: float
    right: Estimate
    error: float


@dataclass(frozen=True, slots=True)
class Probabilities:
    """`read` of `cells` answered judgements told how probable their verdicts were.

    `legal_mass` is what the five digits had together, in the mean: all of it where what the schema forbids is masked
    before log-probabilities are taken, as vLLM 0.32 does. `reliability` is None below 30 pairs.
    """

    overall: Expected
    rivals: list[Expected]
    read: int
    cells: int
    legal_mass: float
    reliability: Reliability | None

    @property
    def is_masked(self) -> bool:
        """Whether nothing but the five digits was possible to the server that reported."""
        return self.legal_mass > ALL_OF_IT


def probabilities(pairs: Sequence[Pair], overall: str) -> Probabilities | None:
    """Return what the probabilities say of all pairs, named `overall`, and of each rival; None where there are none."""
    read = [cell for pair in pairs for cell in pair.cells if cell.get("probabilities") is not None]
    masses = [cell["legal_mass"] for cell in read if cell["status"] == "ok"]
    if not masses:
        return None
    known = [pair for pair in pairs if pair.record.get("expected") is not None]
    authors = sorted({pair.author for pair in known})
    return Probabilities(
        overall=_expected(overall, known),
        rivals=[_expected(author, [pair for pair in known if pair.author == author]) for author in authors],
        read=len(masses),
        cells=sum(cell["status"] == "ok" for pair in pairs for cell in pair.cells),
        legal_mass=fsum(masses) / len(masses),
        reliability=_reliability(known),
    )


def _expected(author: str, known: Sequence[Pair]) -> Expected:
    expected = means_of_tasks(known, [pair.record["expected"] for pair in known])
    graded = means_of_tasks(known, [pair.record["score"] for pair in known])
    return Expected(author, over_tasks(expected), _se(expected), over_tasks(graded), _se(graded))


def _se(means: TaskMeans) -> float | None:
    se = mean_se(cluster_values(means)).se
    return None if isnan(se) else se


def _reliability(known: Sequence[Pair]) -> Reliability | None:
    tested = [(pair, passed) for pair in known if (passed := passing_side(pair))]
    if len(tested) < LEAST_TESTED:
        return None
    confidences = [_target_better(pair) for pair, _ in tested]
    sides = [passed for _, passed in tested]
    hits = [_hit(confidence, passed) for confidence, passed in zip(confidences, sides, strict=True)]
    error = expected_calibration_error(
        [*confidences, *(round(1 - confidence, 12) for confidence in confidences)],
        [*(passed > 0 for passed in sides), *(passed < 0 for passed in sides)],
    )
    assert error is not None
    return Reliability(
        stated=fsum(max(confidence, 1 - confidence) for confidence in confidences) / len(tested),
        right=rate((hit, pair.cluster) for hit, (pair, _) in zip(hits, tested, strict=True)),
        error=error,
    )


def _hit(confidence: float, passed: int) -> float:
    return 0.5 if confidence == 0.5 else float((confidence > 0.5) == (passed > 0))


def _target_better(pair: Pair) -> float:
    """Return P(target better); rounded, so that both sides of a pair add up to 1 to the digit."""
    first = [_a_better(cell) for cell in pair.cells if cell["order"] == "target_first"]
    second = [_a_better(cell) for cell in pair.cells if cell["order"] != "target_first"]
    return round(0.5 + (fsum(first) / len(first) - fsum(second) / len(second)) / 2, 12)


def _a_better(cell: Record) -> float:
    """Return P(A better), less one half: (p₄ + p₅ − p₁ − p₂)/2."""
    p = cell["probabilities"]
    return float(p["4"] + p["5"] - p["1"] - p["2"]) / 2
