"""Work done by a second Python beside this one, where that pays. Knows nothing of what it is.

A fresh interpreter, not a fork: who makes a report may have threads (a notebook, a run's event loop), and a fork copies
their locks as they stand. Nor `multiprocessing`, whose children run the main script again where it has no guard.
The two talk over pipes alone: what the other one prints is no result, and when this one is gone, so is the other.
"""

from __future__ import annotations

import gc
import os
import pickle
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Generic, TypeVar

from analyze.errors import AnalyzeError
from analyze.report.cycles import no_cycles
from analyze.report.reading import TASKS

T = TypeVar("T")


class Worker(Generic[T]):
    """Takes what it is told, one thing after the other. When it is told to finish, it works out what it comes to."""

    def take(self, said: Any, /) -> None:
        raise NotImplementedError

    def finish(self) -> None:
        """Begin the rest of the work: this was all."""

    def result(self) -> T:
        raise NotImplementedError


@contextmanager
def at_work(make: Callable[..., Worker[T]], *args: Any, beside: bool) -> Iterator[Worker[T]]:
    """Give the worker that `make(*args)` returns, or one like it that works `beside` this process, if there is room.

    Beside, it is made there: `make` is found by its name, and goes over with its arguments, what the worker is told
    and its result as pickles do. Nothing is waited for but the result, once it has finished. The end of the `with`
    ends its process.
    """
    if beside and _has_two_cores():
        with Beside(make, *args) as other:
            yield other
    else:
        yield Here(make(*args))


LARGE_BYTES = 32_000_000
"""Of tasks, from which on a report is shared: 11,000 judgements."""

_START = (
    "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); "
    "from analyze.report.beside import _serve; _serve()"
)


class Here(Worker[T]):
    """A worker in this process, which finishes when its result is asked for: until then there is other work."""

    def __init__(self, worker: Worker[T]) -> None:
        self._worker = worker

    def take(self, said: Any, /) -> None:
        self._worker.take(said)

    def result(self) -> T:
        self._worker.finish()
        return self._worker.result()


class Beside(Worker[T]):
    """A worker in another process: see `at_work`."""

    def __init__(self, make: Callable[..., Worker[T]], *args: Any) -> None:
        self._call = (make, args)
        self._told: SimpleQueue[bytes] = SimpleQueue()  # pickles; an empty one is the last

    def __enter__(self) -> Beside[T]:
        # A session of its own: Ctrl-C in a terminal is for this process, which then ends the other.
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        self._told.put(pickle.dumps(sys.path) + pickle.dumps(self._call))
        threading.Thread(target=self._write, daemon=True).start()  # nobody reads until the other is up
        return self

    def take(self, said: Any, /) -> None:
        """Pass it on, without waiting for the other to take it."""
        self._told.put(pickle.dumps((said,)))

    def _write(self) -> None:
        assert self._process.stdin is not None
        with suppress(OSError, ValueError):  # the other is gone, which `result` says; or nobody asks it any more
            while pickled := self._told.get():
                self._process.stdin.write(pickled)
                self._process.stdin.flush()  # and it stays open: its end tells the other that this one is gone

    def finish(self) -> None:
        """Tell the other that this was all, without waiting for it."""
        self._told.put(pickle.dumps(()))

    def result(self) -> T:
        """Wait for the result. Raises what the worker raised, with the traceback from over there as a note.

        Raises AnalyzeError where the process was ended before: by the kernel, if memory is short.
        """
        assert self._process.stdout is not None
        try:
            result, error = pickle.load(self._process.stdout)
        except EOFError:
            status = self._process.wait()
            raise AnalyzeError(
                f"a process of ours was ended from outside (status {status})",
                cure="free some memory, then run the same command again",
            ) from None
        if error is not None:
            raise error
        returned: T = result
        return returned

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._told.put(b"")  # lest a thread wait for ever
        self._process.kill()
        self._process.communicate()


def is_large(run_dir: Path) -> bool:
    """Tell whether to share the records of a run pays: to start a process takes 0.2 s of CPU."""
    tasks = run_dir / TASKS
    return tasks.exists() and tasks.stat().st_size >= LARGE_BYTES


def _has_two_cores() -> bool:
    """Tell whether this process may use more than one core, and can start a second Python at all."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores > 1 and bool(sys.executable)


# --- in the other process ---


def _serve() -> None:
    results = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a library that prints does not print into the result
    make, args = pickle.load(sys.stdin.buffer)
    said: tuple[Any, BaseException | None]
    try:
        with no_cycles():
            worker = make(*args)
            for one in _told():
                worker.take(one)
                gc.collect(1)  # a chart leaves 5 MB in cycles
            worker.finish()
            said = worker.result(), None
    except Exception as error:  # noqa: BLE001 - whatever it is, it is raised over there
        error.add_note(f"In a second process:\n{traceback.format_exc()}")
        said = None, error
    pickle.dump(said, results)
    results.flush()
    os._exit(0)  # at once: there is a lot of memory that nobody needs tidied


def _told() -> Iterator[Any]:
    """Yield what the first process tells, to the last; from then on, or as soon as it is gone, end with it."""
    try:
        while said := pickle.load(sys.stdin.buffer):
            yield said[0]
    except EOFError:
        os._exit(1)
    threading.Thread(target=_end_with_the_first, daemon=True).start()


def _end_with_the_first() -> None:
    os.read(0, 1)  # nothing comes but the end
    os._exit(1)
