"""The records of per_task.jsonl as pairs: what was compared, what came of it, and what goes together.

Knows the record's keys, so that nothing else in `stats` has to; opens no file and draws no conclusion.

    record ─► Pair (a task's target against one rival)     Audit (the same pair, judged again with one thing changed)

Pairs are sorted by task and rival before anything is added up: the order of records changes no digit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from math import fsum
from typing import Any, Literal

from analyze.errors import InputError
from analyze.stats.intervals import Estimate, rate_interval

Outcome = Literal["win", "tie", "loss", "unscored"]
Record = Mapping[str, Any]

POINTS: dict[str, float] = {"win": 1.0, "tie": 0.5, "loss": 0.0}
"""What an outcome counts in a win rate."""

CORRECTNESS = "correctness"
_SIDES: dict[Outcome, int] = {"win": 1, "tie": 0, "loss": -1}


@dataclass(frozen=True, slots=True)
class Pair:
    """A task's target against one rival. `record` is the rival's part of the record.

    `cluster` names what is one observation: tasks that share a `group_id` are not independent.
    """

    task_id: str
    cluster: Hashable
    target: Record
    record: Record
    author: str
    is_by_rule: bool

    @property
    def is_scored(self) -> bool:
        return bool(self.record["outcome"] != "unscored")

    @property
    def cells(self) -> Sequence[Record]:
        cells: Sequence[Record] = self.record["cells"]
        return cells


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
    return [Pair(task_id, cluster, target, rival, str(rival["author"]), rival["rule"] is not None) for rival in rivals]


def audits_of(record: Record, pairs: Sequence[Pair]) -> list[Audit]:
    """Return the probes of a task whose `pairs` these are; a record from before there were probes has none."""
    by_author = {pair.author: pair for pair in pairs}
    return [
        Audit(audit["probe"], audit.get("edited"), by_author[audit["rival"]], audit["cells"])
        for audit in sorted(record.get("audit") or (), key=lambda audit: (str(audit["probe"]), str(audit["rival"])))
        if audit["rival"] in by_author
    ]


# --- what cells say of a pair ---


def order_means(cells: Sequence[Record]) -> tuple[float, float] | None:
    """Return the mean score with the target first, and with the rival first; 1 is the target much better.

    None where any judgement of either order is missing. Scores are quarters: their sums are exact.
    """
    orders = _by_order(cells)
    if orders is None:
        return None
    first, second = orders
    return sum([cell["score"] for cell in first]) / len(first), sum([cell["score"] for cell in second]) / len(second)


def dimension_means(cells: Sequence[Record], names: Iterable[str]) -> list[tuple[float, float]] | None:
    """Return the same for each of the dimensions."""
    orders = _by_order(cells)
    if orders is None:
        return None
    first, second = ([cell["dimensions"] for cell in order] for order in orders)
    if len(first) == len(second) == 1:  # nearly always: 400,000 means in 100,000 judgements
        return [(first[0][name], second[0][name]) for name in names]
    return [
        (sum(said[name] for said in first) / len(first), sum(said[name] for said in second) / len(second))
        for name in names
    ]


def _by_order(cells: Sequence[Record]) -> tuple[list[Record], list[Record]] | None:
    if any([cell["status"] != "ok" for cell in cells]):
        return None
    first = [cell for cell in cells if cell["order"] == "target_first"]
    second = [cell for cell in cells if cell["order"] != "target_first"]
    return (first, second) if first and second else None


def correct_side(pair: Pair) -> int | None:
    """Return which side both orders call more correct: 1 the target, -1 the rival, 0 neither; None if not judged.

    Not the mean of both orders: a judge that always prefers what is shown first, a little more so where that is right,
    leans to the right side in the mean of every pair, and knows nothing.
    """
    if CORRECTNESS not in pair.record["dimensions"]:
        return None
    means = dimension_means(pair.cells, [CORRECTNESS])
    return None if means is None else _SIDES[outcome_of(means[0])[0]]


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
    gave_up = any(limit.startswith(("size:", "worker:", "pygments:")) for limit in facts.get("limits") or ())
    return None if gave_up or code is None or comments is None or not code + comments else comments / (code + comments)


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


TaskMean = tuple[float, int, Hashable]
"""A task's mean score, how many pairs it is of, and the task's cluster."""


Spans = Sequence[tuple[int, int]] | None
"""Where the pairs of each task begin and end; None: a pair a task, as those of one rival are."""


def task_spans(pairs: Sequence[Pair]) -> Spans:
    """Return where each task's pairs stand; they must follow each other."""
    starts = [row for row, pair in enumerate(pairs) if row == 0 or pair.task_id != pairs[row - 1].task_id]
    return None if len(starts) == len(pairs) else list(pairwise([*starts, len(pairs)]))


def task_means(clusters: Sequence[Hashable], scores: Sequence[float | None], spans: Spans) -> list[TaskMean]:
    """Return the mean of each task's scores, None left out, given with the cluster of each pair.

    So a task with many rivals counts as much as one with few.
    """
    if spans is None:
        return [(score, 1, cluster) for score, cluster in zip(scores, clusters, strict=True) if score is not None]
    means = []
    for start, end in spans:
        values = [score for score in scores[start:end] if score is not None]
        if values:
            means.append((fsum(values) / len(values), len(values), clusters[start]))
    return means


def means_of_tasks(pairs: Sequence[Pair], scores: Sequence[float | None]) -> list[TaskMean]:
    """Return the mean of each task's scores, None left out, of pairs that follow each other by task."""
    return task_means([pair.cluster for pair in pairs], scores, task_spans(pairs))


def over_tasks(means: Sequence[TaskMean]) -> Estimate:
    """Return the mean over tasks, with its interval; `n` counts pairs."""
    estimate = rate_interval([mean for mean, _, _ in means], [cluster for _, _, cluster in means])
    return replace(estimate, n=sum(count for _, count, _ in means))


def mean_gap(gaps: Sequence[TaskMean]) -> Estimate:
    """Return the mean of gaps, -1 to 1, with the interval of a rate: that of two gaps alike is wide, not a point.

    Of a nominal 95 %, where one task in five has a gap of 0.5, or one in ten of 1, and the others none, it holds 99 to
    100 % in 5 to 15 tasks, the t interval 41 to 96 %; in 76 both hold 94 % (computed exactly).
    """
    halved = over_tasks([((gap + 1) / 2, count, cluster) for gap, count, cluster in gaps])
    value, low, high = (None if it is None else 2 * it - 1 for it in (halved.value, halved.low, halved.high))
    return Estimate(value, low, high, halved.n)


def cluster_values(means: Sequence[TaskMean], equal: float = 0.5) -> list[float]:
    """Return one value a cluster whose mean is that of all tasks, less `equal`, and whose SE is the clustered one.

    y_c = x̄ + C/N · Σ_{t in c} (x_t − x̄)          C clusters, N tasks; y_c = x_t where each task is a cluster
    """
    deviations = [value - equal for value, _, _ in means]
    clusters = [cluster for _, _, cluster in means]
    count = len(set(clusters))
    if count == len(means):
        return deviations
    mean = fsum(deviations) / len(means)
    sums = _sums([value - mean for value in deviations], clusters)
    return [mean + count / len(means) * total for total in sums]


def cluster_sums(means: Sequence[TaskMean], equal: float = 0.5) -> list[float]:
    """Return one value a cluster for tests of symmetry about `equal`: the sum of its tasks' deviations from it."""
    return _sums([mean - equal for mean, _, _ in means], [cluster for _, _, cluster in means])


def _sums(values: Sequence[float], clusters: Sequence[Hashable]) -> list[float]:
    if len(set(clusters)) == len(values):  # nearly always: groups are rare
        return list(values)
    members: dict[Hashable, list[float]] = {}
    for value, cluster in zip(values, clusters, strict=True):
        members.setdefault(cluster, []).append(value)
    return [fsum(own) for own in members.values()]
