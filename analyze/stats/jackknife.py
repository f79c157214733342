"""Intervals for measures of agreement, which are no means: by leaving out each cluster once. Knows no measure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import fsum, sqrt
from typing import TypeVar

from analyze.stats.intervals import Estimate, t_quantile

T = TypeVar("T")


def jackknife(clusters: Sequence[Sequence[T]], statistic: Callable[[list[T]], float | None]) -> Estimate:
    """Return a statistic of the units of all clusters, with its jackknife t interval over clusters.

        θ̂ ± t(C − 1) · SE,   SE² = (C − 1)/C · Σ_c (θ_{−c} − θ̄)²,   θ_{−c}: without cluster c, θ̄: their mean

    `n` counts units. No interval for one cluster, where leaving one out leaves nothing to compute it from, or where it
    makes no difference: then nothing was seen to vary. The interval is kept within what agreement can be, -1 to 1.

    Source: R. G. Miller, Biometrika 61 (1974) 1-15.
    """
    units = [unit for cluster in clusters for unit in cluster]
    value, count = statistic(units), len(clusters)
    if value is None or count < 2:
        return Estimate(value, None, None, len(units))
    without = [
        statistic([unit for cluster in (*clusters[:index], *clusters[index + 1 :]) for unit in cluster])
        for index in range(count)
    ]
    known = [each for each in without if each is not None]
    if len(known) < count:
        return Estimate(value, None, None, len(units))
    middle = fsum(known) / count
    half = t_quantile(0.975, count - 1) * sqrt((count - 1) / count * fsum((each - middle) ** 2 for each in known))
    found = Estimate(value, value - half, value + half, len(units))
    return within_agreement(found) if half else Estimate(value, None, None, len(units))


def within_agreement(estimate: Estimate) -> Estimate:
    """Keep an interval of agreement within what agreement can be."""
    low = None if estimate.low is None else max(-1.0, estimate.low)
    return replace(estimate, low=low, high=None if estimate.high is None else min(1.0, estimate.high))
