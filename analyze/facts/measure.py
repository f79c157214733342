"""From code to facts: many solutions at once, few processes. Knows the order of the analysers, not how they work.

    measure_many → batches, one thread each → worker (Pygments, compiler, lizard) → ruff → bandit → Facts

ruff and bandit see only code that Python accepts: what they say of anything else is about the first broken bracket.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from analyze.facts import linters
from analyze.facts.bounded import GaveUp, run_python
from analyze.facts.languages import canonical
from analyze.facts.records import Facts, Finding, one_line

# Above this only lines are counted: bandit needs 5 s for 200 kB of dense Python, and no solution to a task is so long.
MAX_CODE_BYTES = 200_000
# Findings kept of each tool for one solution; a hundred say it all, ten thousand would drown the records.
MAX_FINDINGS = 100
# One ruff and one bandit process serve so many files; more would only delay the first answer and widen a failure.
BATCH = 64
ANALYSERS = 5

_WORKER = "import sys; sys.path.append(sys.argv[1]); from analyze.facts.worker import main; main(float(sys.argv[2]))"
_PACKAGE_ROOT = str(Path(__file__).resolve().parents[2])

Item = tuple[str, str]


def measure(code: str, language: str, *, timeout_s: float = 10.0) -> Facts:
    """Return the facts of one piece of code. Never runs it, never raises for it.

    `timeout_s` is the CPU time that all analysers together may take; each has a fifth. One that gives up is named in
    `limits` and its facts are None or empty. For more than one piece use `measure_many`.
    """
    return _measure_batch([_prepared(code, language)], timeout_s / ANALYSERS)[0]


def measure_many(items: Sequence[Item], *, workers: int | None = None) -> list[Facts]:
    """Return the facts of each (code, language), in order. Equal items are measured once.

    `workers` is how many batches run at a time, by default the cores. 120 solutions take 3 s on two cores.
    """
    prepared = [_prepared(code, language) for code, language in items]
    distinct = list(dict.fromkeys(prepared))
    workers = workers or len(os.sched_getaffinity(0))
    size = max(1, min(BATCH, -(-len(distinct) // workers)))
    batches = [distinct[start : start + size] for start in range(0, len(distinct), size)]
    with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="facts") as pool:
        measured = pool.map(lambda batch: _measure_batch(batch, 10.0 / ANALYSERS), batches)
        facts = dict(zip(distinct, (fact for batch in measured for fact in batch), strict=True))
    return [facts[item] for item in prepared]


def _prepared(code: str, language: str) -> Item:
    """Bring code into one form: no byte order mark, newlines only, nothing that UTF-8 cannot hold."""
    code = code.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    return code.encode("utf-8", "replace").decode(), canonical(language)


def _measure_batch(items: Sequence[Item], analyser_cpu_s: float) -> list[Facts]:
    facts = [_counted(code, language) for code, language in items]
    readable = [index for index, (code, _) in enumerate(items) if code.strip() and not facts[index].limits]
    with tempfile.TemporaryDirectory(prefix="analyze-facts-") as name:
        folder = Path(name)
        found = _read([items[index] for index in readable], folder, analyser_cpu_s)
        for index, fields in zip(readable, found, strict=True):
            facts[index] = _with_fields(facts[index], fields)
        files = {f"s{index:04d}.py": index for index in readable if facts[index].syntax_ok}
        for file_name, index in files.items():
            linters.place(folder, file_name, items[index][0])
        lint = linters.ruff(list(files), folder, analyser_cpu_s)
        security = linters.bandit(list(files), folder, analyser_cpu_s)
        for file_name, index in files.items():
            facts[index] = _with_findings(facts[index], lint[file_name], security[file_name])
    return facts


def _counted(code: str, language: str) -> Facts:
    """Return what needs no analyser: the facts of code that is too large for one."""
    lines = code.split("\n")
    total = len(lines) - (lines[-1] == "")
    size = len(code.encode())
    limits = () if size <= MAX_CODE_BYTES else (f"size: over {MAX_CODE_BYTES // 1000} kB, only lines are counted",)
    return Facts(language, total, sum(bool(line.strip()) for line in lines), limits=limits)


def _read(items: Sequence[Item], folder: Path, cpu_s: float) -> list[dict[str, Any]]:
    """Have the worker read the items; where it dies itself, its items are read again one by one."""
    if not items:
        return []
    asked = b"".join(json.dumps([language, code]).encode() + b"\n" for code, language in items)
    arguments = ["-c", _WORKER, _PACKAGE_ROOT, str(cpu_s)]
    try:
        printed = run_python(arguments, folder=folder, stdin=asked, cpu_s=5 + ANALYSERS * cpu_s * len(items))
    except GaveUp as why:
        if len(items) == 1:
            return [{"limits": [f"worker: {why}"]}]
        return [found for item in items for found in _read([item], folder, cpu_s)]
    found = [json.loads(line) for line in printed.splitlines()]
    if len(found) != len(items):
        raise RuntimeError(f"the worker answered {len(found)} of {len(items)} items; it could not start or is broken")
    return found


def _with_fields(facts: Facts, fields: Mapping[str, Any]) -> Facts:
    known = dict(fields)
    error = known.pop("syntax_error", None)
    lint = (Finding(error["line"], "syntax", one_line(error["message"])),) if error else ()
    return replace(facts, **{**known, "lint": lint, "limits": tuple(known["limits"])})


def _with_findings(facts: Facts, lint: list[Finding] | str, security: list[Finding] | str) -> Facts:
    kept_lint, lint_limits = _kept("ruff", lint)
    kept_security, security_limits = _kept("bandit", security)
    limits = (*facts.limits, *lint_limits, *security_limits)
    return replace(facts, lint=kept_lint, security=kept_security, limits=limits)


def _kept(tool: str, result: list[Finding] | str) -> tuple[tuple[Finding, ...], tuple[str, ...]]:
    if isinstance(result, str):
        return (), (f"{tool}: {result}",)
    kept = tuple(sorted(result, key=lambda finding: (finding.line, finding.code, finding.message))[:MAX_FINDINGS])
    dropped = len(result) - len(kept)
    return kept, (f"findings: {dropped} more of {tool}",) if dropped else ()
