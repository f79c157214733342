"""How long the work takes when nothing is lost between servers: an event simulation over the same engines.

`central_queue`: one queue in input order, and a server takes from it the moment one of its slots is free. No network,
no client, no guess. `placed`: every server has its own list, as when whole groups are placed by hand.
Knows the true lengths of nothing but what it is given; it does not reorder.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Sequence

from benchmarks.engine import Engine, Profile
from benchmarks.engine import Sequence as Request


def central_queue(requests: Iterable[Request], profiles: Sequence[Profile]) -> float:
    """Return the seconds until the last of `requests` is finished by the servers with these `profiles`."""
    queue = deque(requests)
    return _simulate([queue] * len(profiles), profiles)


def placed(lists: Sequence[Iterable[Request]], profiles: Sequence[Profile]) -> float:
    """Return the seconds until the last is finished when server i is given `lists[i]`."""
    return _simulate([deque(one) for one in lists], profiles)


def _simulate(queues: Sequence[deque[Request]], profiles: Sequence[Profile]) -> float:
    engines = [Engine(profile) for profile in profiles]
    steps: list[tuple[float, int]] = []  # when each server's current step ends
    now = 0.0

    def take_and_begin(number: int) -> None:
        engine, queue = engines[number], queues[number]
        while queue and engine.free_slots > 0:
            engine.add(queue.popleft())
        duration = engine.begin()
        if duration is not None:
            heapq.heappush(steps, (now + duration, number))

    # One by one in turn, or the first server would take more than its share of a short queue.
    while any(queue and engine.free_slots > 0 for queue, engine in zip(queues, engines, strict=True)):
        for engine, queue in zip(engines, queues, strict=True):
            if queue and engine.free_slots > 0:
                engine.add(queue.popleft())
    for number in range(len(engines)):
        take_and_begin(number)
    while steps:
        now, number = heapq.heappop(steps)
        engines[number].end()
        take_and_begin(number)
    return now
