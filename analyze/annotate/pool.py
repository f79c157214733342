"""Images are prepared by processes of their own, so that decoding keeps no request waiting. Knows no request.

A worker ends when its parent does, however that ended. An image that kills its worker (a decoder's bug, no memory) is
tried once more alone, so that the others, which were in work beside it, are not blamed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import connection, get_context, parent_process

from analyze.annotate.images import Prepared, Spec, Trouble, prepare

KILLED = "its decoding ended the process that did it"
RAISED = "its decoding failed: {error}"


class Pool:
    """Prepares images, `workers` at a time."""

    def __init__(self, spec: Spec, workers: int | None = None) -> None:
        self.spec = spec
        self.workers = workers or len(os.sched_getaffinity(0))
        self._executor = _executor(self.workers)
        self._alone = asyncio.Lock()

    async def prepare(self, path: str) -> Prepared | Trouble:
        """Return the image at `path`, below the root of `spec`, ready to be sent. Never raises for what it is."""
        executor = self._executor
        try:
            return await self._in(executor, path)
        except BrokenProcessPool:
            if executor is self._executor:  # else another image has seen it, and there is a new one
                self._executor = _executor(self.workers)
                executor.shutdown(wait=False)
        async with self._alone:
            alone = _executor(1)
            try:
                return await self._in(alone, path)
            except BrokenProcessPool:
                return Trouble("unreadable", KILLED)
            finally:
                alone.shutdown(wait=False)

    async def _in(self, executor: ProcessPoolExecutor, path: str) -> Prepared | Trouble:
        try:
            with _ctrl_c_held_back():
                made = asyncio.get_running_loop().run_in_executor(executor, prepare, path, self.spec)
            return await made
        except (MemoryError, RecursionError, ValueError, TypeError) as error:
            return Trouble("unreadable", RAISED.format(error=error or type(error).__name__))

    def close(self) -> None:
        """Drop what waits, and end the workers when they are done with what they have."""
        self._executor.shutdown(wait=True, cancel_futures=True)


def _executor(workers: int) -> ProcessPoolExecutor:
    # Not by fork: threads of this process may hold locks at that moment.
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_begin)


@contextmanager
def _ctrl_c_held_back() -> Iterator[None]:
    """Have workers that begin here leave Ctrl-C to the parent: one that is only starting would print a traceback."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin() -> None:
    """End with the parent."""
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
