"""Does a row cost the same in a run of ten thousand and of a million? CPU of the whole process, less its start-up."""

from __future__ import annotations

import statistics
from itertools import pairwise

from benchmarks.command import Ran
from benchmarks.memory import SERVERS, asked
from benchmarks.results import Section, Verdict
from benchmarks.rig import spread, table

SIZE = 1000
ROUNDS = {10_000: 9, 100_000: 3, 1_000_000: 1}
FLAT = 1.10
TENTHS = 10


def scale() -> Section:
    start_s, runs = measured(ROUNDS)
    costs = {rows: [1000 * (ran.cpu_s - start_s) / rows for ran in taken] for rows, taken in runs.items()}
    medians = {rows: statistics.median(values) for rows, values in costs.items()}
    ratio = max(medians.values()) / min(medians.values())
    of_rows = [
        [f"{rows:,}", str(len(values)), spread(values, ".4f"), f"{medians[rows] / medians[min(medians)]:.2f}"]
        for rows, values in costs.items()
    ]
    longest = max(runs)
    tenths = by_tenths(runs[longest][0], longest)
    of_tenths = [[f"{number} / {TENTHS}", f"{ms:.4f}"] for number, ms in enumerate(tenths, 1)]
    text = f"""Chats of 1 kB, {SERVERS} servers that answer at once, each run a process of its own, in turns. What a
run of one row takes, {start_s:.2f} s of CPU, is left out.

{table(["rows", "runs", "CPU ms a row", "to the smallest"], of_rows)}

Within the longest run, where nothing else changes from tenth to tenth but how much is known already (the first has
the start-up in it):

{table(["tenth", "CPU ms a row"], of_tenths)}"""
    sizes = ", ".join(f"{rows:,}" for rows in medians)
    verdict = Verdict(f"CPU a row of {sizes} rows, most / least", f"≤ {FLAT}x", f"{ratio:.2f}x", ratio <= FLAT)
    return Section("What a row costs in short and long runs", text, [verdict])


def measured(rounds: dict[int, int]) -> tuple[float, dict[int, list[Ran]]]:
    """Return the CPU seconds of a start, and the runs by their rows: short ones before and after each long one."""
    starts: list[float] = []
    runs: dict[int, list[Ran]] = {rows: [] for rows in rounds}
    turns = max(rounds.values())
    for turn in range(turns):
        starts.append(asked(1, SIZE).cpu_s)
        for rows, wanted in rounds.items():
            every = turns // wanted
            if turn % every == every // 2:
                runs[rows].append(asked(rows, SIZE))
    return statistics.median(starts), runs


def by_tenths(ran: Ran, rows: int) -> list[float]:
    """Return the CPU ms a row of each tenth of a run."""
    cpu_s = [0.0, *(ran.at(number / TENTHS).cpu_s for number in range(1, TENTHS + 1))]
    return [1000 * TENTHS * (after - before) / rows for before, after in pairwise(cpu_s)]
