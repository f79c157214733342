"""What it takes to read 100,000 verdicts, fold them into records, and work out every statistic of them.

`python -m benchmarks.folding CELLS` does so and prints the seconds of each step, and the most memory it held.
"""

from __future__ import annotations

import json
import math
import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from analyze.facts import measure
from analyze.facts.records import to_json as to_json_facts
from analyze.judge.cells import Cell, cells_of
from analyze.judge.folding import fold_task
from analyze.judge.issues import ISSUES
from analyze.judge.labels import DIMENSIONS
from analyze.judge.probabilities import reading
from analyze.judge.schema import ANALYSIS_CHARS, EVIDENCE_CHARS, PHRASE_CHARS, REASON_CHARS, REQUIREMENT_CHARS, VERDICTS
from analyze.judge.tasks import Solution, Task
from analyze.judge.verdicts import parse_reply
from analyze.runs.command import collect_seldom
from benchmarks import peers
from benchmarks.command import MB
from benchmarks.results import Section, Verdict
from benchmarks.rig import OURS, spread, table

CELLS = 100_000
RIVALS = 8
ROUNDS = 3
MOST_S = 10.0
MOST_MB = 1000.0
STEPS = {"parse": "reading the replies", "fold": "folding them, a record a task", "summarise": "all statistics"}
LANGUAGE = "python"
CODE = "def solve(numbers):\n    seen = {{}}\n    for at, number in enumerate(numbers):\n        seen[number] = {}\n"


def folding() -> Section:
    rounds = [measured(CELLS) for _ in range(ROUNDS)]
    totals = [sum(taken[step] for step in STEPS) for taken in rounds]
    rows = [[shown, spread([taken[step] for taken in rounds])] for step, shown in STEPS.items()]
    size = statistics.fmean(len(text) for _, text in _said(tasks(20 * 2 * RIVALS)))
    text = f"""{CELLS:,} verdicts of {size / 1000:.1f} kB with their probabilities, on {CELLS // (2 * RIVALS):,} tasks
against {RIVALS} rivals in both orders; {ROUNDS} rounds, each a process of its own that makes the replies task
by task, outside of what is timed, and keeps every record in memory, as the pipeline does.

{table(["step", "seconds"], [*rows, ["together", spread(totals)]])}

The most memory the process held: {spread([taken["peak"] / MB for taken in rounds], ".0f")} MB."""
    took, peak = statistics.median(totals), statistics.median(taken["peak"] / MB for taken in rounds)
    return Section(
        f"Folding {CELLS:,} verdicts, and their statistics",
        text,
        [
            Verdict(
                f"{CELLS:,} verdicts to all statistics", f"≤ {MOST_S:.0f} s", f"{spread(totals)} s", took <= MOST_S
            ),
            Verdict("the same, peak memory", f"≤ {MOST_MB:.0f} MB", f"{peak:.0f} MB", peak <= MOST_MB),
        ],
    )


def measured(cells: int) -> dict[str, float]:
    words = [OURS, "-m", "benchmarks.folding", str(cells)]
    done = subprocess.run(words, stdout=subprocess.PIPE, check=True, text=True, cwd=peers.ROOT)
    taken: dict[str, float] = json.loads(done.stdout)
    return taken


# -- in a process of its own ---------------------------------------------------------------------------------------


def tasks(cells: int) -> list[Task]:
    """Return tasks whose judgements are so many, every pair to be judged, half of the solutions tested."""
    return [
        Task(
            task_id=f"task-{number:06}",
            prompt=f"Write solve(numbers), variant {number}: return for each number where it was seen last.",
            language=LANGUAGE,
            tags=("array", "hash map"),
            group_id=None,
            target=Solution("target", CODE.format("at"), True),
            rivals=tuple(Solution(f"rival-{n}", CODE.format(f"at + {n}"), n % 2 == 0) for n in range(1, RIVALS + 1)),
        )
        for number in range(cells // (2 * RIVALS))
    ]


def reply_text(draw: random.Random) -> str:
    """Return a verdict with every text as long as it may be, and of its own, so that no two share memory."""

    def text(most: int) -> str:
        return f"{draw.getrandbits(4 * most):0{most}x}"

    leaning, codes = draw.choices("12345", weights=(1, 3, 2, 4, 2))[0], list(ISSUES)
    return json.dumps(verdict(draw, leaning, codes, text))


def verdict(draw: random.Random, leaning: str, codes: list[str], text: Callable[[int], str]) -> dict[str, Any]:
    """Return a verdict of the agreed form, its texts made by `text` from how long each may be."""
    return {
        "requirements": [text(REQUIREMENT_CHARS) for _ in range(3)],
        "analysis_a": text(ANALYSIS_CHARS),
        "analysis_b": text(ANALYSIS_CHARS),
        "dimensions": {
            name: {"evidence": text(EVIDENCE_CHARS), "verdict": draw.choice("345" + leaning)} for name in DIMENSIONS
        },
        **{
            f"{kind}_{side}": [text(PHRASE_CHARS), text(PHRASE_CHARS)]
            for kind in ("strengths", "weaknesses")
            for side in "ab"
        },
        "issues_a": [draw.choice(codes)],
        "issues_b": [draw.choice(codes)],
        "overall_reason": text(REASON_CHARS),
        "overall": leaning,
    }


def told(text: str, draw: random.Random) -> dict[str, Any]:
    """Return what is kept of the reply's log-probabilities, in a body: the token of its verdict."""
    written = text[-3]
    masses = {digit: draw.random() + 3 * (digit == written) for digit in VERDICTS}
    listed = [{"token": digit, "logprob": math.log(mass / sum(masses.values()))} for digit, mass in masses.items()]
    (own,) = (entry for entry in listed if entry["token"] == written)
    return {"choices": [{"logprobs": {"content": [{**own, "top_logprobs": listed}]}}]}


def _said(asked: Sequence[Task]) -> Iterator[tuple[Cell, str]]:
    draw = random.Random(5)
    for task in asked:
        for cell in cells_of(task):
            yield cell, reply_text(draw)


def run(cells: int) -> dict[str, float]:
    from analyze.stats.summary import summarise

    collect_seldom()  # as every command does
    took = dict.fromkeys(STEPS, 0.0)
    asked = tasks(cells)
    said, draw = _said(asked), random.Random(6)
    solutions = [asked[0].target, *asked[0].rivals]
    facts = {solution.author: to_json_facts(measure(solution.code, LANGUAGE)) for solution in solutions}
    records: list[dict[str, Any]] = []
    for task in asked:
        texts = {cell.id: text for cell, text in (next(said) for _ in range(2 * len(task.rivals)))}
        bodies = {row: told(text, draw) for row, text in texts.items()}
        began = time.perf_counter()
        replies = {row: parse_reply(text, "stop") for row, text in texts.items()}
        readings = {row: found for row, body in bodies.items() if (found := reading(body)) is not None}
        parsed = time.perf_counter()
        records.append(fold_task(task, replies, facts, max_code_chars=6000, readings=readings))
        took["parse"] += parsed - began
        took["fold"] += time.perf_counter() - parsed
    began = time.perf_counter()
    summary = summarise(records)
    took["summarise"] = time.perf_counter() - began
    assert 2 * summary.pairs == cells and summary.overall.unscored == 0, summary.overall
    assert summary.probabilities is not None and summary.probabilities.read == cells, summary.probabilities
    return took | {"peak": 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}


if __name__ == "__main__":
    print(json.dumps(run(int(sys.argv[1]))))
