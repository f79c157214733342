"""A worse world for one process: clocks that are set back, locks that do not work, disks that fail.

Each function is called first in the process (`Warm.start(first=...)`), and changes what its standard library does.
"""

from __future__ import annotations

import datetime
import errno
import fcntl
import os
import sys
import time
from typing import Any


def clock_set_back(by_s: float, after_s: float = 0.0) -> None:
    """Let the time of day be `by_s` behind what it was, from `after_s` seconds on."""
    real_time, real_datetime, since = time.time, datetime.datetime, time.monotonic() + after_s

    def behind_s() -> float:
        return by_s if time.monotonic() >= since else 0.0

    class Datetime(real_datetime):  # type: ignore[valid-type,misc]
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            return real_datetime.now(tz) - datetime.timedelta(seconds=behind_s())

    time.time = lambda: real_time() - behind_s()
    time.time_ns = lambda: int(time.time() * 1e9)
    for module in list(sys.modules.values()):
        if getattr(module, "__name__", "").startswith("analyze") and getattr(module, "datetime", None) is real_datetime:
            module.datetime = Datetime  # type: ignore[attr-defined]
    datetime.datetime = Datetime  # type: ignore[misc]


def no_locks(code: int = errno.ENOLCK) -> None:
    """As on a network file system without a lock daemon."""

    def refuse(*arguments: Any) -> None:
        raise OSError(code, os.strerror(code))

    fcntl.flock = fcntl.lockf = refuse  # type: ignore[assignment]


def idle_locks() -> None:
    """As on a file system that says yes to everybody."""
    fcntl.flock = fcntl.lockf = lambda *arguments: None  # type: ignore[assignment]


def failing_fsync(good: int) -> None:
    """Let every fsync after the first `good` ones fail, as on a dying disk."""
    real, count = os.fsync, 0

    def fsync(fd: Any) -> None:
        nonlocal count
        count += 1
        if count > good:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(fd)

    os.fsync = fsync


def nfs_locks() -> None:
    """As on NFS, where an exclusive lock needs a file that is open for writing (flock(2))."""
    real = fcntl.flock

    def flock(file: Any, operation: int) -> None:
        is_writable = fcntl.fcntl(file, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
        if operation & fcntl.LOCK_EX and not is_writable:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        real(file, operation)

    fcntl.flock = flock  # type: ignore[assignment]
