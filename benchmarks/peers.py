"""The peers, each in an environment of its own under `.peers/`, made when absent; routers started in front of servers.

A peer that cannot be installed or started is an Absent, which the tables say; the rest goes on without it.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = Path(__file__).with_name(".peers")
PACKAGES = {
    "openai": f"openai[aiohttp]=={version('openai')}",  # what MultiVLLMClient itself stands on
    "litellm": "litellm==1.106.2",  # 1.109.1 asks for a certifi that the index did not have
    "sglang-router": "sglang-router==0.3.2",
    "vllm-router": "vllm-router==0.1.17",
}
ROUTERS = {"sglang-router": "sglang_router.launch_router", "vllm-router": "vllm_router.launch_router"}
START_S = 60.0


class Absent(Exception):
    """A peer cannot be had here; the message says why."""


def python_of(peer: str) -> str:
    """Return the interpreter of a peer's environment, installed if need be. Raises Absent."""
    folder = FOLDER / peer
    stamp = folder / "installed.txt"  # written last, so that an interrupted installation is made anew
    python = str(folder / "bin" / "python")
    if not stamp.exists() or stamp.read_text() != PACKAGES[peer]:
        print(f"installing {PACKAGES[peer]} …", file=sys.stderr)
        for command in (
            [sys.executable, "-m", "venv", "--clear", str(folder)],
            [python, "-m", "pip", "install", "--quiet", PACKAGES[peer]],
        ):
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise Absent(f"{PACKAGES[peer]} cannot be installed: {last_line(done.stderr)}")
        stamp.write_text(PACKAGES[peer])
    return python


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(listener.getsockname()[1]) for listener in listeners]


@contextmanager
def router(peer: str, urls: Sequence[str], policy: str = "cache_aware") -> Iterator[str]:
    """Run a router in front of the servers at `urls`; yield its base URL. Raises Absent."""
    python, log = python_of(peer), FOLDER / f"{peer}.log"
    port, metrics_port = free_ports(2)
    workers = [url.removesuffix("/v1") for url in urls]
    flags = ["--host", "127.0.0.1", "--port", str(port), "--prometheus-port", str(metrics_port), "--policy", policy]
    command = [python, "-m", ROUTERS[peer], *flags, "--worker-startup-check-interval", "1", "--worker-urls", *workers]
    with open(log, "wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=FOLDER)
    try:
        _wait_until_ready(process, f"http://127.0.0.1:{port}/health", peer)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.kill()  # asked politely, sglang-router waits for minutes
        process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, peer: str) -> None:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # http_proxy is not for these
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            with direct.open(url, timeout=5) as reply:
                if reply.status == 200:
                    return
        except OSError:
            time.sleep(0.2)
    raise Absent(f"{PACKAGES[peer]} does not start: {last_line((FOLDER / f'{peer}.log').read_text(errors='replace'))}")


def last_line(text: str) -> str:
    """Return what fits into a cell of a table."""
    return (text.strip().splitlines() or ["it said nothing"])[-1][:300].replace("|", "\\|")
