"""Two runs compared: each task is its own control."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyze.stats.compare import compare
from analyze.stats.pairs import Outcome

OUTCOMES: dict[float | None, Outcome] = {
    1.0: "win",
    0.75: "win",
    0.5: "tie",
    0.25: "loss",
    0.0: "loss",
    None: "unscored",
}
Scores = Mapping[str, Mapping[str, float | None]]

SCORES = st.dictionaries(
    st.sampled_from([f"t{n}" for n in range(6)]),
    st.dictionaries(st.sampled_from(["b", "c", "d"]), st.sampled_from([*OUTCOMES]), min_size=1),
    min_size=1,
)


def run_of(
    scores: Scores, *, code: str = "x", rival: str = "y", prompt: str = "p", **more: Any
) -> list[dict[str, Any]]:
    """Return the records of a run with these scores of each task against each rival."""
    return [
        {
            "task_id": task,
            "prompt": prompt,
            "group_id": None,
            "target": {"author": "a", "code": code},
            "rivals": [
                {
                    "author": author,
                    "code": rival,
                    "rule": None,
                    "outcome": OUTCOMES[score],
                    "score": score,
                    "dimensions": {} if score is None else {"correctness": score},
                    "cells": [],
                }
                for author, score in of_task.items()
            ],
            **more,
        }
        for task, of_task in scores.items()
    ]


def even(score: float, tasks: int = 8) -> dict[str, dict[str, float | None]]:
    return {f"t{n}": {"b": score, "c": score} for n in range(tasks)}


@given(SCORES, SCORES)
def test_the_other_way_round_every_change_is_mirrored(one: Scores, other: Scores):
    there, back = compare(run_of(one), run_of(other)), compare(run_of(other), run_of(one))
    pairs = [(there.overall, back.overall), *zip(there.rivals, back.rivals, strict=True)]
    for forth, mirrored in pairs:
        assert (forth.before, forth.after) == (mirrored.after, mirrored.before)
        assert (forth.gained, forth.lost) == (mirrored.lost, mirrored.gained)
        assert forth.p_value == mirrored.p_value
        if forth.change.value is not None:
            assert forth.change.value == pytest.approx(-(mirrored.change.value or 0))
            if forth.change.low is not None:
                assert forth.change.low == pytest.approx(-(mirrored.change.high or 0))
    assert {task.task_id: task.change for task in there.tasks} == {task.task_id: -task.change for task in back.tasks}
    assert (there.only_before, there.only_after) == (back.only_after, back.only_before)


@given(SCORES)
def test_a_run_against_itself_has_not_changed(scores: Scores):
    found = compare(run_of(scores), run_of(scores))
    assert found.overall.change.value in (0.0, None)
    assert (found.overall.gained, found.overall.lost) == (0, 0)
    assert found.only_before == found.only_after == found.unlike == []
    assert list(found.same_code) == sorted(scores)
    assert found.retold.moves == found.overall.moves


@given(SCORES, SCORES)
def test_every_common_pair_is_in_the_table_of_moves_once(one: Scores, other: Scores):
    found = compare(run_of(one), run_of(other))
    common = sum(len(one[task].keys() & other[task].keys()) for task in one.keys() & other.keys())
    assert sum(found.overall.moves.values()) == found.pairs == common
    assert sum(sum(change.moves.values()) for change in found.rivals) == common


def test_a_gain_on_every_task_is_better_and_a_loss_worse():
    assert compare(run_of(even(0.25, 24)), run_of(even(0.75, 24))).overall.side == "better"
    assert compare(run_of(even(0.75, 24)), run_of(even(0.25, 24))).overall.side == "worse"


def test_few_tasks_name_no_side():
    assert compare(run_of(even(0.0, 4)), run_of(even(1.0, 4))).overall.side == "unclear"


def test_many_tasks_of_which_hardly_any_changed_are_shown_to_be_equal():
    before, after = even(0.5, 200), even(0.5, 200)
    after["t0"]["b"], after["t1"]["b"] = 0.75, 0.25
    assert compare(run_of(before), run_of(after)).overall.side == "equal"


def test_a_task_counts_once_however_many_rivals_it_has():
    before = {"t0": {"b": 0.0, "c": 0.0, "d": 0.0}, "t1": {"b": 0.0}}
    after = {"t0": {"b": 1.0, "c": 1.0, "d": 1.0}, "t1": {"b": 0.0}}
    found = compare(run_of(before), run_of(after)).overall
    assert (found.before, found.after, found.change.value, found.change.n) == (0.0, 0.5, 0.5, 4)


def test_a_pair_not_judged_in_one_run_moves_no_score_but_is_counted():
    found = compare(run_of({"t": {"b": 0.5, "c": None}}), run_of({"t": {"b": 0.5, "c": 1.0}})).overall
    assert (found.change.value, found.change.n) == (0.0, 1)
    assert found.moves == {("tie", "tie"): 1, ("unscored", "win"): 1}
    assert (found.gained, found.lost) == (0, 0)


def test_tasks_and_rivals_of_one_run_alone_are_named():
    found = compare(run_of({"t0": {"b": 1.0}, "t1": {"c": 1.0}}), run_of({"t1": {"c": 1.0}, "t2": {"d": 1.0}}))
    assert (found.only_before, found.only_after) == (["t0"], ["t2"])
    assert (found.authors_only_before, found.authors_only_after) == (["b"], ["d"])


def test_a_task_with_another_prompt_is_another_task():
    found = compare(run_of(even(0.5)), run_of(even(1.0), prompt="q"))
    assert (len(found.unlike), found.common, found.overall.side) == (8, 0, "none")


def test_a_rival_with_other_code_is_counted_and_tells_nothing_of_the_judge():
    found = compare(run_of(even(0.5)), run_of(even(1.0), rival="z"))
    assert (found.other_rivals, found.retold.change.n) == (16, 0)


def test_tasks_of_a_group_are_one_observation():
    alone = compare(run_of(even(0.25)), run_of(even(0.75))).overall
    grouped = compare(run_of(even(0.25)), run_of(even(0.75), group_id="g")).overall
    assert alone.change.low is not None and grouped.change.low is None


def test_rivals_are_adjusted_for_their_number():
    found = compare(run_of(even(0.25)), run_of(even(0.75)))
    for change in found.rivals:
        assert change.p_adjusted == pytest.approx(2 * (change.p_value or 0))
