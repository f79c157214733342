"""The round robin: strengths that can be worked out by hand, what contradicts them, and who has none."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from typing import Any

import pytest

from analyze.judge.cells import cells_of
from analyze.judge.folding import fold_task
from analyze.judge.robin import robin_cells
from analyze.judge.tasks import Task
from analyze.judge.verdicts import CellFailure, Reply
from analyze.stats.robin import RoundRobin
from analyze.stats.summary import summarise
from tests.judge.factory import task, verdict

Digits = tuple[int | None, int | None]
WIN, LOSS, TIE, FIRST, SECOND, UNSCORED = (5, 1), (1, 5), (3, 3), (5, 5), (1, 1), (5, None)


def record(played: Task, pairs: list[Digits], robin: list[Digits]) -> dict[str, Any]:
    """Fold a task from what is said of target and rivals, and of every two rivals, in both orders."""
    cells, between = cells_of(played), robin_cells(played)
    replies: dict[str, Reply] = {}
    for cell, digit in zip((*cells, *between), [digit for pair in (*pairs, *robin) for digit in pair], strict=True):
        replies[cell.id] = CellFailure("timeout", "no answer") if digit is None else verdict(digit)
    return fold_task(played, replies, {}, robin=between)


def run(*tasks: tuple[Digits, Digits, Digits], group: bool = False) -> list[dict[str, Any]]:
    """Each task: target against rival-1, target against rival-2, rival-1 against rival-2."""
    return [
        record(
            task(task_id=f"{n:02}", rivals=("return 2", "return 3"), group_id=f"{n // 2}" if group else None),
            [first, second],
            [between],
        )
        for n, (first, second, between) in enumerate(tasks)
    ]


def robin(records: list[dict[str, Any]]) -> RoundRobin:
    found = summarise(records).round_robin
    assert found is not None
    return found


def strengths(found: RoundRobin) -> dict[str, float | None]:
    return {standing.author: standing.strength.value for standing in found.standings}


def by_odds() -> list[dict[str, Any]]:
    """15 tasks: the target beats rival-1 in 10 and rival-2 in 12, rival-1 beats rival-2 in 10."""
    return run(*((WIN if n < 10 else LOSS, WIN if n >= 3 else LOSS, WIN if n % 3 else LOSS) for n in range(15)))


def test_odds_of_two_and_two_and_four_to_one_are_strengths_log_two_apart() -> None:
    found = robin(by_odds())
    assert [standing.author for standing in found.standings] == ["target", "rival-1", "rival-2"]
    assert strengths(found) == pytest.approx({"target": math.log(2), "rival-1": 0, "rival-2": -math.log(2)}, abs=1e-6)
    assert found.first and found.first.value == pytest.approx(0, abs=1e-6)
    assert {standing.tasks for standing in found.standings} == {15} and found.left_out == []
    told = [(it.first, it.second, it.wins, it.ties, it.losses) for it in found.meetings]
    assert told == [
        ("rival-1", "rival-2", 10, 0, 5),
        ("rival-1", "target", 5, 0, 10),
        ("rival-2", "target", 3, 0, 12),
    ]
    best = found.standings[0].strength
    assert best.low is not None and best.high is not None and best.low < math.log(2) < best.high


def test_who_is_shown_first_and_wins_two_of_three_is_worth_log_two_and_no_strength() -> None:
    found = robin(run(*([(FIRST, FIRST, FIRST)] * 2 + [(SECOND, SECOND, SECOND)]) * 4))
    assert found.first and found.first.value == pytest.approx(math.log(2))
    assert strengths(found) == pytest.approx(dict.fromkeys(("target", "rival-1", "rival-2"), 0), abs=1e-6)


def test_a_ranking_that_all_significant_meetings_bear_out_has_no_contradiction() -> None:
    found = robin(run(*[(WIN, WIN, WIN)] * 12, (TIE, LOSS, TIE), (LOSS, TIE, LOSS)))
    assert [standing.author for standing in found.standings] == ["target", "rival-1", "rival-2"]
    assert {(it.winner, it.loser) for it in found.decided} == {
        ("target", "rival-1"),
        ("target", "rival-2"),
        ("rival-1", "rival-2"),
    }
    assert found.contradictions == []


def test_three_who_beat_each_other_in_a_circle_contradict_any_ranking() -> None:
    found = robin(run(*[(WIN, LOSS, WIN)] * 8))
    assert [(it.winner, it.p_holm) for it in found.meetings] == [
        ("rival-1", 3 * 2 / 2**8),
        ("target", 3 * 2 / 2**8),
        ("rival-2", 3 * 2 / 2**8),
    ]
    assert found.contradictions == found.decided == found.meetings
    few = robin(run(*[(WIN, LOSS, WIN)] * 5))
    assert few.decided == [] and len(few.standings) == 3


def test_where_the_one_shown_first_always_wins_nobody_has_a_strength() -> None:
    found = robin(run(*[(FIRST, FIRST, FIRST)] * 6))
    assert not found.standings and found.first is None and not found.contradictions
    assert [(it.author, it.reason) for it in found.left_out] == [
        (author, "order_decides") for author in ("rival-1", "rival-2", "target")
    ]


def test_who_never_lost_is_left_out_and_the_others_are_ranked() -> None:
    found = robin(run(*[(WIN, WIN, WIN), (WIN, WIN, LOSS)] * 3))
    assert strengths(found) == pytest.approx({"rival-1": 0, "rival-2": 0}, abs=1e-6)
    assert [(it.author, it.tasks, it.reason) for it in found.left_out] == [("target", 6, "not_connected")]
    nobody = robin(run(*[(WIN, WIN, WIN)] * 6))
    assert nobody.standings == [] and nobody.first is None and len(nobody.left_out) == 3
    assert [(it.wins, it.losses) for it in nobody.meetings] == [(6, 0), (0, 6), (0, 6)]


def test_an_author_on_too_few_tasks_is_left_out_and_unscored_meetings_count_for_none() -> None:
    two = run(*[(TIE, TIE, TIE)] * 2, *[(TIE, UNSCORED, UNSCORED)] * 4)
    found = robin(two)
    assert [(it.author, it.tasks, it.reason) for it in found.left_out] == [("rival-2", 2, "few_tasks")]
    assert set(strengths(found)) == {"rival-1", "target"}
    assert [(it.ties, it.unscored) for it in found.meetings] == [(2, 4), (6, 0), (2, 4)]


def test_what_a_rule_decides_counts_and_an_empty_run_has_nobody() -> None:
    empty = [record(task(task_id=f"{n}", rivals=("", "return 3")), [TIE], []) for n in range(6)]
    found = robin(empty)
    assert [(it.first, it.second, it.wins, it.losses) for it in found.meetings] == [
        ("rival-1", "rival-2", 0, 6),
        ("rival-1", "target", 0, 6),
        ("rival-2", "target", 0, 0),
    ]
    assert [it.author for it in found.left_out] == ["rival-1"]
    nothing = robin(run(*[(UNSCORED, UNSCORED, UNSCORED)] * 3))
    assert nothing.standings == [] and {it.p_value for it in nothing.meetings} == {None}


def test_without_a_round_robin_there_is_none_and_with_it_no_other_number_changes() -> None:
    records = by_odds()
    found = summarise(records)
    for one in records:
        del one["round_robin"]
    assert summarise(records) == replace(found, round_robin=None)


def test_neither_the_order_of_records_nor_which_author_is_the_target_changes_a_strength() -> None:
    records = by_odds()
    found = robin(records)
    random.Random(1).shuffle(records)
    assert robin(records) == found
    turned, opposite = [], {WIN: LOSS, LOSS: WIN}
    for n in range(15):  # rival-1 is the target, against rival-2 and the former target
        played = task(task_id=f"{n:02}", rivals=("return 2", "return 3"))
        one, other = played.rivals
        to_one, to_other, between = (WIN if n < 10 else LOSS), (WIN if n >= 3 else LOSS), (WIN if n % 3 else LOSS)
        played = replace(played, target=one, rivals=(other, played.target))
        turned.append(record(played, [between, opposite[to_one]], [opposite[to_other]]))
    assert strengths(robin(turned)) == pytest.approx(strengths(found), abs=1e-9)


def test_tasks_of_a_group_are_drawn_together() -> None:
    tasks = [(WIN, WIN, TIE), (LOSS, TIE, WIN), (TIE, LOSS, LOSS), (WIN, TIE, TIE)] * 4
    alone, grouped = robin(run(*tasks)), robin(run(*tasks, group=True))
    assert strengths(alone) == pytest.approx(strengths(grouped))
    assert grouped.standings[0].strength != alone.standings[0].strength
