"""The end of a bulk run: which of the rows still out is worth asking a second time, where a server stands idle.

Pure: knows rows as handles with the time they were sent, no server, no clock. A second ask is bought with tokens that
nobody needs, and a long answer is no faster for being asked twice. So there are few: SHARE of all asks, of rows whose
own server is slow, by what it usually takes, and of rows that take longer than any answer has.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from math import inf

SHARE = 0.02
"""Second asks to all asks, at most."""

UNUSUAL = 1.5
"""A second ask must be expected to save half of its time, and a row is stuck at this many times the longest answer."""

MEMORY = 0.1
"""Weight of the newest answer in what is usual."""


@dataclass(slots=True, eq=False)
class Out:
    """A row that is out: where (a lane), since when (seconds, as `now`), and how often."""

    lane: Hashable
    since: float
    asks: int = 1


class Tail:
    """Remembers how long lanes usually take, and how many second asks were made."""

    def __init__(self) -> None:
        self.asked = 0
        self.again = 0
        self._usual_s: dict[Hashable, float] = {}
        self._longest_s = 0.0

    def answered(self, lane: Hashable, latency_s: float) -> None:
        usual_s = self._usual_s.get(lane, latency_s)
        self._usual_s[lane] = usual_s + MEMORY * (latency_s - usual_s)
        self._longest_s = max(self._longest_s, latency_s)

    def slowest(self, rows: Iterable[Out], lane: Hashable, now: float) -> Out | None:
        """Return the row to ask again at `lane`, which stands idle; None where it is not worth it, or was too often."""
        usual_s = self._usual_s.get(lane)
        if usual_s is None or self.again + 1 > SHARE * self.asked:
            return None
        candidates = [row for row in rows if row.asks == 1 and row.lane != lane]
        last = max(candidates, key=lambda row: self._left_s(row, now), default=None)
        return last if last is not None and self._left_s(last, now) > UNUSUAL * usual_s else None

    def _left_s(self, row: Out, now: float) -> float:
        """Return how much longer the row is expected to take: without end, if it is stuck."""
        out_s = now - row.since
        return inf if out_s > UNUSUAL * self._longest_s else self._usual_s.get(row.lane, 0.0) - out_s
