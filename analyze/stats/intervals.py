"""Means and their uncertainty: arrays in, numbers out. Knows nothing of judges, tasks or files.

Observations on the same task are not independent, so an interval counts clusters, not rows: on real verdicts of one
target against five rivals, intervals over rows held 75 % of the time where 95 % was promised, clustered ones 95 %.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

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
    spread = _spread(values, clusters)
    return MeanSE(spread.mean, math.sqrt(spread.variance), spread.n)


def cluster_interval(values: Sequence[float], clusters: Sequence[Hashable], level: float = 0.95) -> Estimate:
    """Return the mean with its t interval over clusters: x̄ ± t(C − 1) · SE, SE as in `cluster_se`.

    One cluster gives a value without an interval. Where all clusters agree exactly the interval is a point, which says
    that nothing was seen to vary, not that nothing can: see `rate_interval` for shares.
    """
    spread = _spread(values, clusters)
    if spread.n == 0:
        return Estimate(None, None, None, 0)
    if spread.clusters == 1:
        return Estimate(spread.mean, None, None, spread.n)
    half = t_quantile(0.5 + level / 2, spread.clusters - 1) * math.sqrt(spread.variance)
    return Estimate(spread.mean, spread.mean - half, spread.mean + half, spread.n)


def rate_interval(values: Sequence[float], clusters: Sequence[Hashable], level: float = 0.95) -> Estimate:
    """Return the mean of values in 0..1 with an interval that holds what it promises near 0 and 1 and in few clusters.

    Wilson's score interval, with as many trials, z²/a, as the clusters are worth:

        (p + a/2 ± √(a·p(1 − p) + a²/4)) / (1 + a)
        a = (z²/C) · min(1, g · (1 + (t²/z² − 1)(1 − g)))
        g = r + (1 − r) · (1 − min(p, 1 − p))^2C              r = SE²·C / (p(1 − p)), SE as in `cluster_se`

    r is the variance of the mean as a part of the most it can be, that of one yes or no per cluster. It is 1 where the
    values of a cluster are all alike, less where they differ or are graded. Two things are added to what was seen:

    * In 15 clusters a rate of 0.98 shows too few losses to tell whether they come singly or a cluster at a time. So r
      moves to 1 by the chance that clusters lost as a whole would not have shown; twice as many clusters as there are,
      which simulation found to be enough.
    * r is an estimate, so z becomes t, the more so the further r is from its bound. Degrees of freedom:
      Satterthwaite's 2/(Σd⁴/(Σd²)² − 1/C), at most C − 1, over the clusters' deviations d.

    In many clusters, and far from 0 and 1, this is the clustered t interval. C is Kish's effective number N²/Σm² of
    clusters of m values.

    At a nominal 95 % it holds 93 to 97 % where C · min(p, 1 − p) > 3, at any correlation within clusters, and 93 to
    100 % elsewhere: samples with a loss or none do not say which it ought to be, so it errs on the wide side (the
    clustered t interval falls to 26 % there). `python -m benchmarks coverage` shows all of it. Where nearly all values
    are one and the same in the middle (nine ties of ten) and clusters are all alike, 90 % were seen; 75 % where besides
    whole clusters seldom differ, and all to one side (the clustered t interval: 73 %).

    Swapping the sides, x → 1 − x, mirrors the result exactly; the order of the rows changes no digit. One cluster gives
    a value without an interval. Raises UsageError for values outside 0..1 and for lengths that differ.

    Sources: E. B. Wilson, JASA 22 (1927) 209-212; with an effective sample size: C. Franco et al., J. Surv. Stat.
    Methodol. 7 (2019) 334-364; F. E. Satterthwaite, Biometrics Bull. 2 (1946) 110-114; L. Kish, Survey Sampling (1965).
    """
    _check_finite(values)
    if len(values) and not (min(values) >= 0 and max(values) <= 1):
        raise UsageError("a rate is asked for of values outside 0..1", cure="give shares, wins or scores from 0 to 1")
    spread = _spread([0.5 - (1 - value) for value in values], clusters)  # x − ½, exactly the negative for 1 − x
    if spread.n == 0:
        return Estimate(None, None, None, 0)
    value = _from_half(spread.mean)
    if spread.clusters == 1:
        return Estimate(value, None, None, spread.n)
    low, high = rate_limits(spread.mean, spread.variance, spread.tailedness, spread.effective, level)
    return Estimate(value, min(value, _from_half(low)), max(value, _from_half(high)), spread.n)


def rate_limits(mean: Any, variance: Any, tailedness: Any, clusters: Any, level: float = 0.95) -> tuple[Any, Any]:
    """Return the limits of `rate_interval` from the moments of a sample, or of many: numbers or arrays of them.

    The mean and the limits are measured from ½. `variance` is SE², `tailedness` Σd⁴/(Σd²)².
    """
    import numpy as np
    from scipy.special import stdtrit  # type: ignore[import-untyped]  # SciPy ships no types

    z2 = NormalDist().inv_cdf(0.5 + level / 2) ** 2
    most = 0.25 - np.square(mean)  # p(1 − p)
    unknown = variance * clusters <= 1e-20  # every cluster alike
    seen = np.minimum(1, np.where(unknown, 0, variance * clusters) / np.where(most > 0, most, 1))
    share = seen + (1 - seen) * (0.5 + np.abs(mean)) ** (2 * clusters)
    df = np.minimum(clusters - 1, 2 / np.maximum(tailedness - 1 / clusters, 1e-9))
    t2 = stdtrit(np.maximum(df, 0.1), 0.5 + level / 2) ** 2
    a = np.where(unknown, z2, np.minimum(z2, share * (z2 + (t2 - z2) * (1 - share)))) / clusters
    half = np.sqrt(a * most + a * a / 4)
    return (mean - half) / (1 + a), (mean + half) / (1 + a)


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


def clopper_pearson(successes: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Return the exact interval of a share: what a binomial test at 1 − level does not reject, tail by tail.

        low: P(X >= successes) = (1 − level)/2        high: P(X <= successes) = (1 − level)/2        X binomial(n, ·)

    It holds what it promises in ever so few trials, and more: it is wider than Wilson's. Its limits are quantiles of
    beta distributions. Source: C. J. Clopper, E. S. Pearson, Biometrika 26 (1934) 404-413. Raises UsageError unless
    0 <= successes <= n and n > 0.
    """
    from scipy.special import betaincinv

    if not (n > 0 and 0 <= successes <= n):
        raise UsageError(f"{successes} successes of {n} trials are no share", cure="count at least one trial")

    def low(of: int) -> float:
        return float(betaincinv(of, n - of + 1, (1 - level) / 2)) if of else 0.0

    return low(successes), 1 - low(n - successes)


def share(count: int, of: int) -> Estimate:
    """Return a share with Wilson's interval; all None where there is nothing to take a share of."""
    return Estimate(count / of, *wilson(count, of), of) if of else Estimate(None, None, None, 0)


def t_quantile(probability: float, df: int) -> float:
    """Return the quantile of Student's t with `df` degrees of freedom."""
    from scipy.special import stdtrit

    return float(stdtrit(df, probability))


@dataclass(frozen=True, slots=True)
class _Spread:
    """A mean, its clustered variance (NaN for one cluster), and what shows how well that variance is known."""

    mean: float
    variance: float
    tailedness: float
    n: int
    clusters: int
    effective: float


def _spread(values: Sequence[float], clusters: Sequence[Hashable]) -> _Spread:
    """Return the moments of values by cluster, from exactly rounded sums: order changes no digit, nor do signs."""
    _check_finite(values)
    if len(values) != len(clusters):
        raise UsageError(f"{len(values)} values have {len(clusters)} cluster names", cure="give each value its cluster")
    n = len(values)
    if n == 0:
        return _Spread(math.nan, math.nan, math.nan, 0, 0, 0.0)
    mean = math.fsum(values) / n
    deviations = [value - mean for value in values]
    sums, sizes = _by_cluster(deviations, clusters)
    squares, count = [deviation**2 for deviation in sums], len(sums)
    total = math.fsum(squares)
    return _Spread(
        mean=mean,
        variance=count / (count - 1) * total / n**2 if count > 1 else math.nan,
        tailedness=math.fsum([(square / total) ** 2 for square in squares]) if total else 1.0,
        n=n,
        clusters=count,
        effective=n**2 / sum([size**2 for size in sizes]),
    )


def _by_cluster(deviations: Sequence[float], clusters: Sequence[Hashable]) -> tuple[Sequence[float], Sequence[int]]:
    """Return the sum of each cluster's deviations, and of how many it is."""
    if len(set(clusters)) == len(clusters):
        return deviations, [1] * len(clusters)
    members: dict[Hashable, list[float]] = {}
    for deviation, cluster in zip(deviations, clusters, strict=True):
        members.setdefault(cluster, []).append(deviation)
    return [math.fsum(cluster) for cluster in members.values()], [len(cluster) for cluster in members.values()]


def _from_half(distance: float) -> float:
    """Return ½ + distance on a grid of 2⁻⁵², within 0..1, where the mirror image of a share is exactly 1 − share."""
    return min(1.0, max(0.0, (1.5 + float(distance)) - 1.0))


def _check_finite(values: Sequence[float]) -> None:
    if not all(map(math.isfinite, values)):
        raise UsageError("statistics of values that are not finite", cure="leave out what could not be scored")
