"""Scores from the judge's probabilities: beside the digits' on the same pairs, and honest about what was not read."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyze.judge.cells import cells_of
from analyze.judge.folding import fold_task
from analyze.judge.probabilities import Reading
from analyze.judge.tasks import Solution, Task
from analyze.stats.expected import LEAST_TESTED, Probabilities
from analyze.stats.summary import summarise
from tests.judge.factory import task, verdict

Masses = list[float] | None


def reading(masses: list[float], legal_mass: float = 1.0) -> Reading:
    """What was read of a reply that says the likeliest digit."""
    one, two, three, four, five = (mass / sum(masses) for mass in masses)
    return Reading(1 + masses.index(max(masses)), (one, two, three, four, five), legal_mass)


def fold(folded: Task, told: list[Masses], legal_mass: float = 1.0) -> dict[str, Any]:
    """Fold a task from what its cells, in their order, gave to each digit; None: its server did not tell."""
    ids = [cell.id for cell in cells_of(folded)]
    readings = {row: reading(of, legal_mass) for row, of in zip(ids, told, strict=True) if of is not None}
    return fold_task(
        folded, {row: verdict(readings[row].digit if row in readings else 3) for row in ids}, {}, readings=readings
    )


def labelled(name: str, passed: bool | None, rival_passed: bool | None, **keys: Any) -> Task:
    pair = task(task_id=name, **keys)
    return replace(pair, target=Solution("x", "1", passed), rivals=(Solution("y", "2", rival_passed),))


def known(records: list[dict[str, Any]]) -> Probabilities:
    found = summarise(records).probabilities
    assert found is not None
    return found


FOR_A, FOR_B, TORN = [0, 0, 0, 0.5, 0.5], [0.5, 0.5, 0, 0, 0], [0, 0, 0.5, 0.5, 0]


def test_the_expected_score_is_the_mean_over_tasks_beside_the_graded_one_on_the_same_pairs() -> None:
    records = [
        fold(task(task_id="a"), [FOR_A, FOR_B]),
        fold(task(task_id="b"), [TORN, [0, 0.25, 0.75, 0, 0]]),
        fold(task(task_id="c"), [FOR_A, None]),
    ]
    found = known(records)
    assert found.overall.author == "*" and [rival.author for rival in found.rivals] == ["rival-1"]
    assert found.overall.score.value == pytest.approx((0.875 + 0.59375) / 2) and found.overall.score.n == 2
    assert found.overall.graded.value == pytest.approx((0.875 + 0.5) / 2), "of c, which was not read, neither knows"
    assert (found.read, found.cells) == (5, 6)
    assert summarise(records).overall.score.n == 3, "the results are of all pairs"


def test_nothing_read_is_none_and_changes_no_other_number() -> None:
    told, silent = ([fold(task(task_id=str(n)), of) for n in range(4)] for of in ([FOR_A, FOR_B], [FOR_A, None]))
    assert summarise([fold(task(), [None, None])]).probabilities is None and summarise([]).probabilities is None
    assert known(silent).overall.score.value is None and known(silent).overall.worth is None
    for one in told:
        one["rivals"][0]["expected"] = None
        for cell in one["rivals"][0]["cells"]:
            cell["probabilities"] = cell["legal_mass"] = None
    without = summarise(told)
    assert without.probabilities is None and without.overall.score.value == 0.875


def test_records_from_before_there_were_probabilities_have_none() -> None:
    old = fold(task(), [FOR_A, FOR_B])
    del old["rivals"][0]["expected"]
    for cell in old["rivals"][0]["cells"]:
        del cell["probabilities"], cell["legal_mass"]
    assert summarise([old]).probabilities is None


def test_probabilities_that_forget_less_are_worth_more_tasks() -> None:
    """A judge torn between 3 and 4 writes either, by a hair; its probabilities hardly differ."""
    hair = [[0, 0, 0.49, 0.51, 0], [0, 0, 0.51, 0.49, 0]]
    records = [fold(task(task_id=str(n)), [hair[n % 2], [0, 0, 1, 0, 0]]) for n in range(40)]
    overall = known(records).overall
    assert overall.graded_se == pytest.approx(0.0625 / 39**0.5)
    assert overall.se == pytest.approx(0.02 * 0.0625 / 39**0.5)
    assert overall.worth == pytest.approx(50**2)


def test_probabilities_that_only_lie_nearer_to_the_middle_are_worth_no_more() -> None:
    """Of 40 pairs the target wins 30, by a judge that gives 0.6 to what it writes and 0.1 to the others."""
    a, b = ([0.1] * n + [0.6] + [0.1] * (4 - n) for n in (4, 0))
    overall = known([fold(task(task_id=str(n)), [a, b] if n % 4 else [b, a]) for n in range(40)]).overall
    assert overall.se == pytest.approx((overall.graded_se or 0) / 2) and overall.worth == pytest.approx(1)


def test_where_the_sides_are_not_told_apart_nothing_is_said_of_worth() -> None:
    overall = known(
        [fold(task(task_id=str(n)), [FOR_A, FOR_B] if n % 2 else [FOR_B, FOR_A]) for n in range(40)]
    ).overall
    assert overall.se and overall.graded_se and overall.worth is None


def test_where_every_digit_is_certain_both_scores_are_one() -> None:
    certain = [[0.0] * n + [1.0] + [0.0] * (4 - n) for n in range(5)]
    draw = random.Random(2)
    records = [fold(task(task_id=str(n)), [draw.choice(certain), draw.choice(certain)]) for n in range(20)]
    found = known(records).overall
    assert found.score == found.graded and found.se == found.graded_se
    assert known([fold(task(), [FOR_A, FOR_B])]).overall.worth is None, "one task does not vary"


def test_the_legal_mass_tells_a_mask_that_came_first() -> None:
    assert known([fold(task(), [FOR_A, FOR_B], 1.0)]).is_masked
    unmasked = known([fold(task(), [FOR_A, FOR_B], 0.9)])
    assert not unmasked.is_masked and unmasked.legal_mass == pytest.approx(0.9)


def test_a_judge_as_often_right_as_it_is_sure_is_calibrated() -> None:
    """It gives 80 % to one side, and that one passed in 80 of 100 pairs; then in 50."""
    sure: list[Masses] = [[0.1, 0.1, 0, 0.4, 0.4], [0.4, 0.4, 0, 0.1, 0.1]]
    for right, gap in ((80, 0.0), (50, 0.3)):
        records = [fold(labelled(str(n), n < right, n >= right), sure) for n in range(100)]
        found = known(records).reliability
        assert found and found.stated == pytest.approx(0.8) and found.right.value == right / 100
        assert found.error == pytest.approx(gap) and found.right.n == 100


def test_too_few_pairs_that_tests_tell_apart_say_nothing_of_certainty() -> None:
    def run(count: int) -> Probabilities:
        more = [fold(labelled(f"same {n}", True, True), [FOR_A, FOR_B]) for n in range(40)]
        more += [fold(labelled(f"unknown {n}", True, None), [FOR_A, FOR_B]) for n in range(40)]
        return known([fold(labelled(str(n), True, False), [FOR_A, FOR_B]) for n in range(count)] + more)

    assert run(LEAST_TESTED - 1).reliability is None
    assert run(LEAST_TESTED).reliability is not None


masses = st.lists(st.integers(0, 9), min_size=5, max_size=5).filter(any) | st.none()
passes = st.sampled_from([True, False, None])


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(masses, masses, passes, passes, st.booleans()), min_size=1, max_size=8), st.randoms())
def test_swapping_target_and_rival_mirrors_it_and_the_order_of_records_changes_nothing(
    run: list[Any], shuffler: random.Random
) -> None:
    straight, mirrored = [], []
    for n, (first, second, passed, rival_passed, grouped) in enumerate(run * 8):
        pair = labelled(str(n), passed, rival_passed, group_id=f"g{n % 8}" if grouped else None)
        straight.append(fold(pair, [first, second]))
        mirrored.append(fold(replace(pair, target=pair.rivals[0], rivals=(pair.target,)), [second, first]))
    a, b = summarise(straight).probabilities, summarise(mirrored).probabilities
    assert (a is None) == (b is None)
    shuffler.shuffle(straight)
    assert summarise(straight).probabilities == a
    if a is None or b is None:
        return
    assert (a.read, a.cells, a.legal_mass, len(a.rivals)) == (b.read, b.cells, b.legal_mass, len(b.rivals))
    for one, other in zip([a.overall, *a.rivals], [b.overall, *b.rivals], strict=True):
        for x, y in ((one.score, other.score), (one.graded, other.graded)):
            turned = [None if value is None else 1 - value for value in (y.value, y.high, y.low)]
            assert [x.value, x.low, x.high] == pytest.approx(turned, abs=1e-9) and x.n == y.n
        assert (one.se, one.graded_se) == pytest.approx((other.se, other.graded_se), abs=1e-12)
    assert (a.reliability is None) == (b.reliability is None)
    if a.reliability and b.reliability:
        assert a.reliability.right == b.reliability.right
        assert a.reliability.stated == pytest.approx(b.reliability.stated)
        assert a.reliability.error == pytest.approx(b.reliability.error, abs=1e-9)
