"""Does memory stay where it is over a long run? `python -m benchmarks.soak ROWS EVERY URL ...` prints RSS on the way.

A generator goes in, `aask_many`'s outcomes come out and are thrown away; servers answer at once.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import peers, workloads
from benchmarks.results import Section, Verdict
from benchmarks.rig import Server, running, table

ROWS = 200_000
FIRST = 20_000
SERVERS = 4
GROWTH_MIB = 12.0
"""What the second half may add: 126 bytes a row. A row that is kept has 1,200; 17 are kept of its name, and what is
remembered of the beginnings of prompts grows until it is 200,000 of them."""


def rss_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


async def _ask(rows: int, urls: Sequence[str], every: int) -> dict[int, float]:
    """Ask so many rows and return the RSS in MiB after each `every` of them."""
    from analyze import AsyncMultiVLLMClient, aask_many
    from analyze.records import Answer

    seen, answers = {}, 0
    async for outcome in aask_many(workloads.small(rows), AsyncMultiVLLMClient(urls)):
        answers += isinstance(outcome, Answer)
        if answers % every == 0:
            seen[answers] = round(rss_mib(), 1)
    assert answers == rows, f"{rows - answers} rows lost"
    return seen


def measured(rows: int, every: int) -> dict[int, float]:
    """Return the RSS of a process of its own, by the rows it had answers to."""
    with running([Server()] * SERVERS) as fleet:
        command = [sys.executable, "-m", "benchmarks.soak", str(rows), str(every), *fleet.urls]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, cwd=peers.ROOT)
    return {int(answers): mib for answers, mib in json.loads(done.stdout).items()}


def soak() -> Section:
    seen = measured(ROWS, FIRST)
    grown = seen[ROWS] - seen[ROWS // 2]
    text = f"""{ROWS:,} chats of 1 kB through `aask_many`, a generator in and an iterator out, {SERVERS} servers that
answer at once. Resident memory of the process:

{table(["rows answered", "RSS, MiB"], [[f"{answers:,}", f"{mib:.1f}"] for answers, mib in seen.items()])}"""
    reached = f"{grown:+.0f} MiB; {seen[FIRST]:.0f} MiB at {FIRST:,} rows, {seen[ROWS]:.0f} MiB at {ROWS:,}"
    verdict = Verdict(
        f"memory: the second half of {ROWS:,} rows", f"≤ {GROWTH_MIB:.0f} MiB", reached, grown <= GROWTH_MIB
    )
    return Section("Memory over a long run", text, [verdict])


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_ask(int(sys.argv[1]), sys.argv[3:], int(sys.argv[2])))))
