"""`python -m analyze.batch` in a few milliseconds: a parent that has imported everything forks a child for each start.

    Warm ──(a line of JSON: argv, environment, folder, files for the streams)──> parent ──fork──> child: the command
         <──(a line of JSON: pid; later its exit code)──────────────────────────

A child is a process of its own: it can be killed, stopped and continued like any other. Two parents take turns, since
each has its own seed for `hash`, as two starts of Python have. Knows no job.
"""

from __future__ import annotations

import gc
import json
import os
import queue
import runpy
import select
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import cycle
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
MODULE = "analyze.batch"
ALSO_NEEDED = ("openai", "jsonschema_rs", "tqdm", "jinja2", "encodings.idna", "encodings.gb18030", "encodings.utf_16")
LONGEST_S = 120.0
"""Against a hang: a busy machine takes ten seconds to import what a parent needs."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended: `code` is negative where a signal ended it, as in subprocess."""

    code: int
    out: str
    err: str


class Process:
    """A started command. Its output is in files, so that nobody has to read along."""

    def __init__(self, pid: int, out: Path, err: Path, ended: queue.SimpleQueue[int]) -> None:
        self.pid, self._out, self._err, self._ended = pid, out, err, ended

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def interrupt(self) -> None:
        os.kill(self.pid, signal.SIGINT)

    def terminate(self) -> None:
        os.kill(self.pid, signal.SIGTERM)

    @property
    def out(self) -> str:
        return self._out.read_text(errors="replace")

    @property
    def err(self) -> str:
        return self._err.read_text(errors="replace")

    @property
    def has_ended(self) -> bool:
        return not self._ended.empty()

    def wait(self, timeout_s: float = LONGEST_S) -> Ended:
        """Wait for its end; one that takes longer is killed, and AssertionError raised."""
        try:
            code = self._ended.get(timeout=timeout_s)
        except queue.Empty:
            self.kill()
            raise AssertionError(f"still running after {timeout_s} s; it said: {self.out} {self.err}") from None
        self._ended.put(code)
        return Ended(code, self.out, self.err)


class Warm:
    """Starts commands from warm parents, `parents` of them in turn."""

    def __init__(self, parents: int = 2) -> None:
        self._parents = [_Parent() for _ in range(parents)]
        self._turn = cycle(self._parents)
        self._one_at_a_time = threading.Lock()  # a parent tells the pids in the order of the starts

    def start(
        self,
        argv: Sequence[str | Path],
        *,
        folder: Path,
        streams: Path,
        env: Mapping[str, str] | None = None,
        stdin: Path | None = None,
        first: Sequence[Any] = (),
        module: str = MODULE,
    ) -> Process:
        """Start `python -m module argv` in `folder`, its output in `streams`. `first`: "module:function" and its
        arguments, which the child calls before all else."""
        out, err = streams / "stdout", streams / "stderr"
        for stream in (out, err):
            stream.write_bytes(b"")  # the child may be killed before it opens them
        job = {
            "module": module,
            "argv": [str(word) for word in argv],
            "folder": str(folder),
            "env": dict(env or {}),
            "streams": [str(stdin or os.devnull), str(out), str(err)],
            "first": list(first),
        }
        with self._one_at_a_time:
            pid, ended = next(self._turn).start(job)
        return Process(pid, out, err, ended)

    def close(self) -> None:
        for parent in self._parents:
            parent.close()


class _Parent:
    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.promises.warm"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._started: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._ended: dict[int, queue.SimpleQueue[int]] = {}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def start(self, job: dict[str, Any]) -> tuple[int, queue.SimpleQueue[int]]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        pid = self._started.get(timeout=LONGEST_S)
        assert pid, "the parent has ended; its stderr says why"
        return pid, self._ended[pid]

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said = json.loads(line)
            if "code" in said:
                self._ended[said["pid"]].put(said["code"])
            else:
                self._ended[said["pid"]] = queue.SimpleQueue()
                self._started.put(said["pid"])
        self._started.put(0)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)
        self._reader.join(60)


# -- the parent's side -------------------------------------------------------------------------------------------------


def main() -> None:
    for name in (MODULE, *ALSO_NEEDED):
        import_module(name)
    del sys.modules[MODULE]  # the child runs it as `__main__`
    gc.collect()
    gc.freeze()
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writing)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    while True:
        ready, _, _ = select.select([sys.stdin, reading], [], [])
        if reading in ready:
            os.read(reading, 4096)
            _tell_who_ended()
        if sys.stdin in ready:
            line = sys.stdin.readline()
            if not line:
                return
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _run(json.loads(line))
            print(json.dumps({"pid": pid}), flush=True)


def _tell_who_ended() -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        print(json.dumps({"pid": pid, "code": os.waitstatus_to_exitcode(status)}), flush=True)


def _run(job: dict[str, Any]) -> None:
    """Become the command; does not return."""
    code: Any = 70
    try:
        stdin, out, err = job["streams"]
        os.dup2(os.open(stdin, os.O_RDONLY), 0)
        os.dup2(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666), 1)
        os.dup2(os.open(err, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666), 2)
        sys.stdin = open(0, closefd=False)  # noqa: SIM115 - the stream of the process
        os.chdir(job["folder"])
        os.environ.update(job["env"])
        sys.argv = ["-m", *job["argv"]]
        if job["first"]:
            where, *arguments = job["first"]
            module, name = where.split(":")
            getattr(import_module(module), name)(*arguments)
        runpy.run_module(job["module"], run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001 - as Python does at its top level
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):
                code = 120  # as Python says where its streams cannot be written at its end
        os._exit(code if isinstance(code, int) else 0 if code is None else 1)


if __name__ == "__main__":
    main()
