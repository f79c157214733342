"""How often intervals of agreement hold it: those on Fisher's scale, and the plain jackknife beside them.

Two judges: the second repeats the first with one probability, else says something of its own by the same frequencies.
Then κ, quadratic κ and α are that probability, whatever the frequencies, and AC1 follows from both.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from itertools import product

from analyze.stats import cluster_interval, cohen_kappa, gwet_ac1, krippendorff_alpha
from analyze.stats.jackknife import jackknife
from benchmarks.results import Section, Verdict
from benchmarks.rig import table

TASKS = (15, 30, 60)
RIVALS = (1, 4)
AGREEMENTS = (0.3, 0.6, 0.8)
CORRELATION = 0.5
"""The chance that a pair of a task is a copy of the task's first one."""
FREQUENCIES = {"even": (0.3, 0.4, 0.3), "one in front": (0.6, 0.2, 0.2), "one alone": (0.9, 0.05, 0.05)}
DRAWS = 200
ENOUGH = 120  # pairs: the audited tasks of a run against four rivals
LEAST = 0.90
NOISE = 0.04  # two standard errors of 200 draws at 90 %

Pair = tuple[int, int]
Task = list[Pair]
Measure = Callable[[Sequence[int], Sequence[int]], float | None]
MEASURES: dict[str, Measure] = {
    "κ": cohen_kappa,
    "quadratic κ": lambda a, b: cohen_kappa(a, b, "quadratic"),
    "ordinal α": lambda a, b: krippendorff_alpha(zip(a, b, strict=True), "ordinal"),
    "AC1": lambda a, b: gwet_ac1(a, b, 3),
}


def tasks_of(draw: random.Random, tasks: int, rivals: int, agreement: float, shares: Sequence[float]) -> list[Task]:
    def pair() -> Pair:
        first, other = draw.choices(range(3), shares, k=2)
        return first, first if draw.random() < agreement else other

    made = []
    for _ in range(tasks):
        one = pair()
        made.append([one, *(one if draw.random() < CORRELATION else pair() for _ in range(rivals - 1))])
    return made


def true_value(measure: str, agreement: float, shares: Sequence[float]) -> float:
    if measure != "AC1":
        return agreement
    observed = agreement + (1 - agreement) * sum(share**2 for share in shares)
    by_chance = sum(share * (1 - share) for share in shares) / 2
    return (observed - by_chance) / (1 - by_chance)


def of_pairs(measure: Measure) -> Callable[[Task], float | None]:
    return lambda pairs: measure([first for first, _ in pairs], [second for _, second in pairs])


def plain(tasks: list[Task], statistic: Callable[[Task], float | None]) -> tuple[float, float] | None:
    """Return the interval without artanh: the t interval of pseudo-values, which is the jackknife's."""
    count, whole = len(tasks), statistic([pair for task in tasks for pair in task])
    without = [statistic([pair for task in (*tasks[:n], *tasks[n + 1 :]) for pair in task]) for n in range(count)]
    if whole is None or None in without or len(set(without)) == 1:
        return None
    values = [count * whole - (count - 1) * (each or 0.0) for each in without]
    found = cluster_interval(values, range(count))
    half = (found.high or math.nan) - (found.value or 0.0)
    return whole - half, whole + half


def held(tasks: int, rivals: int, agreement: float, shares: Sequence[float]) -> dict[str, tuple[float, float]]:
    """Return how often both intervals of each measure hold it, of the samples that have one."""
    draw = random.Random(f"{tasks} {rivals} {agreement} {shares}")
    hits: dict[str, list[tuple[bool, bool]]] = {name: [] for name in MEASURES}
    for _ in range(DRAWS):
        sample = tasks_of(draw, tasks, rivals, agreement, shares)
        for name, measure in MEASURES.items():
            true, statistic = true_value(name, agreement, shares), of_pairs(measure)
            ours, usual = jackknife(sample, statistic), plain(sample, statistic)
            if ours.low is not None and ours.high is not None and usual is not None:
                hits[name].append((ours.low <= true <= ours.high, usual[0] <= true <= usual[1]))
    return {
        name: (sum(one for one, _ in seen) / len(seen), sum(other for _, other in seen) / len(seen))
        for name, seen in hits.items()
    }


def agreement() -> Section:
    rows: list[list[str]] = []
    well: list[tuple[float, float]] = []
    every: list[float] = []
    for tasks, rivals, agreed, kind in product(TASKS, RIVALS, AGREEMENTS, FREQUENCIES):
        if kind == "one alone" and tasks * rivals < 60:
            continue  # few samples of so few pairs have anything but the one
        shares = held(tasks, rivals, agreed, FREQUENCIES[kind])
        cells = [f"{ours:.1%} ({usual:.1%})" for ours, usual in shares.values()]
        rows.append([str(tasks), str(rivals), f"{agreed:g}", kind, *cells])
        every += [ours for ours, _ in shares.values()]
        if kind != "one alone" and tasks * rivals >= ENOUGH:
            well += shares.values()
    text = f"""Two judges on three outcomes, pairs of a task copies of one another with {CORRELATION:.0%}; {DRAWS}
samples each, so that a share is good to ±1.5 points. Promised are 95 %; in brackets the jackknife without Fisher's
scale. Where few pairs were judged, and where one outcome has nearly all, the intervals are too narrow.

{table(["tasks", "rivals", "agreement", "outcomes", *MEASURES], rows)}"""
    least = min(ours for ours, _ in well)
    verdict = Verdict(
        f"95 % intervals of agreement between judges, the least they hold, {ENOUGH} pairs and more of several outcomes",
        f"≥ {LEAST:.0%}",
        f"{least:.1%} (plain jackknife {min(usual for _, usual in well):.1%}; of all cells {min(every):.0%})",
        least >= LEAST - NOISE,
    )
    return Section("How often intervals of agreement hold", text, [verdict])
