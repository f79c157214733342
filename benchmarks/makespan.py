"""How long a batch takes, through every client and router, against the best that the same servers could do.

The servers are simulated (`engine`), four with 64 slots each, and new for every run, as their caches must be.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks import ideal, peers, workloads
from benchmarks.engine import Profile
from benchmarks.fit import FIT
from benchmarks.peers import Absent
from benchmarks.results import Section, Verdict
from benchmarks.rig import Failed, Measured, Running, Server, measure, running, spread, table

SERVERS = 4
TRACE_ROWS, FAULT_ROWS = 3000, 1500
IN_FLIGHT = 512
"""What peers may have out at a time: two rows a slot, from where on more brings nothing. Ours decides for itself."""

GPU = Profile(step_s=8e-3, sequence_s=0.06e-3, prefill_token_s=0.02e-3)
TIME_SCALE = 0.35
"""Servers this much faster than GPU, so that a run takes 20 s, not 60, and yet LiteLLM's 4 ms a row are half of it."""

FAULT_TIME_SCALE = 0.7
"""Slower than above: a dead fourth of the fleet costs 1.33x alone; faults of 4 + 2 s must fit into the 0.17 left."""

BEHIND, TRIES = 0.02, 3
"""A run is made again when a server fell this share of it behind its own clock: that is not the client's doing."""

SLOW = 3.0
NO_TRACE = f"Left out: the trace {workloads.TRACE.name} is not here (it is looked for in ../shared/data/traces)."


@dataclass(frozen=True, slots=True)
class Way:
    """A way to push rows through the fleet: a client, before it perhaps a router; `rows` where it gets its own."""

    shown: str
    client: str
    router: str | None = None
    in_flight: int = IN_FLIGHT
    rounds: int = 1
    rows: Sequence[workloads.Row] | None = field(default=None, compare=False)


OURS = Way("**analyze.batch**", "batch", in_flight=0, rounds=2)
OPENAI = Way("openai SDK, 512 threads, clients in turn", "openai-threads")
LITELLM = Way("LiteLLM Router", "litellm")
SGLANG = Way("sglang-router, cache_aware", "plain-http", router="sglang-router")
VLLM = Way("vllm-router, cache_aware", "plain-http", router="vllm-router")
BY_HAND = Way("whole groups placed by hand", "groups-by-hand", rounds=3)
PEERS = (OPENAI, LITELLM, SGLANG, VLLM)


@dataclass(slots=True)
class Taken:
    """The runs of one way, or the problem that kept it from running; `posts` is what the servers were asked in all."""

    way: Way
    runs: list[Measured] = field(default_factory=list)
    posts: list[int] = field(default_factory=list)
    problem: str | None = None
    late: int = 0  # runs in which the servers did not keep their own time

    @property
    def walls_s(self) -> list[float]:
        return [run.wall_s for run in self.runs]

    @property
    def lost(self) -> int:
        return max(run.lost for run in self.runs)

    @property
    def asked(self) -> float:
        """POSTs a row, those of rows that are asked again included."""
        return statistics.median(posts / run.rows for posts, run in zip(self.posts, self.runs, strict=True))


def run_all(
    ways: Iterable[Way],
    rows: Sequence[workloads.Row],
    servers: Sequence[Server],
    before: Callable[[Running], None] = lambda fleet: None,
) -> list[Taken]:
    """Run every way as often as it asks for, in rounds; `before` is done to the fleet when all is up."""
    taken = [Taken(way) for way in ways]
    with tempfile.TemporaryDirectory() as folder:
        files = {id(t): workloads.write(t.way.rows or rows, Path(folder, f"{n}.jsonl")) for n, t in enumerate(taken)}
        for number in range(max(way.rounds for way in ways)):
            for one in taken:
                if one.problem is None and number < one.way.rounds:
                    _run(one, files[id(one)], servers, before)
    return taken


def _run(one: Taken, requests: Path, servers: Sequence[Server], before: Callable[[Running], None]) -> None:
    """Measure one way once, and again where the machine was too busy for the servers to keep their own time."""
    way, may_hang = one.way, any(server.faults for server in servers)
    for _ in range(TRIES):
        try:
            with running(servers) as fleet, _in_front(way, fleet) as urls:
                before(fleet)
                run = measure(way.client, requests, urls, in_flight=way.in_flight)
        except (Absent, Failed) as problem:
            one.problem = str(problem)
            return
        kept_time = may_hang or fleet.behind_s <= BEHIND * run.wall_s
        if kept_time:
            break
    one.late += not kept_time
    one.runs.append(run)
    one.posts.append(fleet.posts)


@contextmanager
def _in_front(way: Way, fleet: Running) -> Iterator[list[str]]:
    if way.router is None:
        yield fleet.urls
    else:
        with peers.router(way.router, fleet.urls) as url:
            yield [url]


def compared(all_taken: Sequence[Taken], ideal_s: float, head: str, ratio: Callable[[float, float], float]) -> str:
    """Return the table of some ways; `ratio(ideal, actual)` is its figure."""
    rows = []
    for one in all_taken:
        if one.problem is not None:
            rows.append([one.way.shown, one.problem, "", "", ""])
            continue
        ratios = spread([ratio(ideal_s, wall_s) for wall_s in one.walls_s]) + " *" * one.late
        rows.append([one.way.shown, ratios, spread(one.walls_s, ".1f"), str(one.lost), f"{one.asked:.3f}"])
    late = sum(one.late for one in all_taken)
    note = f"\n\n\\* one run for which the machine was too busy, {TRIES} times in a row" if late else ""
    return table(["way", head, "seconds", "rows lost", "POSTs a row"], rows) + note


def _gain(ideal_s: float, actual_s: float) -> float:
    return ideal_s / actual_s


def _times(ideal_s: float, actual_s: float) -> float:
    return actual_s / ideal_s


def _verdict(
    what: str, one: Taken, ideal_s: float, *, least: float | None = None, most: float | None = None
) -> Verdict:
    """Judge the median run of one way; a lost row is never within the target."""
    to_reach = f"≥ {least}" if most is None else f"0 lost, ≤ {most:.2f}x"
    if one.problem is not None:
        return Verdict(what, to_reach, one.problem, False)
    ratios = [(_gain if most is None else _times)(ideal_s, wall_s) for wall_s in one.walls_s]
    reached = statistics.median(ratios)
    within = (least is None or reached >= least) and (most is None or reached <= most)
    shown = spread(ratios) if not one.lost and most is None else f"{one.lost} lost, {spread(ratios)}x"
    return Verdict(what, to_reach, shown, within and not one.lost)


# -- the trace -----------------------------------------------------------------------------------------------------


def _trace_is_here() -> bool:
    return workloads.TRACE.exists()


def trace() -> Section:
    """Four equal servers."""
    title = "Makespan of the recorded trace"
    if not _trace_is_here():
        return Section(title, NO_TRACE)
    fast, rows = GPU.slower(TIME_SCALE), workloads.trace(TRACE_ROWS)
    ideal_s = ideal.central_queue(workloads.sequences(rows), [fast] * SERVERS)
    taken = run_all([OURS, *PEERS], rows, [Server(fast)] * SERVERS)
    text = f"""The first {TRACE_ROWS:,} rows of azure_code.csv, output lengths x {workloads.LENGTH_FACTOR} capped at
{workloads.LONGEST:,}, unknown to the clients; four servers with 64 slots, the GPU's constants x {TIME_SCALE}. Ideal:
one central queue in the order of the file, from which a server takes when a slot is free: {ideal_s:.1f} s. Peers have
{IN_FLIGHT} requests in flight; ours decides for itself.

{compared(taken, ideal_s, "ideal / actual", _gain)}"""
    verdicts = [_verdict("makespan of the trace, central-queue ideal / actual", taken[0], ideal_s, least=0.98)]
    if FIT.exists():
        cpu = replace(GPU, **{name: json.loads(FIT.read_text())["profile"][name] for name in FITTED})
        cpu_s = ideal.central_queue(workloads.sequences(rows), [cpu] * SERVERS)
        on_cpu = run_all([replace(OURS, rounds=1)], rows, [Server(cpu)] * SERVERS)
        text += f"""

The same with the constants fitted to the CPU server, at their own speed; ideal {cpu_s:.1f} s:

{compared(on_cpu, cpu_s, "ideal / actual", _gain)}"""
    return Section(title, text, verdicts)


FITTED = ("step_s", "sequence_s", "prefill_token_s")


def slow() -> Section:
    """One of the four takes three times as long for everything."""
    title = "Makespan with one server three times slower"
    if not _trace_is_here():
        return Section(title, NO_TRACE)
    fast, rows = GPU.slower(TIME_SCALE), workloads.trace(TRACE_ROWS)
    profiles = [fast] * (SERVERS - 1) + [fast.slower(SLOW)]
    ideal_s = ideal.central_queue(workloads.sequences(rows), profiles)
    told = [
        replace(OURS, rounds=1, shown=f"{OURS.shown}, {shown}", rows=workloads.trace(TRACE_ROWS, lengths=lengths))
        for lengths, shown in (
            ("known", "max_tokens = the length"),
            ("noisy", "max_tokens = the length, log-sigma 0.3"),
        )
    ]
    taken = run_all([replace(OURS, rounds=1), *told, *PEERS], rows, [Server(profile) for profile in profiles])
    text = f"""As above, and the fourth server takes {SLOW:.0f} times as long for every step. Ideal, first come first
served, which knows no lengths: {ideal_s:.1f} s. Where a row's max_tokens is near its length, ours can begin with the
long ones.

{compared(taken, ideal_s, "ideal / actual", _gain)}"""
    verdicts = [
        _verdict("one server 3x slower, ideal / actual", taken[0], ideal_s, least=1.0),
        _verdict("the same, lengths known", taken[1], ideal_s, least=1.15),
        _verdict("the same, lengths known but for log-sigma 0.3", taken[2], ideal_s, least=1.15),
    ]
    return Section(title, text, verdicts)


# -- shared prefixes -----------------------------------------------------------------------------------------------

GROUPS, EACH, PREFIX_TOKENS, OWN_TOKENS, OUTPUT_TOKENS = 250, 12, 1500, 100, 40


def prefixes() -> Section:
    """Rows in groups with one long beginning each."""
    in_order = workloads.grouped(GROUPS, EACH, PREFIX_TOKENS, OWN_TOKENS, OUTPUT_TOKENS)
    mixed = workloads.shuffled(in_order)
    ungrouped = workloads.without_groups(mixed)
    ways = [
        replace(BY_HAND, rows=in_order),
        replace(OURS, rounds=3, shown=f"{OURS.shown}, with `group`"),
        replace(OURS, rounds=3, shown=f"{OURS.shown}, without", rows=ungrouped),
        replace(OPENAI, rows=ungrouped),
        replace(LITELLM, rows=ungrouped),
        replace(SGLANG, rows=ungrouped),
        replace(VLLM, rows=ungrouped),
    ]
    taken = run_all(ways, mixed, [Server(GPU)] * SERVERS)
    title = "Shared prefixes"
    hand, ours, alone = taken[:3]
    if hand.problem is not None:
        return Section(title, f"Groups placed by hand: {hand.problem}")
    hand_s = statistics.median(hand.walls_s)
    text = f"""{GROUPS} groups of {EACH} rows, {PREFIX_TOKENS:,} tokens in common and {OWN_TOKENS} of each row's own,
answers of about {OUTPUT_TOKENS}; the rows shuffled. Against whole groups in order, the i-th at server i mod {SERVERS},
{IN_FLIGHT // SERVERS} in flight at each; the GPU's constants. Only ours is told the groups, and only in one of its
lines.

{compared(taken, hand_s, "to by hand", _times)}"""
    verdicts = [
        _verdict("shared prefixes, shuffled, to groups placed by hand", ours, hand_s, most=1.03),
        _verdict("the same, without the `group` field", alone, hand_s, most=1.03),
    ]
    return Section(title, text, verdicts)


# -- faults --------------------------------------------------------------------------------------------------------

FAULTS = ("reset:1",), ("500:2-4",), ("hang:3-7",), ()


def faults() -> Section:
    """Three of the four break, each in its own way, while the run goes on."""
    title = "Faults during the run"
    if not _trace_is_here():
        return Section(title, NO_TRACE)
    fast, rows = GPU.slower(FAULT_TIME_SCALE), workloads.trace(FAULT_ROWS)
    ideal_s = ideal.central_queue(workloads.sequences(rows), [fast] * SERVERS)
    taken = run_all([OURS, *PEERS], rows, [Server(fast, faults=faults) for faults in FAULTS])
    text = f"""The first {FAULT_ROWS:,} rows of the trace, the GPU's constants x {FAULT_TIME_SCALE}. One server resets
every connection from 1 s on, one answers 500 from 2 s to 4 s, one hangs from 3 s to 7 s (the process is stopped:
connections stay open), one is well. Fault-free ideal: {ideal_s:.1f} s; three servers alone would take 1.33x of it.

{compared(taken, ideal_s, "to the fault-free ideal", _times)}"""
    verdicts = [_verdict("faults during the run, to the fault-free ideal", taken[0], ideal_s, most=1.5)]
    return Section(title, text, verdicts)


def gone() -> Section:
    """One of the four is killed before the first request."""
    title = "One of four gone for the whole run"
    if not _trace_is_here():
        return Section(title, NO_TRACE)
    fast, rows = GPU.slower(TIME_SCALE), workloads.trace(TRACE_ROWS)
    ideal_s = ideal.central_queue(workloads.sequences(rows), [fast] * (SERVERS - 1))
    taken = run_all(
        [replace(OURS, rounds=1), *PEERS], rows, [Server(fast)] * SERVERS, before=lambda fleet: fleet.kill(0)
    )
    text = f"""The trace as above; the first server is killed when routers are up and before anything is asked. Ideal of
three servers: {ideal_s:.1f} s.

{compared(taken, ideal_s, "to the three-server ideal", _times)}"""
    what = "one of four gone, to the three-server ideal (1.05x + 10 s)"
    verdicts = [_verdict(what, taken[0], ideal_s, most=1.05 + 10 / ideal_s)]
    return Section(title, text, verdicts)
