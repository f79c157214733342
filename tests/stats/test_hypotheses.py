"""Tests of hypotheses and agreement, held against numbers worked out by hand or by other libraries."""

from __future__ import annotations

import random
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyze.errors import UsageError
from analyze.stats import cohen_kappa, holm, sign_flip_test


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
    if len(values) <= 20:
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
