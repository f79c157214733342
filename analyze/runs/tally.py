"""What a run has come to so far: counts, tokens, shares. Fed with outcomes; knows no file."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from analyze.records import Answer, Outcome


@dataclass(slots=True)
class Tally:
    """Counts of this execution. `busy_s` is request time an instance spent, summed over requests in flight at once."""

    ok: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    busy_s: Counter[str] = field(default_factory=Counter)

    def add(self, outcome: Outcome) -> None:
        if not isinstance(outcome, Answer):
            self.failed[outcome.kind] += 1
            return
        self.ok += 1
        for name in ("prompt_tokens", "completion_tokens"):
            count = outcome.usage.get(name)
            self.tokens[name] += count if isinstance(count, int) else 0  # servers may leave it out, or write nonsense
        if outcome.instance is not None:
            self.answers[outcome.instance] += 1
            self.busy_s[outcome.instance] += outcome.latency_s  # type: ignore[assignment] # a Counter adds floats too

    def usage(self) -> dict[str, int]:
        return {name: self.tokens[name] for name in ("prompt_tokens", "completion_tokens")}

    def instances(self) -> list[dict[str, Any]]:
        return [
            {"url": url, "answers": count, "busy_s": round(self.busy_s[url], 2)}
            for url, count in sorted(self.answers.items())
        ]
