"""What is measured of honest code, in several languages, against numbers counted by hand."""

from __future__ import annotations

import pytest

from analyze.facts import Facts, measure, measure_many

PYTHON = '''\
import os
from math import *


class Shelf:
    """A shelf."""

    def total(self, prices, tax=[]):
        """Sum up."""
        # what is dear counts twice
        result = 0
        for price in prices:
            if price > 10 and price < 99:
                result += price
            result += price
        return result


def load(text):
    try:
        return eval(text)
    except:
        pass
'''

# One function `first_above(values, limit)` with a loop and a branch, in each language: complexity 3.
SAME_FUNCTION = {
    "javascript": """\
// the first value above the limit
function firstAbove(values, limit) {
  for (let i = 0; i < values.length; i++) {
    if (values[i] > limit) {
      return values[i];
    }
  }
  return null;
}
""",
    "go": """\
package main

// the first value above the limit
func firstAbove(values []int, limit int) int {
	for _, value := range values {
		if value > limit {
			return value
		}
	}
	return 0
}
""",
    "rust": """\
// the first value above the limit
fn first_above(values: &[i32], limit: i32) -> Option<i32> {
    for &value in values {
        if value > limit {
            return Some(value);
        }
    }
    None
}
""",
    "java": """\
class Main {
    // the first value above the limit
    static int firstAbove(int[] values, int limit) {
        for (int value : values) {
            if (value > limit) {
                return value;
            }
        }
        return 0;
    }
}
""",
    "c++": """\
// the first value above the limit
int first_above(const std::vector<int>& values, int limit) {
    for (int value : values) {
        if (value > limit) {
            return value;
        }
    }
    return 0;
}
""",
    "typescript": """\
// the first value above the limit
function firstAbove(values: number[], limit: number): number | null {
  for (const value of values) {
    if (value > limit) {
      return value;
    }
  }
  return null;
}
""",
}


@pytest.fixture(scope="module")
def python() -> Facts:
    return measure(PYTHON, "python")


def test_lines_are_told_into_code_and_comment(python: Facts) -> None:
    """23 lines: 5 empty, 3 of comment and docstring."""
    assert (python.lines, python.code_lines, python.comment_lines) == (23, 15, 3)


def test_functions_are_counted_with_their_complexity_length_and_parameters(python: Facts) -> None:
    """total: one loop, one branch, one `and`; load: one handler."""
    assert python.functions == 2
    assert python.max_complexity == 4
    assert python.mean_complexity == 3.0
    assert python.longest_function_lines == 9
    assert python.max_parameters == 3


def test_ruff_and_bandit_say_what_they_found_and_where(python: Facts) -> None:
    lint = {(finding.code, finding.line) for finding in python.lint}
    assert {("F401", 1), ("B006", 8), ("PLR2004", 13), ("E722", 22), ("D103", 19)} <= lint
    assert [(f.code, f.line, f.severity) for f in python.security] == [("B307", 21, "medium"), ("B110", 22, "low")]
    assert python.limits == ()


@pytest.mark.parametrize("language", SAME_FUNCTION)
def test_one_function_has_one_shape_in_every_language(language: str) -> None:
    facts = measure(SAME_FUNCTION[language], language)
    assert (facts.functions, facts.max_complexity, facts.max_parameters, facts.comment_lines) == (1, 3, 2, 1)
    assert facts.syntax_ok is None and facts.lint == () and facts.limits == ()


@pytest.mark.parametrize(
    ("names", "language"),
    [
        ("py Python3  PYTHON", "python"),
        ("c++ cpp CXX", "cpp"),
        ("js node NodeJS", "javascript"),
        ("ts TypeScript", "typescript"),
        ("golang Go", "go"),
        ("c# CS csharp", "csharp"),
        ("rs RUST", "rust"),
    ],
)
def test_a_language_goes_by_many_names(names: str, language: str) -> None:
    assert {facts.language for facts in measure_many([("x", name) for name in names.split()])} == {language}


def test_an_unknown_language_is_counted_as_text() -> None:
    facts = measure("qapla' batlh\n\nje heghlu'meH", "Klingon")
    assert (facts.language, facts.lines, facts.code_lines, facts.tokens) == ("klingon", 3, 2, 7)
    assert facts.max_complexity is None and facts.syntax_ok is None
    assert facts.limits == ("lizard: no reader for this language",)


def test_broken_python_is_said_to_be_broken_and_why() -> None:
    facts = measure("def f(:\n    return 1\n", "python")
    assert facts.syntax_ok is False
    assert [(finding.code, finding.line) for finding in facts.lint] == [("syntax", 1)]
    assert not facts.linted and not facts.scanned


def test_python_that_never_starts_is_broken_too() -> None:
    """`return` outside a function parses, but Python refuses to compile it."""
    assert measure("return 1\n", "python").syntax_ok is False


def test_no_code_has_no_facts() -> None:
    for code in ("", "\n \n"):
        facts = measure(code, "python")
        assert (facts.code_lines, facts.tokens, facts.functions, facts.max_complexity) == (0, 0, 0, None)


def test_code_outside_functions_has_a_complexity_as_well() -> None:
    facts = measure("for a in range(9):\n    if a and a > 2:\n        print(a)\n", "python")
    assert (facts.functions, facts.max_complexity, facts.longest_function_lines) == (0, 4, None)


def test_line_endings_byte_order_mark_and_half_characters_change_nothing() -> None:
    plain = measure("def f(a):\n    return a\n", "python")
    assert measure("\ufeffdef f(a):\r\n    return a\r\n", "python") == plain
    assert measure("def f(a):\r    return a\r", "python") == plain
    assert measure("x = '\ud800'", "python").syntax_ok is True


def test_copied_blocks_are_counted_and_a_chance_likeness_is_not() -> None:
    block = "  total += price * amount\n  count += 1\n  log(total, count)\n  check(total)\n"
    twice = f"def f():\n{block}\ndef g():\n{block.replace('  ', '    ')}"
    assert measure(twice, "python").duplicated_lines == 4
    short = "".join(f"def f{i}():\n  a = {i}\n  return a\n\n" for i in range(9))
    assert measure(short, "python").duplicated_lines == 0
    closing = "void f() {{ if (a) {{ b{0}();\n}}\n}}\n}}\n}}\n"
    assert measure("".join(closing.format(i) for i in range(5)), "java").duplicated_lines == 0


@pytest.mark.parametrize(
    ("code", "depth"),
    [
        ("print(1)", 0),
        ("for a in sorted([b for b in c]): print(a)", 1),
        ("for a in b:\n  for c in d: print(a, c)", 2),
        ("while a:\n  b = [c for c in d for e in c]", 3),
        ("for a in b:\n  if b.count(a) > 1: print(a)", 2),
        ("while queue:\n  queue.pop(0)", 2),
        ("while queue:\n  queue.pop()", 1),
        ("for a in b:\n  def f():\n    for c in a: print(c)", 1),
    ],
)
def test_loop_depth_counts_what_walks_a_sequence_inside_a_loop(code: str, depth: int) -> None:
    assert measure(code, "python").loop_depth == depth


def test_many_are_measured_as_one_is_in_order_and_equal_ones_once() -> None:
    items = [(PYTHON, "python"), (SAME_FUNCTION["go"], "go"), ("def f(:", "python"), (PYTHON, "py"), ("", "c")]
    many = measure_many(items)
    assert many == [measure(code, language) for code, language in items]
    assert many[0] is many[3]
    assert measure_many([]) == []


def test_the_number_of_workers_changes_nothing() -> None:
    items = [(f"def f{i}(a):\n    return eval(a)\n", "python") for i in range(9)] + [("int f(){}", "c")]
    assert measure_many(items, workers=1) == measure_many(items, workers=4)
