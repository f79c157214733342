"""Rows that are read ahead, and which of them a lane (one instance) asks next. Pure: no server, no clock, no file.

    add ──> group ──> waiting, the costliest first ──> open on one lane, row by row ──> finished, its lane remembered
              ▲                     ▲                        │
       rows that begin alike        └──── let_go ────────────┴──> half of what is left: to a lane without work

A group goes to one lane as a whole, which then computes the prompt's shared beginning once. Rows that come later join
their group while it waits or is open; once it is finished they wait for the lane that had it, which takes them
before anything else, and others only when they have nothing better. No lane goes without a row while one waits.
The rows of a group are the costliest first too. Where nothing tells how long answers will be, all is in input order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator
from heapq import heappop, heappush
from itertools import count

from analyze.prefixes import PrefixMap, chain, prompt_bytes
from analyze.records import Request
from analyze.runs.lengths import Lengths

LOOK_AHEAD_ROWS = 20_000
LOOK_AHEAD_BYTES = 64 * 2**20
"""Read ahead until either is reached: enough to find the members of a group in shuffled input, and the long rows."""

FEWEST_BLOCKS = 2
"""Blocks (512 bytes) that prompts must share to be a group: less is not worth a detour."""

CROWD_ROWS = 256
CROWD_SHARE = 1 / 8
"""A group found by its prefix that holds this many rows, and this share of all, shares the preamble of the whole job.
Every lane will have that in its cache anyway, which costs four lanes three beginnings in 256: what counts is what
they share beyond it. Groups named by the user are never split so."""

MANY_HEARD = 4096
"""Answers after which one in eight is learned from: it costs 5 us, and tells what the others told."""

_NO_ROWS: deque[tuple[Request, int]] = deque()
_NOBODY = object()  # None may be a lane


class _Group:
    """Rows that share the beginning of their prompt, each with its prompt's length in bytes."""

    __slots__ = ("common", "cost", "home", "is_crowd", "joined", "open_on", "order", "rows", "waits_in")

    def __init__(self, common: int = 0) -> None:
        self.rows = _NO_ROWS
        self.order = 0
        self.cost = 0.0
        self.waits_in: _Waiting | None = None
        self.open_on: _Lane | None = None
        self.home: Hashable = _NOBODY  # the lane that had it last
        self.joined = 0  # rows ever
        self.common = common  # blocks that all its rows share
        self.is_crowd = False


class _Waiting:
    """Groups that no lane works on. Costs only grow; an entry of the heap whose cost is outdated is passed over."""

    __slots__ = ("_heap", "count")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, _Group]] = []
        self.count = 0

    def put(self, group: _Group) -> None:
        group.waits_in = self
        self.count += 1
        heappush(self._heap, (-group.cost, group.order, group))

    def grown(self, group: _Group) -> None:
        heappush(self._heap, (-group.cost, group.order, group))
        if len(self._heap) > 2 * self.count + 64:
            self.sort()

    def __iter__(self) -> Iterator[_Group]:
        return iter({group for _, _, group in self._heap if group.waits_in is self})

    def sort(self) -> None:
        """Put the heap in order by what groups cost now."""
        self._heap = sorted((-group.cost, group.order, group) for group in self)

    def pop(self) -> _Group | None:
        while self._heap:
            entry = heappop(self._heap)
            if self._is_current(entry):
                self.remove(entry[2])
                return entry[2]
        return None

    def remove(self, group: _Group) -> None:
        group.waits_in = None
        self.count -= 1

    def _is_current(self, entry: tuple[float, int, _Group]) -> bool:
        cost, order, group = entry
        return group.waits_in is self and group.cost == -cost and group.order == order


class _Lane:
    """What one lane has: the group it works through, and those of its own that had new rows after they were done."""

    __slots__ = ("group", "name", "returned")

    def __init__(self, name: Hashable) -> None:
        self.name = name
        self.group: _Group | None = None
        self.returned = _Waiting()


class Backlog:
    """Rows that wait. Memory is bounded by what waits, and by the beginnings that a PrefixMap remembers."""

    def __init__(self) -> None:
        self._lengths = Lengths()
        self._version = 0  # of the lengths that waiting groups are sorted by
        self._groups: PrefixMap[_Group] = PrefixMap()
        self._waiting = _Waiting()
        self._lanes: dict[Hashable, _Lane] = {}
        self._order = count()
        self._added = 0
        self._heard = 0
        self._rows = 0
        self._bytes = 0

    def __len__(self) -> int:
        return self._rows

    @property
    def is_full(self) -> bool:
        """Whether enough is read ahead."""
        return self._rows >= LOOK_AHEAD_ROWS or self._bytes >= LOOK_AHEAD_BYTES

    def add(self, request: Request) -> None:
        """Take in the next row of the input. Requests of one `group` belong together, else those that begin alike."""
        content = prompt_bytes(request.body)
        self._added += 1
        self._rows += 1
        self._bytes += len(content)
        self._join(self._named(request.group) if request.group is not None else self._alike(content), request, content)

    def take(self, lane: Hashable) -> Request | None:
        """Hand out the row that this lane asks next, None if no row waits at all."""
        mine = self._lanes.get(lane)
        if mine is None:
            mine = self._lanes[lane] = _Lane(lane)
        group = mine.group
        if group is None:
            group = self._next_group(mine)
            if group is None:
                return None
            self._open(group, mine)
        request, size = group.rows.popleft()
        self._rows -= 1
        self._bytes -= size
        if not group.rows:
            self._finish(group)
        return request

    def heard(self, request: Request, completion_tokens: int) -> None:
        """Learn from an answer how long others will be; what waits is sorted anew when that is known better."""
        self._heard += 1
        if self._heard > MANY_HEARD and self._heard % 8:
            return
        self._lengths.learn(request, len(prompt_bytes(request.body)), completion_tokens)
        self._sort_if_better_known()

    def let_go(self, lane: Hashable) -> None:
        """Give what this lane has to the others: it is out. It has a lane again when it next takes a row."""
        gone = self._lanes.pop(lane, None)
        if gone is None:
            return
        for group in gone.returned:
            self._waiting.put(group)
        if gone.group is not None:
            gone.group.open_on = None
            gone.group.cost = self._cost_of(gone.group)
            self._waiting.put(gone.group)

    # -- which group a row belongs to ---------------------------------------------------------------------------

    def _named(self, name: str) -> _Group:
        keys = (hash(name),)
        known, _ = self._groups.longest(keys)
        group = known or _Group()
        self._groups.remember(keys, group)
        return group

    def _alike(self, content: bytes) -> _Group:
        """Return the group of the longest known beginning, if that is at least half the prompt, else a new one."""
        keys = chain(content)
        if len(keys) < FEWEST_BLOCKS:
            return _Group()
        known = self._groups.known(keys)
        shared = 0
        while known and known[-1].is_crowd:
            shared = max(shared, known.pop().common)
        if len(known) < FEWEST_BLOCKS or 2 * len(known) < len(keys):
            founded = _Group(len(keys))
            self._groups.remember(keys, founded, start=shared or len(known))
            return founded
        group = known[-1]
        self._groups.remember(keys, group, keep=True)
        group.common = min(group.common, len(known))
        if group.joined >= CROWD_ROWS and group.joined >= CROWD_SHARE * self._added:
            self._disperse(group)
            return self._alike(content)
        return group

    def _disperse(self, crowd: _Group) -> None:
        """Group anew what waits of a crowd, by what its rows share beyond the beginning that all of them share."""
        crowd.is_crowd = True
        rows = crowd.rows
        if rows:
            self._finish(crowd)
        for request, _ in rows:
            content = prompt_bytes(request.body)
            self._join(self._alike(content), request, content)

    def _join(self, group: _Group, request: Request, content: bytes) -> None:
        size = len(content)
        group.joined += 1
        if group.open_on is not None:
            group.rows.append((request, size))
            return
        cost = self._cost(request, size)
        if group.waits_in is not None:
            group.rows.append((request, size))
            if cost:
                group.cost += cost
                group.waits_in.grown(group)
        else:
            group.rows = deque(((request, size),))
            group.cost, group.order = cost, next(self._order)
            home = self._lanes.get(group.home)
            (home.returned if home else self._waiting).put(group)
        self._sort_if_better_known()

    # -- which group is next ------------------------------------------------------------------------------------

    def _next_group(self, lane: _Lane) -> _Group | None:
        group = lane.returned.pop() or self._waiting.pop()
        if group is None and self._rows:
            busiest = max(self._lanes.values(), key=lambda other: other.returned.count)
            group = busiest.returned.pop()
            if group is None:
                return self._half_of_the_largest()
        if group is not None:
            self._sort_rows(group)
        return group

    def _half_of_the_largest(self) -> _Group:
        """Take every second row that is left of an open group: what two lanes have then is alike, and in order."""
        largest = max((lane.group for lane in self._lanes.values() if lane.group), key=lambda group: len(group.rows))
        half, rows = _Group(), list(largest.rows)
        half.order = next(self._order)
        if len(rows) == 1:
            half.rows = largest.rows
            self._finish(largest)
        else:
            half.rows, largest.rows = deque(rows[1::2]), deque(rows[::2])
        return half

    def _open(self, group: _Group, lane: _Lane) -> None:
        group.open_on, group.home = lane, lane.name
        lane.group = group

    def _finish(self, group: _Group) -> None:
        if group.open_on is not None:
            group.open_on.group = None
            group.open_on = None
        elif group.waits_in is not None:
            group.waits_in.remove(group)
        group.rows = _NO_ROWS

    # -- what a group costs -------------------------------------------------------------------------------------

    def _cost(self, request: Request, size: int) -> float:
        cost = self._lengths.cost(request, size)
        return cost if self._lengths.tells else 0.0

    def _cost_of(self, group: _Group) -> float:
        return sum(self._cost(request, size) for request, size in group.rows)

    def _sort_rows(self, group: _Group) -> None:
        if len(group.rows) > 1 and self._lengths.tells:
            group.rows = deque(sorted(group.rows, key=lambda row: -self._lengths.cost(*row)))

    def _sort_if_better_known(self) -> None:
        if self._version == self._lengths.version:
            return
        self._version = self._lengths.version
        for waiting in (self._waiting, *(lane.returned for lane in self._lanes.values())):
            for group in waiting:
                group.cost = self._cost_of(group)
            waiting.sort()
        for lane in self._lanes.values():
            if lane.group is not None:
                self._sort_rows(lane.group)
