"""RESULTS.md, rendered from results.json, where each section is a block of its own and is replaced by itself."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.rig import table

BLOCKS = Path(__file__).with_name("results.json")
RESULTS = Path(__file__).with_name("RESULTS.md")
OWN = ("openai", "aiohttp", "httpx2", "orjson")


@dataclass(frozen=True, slots=True)
class Verdict:
    """One line of the summary: what was to be reached, and what was."""

    what: str
    to_reach: str
    reached: str
    met: bool

    def row(self) -> list[str]:
        return [self.what, self.to_reach, self.reached, "yes" if self.met else "**no**"]


@dataclass(slots=True)
class Section:
    """What one benchmark has to say: how it was done and what came of it, in Markdown."""

    title: str
    text: str
    verdicts: list[Verdict] = field(default_factory=list)


def save(name: str, section: Section, took_s: float) -> None:
    """Put a section in the place of its predecessor."""
    blocks = json.loads(BLOCKS.read_text()) if BLOCKS.exists() else {}
    versions = ", ".join(f"{package} {version(package)}" for package in OWN)
    made = (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, Python {platform.python_version()}, {versions}; took {took_s:.0f} s"
    )
    blocks[name] = {"made": made, **asdict(section)}
    BLOCKS.write_text(json.dumps(blocks, indent=1, ensure_ascii=False) + "\n")


def render(order: list[str], packages: list[str]) -> str:
    """Return RESULTS.md, its sections in this order; those that have not been run yet are left out."""
    blocks = json.loads(BLOCKS.read_text()) if BLOCKS.exists() else {}
    there = [blocks[name] | {"name": name} for name in order if name in blocks]
    verdicts = [Verdict(**verdict).row() for block in there for verdict in block["verdicts"]]
    sections = "\n".join(
        f"\n## {block['title']}\n\n`python -m benchmarks {block['name']}`, {block['made']}.\n\n{block['text']}"
        for block in there
    )
    return f"""# Results

Made by `make bench`, all on this machine: the servers are simulated, the clients real. Only ratios travel to other
machines. Peers, each in an environment of its own: {", ".join(packages)}.

{table(["what", "to reach", "reached", "met"], verdicts)}
{sections}
"""


def write(order: list[str], packages: list[str]) -> None:
    RESULTS.write_text(render(order, packages))
