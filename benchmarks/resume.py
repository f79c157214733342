"""How long a finished run takes to find that nothing is left: a million rows, read, keyed and compared.

Answers are not asked for a million times. The first rows are, and the product's encoder makes the other lines: of a
row and a reply it makes the very line that the run wrote, which is checked. `python -m benchmarks.resume keying FILE`
and `... by-hand FILE ANSWERS` are what it is set against.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from analyze.records import Answer, asked_of
from analyze.runs.lines import BATCH
from benchmarks import command, workloads
from benchmarks.command import MB, ON_DISK, Ran
from benchmarks.results import Section, Verdict
from benchmarks.rig import OURS, Server, running, spread, table

ROWS = 1_000_000
REALLY_ASKED = 200
ROUNDS = 3
MOST_S, MOST_MB = 10.0, 400.0


def resume() -> Section:
    rounds = measured(ROWS, ROUNDS)
    ours, keying = rounds["ours"], rounds["keying"]
    shown = {
        "ours": "**analyze.batch**, the whole command",
        "keying": "parsing and keying alone: `orjson.loads`, `asked_of`",
        "by-hand": "a script by hand: `json.loads`, the answered ids in a set",
    }
    rows = [
        [
            shown[name],
            spread([ran.wall_s for ran in taken]),
            spread([a.wall_s / b.wall_s for a, b in zip(taken, keying, strict=True)]),
            spread([ran.cpu_s for ran in taken]),
            spread([ran.peak / MB for ran in taken], ".0f"),
        ]
        for name, taken in rounds.items()
    ]
    text = f"""A finished run of {ROWS:,} chats of 1 kB, the same command again, one server; {ROUNDS} rounds, each way a
process of its own, start included. {REALLY_ASKED} rows were really asked; the lines of the others were made of the row
and a reply by the journal's own encoder, which makes of those rows the lines that the run wrote, byte for byte. The
script by hand looks at ids only: it does not see that a row was edited. `vllm run-batch` has nothing to set beside it:
it writes its answers when all are there, and begins anew.

{table(["way", "seconds", "to parsing and keying", "CPU, s", "peak memory, MB"], rows)}"""
    wall_s = [ran.wall_s for ran in ours]
    peaks = [ran.peak / MB for ran in ours]
    met_s, met_mb = statistics.median(wall_s) <= MOST_S, max(peaks) <= MOST_MB
    return Section(
        f"Resuming a finished run of {ROWS:,} rows",
        text,
        [
            Verdict(
                f"resume of {ROWS:,} finished rows, time", f"≤ {MOST_S:.0f} s", f"{spread(wall_s, '.1f')} s", met_s
            ),
            Verdict("the same, peak memory", f"≤ {MOST_MB:.0f} MB", f"{spread(peaks, '.0f')} MB", met_mb),
        ],
    )


def measured(rows: int, rounds: int) -> dict[str, list[Ran]]:
    """Make a finished run and measure each way on it, taking turns."""
    with tempfile.TemporaryDirectory(dir=ON_DISK) as folder, running([Server()]) as fleet:
        requests, answers = finished_run(rows, Path(folder), fleet.urls)
        script = [OURS, "-m", "benchmarks.resume"]
        ways = {
            "ours": command.batch(requests, answers, fleet.urls),
            "keying": [*script, "keying", str(requests)],
            "by-hand": [*script, "by-hand", str(requests), str(answers)],
        }
        taken: dict[str, list[Ran]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, words in ways.items():
                taken[name].append(command.run(words))
    assert fleet.posts <= REALLY_ASKED, f"{fleet.posts - REALLY_ASKED} finished rows were asked again"
    return taken


def finished_run(rows: int, folder: Path, urls: list[str]) -> tuple[Path, Path]:
    """Return the input and the output of a run that has finished."""
    first = min(rows, REALLY_ASKED)
    requests = workloads.write(command.chats(first), folder / "first.jsonl")
    answers = folder / "answers.jsonl"
    command.run(command.batch(requests, answers, urls))
    real = {answer.id: (answer, line) for line in answers.read_bytes().splitlines(True) if (answer := _answer(line))}
    assert len(real) == first, f"{first - len(real)} rows lost"
    for row in command.chats(first):
        answer, line = real[row["custom_id"]]
        assert made(row, answer) == line, f"a run writes other lines:\n{made(row, answer)!r}\n{line!r}"
    with open(answers, "ab") as output:
        output.writelines(made(row, answer) for row in command.chats(rows - first, start=first))
    return workloads.write(command.chats(rows), folder / "requests.jsonl"), answers


def _answer(line: bytes) -> Answer:
    answer = BATCH.decode(line)
    assert isinstance(answer, Answer), line
    return answer


def made(row: dict[str, Any], like: Answer) -> bytes:
    """Return the line that a run writes of this row, answered as another was."""
    return BATCH.encode(replace(like, id=row["custom_id"], asked=asked_of(row["body"], row["url"])))


# -- what it is set against ----------------------------------------------------------------------------------------


def keyed(requests: Path) -> Iterator[str]:
    with open(requests, "rb") as lines:
        for line in lines:
            row = orjson.loads(line)
            yield asked_of(row["body"], row["url"])


def left_by_hand(requests: Path, answers: Path) -> Iterator[dict[str, Any]]:
    """What people write around an SDK."""
    with open(answers) as lines:
        done = {json.loads(line)["custom_id"] for line in lines}
    with open(requests) as lines:
        for line in lines:
            row = json.loads(line)
            if row["custom_id"] not in done:
                yield row


if __name__ == "__main__":
    paths = [Path(word) for word in sys.argv[2:]]
    for _ in keyed(*paths) if sys.argv[1] == "keying" else left_by_hand(*paths):
        pass
