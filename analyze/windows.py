"""How many requests of a bulk run one instance may hold: a window that finds its own size. No I/O, no clock.

    few wait at the server, and the window is what holds it back ──> larger
    more wait there than run ──────────────────────────────────────> as many fewer as are too many
    429, 503 ──────────────────────────────────────────────────────> half

vLLM queues without limit and says nothing, so latency and 429 come too late as signals: what it says of its own queue
in /metrics is the signal. Some are to wait there: those whose prompts are still to be taken in wait as well, and a
short queue makes steps with little prefill (measured on a recorded trace: with at most an eighth waiting, a run took
1.2 to 1.8 times as long as with as many waiting as running). Knows nothing of what is asked, nor of other instances.
"""

from __future__ import annotations

FIRST = 16
"""Above the scripts' MAX_NUM_SEQS (6); a larger server is found out in a few looks, each doubling this."""

BLIND = 64
"""Where the server does not tell what waits there (it is not vLLM): large enough for a GPU, small enough to share."""

LEAST = 4
MOST = 1024


class Window:
    """The requests an instance may hold. `changed`: whether the last look changed it, so that the next comes soon."""

    __slots__ = ("_is_known", "_running", "_tells", "changed", "size")

    def __init__(self) -> None:
        self.size = FIRST
        self.changed = True
        self._running = 0  # at the last look
        self._tells = False  # the server says how many wait there
        self._is_known = False  # it has once been too large

    def seen(self, running: int, waiting: int, in_flight: int) -> None:
        """Take in what the server says of itself, `in_flight` of which are ours."""
        before, self._tells = self.size, True
        if waiting > max(LEAST, running):
            if running <= self._running:  # else it is still taking in what has arrived
                self._is_known = True
                self.size = max(LEAST, min(self.size, in_flight - (waiting - running)))
        elif 2 * waiting < running and in_flight >= self.size and 4 * (running + waiting) >= 3 * in_flight:
            # Those it has not yet counted are still on their way; a larger window would only lengthen that queue.
            self.size = min(MOST, self.size + max(2, self.size // 4) if self._is_known else self.size * 2)
        self._running = running
        self.changed = self.size != before

    @property
    def spare_size(self) -> int:
        """How many it may hold near the end of a run, when what waits at a slow server is missing at another."""
        return min(self.size, self._running + max(2, self._running // 8)) if self._tells else self.size

    def unseen(self) -> None:
        """The server does not tell."""
        self.size, self.changed = max(self.size, BLIND), False

    def refused(self) -> None:
        """The server said that it is busy."""
        self.size = max(1, self.size // 2)
        self._is_known = True
