"""A judge held against the truth: numbers in, numbers out. Knows nothing of who judges, and of what."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from statistics import NormalDist

from analyze.errors import UsageError
from analyze.stats.intervals import Estimate, refuse_other_level, share

Counted = tuple[float, float]
"""How many of how many trials."""


def expected_calibration_error(confidences: Sequence[float], correct: Sequence[bool], bins: int = 10) -> float | None:
    """Return how far, in the mean, stated confidence is from how often it was right; None without statements.

        Σ_b n_b/n · |share right in b − mean confidence in b|          bins of equal width over 0..1

    It is never below 0 and, with few statements a bin, above 0 by chance alone. Raises UsageError for confidences
    and outcomes outside 0..1, and lengths that differ.

    Sources: M. P. Naeini et al., AAAI 2015; C. Guo et al., ICML 2017.
    """
    if len(confidences) != len(correct):
        raise UsageError(f"{len(confidences)} confidences have {len(correct)} outcomes", cure="give each its outcome")
    if not all(0 <= confidence <= 1 for confidence in confidences):
        raise UsageError("a confidence is outside 0..1", cure="give probabilities")
    if not all(0 <= right <= 1 for right in correct):
        raise UsageError("an outcome is neither right nor wrong", cure="give true or false")
    if bins < 1:
        raise UsageError(f"{bins} bins hold nothing", cure="ask for one or more")
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
    refuse_other_level(level)
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


# -- probabilities of several labels, held against the one that is true ----------------------------------------------

LEAST_TEMPERATURE, MOST_TEMPERATURE = 0.05, 20.0
LEAST_PROBABILITY = 1e-7
"""What stands for a probability of 0 where its logarithm is needed: recorded ones have six digits."""


@dataclass(frozen=True, slots=True)
class Statement:
    """What was said of one thing: how probable each label is, the label given, and the true one."""

    probabilities: Mapping[str, float]
    said: str
    truth: str

    @property
    def confidence(self) -> float:
        return self.probabilities.get(self.said, 0.0)

    @property
    def is_right(self) -> bool:
        return self.said == self.truth

    def at(self, temperature: float) -> Statement:
        """Return it with probabilities p_k^(1/T) / Σ_j p_j^(1/T): a T above 1 is less sure. The label stays."""
        logs = {label: math.log(max(p, LEAST_PROBABILITY)) / temperature for label, p in self.probabilities.items()}
        most = max(logs.values())
        powers = {label: math.exp(value - most) for label, value in logs.items()}
        total = math.fsum(powers.values())
        return replace(self, probabilities={label: power / total for label, power in powers.items()})


@dataclass(frozen=True, slots=True)
class Bin:
    """Statements of like confidence, from `low` to `high`: how sure they were in the mean, how many were right."""

    low: float
    high: float
    confidence: float | None
    right: Estimate


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far stated confidence can be believed."""

    n: int
    ece: float | None
    brier: float | None


@dataclass(frozen=True, slots=True)
class Scaling:
    """A temperature, and what it does to statements that it was not chosen by."""

    temperature: float
    fitted_on: int
    before: Calibration
    after: Calibration


@dataclass(frozen=True, slots=True)
class Cutoff:
    """What giving no label below `threshold` leaves, of `rows`: of those that it takes away some were wrong, which is
    the gain, and some right, which is the price."""

    threshold: float
    coverage: Estimate
    accuracy: Estimate
    wrong_avoided: int
    right_lost: int


def brier_score(statements: Sequence[Statement]) -> float | None:
    """Return the mean squared distance of stated probabilities from what is true; 0 is best, 2 worst. None for none.

        1/n · Σ_i Σ_k (p_ik − y_ik)²          y_ik is 1 for the true label, else 0

    A true label that has no probability was given 0. Source: G. W. Brier, Mon. Weather Rev. 78 (1950) 1-3.
    """
    if not statements:
        return None
    return math.fsum(_brier_of(statement) for statement in statements) / len(statements)


def _brier_of(statement: Statement) -> float:
    missed = 0.0 if statement.truth in statement.probabilities else 1.0
    return missed + math.fsum((p - (label == statement.truth)) ** 2 for label, p in statement.probabilities.items())


def calibration(statements: Sequence[Statement]) -> Calibration:
    """Return the calibration error and the Brier score."""
    error = expected_calibration_error([it.confidence for it in statements], [it.is_right for it in statements])
    return Calibration(len(statements), error, brier_score(statements))


def reliability(statements: Sequence[Statement], bins: int = 10) -> list[Bin]:
    """Return bins of equal width over 0..1, in order, the empty ones too, with Wilson's interval of the share right."""
    inside: list[list[Statement]] = [[] for _ in range(bins)]
    for statement in statements:
        inside[min(int(statement.confidence * bins), bins - 1)].append(statement)
    return [_bin(own, index / bins, (index + 1) / bins) for index, own in enumerate(inside)]


def _bin(statements: Sequence[Statement], low: float, high: float) -> Bin:
    n = len(statements)
    mean = math.fsum(it.confidence for it in statements) / n if n else None
    return Bin(low, high, mean, share(sum(it.is_right for it in statements), n))


def fit_temperature(statements: Sequence[Statement]) -> float | None:
    """Return the temperature under which the true labels are likeliest.

        T maximises Σ_i log softmax(log p_i / T)[truth_i]

    In 1/T that sum is concave, so its derivative is halved in on. None where it has no maximum from 0.05 to 20: nothing
    was wrong, or nothing right, or there is nothing. Statements whose true label has no probability say nothing of T.

    Source: C. Guo et al., ICML 2017.
    """
    told = [
        (it.truth, {label: math.log(max(p, LEAST_PROBABILITY)) for label, p in it.probabilities.items()})
        for it in statements
        if it.truth in it.probabilities
    ]

    def slope(inverse: float) -> float:
        return math.fsum(logs[truth] - _expected(logs, inverse) for truth, logs in told)

    low, high = 1 / MOST_TEMPERATURE, 1 / LEAST_TEMPERATURE
    if not slope(low) > 0 > slope(high):
        return None
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) > 0 else (low, middle)
    return 2 / (low + high)


def _expected(logs: Mapping[str, float], inverse: float) -> float:
    """Return the mean of log p_k under p_k^inverse."""
    most = max(logs.values())
    weights = [math.exp((value - most) * inverse) for value in logs.values()]
    return math.fsum(w * value for w, value in zip(weights, logs.values(), strict=True)) / math.fsum(weights)


def temperature_scaling(statements: Mapping[str, Sequence[Statement]]) -> Scaling | None:
    """Choose a temperature by one half of the rows, and judge it on the other. None where none can be chosen.

    `statements` are by the id of their row, whose SHA-256 says which half it is in: the same whatever the order, and
    whatever rows are beside it.
    """
    halves: tuple[list[Statement], list[Statement]] = [], []
    for row_id, own in statements.items():
        halves[sha256(row_id.encode("utf-8", "surrogatepass")).digest()[0] & 1].extend(own)
    fitted, held = halves
    temperature = fit_temperature(fitted)
    if temperature is None or not held:
        return None
    after = calibration([it.at(temperature) for it in held])
    return Scaling(temperature, len(fitted), calibration(held), after)


def cutoffs(confidences: Sequence[float], correct: Sequence[bool], rows: int, at: Sequence[float]) -> list[Cutoff]:
    """Return what is left of `rows` where a label is only given from each of these confidences on.

    Rows without a confidence are in `rows` alone: they are never covered. Raises UsageError for lengths that differ.
    """
    if len(confidences) != len(correct) or len(correct) > rows:
        raise UsageError(f"{len(confidences)} confidences, {len(correct)} outcomes, {rows} rows", cure="count them")
    told = list(zip(confidences, correct, strict=True))
    found = []
    for threshold in at:
        kept = [right for confidence, right in told if confidence >= threshold]
        left_out = [right for confidence, right in told if confidence < threshold]
        covered, accuracy = share(len(kept), rows), share(sum(kept), len(kept))
        found.append(Cutoff(threshold, covered, accuracy, left_out.count(False), left_out.count(True)))
    return found
