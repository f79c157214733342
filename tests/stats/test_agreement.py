"""Agreement between raters, held against the worked examples of those who invented the measures."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from itertools import permutations
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyze.errors import UsageError
from analyze.stats import cohen_kappa, gwet_ac1, krippendorff_alpha
from analyze.stats.agreement import Level

digits = st.integers(1, 5)
pairs = st.lists(st.tuples(digits, digits), min_size=1, max_size=20)

KRIPPENDORFF = list(
    zip(
        [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
        [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
        strict=True,
    )
)
"""Four observers, twelve units, some missing: example C of "Computing Krippendorff's Alpha-Reliability"."""

_COUNTS = {("ectopic", "ectopic"): 13, ("AIU", "AIU"): 20, ("AIU", "NIU"): 7, ("NIU", "AIU"): 4, ("NIU", "NIU"): 56}
ABSTRACTORS = [pair for pair, times in _COUNTS.items() for _ in range(times)]
"""Two abstractors on a hundred pregnancies: the worked example of irrCAC 1.0, K. L. Gwet's own package."""


def test_gwets_own_example_has_his_numbers() -> None:
    a, b = [x for x, _ in ABSTRACTORS], [y for _, y in ABSTRACTORS]
    assert gwet_ac1(a, b, labels=3) == pytest.approx(0.8493305, abs=5e-8)
    assert cohen_kappa(a, b) == pytest.approx(0.7964094, abs=5e-8)
    assert krippendorff_alpha(ABSTRACTORS, "nominal") == pytest.approx(0.7972585, abs=5e-8)


def test_kappa_is_agreement_beyond_chance() -> None:
    a = ["y"] * 25 + ["n"] * 25
    b = ["y"] * 20 + ["n"] * 5 + ["y"] * 10 + ["n"] * 15
    assert cohen_kappa(a, b) == pytest.approx(0.4)  # the worked example of the usual textbooks
    assert cohen_kappa(a, a) == 1
    assert cohen_kappa(["y", "n"], ["n", "y"]) == -1


def test_kappa_has_no_value_where_nothing_could_disagree() -> None:
    assert cohen_kappa([], []) is None
    assert cohen_kappa(["y", "y"], ["y", "y"]) is None
    with pytest.raises(UsageError):
        cohen_kappa(["y"], [])
    with pytest.raises(UsageError):
        gwet_ac1(["y"], [], labels=2)


def test_weighted_kappa_counts_how_far_apart_two_raters_are() -> None:
    a, b = [1, 1, 2, 2, 3, 3], [1, 2, 2, 3, 3, 1]
    # distances 0 1 0 1 0 2; by chance, of 6 · 6 pairings: linear 32, quadratic 48
    assert cohen_kappa(a, b, "linear") == pytest.approx(1 - 6 * 4 / 32)
    assert cohen_kappa(a, b, "quadratic") == pytest.approx(1 - 6 * 6 / 48)
    assert cohen_kappa(a, b) == pytest.approx(1 - 6 * 3 / 24)


@given(pairs)
def test_quadratic_kappa_is_correlation_with_a_penalty_for_another_mean(rated: list[tuple[int, int]]) -> None:
    """2·cov / (var + var + (mean − mean)²), Lin's concordance: J. L. Fleiss, J. Cohen (1973)."""
    a, b = [x for x, _ in rated], [y for _, y in rated]
    mean_a, mean_b = fmean(a), fmean(b)
    covariance = fmean((x - mean_a) * (y - mean_b) for x, y in rated)
    spread = fmean((x - mean_a) ** 2 for x in a) + fmean((y - mean_b) ** 2 for y in b) + (mean_a - mean_b) ** 2
    kappa = cohen_kappa(a, b, "quadratic")
    assert kappa is None if spread < 1e-12 else kappa == pytest.approx(2 * covariance / spread, abs=1e-9)


def test_ac1_stays_high_where_kappa_falls_for_want_of_a_second_label() -> None:
    a = ["+"] * 118 + ["+"] * 5 + ["-"] * 2
    b = ["+"] * 118 + ["-"] * 5 + ["+"] * 2
    kappa = cohen_kappa(a, b)
    assert kappa is not None and kappa < 0
    assert gwet_ac1(a, b, labels=2) == pytest.approx(0.9408, abs=1e-4)  # by Gwet's formula, as irrCAC gives it
    assert gwet_ac1(["+"], ["+"], labels=2) == 1 and gwet_ac1([], [], labels=3) is None
    with pytest.raises(UsageError):
        gwet_ac1(["a", "b", "c"], ["a", "b", "c"], labels=2)


@pytest.mark.parametrize(("level", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_krippendorffs_own_example_has_his_alphas(level: Level, alpha: float) -> None:
    assert krippendorff_alpha(KRIPPENDORFF, level) == pytest.approx(alpha, abs=5e-4)


@given(st.lists(st.lists(st.one_of(st.none(), digits), max_size=4), max_size=8))
def test_alpha_compares_pairs_within_units_to_all_pairs(ratings: list[list[int | None]]) -> None:
    units = [[value for value in unit if value is not None] for unit in ratings]
    paired = [unit for unit in units if len(unit) > 1]
    values = [value for unit in paired for value in unit]
    within = [(x - y) ** 2 / (len(unit) - 1) for unit in paired for x, y in permutations(unit, 2)]
    between = [(x - y) ** 2 for x, y in permutations(values, 2)]
    alpha = krippendorff_alpha(ratings, "interval")
    if not any(between):
        assert alpha is None
    else:
        assert alpha == pytest.approx(1 - sum(within) / len(values) / fmean(between))


@given(st.lists(st.lists(digits, min_size=2, max_size=4), min_size=1, max_size=8), st.randoms())
def test_neither_order_nor_a_reversed_scale_changes_agreement(
    ratings: list[list[int]], shuffler: random.Random
) -> None:
    shuffled = [shuffler.sample(unit, len(unit)) for unit in shuffler.sample(ratings, len(ratings))]
    for level in ("nominal", "ordinal", "interval"):
        alpha = krippendorff_alpha(ratings, level)
        assert krippendorff_alpha(shuffled, level) == alpha
        assert krippendorff_alpha([[6 - value for value in unit] for unit in ratings], level) == alpha
        assert alpha is None or -1 <= alpha <= 1


@given(pairs)
def test_agreement_is_the_same_whoever_is_named_first(rated: Sequence[tuple[int, int]]) -> None:
    a, b = [x for x, _ in rated], [y for _, y in rated]
    assert cohen_kappa(a, b) == cohen_kappa(b, a)
    assert cohen_kappa(a, b, "linear") == cohen_kappa(b, a, "linear")
    assert gwet_ac1(a, b, 5) == gwet_ac1(b, a, 5)
    assert gwet_ac1(a, a, 5) == 1


def test_small_unsigned_numbers_are_as_far_apart_as_the_same_whole_numbers() -> None:
    a, b = [0, 200, 3, 7], [200, 1, 3, 2]
    of_bytes = np.array(a, dtype=np.uint8), np.array(b, dtype=np.uint8)
    assert cohen_kappa(*of_bytes, weights="linear") == cohen_kappa(a, b, weights="linear")
    assert cohen_kappa(*of_bytes, weights="quadratic") == cohen_kappa(a, b, weights="quadratic")
    for level in ("nominal", "ordinal", "interval"):
        plain = krippendorff_alpha(list(zip(a, b, strict=True)), level)
        assert krippendorff_alpha(np.array(of_bytes).T, level) == plain


def test_nan_is_a_missing_rating_to_alpha_and_no_label_to_kappa() -> None:
    units = [[1, 2, None], [3, 3, 3], [2, 2, None], [1, 1, 2]]
    for level in ("nominal", "ordinal", "interval"):
        assert krippendorff_alpha(np.array(units, dtype=float), level) == krippendorff_alpha(units, level)
    with pytest.raises(UsageError, match="NaN"):
        cohen_kappa([math.nan, 1, 2], [1, 1, 2])


def test_weights_and_levels_that_are_none_are_refused_and_so_are_distances_between_words() -> None:
    with pytest.raises(UsageError, match="cubic"):
        cohen_kappa([1, 2], [1, 1], weights="cubic")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="ratio"):
        krippendorff_alpha([[1, 2], [2, 2]], "ratio")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="number"):
        cohen_kappa(["low", "high"], ["low", "low"], weights="linear")
    with pytest.raises(UsageError, match="number"):  # by the alphabet, low would stand between high and medium
        krippendorff_alpha([["low", "high"], ["medium", "medium"]], "ordinal")
    assert krippendorff_alpha([["low", "high"], ["medium", "medium"]], "nominal") is not None
