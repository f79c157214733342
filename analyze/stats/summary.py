"""The records of per_task.jsonl in, the numbers of a report out. Knows the record's keys; opens no file.

    pairs of a rival      -> RivalSummary (counts, win rate, graded score, sign-flip test)
    all pairs             -> RivalSummary "*"
    both orders of a pair -> JudgeCheck: may these numbers be believed at all?

Tasks that share a `group_id` are one cluster. Records are sorted by task before anything is added up, so their order
changes no digit. Unscored pairs enter no mean; `coverage` and `worst` say what they could have changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import fsum
from typing import Any

from analyze.errors import InputError
from analyze.stats.agreement import cohen_kappa
from analyze.stats.hypotheses import holm, sign_flip_test
from analyze.stats.intervals import Estimate, rate_interval

OVERALL = "*"
_POINTS = {"win": 1.0, "tie": 0.5, "loss": 0.0}


@dataclass(frozen=True, slots=True)
class RivalSummary:
    """The target against one rival (`author`), or against all of them ("*").

    `win_rate` is (W + ½T)/n over scored pairs. `score` is the graded mean, 1 = target much better, 0.5 = equal; for
    "*" it is the mean over tasks of the task's mean, so that a task with many rivals counts once. `p_value` is the
    sign-flip test of score = 0.5 on clusters, `p_holm` the same adjusted for the number of rivals (for "*": alone).
    """

    author: str
    pairs: int
    wins: int
    ties_true: int
    ties_weak: int
    ties_conflict: int
    losses: int
    unscored: int
    win_rate: Estimate
    score: Estimate
    p_value: float | None
    p_holm: float | None


@dataclass(frozen=True, slots=True)
class JudgeCheck:
    """What speaks for or against the judge, before any result. Pairs decided by rule say nothing about it.

    `order_agreement`: pairs whose two orders name the same side, or equal. `order_kappa`: the same beyond chance.
    `first_pick_share`: among verdicts that take a side, those for the solution shown first; 0.5 is no position bias.
    `passed_accuracy`: among pairs with exactly one passed test result, those whose correctness verdict names that
    side; "equal" is no hit.
    """

    order_agreement: Estimate
    first_pick_share: Estimate
    order_kappa: float | None
    passed_accuracy: Estimate
    failed_cells: int
    cells: int


@dataclass(frozen=True, slots=True)
class Summary:
    """The numbers of a run. `target` is None where tasks have different target authors.

    `coverage` is the share of pairs that were scored; `worst` the overall score if every unscored pair were 0, or 1.
    """

    tasks: int
    pairs: int
    target: str | None
    rivals: list[RivalSummary]
    overall: RivalSummary
    dimensions: dict[str, Estimate]
    check: JudgeCheck
    coverage: float
    worst: tuple[float, float]


@dataclass(frozen=True, slots=True)
class _Pair:
    task_id: str
    cluster: Hashable
    target_passed: bool | None
    record: Mapping[str, Any]


def summarise(records: Sequence[Mapping[str, Any]]) -> Summary:
    """Return the numbers of a run from its per-task records. Raises InputError where a task is there twice."""
    records = sorted(records, key=lambda record: str(record["task_id"]))
    _refuse_duplicates(records)
    pairs = [_pair(record, rival) for record in records for rival in record["rivals"]]
    by_author: dict[str, list[_Pair]] = {}
    for pair in pairs:
        by_author.setdefault(pair.record["author"], []).append(pair)
    targets = {record["target"]["author"] for record in records}
    scored = sum(pair.record["outcome"] != "unscored" for pair in pairs)
    return Summary(
        tasks=len(records),
        pairs=len(pairs),
        target=targets.pop() if len(targets) == 1 else None,
        rivals=_rivals(by_author),
        overall=_rival(OVERALL, pairs),
        dimensions=_dimensions(pairs),
        check=_judge_check(pairs),
        coverage=scored / len(pairs) if pairs else 0.0,
        worst=(_score_filled(pairs, 0.0), _score_filled(pairs, 1.0)),
    )


def _refuse_duplicates(records: Sequence[Mapping[str, Any]]) -> None:
    repeated = [task_id for task_id, count in Counter(record["task_id"] for record in records).items() if count > 1]
    if repeated:
        raise InputError(
            f"{len(repeated)} tasks have more than one record, {repeated[0]!r} for one",
            cure="fold the run again: a record counted twice makes every interval too narrow",
        )


def _pair(record: Mapping[str, Any], rival: Mapping[str, Any]) -> _Pair:
    group = record.get("group_id")
    cluster = ("task", record["task_id"]) if group is None else ("group", group)
    return _Pair(record["task_id"], cluster, record["target"].get("passed"), rival)


# --- results ---


def _rivals(by_author: Mapping[str, Sequence[_Pair]]) -> list[RivalSummary]:
    alone = [_rival(author, by_author[author]) for author in sorted(by_author)]
    tested = [summary.p_value for summary in alone if summary.p_value is not None]
    adjusted = iter(holm(tested))
    return [summary if summary.p_value is None else replace(summary, p_holm=next(adjusted)) for summary in alone]


def _rival(author: str, pairs: Sequence[_Pair]) -> RivalSummary:
    outcomes = Counter(pair.record["outcome"] for pair in pairs)
    ties = Counter(pair.record["tie_kind"] for pair in pairs if pair.record["outcome"] == "tie")
    decided = [pair for pair in pairs if pair.record["outcome"] != "unscored"]
    p_value = _p_value(decided)
    return RivalSummary(
        author=author,
        pairs=len(pairs),
        wins=outcomes["win"],
        ties_true=ties["true"],
        ties_weak=ties["weak"],
        ties_conflict=ties["conflict"],
        losses=outcomes["loss"],
        unscored=outcomes["unscored"],
        win_rate=_rate((_POINTS[pair.record["outcome"]], pair.cluster) for pair in decided),
        score=_over_tasks((pair, pair.record["score"]) for pair in decided),
        p_value=p_value,
        p_holm=p_value,
    )


def _p_value(decided: Sequence[_Pair]) -> float | None:
    """Test the graded scores on one value a cluster: the sum of its deviations from 0.5."""
    sums: dict[Hashable, float] = {}
    for value, _, cluster in _task_means((pair, pair.record["score"]) for pair in decided):
        sums[cluster] = sums.get(cluster, 0.0) + value - 0.5
    return sign_flip_test(list(sums.values())) if sums else None


def _dimensions(pairs: Sequence[_Pair]) -> dict[str, Estimate]:
    names = dict.fromkeys(name for pair in pairs for name in pair.record["dimensions"])
    judged = [pair for pair in pairs if pair.record["dimensions"]]
    return {name: _over_tasks((pair, pair.record["dimensions"][name]) for pair in judged) for name in names}


def _score_filled(pairs: Sequence[_Pair], missing: float) -> float:
    filled = ((pair, missing if pair.record["score"] is None else pair.record["score"]) for pair in pairs)
    value = _over_tasks(filled).value
    return missing if value is None else value


def _over_tasks(scores: Iterable[tuple[_Pair, float]]) -> Estimate:
    """Return the mean over tasks of the task's mean score; `n` counts pairs."""
    means = _task_means(scores)
    estimate = rate_interval([mean for mean, _, _ in means], [cluster for _, _, cluster in means])
    return replace(estimate, n=sum(count for _, count, _ in means))


def _task_means(scores: Iterable[tuple[_Pair, float]]) -> list[tuple[float, int, Hashable]]:
    """Return each task's mean score, how many pairs it is of, and the task's cluster."""
    tasks: dict[str, tuple[Hashable, list[float]]] = {}
    for pair, score in scores:
        tasks.setdefault(pair.task_id, (pair.cluster, []))[1].append(score)
    return [(fsum(values) / len(values), len(values), cluster) for cluster, values in tasks.values()]


def _rate(hits: Iterable[tuple[float, Hashable]]) -> Estimate:
    observed = list(hits)
    return rate_interval([hit for hit, _ in observed], [cluster for _, cluster in observed])


# --- the judge ---


def _judge_check(pairs: Sequence[_Pair]) -> JudgeCheck:
    cells = [(cell, pair.cluster) for pair in pairs for cell in pair.record["cells"]]
    lean = [(_order_lean(pair, "target_first"), _order_lean(pair, "rival_first"), pair.cluster) for pair in pairs]
    both = [(first, second, cluster) for first, second, cluster in lean if first is not None and second is not None]
    decisive = [(cell, cluster) for cell, cluster in cells if cell["status"] == "ok" and cell["digit"] != 3]
    return JudgeCheck(
        order_agreement=_rate((float(first == second), cluster) for first, second, cluster in both),
        first_pick_share=_rate((float(cell["digit"] > 3), cluster) for cell, cluster in decisive),
        order_kappa=cohen_kappa([first for first, _, _ in both], [second for _, second, _ in both]),
        passed_accuracy=_rate(hit for pair in pairs if (hit := _passed_hit(pair)) is not None),
        failed_cells=sum(cell["status"] != "ok" for cell, _ in cells),
        cells=len(cells),
    )


def _order_lean(pair: _Pair, order: str) -> int | None:
    """Return which side the verdicts of one order name: 1 target, -1 rival, 0 equal, None if any is missing."""
    cells = [cell for cell in pair.record["cells"] if cell["order"] == order]
    if not cells or any(cell["status"] != "ok" for cell in cells):
        return None
    total = fsum(cell["score"] - 0.5 for cell in cells)
    return (total > 0) - (total < 0)


def _passed_hit(pair: _Pair) -> tuple[float, Hashable] | None:
    passed, rival_passed = pair.target_passed, pair.record.get("passed")
    correctness = pair.record["dimensions"].get("correctness")
    if correctness is None or passed is None or rival_passed is None or passed == rival_passed:
        return None
    return float(correctness > 0.5 if passed else correctness < 0.5), pair.cluster
