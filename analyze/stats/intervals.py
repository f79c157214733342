"""Means and their uncertainty: arrays in, numbers out. Knows nothing of judges, tasks or files.

Observations on the same task are not independent, so an interval counts clusters, not rows: on real verdicts of one
target against five rivals, intervals over rows held 75 % of the time where 95 % was promised, clustered ones 95 %.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from analyze.errors import UsageError


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its interval; `n` counts the observations. What cannot be known is None, never zero."""

    value: float | None
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True, slots=True)
class MeanSE:
    """A mean and its standard error; the error is NaN for one observation, both are for none."""

    mean: float
    se: float
    n: int


def mean_se(values: Sequence[float]) -> MeanSE:
    """Return the mean and its standard error s/√n, with s² = Σ(x − x̄)²/(n − 1).

    Sums are exactly rounded (`math.fsum`): the order of the values changes no digit. Raises UsageError for values
    that are not finite.
    """
    _check_finite(values)
    n = len(values)
    if n == 0:
        return MeanSE(math.nan, math.nan, 0)
    mean = math.fsum(values) / n
    if n == 1:
        return MeanSE(mean, math.nan, 1)
    variance = math.fsum((value - mean) ** 2 for value in values) / (n - 1)
    return MeanSE(mean, math.sqrt(variance / n), n)


def cluster_se(values: Sequence[float], clusters: Sequence[Hashable]) -> MeanSE:
    """Return the mean of all values and its standard error where values of one cluster go together.

        SE² = C/(C − 1) · Σ_c (Σ_{i in c} (x_i − x̄))² / N²          C clusters, N values

    Source: E. Miller, "Adding error bars to evals", arXiv:2411.00640, with the small-sample factor C/(C − 1). With
    one value a cluster it is `mean_se`. NaN for one cluster. Raises UsageError for lengths that differ.
    """
    _check_finite(values)
    if len(values) != len(clusters):
        raise UsageError(f"{len(values)} values have {len(clusters)} cluster names", cure="give each value its cluster")
    n = len(values)
    if n == 0:
        return MeanSE(math.nan, math.nan, 0)
    mean = math.fsum(values) / n
    members: dict[Hashable, list[float]] = {}
    for value, cluster in zip(values, clusters, strict=True):
        members.setdefault(cluster, []).append(value - mean)
    count = len(members)
    if count == 1:
        return MeanSE(mean, math.nan, n)
    total = math.fsum(math.fsum(deviations) ** 2 for deviations in members.values())
    return MeanSE(mean, math.sqrt(count / (count - 1) * total) / n, n)


def cluster_interval(values: Sequence[float], clusters: Sequence[Hashable], level: float = 0.95) -> Estimate:
    """Return the mean with its t interval over clusters: x̄ ± t(C − 1) · SE, SE as in `cluster_se`.

    One cluster gives a value without an interval. Where all clusters agree exactly the interval is a point, which says
    that nothing was seen to vary, not that nothing can: see `rate_interval` for shares.
    """
    estimate = cluster_se(values, clusters)
    if estimate.n == 0:
        return Estimate(None, None, None, 0)
    count = len(set(clusters))
    if count == 1:
        return Estimate(estimate.mean, None, None, estimate.n)
    half = t_quantile(0.5 + level / 2, count - 1) * estimate.se
    return Estimate(estimate.mean, estimate.mean - half, estimate.mean + half, estimate.n)


def rate_interval(values: Sequence[float], clusters: Sequence[Hashable], level: float = 0.95) -> Estimate:
    """Return the mean of values in 0..1 with an interval that stays there: the clustered t interval, cut to 0..1.

    Where all clusters agree exactly (15 wins of 15 tasks) that interval would be a point; then it is Wilson's, with a
    trial a cluster. A value in 0..1 varies no more than a yes or no of the same mean, so this errs on the wide side.
    """
    estimate = cluster_interval(values, clusters, level)
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return estimate
    if math.isclose(estimate.low, estimate.high, abs_tol=1e-12):
        count = len(set(clusters))
        low, high = wilson(estimate.value * count, count, level)
        return Estimate(estimate.value, low, high, estimate.n)
    return Estimate(estimate.value, max(0.0, estimate.low), min(1.0, estimate.high), estimate.n)


def wilson(successes: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """Return Wilson's score interval of a share; half successes (ties) are allowed.

        (p + z²/2n ± z·√(p(1 − p)/n + z²/4n²)) / (1 + z²/n)

    Source: E. B. Wilson, JASA 22 (1927) 209-212. Raises UsageError unless 0 <= successes <= n and n > 0.
    """
    if not (n > 0 and 0 <= successes <= n):
        raise UsageError(f"{successes} successes of {n} trials are no share", cure="count at least one trial")
    z = NormalDist().inv_cdf(0.5 + level / 2)
    p = successes / n
    centre = p + z * z / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return min(p, max(0.0, (centre - half) / scale)), max(p, min(1.0, (centre + half) / scale))


def t_quantile(probability: float, df: int) -> float:
    """Return the quantile of Student's t with `df` degrees of freedom."""
    from scipy.special import stdtrit  # type: ignore[import-untyped]  # SciPy ships no types

    return float(stdtrit(df, probability))


def _check_finite(values: Sequence[float]) -> None:
    if not all(math.isfinite(value) for value in values):
        raise UsageError("statistics of values that are not finite", cure="leave out what could not be scored")
