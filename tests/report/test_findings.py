"""What the numbers say in words."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from analyze.judge.labels import DIMENSION_LABELS
from analyze.lang import LANGS, Lang
from analyze.report.figures import figures
from analyze.report.findings import (
    answer,
    contradictions,
    corrected_text,
    fact_contradictions,
    facts_per_author,
    halo_text,
)
from analyze.report.judging import flags
from analyze.report.prose import Prose
from analyze.report.svg import Dot
from analyze.report.texts import TEXTS
from analyze.stats.summary import summarise
from tests.report import factory

EN = TEXTS["en"]


def judged(values: list[float], **changes: Any) -> list[dict[str, Any]]:
    """Tasks of one rival each, judged the same in both orders; value 1 is a clear win."""
    draw = random.Random(1)
    made = []
    for number, value in enumerate(values):
        task = factory.task(number, draw)
        rival = {**task["rivals"][0], "score": value, "tie_kind": None, "rule": None, **changes}
        rival["outcome"] = "win" if value > 0.5 else "loss" if value < 0.5 else "tie"
        rival["tie_kind"] = "true" if value == 0.5 else None
        cells = [
            factory.cell(task["task_id"], "model-b", order, value, "en", draw)
            for order in ("target_first", "rival_first")
        ]
        task["rivals"] = [{**rival, "cells": cells, "dimensions": dict.fromkeys(factory.DIMENSIONS, value)}]
        made.append({**task, "score": value})
    return made


@pytest.mark.parametrize(
    ("values", "side"),
    [([1.0] * 19 + [0.0], "better"), ([0.0] * 19 + [1.0], "worse"), ([1.0, 0.0] * 10, "equal"), ([], "none")],
)
def test_the_answer_takes_a_side_only_where_the_interval_does(values: list[float], side: str):
    said = answer(summarise(judged(values)), EN)
    assert said.side == side


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_four_of_four_tasks_name_no_side_and_say_why(value: float):
    said = answer(summarise(judged([value] * 4)), EN)
    assert (said.side, said.headline) == ("equal", "No clear difference between model-a and model-b")
    assert "4 tasks are too few to name a side" in said.detail and said.detail.endswith("p\u00a0=\u00a00.125.")


def test_the_answer_counts_the_tasks_that_were_judged_and_calls_none_of_them_a_group():
    tasks = judged([1.0, 0.5, 0.0, 1.0])
    tasks[3]["rivals"][0] |= {"outcome": "unscored", "score": None, "dimensions": {}}
    summary = summarise(tasks)
    assert "3 comparisons on 3 tasks." in answer(summary, EN).detail
    assert "few tasks: 3" in [flag.text for flag in flags({}, summary, EN)]


@pytest.mark.parametrize(("count", "side"), [(5, "equal"), (6, "better")])
def test_six_tasks_won_are_the_fewest_that_name_a_side(count: int, side: str):
    assert answer(summarise(judged([1.0] * count)), EN).side == side


def test_a_side_that_the_test_of_the_score_does_not_confirm_is_not_named():
    said = answer(summarise(judged([0.75] * 16 + [0.0] * 4)), EN)
    assert said.side == "equal"
    assert said.detail.endswith("does not confirm a side: graded score 0.60, p\u00a0=\u00a00.218.")


def dots_of(name: str, values: list[float], rivals: int = 1) -> list[tuple[str, bool]]:
    """Return ink and hollowness of each dot of a chart of a run judged like this against so many rivals."""
    tasks = judged(values)
    for task in tasks:
        task["rivals"] = [{**task["rivals"][0], "author": f"model-{n}"} for n in range(rivals)]
    [figure] = [it for it in figures(summarise(tasks), "en") if it.name == name]
    return [(shape.ink, shape.hollow) for shape in figure.wide.shapes if isinstance(shape, Dot)]


@pytest.mark.parametrize("name", ["win_rate", "score"])
def test_charts_name_a_side_only_where_the_answer_does(name: str):
    few, unsure = [1.0] * 4, [0.75] * 16 + [0.0] * 4  # intervals leave out one half, the test does not confirm it
    assert {answer(summarise(judged(values)), EN).side for values in (few, unsure)} == {"equal"}
    assert dots_of(name, few) == dots_of(name, unsure) == [("axis", True)]
    assert dots_of(name, [1.0] * 6) == [("win", False)] and dots_of(name, [0.0] * 6) == [("loss", False)]


def test_a_dimension_of_four_tasks_names_no_side():
    assert set(dots_of("dimensions", [1.0] * 4)) == {("axis", True)}


def test_a_rivals_dot_names_a_side_only_where_the_test_adjusted_for_all_rivals_does():
    overall, *rivals = dots_of("win_rate", [1.0] * 6, rivals=4)  # p = 2/2⁶ for each, 8/2⁶ by Holm
    assert overall == ("win", False) and set(rivals) == {("axis", True)}


def test_the_answer_names_rate_interval_and_what_it_rests_on():
    said = answer(summarise(judged([1.0] * 15 + [0.0] * 5)), EN)
    assert said.headline == "model-a does better than model-b"
    assert said.detail.startswith("It wins 75% of its comparisons, 95% interval ")
    assert said.detail.endswith("20 comparisons on 20 tasks.")


@pytest.mark.parametrize("lang", LANGS)
@pytest.mark.parametrize(("value", "side"), [(1.0, "better"), (0.0, "worse"), (0.5, "equal")])
def test_one_rival_is_named_and_several_are_spoken_of_together(lang: Lang, value: float, side: str):
    tasks, t = judged([value] * 8), TEXTS[lang]
    one = answer(summarise(tasks), t).headline
    for task in tasks:
        task["rivals"].append({**task["rivals"][0], "author": "model-c"})
    several = answer(summarise(tasks), t).headline
    assert several == t[f"answer_{side}"].format(target="model-a")
    assert "model-b" in one and one == t[f"answer_{side}_one"].format(target="model-a", rival="model-b")


def test_too_little_judged_is_said_with_its_bounds():
    tasks = judged([1.0] * 8)
    for task in tasks[:2]:
        task["rivals"][0] |= {"outcome": "unscored", "score": None, "dimensions": {}}
        task["rivals"][0]["cells"][0] |= {"status": "failed", "score": None, "digit": None}
    said = answer(summarise(tasks), EN)
    assert said.warning == (
        "Only 75% of the comparisons could be judged: whatever the others would have said, "
        "the graded score lies between 0.75 and 1.00."
    )


def test_facts_are_means_per_author_and_python_findings_only_where_python_was_read():
    solution = {"author": "a", "passed": True, "code": "x", "facts": {"language": "python", "syntax_ok": True}}
    python = {"code_lines": 10, "mean_complexity": 2.0, "max_complexity": 3, "lint": [{}, {}], "security": []}
    go = {"language": "go", "syntax_ok": None, "code_lines": 20, "lint": [], "security": []}
    tasks = [
        {"task_id": "1", "target": solution | {"facts": solution["facts"] | python}, "rivals": []},
        {"task_id": "2", "target": solution | {"passed": None, "facts": go}, "rivals": []},
    ]
    [facts] = facts_per_author(tasks)
    assert (facts.solutions, facts.passed, facts.tested) == (2, 1, 1)
    assert (facts.code_lines, facts.complexity, facts.max_complexity) == (15, 2.0, 3)
    assert (facts.lint, facts.security, facts.duplicated) == (2, 0, None)


def test_a_verdict_for_the_solution_that_failed_its_tests_is_listed():
    tasks = judged([0.0, 1.0])
    for task in tasks:
        task["target"]["passed"], task["rivals"][0]["passed"] = True, False
    assert [(it.task_id, it.target_passed) for it in contradictions(tasks) or []] == [("task-00", True)]


def test_without_recorded_tests_there_is_nothing_to_contradict():
    tasks = judged([1.0])
    tasks[0]["target"]["passed"] = None
    assert contradictions(tasks) is None


def test_verdicts_against_measured_facts_are_listed_the_furthest_from_equal_first():
    tasks = judged([1.0, 1.0, 1.0])
    against = ({}, {"idiom": {"verdict": 0.625, "facts": []}}, {"security": {"verdict": 1.0, "facts": []}})
    for task, contradicted in zip(tasks, against, strict=True):
        task["rivals"][0]["contradicted"] = contradicted
    found = [(it.task_id, it.dimension, it.verdict) for it in fact_contradictions(tasks)]
    assert found == [("task-02", "security", 1.0), ("task-01", "idiom", 0.625)]


def test_dimensions_that_are_judged_as_one_are_named():
    values = [0.0, 0.25, 0.5, 0.75, 1.0]
    said = halo_text(summarise(judged(values)), DIMENSION_LABELS["en"], EN)
    assert said and said.startswith("Judged as one: Correctness and Robustness (1.00), ")


def test_without_labels_on_both_sides_nothing_is_corrected():
    assert corrected_text(summarise(judged([1.0])), EN) is None


def test_phrases_that_differ_in_case_and_space_are_one():
    tasks = judged([1.0, 1.0], strengths={"target": ["Clear  names"], "rival": []})
    tasks[1]["rivals"][0]["strengths"] = {"target": ["clear names"], "rival": []}
    prose = Prose()
    for task in reversed(tasks):
        prose.hear(task)
    [phrase] = prose.phrases()["strengths", "target"]
    assert (phrase.text, phrase.count, phrase.task_id) == ("Clear  names", 2, "task-00")


def test_the_factory_makes_what_the_statistics_read(tmp_path: Path):
    run = factory.run_of(tmp_path / "run", count=2)
    assert (run / "per_task.jsonl").read_text().count("\n") == 2
