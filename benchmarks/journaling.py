"""What recording an answer costs: `Journal.record` on a real disk, synced as in production.

`python -m benchmarks.journaling WAY RECORDS FOLDER` records and prints the seconds of wall time and of CPU.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from analyze.records import CHAT_URL, Answer, asked_of
from analyze.runs.journal import SYNC_AFTER_LINES, Journal
from benchmarks import peers
from benchmarks.clients import cpu_s
from benchmarks.command import ON_DISK
from benchmarks.results import Section, Verdict
from benchmarks.rig import OURS, spread, table

RECORDS = 200_000
ROUNDS = 5
TOKENS = 200
MOST_US = 30.0

Seconds = dict[str, float]


def journaling() -> Section:
    rounds = measured(RECORDS, ROUNDS)
    shown = {
        "journal": "**Journal.record**",
        "by-hand": "a script by hand: `json.dumps`, write, flush, never synced",
    }
    rows = [
        [
            shown[way],
            spread([_us(taken["wall_s"]) for taken in times], ".1f"),
            spread([_us(taken["cpu_s"]) for taken in times], ".1f"),
            spread([a["wall_s"] / b["wall_s"] for a, b in zip(times, rounds["by-hand"], strict=True)]),
        ]
        for way, times in rounds.items()
    ]
    text = f"""{RECORDS:,} answers of {TOKENS} tokens, each to another row, one after the other into a new journal on
{_file_system(ON_DISK)}, the last sync and the closing included; {ROUNDS} rounds, each way a process of its own. They
come far faster than servers answer, so there is a sync each {SYNC_AFTER_LINES:,} records; at 500 answers a second it is
each second, twice as many a record.

{table(["way", "us a record", "CPU, us a record", "to by hand"], rows)}"""
    reached = [_us(taken["wall_s"]) for taken in rounds["journal"]]
    met = statistics.median(reached) <= MOST_US
    verdict = Verdict("journaling a record, sync included", f"≤ {MOST_US:.0f} us", f"{spread(reached, '.1f')} us", met)
    return Section("What recording an answer costs", text, [verdict])


def _us(seconds: float) -> float:
    return 1e6 * seconds / RECORDS


def _file_system(folder: str) -> str:
    told = subprocess.run(["df", "--output=fstype", folder], capture_output=True, text=True, check=True)
    return told.stdout.split()[-1]


def measured(records: int, rounds: int) -> dict[str, list[Seconds]]:
    taken: dict[str, list[Seconds]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way, times in taken.items():
            with tempfile.TemporaryDirectory(dir=ON_DISK) as folder:
                words = [OURS, "-m", "benchmarks.journaling", way, str(records), folder]
                done = subprocess.run(words, stdout=subprocess.PIPE, check=True, text=True, cwd=peers.ROOT)
                times.append(json.loads(done.stdout))
    return taken


# -- in a process of its own ---------------------------------------------------------------------------------------


def answers(count: int) -> list[Answer]:
    """Return answers as a server gives them, to rows of their own."""
    text = " ".join(f"word{number}" for number in range(TOKENS))
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text, "refusal": None, "tool_calls": [], "reasoning": None},
        "logprobs": None,
        "finish_reason": "stop",
        "stop_reason": None,
    }
    body = {
        "id": "chatcmpl-4ae2a05cbd8c4b4b8a3c6b1d9c1a70ff",
        "object": "chat.completion",
        "created": 1_760_000_000,
        "model": "simulated",
        "choices": [choice],
        "usage": {"prompt_tokens": 250, "total_tokens": 250 + TOKENS, "completion_tokens": TOKENS},
    }
    named = [f"row-{number}" for number in range(count)]
    url = "http://127.0.0.1:8001/v1"
    return [Answer(name, asked_of({"prompt": name}, CHAT_URL), body, url, 1, 1.2345) for name in named]


def by_journal(outcomes: Sequence[Answer], folder: Path) -> None:
    with Journal(folder / "answers.jsonl", folder / "answers.jsonl.failed.jsonl") as journal:
        for outcome in outcomes:
            journal.record(outcome)


def by_hand(outcomes: Sequence[Answer], folder: Path) -> None:
    with open(folder / "answers.jsonl", "w") as file:
        for outcome in outcomes:
            file.write(json.dumps({"id": outcome.id, "response": outcome.body}) + "\n")
            file.flush()


WAYS: dict[str, Callable[[Sequence[Answer], Path], None]] = {"journal": by_journal, "by-hand": by_hand}


if __name__ == "__main__":
    way, outcomes, place = WAYS[sys.argv[1]], answers(int(sys.argv[2])), Path(sys.argv[3])
    cpu, wall = cpu_s(), time.perf_counter()
    way(outcomes, place)
    print(json.dumps({"wall_s": time.perf_counter() - wall, "cpu_s": cpu_s() - cpu}))
