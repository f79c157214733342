"""The table of rules: every code exists in the installed tools, every issue in the judge's list, none twice."""

from __future__ import annotations

import json
import subprocess
import sys

from analyze.facts import Facts, Finding, issue_codes, issue_of, measure
from analyze.facts.rules import BANDIT_RULES, RUFF_RULES, RULES
from analyze.judge.issues import ISSUES


def test_every_rule_of_ruff_is_one_that_ruff_has_out_of_preview() -> None:
    command = [sys.executable, "-m", "ruff", "rule", "--all", "--output-format", "json"]
    rules = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    stable = {rule["code"] for rule in rules if "Stable" in rule["status"]}
    assert set(RUFF_RULES) - stable == set()


def test_every_rule_of_bandit_is_one_that_bandit_has() -> None:
    code = "from bandit.core.extension_loader import MANAGER as m; print(*m.plugins_by_id, *m.blacklist_by_id)"
    listed = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, check=True, text=True)
    assert set(BANDIT_RULES) - set(listed.stdout.split()) == set()


def test_every_rule_points_to_an_issue_that_the_judge_knows() -> None:
    assert set(RULES.values()) - set(ISSUES) == set()


def test_no_rule_is_listed_twice() -> None:
    assert len(RULES) == 1 + len(RUFF_RULES) + len(BANDIT_RULES)


def test_findings_become_issues() -> None:
    for code, issue in {
        "B307": "unsafe_call",
        "B608": "injection_risk",
        "B324": "weak_crypto",
        "E722": "swallowed_error",
        "F841": "hard_to_read",
        "F821": "crashes",
        "F632": "wrong_result",
        "B006": "missed_edge_case",
        "SIM115": "resource_leak",
        "PLW0603": "global_state",
        "PLR2004": "hard_coded_value",
        "FIX002": "incomplete",
        "syntax": "crashes",
    }.items():
        assert issue_of(Finding(1, code, "…")) == issue


def test_shape_becomes_issues_above_the_limits_only() -> None:
    calm = Facts(
        "go", 60, 39, functions=0, max_complexity=10, longest_function_lines=60, max_parameters=6, loop_depth=2
    )
    assert issue_codes(calm) == []
    wild = Facts(
        "go", 60, 40, functions=0, max_complexity=11, longest_function_lines=61, max_parameters=7, loop_depth=3,
        duplicated_lines=6,
    )  # fmt: skip
    assert set(issue_codes(wild)) == {
        "too_complex", "too_long", "hard_to_read", "slow_algorithm", "duplicated_code", "no_structure",
    }  # fmt: skip


def test_the_weightiest_issue_comes_first() -> None:
    code = "import os\nimport subprocess\n\n\ndef f(a):\n    subprocess.call('ls ' + a, shell=True)\n"
    facts = measure(code, "python")
    assert [finding.severity for finding in facts.security] == ["high"]
    assert issue_codes(facts)[0] == "injection_risk"
