"""Reads 1-against-N tasks from a JSONL file: one programming task a line, a target solution and its rivals.

    lines -> JSON objects -> Task

Two shapes of a line are read: `target` with `rivals`, and `solutions` where the caller names the target's author.
Every unusable line is an InputError with file, line and cure. Knows nothing of judges, prompts or models, and never
looks into the code it carries.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from analyze.errors import InputError
from analyze.files import text_lines

RAW_CHARS = 2000  # of a bad line, kept in its record: enough to recognise it, and a 10 MB line stays out of reports
UNKNOWN_LANGUAGE = "unknown"


@dataclass(frozen=True, slots=True)
class Solution:
    """One author's code. `passed` is a recorded test result, None where there is none."""

    author: str
    code: str
    passed: bool | None


@dataclass(frozen=True, slots=True)
class Task:
    """One programming task: what was asked, the solution in question, and the ones it is held against.

    `group_id` names tasks that share a source; statistics treat them as one observation.
    """

    task_id: str
    prompt: str
    language: str
    tags: tuple[str, ...]
    group_id: str | None
    target: Solution
    rivals: tuple[Solution, ...]


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that is no task: where it stands (1-based), why, and its first 2,000 characters."""

    file: str
    line: int
    reason: str
    raw: str


def read_tasks(
    path: str | os.PathLike[str],
    *,
    target_author: str | None = None,
    on_bad: Callable[[BadLine], None] | None = None,
) -> list[Task]:
    """Read every task of a JSONL file, in order.

    A bad line raises InputError, or, with `on_bad`, is handed to it and reading goes on. A file that cannot be read
    at all, or that holds no usable task, raises in both cases. Exact repetitions of a line without `task_id` are told
    apart by a number, in input order; a repeated `task_id` is bad input.
    """
    name = os.fspath(path)
    seen: dict[str, int] = {}
    tasks: list[Task] = []
    for number, raw in text_lines(path):
        try:
            value = _json_value(raw)
            task = _told_apart(task_from_json(value, target_author=target_author), value, seen)
        except InputError as error:
            if on_bad is None:
                raise InputError(error.reason, path=name, line=number, cure=error.cure) from error
            on_bad(BadLine(name, number, error.reason, _text(raw)[:RAW_CHARS]))
            continue
        seen[task.task_id] = number
        tasks.append(task)
    if not tasks:
        raise InputError("holds no usable task", path=name, cure="write one JSON object per line: see data/tasks.jsonl")
    return tasks


def task_from_json(value: object, *, target_author: str | None = None) -> Task:
    """Return the task that a parsed line describes; keys that mean nothing here are ignored.

    Lone surrogates become U+FFFD: they cannot be sent or written as UTF-8. A missing `task_id` is replaced by the
    first 16 hex digits of the SHA-256 of what is judged. Raises InputError without file and line: the reader knows
    those.
    """
    if not isinstance(value, Mapping):
        raise InputError(f"a line must be a JSON object, this one is {_kind(value)}", cure="write {…} on each line")
    row: Mapping[str, Any] = value
    prompt = _optional_text(row, "prompt") or ""
    if not prompt.strip():
        raise InputError("the task has no `prompt`", cure='say what the solutions had to do: "prompt": "…"')
    if "target" in row or "rivals" in row:
        target, rivals = _target_and_rivals(row, target_author)
    else:
        target, rivals = _picked(row, target_author)
    _refuse_shared_names(target, rivals)
    task = Task(
        task_id=_identifier(row, "task_id") or "",
        prompt=prompt,
        language=_language(row),
        tags=_tags(row),
        group_id=_identifier(row, "group_id"),
        target=target,
        rivals=tuple(rivals),
    )
    if task.task_id:
        return task
    name = _content_id(task)
    return replace(task, task_id=name, group_id=task.group_id or name)  # copies of a line are one observation


def task_to_json(task: Task) -> dict[str, Any]:
    """Return the line that `task_from_json` reads as the same task."""
    line = asdict(task)
    return line | {"tags": list(task.tags), "rivals": list(line["rivals"])}


# --- the two shapes of a line ---


def _target_and_rivals(row: Mapping[str, Any], target_author: str | None) -> tuple[Solution, list[Solution]]:
    if row.get("target") is None:
        raise InputError("the task has no `target`", cure='add "target": {"author": "…", "code": "…"}')
    target = _solution(row["target"], "target", default_author="target")
    if target_author is not None and target.author != target_author:
        raise InputError(
            f"the target is by {target.author!r}, but {target_author!r} was asked for",
            cure="leave out --target, or give `solutions` instead of `target` and `rivals`",
        )
    entries = _list(row, "rivals", "objects")
    if not entries:
        raise InputError("the task has no rivals", cure='add "rivals": [{"author": "…", "code": "…"}]')
    rivals = [_solution(entry, f"rivals[{n}]", default_author=f"rival-{n}") for n, entry in enumerate(entries, 1)]
    return target, rivals


def _picked(row: Mapping[str, Any], target_author: str | None) -> tuple[Solution, list[Solution]]:
    if "solutions" not in row:
        raise InputError("the task has no `target`", cure='add "target" and "rivals", or "solutions"')
    entries = _list(row, "solutions", "objects")
    solutions = [_solution(entry, f"solutions[{n}]", default_author=f"rival-{n}") for n, entry in enumerate(entries, 1)]
    authors = ", ".join(solution.author for solution in solutions) or "none"
    if target_author is None:
        raise InputError("the task has `solutions` but no target", cure=f"--target AUTHOR, one of: {authors}")
    targets = [solution for solution in solutions if solution.author == target_author]
    if not targets:
        raise InputError(f"no solution is by {target_author!r}", cure=f"--target AUTHOR, one of: {authors}")
    rivals = [solution for solution in solutions if solution is not targets[0]]
    if not rivals:
        raise InputError("the task has no rivals", cure="add the solution of at least one other author")
    return targets[0], rivals


def _solution(entry: object, where: str, *, default_author: str) -> Solution:
    if not isinstance(entry, Mapping):
        raise InputError(f"`{where}` must be an object, it is {_kind(entry)}", cure='{"author": "…", "code": "…"}')
    if "code" not in entry:
        raise InputError(f"`{where}` has no `code`", cure='add "code": "…" ("" for a solution that was never written)')
    code = entry["code"]
    if not isinstance(code, str):
        raise InputError(
            f"`code` of `{where}` must be text, it is {_kind(code)}", cure='write "" for an empty solution'
        )
    passed = entry.get("passed")
    if passed is not None and not isinstance(passed, bool):
        raise InputError(f"`passed` of `{where}` must be true, false or null, it is {_kind(passed)}", cure="correct it")
    author = _optional_text(entry, "author", where)
    return Solution(author if author and author.strip() else default_author, _clean(code), passed)


def _refuse_shared_names(target: Solution, rivals: Sequence[Solution]) -> None:
    seen = {target.author}
    for rival in rivals:
        if rival.author in seen:
            raise InputError(f"two solutions are by {rival.author!r}", cure="give every solution its own author name")
        seen.add(rival.author)


# --- fields ---


def _optional_text(row: Mapping[str, Any], key: str, where: str | None = None) -> str | None:
    value = row.get(key)
    if value is not None and not isinstance(value, str):
        place = f"`{key}` of `{where}`" if where else f"`{key}`"
        raise InputError(f"{place} must be text, it is {_kind(value)}", cure=f'write "{key}": "…"')
    return None if value is None else _clean(value)


def _identifier(row: Mapping[str, Any], key: str) -> str | None:
    value = row.get(key)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    text = _optional_text(row, key)
    if text is not None and not text.strip():
        raise InputError(f"`{key}` is empty", cure="give it a name, or leave it out")
    return text


def _language(row: Mapping[str, Any]) -> str:
    text = _optional_text(row, "language") or ""
    return " ".join(text.split()).lower() or UNKNOWN_LANGUAGE


def _tags(row: Mapping[str, Any]) -> tuple[str, ...]:
    tags = _list(row, "tags", "texts")
    if not all(isinstance(tag, str) for tag in tags):
        raise InputError("`tags` must be a list of texts", cure='write "tags": ["array", "sorting"]')
    return tuple(_clean(tag) for tag in tags)


def _list(row: Mapping[str, Any], key: str, of: str) -> list[Any]:
    value = row.get(key)
    if value is not None and not isinstance(value, list):
        raise InputError(f"`{key}` must be a list of {of}, it is {_kind(value)}", cure=f'write "{key}": […]')
    return value or []


def _content_id(task: Task) -> str:
    solutions = [[solution.author, solution.code] for solution in (task.target, *task.rivals)]
    content = json.dumps([task.prompt, task.language, solutions])
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _told_apart(task: Task, value: Any, seen: Mapping[str, int]) -> Task:
    if task.task_id not in seen:
        return task
    if value.get("task_id") is not None:
        raise InputError(
            f"task_id {task.task_id!r} is already on line {seen[task.task_id]}", cure="give each task its own task_id"
        )
    copies = 2
    while f"{task.task_id}-{copies}" in seen:
        copies += 1
    return replace(task, task_id=f"{task.task_id}-{copies}")


def _kind(value: object) -> str:
    names = {type(None): "null", bool: "a truth value", int: "a number", float: "a number", str: "text", list: "a list"}
    return names.get(type(value), "an object")


def _clean(text: str) -> str:
    """Return `text` with lone surrogates replaced and split pairs joined; ordinary text comes back as it is."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _json_value(raw: str | bytes) -> Any:
    if isinstance(raw, bytes):
        raise InputError("the line is neither UTF-8 nor GB18030", cure="save the file as UTF-8")
    try:
        return json.loads(raw)
    except RecursionError:
        raise InputError("the line is nested too deeply", cure="write a flat JSON object") from None
    except ValueError as error:
        array = re.fullmatch(r"\s*\[.*", raw, re.DOTALL) is not None
        cure = "one JSON object per line; `jq -c '.[]' FILE` makes lines of an array" if array else "correct the line"
        raise InputError(f"the line is no JSON: {error}", cure=cure) from None


def _text(raw: str | bytes) -> str:
    return _clean(raw) if isinstance(raw, str) else raw.decode("utf-8", "replace")
