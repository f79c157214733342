"""Verdicts are held against measured facts by sign alone: two that lean the same way agree, equal says nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyze.facts import Facts, Finding
from analyze.judge.evidence import held_against_facts
from analyze.judge.folding import cell_score
from analyze.judge.labels import DIMENSIONS
from analyze.judge.measured import MEASURES, measured_reply, values_of
from analyze.judge.tasks import Solution
from tests.judge.test_measured import CALM, any_facts

scores = st.fixed_dictionaries({name: st.sampled_from([n / 8 for n in range(9)]) for name in DIMENSIONS})


def held(said: dict[str, float], a: Facts, b: Facts) -> dict[str, Any]:
    return held_against_facts(said, values_of(a), values_of(b))


@given(scores, any_facts, any_facts)
def test_a_dimension_is_confirmed_contradicted_or_neither(said: dict[str, float], a: Facts, b: Facts) -> None:
    found = held(said, a, b)
    assert not set(found["confirmed"]) & found["contradicted"].keys()
    for dimension, told in found["contradicted"].items():
        assert told["verdict"] == said[dimension] != 0.5
        assert told["facts"], "a contradiction names what speaks against the verdict"
    assert "correctness" not in {*found["confirmed"], *found["contradicted"]}, "that is what recorded tests are for"


@given(scores, any_facts, any_facts)
def test_the_opposite_verdict_changes_agreement_into_contradiction(said: dict[str, float], a: Facts, b: Facts) -> None:
    found, opposite = held(said, a, b), held({n: 1 - s for n, s in said.items()}, a, b)
    assert set(found["confirmed"]) == opposite["contradicted"].keys()
    assert found["contradicted"].keys() == set(opposite["confirmed"])


@given(any_facts, any_facts)
def test_the_measured_judge_never_contradicts_its_own_facts(a: Facts, b: Facts) -> None:
    reply = measured_reply(Solution("a", "", None), Solution("b", "", None), a, b, lang="en")
    said = {name: cell_score(int(one["verdict"]), "target_first") for name, one in reply["dimensions"].items()}
    assert held(said, a, b)["contradicted"] == {}


@pytest.mark.parametrize(
    ("dimension", "name", "worse"),
    [
        ("readability", "complexity", {"max_complexity": 12}),
        ("maintainability", "code_lines", {"code_lines": 40, "tokens": 240}),
        ("maintainability", "copied_lines", {"duplicated_lines": 8}),
        ("idiom", "idiom_remarks", {"lint": (Finding(1, "E711", "none"),)}),
        ("security", "security_remarks", {"security": (Finding(1, "B602", "shell", "high"),)}),
    ],
)
def test_complexity_size_copies_and_findings_are_facts_of_their_dimension(
    dimension: str, name: str, worse: dict[str, object]
) -> None:
    praised = dict.fromkeys(DIMENSIONS, 0.75)
    found = held(praised, replace(CALM, **worse), CALM)  # type: ignore[arg-type]
    assert list(found["contradicted"]) == [dimension]
    assert [fact["name"] for fact in found["contradicted"][dimension]["facts"]] == [name]
    assert held(praised, CALM, replace(CALM, **worse))["confirmed"] == [dimension]  # type: ignore[arg-type]


def test_where_one_side_was_not_measured_nothing_is_held_against_the_judge() -> None:
    hole = replace(CALM, security=(Finding(1, "B602", "shell", "high"),))
    unscanned = replace(CALM, limits=("bandit: over 2 s of CPU",))
    assert held({"security": 1.0}, hole, unscanned) == {"confirmed": [], "contradicted": {}}


def test_every_fact_has_a_name_that_reports_can_show() -> None:
    from analyze.judge.measured_texts import NAMES

    assert {measure.name for measure in MEASURES} <= NAMES["en"].keys() & NAMES["zh"].keys()
