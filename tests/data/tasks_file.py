"""The rows of `data/tasks.jsonl` and what `expectations.json` says about each pair, as plain dictionaries.

Reads with nothing but the standard library, so that a mistake in the project's own reader cannot hide one in the data.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TASKS_PATH = Path(__file__).parents[2] / "data" / "tasks.jsonl"
EXPECTATIONS_PATH = Path(__file__).parent / "expectations.json"

TASKS: list[dict[str, Any]] = [json.loads(line) for line in TASKS_PATH.read_text("utf-8").splitlines()]
EXPECTATIONS: dict[str, dict[str, Any]] = json.loads(EXPECTATIONS_PATH.read_text("utf-8"))
# (task, rival, what is expected of the target against it: "outcome", "kind", "reason")
PAIRS = [
    (task, rival, EXPECTATIONS[task["task_id"]]["rivals"][rival["author"]])
    for task in TASKS
    for rival in task["rivals"]
]


def solutions(task: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the target and the rivals of a task, the target first."""
    return [task["target"], *task["rivals"]]


def kinds(task: dict[str, Any]) -> list[str]:
    """Return what was set by hand for each of `solutions(task)`: "clean", "wrong", "slow" …"""
    expected = EXPECTATIONS[task["task_id"]]
    return [expected["target_kind"], *(expected["rivals"][rival["author"]]["kind"] for rival in task["rivals"])]
