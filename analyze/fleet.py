"""Who is next, who is out, who may come back: the decisions, and nothing else. No I/O, no clock, no lock.

The caller says what happened and what time it is (`now`, seconds of any monotonic clock) and is told what to do.
One Fleet belongs to one event loop, which is why it needs no lock.

    pick ──> sent ──> given_back                      load: counted before the send, returned on every way out
               ├────> answered                        clears the strikes
               ├────> failed ──> out after STRIKES    (at once when nothing listens)
               └────> forgiven                        the row was at fault, not the instance
    out ──> due ──> probed ok ──> up
                      └─ not ok ─> out, asked again later
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from analyze.errors import UsageError

POLICIES = ("round_robin",)

STRIKES = 3
"""Failures in a row that put an instance out. One may be the row's fault, two a restarting proxy's."""

FIRST_PROBE_S = 0.5
LAST_PROBE_S = 10.0
"""An instance that is out is looked at after 0.5 s, 1 s, 2 s ... and from then on every 10 s."""


@dataclass(slots=True, eq=False)
class Instance:
    """One vLLM server as the fleet knows it. Changed only by the methods of its Fleet.

    `in_flight` requests are out to it now; `strikes` failures came in a row; `models` it must serve to come back.
    """

    url: str
    in_flight: int = 0
    state: Literal["up", "out"] = "up"
    strikes: int = 0
    reason: str | None = None  # why it is out
    models: tuple[str, ...] | None = None
    answers: int = 0
    probe_at: float = 0.0
    probe_wait_s: float = field(default=FIRST_PROBE_S)

    @property
    def is_up(self) -> bool:
        return self.state == "up"


class Fleet:
    """The instances that serve one model."""

    def __init__(self, urls: Sequence[str], policy: str = "round_robin") -> None:
        if not urls:
            raise UsageError("no server address is given", cure="give at least one base URL, or VLLM_PORTS")
        if policy not in POLICIES:
            raise UsageError(f"policy={policy!r} is not known", cure=f"use one of: {', '.join(POLICIES)}")
        # The shared state of the client: every field of these, and the turn, changed only by the methods below.
        self.instances = [Instance(url) for url in dict.fromkeys(urls)]
        self._turn = 0

    def __repr__(self) -> str:
        shown = (f"{i.url} {i.state} {i.in_flight} in flight, {i.answers} answered" for i in self.instances)
        return f"<Fleet [{' | '.join(shown)}]>"

    @property
    def up(self) -> list[Instance]:
        return [instance for instance in self.instances if instance.is_up]

    def pick(self, avoid: Collection[Instance] = ()) -> Instance | None:
        """Return the instance to ask next, or None when all are out.

        Among those that are up and least loaded, the next in turn: one request at a time gives the strict rotation
        1, 2, 3, 4, 1. Instances in `avoid` (they failed this very request) are taken only if no other is up.
        """
        up = [i for i in self.up if i not in avoid] or self.up
        if not up:
            return None
        count = len(self.instances)
        chosen = min(up, key=lambda i: (i.in_flight, (self.instances.index(i) - self._turn) % count))
        self._turn = (self.instances.index(chosen) + 1) % count
        return chosen

    def sent(self, instance: Instance) -> None:
        instance.in_flight += 1

    def given_back(self, instance: Instance) -> None:
        instance.in_flight -= 1

    def answered(self, instance: Instance) -> None:
        instance.strikes = 0
        instance.answers += 1

    def failed(self, instance: Instance, reason: str, now: float, *, gone: bool = False) -> bool:
        """Count a failure that speaks of the instance; return whether it is put out by it.

        `gone`: nothing listens at its address, so there is nothing to wait for.
        """
        instance.strikes = STRIKES if gone else instance.strikes + 1
        if not instance.is_up or instance.strikes < STRIKES:
            return False
        self._put_out(instance, reason, now)
        return True

    def forgiven(self, instances: Iterable[Instance]) -> None:
        """Return one strike each: several instances failed the same row, so the row was at fault."""
        for instance in instances:
            instance.strikes = max(0, instance.strikes - 1)

    def hold_out(self, instance: Instance, reason: str, now: float) -> None:
        """Put an instance out that was found unfit before anything was sent to it."""
        self._put_out(instance, reason, now)

    def due(self, now: float) -> list[Instance]:
        """Return the instances to probe at `now`."""
        return [i for i in self.instances if not i.is_up and i.probe_at <= now]

    def next_probe_at(self) -> float | None:
        """Return when the next probe is due, None when nobody is out."""
        return min((i.probe_at for i in self.instances if not i.is_up), default=None)

    def probed(self, instance: Instance, problem: str | None, now: float) -> None:
        """Take note of a probe: no `problem` brings the instance back, with a clean sheet."""
        if problem is None:
            instance.state, instance.reason, instance.strikes = "up", None, 0
            instance.probe_wait_s = FIRST_PROBE_S
            return
        instance.reason = problem
        instance.probe_wait_s = min(LAST_PROBE_S, instance.probe_wait_s * 2)
        instance.probe_at = now + instance.probe_wait_s

    def _put_out(self, instance: Instance, reason: str, now: float) -> None:
        instance.state, instance.reason = "out", reason
        instance.probe_wait_s = FIRST_PROBE_S
        instance.probe_at = now + FIRST_PROBE_S
