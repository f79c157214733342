"""ruff and bandit over many files at once, as subprocesses. Knows nothing of other languages or other facts.

What they look for is `rules.RULES` and nothing else: no configuration file, no environment variable and no comment
in the code (`# noqa`, `# nosec`) changes it. A file on which a tool dies or overruns is found by halving the list,
so that the others keep their findings.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from analyze.facts.bounded import GaveUp, run_python
from analyze.facts.records import Finding, Severity, one_line
from analyze.facts.rules import BANDIT_RULES, RUFF_RULES

Findings = dict[str, list[Finding]]
Outcome = dict[str, list[Finding] | str]
# CPU seconds beside what a single file may take: Python and bandit's plugins are up in 0.2.
START_CPU_S = 1.5
# A file of a usual size takes bandit 5 ms and ruff less than one.
USUAL_FILE_CPU_S = 0.05
LARGE_BYTES = 20_000

_LOWERED_LINES = 2
_SEVERITIES: dict[str, Severity] = {"LOW": "low", "MEDIUM": "medium", "HIGH": "high"}


def place(folder: Path, name: str, code: str) -> None:
    """Put code where the tools read it, two lines lower: an encoding line counts only in the first two lines of a file.

    `# coding: utf-7` would make bandit, which obeys it, read other code than everybody else, or none.
    """
    (folder / name).write_bytes(b"\n" * _LOWERED_LINES + code.encode())


def ruff(names: Sequence[str], folder: Path, file_cpu_s: float) -> Outcome:
    """Return the lint findings of each file in `folder`, or why there are none to be had."""
    return _each(names, folder, lambda some: _ruff(some, folder, _budget(some, file_cpu_s)))


def bandit(names: Sequence[str], folder: Path, file_cpu_s: float) -> Outcome:
    """Return the security findings of each file in `folder`, or why there are none to be had."""
    return _each(names, folder, lambda some: _bandit(some, folder, _budget(some, file_cpu_s)))


def _budget(names: Sequence[str], file_cpu_s: float) -> float:
    return START_CPU_S + file_cpu_s + USUAL_FILE_CPU_S * len(names)


def _each(names: Sequence[str], folder: Path, run: Callable[[Sequence[str]], Findings]) -> Outcome:
    """Run once for all usual files and once for each large one: what hangs a tool is nearly always large."""
    large = [name for name in names if (folder / name).stat().st_size > LARGE_BYTES]
    found = _by_halves([name for name in names if name not in large], run)
    for name in large:
        found |= _by_halves([name], run)
    return found


def _by_halves(names: Sequence[str], run: Callable[[Sequence[str]], Findings]) -> Outcome:
    if not names:
        return {}
    try:
        return {**run(names)}
    except GaveUp as why:
        if len(names) == 1:
            return {names[0]: str(why)}
    middle = len(names) // 2
    return _by_halves(names[:middle], run) | _by_halves(names[middle:], run)


def _ruff(names: Sequence[str], folder: Path, cpu_s: float) -> Findings:
    options = ["--isolated", "--no-cache", "--ignore-noqa", "--no-fix", "--no-preview", "--quiet"]
    rules = ["--select", ",".join(RUFF_RULES), "--target-version", "py313", "--line-length", "120"]
    arguments = ["-m", "ruff", "check", *options, *rules, "--output-format", "json", "--", *names]
    found: Findings = {name: [] for name in names}
    for item in _parsed(run_python(arguments, folder=folder, cpu_s=cpu_s)):
        code = item["code"]
        if code in RUFF_RULES:
            finding = Finding(_line(item["location"]["row"]), code, one_line(item["message"]))
            found[Path(item["filename"]).name].append(finding)
    return found


def _bandit(names: Sequence[str], folder: Path, cpu_s: float) -> Findings:
    options = ["--quiet", "--ignore-nosec", "--ini", "/dev/null", "--format", "json", "--tests", ",".join(BANDIT_RULES)]
    report = _parsed(run_python(["-m", "bandit", *options, *names], folder=folder, cpu_s=cpu_s))
    if report["errors"]:
        raise GaveUp("failed on this code")
    found: Findings = {name: [] for name in names}
    for item in report["results"]:
        severity = _SEVERITIES.get(item["issue_severity"], "low")
        finding = Finding(_line(item["line_number"]), item["test_id"], one_line(item["issue_text"]), severity)
        found[Path(item["filename"]).name].append(finding)
    return found


def _line(row: int) -> int:
    return max(1, row - _LOWERED_LINES)


def _parsed(printed: bytes) -> Any:
    try:
        return json.loads(printed)
    except ValueError:
        raise GaveUp("printed no report") from None
