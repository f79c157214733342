"""A judge without a model: the verdict on two solutions from measured facts and recorded test results alone.

It gives the very reply that a model is asked for, so everything after the asking is the same. Swapping the two
solutions mirrors the verdict exactly. It cannot see that a search is off by one; where no fact speaks it says 3.

How a dimension is scored. Each `Measure` compares one number of both sides, less being better; what is below
`fine` counts as `fine`, since nobody objects to it. A difference of `slight` is a point for the better side, of
`much` two. The points of a dimension are added and cut to -2 … 2: verdict = 3 + points for A.

Correctness is decided by the first of these that tells the two apart:

1. the recorded test results: passed against failed is two points, and two that passed are equal;
2. whether the code is valid (Python): two points, one where both failed their tests anyway;
3. where a test result is missing: findings that point to a wrong result or a crash, one point.

Overall is the sum of points times `WEIGHTS`: 2 and more is slightly better, 14 and more much better. Correctness
weighs 13, the others 12 together, so that no beauty outweighs failed tests.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from analyze.facts.records import Facts
from analyze.facts.rules import issue_codes, issue_of, weight_of
from analyze.judge import measured_texts as texts
from analyze.judge.labels import DIMENSIONS
from analyze.lang import Lang

if TYPE_CHECKING:
    from analyze.judge.tasks import Solution

WEIGHTS = {
    "correctness": 13,
    "robustness": 2,
    "efficiency": 2,
    "readability": 1,
    "maintainability": 1,
    "idiom": 1,
    "security": 3,
    "instruction_following": 2,
}
SLIGHTLY, MUCH = 2, 14
MAX_PHRASES, MAX_ISSUES = 3, 4
# A rule that is broken ten times is one habit, not ten faults.
MAX_SAME_RULE = 3

Values = Mapping[str, float | None]
"""What was measured of one solution, by the name of the measure."""

# Which dimension a finding speaks about.
_DIMENSION_OF = {
    "wrong_result": "correctness",
    "crashes": "correctness",
    "missed_edge_case": "robustness",
    "swallowed_error": "robustness",
    "resource_leak": "robustness",
    "race_condition": "robustness",
    "slow_algorithm": "efficiency",
    "wasteful_memory": "efficiency",
    "hard_to_read": "readability",
    "poor_naming": "readability",
    "misleading_comment": "readability",
    "too_long": "maintainability",
    "duplicated_code": "maintainability",
    "missing_docs": "maintainability",
    "hard_coded_value": "maintainability",
    "global_state": "maintainability",
    "not_idiomatic": "idiom",
    "unsafe_call": "security",
    "injection_risk": "security",
    "weak_crypto": "security",
    "incomplete": "instruction_following",
}


@dataclass(frozen=True, slots=True)
class Told:
    """What one measure says of a pair: points for A, and the two values (of `tests` and `syntax`: true or false)."""

    name: str
    points: int
    a: float
    b: float

    def mirrored(self) -> Told:
        return Told(self.name, -self.points, self.b, self.a)


@dataclass(frozen=True, slots=True)
class Measure:
    """One number by which two solutions are compared, less being better: an entry of `values_of`."""

    dimension: str
    name: str
    slight: float
    much: float = math.inf
    fine: float = 0
    scale: Callable[[float], float] = float

    def points(self, a: Values, b: Values) -> int:
        """Return the points for A, none where one side was not measured."""
        value_a, value_b = a[self.name], b[self.name]
        if value_a is None or value_b is None or value_a == value_b:
            return 0
        gap = self.scale(max(value_b, self.fine)) - self.scale(max(value_a, self.fine))
        size = 2 if abs(gap) >= self.much else 1 if abs(gap) >= self.slight else 0
        return size if gap > 0 else -size

    def tell(self, a: Values, b: Values) -> Iterator[Told]:
        """Yield the points for A with the two values, nothing where one side was not measured."""
        value_a, value_b = a[self.name], b[self.name]
        if value_a is not None and value_b is not None:
            yield Told(self.name, self.points(a, b), value_a, value_b)


MEASURES = (
    Measure("robustness", "robustness_remarks", slight=1, much=6),
    Measure("efficiency", "loop_depth", slight=1, much=2, fine=1),
    Measure("efficiency", "efficiency_remarks", slight=1),
    Measure("readability", "complexity", slight=5, much=12, fine=6),
    Measure("readability", "density", slight=4, much=10, fine=9),
    Measure("readability", "readability_remarks", slight=2, much=8),
    # On a scale of doublings: twice the code is a point, four times as much two; 15 lines are short whatever the task.
    Measure("maintainability", "code_lines", slight=1, much=2, fine=15, scale=math.log2),
    Measure("maintainability", "function_lines", slight=20, much=60, fine=25),
    Measure("maintainability", "parameters", slight=2, much=5, fine=4),
    Measure("maintainability", "copied_lines", slight=4, much=12),
    Measure("maintainability", "maintainability_remarks", slight=2, much=8),
    Measure("idiom", "idiom_remarks", slight=1, much=5),
    Measure("security", "security_remarks", slight=1, much=6),
    Measure("instruction_following", "instruction_following_remarks", slight=1),
)
_BUGS = Measure("correctness", "correctness_remarks", slight=1)


def values_of(facts: Facts) -> Values:
    """Return what `Measure.points` and `tell` compare: None where it was not measured."""
    return {
        "syntax": facts.syntax_ok,
        "loop_depth": facts.loop_depth,
        "complexity": facts.max_complexity,
        "density": round(facts.tokens / facts.code_lines, 1) if facts.tokens and facts.code_lines else None,
        "code_lines": facts.code_lines,
        "function_lines": facts.longest_function_lines,
        "parameters": facts.max_parameters,
        "copied_lines": facts.duplicated_lines,
        **{f"{dimension}_remarks": weight for dimension, weight in _remarks(facts).items()},
    }


def _remarks(facts: Facts) -> Mapping[str, int | None]:
    """Return the weight of the findings on each dimension: lint and low 1, medium 3, high 9 each."""
    if not (facts.linted and facts.scanned):
        return dict.fromkeys(DIMENSIONS)
    seen: Counter[str] = Counter()
    weights = dict.fromkeys(DIMENSIONS, 0)
    for finding in (*facts.lint, *facts.security):
        seen[finding.code] += 1
        if seen[finding.code] <= MAX_SAME_RULE:
            weights[_DIMENSION_OF[issue_of(finding)]] += weight_of(finding)
    return weights


def measured_reply(
    first: Solution, second: Solution, facts_first: Facts, facts_second: Facts, *, lang: Lang
) -> dict[str, Any]:
    """Return the reply on `first` (A) against `second` (B): the object that a model is asked for, texts in `lang`.

    Only `passed` is read of a solution: author and code have no say beyond the facts measured of them.
    """
    a, b = values_of(facts_first), values_of(facts_second)
    told = {name: list(_tell(name, first.passed, second.passed, a, b)) for name in DIMENSIONS}
    points = {name: max(-2, min(2, sum(one.points for one in told[name]))) for name in DIMENSIONS}
    overall = _overall(points)
    for_a = _telling(told)
    for_b = [one.mirrored() for one in for_a]
    return {
        "requirements": texts.requirements(lang),
        "analysis_a": texts.analysis(first.passed, facts_first, lang),
        "analysis_b": texts.analysis(second.passed, facts_second, lang),
        "dimensions": {
            name: {"evidence": texts.evidence(told[name], lang), "verdict": str(3 + points[name])}
            for name in DIMENSIONS
        },
        "strengths_a": texts.strengths(for_a, lang)[:MAX_PHRASES],
        "weaknesses_a": texts.weaknesses(for_a, lang)[:MAX_PHRASES],
        "strengths_b": texts.strengths(for_b, lang)[:MAX_PHRASES],
        "weaknesses_b": texts.weaknesses(for_b, lang)[:MAX_PHRASES],
        "issues_a": _issues(first.passed, facts_first, for_a),
        "issues_b": _issues(second.passed, facts_second, for_b),
        "overall_reason": texts.overall_reason([name for name in DIMENSIONS if points[name] * overall > 0], lang),
        "overall": str(3 + overall),
    }


def _overall(points: Mapping[str, int]) -> int:
    total = sum(WEIGHTS[name] * points[name] for name in DIMENSIONS)
    size = 2 if abs(total) >= MUCH else 1 if abs(total) >= SLIGHTLY else 0
    return size if total > 0 else -size


def _tell(dimension: str, passed_a: bool | None, passed_b: bool | None, a: Values, b: Values) -> Iterator[Told]:
    """Yield what is to be said on one dimension; nothing where nothing was measured on both sides."""
    if dimension == "correctness":
        yield from _tell_correctness(passed_a, passed_b, a, b)
    elif dimension == "instruction_following" and passed_a is not None and passed_b is not None:
        yield Told("tests", passed_a - passed_b, passed_a, passed_b)
    for measure in MEASURES:
        if measure.dimension == dimension:
            yield from measure.tell(a, b)


def _tell_correctness(passed_a: bool | None, passed_b: bool | None, a: Values, b: Values) -> Iterator[Told]:
    if passed_a is not None and passed_b is not None:
        yield Told("tests", 2 * (passed_a - passed_b), passed_a, passed_b)
        if passed_a or passed_b:
            return
    valid_a, valid_b = a["syntax"], b["syntax"]
    if valid_a is not None and valid_b is not None:
        points = 1 if passed_a is False and passed_b is False else 2
        yield Told("syntax", points * int(valid_a - valid_b), valid_a, valid_b)
    if passed_a is None or passed_b is None:
        yield from _BUGS.tell(a, b)


def _telling(told: Mapping[str, Sequence[Told]]) -> list[Told]:
    """Return what speaks for either side, the weightiest first, each measure once."""
    weighed = [(WEIGHTS[name] * abs(one.points), one) for name in DIMENSIONS for one in told[name] if one.points]
    found: dict[str, Told] = {}
    for _, one in sorted(weighed, key=lambda pair: -pair[0]):
        found.setdefault(one.name, one)
    return list(found.values())


def _issues(passed: bool | None, facts: Facts, telling: Sequence[Told]) -> list[str]:
    """Return the issue codes of one side: failed tests and slower loops first, then what its facts point to."""
    failed = ["wrong_result"] if passed is False else []
    slower = ["slow_algorithm"] if any(one.name == "loop_depth" and one.points < 0 for one in telling) else []
    return list(dict.fromkeys([*failed, *slower, *issue_codes(facts)]))[:MAX_ISSUES]
