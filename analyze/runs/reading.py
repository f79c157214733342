"""Reads in a thread what may keep its reader waiting: standard input, a pipe. Knows nothing of what it reads."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")

MOST_AHEAD = 2000
"""Items read that nobody has taken yet."""


async def read_in_thread(items: Iterable[T]) -> AsyncIterator[list[T]]:
    """Yield what has come since the last time, as soon as there is any. Raises what `items` raises, after the rest."""
    loop, arrived, room = asyncio.get_running_loop(), asyncio.Event(), threading.Semaphore(MOST_AHEAD)
    came: deque[T] = deque()  # appended to by the thread, emptied here
    ended: list[BaseException | None] = []

    def tell() -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody reads any more
            loop.call_soon_threadsafe(arrived.set)

    def read() -> None:
        error = None
        try:
            for item in items:
                room.acquire()
                came.append(item)
                if len(came) == 1:
                    tell()
        except BaseException as caught:  # noqa: BLE001 - raised again in the other thread
            error = caught
        ended.append(error)
        tell()

    # Nobody can end a thread that waits for a pipe: it ends with the process.
    threading.Thread(target=read, name="analyze-reader", daemon=True).start()
    while not (ended and not came):
        await arrived.wait()
        arrived.clear()
        chunk = []
        while came:  # until it is empty: only the first of the next is told
            chunk.append(came.popleft())
        if chunk:
            room.release(len(chunk))
            yield chunk
    if ended[0] is not None:
        raise ended[0]
