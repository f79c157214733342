"""The numbers of a run from its records: every pair counted once, mirrored when the sides are, honest about gaps."""

from __future__ import annotations

import math
import random
from dataclasses import astuple, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from analyze.errors import InputError
from analyze.judge.cells import cells_of
from analyze.judge.folding import fold_task
from analyze.judge.tasks import Solution, Task
from analyze.judge.verdicts import CellFailure, Reply
from analyze.stats import Estimate, benjamini_hochberg, clopper_pearson
from analyze.stats.issues import IssueCount, count_issues
from analyze.stats.pairs import comment_difference, pairs_of
from analyze.stats.summary import Result, Summary, summarise
from tests.judge.factory import facts_json, task, verdict

FAILED = CellFailure("timeout", "no answer")


def record(task_id: str, *pairs: tuple[int | None, int | None], **keys: Any) -> dict[str, Any]:
    """Fold a task from digits: for each rival what was said target first and rival first, None for a failed cell."""
    folded = task(task_id=task_id, rivals=tuple(f"code {n}" for n in range(len(pairs))), **keys)
    return fold(folded, [digit for pair in pairs for digit in pair])


def fold(folded: Task, digits: list[int | None]) -> dict[str, Any]:
    """Fold a task from the digits of its cells in their order; a pair that a rule decides has none and needs none."""
    replies: list[Reply] = [FAILED if digit is None else verdict(digit) for digit in digits]
    return fold_task(folded, dict(zip([cell.id for cell in cells_of(folded)], replies, strict=False)), {})


WIN, LOSS, TRUE, WEAK, CONFLICT, UNSCORED = (5, 1), (1, 5), (3, 3), (4, 3), (4, 4), (5, None)


def test_every_pair_is_counted_under_its_outcome() -> None:
    summary = summarise([record("a", WIN, LOSS), record("b", TRUE, WEAK), record("c", CONFLICT, UNSCORED)])
    assert (summary.tasks, summary.pairs, summary.target) == (3, 6, "target")
    one = summary.overall
    assert (one.wins, one.ties_true, one.ties_weak, one.ties_conflict, one.losses, one.unscored) == (1, 1, 1, 1, 1, 1)
    assert one.win_rate.value == pytest.approx(0.5) and one.win_rate.n == 5
    assert [rival.author for rival in summary.rivals] == ["rival-1", "rival-2"]
    assert [rival.pairs for rival in summary.rivals] == [3, 3]


def test_unscored_pairs_enter_no_mean_and_are_bounded() -> None:
    summary = summarise([record("a", WIN, UNSCORED), record("b", WIN, WIN)])
    assert summary.overall.score.value == 1.0
    assert summary.coverage == 0.75
    assert summary.worst == (0.75, 1.0)
    assert summary.check.failed_cells == 1 and summary.check.cells == 8


def test_a_run_without_one_scored_pair_has_no_rates() -> None:
    for records in ([], [record("a", UNSCORED)]):
        summary = summarise(records)
        assert summary.overall.win_rate == Estimate(None, None, None, 0)
        assert summary.overall.tests is None and summary.dimensions == {}
        assert summary.coverage == 0 and summary.worst == (0.0, 1.0)


def test_a_task_that_is_there_twice_is_refused() -> None:
    with pytest.raises(InputError, match="'a'"):
        summarise([record("a", WIN), record("b", WIN), record("a", WIN)])


def test_a_rival_that_is_twice_in_a_task_is_refused() -> None:
    one = record("a", WIN)
    one["rivals"] *= 2
    with pytest.raises(InputError, match="'rival-1'"):
        summarise([one])


def test_one_task_and_one_rival_have_a_rate_and_no_interval() -> None:
    summary = summarise([record("a", WIN)])
    assert summary.overall.win_rate == Estimate(1.0, None, None, 1)
    assert summary.overall.tests and summary.overall.tests.detectable is None and not summary.overall.is_equal
    assert summary.differences == [] and summary.rivals[0].p_value == 1


def test_no_task_at_all_is_a_summary_of_nothing() -> None:
    summary = summarise([])
    assert (summary.tasks, summary.rivals, summary.differences, summary.issues) == (0, [], [], [])
    assert summary.sensitivity is None and summary.corrected_correctness is None and not summary.is_sufficient


def test_below_95_percent_scored_a_headline_is_insufficient() -> None:
    records = [record(str(n), WIN) for n in range(19)]
    assert summarise([*records, record("x", UNSCORED)]).is_sufficient
    assert not summarise([*records, record("x", UNSCORED), record("y", UNSCORED)]).is_sufficient


def test_a_rival_that_lacks_verdicts_is_insufficient_though_the_total_is_not() -> None:
    whole = [WIN] * 9
    records = [record(str(n), UNSCORED if n < 2 else WIN, *whole) for n in range(20)]
    summary = summarise(records)
    assert summary.is_sufficient and summary.overall.sufficient
    assert [rival.sufficient for rival in summary.rivals] == [False] + [True] * 9
    assert [dimension.rivals[0].sufficient for dimension in summary.dimensions.values()] == [False] * 8


def test_unscored_pairs_bound_the_win_rate_by_counts_and_the_score_by_tasks() -> None:
    one = summarise([record("a", WIN, TRUE, UNSCORED), record("b", LOSS)]).overall
    assert one.worst_win_rate == (1.5 / 4, 2.5 / 4)
    assert one.worst == ((1.5 / 3 + 0) / 2, (2.5 / 3 + 0) / 2)
    scored = summarise([record("a", WIN, TRUE)]).overall
    assert scored.worst_win_rate == (0.75, 0.75) == (scored.win_rate.value, scored.win_rate.value)
    assert summarise([]).overall.worst_win_rate == (0.0, 1.0)


def test_pairs_decided_by_rule_are_counted_apart_and_have_no_dimensions() -> None:
    empty = fold_task(task(target="", rivals=("x",), task_id="b"), {}, {})
    summary = summarise([record("a", WIN), empty])
    assert (summary.overall.losses, summary.overall.by_rule) == (1, 1)
    assert {dimension.overall.pairs for dimension in summary.dimensions.values()} == {1}


def test_the_sign_test_has_the_exact_interval_of_the_clusters_in_which_the_target_is_ahead() -> None:
    summary = summarise([record(str(n), [WIN, WIN, WIN, LOSS, TRUE][n % 5]) for n in range(10)])
    tests = summary.overall.tests
    assert summary.overall.is_small and tests
    assert tests.ahead == Estimate(6 / 8, *clopper_pearson(6, 8), 8)
    assert tests.sign == pytest.approx(2 * (1 + 8 + 28) / 2**8)
    level = summarise([record(str(n), TRUE) for n in range(3)]).overall.tests
    assert level and level.ahead == Estimate(None, None, None, 0)


def test_tasks_of_a_group_whose_thirds_cancel_out_are_level() -> None:
    thirds = [record("a", WIN, LOSS, LOSS, group_id="g"), record("b", WIN, WIN, LOSS, group_id="g")]
    tests = summarise([*thirds, record("c", WIN)]).overall.tests
    assert tests and tests.ahead.n == 1 and tests.sign == 1


def test_equality_is_shown_by_many_tasks_and_never_by_a_missing_difference() -> None:
    def run(tasks: int) -> Result:
        return summarise([record(str(n), [WIN, LOSS, TRUE, TRUE][n % 4]) for n in range(tasks)]).overall

    few, many = run(16), run(1000)
    assert few.p_value == pytest.approx(1) and not few.is_equal
    assert many.is_equal


@pytest.mark.parametrize(("tasks", "pair", "share"), [(30, (4, 2), 0.2), (76, WIN, 0.1)])
def test_many_ties_do_not_make_equal_what_lies_on_the_margin(tasks: int, pair: tuple[int, int], share: float) -> None:
    """The true score against a rival is .55; against the other all is tied. Every run, weighed by its chance."""
    ties, others = ([record(f"{n:02}", TRUE, digits) for n in range(tasks)] for digits in (TRUE, pair))
    by_tests = claimed = of_difference = 0.0
    for count in range(tasks + 1):
        chance = math.comb(tasks, count) * share**count * (1 - share) ** (tasks - count)
        if chance > 1e-3:
            run = summarise(others[:count] + ties[count:])
            [difference], rival = run.differences, run.rivals[1]
            assert rival.tests and rival.tests.equal == pytest.approx(difference.equal)
            by_tests += chance * (rival.tests.equal < 0.05)
            claimed += chance * rival.is_equal
            of_difference += chance * difference.is_equal
    assert by_tests > 0.1  # two one-sided t tests alone
    assert 0 < claimed < 0.05 and 0 < of_difference < 0.05


def test_the_detectable_difference_shrinks_with_the_root_of_the_tasks() -> None:
    def detectable(tasks: int) -> float:
        tests = summarise([record(str(n), WIN if n % 2 else LOSS) for n in range(tasks)]).overall.tests
        assert tests and tests.detectable
        return tests.detectable

    assert detectable(16) == pytest.approx(2.8016 * 0.5 * math.sqrt(16 / 15) / 4, abs=1e-3)
    assert detectable(64) < 0.51 * detectable(16)


def test_two_rivals_are_compared_on_the_tasks_they_have_in_common() -> None:
    summary = summarise([record("a", WIN, LOSS), record("b", WIN, TRUE), record("c", WIN)])
    [difference] = summary.differences
    assert (difference.first, difference.second, difference.advantage.n) == ("rival-1", "rival-2", 2)
    assert difference.advantage.value == -0.75  # the target does better against the first: it is the easier rival


def test_two_tasks_that_agree_do_not_make_a_difference_certain() -> None:
    [difference] = summarise([record("a", TRUE, WIN), record("b", TRUE, WIN)]).differences
    advantage = difference.advantage
    assert advantage.value == 0.5 and advantage.low is not None and advantage.high is not None
    assert -1 <= advantage.low < 0 < 0.9 < advantage.high <= 1
    assert difference.p_value == 0.5 and not difference.is_equal


def test_differences_are_tested_and_adjusted_for_the_number_of_pairs_of_rivals() -> None:
    differences = summarise([record(str(n), TRUE, WIN, TRUE) for n in range(8)]).differences
    assert [(one.first, one.second) for one in differences] == [
        ("rival-1", "rival-2"),
        ("rival-1", "rival-3"),
        ("rival-2", "rival-3"),
    ]
    assert [one.p_value for one in differences] == [2 / 2**8, 1, 2 / 2**8]
    assert [one.p_holm for one in differences] == [3 * 2 / 2**8, 1, 3 * 2 / 2**8]


def test_a_difference_counts_groups_of_tasks_and_not_tasks() -> None:
    [difference] = summarise([record(str(n), TRUE, WIN, group_id=f"g{n % 3}") for n in range(9)]).differences
    assert difference.p_value == 2 / 2**3 and difference.advantage.n == 9


def test_rivals_without_a_common_task_have_no_difference() -> None:
    [difference] = summarise([record("a", WIN, UNSCORED), record("b", UNSCORED, WIN)]).differences
    assert difference.advantage == Estimate(None, None, None, 0)
    assert difference.p_value is None and difference.p_holm is None and not difference.is_equal


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(*[st.tuples(st.integers(1, 5), st.integers(1, 5))] * 2), min_size=1, max_size=8))
def test_which_rival_is_named_first_mirrors_their_difference(run: list[Any]) -> None:
    [one] = summarise([record(str(n), first, second) for n, (first, second) in enumerate(run)]).differences
    [other] = summarise([record(str(n), second, first) for n, (first, second) in enumerate(run)]).differences
    mirrored = [
        None if end is None else -end for end in (other.advantage.value, other.advantage.high, other.advantage.low)
    ]
    assert [one.advantage.value, one.advantage.low, one.advantage.high] == mirrored
    assert (one.p_value, one.p_holm, one.is_equal) == (other.p_value, other.p_holm, other.is_equal)


def test_p_values_of_dimensions_are_adjusted_over_rivals_and_dimensions() -> None:
    summary = summarise([record(str(n), WIN, TRUE) for n in range(8)])
    every = [rival for dimension in summary.dimensions.values() for rival in dimension.rivals]
    assert len(every) == 16
    assert [rival.p_adjusted for rival in every] == benjamini_hochberg([rival.p_value or 0 for rival in every])


def test_dimensions_that_always_rank_alike_are_a_halo() -> None:
    summary = summarise([record(str(n), pair) for n, pair in enumerate([WIN, LOSS, TRUE, WEAK])])
    assert len(summary.correlations) == 28
    assert all(one.rho == pytest.approx(1) and one.is_halo for one in summary.correlations)


def test_a_dimension_that_never_varies_correlates_with_nothing() -> None:
    assert {one.rho for one in summarise([record("a", WIN), record("b", WIN)]).correlations} == {None}


@settings(deadline=None, max_examples=15)
@given(st.lists(st.integers(0, 8), min_size=2, max_size=12))
def test_the_correlation_of_ranks_is_spearmans(eighths: list[int]) -> None:
    other = [(7 * value + index) % 9 for index, value in enumerate(eighths)]
    records = [record(str(n), WIN) for n in range(len(eighths))]
    for one, a, b in zip(sorted(records, key=lambda r: r["task_id"]), eighths, other, strict=True):
        one["rivals"][0]["dimensions"] = {"idiom": a / 8, "security": b / 8}
        for cell in one["rivals"][0]["cells"]:
            cell["dimensions"] = {"idiom": a / 8, "security": b / 8}
    [found] = summarise(records).correlations
    if len(set(eighths)) == 1 or len(set(other)) == 1:
        assert found.rho is None
    else:
        assert found.rho == pytest.approx(spearmanr(eighths, other).statistic)


def labelled(task_id: str, pair: tuple[int, int], passed: bool | None, rival_passed: bool | None) -> dict[str, Any]:
    one = record(task_id, pair)
    one["target"]["passed"], one["rivals"][0]["passed"] = passed, rival_passed
    return one


def test_correctness_is_corrected_for_a_judge_whose_errors_are_known() -> None:
    """It favours the target: 10 of 10 when that is right, and 3 of 10 when it is wrong."""
    right = [labelled(f"r{n}", WIN, True, False) for n in range(10)]
    wrong = [labelled(f"w{n}", WIN if n < 3 else LOSS, False, True) for n in range(10)]
    corrected = summarise(right + wrong).corrected_correctness
    assert corrected and corrected.value == pytest.approx((0.65 + 0.7 - 1) / (1 + 0.7 - 1)) == pytest.approx(0.5)
    unlabelled = [labelled(f"u{n}", WIN, None, False) for n in range(20)]
    both_passed = [labelled(f"b{n}", WIN, True, True) for n in range(20)]
    corrected = summarise(right + wrong + unlabelled + both_passed).corrected_correctness
    assert corrected and corrected.n == 40 and corrected.value == pytest.approx((33 / 40 - 0.3) / 0.7)


def test_orders_that_contradict_each_other_say_nothing_of_what_is_correct() -> None:
    """The mean of a contradiction (5, 4), or of a doubt (4, 3), leans to the target; neither is its verdict."""
    plain = [labelled(f"r{n}", WIN, True, False) for n in range(4)] + [
        labelled(f"w{n}", LOSS, False, True) for n in range(4)
    ]
    unsure = [labelled(f"u{n}", [(5, 4), WEAK][n % 2], [True, None][n // 2 % 2], False) for n in range(8)]
    assert summarise(plain + unsure).corrected_correctness == summarise(plain).corrected_correctness
    assert summarise(unsure).corrected_correctness is None


def test_without_labels_on_both_sides_nothing_is_corrected() -> None:
    assert summarise([labelled("a", WIN, True, False), labelled("b", WIN, None, None)]).corrected_correctness is None


def test_a_judge_that_likes_what_is_longer_or_first_is_seen_through() -> None:
    def run(pairs: list[tuple[int, int]], lengths: list[int]) -> Any:
        records = [record(str(n), pair) for n, pair in enumerate(pairs)]
        for one, length in zip(records, lengths, strict=True):
            one["rivals"][0]["code"] = "x" * length
        return summarise(records).sensitivity

    longer = run([WIN, LOSS] * 20, [1, 90] * 20)
    assert longer.length.low > 1 and longer.position.value == pytest.approx(0, abs=1e-6)
    assert longer.position.low is None and longer.is_known, "order never mattered; the page still tells of length"
    first = run([CONFLICT] * 40, [1, 90] * 20)
    assert first.position.low > 1 and first.length.value == pytest.approx(0, abs=1e-6)


def test_a_judge_that_likes_comments_is_seen_through() -> None:
    def with_facts(solution: dict[str, Any], comments: int, **more: Any) -> None:
        solution["facts"] = facts_json(code_lines=10, comment_lines=comments, **more)

    def run(**more: Any) -> Any:
        records = [record(str(n), [WIN, LOSS][n % 2]) for n in range(40)]
        for n, one in enumerate(records):
            with_facts(one["target"], 10)
            with_facts(one["rivals"][0], [0, 30][n % 2], **more)
        return summarise(records).sensitivity

    found = run()
    assert found.comments.low > 1 and found.comments.n == 80
    assert (found.length.value, found.position.value) == (None, pytest.approx(0, abs=1e-6))
    for limit in ("size: over 200 kB, only lines are counted", "pygments: killed", "worker: killed"):
        assert run(limits=(limit,)).comments.value is None


def test_the_comments_of_code_that_the_judge_saw_in_part_are_not_known() -> None:
    one = record("a", WIN)
    for solution in (one["target"], one["rivals"][0]):
        solution["facts"] = facts_json(code_lines=10, comment_lines=5)
    [pair] = pairs_of(one)
    assert comment_difference(pair) == 0
    one["rivals"][0]["flags"] = ["code_cut"]
    assert comment_difference(pair) is None


def test_a_task_with_many_rivals_weighs_as_much_as_one_with_few_in_the_overall_score() -> None:
    summary = summarise([record("a", WIN, WIN, WIN), record("b", LOSS)])
    assert summary.overall.score.value == 0.5
    assert summary.overall.win_rate.value == 0.75


def test_tasks_of_one_group_are_one_observation() -> None:
    grouped = summarise([record(name, WIN if name < "c" else LOSS, group_id="g") for name in "abcd"])
    assert grouped.overall.score.value == 0.5 and grouped.overall.score.low is None
    alone = summarise([record(name, WIN if name < "c" else LOSS) for name in "abcd"])
    assert alone.overall.score.low is not None


def test_order_agreement_counts_pairs_whose_orders_name_the_same_side() -> None:
    check = summarise([record("a", WIN, TRUE), record("b", CONFLICT, WEAK)]).check
    assert check.order_agreement.value == 0.5
    assert check.first_pick_share.value == pytest.approx(4 / 5)  # of 5, 1, 4, 4 and 4 four are for A


def test_a_judge_that_always_picks_the_first_is_seen_through() -> None:
    check = summarise([record(str(n), (5, 5)) for n in range(8)]).check
    assert check.order_agreement.value == 0 and check.first_pick_share.value == 1


def test_a_judge_that_mirrors_exactly_agrees_with_itself_in_every_pair() -> None:
    records = [record(str(n), (digit, 6 - digit)) for n, digit in enumerate((1, 2, 3, 4, 5))]
    check = summarise(records).check
    assert check.order_agreement.value == 1 and check.order_kappa.value == 1
    assert check.first_pick_share.value == 0.5


def test_a_random_judge_agrees_with_itself_by_chance_only() -> None:
    draw = random.Random(3)
    records = [record(str(n), (draw.randint(1, 5), draw.randint(1, 5))) for n in range(400)]
    check = summarise(records).check
    assert check.order_agreement.value == pytest.approx(0.36, abs=0.06)
    assert check.order_kappa.value == pytest.approx(0, abs=0.1)
    assert check.first_pick_share.value == pytest.approx(0.5, abs=0.06)


def test_pairs_decided_by_rule_say_nothing_about_the_judge() -> None:
    empty = fold_task(task(target="", rivals=("x",)), {}, {})
    summary = summarise([empty])
    assert summary.overall.losses == 1 and summary.coverage == 1
    assert summary.check.cells == 0 and summary.check.order_agreement.value is None and summary.dimensions == {}


@pytest.mark.parametrize(("digits", "accuracy"), [((5, 1), 1.0), ((1, 5), 0.0), ((3, 3), 0.0), ((5, 5), 0.0)])
def test_the_correctness_verdict_is_held_against_recorded_test_results(
    digits: tuple[int, int], accuracy: float
) -> None:
    pair = task()
    tested = replace(
        pair, target=replace(pair.target, passed=True), rivals=(replace(pair.rivals[0], passed=False),), task_id="x"
    )
    failed_target = replace(
        pair, target=replace(pair.target, passed=False), rivals=(replace(pair.rivals[0], passed=True),), task_id="y"
    )
    both_passed = replace(tested, rivals=(replace(pair.rivals[0], passed=True),), task_id="z")
    records = [fold(tested, [*digits]), fold(failed_target, [*reversed(digits)]), fold(both_passed, [*digits])]
    assert summarise(records).check.passed_accuracy == replace(
        summarise(records).check.passed_accuracy, value=accuracy, n=2
    )


def test_p_values_are_adjusted_for_the_number_of_rivals() -> None:
    summary = summarise([record(str(n), WIN, TRUE) for n in range(8)])
    first, second = summary.rivals
    assert first.p_value == 2 / 2**8 and first.p_adjusted == 2 * first.p_value
    assert second.p_value == second.p_adjusted == 1
    assert summary.overall.p_adjusted == summary.overall.p_value


said = st.integers(1, 5) | st.none()
runs = st.lists(st.lists(st.tuples(said, said), min_size=1, max_size=3), min_size=1, max_size=6)


@settings(deadline=None, max_examples=50)
@given(runs, st.randoms())
def test_the_order_of_records_rivals_and_cells_changes_nothing(
    run: list[list[tuple[int | None, int | None]]], shuffler: random.Random
) -> None:
    records = [record(str(n), *pairs, group_id=[None, "g"][n % 2]) for n, pairs in enumerate(run)]
    before = summarise(records)
    shuffler.shuffle(records)
    for one in records:
        shuffler.shuffle(one["rivals"])
        for rival in one["rivals"]:
            shuffler.shuffle(rival["cells"])
    after = summarise(records)
    assert after == before and repr(after) == repr(before)


passes = st.sampled_from([True, False, None])
tested = st.tuples(said, said, passes, passes, st.sampled_from(["1", "22", "", "333"]), st.booleans())


@settings(deadline=None, max_examples=50)
@given(st.lists(tested, min_size=1, max_size=8))
def test_swapping_target_and_rival_mirrors_every_number(run: list[Any]) -> None:
    straight, mirrored = [], []
    for n, (first, second, passed, rival_passed, code, grouped) in enumerate(run):
        pair = task(task_id=str(n), group_id="g" if grouped else None)
        pair = replace(pair, target=Solution("x", "22x", passed), rivals=(Solution("y", code, rival_passed),))
        straight.append(fold(pair, [first, second]))
        mirrored.append(fold(replace(pair, target=pair.rivals[0], rivals=(pair.target,)), [second, first]))
    _assert_mirrored(summarise(straight), summarise(mirrored))


def _assert_mirrored(a: Summary, b: Summary) -> None:
    _assert_result_mirrored(a.overall, b.overall)
    for one, other in zip(a.rivals, b.rivals, strict=True):
        _assert_result_mirrored(one, other)
    assert a.dimensions.keys() == b.dimensions.keys()
    for name, dimension in a.dimensions.items():
        _assert_result_mirrored(dimension.overall, b.dimensions[name].overall)
        _assert_result_mirrored(dimension.rivals[0], b.dimensions[name].rivals[0])
        assert dimension.facts_agreement == b.dimensions[name].facts_agreement
    assert a.correlations == b.correlations
    assert {(i.code, i.target, i.rival) for i in a.issues} == {(i.code, i.rival, i.target) for i in b.issues}
    assert (a.corrected_correctness is None) == (b.corrected_correctness is None)
    if a.corrected_correctness and b.corrected_correctness:
        _assert_flipped(a.corrected_correctness, b.corrected_correctness)
    if a.sensitivity and b.sensitivity:
        _assert_same(a.sensitivity.position, b.sensitivity.position)
        _assert_same(a.sensitivity.length, b.sensitivity.length)
        _assert_same(a.sensitivity.comments, b.sensitivity.comments)
        _assert_flipped(a.sensitivity.rate_at_equal_length, b.sensitivity.rate_at_equal_length)
    assert a.check == b.check


def _assert_result_mirrored(a: Result, b: Result) -> None:
    assert (a.pairs, a.wins, a.losses, a.by_rule) == (b.pairs, b.losses, b.wins, b.by_rule)
    assert (a.ties_true, a.ties_weak, a.ties_conflict) == (b.ties_true, b.ties_weak, b.ties_conflict)
    assert (a.unscored, a.coverage, a.clusters, a.is_equal) == (b.unscored, b.coverage, b.clusters, b.is_equal)
    for name in ("win_rate", "decided_rate", "score"):
        _assert_flipped(getattr(a, name), getattr(b, name))
    assert a.worst == pytest.approx((1 - b.worst[1], 1 - b.worst[0]))
    assert a.worst_win_rate == pytest.approx((1 - b.worst_win_rate[1], 1 - b.worst_win_rate[0]))
    assert (a.p_value, a.p_adjusted) == (b.p_value, b.p_adjusted)
    assert (a.tests is None) == (b.tests is None)
    if a.tests and b.tests:
        _assert_flipped(a.tests.ahead, b.tests.ahead)
        without = [replace(tests, ahead=Estimate(None, None, None, 0)) for tests in (a.tests, b.tests)]
        numbers = [[number for number in astuple(tests) if isinstance(number, float)] for tests in without]
        assert numbers[0] == pytest.approx(numbers[1], abs=1e-12)


def _assert_flipped(a: Estimate, b: Estimate) -> None:
    flipped = [None if value is None else 1 - value for value in (b.value, b.high, b.low)]
    assert [a.value, a.low, a.high] == pytest.approx(flipped, abs=1e-9)


def _assert_same(a: Estimate, b: Estimate) -> None:
    assert [a.value, a.low, a.high] == pytest.approx([b.value, b.low, b.high], abs=1e-6)


def test_an_issue_counts_once_per_comparison_and_side() -> None:
    named = {"target": ["crashes", "crashes"], "rival": ["crashes"]}
    assert count_issues([named, {"target": [], "rival": []}]) == [IssueCount("crashes", 1, 1, 1, 2)]


def test_issues_of_pairs_that_were_not_scored_are_not_counted() -> None:
    summary = summarise([record("a", WIN, UNSCORED)])
    assert {(issue.code, issue.pairs) for issue in summary.issues} == {
        ("crashes", 1),
        ("too_long", 1),
        ("wrong_result", 1),
    }
