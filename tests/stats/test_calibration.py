"""A judge held against the truth: what it says of itself, and what its errors do to a rate."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyze.errors import UsageError
from analyze.stats import corrected_rate, expected_calibration_error

counts = st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


def test_a_judge_that_is_right_as_often_as_it_says_is_calibrated() -> None:
    assert expected_calibration_error([0.75] * 4 + [0.5] * 2, [True, True, True, False, True, False]) == 0
    assert expected_calibration_error([1.0, 1.0], [True, False]) == 0.5
    assert expected_calibration_error([0.95] * 10, [True] * 7 + [False] * 3) == pytest.approx(0.25)


def test_a_judge_too_sure_and_one_too_modest_do_not_make_up_for_each_other() -> None:
    assert expected_calibration_error([0.9] * 2 + [0.1] * 2, [True, False, True, False]) == pytest.approx(0.4)


def test_nothing_said_is_no_error_and_wrong_use_is_refused() -> None:
    assert expected_calibration_error([], []) is None
    for confidences, correct in (([0.5], []), ([1.5], [True])):
        with pytest.raises(UsageError):
            expected_calibration_error(confidences, correct)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=30), st.randoms())
def test_calibration_is_bounded_and_blind_to_order(said: list[tuple[float, bool]], shuffler: random.Random) -> None:
    error = expected_calibration_error([c for c, _ in said], [r for _, r in said])
    assert error is not None and 0 <= error <= 1
    shuffler.shuffle(said)
    assert expected_calibration_error([c for c, _ in said], [r for _, r in said]) == error


def test_a_judge_without_errors_leaves_the_rate_as_it_is() -> None:
    assert corrected_rate((30, 100), (10_000, 10_000), (10_000, 10_000)).value == pytest.approx(0.3)


def test_with_enough_labels_the_interval_is_what_one_works_out_by_hand() -> None:
    """p = 0.6, sensitivity 0.9, specificity 0.8: (0.6 + 0.8 − 1)/0.7 ± 1.96·√(0.0012 + 0.000294 + 0.000294)/0.7."""
    estimate = corrected_rate((120, 200), (90, 100), (80, 100))
    assert estimate.value == pytest.approx(0.4 / 0.7)
    assert (estimate.low, estimate.high) == pytest.approx((0.4530, 0.6898), abs=0.005)


def test_a_judge_that_may_be_no_better_than_chance_says_nothing() -> None:
    for sensitivity, specificity in (((5, 10), (5, 10)), ((9, 10), (1, 10)), ((7, 10), (6, 10))):
        assert corrected_rate((30, 60), sensitivity, specificity).value is None


@given(counts, counts, counts)
def test_a_corrected_rate_stays_within_bounds_and_mirrors_with_its_labels(
    observed: tuple[int, int], sensitivity: tuple[int, int], specificity: tuple[int, int]
) -> None:
    estimate = corrected_rate(observed, sensitivity, specificity)
    mirrored = corrected_rate((observed[1] - observed[0], observed[1]), specificity, sensitivity)
    if estimate.value is None or estimate.low is None or estimate.high is None:
        assert mirrored.value is None
        return
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
    assert mirrored.value == pytest.approx(1 - estimate.value)
    assert (mirrored.low, mirrored.high) == pytest.approx((1 - estimate.high, 1 - estimate.low))


@pytest.mark.parametrize("counted", [(1, 0), (-1, 5), (6, 5)])
def test_counts_that_are_no_shares_are_refused(counted: tuple[float, float]) -> None:
    with pytest.raises(UsageError):
        corrected_rate(counted, (9, 10), (9, 10))


@pytest.mark.parametrize(("rate", "n", "known"), [(0.1, 60, 20), (0.5, 60, 20), (0.9, 200, 30)])
def test_the_interval_holds_though_the_judge_is_known_from_few_labels_only(rate: float, n: int, known: int) -> None:
    draw = random.Random(1)

    def binomial(trials: int, share: float) -> int:
        return sum(draw.random() < share for _ in range(trials))

    held = 0
    for _ in range(600):
        yes = binomial(n, rate * 0.9 + (1 - rate) * 0.2)
        estimate = corrected_rate((yes, n), (binomial(known, 0.9), known), (binomial(known, 0.8), known))
        held += estimate.low is None or estimate.high is None or estimate.low <= rate <= estimate.high
    assert held / 600 >= 0.93
