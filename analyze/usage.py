"""What each instance was used for over a run: busy or idle, out, how full. No I/O, no clock.

    sent, given back ──> in flight: mean, most; the time without any
    put out, back    ──> the time out, and why
    /metrics         ──> running, waiting, KV cache: mean and most; preemptions

What a server does not tell is None, never zero. Knows one instance; who is asked how often, others count.
"""

from __future__ import annotations

from dataclasses import dataclass

from analyze.watch import POLL_S, Sample


@dataclass(frozen=True, slots=True)
class Use:
    """One instance from the run's first request to its last reply, `seconds` later.

    `idle_s` it had nothing in flight, `out_s` (some of that) it was out, because of `reason`. Means of what it told are
    over the `observed_s` in which it was looked at: while it had requests in flight.
    """

    seconds: float
    idle_s: float
    out_s: float = 0.0
    is_out: bool = False  # at the end
    reason: str | None = None
    in_flight_mean: float = 0.0
    in_flight_most: int = 0
    observed_s: float = 0.0
    running_mean: float | None = None
    running_most: int | None = None
    waiting_mean: float | None = None
    waiting_most: int | None = None
    kv_cache_mean: float | None = None
    kv_cache_most: float | None = None
    preempted: int | None = None

    @property
    def idle(self) -> float:
        """The share of time without anything in flight."""
        return self.idle_s / self.seconds if self.seconds > 0 else 0.0

    @property
    def out(self) -> float:
        """The share of time out."""
        return self.out_s / self.seconds if self.seconds > 0 else 0.0


@dataclass(slots=True)
class _Gauge:
    """The mean, over time, and the most of what is told now and then. Some servers do not tell it."""

    area: float = 0.0
    seconds: float = 0.0
    most: float | None = None

    def told(self, value: float | None, seconds: float) -> None:
        if value is not None:
            self.area += value * seconds
            self.seconds += seconds
            self.most = value if self.most is None else max(self.most, value)

    @property
    def mean(self) -> float | None:
        return self.area / self.seconds if self.seconds > 0 else None


class Meter:
    """Adds up what one instance is used for. Times in seconds, as `now`; `in_flight` is what was so until then."""

    __slots__ = (
        "_area",
        "_busy_s",
        "_kv_cache",
        "_most",
        "_out_s",
        "_out_since",
        "_preempted",
        "_preempted_since",
        "_reason",
        "_running",
        "_sampled_at",
        "_waiting",
        "changed_at",
    )

    def __init__(self) -> None:
        self.changed_at = 0.0  # the number in flight did, last
        self._busy_s = self._area = 0.0
        self._most = 0
        self._out_s = 0.0
        self._out_since: float | None = None
        self._reason: str | None = None
        self._sampled_at: float | None = None
        self._running, self._waiting, self._kv_cache = _Gauge(), _Gauge(), _Gauge()
        self._preempted: int | None = None
        self._preempted_since: int | None = None  # what the counter said last

    def sent(self, in_flight: int, now: float) -> None:
        if in_flight:
            self._add(in_flight, now)
        self.changed_at = now
        if in_flight >= self._most:
            self._most = in_flight + 1

    def given_back(self, in_flight: int, now: float) -> None:
        self._add(in_flight, now)
        self.changed_at = now

    def _add(self, in_flight: int, now: float) -> None:
        passed_s = now - self.changed_at
        self._busy_s += passed_s
        self._area += passed_s * in_flight

    def put_out(self, reason: str, now: float) -> None:
        self._out_since, self._reason = now, reason

    def came_back(self, now: float, began: float | None) -> None:
        """`began`: since when the run goes on, None: it has yet to begin."""
        self._out_s += self._out_until(now, now if began is None else began)
        self._out_since = None

    def _out_until(self, now: float, began: float) -> float:
        return 0.0 if self._out_since is None else max(0.0, now - max(began, self._out_since))

    def sampled(self, sample: Sample, now: float) -> None:
        """It told what it does, which is taken to hold since the last time, a look ago at most."""
        passed_s = POLL_S if self._sampled_at is None else min(POLL_S, now - self._sampled_at)
        self._sampled_at = now
        self._running.told(sample.running, passed_s)
        self._waiting.told(sample.waiting, passed_s)
        self._kv_cache.told(sample.kv_cache, passed_s)
        if sample.preempted is not None:
            before = sample.preempted if self._preempted_since is None else self._preempted_since
            grown = sample.preempted - before
            self._preempted = (self._preempted or 0) + (grown if grown >= 0 else sample.preempted)  # it was restarted
            self._preempted_since = sample.preempted

    def use(self, in_flight: int, began: float, ended: float) -> Use:
        """Return what it was used for between `began` and `ended`; `in_flight` is what is out now."""
        seconds = max(0.0, ended - began)
        still_s = max(0.0, ended - self.changed_at) if in_flight else 0.0
        running, waiting = self._running, self._waiting
        return Use(
            seconds=seconds,
            idle_s=max(0.0, seconds - self._busy_s - still_s),
            out_s=self._out_s + self._out_until(ended, began),
            is_out=self._out_since is not None,
            reason=self._reason,
            in_flight_mean=(self._area + still_s * in_flight) / seconds if seconds > 0 else 0.0,
            in_flight_most=self._most,
            observed_s=running.seconds,
            running_mean=running.mean,
            running_most=None if running.most is None else int(running.most),
            waiting_mean=waiting.mean,
            waiting_most=None if waiting.most is None else int(waiting.most),
            kv_cache_mean=self._kv_cache.mean,
            kv_cache_most=self._kv_cache.most,
            preempted=self._preempted,
        )
