"""How often intervals of a rate hold it: `rate_interval`, the clustered t interval, and what is usual, over rows.

Samples are made from the distribution of a task's total, worked out exactly, so that 10,000 runs of 300 tasks cost a
few milliseconds; all that an interval needs follows from how many tasks have which total. Rates above ½ are left out:
`rate_interval` mirrors exactly. Where so few different samples are likely that no interval of any kind, if it treats
tasks alike, could hold the rate in 93 to 97 % of them, that is said.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import stdtrit
from scipy.stats import betabinom, binom, multinomial

from analyze.stats import rate_interval
from analyze.stats.intervals import rate_limits
from benchmarks.results import Section, Verdict
from benchmarks.rig import table

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "judge" / "alpaca_eval" / "verdicts.csv.gz"
RATES = (0.02, 0.05, 0.1, 0.2, 0.5)
OTHER_RATES = (0.035, 0.07, 0.14, 0.3)
"""Between those that the interval was made to hold at."""
TASKS = (15, 30, 60, 100, 300)
RIVALS = (1, 3, 8)
CORRELATIONS = (0.0, 0.2, 0.5, 0.8)
DRAWS = 10_000
LEAST, MOST = 0.93, 0.97
NOISE = 0.005
"""What 10,000 draws may be off by in the worst of a thousand cells, 2.3 standard errors."""
Z = 1.959963984540054
STEPS = 4  # all values are quarters

Floats = Any  # NumPy arrays of floats
Limits = tuple[Floats, Floats]


@dataclass(frozen=True, slots=True)
class Cell:
    """One place of the grid: tasks of so many rivals each, their values of one kind, tied together in one way."""

    kind: str
    rate: float
    rivals: int
    correlation: float
    tie: str
    tasks: int


@dataclass(frozen=True, slots=True)
class Sample:
    """Samples of a cell, an element each: how many tasks had which total, and what follows from that."""

    counts: Floats
    rivals: int

    @property
    def tasks(self) -> float:
        return float(self.counts[0].sum())

    @property
    def scores(self) -> Floats:
        return np.arange(self.counts.shape[1]) / (STEPS * self.rivals)

    @property
    def mean(self) -> Floats:
        return self.counts @ self.scores / self.tasks

    def moment(self, power: int) -> Floats:
        """Return the sum over tasks of a power of their distance from the mean."""
        return (self.counts * (self.scores - self.mean[:, None]) ** power).sum(axis=1)

    @property
    def variance(self) -> Floats:
        return self.moment(2) / (self.tasks - 1) / self.tasks

    @property
    def tailedness(self) -> Floats:
        squares = self.moment(2)
        return np.where(squares > 1e-12, self.moment(4) / np.maximum(squares, 1e-12) ** 2, 1.0)


# -- ways to make an interval --------------------------------------------------------------------------------------


def ours(sample: Sample) -> Limits:
    low, high = rate_limits(sample.mean - 0.5, sample.variance, sample.tailedness, sample.tasks)
    return low + 0.5, high + 0.5


def clustered_t(sample: Sample) -> Limits:
    half = stdtrit(sample.tasks - 1, 0.975) * np.sqrt(sample.variance)
    return sample.mean - half, sample.mean + half


def over_rows(sample: Sample) -> Limits:
    """Wilson's interval, each row a trial."""
    p, a = sample.mean, Z * Z / (sample.tasks * sample.rivals)
    half = np.sqrt(a * p * (1 - p) + a * a / 4)
    return (p + a / 2 - half) / (1 + a), (p + a / 2 + half) / (1 + a)


OURS = "**rate_interval**"
WAYS: dict[str, Callable[[Sample], Limits]] = {
    OURS: ours,
    "clustered t": clustered_t,
    "Wilson over rows": over_rows,
}


# -- what is drawn from --------------------------------------------------------------------------------------------


def marginal(kind: str, rate: float) -> Floats:
    """Return how likely the values 0, ¼ … 1 are: wins and losses; with as many ties as can be losses; graded."""
    if kind == "0, 1":
        return np.array([1 - rate, 0, 0, 0, rate])
    if kind == "0, ½, 1":
        return np.array([1 - 1.5 * rate, 0, rate, 0, rate / 2])
    return betabinom(STEPS, *_beta(rate, 0.3)).pmf(np.arange(STEPS + 1))


def copied(values: Floats, rivals: int, correlation: float) -> Floats:
    """Return the distribution of a task's total where a row is the task's own value with chance √correlation.

    Any two rows of a task are then correlated so, whatever the values: losses by whole tasks, and single ones.
    """
    alone = [np.ones(1)]
    for _ in range(rivals):
        alone.append(np.convolve(alone[-1], values))
    total = np.zeros(STEPS * rivals + 1)
    for copies in range(rivals + 1):
        chance = binom(rivals, np.sqrt(correlation)).pmf(copies)
        for value, weight in enumerate(values):
            rest = alone[rivals - copies]
            total[copies * value : copies * value + len(rest)] += chance * weight * rest
    return total


def graded(kind: str, rate: float, rivals: int, correlation: float) -> Floats:
    """Return the same where a task has a rate of its own, from a beta distribution, and its rows are binomial."""
    steps = {"0, 1": 1, "0, ½, 1": 2, "quarters": STEPS}[kind]
    trials = steps * rivals
    spread = correlation / (steps - (steps - 1) * correlation)
    totals = betabinom(trials, *_beta(rate, spread)) if spread else binom(trials, rate)
    total = np.zeros(STEPS * rivals + 1)
    total[:: STEPS // steps] = totals.pmf(np.arange(trials + 1))
    return total


def _beta(mean: float, correlation: float) -> tuple[float, float]:
    return mean * (1 - correlation) / correlation, (1 - mean) * (1 - correlation) / correlation


def cells(rates: tuple[float, ...]) -> Iterator[tuple[Cell, Floats]]:
    """Yield each cell with the distribution of a task's total, in steps of a quarter."""
    for kind in ("0, 1", "0, ½, 1", "quarters"):
        for rate in rates:
            for rivals in RIVALS:
                for correlation in CORRELATIONS if rivals > 1 else (0.0,):
                    ties = {"copied": copied(marginal(kind, rate), rivals, correlation)}
                    if correlation or rivals == 1:
                        ties["by difficulty"] = graded(kind, rate, rivals, correlation)
                    for tie, total in ties.items():
                        for tasks in TASKS:
                            yield Cell(kind, rate, rivals, correlation, tie, tasks), total / total.sum()


Held = dict[Cell, dict[str, float]]


def covered(rates: tuple[float, ...]) -> tuple[Held, set[Cell]]:
    """Return how often each way's interval held the rate, and the cells where none can do so in 93 to 97 %."""
    generator = np.random.default_rng(20_261_121)
    held: Held = {}
    out_of_reach = set()
    for cell, total in cells(rates):
        drawn = generator.multinomial(cell.tasks, total, size=DRAWS)
        different, times = np.unique(drawn, axis=0, return_counts=True)
        sample = Sample(different, cell.rivals)
        rate = float(total @ sample.scores)
        held[cell] = {way: _share_held(limits(sample), times, rate) for way, limits in WAYS.items()}
        _assert_same_as_row_by_row(sample)
        if _is_out_of_reach(sample, total):
            out_of_reach.add(cell)
    return held, out_of_reach


def _is_out_of_reach(sample: Sample, total: Floats) -> bool:
    """Return whether no set of samples has a chance between 3 and 7 %, that of those whose interval misses the rate.

    Samples of more than 7 % cannot be in it. One of 3 to 7 % alone would do, and so would smaller ones that have 3 %
    together: taken one by one they reach 3 % before 6 %. A sample is how many tasks have which total; whatever has a
    chance of 3 % is among 10,000 drawn.
    """
    chances = multinomial(int(sample.tasks), total).pmf(sample.counts)
    often = chances[chances > 1 - MOST]
    return bool((often > 1 - LEAST).all() and 1 - often.sum() < 1 - MOST)


def _share_held(limits: Limits, times: Floats, rate: float) -> float:
    low, high = limits
    return float(times[(low <= rate + 1e-9) & (rate - 1e-9 <= high)].sum() / times.sum())


def _assert_same_as_row_by_row(sample: Sample) -> None:
    """Spell the first sample out in rows and hold `rate_interval` itself against what was worked out from moments."""
    totals = np.repeat(np.arange(sample.counts.shape[1]), sample.counts[0])
    rows = [min(STEPS, max(0, total - STEPS * row)) / STEPS for total in totals for row in range(sample.rivals)]
    estimate = rate_interval(rows, [task for task in range(len(totals)) for _ in range(sample.rivals)])
    low, high = ours(Sample(sample.counts[:1], sample.rivals))
    assert abs(estimate.low - low[0]) < 1e-9 and abs(estimate.high - high[0]) < 1e-9, (estimate, low, high)


# -- real verdicts -------------------------------------------------------------------------------------------------


def real_scores() -> Floats:
    """Return what AlpacaEval's annotator gave GPT-4 against each of five models, a row a task."""
    scores: dict[str, dict[str, float]] = {}
    with gzip.open(SHARED, "rt", newline="") as file:
        for row in csv.DictReader(file):
            if row["model"].startswith("FuseChat"):
                scores.setdefault(row["item"], {})[row["model"]] = 2 - (float(row["preference"] or "nan") or 1.5)
    found = np.array([[by_model[model] for model in sorted(by_model)] for by_model in scores.values()])
    return found[np.isfinite(found).all(axis=1)]


REAL_WAYS = (
    "over rows, z",
    "bootstrap of rows",
    "clustered t",
    "bootstrap of tasks, percentiles",
    OURS,
)


def resampled(scores: Floats, tasks: int, draws: int = 1500, rounds: int = 400) -> dict[str, float]:
    """Return how often intervals from so many of the tasks hold the mean of all of them."""
    generator, mean = np.random.default_rng(tasks), scores.mean()
    held = dict.fromkeys(REAL_WAYS, 0)
    for _ in range(draws):
        rows = scores[generator.integers(0, len(scores), tasks)]
        values, by_task = rows.ravel(), rows.mean(axis=1)
        estimate = rate_interval(values.tolist(), np.repeat(np.arange(tasks), rows.shape[1]).tolist())
        intervals = dict(
            zip(
                REAL_WAYS,
                (
                    _around(values, Z),
                    _percentiles(values, rounds, generator),
                    _around(by_task, stdtrit(tasks - 1, 0.975)),
                    _percentiles(by_task, rounds, generator),
                    (estimate.low, estimate.high),
                ),
                strict=True,
            )
        )
        for way, (low, high) in intervals.items():
            held[way] += low <= mean <= high
    return {way: count / draws for way, count in held.items()}


def _around(values: Floats, quantile: float) -> tuple[float, float]:
    half = quantile * values.std(ddof=1) / np.sqrt(len(values))
    return values.mean() - half, values.mean() + half


def _percentiles(values: Floats, rounds: int, generator: np.random.Generator) -> tuple[float, float]:
    means = values[generator.integers(0, len(values), (rounds, len(values)))].mean(axis=1)
    return tuple(np.quantile(means, (0.025, 0.975)))


# -- what is shown -------------------------------------------------------------------------------------------------


def coverage() -> Section:
    held, out_of_reach = covered(RATES)
    between, out_of_reach_between = covered(OTHER_RATES)
    by_rate = [[str(tasks), *(_range(held, tasks, rate) for rate in RATES)] for tasks in TASKS]
    text = f"""{len(held):,} cells: rates {_listed(RATES)} (and by mirroring 1 less these), {_listed(TASKS)} tasks with
{_listed(RIVALS)} rivals each, values 0 and 1, 0 ½ 1, or quarters, correlated within a task by {_listed(CORRELATIONS)},
because rows are copies of one another or because tasks differ in difficulty; {DRAWS:,} runs of each, so that a share is
good to ±0.4 points. Promised are 95 %.

{_summary(held)}

{_out_of_reach(held, out_of_reach)}

`rate_interval`, least and most over kinds, rivals and correlations, and the clustered t interval's least:

{table(["tasks", *(f"rate {rate:g}" for rate in RATES)], by_rate)}

The same at rates between, {_listed(OTHER_RATES)}, {len(between)} cells:

{_summary(between)}

{_out_of_reach(between, out_of_reach_between)}"""
    shares = {cell: ways[OURS] for cell, ways in held.items()}
    least, least_t, least_rows = (min(ways[way] for ways in held.values()) for way in WAYS)
    most = max(share for cell, share in shares.items() if cell not in out_of_reach)
    within = sum(LEAST <= share <= MOST for share in shares.values())
    verdicts = [
        Verdict(
            f"95 % intervals of rates, the least they hold, {len(held):,} cells",
            f"≥ {LEAST:.0%}",
            f"{least:.1%} (clustered t {least_t:.0%}, over rows {least_rows:.0%})",
            least >= LEAST - NOISE,
        ),
        Verdict(
            f"the same, the most they hold, {len(held) - len(out_of_reach):,} cells where any can hold less",
            f"≤ {MOST:.0%}",
            f"{most:.1%} ({within:,} of {len(held):,} cells within {LEAST:.0%} – {MOST:.0%})",
            most <= MOST + NOISE,
        ),
    ]
    return Section("How often intervals hold", text + _real(), verdicts)


def _summary(held: Held) -> str:
    rows = []
    for way in WAYS:
        shares = np.array([ways[way] for ways in held.values()])
        below, above = (shares < LEAST).sum(), (shares > MOST).sum()
        counted = [str(below), str(len(shares) - below - above), str(above)]
        rows.append([way, f"{shares.min():.1%}", f"{shares.mean():.1%}", f"{shares.max():.1%}", *counted])
    return table(["interval", "least", "mean", "most", "cells < 93 %", "93 – 97 %", "> 97 %"], rows)


def _out_of_reach(held: Held, out_of_reach: set[Cell]) -> str:
    """Return which cells `rate_interval` is outside of 93 to 97 % in, and in which of them any interval is."""
    outside = {cell: ways[OURS] for cell, ways in held.items() if not LEAST <= ways[OURS] <= MOST}
    rows = [
        [
            cell.kind,
            f"{cell.rate:g}",
            str(cell.tasks),
            str(cell.rivals),
            f"{cell.correlation:g}",
            cell.tie,
            f"{share:.1%}",
            "no" if cell in out_of_reach else "yes",
        ]
        for cell, share in sorted(outside.items(), key=lambda pair: pair[1])
    ]
    where = table(["values", "rate", "tasks", "rivals", "correlation", "by", "held", "can be within"], rows)
    both = len(out_of_reach & outside.keys())
    return f"""Outside of 93 to 97 % `rate_interval` is in {len(outside)}. In {both} of them any interval is that treats
tasks alike: so few samples are likely that no set of them has a chance of 3 to 7 %, which is what those must have whose
interval misses the rate (worked out from the chances of all samples).

{where}"""


def _range(held: Held, tasks: int, rate: float) -> str:
    here = [ways for cell, ways in held.items() if (cell.tasks, cell.rate) == (tasks, rate)]
    shares = [ways[OURS] for ways in here]
    return f"{min(shares):.1%} – {max(shares):.1%} ({min(ways['clustered t'] for ways in here):.0%})"


def _real() -> str:
    if not SHARED.exists():
        return f"\n\nReal verdicts were not looked at: {SHARED.name} is not beside the checkout."
    scores = real_scores()
    rows = [
        [str(tasks), *(f"{share:.1%}" for share in resampled(scores, tasks).values())] for tasks in (15, 30, 60, 100)
    ]
    return f"""

Real verdicts: GPT-4 (1106) against five FuseChat models by AlpacaEval's annotator, {len(scores)} tasks of which so many
are drawn, 1,500 times:

{table(["tasks", *REAL_WAYS], rows)}"""


def _listed(numbers: tuple[float, ...]) -> str:
    return " ".join(f"{number:g}" for number in numbers)
