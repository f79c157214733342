"""An event loop in a thread of its own, for callers that have none. Knows nothing of what runs there."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")

CANCEL_S = 5.0
"""How long a cancelled coroutine may take to clean up."""


class LoopThread:
    """An event loop in a daemon thread, started at once."""

    def __init__(self, name: str = "analyze-loop") -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run `coroutine` there and return its result; a Ctrl-C here cancels it there."""
        ended = threading.Event()

        async def run() -> T:
            try:
                return await coroutine
            finally:
                ended.set()

        future = asyncio.run_coroutine_threadsafe(run(), self._loop)
        try:
            return future.result()
        except BaseException:
            if future.cancel():
                ended.wait(CANCEL_S)  # what is cancelled still cleans up, and must be done before anything is closed
            raise

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Run `callback` there, some time; never if the loop is closed by then."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(callback)

    def close(self, last: Callable[[], Coroutine[Any, Any, None]] | None = None) -> None:
        """Cancel what runs there, run `last`, stop the loop and end the thread.

        In its own thread, where garbage collection may close it, it cannot wait for the end and only asks for it.
        """
        ending = self._end(last)
        if threading.current_thread() is self._thread:
            self._loop.create_task(ending).add_done_callback(lambda task: self._loop.stop())
            return
        self.call(ending)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self, last: Callable[[], Coroutine[Any, Any, None]] | None) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        if last is not None:
            await last()
