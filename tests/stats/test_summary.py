"""The numbers of a run from its records: every pair counted once, mirrored when the sides are, honest about gaps."""

from __future__ import annotations

import random
from dataclasses import astuple, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyze.errors import InputError
from analyze.judge.cells import cells_of
from analyze.judge.folding import fold_task
from analyze.judge.tasks import Solution, Task
from analyze.judge.verdicts import CellFailure, Reply
from analyze.stats import Estimate
from analyze.stats.issues import IssueCount, count_issues
from analyze.stats.summary import Summary, summarise
from tests.judge.factory import task, verdict

FAILED = CellFailure("timeout", "no answer")


def record(task_id: str, *pairs: tuple[int | None, int | None], **keys: Any) -> dict[str, Any]:
    """Fold a task from digits: for each rival what was said target first and rival first, None for a failed cell."""
    folded = task(task_id=task_id, rivals=tuple(f"code {n}" for n in range(len(pairs))), **keys)
    return fold(folded, [digit for pair in pairs for digit in pair])


def fold(folded: Task, digits: list[int | None]) -> dict[str, Any]:
    replies: list[Reply] = [FAILED if digit is None else verdict(digit) for digit in digits]
    return fold_task(folded, dict(zip([cell.id for cell in cells_of(folded)], replies, strict=True)), {})


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


@settings(deadline=None)
@given(runs, st.randoms())
def test_the_order_of_the_records_changes_nothing(
    run: list[list[tuple[int | None, int | None]]], shuffler: random.Random
) -> None:
    records = [record(str(n), *pairs) for n, pairs in enumerate(run)]
    before = summarise(records)
    shuffler.shuffle(records)
    assert summarise(records) == before


@settings(deadline=None)
@given(st.lists(st.tuples(said, said), min_size=1, max_size=8))
def test_swapping_target_and_rival_mirrors_every_number(run: list[tuple[int | None, int | None]]) -> None:
    straight, mirrored = [], []
    for n, (first, second) in enumerate(run):
        pair = task(task_id=str(n))
        pair = replace(pair, target=Solution("x", "1", None), rivals=(Solution("y", "2", None),))
        straight.append(fold(pair, [first, second]))
        mirrored.append(fold(replace(pair, target=pair.rivals[0], rivals=(pair.target,)), [second, first]))
    _assert_mirrored(summarise(straight), summarise(mirrored))


def _assert_mirrored(a: Summary, b: Summary) -> None:
    assert (a.overall.wins, a.overall.losses) == (b.overall.losses, b.overall.wins)
    assert a.overall.ties_conflict == b.overall.ties_conflict and a.overall.unscored == b.overall.unscored
    assert a.overall.p_value == b.overall.p_value
    assert (a.overall.tests is None) == (b.overall.tests is None)
    if a.overall.tests and b.overall.tests:
        assert astuple(a.overall.tests) == pytest.approx(astuple(b.overall.tests), abs=1e-12)
    for one, other in ((a.overall.win_rate, b.overall.win_rate), (a.overall.score, b.overall.score)):
        flipped = [None if value is None else 1 - value for value in (other.value, other.high, other.low)]
        assert [one.value, one.low, one.high] == pytest.approx(flipped, abs=1e-12)
    assert a.coverage == b.coverage
    assert a.worst == pytest.approx((1 - b.worst[1], 1 - b.worst[0]))
    assert a.check == b.check


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
