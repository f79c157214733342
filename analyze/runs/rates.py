"""How fast a run is, and how long it will take. Pure: fed with a tally, it knows no clock and no screen."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from analyze.runs.tally import Tally

RECENT_S = 30.0
LATENCIES = 2
MOST_RECENT_S = 3600.0
"""Rates are those of the last 30 s, or of twice the time that an answer takes where that is more, an hour at most:
within less than that, whether answers of a slow server come is chance."""

LOOK_EVERY_S = 1.0


class Rate(NamedTuple):
    """What is done a second: requests, and the tokens of their prompts and answers."""

    requests: float
    prompt_tokens: float
    completion_tokens: float

    @property
    def tokens(self) -> float:
        return self.prompt_tokens + self.completion_tokens


class _Look(NamedTuple):
    at: float
    requests: int
    prompt_tokens: int
    completion_tokens: int

    def rate_until(self, later: _Look) -> Rate:
        seconds = later.at - self.at
        if seconds <= 0:
            return Rate(0.0, 0.0, 0.0)
        return Rate(*((new - old) / seconds for old, new in zip(self[1:], later[1:], strict=True)))


class Rates:
    """How fast a run is, by what its tally was at earlier looks. Times in seconds, as `now`."""

    def __init__(self, tally: Tally, now: float) -> None:
        self._tally = tally
        self.begin(now)

    def begin(self, now: float) -> None:
        """Nothing has been asked before this."""
        self._first = self._look(now)
        self._looks = deque([self._first])

    def recent(self, now: float) -> Rate:
        """Look at the tally, and return how fast it grows of late."""
        tally, looks = self._tally, self._looks
        latency_s = tally.answered_s / tally.ok if tally.ok else 0.0
        since = now - min(MOST_RECENT_S, max(RECENT_S, LATENCIES * latency_s))
        while len(looks) > 1 and looks[1].at <= since:
            looks.popleft()
        look = self._look(now)
        if now - looks[-1].at >= LOOK_EVERY_S:
            looks.append(look)
        return looks[0].rate_until(look)

    def overall(self, now: float) -> Rate:
        return self._first.rate_until(self._look(now))

    def _look(self, now: float) -> _Look:
        return _Look(now, self._tally.outcomes, self._tally.prompt_tokens, self._tally.completion_tokens)


def seconds_left(requests_left: float | None, tokens_left: float | None, tally: Tally, rate: Rate) -> float | None:
    """Return when all will be done at this rate; None where nobody can know.

    Tokens tell it, since rows differ in length: the expected ones, else as many a request as there were so far.
    """
    if tokens_left is None and requests_left is not None and tally.outcomes:
        tokens_left = requests_left * (tally.prompt_tokens + tally.completion_tokens) / tally.outcomes
    if tokens_left and rate.tokens > 0:
        return tokens_left / rate.tokens
    return requests_left / rate.requests if requests_left is not None and rate.requests > 0 else None
