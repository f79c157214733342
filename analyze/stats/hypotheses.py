"""Tests of a hypothesis: arrays in, p-values out. Knows nothing of what is compared.

Every test wants independent values: one per cluster, not one per row. It refuses what is not finite (UsageError): no
comparison with NaN holds, so that one such value would look like the rarest of all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING

from analyze.errors import UsageError
from analyze.stats.intervals import exact_sum, finite, mean_se, refuse_other_level

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EXACT_UP_TO = 20  # 2^20 sign vectors: 8 MB, 10 ms
DRAWS = 10_000


def sign_flip_test(values: Sequence[float], seed: int = 0) -> float:
    """Return the two-sided p-value that values are symmetric about 0: the share of sign flips with as large a |sum|.

    Exact up to 20 values (all 2ⁿ sign vectors), else (1 + hits)/(1 + 10,000) over random ones, so never 0. The values
    must be independent: pass one per cluster. No values give 1.
    Sources: R. A. Fisher, The Design of Experiments (1935) §21; Phipson & Smyth, SAGMB 9 (2010) 39 for the + 1.
    """
    import numpy as np

    array = finite(values)
    threshold = abs(exact_sum(array)) - 1e-9 * max(1.0, exact_sum(np.abs(array)))
    sizes, counts = np.unique(np.round(np.abs(array), 12), return_counts=True)
    if array.size <= EXACT_UP_TO:
        sums = np.zeros(1)
        for size in np.repeat(sizes, counts):
            sums = np.concatenate([sums + size, sums - size])
        return float((np.abs(sums) >= threshold).mean())
    generator = np.random.default_rng(seed)
    sums = np.zeros(DRAWS)
    for size, count in zip(sizes, counts, strict=True):  # scores are quarters: thousands of values have few sizes
        sums += size * (2 * generator.binomial(count, 0.5, DRAWS) - count)
    return float(1 + (np.abs(sums) >= threshold).sum()) / (1 + DRAWS)


def wilcoxon_pratt(values: Sequence[float]) -> float:
    """Return the two-sided p-value of Wilcoxon's signed-rank test that values are symmetric about 0.

    Zeros (ties) are ranked with the others and then given no sign, which keeps a test with many ties from reading only
    the few that are decided. Exact up to 13 values, without equal ranks and zeros up to 50, else by the normal
    approximation with its correction for equal ranks: what `scipy.stats.wilcoxon` chooses, which takes 0.4 s to be
    imported and, of 13 values, 0.6 s to be counted. The values must be independent: pass one per cluster. No values,
    or nothing but zeros, give 1.

        z = (R₊ − R/2) / √V        V = (N(N + 1)(2N + 1) − Z(Z + 1)(2Z + 1))/24 − Σ_ties(t³ − t)/48

    R₊ of R are the ranks of positive values, Z of N values are zeros, t values have one rank.
    Sources: F. Wilcoxon, Biometrics Bull. 1 (1945) 80-83; J. W. Pratt, JASA 54 (1959) 655-667 for the zeros;
    E. E. Cureton, JASA 62 (1967) 1068-1069 for their V.
    """
    import numpy as np
    from scipy.special import ndtr  # type: ignore[import-untyped]  # SciPy ships no types

    array = np.round(finite(values), 12)  # what rounding tells apart has one rank
    if not array.any():
        return 1.0
    sizes, places, counts = np.unique(np.abs(array), return_inverse=True, return_counts=True)
    ranks = np.where(sizes > 0, doubled_ranks(counts), 0)
    every, positive = int((ranks * counts).sum()), int(ranks[places[array > 0]].sum())
    n, zeros, ties = array.size, int(counts[sizes == 0].sum()), [int(count) for count in counts[sizes > 0]]
    if n <= 13 or (n <= 50 and n == len(sizes) and not zeros):
        return _exact_tails(np.repeat(ranks, counts).tolist(), max(positive, every - positive))
    cubes = n * (n + 1) * (2 * n + 1) - zeros * (zeros + 1) * (2 * zeros + 1) - sum(t**3 - t for t in ties) / 2
    return 2 * float(ndtr(-abs(positive / 2 - every / 4) / math.sqrt(cubes / 24)))


def doubled_ranks(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return twice the rank of each size, from the smallest, of which there are so many: equal ones share the mean."""
    return 2 * counts.cumsum() - counts + 1


def _exact_tails(ranks: Sequence[int], sum_of_signed: int) -> float:
    """Return the chance that the ranks given one sign, each with a chance of one half, sum to so much, or to so little.

    All 2ⁿ sign vectors are counted, by their sums.
    """
    import numpy as np

    ways = np.ones(1)
    for rank in ranks:
        none = np.zeros(rank)
        ways = np.concatenate([ways, none]) + np.concatenate([none, ways])
    return min(1.0, 2 * float(ways[sum_of_signed:].sum() / ways.sum()))


def sign_test(values: Sequence[float]) -> float:
    """Return the two-sided p-value that positive and negative values are equally likely; zeros are left out.

        p = min(1, 2 · P(X <= min(n₊, n₋)))          X binomial(n₊ + n₋, ½)

    Source: W. J. Dixon, A. M. Mood, JASA 41 (1946) 557-566. The values must be independent: pass one per cluster.
    """
    from scipy.special import bdtr

    positive, negative = sign_counts(values)
    return min(1.0, 2 * float(bdtr(min(positive, negative), positive + negative, 0.5)))


def sign_counts(values: Sequence[float]) -> tuple[int, int]:
    """Return how many values are positive, and how many negative; what rounding alone tells from 0 is neither."""
    rounded = [round(value, 12) for value in finite(values).tolist()]
    return sum(value > 0 for value in rounded), sum(value < 0 for value in rounded)


def tost(values: Sequence[float], margin: float) -> float:
    """Return the p-value of two one-sided t tests that the mean of `values` lies outside ±margin.

        p = max(P(T >= (x̄ + margin)/SE), P(T <= (x̄ − margin)/SE))          T Student's with n − 1 degrees of freedom

    Below 0.05 just where the 90 % t interval lies within the margin: equality shown, which a test that merely found no
    difference does not. The values must be independent, one per cluster, and measured from equality
    (a score less 0.5, a paired difference). Fewer than two, or no spread at all, give 1: nothing tells then how much
    the next one may vary. Source: D. J. Schuirmann, J. Pharmacokinet. Biopharm. 15 (1987) 657-680.

    Raises UsageError for a margin that is not above 0.
    """
    from scipy.special import stdtr

    if not margin > 0:
        raise UsageError(f"a margin of {margin} leaves nothing to be equal within", cure="give a margin above 0")
    estimate = mean_se(values)
    if not estimate.se > 0:  # NaN too
        return 1.0
    nearest = (abs(estimate.mean) - margin) / estimate.se  # the side that is harder to rule out
    return float(stdtr(estimate.n - 1, nearest))


def minimum_detectable_effect(sd: float, clusters: int, *, power: float = 0.8, level: float = 0.95) -> float:
    """Return the smallest difference of a mean that so many clusters show with this power.

        (z(½ + level/2) + z(power)) · σ/√C          = 2.8 · σ/√C for 80 % power at a two-sided 5 %

    `sd` is the standard deviation of a cluster's mean. Source: H. S. Bloom, Eval. Rev. 19 (1995) 547-556.
    Raises UsageError for no clusters, and for an `sd` that is none.
    """
    refuse_other_level(level)
    if not 0 <= sd < math.inf:
        raise UsageError(f"{sd} is no standard deviation", cure="give that of a cluster's mean, 0 or above")
    if clusters < 1:
        raise UsageError("nothing can be detected without a cluster", cure="score at least one task")
    normal = NormalDist()
    return (normal.inv_cdf(0.5 + level / 2) + normal.inv_cdf(power)) * sd / math.sqrt(clusters)


def holm(pvalues: Sequence[float]) -> list[float]:
    """Return the p-values adjusted for their number by Holm's step-down rule, in the order given.

        p̃(i) = max over j <= i of min(1, (m − j + 1) · p(j))          p(1) <= … <= p(m)

    Source: S. Holm, Scand. J. Stat. 6 (1979) 65-70. Raises UsageError for what is no p-value.
    """
    pvalues = _pvalues(pvalues)
    count = len(pvalues)
    adjusted = [0.0] * count
    running = 0.0
    for rank, index in enumerate(sorted(range(count), key=lambda i: pvalues[i])):
        running = max(running, min(1.0, (count - rank) * pvalues[index]))
        adjusted[index] = running
    return adjusted


def benjamini_hochberg(pvalues: Sequence[float]) -> list[float]:
    """Return the p-values adjusted to bound the share of false discoveries, in the order given.

        p̃(i) = min over j >= i of min(1, m/j · p(j))          p(1) <= … <= p(m)

    Holm bounds the chance of even one false finding; this bounds their share, and so is for exploring. Source:
    Y. Benjamini, Y. Hochberg, J. R. Stat. Soc. B 57 (1995) 289-300. Raises UsageError for what is no p-value.
    """
    pvalues = _pvalues(pvalues)
    count = len(pvalues)
    adjusted = [0.0] * count
    running = 1.0
    for rank, index in zip(range(count, 0, -1), sorted(range(count), key=lambda i: -pvalues[i]), strict=True):
        running = min(running, pvalues[index] * (count / rank))
        adjusted[index] = running
    return adjusted


def _pvalues(values: Sequence[float]) -> list[float]:
    """Return them as numbers of Python. One that is missing has no rank, and would shift those of all others."""
    found: list[float] = finite(values).tolist()
    if not all(0 <= value <= 1 for value in found):
        raise UsageError("a p-value is outside 0..1", cure="adjust what a test returned")
    return found
