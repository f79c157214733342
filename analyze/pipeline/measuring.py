"""Measuring the facts of all solutions while servers are asked. Knows no file."""

from __future__ import annotations

import asyncio
import threading
from asyncio import Future
from collections.abc import Callable, Sequence
from contextlib import suppress

from analyze.judge.tasks import Task
from analyze.per_task import TaskFacts


def in_daemon_thread(function: Callable[[Sequence[Task]], TaskFacts], tasks: Sequence[Task]) -> Future[TaskFacts]:
    """Run `function` in a thread that holds up nobody: neither an error nor a Ctrl-C waits for it to end."""
    loop = asyncio.get_running_loop()
    future: Future[TaskFacts] = loop.create_future()

    def run() -> None:
        try:
            facts, error = function(tasks), None
        except Exception as raised:  # noqa: BLE001 - carried over to the awaiting coroutine
            facts, error = {}, raised
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(tell, facts, error)

    def tell(facts: TaskFacts, error: Exception | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(facts)
        else:
            future.set_exception(error)

    threading.Thread(target=run, name="analyze-facts", daemon=True).start()
    return future
