"""What a server says of itself over HTTP, and what that makes of it. Sends GET requests only, never through a proxy."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal

from analyze.servers import processes

State = Literal["ready", "starting", "dead", "foreign", "down"]
"""ready: answers, ours or not · starting: our process runs, no answer yet · dead: we started it and it no longer works
· foreign: something that is no vLLM holds the port · down: nothing there"""

PROBE_TIMEOUT_S = 5.0
"""A vLLM under full load answers /health in milliseconds; a host that swaps takes seconds."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One look at a port: the status of /health, None where nothing accepts; the names and paths of its models."""

    health: int | None = None
    is_vllm: bool = False
    names: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()

    @property
    def ready(self) -> bool:
        return self.health == 200 and self.is_vllm

    def serves(self, model: str) -> bool:
        return model in self.names or model in self.paths


@dataclass(frozen=True, slots=True)
class Load:
    """What /metrics says: requests running and waiting, share of the KV cache in use (0 to 1)."""

    running: int = 0
    waiting: int = 0
    kv_used: float = 0.0


@dataclass(frozen=True, slots=True)
class InstanceState:
    """One line of the check. `ours` tells that a pid file of ours is believed; `pid` is then its process."""

    port: int
    state: State
    ours: bool = False
    pid: int | None = None
    gpus: tuple[str, ...] = ()
    model: str | None = None
    load: Load | None = field(default=None)
    detail: str = ""


def look(host: str, port: int, api_key: str | None = None, *, timeout_s: float = PROBE_TIMEOUT_S) -> Seen:
    """Ask a port what it is."""
    status, _ = get(host, port, "/health", timeout_s=timeout_s)
    if not status:
        return Seen(health=status)
    models_status, body = get(host, port, "/v1/models", api_key=api_key, timeout_s=timeout_s)
    if models_status == 401:
        return Seen(health=status, is_vllm=True)
    try:
        cards = json.loads(body)["data"] if models_status == 200 else []
        names = tuple(str(card["id"]) for card in cards)
        paths = tuple(str(card["root"]) for card in cards if card.get("root"))
    except (ValueError, KeyError, TypeError, AttributeError):
        names = paths = ()
    return Seen(health=status, is_vllm=bool(names), names=names, paths=paths)


def look_all(host: str, ports: Sequence[int], api_key: str | None = None) -> dict[int, Seen]:
    """Look at several ports at once, so that one that hangs holds up no other."""
    with ThreadPoolExecutor(len(ports)) as pool:
        return dict(zip(ports, pool.map(lambda port: look(host, port, api_key), ports), strict=True))


def load_of(host: str, port: int, *, timeout_s: float = PROBE_TIMEOUT_S) -> Load | None:
    """Return the load of a server, None where it does not say."""
    status, body = get(host, port, "/metrics", timeout_s=timeout_s)
    return parse_metrics(body.decode(errors="replace")) if status == 200 else None


_SAMPLE = re.compile(r"^(vllm:[a-z_]+)(?:\{.*\})? ([-+.\deE]+|NaN|[+-]Inf)(?: \d+)?$", re.MULTILINE)


def parse_metrics(text: str) -> Load | None:
    """Read Prometheus text: requests add up over the engines of a server, cache use is their fullest."""
    values: dict[str, list[float]] = {}
    for name, value in _SAMPLE.findall(text):
        if value[-1].isdigit():
            values.setdefault(name, []).append(float(value))
    running, waiting = values.get("vllm:num_requests_running"), values.get("vllm:num_requests_waiting")
    if running is None or waiting is None:
        return None
    return Load(int(sum(running)), int(sum(waiting)), max(values.get("vllm:kv_cache_usage_perc", [0.0])))


def get(
    host: str, port: int, path: str, *, api_key: str | None = None, timeout_s: float = PROBE_TIMEOUT_S
) -> tuple[int | None, bytes]:
    """Return status and body; status None where nothing accepts the connection, 0 where what accepts speaks no HTTP."""
    connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    try:
        connection.connect()
    except OSError:
        return None, b""
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read(4_000_000)
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


def state_of(
    record: processes.Record | None, running: bool, seen: Seen, *, startup_timeout_s: float, now: float
) -> State:
    """Say what a port's instance is, from its pid file, whether that process runs, and what the port answers. Pure."""
    if record is not None and running:
        if seen.ready:
            return "ready"
        if seen.health == 503 or now - record.started > startup_timeout_s:
            return "dead"  # vLLM's engine is gone, or it has been silent for longer than any start takes
        return "starting"
    if seen.ready:
        return "ready"
    if seen.health is not None:
        return "foreign"
    return "dead" if record is not None else "down"
