"""Which instance has stopped without saying so: from what it was last heard and seen to do. No I/O, no clock.

A server can take requests, keep the connections open and never answer: frozen as a whole (no byte to anybody), or with
an engine that generates nothing behind a web server that says 200 to /health. Neither closes a connection, so only the
request timeout would tell, minutes later. What tells sooner:

    silent   not a byte for SILENT_S, to requests or to looks at it
    stalled  it answers looks, and for STALLED_S no token came out, no prompt went in, no memory was taken

A long prefill is no stall: its prompt fills the KV cache step by step, which moves a counter, and it is granted a
second for every PREFILL_FLOOR tokens besides. A pause of our own is no silence: the caller reports it (`overslept`).
Knows one instance; whether several stopped together is the fleet's to judge.
"""

from __future__ import annotations

from dataclasses import dataclass

POLL_S = 1.0
"""How often an instance with requests in flight is looked at."""

SILENT_S = 5.0
"""vLLM's web server answers /metrics in milliseconds; tokenising a prompt of 100k tokens blocks it for under 1 s."""

STALLED_S = 10.0
"""An engine moves some counter at every step, tens of times a second."""

WARMING = 3
"""Patience with an instance that has not answered yet: kernels and grammars are compiled for the first request."""

PREFILL_FLOOR = 1000
"""Prompt tokens a second that the slowest server we serve takes in; an H100 does 10,000 for a 30B model."""

MOST_PATIENCE = 12
"""After an instance was taken for stopped and came back, it is given twice the time; at most a minute of silence."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What a server said of itself in /metrics. `moving` are counters of which any moves while it works.

    `kv_cache` is the share of that memory in use, of the fullest engine; `preempted` how often a running request had
    to give its share back and start anew. None: it does not tell.
    """

    running: int
    waiting: int
    moving: tuple[float, ...]
    kv_cache: float | None = None
    preempted: int | None = None

    @property
    def is_busy(self) -> bool:
        return self.running + self.waiting > 0


@dataclass(slots=True)
class Watch:
    """The last signs of life of one instance (seconds, as `now`)."""

    heard_at: float = 0.0  # a byte came
    moved_at: float = 0.0  # something was generated
    patience: int = 1
    _moving: tuple[float, ...] | None = None  # None: it has never told
    _is_busy: bool = False  # as it says itself
    _excused_at: float = 0.0

    def began(self, now: float) -> None:
        """The instance has work after having had none: time spent idle is no silence."""
        self.heard_at = self.moved_at = now

    def answered(self, now: float) -> None:
        self.heard_at = self.moved_at = now

    def heard(self, now: float) -> None:
        """It answered a look."""
        if (unseen_s := now - self.heard_at - POLL_S) > POLL_S / 2:
            self.moved_at += unseen_s  # what it did meanwhile nobody could see
        self.heard_at = now

    def sampled(self, sample: Sample, now: float) -> None:
        """It told what it does."""
        self.heard(now)
        self._is_busy = sample.is_busy
        if sample.moving != self._moving:
            self._moving, self.moved_at = sample.moving, now

    def overslept(self, pause_s: float) -> None:
        """We did not look for `pause_s`, nor could we hear: it says nothing about the instance."""
        self.heard_at += pause_s
        self.moved_at += pause_s

    def stopped(
        self, now: float, *, longest_prompt_tokens: int, has_answered: bool, is_awaited: bool = True
    ) -> str | None:
        """Return what is wrong with an instance that has requests in flight, None while it may be at work.

        `is_awaited`: a reply has yet to begin. Of one that has, the rest may have come, and wait for a slow reader.
        """
        patience = self.patience * (1 if has_answered else WARMING)
        silent_s = now - max(self.heard_at, self._excused_at)
        still_s = now - max(self.moved_at, self._excused_at)
        if silent_s > SILENT_S * self.patience:
            return f"not a sign of life for {silent_s:.0f} s"
        if self._moving is None or not (is_awaited or self._is_busy):
            return None
        if still_s > STALLED_S * patience + longest_prompt_tokens / PREFILL_FLOOR:
            return f"it takes requests and generates nothing, for {still_s:.0f} s"
        return None

    def is_heard(self, now: float) -> bool:
        """Whether it gave a sign of life just now: with the last look, or the one before."""
        return now - self.heard_at <= 2 * POLL_S

    def is_moving(self, now: float) -> bool:
        """Whether it generated something not long ago, as far as it tells."""
        return self._moving is None or now - self.moved_at <= STALLED_S / 2

    def excused(self, now: float) -> None:
        """What it did until now does not speak against it."""
        self._excused_at = now

    def was_wrong(self) -> None:
        """The instance is back after it was taken for stopped; that may have been a mistake."""
        self.patience = min(MOST_PATIENCE, self.patience * 2)
