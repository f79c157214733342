"""Tasks and replies for the tests of the judge."""

from __future__ import annotations

from typing import Any

import orjson

from analyze.facts import Facts
from analyze.facts import to_json as facts_to_json
from analyze.judge.labels import DIMENSIONS
from analyze.judge.tasks import Solution, Task
from analyze.judge.verdicts import Verdict, verdict_from_json


def task(*, target: str = "return 1", rivals: tuple[str, ...] = ("return 2",), task_id: str = "t", **keys: Any) -> Task:
    fields: dict[str, Any] = {"prompt": "写一个函数", "language": "python", "tags": (), "group_id": None} | keys
    solutions = tuple(Solution(f"rival-{n}", code, None) for n, code in enumerate(rivals, 1))
    return Task(task_id=task_id, target=Solution("target", target, None), rivals=solutions, **fields)


def reply(overall: int = 3, dimension: int | None = None, **keys: Any) -> dict[str, Any]:
    """Return a reply of the agreed form; every dimension has the overall digit unless another is given."""
    digit = str(overall if dimension is None else dimension)
    phrases = {f"{kind}_{side}": [f"{kind} of {side}"] for kind in ("strengths", "weaknesses") for side in "ab"}
    return {
        "requirements": ["handles empty input"],
        "analysis_a": "A loops",
        "analysis_b": "B recurses",
        "dimensions": {name: {"evidence": f"{name} of A and B", "verdict": digit} for name in DIMENSIONS},
        **phrases,
        "issues_a": ["too_long"],
        "issues_b": ["wrong_result", "crashes"],
        "overall_reason": "因为 A",
        "overall": str(overall),
    } | keys


def reply_text(overall: int = 3, dimension: int | None = None, **keys: Any) -> str:
    return orjson.dumps(reply(overall, dimension, **keys)).decode()


def verdict(overall: int = 3, dimension: int | None = None, **keys: Any) -> Verdict:
    return verdict_from_json(reply(overall, dimension, **keys))


def facts_json(**values: Any) -> dict[str, Any]:
    """Return what a record holds of the measured facts of a small, calm piece of Python."""
    calm = {"lines": 20, "code_lines": 15, "tokens": 90, "functions": 2, "max_complexity": 3, "loop_depth": 1}
    return facts_to_json(Facts(**{"language": "python", "syntax_ok": True, **calm, **values}))
