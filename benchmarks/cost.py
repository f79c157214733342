"""What a request costs the client: CPU a request in bulk and in threads, requests a second of the async clients."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import workloads
from benchmarks.peers import Absent
from benchmarks.results import Section, Verdict
from benchmarks.rig import Failed, Measured, Server, measure, running, spread, table

ROUNDS = 5
SERVERS = 4
IN_FLIGHT = 64
MANY_IN_FLIGHT = 512
LATENCY_S = 0.2
"""What a server takes in the rate benchmark, so that 512 requests really are out: 2,560 a second at most."""

BULK, SOME, FEW, FEWER = 20_000, 4_000, 3_000, 1_000
"""Rows a round: what the issue names, and less for clients that take milliseconds a row."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """A client, as the tables call it, how many rows it is given, and how many it may have in flight."""

    shown: str
    client: str
    rows: int
    in_flight: int


BARE = Contestant("bare aiohttp loop with a journal", "bare-loop", BULK, IN_FLIGHT)
BATCH = Contestant("**analyze.batch**", "batch", BULK, IN_FLIGHT)
OPENAI = Contestant("openai.OpenAI, 64 threads", "openai-threads", FEW, IN_FLIGHT)
MULTI = Contestant("**MultiVLLMClient**, 64 threads", "multi", FEW, IN_FLIGHT)
ASYNC_OPENAI = Contestant("openai.AsyncOpenAI, 64 in flight", "openai-async", FEW, IN_FLIGHT)
LITELLM = Contestant("LiteLLM Router, 64 in flight", "litellm", FEWER, IN_FLIGHT)

MANY_OPENAI = Contestant("openai.AsyncOpenAI", "openai-async", SOME, MANY_IN_FLIGHT)
MANY_AIOHTTP = Contestant("openai.AsyncOpenAI over aiohttp", "openai-aiohttp", SOME, MANY_IN_FLIGHT)
MANY_MULTI = Contestant("**AsyncMultiVLLMClient**", "async-multi", SOME, MANY_IN_FLIGHT)

Rounds = Mapping[Contestant, Sequence[Measured]]


def cost() -> Section:
    """CPU a request, bulk and threads, against servers that answer at once."""
    rounds, absent = _take_turns([BARE, BATCH, OPENAI, MULTI, ASYNC_OPENAI, LITELLM], Server())

    def process(m: Measured) -> float:
        return m.process_cpu_ms

    def asking(m: Measured) -> float:
        return m.cpu_ms

    rows = [
        [
            one.shown,
            f"{one.rows:,}",
            spread([process(m) for m in taken], ".3f"),
            spread([asking(m) for m in taken], ".3f"),
            spread(_ratios(rounds, one, process, BARE, process)),
            f"{statistics.median(m.rows / m.wall_s for m in taken):.0f}",
        ]
        for one, taken in rounds.items()
    ]
    rows += [[one.shown, why, "", "", "", ""] for one, why in absent.items()]
    head = ["client", "rows", "CPU ms a row: whole process", "asking only", "whole process to the bare loop", "rows/s"]
    text = f"""{SERVERS} servers that answer at once; chats of 1 kB; {ROUNDS} rounds, the clients taking turns, each in
a process of its own: median (least – most), ratios within a round. "Whole process" has start, imports and set-up in
it, "asking only" has not, and 200 rows went before it; where ours is set against an SDK it is our whole process
against the SDK's asking. The bare loop has no names, no plan, no checks, no failover: it is the floor.

{table(head, rows)}"""
    verdicts = [
        _at_most(
            "`analyze.batch`, CPU a row, whole process, to the bare loop",
            1.5,
            _ratios(rounds, BATCH, process, BARE, process),
        )
    ]
    for least, peer, name in ((4, OPENAI, "the openai SDK in threads"), (15, LITELLM, "LiteLLM Router")):
        verdicts += _at_least(
            f"{name} to `analyze.batch`, CPU a row", least, _ratios(rounds, peer, asking, BATCH, process)
        )
    verdicts.append(
        _at_most(
            "`MultiVLLMClient` in 64 threads to the openai SDK, CPU a row",
            1.0,
            _ratios(rounds, MULTI, asking, OPENAI, asking),
        )
    )
    return Section("What a row costs the client", text, verdicts)


def rate() -> Section:
    """Requests a second with many in flight, against servers that take a while."""
    rounds, absent = _take_turns([MANY_OPENAI, MANY_AIOHTTP, MANY_MULTI], Server(delay_s=LATENCY_S))

    def per_s(m: Measured) -> float:
        return m.rows / m.wall_s

    rows = [
        [
            one.shown,
            spread([per_s(m) for m in taken], ".0f"),
            spread(_ratios(rounds, one, per_s, MANY_OPENAI, per_s)),
            spread([m.cpu_ms for m in taken], ".2f"),
        ]
        for one, taken in rounds.items()
    ]
    rows += [[one.shown, why, "", ""] for one, why in absent.items()]
    head = ["client", "requests/s", "to AsyncOpenAI", "CPU ms a request"]
    text = f"""{SERVERS} servers that answer after {LATENCY_S} s, {MANY_IN_FLIGHT} requests in flight, {SOME:,} chats
of 1 kB, {ROUNDS} rounds. No client can be faster than {MANY_IN_FLIGHT / LATENCY_S:.0f} a second here.

{table(head, rows)}"""
    verdicts = _at_least(
        "`AsyncMultiVLLMClient` to `AsyncOpenAI`, requests/s, 512 in flight",
        1.8,
        _ratios(rounds, MANY_MULTI, per_s, MANY_OPENAI, per_s),
    )
    return Section("Many requests in flight", text, verdicts)


def _take_turns(contestants: Sequence[Contestant], server: Server) -> tuple[Rounds, dict[Contestant, str]]:
    """Measure every contestant once a round, so that a noisy minute hits all alike."""
    rounds: dict[Contestant, list[Measured]] = {one: [] for one in contestants}
    absent: dict[Contestant, str] = {}
    with tempfile.TemporaryDirectory() as folder, running([server] * SERVERS) as fleet:
        files = {
            n: workloads.write(workloads.small(n), Path(folder, f"{n}.jsonl")) for n in (200, BULK, SOME, FEW, FEWER)
        }
        for _ in range(ROUNDS):
            for one in [one for one in contestants if one not in absent]:
                try:
                    taken = measure(
                        one.client, files[one.rows], fleet.urls, in_flight=one.in_flight, warm_up=files[200]
                    )
                    if taken.lost:
                        raise Failed(f"lost {taken.lost} of {taken.rows} rows: {taken.said}")
                except (Absent, Failed) as problem:
                    absent[one] = str(problem)
                    del rounds[one]
                else:
                    rounds[one].append(taken)
    return rounds, absent


def _ratios(
    rounds: Rounds,
    one: Contestant,
    of_one: Callable[[Measured], float],
    other: Contestant,
    of_other: Callable[[Measured], float],
) -> list[float]:
    """Return the ratio in every round; none where one of the two is absent."""
    pairs = zip(rounds.get(one, ()), rounds.get(other, ()), strict=False)
    return [of_one(a) / of_other(b) for a, b in pairs]


def _at_most(what: str, most: float, ratios: Sequence[float]) -> Verdict:
    reached = spread(ratios) if ratios else "not measured"
    return Verdict(what, f"≤ {most}x", reached, bool(ratios) and statistics.median(ratios) <= most)


def _at_least(what: str, least: float, ratios: Sequence[float]) -> list[Verdict]:
    reached = spread(ratios) if ratios else "not measured"
    return [Verdict(what, f"≥ {least}x", reached, bool(ratios) and statistics.median(ratios) >= least)]
