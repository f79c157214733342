"""`task.yaml`: a plain task without code.

    files: data/*.jsonl          # beside this file, or what --input_path names: any file of rows that `batch` reads
    system: You are a tutor.     # may be missing
    user: "{{ question }}"       # Jinja over the row's fields; or `prompt:`, plain text for a base model
    extract: {regex: '#### (-?[0-9]+)', take: last}    # or {json: answer}, or missing: the reply itself
    gold: answer                 # the field of a row that an answer is held against
Inserted text never becomes a control token of a chat template (`runs.templates`). Raises as `tasks` does.
"""

from __future__ import annotations

import glob
import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from analyze.errors import InputError
from analyze.files import input_errors, sha256_of
from analyze.inert import Own
from analyze.infer.tasks import Prompt, Row, Task, TaskError
from analyze.runs.inputs import Input
from analyze.runs.templates import Template

KEYS = {"files", "system", "user", "prompt", "extract", "gold", "required_fields"}
EXTRACTORS = {"regex", "take", "json"}


def load_no_code(name: str, path: Path) -> Task:
    """Read a task. Raises InputError naming the key that is wrong."""
    told = _read(path)
    formatted = _format(told, path)
    gold = told.get("gold")
    if not isinstance(gold, str | None):
        raise _wrong(path, "gold", "the name of a field")
    required = told.get("required_fields") or []
    if not isinstance(required, list):
        raise _wrong(path, "required_fields", "a list of names")
    return Task(
        name=name,
        path=path,
        sha256=sha256_of(path),
        get_file_list=lambda input_path: _files(told.get("files"), input_path, path),
        read_file=_rows,
        format_prompt=formatted,
        extract_answer=_extractor(told.get("extract"), path),
        evaluate=None if gold is None else lambda rows: _accuracy(rows, gold),
        required_fields=tuple(map(str, required)),
    )


def _read(path: Path) -> Mapping[str, Any]:
    import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own, for one call

    with input_errors(str(path)):
        text = path.read_text(encoding="utf-8-sig")
    try:
        told = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = None if mark is None else mark.line + 1
        problem = getattr(error, "problem", None) or "it cannot be read"
        raise InputError(f"no YAML: {problem}", path=str(path), line=line, cure="correct it") from error
    if not isinstance(told, dict):
        raise InputError("holds no keys", path=str(path), cure="write files:, user: and extract:")
    if unknown := sorted(str(key) for key in told if key not in KEYS):
        raise InputError(
            f"the key {unknown[0]!r} is not known", path=str(path), cure=f"one of {', '.join(sorted(KEYS))}"
        )
    return told


def _wrong(path: Path, key: str, wish: str) -> InputError:
    return InputError(f"the key {key} must be {wish}", path=str(path), cure="correct it")


def _files(named: Any, input_path: str, path: Path) -> list[str]:
    patterns = [input_path] if input_path else [named] if isinstance(named, str) else named
    if not isinstance(patterns, list) or not patterns:
        raise TaskError(f"{path} names no files; give files: in it, or --input_path")
    base = Path() if input_path else path.parent
    found: list[str] = []
    for pattern in map(str, patterns):
        matching = sorted(glob.glob(str(Path(glob.escape(str(base))) / pattern))) or [str(base / pattern)]
        for one in matching:
            found += _in_folder(Path(one)) if Path(one).is_dir() else [one]
    return found


def _in_folder(folder: Path) -> list[str]:
    """Return the files of a folder, but for those that programs leave there: .DS_Store, .ipynb_checkpoints."""
    return sorted(str(one) for one in folder.iterdir() if one.is_file() and not one.name.startswith("."))


def _rows(file: str) -> Iterable[Any]:
    return (value for _, value in Input(file).rows())


def _format(told: Mapping[str, Any], path: Path) -> Callable[[Row], Prompt]:
    chat, plain, system = told.get("user"), told.get("prompt"), told.get("system")
    if (chat is None) == (plain is None):
        raise InputError("exactly one of user: (a chat) and prompt: (plain text) is wanted", path=str(path), cure=USER)
    for name in ("user", "prompt", "system"):
        if not isinstance(text := told.get(name), str | None) or text == "":
            raise _wrong(path, name, "a text")
    template = Template(path, text=chat if plain is None else plain)
    first = [] if system is None else [{"role": "system", "content": system}]

    def formatted(row: Row) -> Prompt:
        try:
            text = template.text(row)
        except ValueError as error:
            raise TaskError(f"{error} ({path})") from error
        return text if chat is None else [*first, {"role": "user", "content": Own(text)}]

    return formatted


USER = 'user: "{{ question }}"'


def _extractor(told: Any, path: Path) -> Callable[[str, Row], Any]:
    if told is None:
        return lambda reply, row: reply.strip()
    if not isinstance(told, dict) or not told.keys() <= EXTRACTORS or ("regex" in told) == ("json" in told):
        raise _wrong(path, "extract", "{regex: ..., take: first|last} or {json: FIELD}")
    if "json" in told:
        return lambda reply, row: _field(reply, str(told["json"]))
    take = told.get("take", "last")
    if take not in ("first", "last"):
        raise _wrong(path, "extract.take", "first or last")
    try:
        pattern = re.compile(str(told["regex"]))
    except re.error as error:
        raise _wrong(path, "extract.regex", f"a regular expression ({error})") from error
    return lambda reply, row: _matched(pattern, reply, is_last=take == "last")


def _matched(pattern: re.Pattern[str], reply: str, *, is_last: bool) -> str | None:
    """Return the first group that took part in a match, all of the match where there is no group."""
    found = [*pattern.finditer(reply)]
    if not found:
        return None
    match = found[-1 if is_last else 0]
    return next((group for group in match.groups() if group is not None), match[0])


def _field(reply: str, name: str) -> Any:
    """Return a field of the last JSON object in a reply that has it."""
    decoder = json.JSONDecoder(strict=False)
    found = None
    for start in (match.start() for match in re.finditer(r"\{", reply)):
        try:
            value, _ = decoder.raw_decode(reply, start)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict) and name in value:
            found = value[name]
    return found


def _accuracy(rows: list[dict[str, Any]], gold: str) -> dict[str, Any]:
    """Return the share of rows whose answer is the true one; a row without an answer is wrong."""
    held = [row for row in rows if row["org_data"].get(gold) is not None]
    right = sum(_plain(row["answer"]) == _plain(row["org_data"][gold]) for row in held if row["answer"] is not None)
    return {"rows": len(held), "right": right, "accuracy": right / len(held) if held else None}


def _plain(value: Any) -> str:
    return str(value).strip().casefold()
