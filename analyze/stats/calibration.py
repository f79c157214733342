"""A judge held against the truth: numbers in, numbers out. Knows nothing of who judges, and of what."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

from analyze.errors import UsageError
from analyze.stats.intervals import Estimate

Counted = tuple[float, float]
"""How many of how many trials."""


def expected_calibration_error(confidences: Sequence[float], correct: Sequence[bool], bins: int = 10) -> float | None:
    """Return how far, in the mean, stated confidence is from how often it was right; None without statements.

        Σ_b n_b/n · |share right in b − mean confidence in b|          bins of equal width over 0..1

    It is never below 0 and, with few statements a bin, above 0 by chance alone. Raises UsageError for confidences
    outside 0..1 and lengths that differ.

    Sources: M. P. Naeini et al., AAAI 2015; C. Guo et al., ICML 2017.
    """
    if len(confidences) != len(correct):
        raise UsageError(f"{len(confidences)} confidences have {len(correct)} outcomes", cure="give each its outcome")
    if not all(0 <= confidence <= 1 for confidence in confidences):
        raise UsageError("a confidence is outside 0..1", cure="give probabilities")
    if not len(confidences):
        return None
    excess: dict[int, list[float]] = {}
    for confidence, right in zip(confidences, correct, strict=True):
        excess.setdefault(min(int(confidence * bins), bins - 1), []).append(right - confidence)
    return math.fsum(abs(math.fsum(own)) for own in excess.values()) / len(confidences)


def corrected_rate(observed: Counted, sensitivity: Counted, specificity: Counted, level: float = 0.95) -> Estimate:
    """Return the rate behind what an imperfect judge says, with an interval that knows how well the judge is known.

        θ = (p + q₀ − 1)/J                    J = q₀ + q₁ − 1
        θ + 2z²(θ·v₁ − (1 − θ)·v₀) ± z·√(v + (1 − θ)²·v₀ + θ²·v₁)/J            v = p(1 − p)/n

    p is how often the judge says yes (`observed`), q₁ how often where yes is true (`sensitivity`), q₀ how often it says
    no where no is true (`specificity`), each given as how many of how many trials; where rows go together, as many
    trials as they are worth. The interval is the delta method's, about counts to which z²/2 (p) or 1 (q₀, q₁) were
    added on either side, and shifted for the skewness that J brings: without, it holds 87 % for judges known from 20
    pairs, with 94 % and more. Both are cut to 0..1.

    None where the judge is not shown to be better than chance, J not above its own error: what it says then bears on
    nothing. Use it only where the labels are of what is judged. Raises UsageError for counts that are no shares.

    Sources: W. J. Rogan, B. Gladen, Am. J. Epidemiol. 107 (1978) 71-76; the interval: Z. Lang, J. Reiczigel, Prev. Vet.
    Med. 113 (2014) 13-22, taken up for judges by C. Lee et al., arXiv:2511.21140.
    """
    for successes, trials in (observed, sensitivity, specificity):
        if not (trials > 0 and 0 <= successes <= trials):
            raise UsageError(f"{successes} of {trials} trials are no share", cure="count at least one trial of each")
    z = NormalDist().inv_cdf(0.5 + level / 2)
    p, v = _share_and_variance(observed, z * z / 2)
    q1, v1 = _share_and_variance(sensitivity, 1)
    q0, v0 = _share_and_variance(specificity, 1)
    better = q0 + q1 - 1
    if better <= z * math.sqrt(v0 + v1):
        return Estimate(None, None, None, round(observed[1]))
    centre = (p + q0 - 1) / better
    half = z * math.sqrt(v + (1 - centre) ** 2 * v0 + centre**2 * v1) / better
    centre += 2 * z * z * (centre * v1 - (1 - centre) * v0)
    p, q1, q0 = (successes / trials for successes, trials in (observed, sensitivity, specificity))
    value = _cut((p + q0 - 1) / (q0 + q1 - 1))
    return Estimate(value, min(value, _cut(centre - half)), max(value, _cut(centre + half)), round(observed[1]))


def _share_and_variance(counted: Counted, added: float) -> tuple[float, float]:
    successes, trials = counted
    share = (successes + added) / (trials + 2 * added)
    return share, share * (1 - share) / (trials + 2 * added)


def _cut(share: float) -> float:
    return min(1.0, max(0.0, share))
