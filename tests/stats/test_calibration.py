"""A judge held against the truth: what it says of itself, and what its errors do to a rate."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyze.errors import UsageError
from analyze.stats import corrected_rate, expected_calibration_error
from analyze.stats.calibration import (
    Statement,
    brier_score,
    calibration,
    cutoffs,
    fit_temperature,
    reliability,
    temperature_scaling,
)

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


# -- probabilities of several labels -----------------------------------------------------------------------------------

LABELS = "abc"


def stated(probabilities: Sequence[float], truth: str) -> Statement:
    told = dict(zip(LABELS, probabilities, strict=True))
    return Statement(told, max(told, key=lambda label: told[label]), truth)


def drawn(draw: random.Random, sharpness: float = 1.0) -> Statement:
    """Return a statement whose truth is drawn from its probabilities before they are sharpened."""
    weights = [draw.random() + 0.01 for _ in LABELS]
    told = [w / sum(weights) for w in weights]
    (truth,) = draw.choices(LABELS, told)
    powers = [p**sharpness for p in told]
    return stated([p / sum(powers) for p in powers], truth)


statements = st.lists(st.builds(drawn, st.randoms(use_true_random=False), st.sampled_from([0.5, 1.0, 4.0])), min_size=1)


@given(statements)
def test_the_brier_score_is_that_of_scikit_learn(said: list[Statement]) -> None:
    from sklearn.metrics import brier_score_loss

    told = [[it.probabilities[label] for label in LABELS] for it in said]
    theirs = brier_score_loss([it.truth for it in said], told, labels=list(LABELS), scale_by_half=False)
    assert brier_score(said) == pytest.approx(theirs)


def test_a_truth_without_a_probability_was_given_none() -> None:
    assert brier_score([Statement({"a": 1.0}, "a", "zebra")]) == 2
    assert brier_score([Statement({"a": 1.0}, "a", "a")]) == 0
    assert brier_score([]) is None


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 3.0])
def test_the_temperature_that_made_statements_too_sure_is_found_again(sharpness: float) -> None:
    draw = random.Random(7)
    said = [drawn(draw, sharpness) for _ in range(6000)]
    assert fit_temperature(said) == pytest.approx(sharpness, rel=0.15)
    scaling = temperature_scaling({str(index): [it] for index, it in enumerate(said)})
    assert scaling is not None and scaling.fitted_on + scaling.before.n == 6000
    assert scaling.after.ece is not None and scaling.after.ece < 0.03
    assert scaling.before.ece is not None
    assert sharpness == 1.0 or scaling.before.ece > 2 * scaling.after.ece


def test_no_temperature_is_likelier_than_the_one_that_is_found() -> None:
    draw = random.Random(3)
    said = [drawn(draw, 2.0) for _ in range(200)]

    def likelihood(temperature: float) -> float:
        return sum(math.log(it.at(temperature).probabilities[it.truth]) for it in said)

    best = fit_temperature(said)
    assert best is not None
    assert likelihood(best) >= max(likelihood(best * factor) for factor in (0.5, 0.99, 1.01, 2))


def test_where_nothing_was_wrong_or_nothing_right_there_is_no_temperature() -> None:
    assert fit_temperature([stated([0.6, 0.3, 0.1], "a")] * 9) is None
    assert fit_temperature([stated([0.6, 0.3, 0.1], "c")] * 9) is None
    assert fit_temperature([]) is None
    assert temperature_scaling({}) is None


@given(statements, st.floats(0.05, 20))
def test_another_temperature_changes_no_order_and_no_sum(said: list[Statement], temperature: float) -> None:
    for it in said:
        scaled = it.at(temperature).probabilities
        assert math.fsum(scaled.values()) == pytest.approx(1)
        order = sorted(scaled, key=lambda label: it.probabilities[label])
        assert sorted(scaled.values()) == [scaled[label] for label in order]


@given(statements, st.randoms())
def test_the_halves_do_not_depend_on_order(said: list[Statement], shuffler: random.Random) -> None:
    rows = [(str(index), [it]) for index, it in enumerate(said)]
    scaling = temperature_scaling(dict(rows))
    shuffler.shuffle(rows)
    again = temperature_scaling(dict(rows))
    assert (scaling is None) == (again is None)
    if scaling is not None and again is not None:
        assert again.temperature == pytest.approx(scaling.temperature) and again.fitted_on == scaling.fitted_on


@given(statements)
def test_bins_hold_every_statement_once_and_make_up_the_error(said: list[Statement]) -> None:
    bins = reliability(said)
    assert sum(it.right.n for it in bins) == len(said) and len(bins) == 10
    error = sum(
        it.right.n / len(said) * abs(it.right.value - it.confidence)
        for it in bins
        if it.right.value is not None and it.confidence is not None
    )
    assert calibration(said).ece == pytest.approx(error, abs=1e-9)
    assert all(it.confidence is None or it.low - 1e-9 <= it.confidence <= it.high + 1e-9 for it in bins)


@given(statements, st.integers(0, 5))
def test_a_higher_cutoff_covers_less_and_every_row_is_kept_or_counted(said: list[Statement], missing: int) -> None:
    rows = len(said) + missing
    sure, right = [it.confidence for it in said], [it.is_right for it in said]
    found = cutoffs(sure, right, rows, [0.0, 0.5, 0.9, 1.1])
    assert [it.coverage.value for it in found] == sorted((it.coverage.value or 0 for it in found), reverse=True)
    for it in found:
        assert it.accuracy.n + it.wrong_avoided + it.right_lost + missing == rows
    assert found[0].wrong_avoided == found[0].right_lost == 0
    assert found[-1].accuracy.value is None


def test_outcomes_are_right_or_wrong_and_there_is_a_bin() -> None:
    for odd in (2, math.nan):
        with pytest.raises(UsageError):
            expected_calibration_error([0.5], [odd])
    with pytest.raises(UsageError):
        expected_calibration_error([0.5], [True], bins=0)
