"""The end of a bulk run: which of the rows still out is worth asking a second time, where a server stands idle.

Pure: knows rows as handles with the time they were sent, no server, no clock. A second ask is bought with tokens that
nobody needs, so few are: SHARE of all asks, and only of rows that take longer than is usual on the idle server.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass

SHARE = 0.02
"""Second asks to all asks, at most."""

UNUSUAL = 1.5
"""A row is slow when it has taken this many times as long as an answer of the idle server usually does."""

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

    def answered(self, lane: Hashable, latency_s: float) -> None:
        usual_s = self._usual_s.get(lane, latency_s)
        self._usual_s[lane] = usual_s + MEMORY * (latency_s - usual_s)

    def slowest(self, rows: Iterable[Out], lane: Hashable, now: float) -> Out | None:
        """Return the row to ask again at `lane`, which stands idle; None where it is not worth it, or was too often."""
        usual_s = self._usual_s.get(lane)
        if usual_s is None or self.again + 1 > SHARE * self.asked:
            return None
        slow = (row for row in rows if row.asks == 1 and row.lane != lane and now - row.since > UNUSUAL * usual_s)
        return min(slow, key=lambda row: row.since, default=None)
