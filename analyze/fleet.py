"""Who is next, who is out, who may come back: the decisions, and nothing else. No I/O, no clock, no lock.

The caller says what happened and what time it is (`now`, seconds of any monotonic clock) and is told what to do.
One Fleet belongs to one event loop, which is why it needs no lock.

    pick ──> sent ──> given_back                      load: counted before the send, returned on every way out
               ├────> answered                        clears the strikes, and what doubled below
               ├────> busy ────> rests, twice as long each time; picked by nobody meanwhile
               ├────> failed ──> out after STRIKES    (at once when nothing listens)
               └────> forgiven                        the row was at fault, not the instance
    out ──> due ──> probed ok ──> up
                      └─ not ok ─> out, asked again later, twice as late each time

The fleet stands still while every instance is out, or has said nothing but that it is busy.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from analyze.errors import UsageError

POLICIES = ("round_robin",)

STRIKES = 3
"""Failures in a row that put an instance out. One may be the row's fault, two a restarting proxy's."""

FIRST_PROBE_S = 0.5
LAST_PROBE_S = 10.0
"""An instance that is out is looked at after 0.5 s, 1 s, 2 s ... and from then on every 10 s. Only an answer starts
that anew, not a good probe: a server may look healthy and break on every request."""

FIRST_REST_S = 0.5
LAST_REST_S = 10.0
"""Rest after 429 or 503 (vLLM's 503 has no Retry-After), doubled each time until an answer comes."""

BUSY = "it says that it is busy"


@dataclass(slots=True, eq=False)
class Instance:
    """One vLLM server as the fleet knows it. Changed only by the methods of its Fleet.

    `in_flight` requests are out to it now; `strikes` failures came in a row; `models` it must serve to come back.
    `proven`: the last it did was to answer. `useless_since` it is out, or says that it is busy (seconds, as `now`).
    """

    url: str
    in_flight: int = 0
    state: Literal["up", "out"] = "up"
    strikes: int = 0
    reason: str | None = None  # why it is of no use
    models: tuple[str, ...] | None = None
    answers: int = 0
    proven: bool = False
    useless_since: float | None = None
    rest_until: float = 0.0
    rest_s: float = 0.0  # the last rest, 0 when the last busy answer is made good
    probe_at: float = 0.0
    probe_wait_s: float = FIRST_PROBE_S  # before the next probe

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

    @property
    def standstill_since(self) -> float | None:
        """Since when no instance has been of use, None while one is."""
        since = [i.useless_since for i in self.instances if i.useless_since is not None]
        return max(since) if len(since) == len(self.instances) else None

    def has_other(self, instance: Instance) -> bool:
        """Return whether an instance besides this one is up."""
        return any(other is not instance for other in self.up)

    def pick(self, now: float, avoid: Collection[Instance] = ()) -> Instance | None:
        """Return the instance to ask next, or None when all are out or at rest.

        Among those that are up and least loaded, the next in turn: one request at a time gives the strict rotation
        1, 2, 3, 4, 1. Instances in `avoid` (they failed this very request) are taken only if no other is up; one
        that is at rest is waited for first.
        """
        awake = [i for i in self._candidates(avoid) if i.rest_until <= now]
        if not awake:
            return None
        count = len(self.instances)
        chosen = min(awake, key=lambda i: (i.in_flight, (self.instances.index(i) - self._turn) % count))
        self._turn = (self.instances.index(chosen) + 1) % count
        return chosen

    def wakes_at(self, avoid: Collection[Instance] = ()) -> float | None:
        """Return when the first rest ends that `pick` waits for, None when all are out."""
        return min((i.rest_until for i in self._candidates(avoid)), default=None)

    def _candidates(self, avoid: Collection[Instance]) -> list[Instance]:
        return [i for i in self.up if i not in avoid] or self.up

    def sent(self, instance: Instance) -> None:
        instance.in_flight += 1

    def given_back(self, instance: Instance) -> None:
        instance.in_flight -= 1

    def answered(self, instance: Instance) -> None:
        instance.answers += 1
        instance.proven = True
        instance.strikes, instance.rest_s, instance.probe_wait_s = 0, 0.0, FIRST_PROBE_S
        if instance.is_up:
            instance.useless_since = instance.reason = None

    def busy(self, instance: Instance, now: float, retry_after_s: float | None = None) -> None:
        """Let an instance rest that said it is busy: as long as it asks for, at most LAST_REST_S, else ever longer."""
        if now < instance.rest_until:
            return  # it was asked before this rest began, which is no news
        if instance.is_up:
            instance.reason = BUSY
            if now > instance.rest_until + LAST_REST_S:
                instance.rest_s, instance.useless_since = 0.0, None  # nobody has asked it for long
        instance.rest_s = min(LAST_REST_S, instance.rest_s * 2 or FIRST_REST_S)
        instance.rest_until = now + min(LAST_REST_S, retry_after_s or instance.rest_s)
        if instance.useless_since is None:
            instance.useless_since = now

    def failed(self, instance: Instance, reason: str, now: float, *, gone: bool = False) -> bool:
        """Count a failure that speaks of the instance; return whether it is put out by it.

        `gone`: nothing listens at its address, so there is nothing to wait for.
        """
        instance.proven = False
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
        """Put an instance out that was found unfit by other means than failures."""
        if instance.is_up:
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
            instance.useless_since, instance.rest_s, instance.rest_until = None, 0.0, 0.0
            return
        instance.reason = problem
        self._probe_later(instance, now)

    def _put_out(self, instance: Instance, reason: str, now: float) -> None:
        instance.state, instance.reason = "out", reason
        if instance.useless_since is None:
            instance.useless_since = now
        self._probe_later(instance, now)

    def _probe_later(self, instance: Instance, now: float) -> None:
        instance.probe_at = now + instance.probe_wait_s
        instance.probe_wait_s = min(LAST_PROBE_S, instance.probe_wait_s * 2)
