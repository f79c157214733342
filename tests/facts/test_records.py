"""Facts as JSON and back, and the version that tells facts of different analysers apart."""

from __future__ import annotations

import json
from importlib.metadata import version

from hypothesis import given
from hypothesis import strategies as st

from analyze.facts import FACTS_VERSION, Facts, Finding, from_json, measure, to_json

numbers = st.integers(0, 10**6)
maybe = st.none() | numbers
findings = st.lists(
    st.builds(
        Finding,
        line=numbers,
        code=st.text(),
        message=st.text(),
        severity=st.sampled_from([None, "low", "medium", "high"]),
    ),
    max_size=3,
).map(tuple)
any_facts = st.builds(
    Facts,
    language=st.text(),
    lines=numbers,
    code_lines=numbers,
    max_complexity=maybe,
    mean_complexity=st.none() | st.floats(0, 1e6),
    loop_depth=maybe,
    syntax_ok=st.sampled_from([None, True, False]),
    lint=findings,
    security=findings,
    limits=st.lists(st.text(), max_size=3).map(tuple),
)


@given(any_facts)
def test_facts_survive_json(facts: Facts) -> None:
    assert from_json(json.loads(json.dumps(to_json(facts)))) == facts


def test_facts_of_a_later_version_are_read_for_what_is_known() -> None:
    facts = measure("x = eval(y)\n", "python")
    assert from_json({**to_json(facts), "a_fact_of_tomorrow": 1}) == facts


def test_the_version_names_every_analyser() -> None:
    for analyser in ("lizard", "ruff", "bandit", "pygments"):
        assert f"{analyser}-{version(analyser)}" in FACTS_VERSION.split()
