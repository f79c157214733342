"""The memory of a run of a million rows, looked at from outside while it runs."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks import command, workloads
from benchmarks.command import MB, ON_DISK, Ran
from benchmarks.results import Section, Verdict
from benchmarks.rig import Server, running, table

ROWS = 1_000_000
SIZE = 4000
SERVERS = 4
SHARES = (0.01, 0.1, 0.25, 0.5, 0.75, 1.0)
MOST_MB = 500.0
MOST_GROWTH_MB = 64.0
"""What the last nine tenths may add, 70 bytes a row: names are remembered, rows are not, which have 4,000 each."""


def memory() -> Section:
    ran = asked(ROWS, SIZE)
    rss = {share: ran.at(share).rss / MB for share in SHARES}
    grown = rss[1.0] - rss[0.1]
    text = f"""{ROWS:,} chats of {SIZE // 1000} kB, {SIZE * ROWS / 1e9:.0f} GB in all, {SERVERS} servers that answer at
once: {ROWS / ran.wall_s:,.0f} rows a second. Resident memory of the whole process, and the most it ever was:

{table(["of the rows answered", "RSS, MB"], [[f"{share:.0%}", f"{mb:.0f}"] for share, mb in rss.items()])}
| the most, at any time | {ran.peak / MB:.0f} |"""
    peak, at_most = ran.peak / MB, f"≤ {MOST_MB:.0f} MB"
    return Section(
        f"Memory of a run of {ROWS:,} rows",
        text,
        [
            Verdict(f"peak memory, {ROWS:,} rows of {SIZE // 1000} kB", at_most, f"{peak:.0f} MB", peak <= MOST_MB),
            Verdict(
                "the same, growth from 10 % of the rows on",
                f"≤ {MOST_GROWTH_MB:.0f} MB",
                f"{grown:+.0f} MB",
                grown <= MOST_GROWTH_MB,
            ),
        ],
    )


def asked(rows: int, size: int) -> Ran:
    """Ask so many rows of so many bytes by the command line; how far it was is the size of the output."""
    with tempfile.TemporaryDirectory(dir=ON_DISK) as folder, running([Server()] * SERVERS) as fleet:
        requests = workloads.write(command.chats(rows, size), Path(folder, "requests.jsonl"))
        answers = Path(folder, "answers.jsonl")

        def written() -> int:
            return answers.stat().st_size if answers.exists() else 0

        ran = command.run(command.batch(requests, answers, fleet.urls), progress=written)
        with open(answers, "rb") as lines:
            answered = sum(1 for _ in lines)
    assert answered == rows, f"{rows - answered:,} of {rows:,} rows lost"
    return ran
