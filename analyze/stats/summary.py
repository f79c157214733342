"""The records of per_task.jsonl in, the numbers of a report out. Opens no file.

    pairs of a rival, all pairs     -> Result (counts, rates, tests, bounds), overall and on each dimension
    two rivals on the same tasks    -> Difference
    all authors among themselves    -> RoundRobin, where it was asked for
    both orders of pairs, probes    -> JudgeCheck: may these numbers be believed at all?
    the same pairs, another judge   -> SecondJudge: would it have said the same?

Tasks that share a `group_id` are one cluster. Records are sorted before anything is added up, so their order changes
no digit. Unscored pairs enter no mean; `coverage` and `worst` say what they could have changed.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import chain, combinations
from math import nan, sqrt
from typing import TYPE_CHECKING

from analyze.stats.adjusted import corrected_correctness, sensitivity
from analyze.stats.check import JudgeCheck, judge_check
from analyze.stats.expected import Probabilities, probabilities
from analyze.stats.hypotheses import (
    benjamini_hochberg,
    doubled_ranks,
    holm,
    minimum_detectable_effect,
    sign_counts,
    sign_flip_test,
    sign_test,
    tost,
    wilcoxon_pratt,
)
from analyze.stats.intervals import Estimate, clopper_pearson, exact_sum, mean_se, numbered, rate_interval
from analyze.stats.issues import IssueCount, count_issues
from analyze.stats.models import Sensitivity
from analyze.stats.pairs import (
    POINTS,
    Audit,
    Pair,
    Record,
    TaskMeans,
    audits_of,
    cluster_sums,
    cluster_values,
    dimension_means,
    facts_held,
    mean_gap,
    over_tasks,
    pairs_of,
    rate,
    sorted_records,
    task_means,
)
from analyze.stats.robin import RoundRobin, round_robin
from analyze.stats.second import SecondJudge, second_judge

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Adjustment = Callable[[Sequence[float]], list[float]]

OVERALL = "*"
LEAST_COVERAGE = 0.95
EQUAL_WITHIN = 0.05  # of the graded score, 0 to 1: what counts as no difference where equality is claimed
FEW_CLUSTERS = 30
HALO = 0.9  # dimensions that rank pairs this much alike are one judgement, asked twice


@dataclass(frozen=True, slots=True)
class Tests:
    """What else is tested of a headline, on one value a cluster: two-sided p-values that the target is no better.

    `equal` is of two one-sided tests that the score is 0.05 or more from one half: needed to call two equal, and not
    enough, see `Result.is_equal`.
    `detectable` is the smallest difference from one half that so many clusters show with 80 % power.
    `ahead` is what the sign test is about: the share of clusters in which the target is ahead, of those (`ahead.n`)
    that are not level, with its exact interval; None where all are level.
    """

    wilcoxon: float
    sign: float
    ahead: Estimate
    equal: float
    detectable: float | None


@dataclass(frozen=True, slots=True)
class Result:
    """The target against one rival (`author`), or against all of them ("*").

    `win_rate` is (W + ½T)/n over scored pairs, `decided_rate` W/(W + L). `score` is the graded mean, 1 = target much
    better, 0.5 = equal; for "*" it is the mean over tasks of the task's mean, so that a task with many rivals counts
    once. `worst` is that mean if every unscored pair were 0, or 1; `worst_win_rate` is the win rate if all were lost,
    or won. `sufficient` tells of this rival alone whether enough pairs were scored, which a total need not show.

    `p_value` is the sign-flip test of score = 0.5 on clusters, `p_adjusted` the same by Holm for the number of rivals
    (for "*": alone), on dimensions by Benjamini and Hochberg over rivals and dimensions: for exploring, so there are
    no other `tests`. None where nothing was scored. `tasks` and `clusters` are those with a scored pair.
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
    tasks: int
    clusters: int
    win_rate: Estimate
    decided_rate: Estimate
    score: Estimate
    worst: tuple[float, float]
    p_value: float | None
    p_adjusted: float | None
    tests: Tests | None

    @property
    def ties(self) -> int:
        return self.ties_true + self.ties_weak + self.ties_conflict

    @property
    def coverage(self) -> float:
        """The share of pairs that were scored; 0 of none."""
        return (self.pairs - self.unscored) / self.pairs if self.pairs else 0.0

    @property
    def sufficient(self) -> bool:
        """Whether enough pairs were scored for a headline."""
        return self.coverage >= LEAST_COVERAGE

    @property
    def worst_win_rate(self) -> tuple[float, float]:
        """The win rate if every unscored pair were lost, and if every one were won; 0 and 1 of no pairs."""
        points = self.wins + self.ties / 2
        return (points / self.pairs, (points + self.unscored) / self.pairs) if self.pairs else (0.0, 1.0)

    @property
    def is_equal(self) -> bool:
        """Whether equality is shown, which is more than that no difference was."""
        return self.tests is not None and shows_equal(self.tests.equal, self.score, 0.5)

    @property
    def is_small(self) -> bool:
        return self.clusters < FEW_CLUSTERS


@dataclass(frozen=True, slots=True)
class Dimension:
    """The same numbers on one dimension. Pairs decided by rule have none, and are not among its pairs.

    `facts_agreement`: where verdict and measured facts both take a side, how often it is the same.
    """

    name: str
    overall: Result
    rivals: list[Result]
    facts_agreement: Estimate

    @property
    def contradicted(self) -> int:
        """How many verdicts go against measured facts."""
        return self.facts_agreement.n - round(self.facts_agreement.n * (self.facts_agreement.value or 0.0))


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
    the harder rival. `equal` is the p-value of two one-sided tests that it is ±0.05 or beyond. The two never met: a
    rival can do better against the target and still lose to the other.

    `p_value` is the sign-flip test of advantage = 0 on clusters, `p_holm` the same adjusted for the number of pairs of
    rivals. Both are None where the two have no scored task in common. Above 20 clusters no p-value is below 1/10,001:
    from 33 rivals on, 528 pairs, none can be below 0.05 when adjusted.
    """

    first: str
    second: str
    advantage: Estimate
    equal: float
    p_value: float | None
    p_holm: float | None

    @property
    def is_equal(self) -> bool:
        """Whether equality is shown, which is more than that no difference was."""
        return shows_equal(self.equal, self.advantage, 0.0)


def shows_equal(p_value: float, estimate: Estimate, equal: float) -> bool:
    """Return whether two one-sided tests reject and, besides, the 95 % interval lies within the margin.

    The tests are t tests, and where most tasks are ties they see too little of the spread. Of runs whose true score is
    exactly on the margin, .55, they alone call 8 to 14 % equal in 30 to 100 tasks, of which one in five scores .75 or
    one in ten 1, the others .5; 5 % is what they promise. With the interval, Wilson's, it is 0 to 5.8 % (score .625,
    .75 or 1 and ties, 15 to 1000 tasks, computed exactly; 6.2 % at most for differences between rivals).
    """
    if estimate.low is None or estimate.high is None:
        return False
    return p_value < 0.05 and equal - EQUAL_WITHIN <= estimate.low and estimate.high <= equal + EQUAL_WITHIN


@dataclass(frozen=True, slots=True)
class Summary:
    """The numbers of a run. `target` is None where tasks have different target authors.

    `corrected_correctness` and `sensitivity` rest on models (see `adjusted`), None where there is nothing to fit.
    `probabilities`: how sure the judge was (see `expected`), None where no server told.
    `round_robin` is None unless rivals were judged against each other.
    """

    tasks: int
    pairs: int
    target: str | None
    rivals: list[Result]
    overall: Result
    dimensions: dict[str, Dimension]
    correlations: list[Correlation]
    differences: list[Difference]
    issues: list[IssueCount]
    corrected_correctness: Estimate | None
    sensitivity: Sensitivity | None
    probabilities: Probabilities | None
    check: JudgeCheck
    second: SecondJudge | None
    round_robin: RoundRobin | None = None

    @property
    def coverage(self) -> float:
        return self.overall.coverage

    @property
    def worst(self) -> tuple[float, float]:
        return self.overall.worst

    @property
    def is_sufficient(self) -> bool:
        """Whether enough pairs were scored for a headline over all rivals."""
        return self.overall.sufficient


@dataclass(frozen=True, slots=True)
class _Judged:
    """What was judged of pairs, overall or on a dimension: arrays, one element a pair.

    `tasks` and `clusters` are numbers. `points` and `scores` are NaN of an unscored pair; `ties` are places in `_TIES`.
    """

    tasks: NDArray[np.int64]
    clusters: NDArray[np.int64]
    by_rule: NDArray[np.bool_]
    points: NDArray[np.float64]
    ties: NDArray[np.int64]
    scores: NDArray[np.float64]

    @property
    def means(self) -> TaskMeans:
        return task_means(self.scores, self.tasks, self.clusters)

    def only(self, rows: Sequence[int]) -> _Judged:
        return _Judged(*(getattr(self, field.name)[rows] for field in fields(self)))


_TIES = (None, "true", "weak", "conflict")


def _rows_by_author(pairs: Sequence[Pair]) -> dict[str, list[int]]:
    rows: dict[str, list[int]] = {}
    for row, pair in enumerate(pairs):
        rows.setdefault(pair.author, []).append(row)
    return {author: rows[author] for author in sorted(rows)}


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
    judged = _overall(pairs)
    by_author = {author: judged.only(rows) for author, rows in _rows_by_author(pairs).items()}
    return Summary(
        tasks=len(records),
        pairs=len(pairs),
        target=targets.pop() if len(targets) == 1 else None,
        rivals=_adjusted([_headline(author, them) for author, them in by_author.items()], holm),
        overall=_headline(OVERALL, judged),
        dimensions=_dimensions(pairs),
        correlations=_correlations(pairs),
        differences=_differences(by_author),
        issues=count_issues(pair.record["issues"] for pair in pairs if pair.is_scored),
        corrected_correctness=corrected_correctness(pairs),
        sensitivity=sensitivity(pairs),
        probabilities=probabilities(pairs, OVERALL),
        check=judge_check(pairs, audits),
        second=second_judge(audits),
        round_robin=round_robin(records, pairs),
    )


def _overall(pairs: Sequence[Pair]) -> _Judged:
    import numpy as np

    return _Judged(
        *_known(pairs),
        points=np.array([POINTS.get(pair.record["outcome"], nan) for pair in pairs], dtype=float),
        ties=np.array([_TIES.index(pair.record["tie_kind"]) for pair in pairs], dtype=int),
        scores=np.array([pair.record["score"] for pair in pairs], dtype=float),
    )


def _known(pairs: Sequence[Pair]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Return what is known of pairs before they are judged: the first fields of `_Judged`."""
    import numpy as np

    tasks, clusters = numbered([pair.task_id for pair in pairs]), numbered([pair.cluster for pair in pairs])
    return tasks, clusters, np.array([pair.is_by_rule for pair in pairs], dtype=bool)


# --- one rival, all rivals ---


def _result(author: str, judged: _Judged, means: TaskMeans) -> Result:
    import numpy as np

    wins, ties, losses = (int(np.count_nonzero(judged.points == points)) for points in (1.0, 0.5, 0.0))
    kinds = dict(zip(_TIES, np.bincount(judged.ties, minlength=len(_TIES)).tolist(), strict=True))
    score, count = over_tasks(means), len(judged.points)
    return Result(
        author=author,
        pairs=count,
        wins=wins,
        ties_true=kinds["true"],
        ties_weak=kinds["weak"],
        ties_conflict=kinds["conflict"],
        losses=losses,
        unscored=count - wins - ties - losses,
        by_rule=int(np.count_nonzero(judged.by_rule)),
        tasks=len(means),
        clusters=len(np.unique(means.clusters)),
        win_rate=_rate(judged, ~np.isnan(judged.points)),
        decided_rate=_rate(judged, (judged.points == 1.0) | (judged.points == 0.0)),
        score=score,
        worst=(_worst(judged, score, 0.0), _worst(judged, score, 1.0)),
        p_value=None,
        p_adjusted=None,
        tests=None,
    )


def _rate(judged: _Judged, counted: NDArray[np.bool_]) -> Estimate:
    """Return the mean of the points of the pairs that count."""
    return rate_interval(judged.points[counted], judged.clusters[counted])


def _worst(judged: _Judged, score: Estimate, missing: float) -> float:
    """Return the mean over tasks with `missing` for what was not scored."""
    import numpy as np

    if score.value is None:
        return missing
    unscored = np.isnan(judged.scores)
    if not unscored.any():
        return score.value
    means = task_means(np.where(unscored, missing, judged.scores), judged.tasks, judged.clusters)
    return exact_sum(means.values) / len(means)


def _headline(author: str, judged: _Judged) -> Result:
    """Return a result with all its tests."""
    means = judged.means
    result = _result(author, judged, means)
    if not len(means):
        return result
    sums, values = cluster_sums(means), cluster_values(means)
    sd = mean_se(values).se * sqrt(len(values))
    tests = Tests(
        wilcoxon=wilcoxon_pratt(sums),
        sign=sign_test(sums),
        ahead=_ahead(sums),
        equal=tost(values, EQUAL_WITHIN),
        detectable=minimum_detectable_effect(sd, len(values)) if sd > 0 else None,
    )
    p_value = sign_flip_test(sums)
    return replace(result, p_value=p_value, p_adjusted=p_value, tests=tests)


def _ahead(sums: Sequence[float]) -> Estimate:
    ahead, behind = sign_counts(sums)
    count = ahead + behind
    return Estimate(ahead / count, *clopper_pearson(ahead, count), count) if count else Estimate(None, None, None, 0)


def _adjusted(results: Sequence[Result], adjust: Adjustment) -> list[Result]:
    """Return the results with their p-values adjusted for their number; those without one count for nothing."""
    adjusted = iter(adjust([result.p_value for result in results if result.p_value is not None]))
    return [result if result.p_value is None else replace(result, p_adjusted=next(adjusted)) for result in results]


# --- dimensions ---


def _dimensions(pairs: Sequence[Pair]) -> dict[str, Dimension]:
    names = list(dict.fromkeys(chain.from_iterable(pair.record["dimensions"] for pair in pairs)))
    asked = [pair for pair in pairs if pair.cells]
    known, means = _known(asked), dimension_means(asked, names)
    judged = {name: _Judged(*known, *_on_dimension(*means[:, :, at].T)) for at, name in enumerate(names)}
    rows = _rows_by_author(asked)
    every = [_explored(author, judged[name].only(rows[author])) for name in names for author in rows]
    adjusted = _adjusted(every, benjamini_hochberg)
    held: dict[str, list[tuple[float, Hashable]]] = {name: [] for name in names}
    for pair in asked:
        for name, agrees in facts_held(pair):
            held[name].append((agrees, pair.cluster))
    return {
        name: Dimension(
            name,
            overall=_explored(OVERALL, judged[name]),
            rivals=adjusted[index * len(rows) : (index + 1) * len(rows)],
            facts_agreement=rate(held[name]),
        )
        for index, name in enumerate(names)
    }


def _on_dimension(
    first: NDArray[np.float64], second: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    """Return points, kinds of ties and scores of pairs whose two order means these are: see `outcome_of`."""
    import numpy as np

    scores, one, other = (first + second) / 2, np.sign(first - 0.5), np.sign(second - 0.5)
    points = np.select([np.isnan(scores), one == other], [nan, (1 + one) / 2], 0.5)
    kinds = [np.isnan(scores), (one == other) & (one != 0), one == other, one * other == 0]
    return points, np.select(kinds, [0, 0, _TIES.index("true"), _TIES.index("weak")], _TIES.index("conflict")), scores


def _explored(author: str, judged: _Judged) -> Result:
    """Return a result with the test that its p-value comes from, and no other."""
    means = judged.means
    p_value = sign_flip_test(cluster_sums(means)) if len(means) else None
    return replace(_result(author, judged, means), p_value=p_value, p_adjusted=p_value)


def _correlations(pairs: Sequence[Pair]) -> list[Correlation]:
    """Return Spearman's ρ of every two dimensions: the correlation of their ranks, equal scores sharing theirs.

    Ranks are doubled and centred, and so are whole numbers: no sum is rounded, whatever its order.
    Source: C. Spearman, Am. J. Psychol. 15 (1904) 72-101.
    """
    import numpy as np

    scored = [pair.record["dimensions"] for pair in pairs if pair.record["dimensions"]]
    names = list(scored[0]) if scored else []
    every = np.array([[*map(scores.__getitem__, names)] for scores in scored], dtype=float).reshape(
        len(scored), len(names)
    )
    ranks = {name: _centred_ranks(column) for name, column in zip(names, every.T, strict=True)}
    found = []
    for first, second in combinations(names, 2):
        a, b = ranks[first], ranks[second]
        spread = float(a @ a) * float(b @ b)
        found.append(Correlation(first, second, float(a @ b) / sqrt(spread) if spread else None, len(scored)))
    return found


def _centred_ranks(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the doubled rank of each score, less the mean of them."""
    import numpy as np

    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks: NDArray[np.int64] = (doubled_ranks(counts) - len(scores) - 1)[places]
    return ranks


# --- rival against rival ---


def _differences(by_author: Mapping[str, _Judged]) -> list[Difference]:
    differences = [_difference(*names, *map(by_author.__getitem__, names)) for names in combinations(by_author, 2)]
    adjusted = iter(holm([one.p_value for one in differences if one.p_value is not None]))
    return [one if one.p_value is None else replace(one, p_holm=next(adjusted)) for one in differences]


def _difference(first: str, second: str, against_first: _Judged, against_second: _Judged) -> Difference:
    import numpy as np

    common, of_first, of_second = np.intersect1d(
        against_first.tasks, against_second.tasks, assume_unique=True, return_indices=True
    )
    scores = against_second.scores[of_second] - against_first.scores[of_first]
    gaps = task_means(scores, common, against_first.clusters[of_first])
    p_value = sign_flip_test(cluster_sums(gaps, equal=0.0)) if len(gaps) else None
    equal = tost(cluster_values(gaps, equal=0.0), EQUAL_WITHIN)
    return Difference(first, second, mean_gap(gaps), equal, p_value, p_value)
