"""Run a program on code that may be hostile: its own session, bounded time, memory and output, nothing of our shell.

Knows no analyser. A program that overruns is killed with all it started, and the caller hears why.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

# Address space, not resident memory: Python with lizard and Pygments takes 0.1 GiB, ruff with two threads 0.3.
MEMORY_BYTES = 2 << 30
OUTPUT_BYTES = 64 << 20
# CPU decides, so that a busy machine measures what an idle one does; wall clock only ends a sleeper.
WALL_PER_CPU = 60

# Where Python and its libraries are. All else in the environment (RUFF_OUTPUT_FILE, PYTHONWARNINGS, …) stays out.
_KEPT = ("HOME", "LD_LIBRARY_PATH", "PATH", "PYTHONHOME", "PYTHONPATH", "PYTHONUSERBASE", "TMPDIR")
_SET = {
    "LC_ALL": "C.UTF-8",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONHASHSEED": "0",
    "RAYON_NUM_THREADS": "2",  # for ruff; a thread for each of 128 cores would reserve more than MEMORY_BYTES
}


# A shell takes the limits and becomes Python: set from here they would come too late where the machine is so busy that
# the program runs before its parent does. Memory counts in KiB, files in blocks of 512 bytes.
_LIMITED = 'ulimit -S -t "$1"; ulimit -H -t "$2"; ulimit -v "$3"; ulimit -f "$4"; ulimit -c 0; shift 4; exec "$@"'


class GaveUp(Exception):
    """The program was stopped or ended badly; the text says why, in the same words for the same input."""


def run_python(arguments: Sequence[str], *, folder: Path, stdin: bytes = b"", cpu_s: float) -> bytes:
    """Run this Python with `arguments` in `folder` and return what it printed.

    `cpu_s` bounds CPU seconds, WALL_PER_CPU times as much bounds wall clock. Exit statuses 0 and 1 are good: ruff and
    bandit end with 1 when they found something. Raises GaveUp.
    """
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as printed:
        given.write(stdin)
        given.seek(0)
        process = subprocess.Popen(
            ["/bin/sh", "-c", _LIMITED, "sh", *_limits(cpu_s), sys.executable, "-P", *arguments],
            cwd=folder,
            env={name: os.environ[name] for name in _KEPT if name in os.environ} | _SET,
            stdin=given,
            stdout=printed,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            process.wait(WALL_PER_CPU * cpu_s)
        except subprocess.TimeoutExpired:
            raise GaveUp(f"over {WALL_PER_CPU * cpu_s:g} s") from None
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if process.returncode not in (0, 1):
            raise GaveUp(how_it_ended(process.returncode, cpu_s))
        printed.seek(0)
        return printed.read()


def how_it_ended(returncode: int, cpu_s: float) -> str:
    """Say in a few words why a process ended with this return code (negative: by that signal)."""
    if returncode in (-signal.SIGXCPU, -signal.SIGPROF):
        return f"over {cpu_s:g} s of CPU"
    if returncode < 0:
        return f"ended by {signal.Signals(-returncode).name}"
    return f"failed with status {returncode}"


def _limits(cpu_s: float) -> list[str]:
    """Return the limits in the order of _LIMITED, none above what this process may set itself."""
    seconds = max(1, round(cpu_s))
    wanted = (
        (resource.RLIMIT_CPU, seconds, 1),
        (resource.RLIMIT_CPU, seconds + 1, 1),
        (resource.RLIMIT_AS, MEMORY_BYTES, 1024),
        (resource.RLIMIT_FSIZE, OUTPUT_BYTES, 512),
    )
    most = {kind: resource.getrlimit(kind)[1] for kind, _, _ in wanted}
    return [
        str((value if most[kind] == resource.RLIM_INFINITY else min(value, most[kind])) // unit)
        for kind, value, unit in wanted
    ]
