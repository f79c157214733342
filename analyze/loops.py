"""An event loop in a thread of its own, for callers that have none. Knows nothing of what runs there."""

from __future__ import annotations

import asyncio
import os
import selectors
import threading
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError
from typing import Any, Generic, TypeVar

T = TypeVar("T")

CANCEL_S = 5.0
"""How long a cancelled coroutine may take to clean up."""


_threads: weakref.WeakSet[LoopThread] = weakref.WeakSet()


class LoopThread:
    """An event loop in a daemon thread, started at once. A fork has no such thread: there, it counts as ended."""

    def __init__(self, name: str = "analyze-loop") -> None:
        self._loop = asyncio.new_event_loop()
        # What other threads want done. The loop is woken for the first of them only: with 64 threads in a hurry a
        # write to its pipe for each is a tenth of the work. Reentrant, since garbage collection may call from inside.
        self._gate = threading.RLock()
        self._arrived: list[Callable[[], object]] = []
        self.is_open = True
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()
        _threads.add(self)

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run `coroutine` there and return its result; a Ctrl-C here cancels it there.

        Raises CancelledError if the thread ends before the coroutine does.
        """
        call = _Call(coroutine)
        if not self.call_soon(call.start):
            coroutine.close()
            raise CancelledError
        try:
            call.ended.acquire()
        except BaseException:
            if self.call_soon(call.cancel):
                call.ended.acquire(timeout=CANCEL_S)  # it cleans up, and must be done before anything is closed
            raise
        return call.result()

    def call_soon(self, callback: Callable[[], object]) -> bool:
        """Run `callback` there, some time; return False, and never run it, if the thread has ended."""
        with self._gate:
            if self.is_open:
                self._arrived.append(callback)
                if len(self._arrived) == 1:
                    self._loop.call_soon_threadsafe(self._take_in)
            return self.is_open

    def close(self, last: Callable[[], Coroutine[Any, Any, None]] | None = None) -> None:
        """Cancel what runs there, run `last`, stop the loop and end the thread.

        In its own thread, where garbage collection may close it, it cannot wait for the end and only asks for it.
        """
        if threading.current_thread() is self._thread:
            self._loop.create_task(self._end(last)).add_done_callback(lambda task: self._loop.stop())
            return
        self.call(self._end(last))
        self.call_soon(self._loop.stop)
        self._thread.join()

    def leave_to_parent(self) -> None:
        """Take hands off in a child process. What is closed there, by garbage collection at the latest, would else be
        struck from the parent's epoll, which a fork shares, and the parent would wait for its answers for ever."""
        self._gate, self.is_open = threading.RLock(), False
        self._loop._selector = selectors.DefaultSelector()  # type: ignore[attr-defined] # there is no public way
        self._loop.set_exception_handler(lambda loop, context: None)  # nothing here is this process's to complain of

    def _run(self) -> None:
        self._loop.run_forever()
        with self._gate:
            self.is_open = False
        self._take_in()
        self._loop.run_until_complete(self._end(None))  # what came in while the last tasks ended
        self._loop.close()

    def _take_in(self) -> None:
        with self._gate:
            arrived, self._arrived = self._arrived, []
        for callback in arrived:
            self._loop.call_soon(callback)

    async def _end(self, last: Callable[[], Coroutine[Any, Any, None]] | None) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        if last is not None:
            await last()


class _Call(Generic[T]):
    """A coroutine that another thread waits for: a concurrent Future for one waiter, at half the cost."""

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._coroutine = coroutine
        self._task: asyncio.Task[T] | None = None
        self.ended = threading.Lock()
        self.ended.acquire()

    def start(self) -> None:
        self._task = asyncio.ensure_future(self._coroutine)
        self._task.add_done_callback(lambda task: self.ended.release())

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def result(self) -> T:
        assert self._task is not None
        if self._task.cancelled():
            raise CancelledError
        return self._task.result()


def _leave_to_parent() -> None:
    for thread in list(_threads):
        thread.leave_to_parent()


os.register_at_fork(after_in_child=_leave_to_parent)
