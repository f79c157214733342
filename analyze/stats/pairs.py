"""The records of per_task.jsonl as pairs: what was compared, what came of it, and what goes together.

Knows the record's keys, so that nothing else in `stats` has to; opens no file and draws no conclusion.

    record ─► Pair (a task's target against one rival)     Audit (the same pair, judged again with one thing changed)

Pairs are sorted by task and rival before anything is added up: the order of records changes no digit.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from analyze.errors import InputError
from analyze.stats.intervals import Estimate, exact_sum, grouped, numbered, rate_interval

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Outcome = Literal["win", "tie", "loss", "unscored"]
Record = Mapping[str, Any]
Orders = tuple[Sequence[Record], Sequence[Record]]

POINTS: dict[str, float] = {"win": 1.0, "tie": 0.5, "loss": 0.0}
"""What an outcome counts in a win rate."""

CORRECTNESS = "correctness"
_SIDES: dict[Outcome, int] = {"win": 1, "tie": 0, "loss": -1}


@dataclass(frozen=True, slots=True)
class Pair:
    """A task's target against one rival. `record` is the rival's part of the record.

    `cluster` names what is one observation: tasks that share a `group_id` are not independent. `orders` are the cells
    by order, see `by_order`, which is asked so often of 100,000 judgements that it is asked once of each pair.
    """

    task_id: str
    cluster: Hashable
    target: Record
    record: Record
    author: str
    is_by_rule: bool
    cells: Sequence[Record]
    orders: Orders | None

    @property
    def is_scored(self) -> bool:
        return bool(self.record["outcome"] != "unscored")


@dataclass(frozen=True, slots=True)
class Audit:
    """A pair judged again under a probe. `edited` says which side was changed: "target", "rival", "both" or None."""

    probe: str
    edited: str | None
    pair: Pair
    cells: Sequence[Record]


def sorted_records(records: Iterable[Record]) -> list[Record]:
    """Return the records by task. Raises InputError where a task, or a rival within one, is there twice."""
    found = sorted(records, key=lambda record: str(record["task_id"]))
    _refuse_repeated("tasks have more than one record", (record["task_id"] for record in found))
    for record in found:
        authors = (rival["author"] for rival in record["rivals"])
        _refuse_repeated(f"rivals of task {record['task_id']!r} are there more than once", authors)
    return found


def _refuse_repeated(what: str, names: Iterable[str]) -> None:
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise InputError(
            f"{len(repeated)} {what}, {repeated[0]!r} for one",
            cure="fold the run again: a record counted twice makes every interval too narrow",
        )


def pairs_of(record: Record) -> list[Pair]:
    """Return a task's pairs, by rival."""
    group = record.get("group_id")
    cluster = f"task {record['task_id']}" if group is None else f"group {group}"  # a text is hashed but once
    rivals = sorted(record["rivals"], key=lambda rival: str(rival["author"]))
    task_id, target = str(record["task_id"]), record["target"]
    return [
        Pair(
            task_id=task_id,
            cluster=cluster,
            target=target,
            record=rival,
            author=str(rival["author"]),
            is_by_rule=rival["rule"] is not None,
            cells=rival["cells"],
            orders=by_order(rival["cells"]),
        )
        for rival in rivals
    ]


def audits_of(record: Record, pairs: Sequence[Pair]) -> list[Audit]:
    """Return the probes of a task whose `pairs` these are; a record from before there were probes has none."""
    by_author = {pair.author: pair for pair in pairs}
    return [
        Audit(audit["probe"], audit.get("edited"), by_author[audit["rival"]], audit["cells"])
        for audit in sorted(record.get("audit") or (), key=lambda audit: (str(audit["probe"]), str(audit["rival"])))
        if audit["rival"] in by_author
    ]


# --- what cells say of a pair ---


def by_order(cells: Sequence[Record]) -> Orders | None:
    """Return the cells that have the target first, and those that have the rival first.

    None where any judgement of either order is missing.
    """
    first: list[Record] = []
    second: list[Record] = []
    for cell in cells:
        if cell["status"] != "ok":
            return None
        (first if cell["order"] == "target_first" else second).append(cell)
    return (first, second) if first and second else None


def order_means(orders: Orders | None) -> tuple[float, float] | None:
    """Return the mean score with the target first, and with the rival first; 1 is the target much better.

    Scores are quarters: their sums are exact.
    """
    if orders is None:
        return None
    first, second = orders
    return sum([cell["score"] for cell in first]) / len(first), sum([cell["score"] for cell in second]) / len(second)


def dimension_means(pairs: Sequence[Pair], names: Sequence[str]) -> NDArray[np.float64]:
    """Return the same on each of the dimensions, pairs x orders x `names`; NaN for None."""
    import numpy as np

    means: list[Sequence[float]] = []
    nothing = (math.nan,) * len(names)
    for pair in pairs:
        means += (nothing, nothing) if pair.orders is None else (_means_on(order, names) for order in pair.orders)
    return np.array(means, dtype=float).reshape(len(pairs), 2, len(names))


def _means_on(cells: Sequence[Record], names: Sequence[str]) -> Sequence[float]:
    if len(cells) == 1:  # nearly always: 800,000 scores in 100,000 judgements
        return [*map(cells[0]["dimensions"].__getitem__, names)]
    return [sum([cell["dimensions"][name] for cell in cells]) / len(cells) for name in names]


def correct_side(pair: Pair) -> int | None:
    """Return which side both orders call more correct: 1 the target, -1 the rival, 0 neither; None if not judged.

    Not the mean of both orders: a judge that always prefers what is shown first, a little more so where that is right,
    leans to the right side in the mean of every pair, and knows nothing.
    """
    if pair.orders is None or CORRECTNESS not in pair.record["dimensions"]:
        return None
    first, second = (_means_on(order, [CORRECTNESS])[0] for order in pair.orders)
    return _SIDES[outcome_of((first, second))[0]]


def passing_side(pair: Pair) -> int | None:
    """Return which side alone passed its tests: 1 the target, -1 the rival, 0 neither alone, None if not recorded."""
    passed, rival_passed = pair.target.get("passed"), pair.record.get("passed")
    return None if passed is None or rival_passed is None else int(passed) - int(rival_passed)


def facts_held(pair: Pair) -> list[tuple[str, float]]:
    """Return each dimension on which verdict and measured facts both take a side: 1 for the same one, 0 for not."""
    record = pair.record
    confirmed = [(name, 1.0) for name in record.get("confirmed") or ()]
    return confirmed + [(name, 0.0) for name in record.get("contradicted") or ()]


def comment_difference(pair: Pair) -> float | None:
    """Return the target's share of comment less the rival's; None unless it was measured of both, as the judge saw it.

    A share is of the lines that are not blank: those that hold nothing but comment or docstring. What stands behind
    code on its line is not counted.
    """
    if "code_cut" in (pair.record.get("flags") or ()):
        return None
    target, rival = _comment_share(pair.target), _comment_share(pair.record)
    return None if target is None or rival is None else target - rival


def _comment_share(solution: Record) -> float | None:
    facts = solution.get("facts") or {}
    code, comments = facts.get("code_lines"), facts.get("comment_lines")
    if code is None or comments is None or not code + comments:
        return None
    limits = facts.get("limits")
    if limits and any(limit.startswith(("size:", "worker:", "pygments:")) for limit in limits):
        return None
    return float(comments / (code + comments))


@lru_cache(maxsize=10_000)  # a handful of values, 400,000 times in 100,000 judgements
def outcome_of(means: tuple[float, float]) -> tuple[Outcome, str | None]:
    """Return what two order means come to: a win needs both above one half, a loss both below; else a kind of tie."""
    first, second = map(lean, means)
    if first == second:
        return ("tie", "true") if first == 0 else ("win" if first > 0 else "loss", None)
    return "tie", "conflict" if first and second else "weak"


def lean(score: float) -> int:
    """Return which side a score names: 1 the target, -1 the rival, 0 neither."""
    return (score > 0.5) - (score < 0.5)


# --- estimates over pairs ---


def rate(hits: Iterable[tuple[float, Hashable]]) -> Estimate:
    """Return the mean of values in 0..1, each given with its cluster, and its interval."""
    observed = list(hits)
    return rate_interval([hit for hit, _ in observed], [cluster for _, cluster in observed])


@dataclass(frozen=True, slots=True)
class TaskMeans:
    """The mean score of each task, of how many pairs it is, and the number of the task's cluster."""

    values: NDArray[np.float64]
    counts: NDArray[np.int64]
    clusters: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.values)


def task_means(scores: NDArray[np.float64], tasks: NDArray[np.int64], clusters: NDArray[np.int64]) -> TaskMeans:
    """Return the mean of each task's scores, NaN left out, given the numbers of each pair's task and cluster.

    So a task with many rivals counts as much as one with few.
    """
    import numpy as np

    known = ~np.isnan(scores)
    of_task = grouped(scores[known], tasks[known])
    return TaskMeans(of_task.sums / of_task.sizes, of_task.sizes, clusters[known][of_task.rows])


def means_of_tasks(pairs: Sequence[Pair], scores: Sequence[float | None]) -> TaskMeans:
    """Return the mean of each task's scores, None left out."""
    import numpy as np

    tasks, clusters = numbered([pair.task_id for pair in pairs]), numbered([pair.cluster for pair in pairs])
    return task_means(np.array(scores, dtype=float), tasks, clusters)


def over_tasks(means: TaskMeans) -> Estimate:
    """Return the mean over tasks, with its interval; `n` counts pairs."""
    return replace(rate_interval(means.values, means.clusters), n=int(means.counts.sum()))


def mean_gap(gaps: TaskMeans) -> Estimate:
    """Return the mean of gaps, -1 to 1, with the interval of a rate: that of two gaps alike is wide, not a point.

    Of a nominal 95 %, where one task in five has a gap of 0.5, or one in ten of 1, and the others none, it holds 99 to
    100 % in 5 to 15 tasks, the t interval 41 to 96 %; in 76 both hold 94 % (computed exactly).
    """
    halved = over_tasks(replace(gaps, values=(gaps.values + 1) / 2))
    value, low, high = (None if it is None else 2 * it - 1 for it in (halved.value, halved.low, halved.high))
    return Estimate(value, low, high, halved.n)


def cluster_values(means: TaskMeans, equal: float = 0.5) -> list[float]:
    """Return one value a cluster whose mean is that of all tasks, less `equal`, and whose SE is the clustered one.

    y_c = x̄ + C/N · Σ_{t in c} (x_t − x̄)          C clusters, N tasks; y_c = x_t where each task is a cluster
    """
    if not len(means):
        return []
    deviations = means.values - equal
    mean = exact_sum(deviations) / len(means)
    sums = grouped(deviations - mean, means.clusters).sums
    count = len(sums)
    values: list[float] = (deviations if count == len(means) else mean + count / len(means) * sums).tolist()
    return values


def cluster_sums(means: TaskMeans, equal: float = 0.5) -> list[float]:
    """Return one value a cluster for tests of symmetry about `equal`: the sum of its tasks' deviations from it."""
    sums: list[float] = grouped(means.values - equal, means.clusters).sums.tolist()
    return sums
