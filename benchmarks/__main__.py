"""Run all benchmarks, or those named, and write RESULTS.md: `python -m benchmarks [fit cost rate trace slow ...]`."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable

from benchmarks import (
    agreement,
    annotation,
    classification,
    cost,
    coverage,
    first_request,
    fit,
    folding,
    inference,
    journaling,
    makespan,
    memory,
    peers,
    report,
    results,
    resume,
    scale,
    soak,
)
from benchmarks.results import Section

SECTIONS: dict[str, Callable[[], Section]] = {
    "cost": cost.cost,
    "rate": cost.rate,
    "fit": fit.fit,
    "trace": makespan.trace,
    "slow": makespan.slow,
    "prefixes": makespan.prefixes,
    "faults": makespan.faults,
    "gone": makespan.gone,
    "soak": soak.soak,
    "journaling": journaling.journaling,
    "resume": resume.resume,
    "first-request": first_request.first_request,
    "memory": memory.memory,
    "scale": scale.scale,
    "coverage": coverage.coverage,
    "agreement": agreement.agreement,
    "folding": folding.folding,
    "report": report.report,
    "classification": classification.classification,
    "infer": inference.infer,
    "annotate": annotation.annotation,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="measure, and write RESULTS.md")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {' '.join(SECTIONS)} (default: all)")
    names = parser.parse_args().names or list(SECTIONS)
    if unknown := [name for name in names if name not in SECTIONS]:
        parser.error(f"no benchmark {', '.join(unknown)}; there are: {' '.join(SECTIONS)}")
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))  # so that servers and routers are ended too
    for name in names:
        started = time.monotonic()
        section = SECTIONS[name]()
        results.save(name, section, time.monotonic() - started)
        results.write(list(SECTIONS), list(peers.PACKAGES.values()))
        print(f"\n## {section.title}\n\n{section.text}\n", flush=True)


if __name__ == "__main__":
    main()
