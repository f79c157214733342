"""What is asked: batch rows made anew from a seed, or from the recorded trace. Every client is given the same file.

The true length of an answer is the last thing in its prompt, where only the simulated servers look for it: a field of
its own would not pass sglang-router. `max_tokens` is there only where a workload says that lengths are known, or
nearly.
"""

from __future__ import annotations

import csv
import json
import math
import random
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.engine import BYTES_A_TOKEN, Sequence, sequence_of

MODEL = "simulated"
TRACE = Path(__file__).resolve().parents[2] / "shared/data/traces/azure_code.csv"
LENGTH_FACTOR, LONGEST = 8, 1000  # the trace's answers have 23 tokens; batch work writes more

Row = dict[str, Any]

_WORDS = (
    "model",
    "reads",
    "code",
    "says",
    "what",
    "it",
    "does",
    "where",
    "fails",
    "which",
    "lines",
    "are",
    "at",
    "fault",
)

_LENGTH = re.compile(rb" \[(\d+) tokens\]$")


def length_mark(output_tokens: int) -> str:
    return f" [{output_tokens} tokens]"


def row(name: str, text: str, output_tokens: int, *, max_tokens: int | None = None, group: str | None = None) -> Row:
    body: Row = {"model": MODEL, "messages": [{"role": "user", "content": text + length_mark(output_tokens)}]}
    if max_tokens is not None:
        body["max_tokens"] = max_tokens
    named = {} if group is None else {"group": group}
    return {"custom_id": name, **named, "method": "POST", "url": "/v1/chat/completions", "body": body}


def text_of(tokens: int, dice: random.Random) -> str:
    """Return a text of so many tokens, unlike any other from its first block on."""
    size = tokens * BYTES_A_TOKEN
    text = f"{dice.getrandbits(64):x} " + " ".join(dice.choices(_WORDS, k=size // 4 + 4))
    return text[:size]


def small(count: int) -> Iterator[Row]:
    """Chats of 1 kB, as the cost of a request is measured with."""
    prompt = "Is this a question about medicine? Answer with yes or no, and give the reason in a sentence. " * 10
    return (row(str(number), f"{number}: {prompt}", 60) for number in range(count))


def trace(count: int, *, lengths: str = "unknown") -> list[Row]:
    """The first rows of the recorded trace. `lengths`: `unknown`, `known` (max_tokens), `noisy` (log-sigma 0.3)."""
    dice = random.Random(3)
    with open(TRACE, newline="") as file:
        recorded = [(int(r["ContextTokens"]), int(r["GeneratedTokens"])) for r in csv.DictReader(file)][:count]
    rows = []
    for number, (context, generated) in enumerate(recorded):
        length = min(LONGEST, generated * LENGTH_FACTOR)
        noise = math.exp(dice.gauss(0, 0.3))
        limit = {"unknown": None, "known": length, "noisy": max(1, round(length * noise))}[lengths]
        rows.append(row(str(number), text_of(context, dice), length, max_tokens=limit))
    return rows


def grouped(groups: int, each: int, prefix_tokens: int, own_tokens: int, output_tokens: int) -> list[Row]:
    """Groups of rows with one long beginning each, in order; `group` names them."""
    dice = random.Random(4)
    rows = []
    for group in range(groups):
        prefix = text_of(prefix_tokens, dice)
        for member in range(each):
            length = max(1, round(output_tokens * math.exp(dice.gauss(0, 0.3))))
            rows.append(row(f"{group}-{member}", prefix + text_of(own_tokens, dice), length, group=f"g{group}"))
    return rows


def shuffled(rows: Iterable[Row]) -> list[Row]:
    mixed = list(rows)
    random.Random(5).shuffle(mixed)
    return mixed


def without_groups(rows: Iterable[Row]) -> list[Row]:
    return [{key: value for key, value in row.items() if key != "group"} for row in rows]


def sequences(rows: Iterable[Row]) -> list[Sequence]:
    """Return the rows as the engines see them."""
    return [sequence_of_body(row["body"]) for row in rows]


def sequence_of_body(body: dict[str, Any], owner: Any = None) -> Sequence:
    """Return what an engine makes of an OpenAI body, chat or completion."""
    prompt = _prompt_of(body)
    told = _LENGTH.search(prompt)
    output = told[1] if told else body.get("max_completion_tokens") or body.get("max_tokens") or 16
    return sequence_of(prompt, int(output), owner)


def _prompt_of(body: dict[str, Any]) -> bytes:
    if "messages" not in body:
        prompt = body.get("prompt", "")
        return (prompt if isinstance(prompt, str) else json.dumps(prompt)).encode()
    contents = (message.get("content") or "" for message in body["messages"])
    return "\n".join(c if isinstance(c, str) else json.dumps(c) for c in contents).encode()


def write(rows: Iterable[Row], path: Path) -> Path:
    with open(path, "w") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return path
