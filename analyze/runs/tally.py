"""What outcomes have come to: counts, tokens, and what each instance had of them. Knows no file.

A run's own is of this execution alone: rows that an earlier one has answered are the journal's to know.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from analyze.records import Answer, Failure, Outcome
from analyze.usage import Use


@dataclass(slots=True)
class Share:
    """What one instance had of the work. `busy_s`: time that its requests took, summed over those in flight at once."""

    answers: int = 0
    failures: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    busy_s: float = 0.0


@dataclass(slots=True)
class Tally:
    """Counts of outcomes. `answered_s`: time that the answered requests took, all together. `examples`: the first
    failure of each kind that was added."""

    ok: int = 0
    failed: Counter[str] = field(default_factory=Counter)  # by kind
    prompt_tokens: int = 0
    completion_tokens: int = 0
    answered_s: float = 0.0
    shares: dict[str, Share] = field(default_factory=dict)  # by URL
    examples: dict[str, Failure] = field(default_factory=dict, compare=False)

    def add(self, outcome: Outcome) -> None:
        if isinstance(outcome, Answer):
            self.add_answer(outcome.instance, *tokens_of(outcome.body.get("usage") or {}), outcome.latency_s)
            return
        self.examples.setdefault(outcome.kind, outcome)
        self.add_failures(outcome.kind, outcome.instance)

    def add_failures(self, kind: str, instance: str | None, count: int = 1) -> None:
        self.failed[kind] += count
        if instance is not None:
            self._share(instance).failures += count

    def add_answer(self, instance: str | None, prompt_tokens: int, completion_tokens: int, latency_s: float) -> None:
        self.ok += 1
        self.prompt_tokens += prompt_tokens
        self.completion_tokens += completion_tokens
        self.answered_s += latency_s
        if instance is not None:
            share = self._share(instance)
            share.answers += 1
            share.prompt_tokens += prompt_tokens
            share.completion_tokens += completion_tokens
            share.busy_s += latency_s

    def _share(self, instance: str) -> Share:
        share = self.shares.get(instance)
        if share is None:
            share = self.shares[instance] = Share()
        return share

    @property
    def outcomes(self) -> int:
        return self.ok + self.failed.total()

    def usage(self) -> dict[str, int]:
        return {"prompt_tokens": self.prompt_tokens, "completion_tokens": self.completion_tokens}

    def parts(self, uses: Mapping[str, Use] | None = None) -> list[Part]:
        """Return what each instance did; `uses` is what the fleet has measured of them, by URL."""
        uses = uses or {}
        urls = [*uses, *sorted(self.shares.keys() - uses.keys())]
        return [Part(url, self.shares.get(url) or Share(), uses.get(url)) for url in urls]

    def instances(self, uses: Mapping[str, Use] | None = None) -> list[dict[str, Any]]:
        """Return what each instance did, as manifests hold it."""
        return [part.to_json() for part in self.parts(uses)]


@dataclass(frozen=True, slots=True)
class Part:
    """What one instance did in a run. `use` None: nobody has measured it."""

    url: str
    share: Share
    use: Use | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as manifests hold it."""
        told = {**asdict(self.share), **(asdict(self.use) if self.use else {})}
        return {"url": self.url, **{k: round(v, 4) if isinstance(v, float) else v for k, v in told.items()}}

    @classmethod
    def from_json(cls, record: object) -> Part | None:
        """Read what `to_json` wrote, and what older versions did, which knew less; None for anything else."""
        if not isinstance(record, dict) or not isinstance(record.get("url"), str):
            return None
        share = {f.name: record[f.name] for f in fields(Share) if _is_number(record.get(f.name))}
        use = {f.name: record[f.name] for f in fields(Use) if _fits(f.name, record.get(f.name))}
        has_use = "seconds" in use and "idle_s" in use
        return cls(record["url"], Share(**share), Use(**use) if has_use else None)


def manifest_fields(tally: Tally, uses: Mapping[str, Use] | None, seconds: float) -> dict[str, Any]:
    """Return what a manifest keeps of an execution that took so long."""
    return {"usage": tally.usage(), "instances": tally.instances(uses), "seconds": round(seconds, 1)}


def tokens_of(usage: Mapping[str, Any]) -> tuple[int, int]:
    """Return the tokens in and out that a reply says it took; 0 where it does not say, or writes nonsense.

    The Responses API has other names for them, and so have records of a job's own.
    """
    named = next((names for names in _TOKENS if usage.get(names[0]) is not None), _TOKENS[0])
    prompt, completion = (usage.get(name) for name in named)
    return (prompt if isinstance(prompt, int) else 0, completion if isinstance(completion, int) else 0)


_TOKENS = (("prompt_tokens", "completion_tokens"), ("input_tokens", "output_tokens"), ("prompt", "completion"))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _fits(name: str, value: object) -> bool:
    if name == "reason":
        return isinstance(value, str)
    return isinstance(value, bool) if name == "is_out" else _is_number(value)
