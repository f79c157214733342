"""What task-config inference costs: planning a million rows, and its own CPU a row over servers that answer at once."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from analyze.records import to_json
from benchmarks import command
from benchmarks.command import MB, ON_DISK, PROMPT, Ran
from benchmarks.results import Section, Verdict
from benchmarks.rig import OURS, Server, running, spread, table

PLANNED = 1_000_000
ASKED = 20_000
SERVERS = 4
ROUNDS = 3
ROW_BYTES = 300
MOST_S, MOST_MB, MOST_MS = 20.0, 1000.0, 0.5
TASK = "basic_example"


def infer() -> Section:
    """Plan a million rows of the packaged example, and ask fewer of them."""
    with tempfile.TemporaryDirectory(dir=ON_DISK) as folder:
        planned = planning(Path(folder), PLANNED, ROUNDS)
        asked = asking(Path(folder), ASKED, ROUNDS)
    busy, peaks = [ran.cpu_s for ran in planned], [ran.peak / MB for ran in planned]
    costs = [1000 * ran.cpu_s / ASKED for ran in asked]
    rows = [
        [
            f"plan {PLANNED:,} rows (`--dry_run`)",
            spread([ran.wall_s for ran in planned], ".1f"),
            spread(busy, ".1f"),
            spread(peaks, ".0f"),
        ],
        [
            f"ask {ASKED:,} rows",
            spread([ran.wall_s for ran in asked], ".1f"),
            f"{spread([ran.cpu_s for ran in asked], '.1f')}: {spread(costs, '.3f')} ms a row",
            spread([ran.peak / MB for ran in asked], ".0f"),
        ],
    ]
    text = f"""The packaged task `{TASK}` over one file of JSON lines with {ROW_BYTES} bytes each, all read before the
first is asked, as the task's `read_file` does; {ROUNDS} rounds, each a process of its own, start included. Planning
keeps one core busy: its CPU time is its time where nobody else computes. Asked are
{SERVERS} simulated servers that answer at once; the CPU is of the whole process: reading, formatting, asking,
recording, extraction and the summary page.

{table(["what", "seconds", "CPU, s", "peak memory, MB"], rows)}"""
    met_s, met_mb = statistics.median(busy) <= MOST_S, max(peaks) <= MOST_MB
    return Section(
        "Task-config inference",
        text,
        [
            Verdict(
                f"`analyze.infer`: plan {PLANNED:,} rows", f"≤ {MOST_S:.0f} s", f"{spread(busy, '.1f')} s CPU", met_s
            ),
            Verdict("the same, peak memory", f"≤ {MOST_MB:.0f} MB", f"{spread(peaks, '.0f')} MB", met_mb),
            Verdict(
                "`analyze.infer`: CPU a row",
                f"≤ {MOST_MS} ms",
                f"{spread(costs, '.3f')} ms",
                statistics.median(costs) <= MOST_MS,
            ),
        ],
    )


def planning(folder: Path, rows: int, rounds: int) -> list[Ran]:
    """Find out what is to be asked about so many rows."""
    typed = [*_typed(folder, _input(folder, rows), "planned"), "--dry_run"]
    return [command.run(typed) for _ in range(rounds)]


def asking(folder: Path, rows: int, rounds: int) -> list[Ran]:
    """Ask so many rows, each round into an output of its own."""
    source = _input(folder, rows)
    with running([Server()] * SERVERS) as fleet:
        servers = [word for url in fleet.urls for word in ("--base-url", url)]
        ran = [command.run([*_typed(folder, source, f"asked-{n}"), *servers]) for n in range(rounds)]
    assert fleet.posts >= rows * rounds, "rows were not asked"
    return ran


def _typed(folder: Path, source: Path, output: str) -> list[str]:
    task = ["--task_name", TASK, "--input_path", str(source), "--tasks", "8"]
    return [OURS, "-m", "analyze.infer", "--model_type", "server", "--output_path", str(folder / output), *task]


def _input(folder: Path, rows: int) -> Path:
    path = folder / f"rows-{rows}.jsonl"
    question = (PROMPT * ROW_BYTES)[:ROW_BYTES]
    with open(path, "wb") as file:
        file.writelines(to_json({"question": f"{n}: {question}", "gold": n}) + b"\n" for n in range(rows))
    return path
