"""Run every client, interleaved, several times; print the table and write it to RESULTS.md. `python -m benchmarks`."""

from __future__ import annotations

import json
import platform
import socket
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.clients import CLIENTS

REQUESTS = 3000
ROUNDS = 5
SERVERS = 4
FLOOR = "bare aiohttp loop with a journal"
RESULTS = Path(__file__).with_name("RESULTS.md")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def measure(name: str, ports: list[int]) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.clients", name, str(REQUESTS), *map(str, ports)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr}")
    result: dict[str, float] = json.loads(done.stdout)
    if result["answers"] != REQUESTS:
        raise SystemExit(f"{name} answered {result['answers']} of {REQUESTS}")
    return result


def table(results: dict[str, list[dict[str, float]]]) -> str:
    costs = {name: [1000 * r["cpu_s"] / REQUESTS for r in rounds] for name, rounds in results.items()}
    lines = ["| client | CPU ms a request: median (min – max) | to the bare loop | requests/s |", "|---|---|---|---|"]
    for name, rounds in results.items():
        ratio = statistics.median(own / floor for own, floor in zip(costs[name], costs[FLOOR], strict=True))
        rate = statistics.median(REQUESTS / r["wall_s"] for r in rounds)
        cost = f"{statistics.median(costs[name]):.3f} ({min(costs[name]):.3f} – {max(costs[name]):.3f})"
        lines.append(f"| {name} | {cost} | {ratio:.2f}x | {rate:.0f} |")
    return "\n".join(lines)


def main() -> None:
    ports = [free_port() for _ in range(SERVERS)]
    results: dict[str, list[dict[str, float]]] = {name: [] for name in CLIENTS}
    with ExitStack() as stack:
        for port in ports:
            server = subprocess.Popen([sys.executable, "-m", "benchmarks.instant_server", str(port)])
            stack.callback(server.wait)
            stack.callback(server.terminate)
        for port in ports:
            wait_for(port)
        for _ in range(ROUNDS):  # interleaved, so that a noisy minute hits all alike
            for name in CLIENTS:
                results[name].append(measure(name, ports))
    shown = table(results)
    print(shown)
    RESULTS.write_text(report(shown))


def report(shown: str) -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in ("openai", "aiohttp", "httpx2", "orjson"))
    return f"""# Results

{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, {versions}. Made by `make bench`.

## What a request costs the client

{SERVERS} servers that answer at once, on this machine; {REQUESTS} chats of 1 kB; {ROUNDS} rounds, the clients taking
turns, each in a process of its own. CPU time is that of the client's process; ratios are within a round. Only ratios
travel to other machines. The bare loop has no names, no plan, no failover: it is the floor.

{shown}
"""


if __name__ == "__main__":
    main()
