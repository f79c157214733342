"""How many requests of a bulk run one instance may hold: a window that finds its own size. No I/O, no clock.

    the server keeps none waiting, and the window is what holds it back ──> larger
    more wait there than keep its slots fed ───────────────────────────────> as many fewer as wait too many
    429, 503 ──────────────────────────────────────────────────────────────> half

vLLM queues without limit and says nothing, so latency and 429 come too late as signals: what it says of its own queue
in /metrics is the signal. A few are let wait there (`SPARE`), so that no slot stands idle for a round trip.
Knows nothing of what is asked, nor of other instances.
"""

from __future__ import annotations

FIRST = 16
"""Above the scripts' MAX_NUM_SEQS (6); a larger server is found out in a few looks, each doubling this."""

BLIND = 64
"""Where the server does not tell what waits there (it is not vLLM): large enough for a GPU, small enough to share."""

LEAST = 4
MOST = 1024

SPARE = 8
"""One in eight of those running may wait: with 64 slots 8 wait, which a slot frees at every step."""


class Window:
    """The requests an instance may hold. `changed`: whether the last look changed it, so that the next comes soon."""

    __slots__ = ("_most_seen", "changed", "size")

    def __init__(self) -> None:
        self.size = FIRST
        self.changed = True
        self._most_seen: int | None = None  # running at once when the server last let some wait

    def seen(self, running: int, waiting: int, in_flight: int) -> None:
        """Take in what the server says of itself, `in_flight` of which are ours."""
        before, spare = self.size, max(2, running // SPARE)
        if waiting > spare:
            self._most_seen = running
            self.size = max(LEAST, min(self.size, in_flight - (waiting - spare)))
        elif waiting == 0 and in_flight >= self.size and running >= in_flight * 3 // 4:
            # Those it has not yet counted are still on their way; a larger window would only lengthen that queue.
            grown = self.size * 2 if self._most_seen is None else self.size + spare
            self.size = min(MOST, grown)
        self.changed = self.size != before

    def unseen(self) -> None:
        """The server does not tell."""
        self.size, self.changed = max(self.size, BLIND), False

    def refused(self) -> None:
        """The server said that it is busy."""
        self.size = max(1, self.size // 2)
        self._most_seen = self.size
