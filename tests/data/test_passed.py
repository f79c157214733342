"""The recorded test results are true, and the hand-set kinds agree with what the solutions really do."""

from __future__ import annotations

from typing import Any

import pytest
from checking import check_solutions, missing_tools
from tasks_file import TASKS, kinds, solutions

# An unsafe solution may do what it was asked, only not in a way that one wants.
DOES_ITS_TASK = {
    **dict.fromkeys(("clean", "slow", "unreadable", "over_engineered", "identical"), True),
    **dict.fromkeys(("wrong", "incomplete", "empty"), False),
}


@pytest.mark.parametrize("task", [pytest.param(task, id=f"{task['language']}-{task['task_id']}") for task in TASKS])
def test_running_the_solutions_gives_what_is_recorded(task: dict[str, Any]) -> None:
    if missing := missing_tools(task["language"]):
        pytest.skip(f"{', '.join(missing)} not installed: the {task['language']} solutions cannot be run here")
    actual = check_solutions(task["task_id"], task["language"], [solution["code"] for solution in solutions(task)])
    for solution, kind, passes in zip(solutions(task), kinds(task), actual, strict=True):
        assert solution.get("passed", passes) == passes, f"{solution['author']}: recorded as {not passes}"
        assert DOES_ITS_TASK.get(kind, passes) == passes, f"{solution['author']}: set as {kind}, but passes is {passes}"
