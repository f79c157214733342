"""`python -m analyze.servers.guard LOGS`: stops the servers of a job whose process has ended without doing so.

Its standard input is a pipe from the job, which the kernel closes when that ends, by whatever signal. Then all that the
pid files in LOGS prove is stopped; where the job has stopped it already, there is nothing to do.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from analyze.servers import processes
from analyze.servers.stopping import stop_records


def main(argv: list[str]) -> int:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # they end the job, and this afterwards
    while sys.stdin.buffer.read(1):
        pass
    stop_records(processes.read_records(Path(argv[0])), drain_timeout_s=0)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
