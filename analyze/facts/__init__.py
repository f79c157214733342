"""Measured facts of a piece of code, from well-kept analysers: lizard, ruff, bandit, Pygments. The code is never run.

    facts = measure_many([(code, "python"), (other_code, "go")])

`FACTS_VERSION` changes with every analyser, with Python and with our own rules: facts of another version are
measured again, not mixed.
"""

from __future__ import annotations

import sys
from importlib.metadata import version

from analyze.facts.measure import measure, measure_many
from analyze.facts.records import Facts, Finding, Severity, from_json, to_json
from analyze.facts.rules import issue_codes, issue_of

__all__ = [
    "FACTS_VERSION",
    "Facts",
    "Finding",
    "Severity",
    "from_json",
    "issue_codes",
    "issue_of",
    "measure",
    "measure_many",
    "to_json",
]

# Raise it with every change of a rule, a limit or a definition in this package.
_RULES_VERSION = 1

FACTS_VERSION: str = " ".join(
    [
        f"rules-{_RULES_VERSION}",
        f"python-{sys.version_info.major}.{sys.version_info.minor}",
        *(f"{analyser}-{version(analyser)}" for analyser in ("lizard", "ruff", "bandit", "pygments")),
    ]
)
