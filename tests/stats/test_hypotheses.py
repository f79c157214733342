"""Tests of hypotheses, held against published examples and against other ways to work them out."""

from __future__ import annotations

import random
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, false_discovery_control, ttest_1samp, wilcoxon

from analyze.errors import UsageError
from analyze.stats import (
    benjamini_hochberg,
    cluster_interval,
    holm,
    minimum_detectable_effect,
    sign_flip_test,
    sign_test,
    tost,
    wilcoxon_pratt,
)

DARWIN = [6, 8, 14, 16, 23, 24, 28, 29, 41, -48, 49, 56, 60, -67, 75]
"""Differences in height of cross- and self-fertilised maize (The Effects of Cross and Self-fertilisation, 1876)."""

THROMBOLYSIS = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.324, 0.4262, 0.5719, 0.6528]
THROMBOLYSIS += [0.759, 1.0]
"""The 15 p-values of Benjamini and Hochberg's own example (1995, section 4.1)."""


@given(st.lists(st.sampled_from([-0.5, -0.25, 0.0, 0.125, 0.25, 0.5]), min_size=1, max_size=8))
def test_the_exact_test_counts_every_sign_vector(values: list[float]) -> None:
    observed = abs(sum(values))
    sums = [
        abs(sum(sign * value for sign, value in zip(signs, values, strict=True)))
        for signs in product((1, -1), repeat=len(values))
    ]
    assert sign_flip_test(values) == sum(total >= observed - 1e-12 for total in sums) / len(sums)


def test_five_wins_of_five_have_the_p_value_of_five_heads() -> None:
    assert sign_flip_test([0.5] * 5) == 2 / 2**5
    assert sign_flip_test([]) == sign_flip_test([0.0]) == 1


def test_the_drawn_test_agrees_with_the_exact_one_and_is_never_zero() -> None:
    values = [0.5, -0.25, 0.25, 0.5, -0.5, 0.25, 0.25, 0.0, 0.5, 0.25] * 2
    assert sign_flip_test([*values, 0.0]) == pytest.approx(sign_flip_test(values), abs=0.01)
    assert sign_flip_test([0.5] * 60) == 1 / 10_001


@given(st.lists(st.floats(-0.5, 0.5), min_size=1, max_size=30), st.randoms())
def test_neither_the_order_nor_a_mirror_changes_a_p_value(values: list[float], shuffler: random.Random) -> None:
    p_value = sign_flip_test(values)
    assert 0 < p_value <= 1
    shuffled = list(values)
    shuffler.shuffle(shuffled)
    assert sign_flip_test(shuffled) == p_value
    assert sign_flip_test([-value for value in values]) == p_value


def test_holm_steps_down() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=10))
def test_an_adjusted_p_value_is_never_smaller_and_keeps_the_ranks(pvalues: list[float]) -> None:
    adjusted = holm(pvalues)
    assert all(before <= after <= 1 for before, after in zip(pvalues, adjusted, strict=True))
    by_rank = [after for _, after in sorted(zip(pvalues, adjusted, strict=True))]
    assert by_rank == sorted(by_rank)


def test_benjamini_and_hochberg_find_four_where_holm_finds_three() -> None:
    assert sum(p <= 0.05 for p in benjamini_hochberg(THROMBOLYSIS)) == 4
    assert sum(p <= 0.05 for p in holm(THROMBOLYSIS)) == 3
    assert benjamini_hochberg(THROMBOLYSIS)[3] == pytest.approx(0.0095 * 15 / 4)
    assert benjamini_hochberg([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_the_share_of_false_discoveries_is_bounded_as_scipy_does(pvalues: list[float]) -> None:
    assert benjamini_hochberg(pvalues) == pytest.approx(list(false_discovery_control(pvalues)))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=10), st.randoms())
def test_adjusting_follows_the_p_values_wherever_they_stand(pvalues: list[float], shuffler: random.Random) -> None:
    order = list(range(len(pvalues)))
    shuffler.shuffle(order)
    for adjust in (holm, benjamini_hochberg):
        adjusted = adjust(pvalues)
        assert adjust([pvalues[i] for i in order]) == pytest.approx([adjusted[i] for i in order])
        assert all(before <= after + 1e-12 and after <= 1 for before, after in zip(pvalues, adjusted, strict=True))
    pairs = zip(benjamini_hochberg(pvalues), holm(pvalues), strict=True)
    assert all(exploring <= strict + 1e-12 for exploring, strict in pairs)


def test_fishers_maize_has_the_published_p_values() -> None:
    assert wilcoxon_pratt(DARWIN) == pytest.approx(0.041259765625)  # exact; the example of SciPy's documentation
    assert sign_flip_test(DARWIN) == 1726 / 2**15  # Fisher, The Design of Experiments, section 21: 5.267 %
    assert sign_test(DARWIN) == pytest.approx(2 * (1 + 15 + 105) / 2**15)


@given(st.lists(st.sampled_from([-0.5, -0.25, 0.0, 0.25, 0.5]), min_size=1, max_size=8))
def test_the_signed_rank_test_counts_every_sign_vector_and_ranks_zeros(values: list[float]) -> None:
    ranks = [sum(abs(b) < abs(a) for b in values) + (sum(abs(b) == abs(a) for b in values) + 1) / 2 for a in values]
    ranks = [rank if value else 0 for rank, value in zip(ranks, values, strict=True)]
    signs = [(value > 0) - (value < 0) for value in values]
    observed = abs(sum(rank * sign for rank, sign in zip(ranks, signs, strict=True)))
    sums = [
        abs(sum(rank * sign for rank, sign in zip(ranks, vector, strict=True)))
        for vector in product((1, -1), repeat=len(values))
    ]
    exact = sum(total >= observed - 1e-9 for total in sums) / len(sums)
    assert wilcoxon_pratt(values) == pytest.approx(exact)


@settings(max_examples=20, deadline=None)  # SciPy permutes 13 values with ties: 0.3 s
@given(st.lists(st.integers(-8, 8), max_size=60) | st.sets(st.integers(1, 100), max_size=50))
def test_the_signed_rank_test_is_scipys(values: list[int] | set[int]) -> None:
    scaled = [value / 16 * (-1) ** (value % 3) for value in values]
    if any(scaled):
        assert wilcoxon_pratt(scaled) == pytest.approx(wilcoxon(sorted(scaled), zero_method="pratt").pvalue)


@settings(deadline=None)
@given(st.lists(st.sampled_from([n / 8 for n in range(-4, 5)]), max_size=40), st.randoms())
def test_ranks_and_signs_are_blind_to_order_and_to_which_side_is_called_which(
    values: list[float], shuffler: random.Random
) -> None:
    shuffled = list(values)
    shuffler.shuffle(shuffled)
    for test in (wilcoxon_pratt, sign_test):
        assert 0 < test(values) <= 1
        assert test(shuffled) == test(values)
        assert test([-value for value in values]) == pytest.approx(test(values))


def test_nothing_but_ties_is_evidence_of_nothing() -> None:
    for values in ([], [0.0], [0.0] * 60):
        assert wilcoxon_pratt(values) == sign_test(values) == 1


@given(st.lists(st.floats(-0.5, 0.5), min_size=2, max_size=30), st.floats(0.01, 0.5))
def test_equal_is_claimed_where_the_90_percent_interval_lies_within_the_margin(
    values: list[float], margin: float
) -> None:
    interval, p_value = cluster_interval(values, range(len(values)), level=0.9), tost(values, margin)
    assert tost([-value for value in values], margin) == p_value
    assert interval.low is not None and interval.high is not None
    if interval.low < interval.high:
        inside = min(interval.low + margin, margin - interval.high)
        assert abs(inside) < 1e-9 or (inside > 0) == (p_value < 0.05)
    else:
        assert p_value == 1  # no spread was seen: nothing says how much there is


@given(st.lists(st.floats(-0.5, 0.5), min_size=2, max_size=20), st.floats(0.01, 0.5))
def test_two_one_sided_tests_are_two_of_scipys(values: list[float], margin: float) -> None:
    if len(set(values)) > 1 and np.std(values) > 1e-6:
        above = ttest_1samp(values, -margin, alternative="greater").pvalue
        below = ttest_1samp(values, margin, alternative="less").pvalue
        assert tost(values, margin) == pytest.approx(max(above, below), rel=1e-6)


@given(st.lists(st.sampled_from([-0.25, 0.0, 0.5]), max_size=60))
def test_the_sign_test_is_scipys_test_of_a_fair_coin(values: list[float]) -> None:
    heads, tosses = sum(value > 0 for value in values), sum(value != 0 for value in values)
    assert sign_test(values) == pytest.approx(binomtest(heads, tosses).pvalue if tosses else 1)


def test_too_few_values_show_no_equality() -> None:
    assert tost([], 0.05) == tost([0.0], 0.05) == tost([0.0, 0.0], 0.05) == 1
    with pytest.raises(UsageError):
        tost([0.1, 0.2], 0.0)


def test_76_tasks_show_a_tenth_and_300_a_twentieth() -> None:
    """The spread of a task's mean score on real verdicts is 0.31."""
    assert minimum_detectable_effect(0.31, 76) == pytest.approx(0.1, abs=0.001)
    assert minimum_detectable_effect(0.31, 300) == pytest.approx(0.05, abs=0.001)
    assert minimum_detectable_effect(1.0, 1) == pytest.approx(2.8016, abs=1e-4)
    with pytest.raises(UsageError):
        minimum_detectable_effect(0.31, 0)


@pytest.mark.parametrize("test", [sign_flip_test, sign_test, wilcoxon_pratt])
@pytest.mark.parametrize("odd", [float("nan"), float("inf"), None])
@pytest.mark.parametrize("others", [2, 30])
def test_a_value_that_is_missing_is_refused_and_not_taken_for_the_rarest_of_all(test, odd, others) -> None:
    with pytest.raises(UsageError, match="finite"):
        test([odd, *[0.1, -0.2] * others])


@pytest.mark.parametrize("adjust", [holm, benjamini_hochberg])
def test_only_p_values_are_adjusted(adjust) -> None:
    for odd in ([0.01, float("nan")], [1.2], [-0.1], [0.01, None]):
        with pytest.raises(UsageError):
            adjust(odd)
    assert adjust(np.array([0, 1, 1], dtype=np.uint8)) == [0.0, 1.0, 1.0]
    assert adjust([]) == adjust(np.array([])) == []


def test_no_effect_is_detectable_by_a_spread_that_is_none() -> None:
    for sd in (float("nan"), -0.3):
        with pytest.raises(UsageError):
            minimum_detectable_effect(sd, 10)
