"""Means and intervals: textbook numbers come out, and small samples stay honest."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest, sem
from scipy.stats import t as student_t

from analyze.errors import UsageError
from analyze.stats import clopper_pearson, cluster_interval, cluster_se, mean_se, rate_interval, wilson
from analyze.stats.intervals import rate_limits

shares = st.floats(0, 1, allow_subnormal=False)


def test_a_mean_of_nothing_is_not_zero() -> None:
    assert math.isnan(mean_se([]).mean) and mean_se([]).n == 0
    assert mean_se([0.25]).mean == 0.25 and math.isnan(mean_se([0.25]).se)
    assert cluster_interval([], []).value is None
    for value in (math.nan, math.inf):
        with pytest.raises(UsageError, match="finite"):
            mean_se([0.5, value])


@given(st.lists(shares, min_size=2, max_size=30))
def test_with_one_value_a_cluster_clustering_changes_nothing(values: list[float]) -> None:
    plain, clustered = mean_se(values), cluster_se(values, range(len(values)))
    assert clustered.mean == plain.mean
    assert clustered.se == pytest.approx(plain.se, abs=1e-12)


def test_copies_of_a_row_do_not_narrow_a_clustered_interval() -> None:
    values = [0.0, 0.25, 1.0, 0.5, 0.75]
    once = cluster_interval(values, range(5))
    copied = cluster_interval(values * 4, [*range(5)] * 4)
    assert copied.low == pytest.approx(once.low) and copied.high == pytest.approx(once.high)
    assert mean_se(values * 4).se < 0.6 * mean_se(values).se


def test_the_interval_of_a_textbook_sample_is_the_textbooks() -> None:
    estimate = cluster_interval([1.0, 2.0, 3.0, 4.0, 5.0], range(5))
    assert estimate.value == 3
    assert estimate.high == pytest.approx(3 + 2.776445 * math.sqrt(2.5 / 5), abs=1e-5)


def test_one_cluster_gives_a_value_without_an_interval() -> None:
    estimate = cluster_interval([0.25, 0.75], ["t", "t"])
    assert (estimate.value, estimate.low, estimate.high, estimate.n) == (0.5, None, None, 2)


def test_values_and_cluster_names_must_match() -> None:
    with pytest.raises(UsageError):
        cluster_interval([1.0], [])


def test_wilson_matches_its_published_examples() -> None:
    low, high = wilson(81, 263)  # R. G. Newcombe, Stat. Med. 17 (1998) 857-872, table I
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)
    low, high = wilson(0, 20)
    assert (round(low, 4), round(high, 4)) == (0.0, 0.1611)
    for successes, n in ((1, 0), (-1, 5), (6, 5)):
        with pytest.raises(UsageError):
            wilson(successes, n)


@given(st.integers(2, 60), st.integers(0, 60), st.integers(1, 4))
def test_yes_or_no_by_whole_clusters_has_wilsons_interval_or_less(clusters: int, wins: int, copies: int) -> None:
    """Less on the side of 0 or 1 where a sample without a win, or a loss, could not have been told from it."""
    wins = min(wins, clusters)
    values = ([1.0] * wins + [0.0] * (clusters - wins)) * copies
    estimate = rate_interval(values, [*range(clusters)] * copies)
    (low, high), (_, edge) = wilson(wins, clusters), wilson(0, clusters)
    assert estimate.low is not None and estimate.high is not None
    assert estimate.low == pytest.approx(low, abs=1e-12) or low < estimate.low <= edge + 1e-12
    assert estimate.high == pytest.approx(high, abs=1e-12) or 1 - edge - 1e-12 <= estimate.high < high


@given(st.integers(3, 60), st.integers(30, 300))
def test_a_limit_on_the_side_of_0_is_that_of_a_one_sided_test(hits: int, trials: int) -> None:
    p = min(hits, trials - 1) / trials
    low, _ = rate_limits(p - 0.5, p * (1 - p) / trials, 1 / 20, 20)
    edge, limit = wilson(0, 20)[1], float(low) + 0.5
    if limit < edge - 1e-9:
        outcome = binom(trials, limit)
        chance = outcome.sf(round(p * trials)) + outcome.pmf(round(p * trials)) / 2
        assert chance == pytest.approx(0.05, abs=1e-6)


@given(
    st.lists(st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), min_size=3, max_size=3), min_size=2, max_size=20)
)
def test_no_sample_promises_more_than_a_flawless_one(tasks: list[list[float]]) -> None:
    names = [name for name, values in enumerate(tasks) for _ in values]
    estimate = rate_interval([value for values in tasks for value in values], names)
    flawless = rate_interval([1.0] * len(names), names)
    assert estimate.low is not None and estimate.high is not None and flawless.low is not None
    assert estimate.low <= flawless.low + 1e-12 and estimate.high >= 1 - flawless.low - 1e-12


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilsons_interval_is_scipys(counted: tuple[int, int]) -> None:
    theirs = binomtest(*counted).proportion_ci(method="wilson")
    assert wilson(*counted) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.sampled_from([0.9, 0.95]))
def test_clopper_and_pearsons_interval_is_scipys_exact_one(counted: tuple[int, int], level: float) -> None:
    theirs = binomtest(*counted).proportion_ci(confidence_level=level, method="exact")
    assert clopper_pearson(*counted, level) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_clopper_and_pearsons_interval_matches_its_published_examples() -> None:
    low, high = clopper_pearson(81, 263)  # R. G. Newcombe, Stat. Med. 17 (1998) 857-872, table I
    assert (round(low, 4), round(high, 4)) == (0.2527, 0.3676)
    assert [round(limit, 4) for limit in clopper_pearson(0, 20)] == [0.0, 0.1684]
    assert clopper_pearson(5, 5) == (pytest.approx(0.025 ** (1 / 5)), 1.0)
    for successes, n in ((1, 0), (-1, 5), (6, 5)):
        with pytest.raises(UsageError):
            clopper_pearson(successes, n)


@given(st.lists(shares, min_size=2, max_size=30))
def test_mean_and_t_interval_are_scipys(values: list[float]) -> None:
    estimate, interval = mean_se(values), cluster_interval(values, range(len(values)), level=0.9)
    assert estimate.se == pytest.approx(sem(values), abs=1e-12)
    if estimate.se > 1e-9:
        theirs = student_t.interval(0.9, len(values) - 1, loc=estimate.mean, scale=estimate.se)
        assert (interval.low, interval.high) == pytest.approx(theirs)


def test_fifteen_wins_of_fifteen_are_not_certainty() -> None:
    for copies in (1, 8):
        estimate = rate_interval([1.0] * 15 * copies, [*range(15)] * copies)
        assert estimate.value == 1 and estimate.high == 1
        assert estimate.low == pytest.approx(0.796, abs=1e-3)


def test_nothing_but_ties_is_not_certainty_either() -> None:
    estimate = rate_interval([0.5] * 15, range(15))
    assert (estimate.low, estimate.high) == pytest.approx(wilson(7.5, 15))


def test_few_losses_do_not_tell_whether_they_come_singly_many_do() -> None:
    """One row lost of 120: as good as none, for losses by whole tasks. Half of them lost, by chance: each counts."""
    tasks = [task for task in range(15) for _ in range(8)]
    one = rate_interval([0.0] + [1.0] * 119, tasks)
    assert one.low == pytest.approx(wilson(15, 15)[0])
    assert one.high is not None and one.high > wilson(119, 120)[1]
    draw = random.Random(2)
    many = rate_interval([float(draw.random() < 0.5) for _ in tasks], tasks)
    assert many.low is not None and many.high is not None
    low, high = wilson(60, 120)
    assert many.high - many.low == pytest.approx(high - low, rel=0.3)


def test_in_many_clusters_far_from_0_and_1_it_is_the_clustered_t_interval() -> None:
    draw = random.Random(1)
    values = [draw.choice([0.25, 0.5, 0.75]) for _ in range(3000)]
    tasks = [task for task in range(1000) for _ in range(3)]
    rate, plain = rate_interval(values, tasks), cluster_interval(values, tasks)
    assert (rate.low, rate.high) == pytest.approx((plain.low, plain.high), abs=1e-4)


def test_one_huge_cluster_is_not_made_up_for_by_many_small_ones() -> None:
    values = [1.0] * 100 + [0.0, 1.0] * 5
    estimate = rate_interval(values, ["huge"] * 100 + list(range(10)))
    assert estimate.low is not None and estimate.low < 0.25


def test_rates_are_between_0_and_1() -> None:
    for values in ([-0.1, 0.5], [1.5, 0.5], [math.nan, 0.5]):
        with pytest.raises(UsageError):
            rate_interval(values, [0, 1])


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 5)), min_size=1, max_size=20))
def test_swapping_the_sides_mirrors_a_rates_interval_to_the_last_digit(rows: list[tuple[float, int]]) -> None:
    clusters = [cluster for _, cluster in rows]
    one = rate_interval([value for value, _ in rows], clusters)
    other = rate_interval([1 - value for value, _ in rows], clusters)
    assert one.value is not None and other.value == 1 - one.value
    if one.low is not None and one.high is not None:
        assert (other.low, other.high) == (1 - one.high, 1 - one.low)
        assert other.high is not None and one.low == 1 - other.high


@given(st.lists(st.tuples(shares, st.integers(0, 5)), min_size=1, max_size=20))
def test_a_rates_interval_stays_between_0_and_1_and_holds_the_rate(rows: list[tuple[float, int]]) -> None:
    estimate = rate_interval([value for value, _ in rows], [cluster for _, cluster in rows])
    assert estimate.value is not None and estimate.n == len(rows)
    if len({cluster for _, cluster in rows}) == 1:
        assert estimate.low is None
    else:
        assert estimate.low is not None and estimate.high is not None
        assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1


@given(st.lists(st.tuples(shares, st.integers(0, 5)), min_size=1, max_size=20), st.randoms())
def test_the_order_of_the_rows_changes_no_digit(rows: list[tuple[float, int]], shuffler: random.Random) -> None:
    before = rate_interval([value for value, _ in rows], [cluster for _, cluster in rows])
    shuffler.shuffle(rows)
    assert rate_interval([value for value, _ in rows], [cluster for _, cluster in rows]) == before


def test_clustered_intervals_hold_what_they_promise_where_rows_go_together() -> None:
    """30 tasks with 5 rivals each, correlation 0.5 within a task: 95 % is promised, rows alone would hold 75."""
    draw = random.Random(7)
    held = naive = 0
    for _ in range(400):
        levels = [draw.gauss(0, 1) for _ in range(30)]
        values = [level + draw.gauss(0, 1) for level in levels for _ in range(5)]
        tasks = [task for task in range(30) for _ in range(5)]
        estimate, plain = cluster_interval(values, tasks), mean_se(values)
        assert estimate.low is not None and estimate.high is not None
        held += estimate.low <= 0 <= estimate.high
        naive += abs(plain.mean) <= 1.96 * plain.se
    assert 0.92 <= held / 400 <= 0.98
    assert naive / 400 < 0.85


@pytest.mark.parametrize("correlation", [0.0, 0.2, 0.5, 0.8])
@pytest.mark.parametrize(("rate", "tasks"), [(0.98, 15), (0.95, 15), (0.9, 30), (0.5, 15), (0.02, 100)])
def test_intervals_of_rates_hold_what_they_promise_at_any_correlation(
    rate: float, tasks: int, correlation: float
) -> None:
    """8 rivals a task. `python -m benchmarks coverage` has the whole grid, and what other intervals do there."""
    draw = np.random.default_rng(5)
    levels = rate
    if correlation:
        odds = (1 - correlation) / correlation
        levels = draw.beta(rate * odds, (1 - rate) * odds, (4000, tasks))
    means = draw.binomial(8, levels, (4000, tasks)) / 8
    mean = means.mean(axis=1)
    squares = (means - mean[:, None]) ** 2
    total = np.maximum(squares.sum(axis=1), 1e-12)
    tailedness = np.minimum(1, (squares**2).sum(axis=1) / total**2)
    low, high = rate_limits(mean - 0.5, total / (tasks - 1) / tasks, tailedness, tasks)
    held = ((low + 0.5 <= rate) & (rate <= high + 0.5)).mean()
    assert 0.93 <= held <= 0.97 + 0.005  # what 4,000 runs may be off by


def test_cluster_names_may_be_anything_in_any_array() -> None:
    values, names = [1, 0, 1, 1, 0.5], ["b", None, 3, "b", None]
    expected = cluster_interval(values, names)
    assert cluster_interval(values, np.array(names, dtype=object)) == expected
    assert rate_interval(values, np.array(names, dtype=object)) == rate_interval(values, names)
    with pytest.raises(UsageError, match="NaN"):
        cluster_interval([1, 0, 1], [math.nan, "a", "b"])


def test_a_level_in_percent_is_refused() -> None:
    for level in (95, 1, 0, math.nan):
        for interval in (cluster_interval, rate_interval):
            with pytest.raises(UsageError, match="level"):
                interval([1, 0, 1], [1, 2, 3], level)
        for interval in (wilson, clopper_pearson):
            with pytest.raises(UsageError, match="level"):
                interval(1, 3, level)


def test_a_table_is_no_list_of_values() -> None:
    with pytest.raises(UsageError, match="shape"):
        mean_se(np.ones((3, 2)))
