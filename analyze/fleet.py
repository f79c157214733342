"""Who is next, who is out, who may come back: the decisions, and nothing else. No I/O, no clock, no lock.

The caller says what happened and what time it is (`now`, seconds of any monotonic clock) and is told what to do.
One Fleet belongs to one event loop, which is why it needs no lock.

    pick ──> sent ──> given_back                      load: counted before the send, returned on every way out
               ├────> answered                        clears the strikes, and what doubled below
               ├────> busy ────> rests, twice as long each time; picked by nobody meanwhile
               ├────> failed ──> out after STRIKES    (at once when nothing listens)
               └────> hung ────> out, if half of those that can be reached stay in
    out ──> due ──> probed ok ──> up, with one request at first, one more after each answer; one failure: out
                      └─ not ok ─> out, asked again later, twice as late each time

The fleet stands still while every instance is out, or has said nothing but that it is busy.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from math import ceil, inf
from typing import Literal

from analyze.errors import UsageError
from analyze.prefixes import PrefixMap
from analyze.usage import Meter, Use
from analyze.watch import Sample, Watch
from analyze.windows import Window

POLICIES = ("round_robin", "least_loaded", "prefix_affinity")

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

RAMPED = 64
"""Requests in flight at which an instance that came back counts as whole again."""

CROWD = 1.25
"""A prefix keeps its instance up to this many times the mean load (bounded loads: Mirrokni et al. 2017)."""

COMPANY = 4
"""Requests in flight that are never a crowd: an engine serves so few in one step as fast as one."""


@dataclass(frozen=True, slots=True)
class Model:
    """What a server says it serves: the name, where the weights come from, how long a context it takes."""

    name: str
    root: str | None = None
    max_model_len: int | None = None

    def __str__(self) -> str:
        of = f" from {self.root}" if self.root not in (None, self.name) else ""
        return f"{self.name}{of}" + (f" ({self.max_model_len} tokens)" if self.max_model_len else "")

    def is_served_as(self, served: Model) -> bool:
        """Whether `served` is this model, as far as both servers tell."""
        pairs = ((self.root, served.root), (self.max_model_len, served.max_model_len))
        return self.name == served.name and all(None in pair or pair[0] == pair[1] for pair in pairs)


@dataclass(frozen=True, slots=True)
class InstanceReport:
    """What one address said when it was looked at: the models it serves, or the problem with it."""

    url: str
    models: tuple[Model, ...] = ()
    problem: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(model.name for model in self.models)


@dataclass(slots=True, eq=False)
class Instance:
    """One vLLM server as the fleet knows it. Changed only by the methods of its Fleet.

    `in_flight` requests are out to it now, which weigh `load` (expected tokens); `foreign` requests of others wait
    there. `strikes` failures came in a row. `models`: what it must still serve to come back, None while not known.
    `useless_since` it is out, or says that it is busy (seconds, as `now`).
    `admits`: how many it may hold while it proves itself after a return, None once it has.
    """

    url: str
    number: int = 0
    in_flight: int = 0
    load: float = 0.0
    foreign: int = 0
    state: Literal["up", "out"] = "up"
    strikes: int = 0
    reason: str | None = None  # why it is of no use
    models: tuple[Model, ...] | None = None
    answers: int = 0
    deaths: int = 0
    died_at: float | None = None  # last
    well: bool = False  # it was well when last heard of, so that a fault right after may be a death
    reachable: bool = True  # something listens at its address, as far as is known
    must_generate: bool = False  # it failed while it looked healthy: looking healthy is not enough to come back
    is_doubted: bool = False  # it is out because it seemed to have stopped, which may be wrong
    admits: int | None = None
    useless_since: float | None = None
    rest_until: float = 0.0
    rest_s: float = 0.0  # the last rest, 0 when the last busy answer is made good
    probe_at: float = 0.0
    probe_wait_s: float = FIRST_PROBE_S  # before the next probe
    window: Window = field(default_factory=Window)
    watch: Watch = field(default_factory=Watch)
    meter: Meter = field(default_factory=Meter)

    @property
    def is_up(self) -> bool:
        return self.state == "up"

    def room(self, *, near_the_end: bool = False) -> int:
        """Return how many more requests of a bulk run it may take."""
        size = self.window.spare_size if near_the_end else self.window.size
        return (size if self.admits is None else min(size, self.admits)) - self.in_flight


class Fleet:
    """The instances that serve one model."""

    def __init__(self, urls: Sequence[str], policy: str = "round_robin") -> None:
        if not urls:
            raise UsageError("no server address is given", cure="give at least one base URL, or VLLM_PORTS")
        if policy not in POLICIES:
            raise UsageError(f"policy={policy!r} is not known", cure=f"use one of: {', '.join(POLICIES)}")
        # The shared state of the client: each field of these and below, changed only by the methods below.
        self.instances = [Instance(url, number) for number, url in enumerate(dict.fromkeys(urls))]
        self.policy = policy
        self._turn = 0
        self._began_at: float | None = None  # the first request was sent
        self._homes: PrefixMap[tuple[Instance, ...]] = PrefixMap()  # who was asked with which beginning

    def __repr__(self) -> str:
        shown = (f"{i.url} {i.state} {i.in_flight} in flight, {i.answers} answered" for i in self.instances)
        return f"<Fleet [{' | '.join(shown)}]>"

    @property
    def up(self) -> list[Instance]:
        return [instance for instance in self.instances if instance.is_up]

    @property
    def standstill_since(self) -> float | None:
        """Since when no instance has been of use, None while one is. One that is busy with our requests is."""
        useless = (i for i in self.instances if not (i.is_up and i.in_flight))
        since = [i.useless_since for i in useless if i.useless_since is not None]
        return max(since) if len(since) == len(self.instances) else None

    def has_other(self, instance: Instance) -> bool:
        """Return whether an instance besides this one is up."""
        return any(other is not instance for other in self.up)

    # -- who is next -------------------------------------------------------------------------------------------

    def pick(self, now: float, avoid: Collection[Instance] = (), prefix: Sequence[int] = ()) -> Instance | None:
        """Return the instance to ask next, or None when all are out or at rest.

        Among those that are up and least loaded, the next in turn: one request at a time gives the strict rotation
        1, 2, 3, 4, 1. Load is the number in flight (`round_robin`) or their weight. With `prefix_affinity` a known
        `prefix` (`prefixes.chain`) goes where it went before, as long as that is no crowd. Instances in `avoid` (they
        failed this very request) are taken only if no other is up; one that is at rest is waited for first.
        """
        awake = [i for i in self._candidates(avoid) if i.rest_until <= now]
        if not awake:
            return None
        free = [i for i in awake if i.admits is None or i.in_flight < i.admits] or awake
        by_prefix = prefix and self.policy == "prefix_affinity"
        chosen = self._by_prefix(free, prefix) if by_prefix else self._least(free)
        self._turn = chosen.number + 1
        return chosen

    def _least(self, free: list[Instance]) -> Instance:
        count, turn = len(self.instances), self._turn
        if self.policy == "round_robin":
            return min(free, key=lambda i: (i.in_flight + i.foreign, (i.number - turn) % count))
        total, in_flight = sum(i.load for i in free), sum(i.in_flight for i in free)
        typical = total / in_flight if in_flight else 1.0
        return min(free, key=lambda i: (i.load + i.foreign * typical, (i.number - turn) % count))

    def _by_prefix(self, free: list[Instance], prefix: Sequence[int]) -> Instance:
        """Return where this beginning was asked before; where that is a crowd, the least loaded has it too from now."""
        known, _ = self._homes.longest(prefix)
        homes = [home for home in known or () if home in free]
        load = sum(i.in_flight + i.foreign for i in free) + 1
        crowd = max(COMPANY, ceil(CROWD * load / len(free)))
        chosen = next((home for home in homes if home.in_flight + home.foreign < crowd), None)
        if chosen is None or len(homes) == len(free):
            chosen = self._least(free)
        self._homes.remember(prefix, tuple(dict.fromkeys((*homes, chosen))))
        return chosen

    def with_room(self, now: float, *, near_the_end: bool = False) -> Instance | None:
        """Return the instance that is to take the next row of a bulk run: the emptiest, None when all are full."""
        emptiest, least = None, inf
        for i in self.instances:
            fullness = i.in_flight / i.window.size
            if fullness < least and i.is_up and i.rest_until <= now and i.room(near_the_end=near_the_end) > 0:
                emptiest, least = i, fullness
        return emptiest

    def room(self, now: float) -> int:
        """Return how many more rows of a bulk run could be out."""
        return sum(max(0, i.room()) for i in self.instances if i.is_up and i.rest_until <= now)

    def wakes_at(self, avoid: Collection[Instance] = ()) -> float | None:
        """Return when the first rest ends that `pick` waits for, None when all are out."""
        return min((i.rest_until for i in self._candidates(avoid)), default=None)

    def _candidates(self, avoid: Collection[Instance]) -> list[Instance]:
        return [i for i in self.up if i not in avoid] or self.up

    # -- what became of a request ------------------------------------------------------------------------------

    def sent(self, instance: Instance, now: float, weight: float = 1.0) -> None:
        if instance.in_flight == 0:
            instance.watch.began(now)
            instance.foreign = 0  # nobody has looked since
        if self._began_at is None:
            self._began_at = now
        instance.meter.sent(instance.in_flight, now)
        instance.in_flight += 1
        instance.load += weight

    def given_back(self, instance: Instance, now: float, weight: float = 1.0) -> None:
        instance.meter.given_back(instance.in_flight, now)
        instance.in_flight -= 1
        instance.load = instance.load - weight if instance.in_flight else 0.0  # no rounding is carried on

    def answered(self, instance: Instance, now: float) -> None:
        instance.answers += 1
        instance.reachable = instance.well = True
        instance.watch.answered(now)
        instance.strikes, instance.rest_s, instance.probe_wait_s = 0, 0.0, FIRST_PROBE_S
        if instance.admits is not None:
            instance.admits = None if instance.admits >= RAMPED else instance.admits + 1
        if instance.is_up:
            instance.useless_since = instance.reason = None

    def streamed(self, instance: Instance, now: float) -> None:
        """A part of a reply came."""
        instance.watch.answered(now)

    def busy(self, instance: Instance, now: float, retry_after_s: float | None = None) -> None:
        """Let an instance rest that said it is busy: as long as it asks for, at most LAST_REST_S, else ever longer."""
        if now < instance.rest_until:
            return  # it was asked before this rest began, which is no news
        if instance.is_up:
            instance.reason = BUSY
            if now > instance.rest_until + LAST_REST_S:
                instance.rest_s, instance.useless_since = 0.0, None  # nobody has asked it for long
        instance.window.refused()
        instance.rest_s = min(LAST_REST_S, instance.rest_s * 2 or FIRST_REST_S)
        instance.rest_until = now + min(LAST_REST_S, retry_after_s or instance.rest_s)
        if instance.useless_since is None:
            instance.useless_since = now

    def failed(self, instance: Instance, reason: str, now: float, *, gone: bool = False) -> bool:
        """Count a failure that speaks of the instance; return whether it is put out by it.

        `gone`: nothing listens at its address, so there is nothing to wait for. One that was well has died.
        """
        instance.reachable = not gone
        if gone:
            self.died(instance, now)
        instance.strikes = STRIKES if gone else instance.strikes + 1
        if not instance.is_up or instance.strikes < STRIKES:
            return False
        instance.must_generate = not gone
        self._put_out(instance, reason, now)
        return True

    def hung(self, instance: Instance, reason: str, now: float) -> bool:
        """Put an instance out that has stopped without saying so; return whether its requests are to be taken back.

        Half of the instances that can be reached stay in, whatever happens.
        """
        reachable = [i for i in self.instances if i.reachable]
        staying = [i for i in reachable if i.is_up and i is not instance]
        if instance.is_up and 2 * len(staying) < len(reachable):
            return False
        instance.must_generate = instance.is_doubted = True
        self.died(instance, now)
        self.hold_out(instance, reason, now)
        return True

    def excuse_shared_stall(self, now: float) -> None:
        """Hold it against nobody while most are silent, or still: then it is the network, the work, or this process."""
        working = [i for i in self.instances if i.in_flight]
        heard, moving = sum(i.watch.is_heard(now) for i in working), sum(i.watch.is_moving(now) for i in working)
        if 2 * min(heard, moving) < len(working) > 1:
            for instance in working:
                instance.watch.excused(now)

    def died(self, instance: Instance, now: float) -> None:
        """Count the death of an instance that was well: what was in flight there may have caused it."""
        if instance.well:
            instance.well, instance.died_at = False, now
            instance.deaths += 1

    def known(self, instance: Instance, models: tuple[Model, ...]) -> None:
        """Take note of what an instance serves: it must serve the same to come back."""
        instance.well = True
        if instance.models is None:
            instance.models = models

    def required(self, instance: Instance, name: str) -> None:
        """Only this model of those it serves matters."""
        instance.models = tuple(model for model in instance.models or () if model.name == name) or (Model(name),)

    def sampled(self, instance: Instance, sample: Sample | None, now: float) -> None:
        """Take in what an instance said of itself in /metrics; None: it is no vLLM and does not tell."""
        instance.well = True
        if sample is None:
            instance.watch.heard(now)
            instance.window.unseen()
            return
        instance.watch.sampled(sample, now)
        instance.meter.sampled(sample, now)
        instance.window.seen(sample.running, sample.waiting, instance.in_flight)
        others = sample.running + sample.waiting - instance.in_flight
        instance.foreign = max(0, others) if sample.waiting else 0

    def hold_out(self, instance: Instance, reason: str, now: float) -> None:
        """Put an instance out that was found unfit by other means than failures."""
        if instance.is_up:
            self._put_out(instance, reason, now)

    def uses(self, now: float) -> dict[str, Use]:
        """Return what each was used for, by URL: from the first request to the last reply (`now` if any is due)."""
        began = now if self._began_at is None else self._began_at
        is_over = not any(i.in_flight for i in self.instances)
        ended = max(began, *(i.meter.changed_at for i in self.instances)) if is_over else now
        return {i.url: i.meter.use(i.in_flight, began, ended) for i in self.instances}

    # -- who comes back ----------------------------------------------------------------------------------------

    def next_probe_at(self) -> float | None:
        """Return when the next probe is due, None when nobody is out."""
        return min((i.probe_at for i in self.instances if not i.is_up), default=None)

    def probed(self, instance: Instance, problem: str | None, now: float) -> None:
        """Take note of a probe: no `problem` brings the instance back, on trial: one request, one failure ends it."""
        if problem is None:
            instance.meter.came_back(now, self._began_at)
            instance.state, instance.reason, instance.strikes = "up", None, STRIKES - 1
            instance.useless_since, instance.rest_s, instance.rest_until = None, 0.0, 0.0
            instance.reachable, instance.admits, instance.foreign = True, 1, 0
            instance.must_generate = False
            if instance.is_doubted:
                instance.is_doubted = False
                instance.watch.was_wrong()
            return
        instance.reason = problem
        self._probe_later(instance, now)

    def _put_out(self, instance: Instance, reason: str, now: float) -> None:
        if instance.useless_since is None or (instance.is_up and now > instance.rest_until + LAST_REST_S):
            instance.useless_since = now  # that it was busy is long past
        instance.state, instance.reason = "out", reason
        instance.meter.put_out(reason, now)
        self._probe_later(instance, now)

    def _probe_later(self, instance: Instance, now: float) -> None:
        instance.probe_at = now + instance.probe_wait_s
        instance.probe_wait_s = min(LAST_PROBE_S, instance.probe_wait_s * 2)
