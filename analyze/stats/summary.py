"""The records of per_task.jsonl in, the numbers of a report out. Opens no file.

    pairs of a rival           -> RivalSummary (counts, win rate, graded score, sign-flip test)
    all pairs                  -> RivalSummary "*"
    both orders, and probes    -> JudgeCheck: may these numbers be believed at all?

Tasks that share a `group_id` are one cluster. Records are sorted by task before anything is added up, so their order
changes no digit. Unscored pairs enter no mean; `coverage` and `worst` say what they could have changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from analyze.stats.check import JudgeCheck, judge_check
from analyze.stats.hypotheses import holm, sign_flip_test
from analyze.stats.intervals import Estimate
from analyze.stats.pairs import (
    POINTS,
    Audit,
    Pair,
    Record,
    audits_of,
    cluster_sums,
    over_tasks,
    pairs_of,
    rate,
    sorted_records,
    task_means,
)

OVERALL = "*"


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


def summarise(records: Sequence[Record]) -> Summary:
    """Return the numbers of a run from its per-task records.

    Raises InputError where a task, or a rival within a task, is there twice.
    """
    records = sorted_records(records)
    pairs: list[Pair] = []
    audits: list[Audit] = []
    for record in records:
        of_task = pairs_of(record)
        pairs += of_task
        audits += audits_of(record, of_task)
    by_author: dict[str, list[Pair]] = {}
    for pair in pairs:
        by_author.setdefault(pair.author, []).append(pair)
    targets = {record["target"]["author"] for record in records}
    scored = sum(pair.is_scored for pair in pairs)
    return Summary(
        tasks=len(records),
        pairs=len(pairs),
        target=targets.pop() if len(targets) == 1 else None,
        rivals=_rivals(by_author),
        overall=_rival(OVERALL, pairs),
        dimensions=_dimensions(pairs),
        check=judge_check(pairs, audits),
        coverage=scored / len(pairs) if pairs else 0.0,
        worst=(_score_filled(pairs, 0.0), _score_filled(pairs, 1.0)),
    )


# --- results ---


def _rivals(by_author: Mapping[str, Sequence[Pair]]) -> list[RivalSummary]:
    alone = [_rival(author, by_author[author]) for author in sorted(by_author)]
    tested = [summary.p_value for summary in alone if summary.p_value is not None]
    adjusted = iter(holm(tested))
    return [summary if summary.p_value is None else replace(summary, p_holm=next(adjusted)) for summary in alone]


def _rival(author: str, pairs: Sequence[Pair]) -> RivalSummary:
    outcomes = Counter(pair.record["outcome"] for pair in pairs)
    ties = Counter(pair.record["tie_kind"] for pair in pairs if pair.record["outcome"] == "tie")
    decided = [pair for pair in pairs if pair.is_scored]
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
        win_rate=rate((POINTS[pair.record["outcome"]], pair.cluster) for pair in decided),
        score=over_tasks((pair, pair.record["score"]) for pair in decided),
        p_value=p_value,
        p_holm=p_value,
    )


def _p_value(decided: Sequence[Pair]) -> float | None:
    """Test the graded scores on one value a cluster: the sum of its deviations from 0.5."""
    sums = cluster_sums(task_means((pair, pair.record["score"]) for pair in decided))
    return sign_flip_test(sums) if sums else None


def _dimensions(pairs: Sequence[Pair]) -> dict[str, Estimate]:
    names = dict.fromkeys(name for pair in pairs for name in pair.record["dimensions"])
    judged = [pair for pair in pairs if pair.record["dimensions"]]
    return {name: over_tasks((pair, pair.record["dimensions"][name]) for pair in judged) for name in names}


def _score_filled(pairs: Sequence[Pair], missing: float) -> float:
    filled = ((pair, missing if pair.record["score"] is None else pair.record["score"]) for pair in pairs)
    value = over_tasks(filled).value
    return missing if value is None else value
