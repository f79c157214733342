"""What a report takes: `analyze report RUN` on 100,000 judged cells, and on the packaged tasks, in both languages.

Each run is folded from replies of words of the packaged prompts, every text as long as the judge's schema allows, in
Chinese half as long.
`python -m benchmarks.report FOLDER CELLS LANG` writes such a run.
"""

from __future__ import annotations

import hashlib
import random
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from analyze.judge.cells import cells_of
from analyze.judge.issues import ISSUES
from analyze.judge.tasks import Task, read_tasks
from analyze.lang import LANGS, Lang
from analyze.per_task import Judge, facts_of
from analyze.records import Answer, Failure, Outcome, to_json
from analyze.runs.manifest import new_manifest, write_manifest
from benchmarks import command, peers
from benchmarks.command import MB, ON_DISK
from benchmarks.folding import verdict
from benchmarks.results import Section, Verdict
from benchmarks.rig import OURS, spread, table

CELLS = 100_000
AUDITED = 30
FAILED = 0.005  # of the judgements
ROUNDS = 3
LOOK_EVERY_S = 0.2  # a report keeps every core busy: looked at 20 times a second it took 12.8 s, else 11.6
PACKAGED = Path(peers.ROOT, "data", "tasks.jsonl")


@dataclass(frozen=True, slots=True)
class Size:
    """A run, and what its report may take; `cells` None: the packaged tasks as they are."""

    name: str
    cells: int | None
    most_s: float
    most_html_mb: float
    most_mb: float = 1000.0


SIZES = (
    Size(f"{CELLS:,} judged cells", CELLS, most_s=10.0, most_html_mb=5.0),
    Size("the packaged tasks", None, most_s=3.0, most_html_mb=2.0),
)


def report() -> Section:
    rows, verdicts = [], []
    for size in SIZES:
        with tempfile.TemporaryDirectory(dir=ON_DISK) as folder:
            taken = {lang: _measured(Path(folder, lang), size, lang) for lang in LANGS}
        rows += [[size.name, lang, *of_lang.row()] for lang, of_lang in taken.items()]
        verdicts += _verdicts(size, list(taken.values()))
    text = f"""`analyze report RUN`, the whole process: start, imports, every picture and page; {ROUNDS} rounds.
The judge's texts are words of the packaged prompts in one language or the other, as long as its schema allows
(Chinese: half as long), on the packaged tasks, as often as there are cells for. {AUDITED} tasks are audited,
{FAILED:.1%} of the judgements failed.

{table(["run", "language", "records, MB", "seconds", "peak memory, MB", "report.html, MB"], rows)}"""
    return Section("Reports", text, verdicts)


@dataclass(frozen=True, slots=True)
class Taken:
    records: int
    wall_s: Sequence[float]
    peak: int
    html: int
    is_same: bool

    def row(self) -> list[str]:
        return [f"{self.records / MB:.0f}", spread(self.wall_s), f"{self.peak / MB:.0f}", f"{self.html / MB:.2f}"]


def _measured(folder: Path, size: Size, lang: Lang) -> Taken:
    command.run([OURS, "-m", "benchmarks.report", str(folder), str(size.cells or 0), lang])
    rounds, made = [], set()
    for _ in range(ROUNDS):
        told = [OURS, "-m", "analyze", "report", str(folder), "--analyze-lang", lang]
        rounds.append(command.run(told, look_every_s=LOOK_EVERY_S))
        made.add(_digest(folder))
    return Taken(
        records=Path(folder, "per_task.jsonl").stat().st_size,
        wall_s=[ran.wall_s for ran in rounds],
        peak=max(ran.peak for ran in rounds),
        html=Path(folder, "report.html").stat().st_size,
        is_same=len(made) == 1,
    )


def _digest(folder: Path) -> str:
    """Return a digest of all files of a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    each = (f"{path.relative_to(folder)} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in files)
    return hashlib.sha256("\n".join(each).encode()).hexdigest()


def _verdicts(size: Size, taken: Sequence[Taken]) -> list[Verdict]:
    wall_s = [seconds for one in taken for seconds in one.wall_s]
    slowest = max(sorted(one.wall_s)[len(one.wall_s) // 2] for one in taken)
    html, peak = max(one.html for one in taken) / MB, max(one.peak for one in taken) / MB
    same = all(one.is_same for one in taken)
    return [
        Verdict(f"report of {size.name}", f"≤ {size.most_s:.0f} s", f"{spread(wall_s)} s", slowest <= size.most_s),
        Verdict("the same, peak memory", f"≤ {size.most_mb:.0f} MB", f"{peak:.0f} MB", peak <= size.most_mb),
        Verdict("the same, HTML", f"≤ {size.most_html_mb:.0f} MB", f"{html:.2f} MB", html <= size.most_html_mb),
        Verdict("the same, built again", "the same bytes", "the same" if same else "others", same),
    ]


# -- writing a run, in a process of its own ------------------------------------------------------------------------


class Replies(Mapping[str, Outcome]):
    """An outcome for every cell, made when it is looked up: so many would fill the memory."""

    def __init__(self, cells: Sequence[str], lang: Lang) -> None:
        self._cells = frozenset(cells)
        self._words = _words(lang)

    def __getitem__(self, cell: str) -> Outcome:
        draw = random.Random(cell)
        instance = f"http://localhost:{draw.choice((8001, 8002, 8003, 8004))}/v1"
        if draw.random() < FAILED:
            return Failure(cell, "", "timeout", "no answer within 600 s", instance=instance, attempts=3)
        message = {"role": "assistant", "content": to_json(_reply(draw, self._words)).decode()}
        return Answer(cell, "", {"choices": [{"message": message, "finish_reason": "stop"}]}, instance)

    def __iter__(self) -> Iterator[str]:
        return iter(self._cells)

    def __len__(self) -> int:
        return len(self._cells)

    def __contains__(self, cell: object) -> bool:
        return cell in self._cells


def _words(lang: Lang) -> list[str]:
    """Return the words of the packaged prompts in a language; of Chinese, which has no spaces, clauses."""
    prompts = " ".join(task.prompt for task in read_tasks(PACKAGED))
    found = re.findall(r"[\u4e00-\u9fff]{2,8}" if lang == "zh" else r"\b[a-z]{2,12}\b", prompts)
    return sorted(set(found))


def _reply(draw: random.Random, words: Sequence[str]) -> dict[str, object]:
    leaning, codes = draw.choices("12345", weights=(1, 3, 2, 4, 2))[0], list(ISSUES)
    dense = 1 if words[0].isascii() else 2  # Chinese says the same in half the characters

    def text(most: int) -> str:
        return " ".join(draw.choices(words, k=1 + most // 4))[: most // dense].strip()

    return verdict(draw, leaning, codes, text)


def _tasks(cells: int) -> list[Task]:
    """Return the packaged tasks, again and again until they are so many cells; 0: once."""
    packaged = read_tasks(PACKAGED)
    if not cells:
        return packaged
    made: list[Task] = []
    for turn in count():
        for task in packaged:
            if cells <= 0:
                return made
            made.append(replace(task, task_id=f"{task.task_id}-{turn}"))
            cells -= len(cells_of(task))
    raise AssertionError


def write(folder: Path, cells: int, lang: Lang) -> None:
    folder.mkdir(parents=True)
    tasks = _tasks(cells)
    judge = Judge(tasks, lang=lang, audit_tasks=AUDITED)
    replies, facts = Replies(list(judge.cells), lang), facts_of(tasks)
    with open(folder / "per_task.jsonl", "wb") as lines:
        lines.writelines(to_json(record) + b"\n" for record in judge.fold(replies, facts))
    ended = Counter(isinstance(replies[cell], Failure) for cell in judge.cells)
    counts = {"cells": len(judge.cells), "cells_ok": ended[False], "cells_failed": ended[True]}
    manifest = new_manifest("pipeline", engine="fleet", model="a-judge", lang=lang, judge_lang=lang, counts=counts)
    write_manifest(folder / "run.json", manifest | {"finished": "2026-01-01T00:00:00Z", "seconds": 1.0})
    with open(folder / "failed.jsonl", "wb") as lines:
        for name, cell in judge.cells.items():
            if isinstance(outcome := replies[name], Failure):
                told = {"id": name, "task_id": cell.task.task_id, "rival": cell.rival.author, "order": cell.order}
                told |= {"sample": cell.sample, "probe": cell.probe, "kind": outcome.kind, "message": outcome.message}
                lines.write(to_json(told | {"attempts": outcome.attempts, "instance": outcome.instance}) + b"\n")


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]), "zh" if sys.argv[3] == "zh" else "en")
