"""Code meant to hang, fill or crash an analyser: the facts come all the same, in time, and say what is missing.

Bounds are wall clock on a machine that other tests share, many times what was measured: what is ended, is ended by the
CPU time that it takes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from analyze.facts import measure, measure_many


@contextmanager
def within(seconds: float) -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < seconds


def test_ten_megabytes_on_one_line_are_only_counted() -> None:
    with within(150):
        facts = measure("x = '" + "a" * 10_000_000 + "'", "python")
    assert (facts.lines, facts.code_lines, facts.tokens, facts.syntax_ok) == (1, 1, 0, None)
    assert facts.limits == ("size: over 200 kB, only lines are counted",)


@pytest.mark.parametrize(
    ("code", "language", "syntax_ok"),
    [
        ("(" * 100_000, "python", False),
        ("x = " + "-" * 100_000 + "1", "python", None),
        ("x = 1" + " + 1" * 40_000, "python", None),
        ("x = a" + "()" * 80_000, "python", None),
        ("x = " + "lambda:" * 20_000 + "1", "python", None),
        ("if a: pass\n" + "elif b: pass\n" * 10_000, "python", None),
        ("x = 1\0\n", "python", False),
        ("x = " + "9" * 5_000, "python", False),
        ("(" * 100_000, "javascript", None),
        ("int f(){" * 20_000, "c", None),
        ("`${" * 50_000, "typescript", None),
        ('"' * 150_000, "java", None),
    ],
    ids=lambda value: f"{value[:8]!r}" if isinstance(value, str) and len(value) > 20 else str(value),
)
def test_deep_nesting_ends_no_one(code: str, language: str, syntax_ok: bool | None) -> None:
    with within(150):
        facts = measure(code, language)
    assert facts.syntax_ok is syntax_ok
    assert facts.lines == code.count("\n") + (not code.endswith("\n"))
    if language == "python" and syntax_ok is None:
        assert "syntax: nested too deeply or too large" in facts.limits


@pytest.mark.parametrize(
    ("analyser", "code", "language"),
    [
        ("pygments", "m{" * 60_000, "perl"),
        ("lizard", "\"\\'" * 60_000, "c"),
        ("bandit", "x = '" + "select " * 25_000 + "' + y", "python"),
    ],
)
def test_a_pattern_that_never_ends_is_cut_off_and_the_others_go_on(analyser: str, code: str, language: str) -> None:
    with within(300):
        facts = measure(code, language)
    assert [limit.split(":")[0] for limit in facts.limits] == [analyser]
    assert "s of CPU" in facts.limits[0]
    assert (facts.max_complexity is None) == (analyser == "lizard")
    assert (facts.tokens == 0) == (analyser == "pygments")
    assert facts.gave_up(analyser)


def test_an_enormous_number_of_functions_and_findings_is_counted_but_not_kept() -> None:
    code = "".join(f"def f{number}(a):\n    return eval(a)\n" for number in range(4_000))
    with within(300):
        facts = measure(code, "python")
    assert facts.functions == 4_000
    assert (len(facts.lint), len(facts.security)) == (100, 100)
    assert facts.limits == ("findings: 3900 more of ruff", "findings: 3900 more of bandit")


def test_huge_names_make_no_huge_message() -> None:
    facts = measure(f"import {'a' * 50_000}\n", "python")
    assert facts.lint and max(len(finding.message) for finding in facts.lint) <= 200


def test_code_that_python_folds_into_endless_numbers_is_not_computed() -> None:
    with within(100):
        assert measure("x = 9 ** 9 ** 9 ** 9\ny = 'a' * 10 ** 12\nz = 1 << 10 ** 12\n", "python").syntax_ok is True


def test_a_hostile_neighbour_costs_the_others_nothing() -> None:
    """ruff and bandit read all files of a batch in one process; one file that hangs them is found and left out."""
    good = [(f"import os\n\n\ndef f{number}(a):\n    return eval(a)\n", "python") for number in range(12)]
    hostile = [("x = '" + "select " * 25_000 + "' + y", "python"), ("x = " + "-" * 100_000 + "1", "python")]
    expected = measure_many(good)
    with within(600):
        found = measure_many([*good[:5], *hostile, *good[5:]], workers=1)
    assert found[:5] + found[7:] == expected
    assert found[5].gave_up("bandit") and found[6].gave_up("syntax")
    assert all(facts.limits == () and facts.security for facts in expected)


def test_a_hundred_and_twenty_solutions_take_seconds() -> None:
    """24 tasks of five solutions: 3 s on two idle cores."""
    body = (
        "def f{0}(a):\n    total = 0\n    for b in a:\n        if b > {0}:\n            total += b\n    return total\n"
    )
    items = [("".join(body.format(n * 10 + k) for k in range(5)), "python") for n in range(120)]
    with within(150):
        facts = measure_many(items)
    assert all(fact.functions == 5 and fact.limits == () for fact in facts)
