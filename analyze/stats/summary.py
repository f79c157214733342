"""The records of per_task.jsonl in, the numbers of a report out. Opens no file.

    pairs of a rival, all pairs     -> Result (counts, rates, tests, bounds), overall and on each dimension
    two rivals on the same tasks    -> Difference
    both orders of pairs, probes    -> JudgeCheck: may these numbers be believed at all?

Tasks that share a `group_id` are one cluster. Records are sorted before anything is added up, so their order changes
no digit. Unscored pairs enter no mean; `coverage` and `worst` say what they could have changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import fsum, sqrt

from analyze.stats.check import JudgeCheck, judge_check
from analyze.stats.hypotheses import (
    benjamini_hochberg,
    holm,
    minimum_detectable_effect,
    sign_flip_test,
    sign_test,
    tost,
    wilcoxon_pratt,
)
from analyze.stats.intervals import Estimate, cluster_interval, mean_se
from analyze.stats.issues import IssueCount, count_issues
from analyze.stats.pairs import (
    POINTS,
    Audit,
    Outcome,
    Pair,
    Record,
    TaskMean,
    audits_of,
    cluster_sums,
    cluster_values,
    order_means,
    outcome_of,
    over_tasks,
    pairs_of,
    rate,
    sorted_records,
    task_means,
)

Adjustment = Callable[[Sequence[float]], list[float]]

OVERALL = "*"
LEAST_COVERAGE = 0.95
EQUAL_WITHIN = 0.05  # of the graded score, 0 to 1: what counts as no difference where equality is claimed
FEW_CLUSTERS = 30
HALO = 0.9  # dimensions that rank pairs this much alike are one judgement, asked twice


@dataclass(frozen=True, slots=True)
class Tests:
    """P-values, all two-sided, each on one value a cluster. `adjusted` is `sign_flip` for the number of tests.

    `equal` is of two one-sided tests: below 0.05 the score is within 0.05 of one half. Nothing else shows equality.
    `detectable` is the smallest difference from one half that so many clusters show with 80 % power.
    """

    sign_flip: float
    wilcoxon: float
    sign: float
    equal: float
    detectable: float | None
    adjusted: float


@dataclass(frozen=True, slots=True)
class Result:
    """The target against one rival (`author`), or against all of them ("*").

    `win_rate` is (W + ½T)/n over scored pairs, `decided_rate` W/(W + L). `score` is the graded mean, 1 = target much
    better, 0.5 = equal; for "*" it is the mean over tasks of the task's mean, so that a task with many rivals counts
    once. `worst` is that mean if every unscored pair were 0, or 1. Nothing scored: no tests.
    """

    author: str
    pairs: int
    wins: int
    ties_true: int
    ties_weak: int
    ties_conflict: int
    losses: int
    unscored: int
    by_rule: int
    clusters: int
    win_rate: Estimate
    decided_rate: Estimate
    score: Estimate
    worst: tuple[float, float]
    tests: Tests | None

    @property
    def ties(self) -> int:
        return self.ties_true + self.ties_weak + self.ties_conflict

    @property
    def coverage(self) -> float:
        """The share of pairs that were scored; 0 of none."""
        return (self.pairs - self.unscored) / self.pairs if self.pairs else 0.0

    @property
    def is_equal(self) -> bool:
        """Whether equality is shown, which is more than that no difference was."""
        return self.tests is not None and self.tests.equal < 0.05

    @property
    def is_small(self) -> bool:
        return self.clusters < FEW_CLUSTERS


@dataclass(frozen=True, slots=True)
class Dimension:
    """The same numbers on one dimension; `adjusted` p-values are Benjamini-Hochberg's over rivals x dimensions.

    Pairs decided by rule have no dimensions and are not among its pairs.
    """

    name: str
    overall: Result
    rivals: list[Result]


@dataclass(frozen=True, slots=True)
class Correlation:
    """Spearman's ρ between two dimensions over `n` scored pairs; None where one of them never varies."""

    first: str
    second: str
    rho: float | None
    n: int

    @property
    def is_halo(self) -> bool:
        return self.rho is not None and abs(self.rho) > HALO


@dataclass(frozen=True, slots=True)
class Difference:
    """One rival against another, measured through the target on their common tasks.

    `advantage` is the mean of the target's score against `second` less that against `first`: above 0 where `first` is
    the harder rival. `equal` is the p-value of two one-sided tests within ±0.05. The two never met: a rival can do
    better against the target and still lose to the other.
    """

    first: str
    second: str
    advantage: Estimate
    equal: float


@dataclass(frozen=True, slots=True)
class Summary:
    """The numbers of a run. `target` is None where tasks have different target authors."""

    tasks: int
    pairs: int
    target: str | None
    rivals: list[Result]
    overall: Result
    dimensions: dict[str, Dimension]
    correlations: list[Correlation]
    differences: list[Difference]
    issues: list[IssueCount]
    check: JudgeCheck

    @property
    def coverage(self) -> float:
        return self.overall.coverage

    @property
    def worst(self) -> tuple[float, float]:
        return self.overall.worst

    @property
    def is_sufficient(self) -> bool:
        """Whether enough pairs were scored for a headline."""
        return self.coverage >= LEAST_COVERAGE


@dataclass(frozen=True, slots=True)
class _Judged:
    """What was judged of a pair, overall or on a dimension."""

    pair: Pair
    outcome: Outcome
    tie_kind: str | None
    score: float | None


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
    targets = {record["target"]["author"] for record in records}
    judged = [_judged(pair) for pair in pairs]
    return Summary(
        tasks=len(records),
        pairs=len(pairs),
        target=targets.pop() if len(targets) == 1 else None,
        rivals=_adjusted(_results(judged), holm),
        overall=_result(OVERALL, judged),
        dimensions=_dimensions(pairs),
        correlations=_correlations(pairs),
        differences=_differences(judged),
        issues=count_issues(pair.record["issues"] for pair in pairs if pair.is_scored),
        check=judge_check(pairs, audits),
    )


def _judged(pair: Pair) -> _Judged:
    record = pair.record
    return _Judged(pair, record["outcome"], record["tie_kind"], record["score"])


# --- one rival, all rivals ---


def _results(judged: Iterable[_Judged]) -> list[Result]:
    by_author: dict[str, list[_Judged]] = {}
    for one in judged:
        by_author.setdefault(one.pair.author, []).append(one)
    return [_result(author, by_author[author]) for author in sorted(by_author)]


def _result(author: str, judged: Sequence[_Judged]) -> Result:
    outcomes = Counter(one.outcome for one in judged)
    ties = Counter(one.tie_kind for one in judged if one.outcome == "tie")
    scored = [(one.pair, one.score) for one in judged if one.score is not None]
    means = task_means(scored)
    return Result(
        author=author,
        pairs=len(judged),
        wins=outcomes["win"],
        ties_true=ties["true"],
        ties_weak=ties["weak"],
        ties_conflict=ties["conflict"],
        losses=outcomes["loss"],
        unscored=outcomes["unscored"],
        by_rule=sum(one.pair.record["rule"] is not None for one in judged),
        clusters=len({cluster for _, _, cluster in means}),
        win_rate=rate((POINTS[one.outcome], one.pair.cluster) for one in judged if one.score is not None),
        decided_rate=rate((POINTS[one.outcome], one.pair.cluster) for one in judged if one.outcome in ("win", "loss")),
        score=over_tasks(means),
        worst=(_filled(judged, 0.0), _filled(judged, 1.0)),
        tests=_tests(means) if means else None,
    )


def _tests(means: Sequence[TaskMean]) -> Tests:
    sums, values = cluster_sums(means), cluster_values(means)
    p_value = sign_flip_test(sums)
    sd = mean_se(values).se * sqrt(len(values))
    return Tests(
        sign_flip=p_value,
        wilcoxon=wilcoxon_pratt(sums),
        sign=sign_test(sums),
        equal=tost(values, EQUAL_WITHIN),
        detectable=minimum_detectable_effect(sd, len(values)) if sd > 0 else None,
        adjusted=p_value,
    )


def _filled(judged: Iterable[_Judged], missing: float) -> float:
    """Return the mean over tasks with `missing` for what was not scored."""
    means = task_means((one.pair, missing if one.score is None else one.score) for one in judged)
    return fsum(mean for mean, _, _ in means) / len(means) if means else missing


def _adjusted(results: Sequence[Result], adjust: Adjustment) -> list[Result]:
    """Return the results with their p-values adjusted for their number; those without a test count for nothing."""
    adjusted = iter(adjust([result.tests.sign_flip for result in results if result.tests]))
    return [
        replace(result, tests=replace(result.tests, adjusted=next(adjusted))) if result.tests else result
        for result in results
    ]


# --- dimensions ---


def _dimensions(pairs: Sequence[Pair]) -> dict[str, Dimension]:
    names = dict.fromkeys(name for pair in pairs for name in pair.record["dimensions"])
    asked = [pair for pair in pairs if pair.cells]
    judged = {name: [_judged_on(name, pair) for pair in asked] for name in names}
    every = [(name, result) for name in names for result in _results(judged[name])]
    adjusted = _adjusted([result for _, result in every], benjamini_hochberg)
    rivals: dict[str, list[Result]] = {name: [] for name in names}
    for (name, _), result in zip(every, adjusted, strict=True):
        rivals[name].append(result)
    return {name: Dimension(name, _result(OVERALL, judged[name]), rivals[name]) for name in names}


def _judged_on(name: str, pair: Pair) -> _Judged:
    means = order_means(pair.cells, name)
    if means is None:
        return _Judged(pair, "unscored", None, None)
    return _Judged(pair, *outcome_of(means), fsum(means) / 2)


def _correlations(pairs: Sequence[Pair]) -> list[Correlation]:
    """Return Spearman's ρ of every two dimensions: the correlation of their ranks, equal scores sharing theirs.

    Ranks are doubled and centred, and so are whole numbers: no sum is rounded, whatever its order.
    Source: C. Spearman, Am. J. Psychol. 15 (1904) 72-101.
    """
    import numpy as np
    from scipy.stats import rankdata  # type: ignore[import-untyped]  # SciPy ships no types

    scored = [pair.record["dimensions"] for pair in pairs if pair.record["dimensions"]]
    names = list(scored[0]) if scored else []
    ranks = {
        name: np.rint(2 * rankdata([scores[name] for scores in scored])).astype(np.int64) - len(scored) - 1
        for name in names
    }
    found = []
    for first, second in combinations(names, 2):
        a, b = ranks[first], ranks[second]
        spread = float(a @ a) * float(b @ b)
        found.append(Correlation(first, second, float(a @ b) / sqrt(spread) if spread else None, len(scored)))
    return found


# --- rival against rival ---


def _differences(judged: Iterable[_Judged]) -> list[Difference]:
    scores: dict[str, dict[str, tuple[float, Hashable]]] = {}
    for one in judged:
        if one.score is not None:
            scores.setdefault(one.pair.author, {})[one.pair.task_id] = one.score, one.pair.cluster
    return [_difference(first, second, scores) for first, second in combinations(sorted(scores), 2)]


def _difference(first: str, second: str, scores: Mapping[str, Mapping[str, tuple[float, Hashable]]]) -> Difference:
    against_first, against_second = scores[first], scores[second]
    common = [task for task in against_first if task in against_second]
    gaps = [against_second[task][0] - against_first[task][0] for task in common]
    clusters = [against_first[task][1] for task in common]
    values = cluster_values([(gap, 1, cluster) for gap, cluster in zip(gaps, clusters, strict=True)], equal=0.0)
    return Difference(first, second, cluster_interval(gaps, clusters), tost(values, EQUAL_WITHIN))
