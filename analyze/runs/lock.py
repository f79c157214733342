"""One writer an output: a lock that ends with its process. Knows nothing of what is written."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import orjson

from analyze.errors import OutputHeldError
from analyze.files import output_errors
from analyze.records import to_json


class RunLock:
    """One writer an output, as a context manager. The lock is the kernel's (flock): it ends with the process.

    Where the file system has no working locks (`is_sure` is false), what the file says of its holder must do.
    """

    def __init__(self, path: Path) -> None:
        """Take the lock or raise OutputHeldError, naming who holds it."""
        self.path = path
        self.is_sure = True
        with output_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._locked()
            if not self._excludes_others():
                self.is_sure = False
                self._refuse_living_holder()
            self._file.truncate(0)
            started = datetime.now(UTC).isoformat(timespec="seconds")
            holder = {"pid": os.getpid(), "host": socket.gethostname(), "started": started}
            self._file.write(to_json(holder) + b"\n")
            self._file.flush()

    def _locked(self) -> IO[bytes]:
        while True:
            file = open(self.path, "a+b")  # noqa: SIM115 - held open for as long as the run
            try:
                _lock(file)
            except BlockingIOError:
                file.close()
                raise self._held(self._holder() or "another process") from None
            if self.path.exists() and os.path.samestat(os.fstat(file.fileno()), self.path.stat()):
                return file
            file.close()  # its last holder removed the name between our open and our lock

    def _excludes_others(self) -> bool:
        """Try the lock from the outside: some network and cluster file systems grant it to everybody."""
        with open(self.path, "r+b") as other:  # NFS locks only what is open for writing
            try:
                _lock(other)
            except BlockingIOError:
                return True
        return False

    def _refuse_living_holder(self) -> None:
        holder = self._holder()
        try:
            told = orjson.loads(holder)
            is_here, pid = told["host"] == socket.gethostname(), int(told["pid"])
        except (ValueError, KeyError, TypeError):
            return
        if not is_here:
            raise self._held(holder, cure=f"if that run has ended: rm {self.path}")
        if pid != os.getpid() and _is_alive(pid):
            raise self._held(holder)

    def _holder(self) -> str:
        return self.path.read_text(errors="replace").strip()

    def _held(
        self, holder: str, cure: str = "wait for it to end, or stop it; this run changed nothing"
    ) -> OutputHeldError:
        return OutputHeldError(f"another run writes to this output: {_in_words(holder)} ({self.path})", cure=cure)

    def __enter__(self) -> RunLock:
        return self

    def __exit__(self, *exc: object) -> None:
        self.path.unlink(missing_ok=True)
        self._file.close()


def _in_words(holder: str) -> str:
    """Say who holds a lock; what is no holder of ours is shown as it stands."""
    try:
        told = orjson.loads(holder)
        return f"process {told['pid']} on {told['host']}, since {told['started']}"
    except (ValueError, KeyError, TypeError):
        return holder


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is somebody else's
        return True
    return True


def _lock(file: IO[bytes]) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL):
            raise
