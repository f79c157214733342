"""Which findings count, and which issue each one is: the selection of rules and their meaning are one table.

A rule stands here because it says something of the code's worth that holds without knowing the project it is from.
Left out on purpose:

* import order, quotes, trailing space, blank lines, `else` after `return`: a formatter's work or a taste;
* ERA001 (commented-out code) takes half of all remarks with a colon for code;
* C901, PLR0912, PLR0913 of ruff: lizard measures complexity and parameters, for every language alike;
* S of ruff: bandit is its origin and knows severities;
* B105 takes every `token == "("` of a parser for a password;
* B101 (assert), B311 (random), B403-B415 (a mere import), B603, B606, B607 (any subprocess at all): in a solution to
  a task they cry wolf; the calls behind those imports have rules of their own;
* every rule that is in preview, or new in a version of ruff or bandit that nobody here has looked at: codes are listed
  one by one, so an upgrade adds none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from analyze.facts.records import Facts, Finding, Severity

# Above these a function is too complex (McCabe's own limit), too long (a screen), asks for too much.
COMPLEX_ABOVE = 10
LONG_ABOVE_LINES = 60
PARAMETERS_ABOVE = 6
# Below six copied lines two pieces look alike by nature; a program this long without a function has no structure.
COPIED_FROM_LINES = 6
UNSTRUCTURED_FROM_LINES = 40
# Three loops in each other are slow whatever they do; two are how a table is walked.
DEEP_LOOPS = 3

# issue: rules of ruff that point to it
_RUFF = {
    # a comparison or expression without effect, a loop variable caught late, a literal compared by identity, a group
    # iterated twice, a key given twice, a condition that is always true, `except A or B`
    "wrong_result": "B002 B003 B005 B015 B018 B020 B023 B025 B026 B031 B034 B035 F601 F602 F631 F632 F633 F634 "
    "PLE0704 PLE1310 PLR0124 PLW0127 PLW0128 PLW0129 PLW0133 PLW0177 PLW0711 RUF024 RUF034 SIM220 SIM221 SIM222 "
    "SIM223",
    # a name that nobody defined, a format string whose arguments do not fit, `raise NotImplemented`
    "crashes": "B016 B022 B029 B030 F501 F502 F503 F504 F505 F506 F507 F508 F509 F521 F522 F523 F524 F525 F821 F822 "
    "F823 F901 PLE0100 PLE0101 PLE0241 PLE0302 PLE0303 PLE0304 PLE0305 PLE0307 PLE0643 PLE1132 PLE1142 PLE1205 "
    "PLE1206 PLE1300 PLE1307 PLW1501",
    # a mutable default that calls share, a default computed once, a path that returns nothing
    "missed_edge_case": "B006 B008 B011 B039 RET503",
    "swallowed_error": "B012 BLE001 E722 PLW1510 SIM107",
    "resource_leak": "SIM115",
    # a task that nobody holds is collected while it runs; `with Lock():` locks nothing
    "race_condition": "PLW2101 RUF006",
    "slow_algorithm": "RUF017",
    "wasteful_memory": "B019 C419 PERF101 RUF015",
    "hard_to_read": "B007 E101 E501 E701 E702 E703 F401 F402 F811 F841 F842 PLR5501 PLW2901 RET504 SIM102 W191",
    "poor_naming": "A001 A002 E741 E742 E743 N801 N802 N803 N804 N805",
    # letters that a reader cannot see, or sees in another order
    "misleading_comment": "PLE2502 PLE2510 PLE2512 PLE2513 PLE2515",
    "too_long": "PLR0915",
    "duplicated_code": "B014 B033 PLR1714 SIM114",
    "missing_docs": "D101 D103",
    "hard_coded_value": "PLR2004",
    "global_state": "PLW0602 PLW0603 PLW0604 RUF012",
    "not_idiomatic": "B009 B010 B904 C400 C401 C402 C403 C404 C405 C406 C408 C409 C410 C411 C413 C414 C415 C416 C417 "
    "C418 E711 E712 E713 E714 E721 E731 F403 F405 F541 PERF102 PERF401 PERF402 PERF403 PIE790 PLC0206 PLR0402 "
    "PLR1711 PLR1730 PLW0108 PLW0120 RET501 RET502 RUF005 RUF010 RUF046 SIM101 SIM103 SIM109 SIM110 SIM113 SIM118 "
    "SIM201 SIM202 SIM208 SIM210 SIM211 SIM212 SIM300 SIM401 UP003 UP004 UP008 UP015 UP018 UP024 UP031 UP032 UP034",
    "incomplete": "FIX001 FIX002",
}
# issue: tests of bandit that point to it
_BANDIT = {
    "swallowed_error": "B110 B112",
    "missed_edge_case": "B113",
    "race_condition": "B108 B306",
    "hard_coded_value": "B104 B106 B107",
    "unsafe_call": "B102 B103 B201 B202 B301 B302 B307 B310 B312 B313 B314 B315 B316 B317 B318 B319 B321 B401 B402 "
    "B506 B614",
    "injection_risk": "B601 B602 B604 B605 B608 B609 B610 B611 B701 B702 B703 B704",
    "misleading_comment": "B613",
    "weak_crypto": "B303 B304 B305 B323 B324 B501 B502 B503 B504 B505 B507 B508 B509",
}


def _by_code(table: dict[str, str]) -> dict[str, str]:
    return {code: issue for issue, codes in table.items() for code in codes.split()}


RUFF_RULES = _by_code(_RUFF)
BANDIT_RULES = _by_code(_BANDIT)
RULES = {"syntax": "crashes", **RUFF_RULES, **BANDIT_RULES}


# How much a finding weighs: lint has no severity, and ten small remarks are not worse than a hole.
_WEIGHTS: dict[Severity | None, int] = {None: 1, "low": 1, "medium": 3, "high": 9}


def issue_of(finding: Finding) -> str:
    """Return the issue code that a finding points to."""
    return RULES[finding.code]


def weight_of(finding: Finding) -> int:
    return _WEIGHTS[finding.severity]


def issue_codes(facts: Facts) -> list[str]:
    """Return the issue codes that the facts of one solution point to, the weightiest first."""
    weights: Counter[str] = Counter(dict.fromkeys(_shape_issues(facts), 2))
    for finding in (*facts.lint, *facts.security):
        weights[issue_of(finding)] += weight_of(finding)
    return sorted(weights, key=lambda issue: (-weights[issue], issue))


def _shape_issues(facts: Facts) -> Iterator[str]:
    if (facts.max_complexity or 0) > COMPLEX_ABOVE:
        yield "too_complex"
    if (facts.longest_function_lines or 0) > LONG_ABOVE_LINES:
        yield "too_long"
    if (facts.max_parameters or 0) > PARAMETERS_ABOVE:
        yield "hard_to_read"
    if facts.duplicated_lines >= COPIED_FROM_LINES:
        yield "duplicated_code"
    if facts.functions == 0 and facts.max_complexity is not None and facts.code_lines >= UNSTRUCTURED_FROM_LINES:
        yield "no_structure"
    if (facts.loop_depth or 0) >= DEEP_LOOPS:
        yield "slow_algorithm"
