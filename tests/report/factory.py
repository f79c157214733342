"""Run folders to build reports from: what a pipeline would have recorded, made of a seed. No model, no statistics."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from analyze.judge.labels import DIMENSIONS

RIVALS = {"model-b": 0.15, "model-c": -0.05, "human": -0.25, "模型-丁": 0.3}
LANGUAGES = ("python", "javascript", "go", "rust")

HOSTILE = {
    "markup": "</script><img src=x onerror=alert(1)>",
    "attribute": "\"' onmouseover='alert(1)' x=\"",
    "entities": "&lt;b&gt; &#60;i&#62; ]]> <!--",
    "template": "{{ 7*7 }}{% raw %}{0}{x}%(s)s",
    "formula": "=1+1",
    "command": "+cmd|' /C calc'!A0",
    "at": "@SUM(A1)",
    "minus": "-2+3",
    "markdown": "| a | `b` [x](javascript:alert(1)) <b>@octocat #1 https://evil.example www.evil.example",
    "lines": "one\n# two\n| three |\r\n> four\n\n```\nfive",
    "fences": "``` ```` `",
    "direction": "\u202egnp.exe\u202c\u200f\u2066\u061c",
    "hebrew": "\u05e9\u05dc\u05d5\u05dd",
    "terminal": "\x1b[31mred\x1b[0m\x00\x07\x1b]0;title\x07\x9b2J\rover",
    "surrogate": "\ud800 half",
    "no_xml": "\ufffe\uffff _x000D_ \x0b",
    "tags": "\U000e0068\U000e0069",
    "separators": "a\u2028b\u2029c\x85d",
    "megabyte": "x" * 1_000_000,
}
"""What no field may do more than be read as, by the harm it is meant to do."""

_SAID: Mapping[str, Mapping[str, list[str]]] = {
    "en": {
        "strengths": ["handles empty input", "clear names", "single pass with a hash map", "small functions", "typed"],
        "weaknesses": [
            "no docstring",
            "not robust against negative numbers",
            "nested loops make it quadratic",
            "shell call with user input",
            "magic numbers",
        ],
        "reason": [
            "The target validates its input and keeps complexity low; the rival misses the boundary at zero.",
            "Both are correct, but the rival scans the list twice and names nothing.",
            "The rival is shorter and idiomatic; the target builds strings in a loop.",
        ],
    },
    "zh": {
        "strengths": ["边界条件处理完整", "命名清晰", "哈希表一次遍历", "函数职责单一", "类型注解齐全"],
        "weaknesses": ["没有文档字符串", "负数输入不健壮", "嵌套循环导致时间复杂度过高", "圈复杂度过高", "魔法数字"],
        "reason": [
            "目标方案校验了输入，圈复杂度低；对手遗漏了空列表这一边界情况。",
            "两者都正确，但对手遍历两次，变量名不清晰。",
            "对手更短、更符合语言习惯；目标在循环里拼接字符串。",
        ],
    },
}
_ISSUES = ("missed_edge_case", "slow_algorithm", "poor_naming", "missing_docs", "too_complex", "wrong_result")
_MORE_ISSUES = ("unsafe_call", "duplicated_code", "not_idiomatic", "no_input_validation", "hard_to_read", "crashes")


def code(language: str, name: str, lines: int) -> str:
    """Return a plausible program of about `lines` lines."""
    if language == "python":
        head = f'def {name}(items: list[int], limit: int = 10) -> list[int]:\n    """Return what is kept."""\n'
        body = "".join(
            f"    if len(items) > {n}:  # keep at most {n}\n        items = [x * {n} for x in items if x != 'a']\n"
            for n in range(1, max(2, lines // 2))
        )
        return f"{head}{body}    return items\n"
    head = f"function {name}(items, limit = 10) {{\n"
    return head + "".join(f'  if (items.length > {n}) return "{n}"; // {n}\n' for n in range(lines)) + "}\n"


def facts(language: str, source: str, draw: random.Random) -> dict[str, Any]:
    python = language == "python"
    finding = {"line": 3, "code": "E711", "message": "Comparison to `None` should be `is None`", "severity": None}
    return {
        "language": language,
        "lines": source.count("\n"),
        "code_lines": source.count("\n") - 1,
        "comment_lines": 1,
        "tokens": 120,
        "functions": 1,
        "max_complexity": draw.randint(1, 14),
        "mean_complexity": draw.uniform(1, 8),
        "longest_function_lines": 20,
        "max_parameters": 2,
        "syntax_ok": True if python else None,
        "lint": [finding] * draw.randint(0, 2) if python else [],
        "security": [{**finding, "code": "B602", "severity": "high"}] if python and draw.random() < 0.2 else [],
        "duplicated_lines": draw.randint(0, 4),
        "limits": [],
    }


def solution(author: str, language: str, draw: random.Random, *, lines: int) -> dict[str, Any]:
    source = code(language, "keep_some", draw.randint(lines // 2, lines))
    passed = draw.choice([True, True, False, None])
    return {"author": author, "passed": passed, "code": source, "facts": facts(language, source, draw)}


def cell(task_id: str, author: str, order: str, value: float | None, said: str, draw: random.Random) -> dict[str, Any]:
    words = _SAID[said]
    made: dict[str, Any] = {
        "id": orjson.dumps([task_id, author, order, 0]).decode(),
        "order": order,
        "sample": 0,
        "status": "failed" if value is None else "ok",
        "digit": None if value is None else round(1 + 4 * value),
        "score": value,
        "reason": draw.choice(words["reason"]),
        "requirements": draw.sample(words["strengths"], 2),
        "analysis": {"target": draw.choice(words["reason"]), "rival": draw.choice(words["reason"])},
        "evidence": {name: draw.choice(words["weaknesses"]) for name in DIMENSIONS},
        "dimensions": {} if value is None else _dimensions(value, draw),
        "failure": None,
        "instance": f"http://localhost:800{draw.randint(1, 4)}/v1",
    }
    if value is None:
        made |= {"reason": None, "evidence": {}, "analysis": {}, "requirements": []}
        made["failure"] = {"kind": "truncated", "message": "finish_reason is length after 2048 tokens"}
    return made


def _dimensions(value: float, draw: random.Random) -> dict[str, float]:
    return {name: round(4 * min(1, max(0, draw.gauss(value, 0.2)))) / 4 for name in DIMENSIONS}


def rival(task_id: str, author: str, bias: float, language: str, said: str, draw: random.Random, *, lines: int) -> Any:
    first = min(4, max(0, round(2 + 4 * draw.gauss(bias, 0.3)))) / 4
    second = min(1.0, max(0.0, first + draw.choice([0, 0, 0, 0.25, -0.25, -0.5])))
    values: list[float | None] = [first, second if draw.random() > 0.04 else None]
    scored = None not in values
    made = solution(author, language, draw, lines=lines)
    sides = {(v > 0.5) - (v < 0.5) for v in values if v is not None}
    outcome = "unscored" if not scored else "win" if sides == {1} else "loss" if sides == {-1} else "tie"
    kind = None if outcome != "tie" else "true" if sides == {0} else "weak" if 0 in sides else "conflict"
    mean = (first + second) / 2 if scored else None
    words = _SAID[said]
    pick = {side: draw.sample(words["strengths"], 2) for side in ("target", "rival")}
    blame = {side: draw.sample(words["weaknesses"], 2) for side in ("target", "rival")}
    cells = [
        cell(task_id, author, order, value, said, draw)
        for order, value in zip(("target_first", "rival_first"), values, strict=True)
    ]
    told = draw.sample(DIMENSIONS[1:], 3) if scored else []
    made |= {
        "confirmed": told[:2],
        "contradicted": {
            name: {"verdict": 0.25, "facts": [{"name": "code_lines", "target": 12, "rival": 31}]} for name in told[2:]
        },
        "outcome": outcome,
        "tie_kind": kind,
        "rule": None,
        "score": mean,
        "dimensions": {n: sum(it["dimensions"][n] for it in cells) / 2 for n in DIMENSIONS} if scored else {},
        "issues": {
            "target": draw.sample(_ISSUES, draw.randint(0, 2)),
            "rival": draw.sample(_ISSUES + _MORE_ISSUES, draw.randint(0, 3)),
        }
        if scored
        else {"target": [], "rival": []},
        "strengths": pick if scored else {"target": [], "rival": []},
        "weaknesses": blame if scored else {"target": [], "rival": []},
        "flags": ["contradictory"] if draw.random() < 0.05 else [],
        "cells": cells,
    }
    return made


EDITED = {
    "injected": "rival",
    "authority": "target",
    "no_comments": "both",
    "renamed": "both",
    "dead_code": "rival",
}


def audit(task_id: str, one: dict[str, Any], draw: random.Random) -> list[dict[str, Any]]:
    """Return the probes of a task against one of its rivals: repeats, a solution against itself, and every edit."""
    author, said = one["author"], "en"
    near = [it["score"] for it in one["cells"]]

    def again(order: int, shift: float) -> dict[str, Any]:
        value = min(1.0, max(0.0, (0.5 if near[order] is None else near[order]) + shift))
        return cell(task_id, author, ("target_first", "rival_first")[order], value, said, draw)

    repeats = [again(order, draw.choice([0, 0, 0, 0.25, -0.25])) for _ in range(5) for order in (0, 1)]
    same = [cell(task_id, author, "target_first", draw.choice([0.5] * 12 + [0.75]), said, draw) for _ in range(2)]
    probes = [("repeat", None, repeats), ("same", None, same)]
    probes += [
        (probe, edited, [again(order, draw.choice([0, 0, 0, 0, -0.5])) for order in (0, 1)])
        for probe, edited in EDITED.items()
    ]
    return [{"probe": probe, "rival": author, "edited": edited, "cells": cells} for probe, edited, cells in probes]


def task(number: int, draw: random.Random, *, said: str | None = None, lines: int = 24) -> dict[str, Any]:
    """Return one record of per_task.jsonl; every second prompt is Chinese unless `said` fixes the language."""
    language = LANGUAGES[number % len(LANGUAGES)]
    task_id = f"task-{number:02d}"
    said = said or ("zh" if number % 2 else "en")
    rivals = [rival(task_id, author, bias, language, said, draw, lines=lines) for author, bias in RIVALS.items()]
    scores = [it["score"] for it in rivals if it["score"] is not None]
    prompt = (
        "Keep the first items of a list.\n\nInput may be empty."
        if said == "en"
        else "保留列表的前几项。\n\n输入可能为空。"
    )
    return {
        "task_id": task_id,
        "language": language,
        "prompt": prompt,
        "tags": ["array"],
        "group_id": None,
        "target": solution("model-a", language, draw, lines=lines),
        "rivals": rivals,
        "audit": audit(task_id, rivals[0], draw),
        **{f"{name}s" if name != "loss" else "losses": 0 for name in ("win", "tie", "loss")},
        "unscored": sum(it["score"] is None for it in rivals),
        "score": sum(scores) / len(scores) if scores else None,
    }


_OURS = {"outcome", "order", "tie_kind", "rule", "status", "kind", "id", "flags", "probe", "edited", "severity"}


def poisoned(value: Any, poison: str) -> Any:
    """Return a record with `poison` behind every foreign text in it."""
    match value:
        case str():
            return value + poison
        case list():
            return [poisoned(item, poison) for item in value]
        case dict():
            kept = {"confirmed", "contradicted", *_OURS}
            return {key: item if key in kept else poisoned(item, poison) for key, item in value.items()}
        case _:
            return value


def hostile_task(number: int, poison: str) -> dict[str, Any]:
    """Return a task with `poison` behind every foreign text, and before it too in the names of tasks and authors."""
    made = poisoned(task(number, random.Random(number)), poison)
    for position, one in enumerate(made["rivals"]):
        one["author"] = f"{_lead(poison)}{position}{poison}"
    made["audit"] = []
    return made | {"task_id": f"{_lead(poison)}{number}{poison}", "target": made["target"] | {"author": poison}}


def _lead(poison: str) -> str:
    """Return a poison that names may begin with: 20,000 equal characters in front would make them one."""
    return poison[:1000]


def hostile_tasks() -> list[dict[str, Any]]:
    """Return a task of each kind of hostile text."""
    return [hostile_task(number, poison) for number, poison in enumerate(HOSTILE.values())]


def manifest(**changes: Any) -> dict[str, Any]:
    return {
        "format": 1,
        "job": "pipeline",
        "engine": "fleet",
        "model": "Qwen3-30B-A3B-Instruct-2507",
        "demo": False,
        "lang": "zh",
        "input": {"path": "data/tasks.jsonl", "sha256": "9f" * 32, "rows": 24},
        "settings": {"vllm_ports": "8001,8002,8003,8004", "temperature": 0.0, "font_path": None},
        "asked": {"prompt": "1c" * 32, "schema": "7e" * 32, "sampling": {"temperature": 0, "seed": 1}},
        "versions": {"analyze": "0.1.0", "python": "3.11.7"},
        "started": "2026-11-21T02:50:11Z",
        "finished": "2026-11-21T02:54:02Z",
        "seconds": 231.4,
        "counts": {"read": 25, "ok": 24, "failed": 0, "rejected": 1, "cells": 192, "cells_ok": 190, "cells_failed": 2},
        "usage": {"prompt_tokens": 412_345, "completion_tokens": 98_211},
        "instances": [
            {"url": f"http://localhost:800{n}/v1", "answers": 44 + n, "seconds": 200.0, "idle_s": 9.0 * n}
            for n in range(1, 5)
        ],
        **changes,
    }


def failures(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "id": it["id"],
            "task_id": record["task_id"],
            "rival": one["author"],
            "order": it["order"],
            **it["failure"],
            "attempts": 3,
            "instance": it["instance"],
        }
        for record in tasks
        for one in record["rivals"]
        for it in one["cells"]
        if it["failure"]
    ]


def write_run(folder: Path, tasks: list[dict[str, Any]], *, run: dict[str, Any] | None = None) -> Path:
    """Write a finished run's files into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json_line(manifest() if run is None else run), encoding="utf-8")
    rejects = [
        {"file": "data/tasks.jsonl", "line": 25, "reason": "no key `code` in rivals[0]", "raw": '{"task_id":"x"'}
    ]
    for name, rows in (("per_task", tasks), ("failed", failures(tasks)), ("rejects", rejects)):
        (folder / f"{name}.jsonl").write_text("".join(json_line(row) for row in rows), encoding="utf-8")
    return folder


def json_line(value: Any) -> str:
    import json

    return json.dumps(value) + "\n"  # escapes half surrogates, which orjson refuses to write


def run_of(folder: Path, count: int = 24, *, said: str | None = None, seed: int = 3, **changes: Any) -> Path:
    """Write a run of `count` tasks against four rivals; `changes` go into its manifest."""
    draw = random.Random(seed)
    return write_run(folder, [task(n, draw, said=said) for n in range(count)], run=manifest(**changes))
