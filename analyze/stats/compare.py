"""Two runs over the same tasks: did the target change for better or worse? Records in, numbers out. Opens no file.

    records of both runs ─► pairs of one task and one rival, judged in both ─► change of the target's score, per task

The target is another one (a new version of a model), tasks and rivals are the same: each task is its own control, so
what makes one task harder than another cancels out. Knows nothing of why verdicts differ: a judge that is not the same
in both runs changes scores as well, and who shows these numbers has to say so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import fsum
from typing import Literal

from analyze.stats.hypotheses import benjamini_hochberg, holm, sign_flip_test, tost
from analyze.stats.intervals import Estimate, exact_sum
from analyze.stats.pairs import (
    Outcome,
    Pair,
    Record,
    TaskMeans,
    cluster_sums,
    cluster_values,
    mean_gap,
    means_of_tasks,
    pairs_of,
    sorted_records,
)
from analyze.stats.summary import EQUAL_WITHIN, OVERALL, Adjustment, shows_equal

MOST_P = 0.05


@dataclass(frozen=True, slots=True)
class Change:
    """How the target's score against one rival (`author`), or all ("*"), or on a dimension, differs between two runs.

    `before` and `after` are means over tasks of pairs scored in both runs, `change` the mean of after - before over
    these tasks with its clustered interval; its `n` counts pairs. `p_value` is the sign-flip test of no change on
    clusters, `p_adjusted` the same for the number of rivals (Holm) or of dimensions (Benjamini and Hochberg, for
    exploring; "*": alone). `equal` is of two one-sided tests that the change is 0.05 or more. None where no pair was
    scored in both.

    `moves` counts pairs judged in both runs by their outcome before and after, unscored ones too.
    """

    author: str
    before: float | None
    after: float | None
    change: Estimate
    tasks: int
    p_value: float | None
    p_adjusted: float | None
    equal: float | None
    moves: Mapping[tuple[Outcome, Outcome], int]

    @property
    def gained(self) -> int:
        """How many outcomes moved toward the target."""
        return sum(count for (old, new), count in self.moves.items() if _step(old, new) > 0)

    @property
    def lost(self) -> int:
        return sum(count for (old, new), count in self.moves.items() if _step(old, new) < 0)

    @property
    def side(self) -> Literal["better", "worse", "equal", "unclear", "none"]:
        """What is shown: a side where interval and test both name it, equality where that is, else nothing."""
        low, high = self.change.low, self.change.high
        if self.change.value is None:
            return "none"
        if low is not None and high is not None and self.p_adjusted is not None and self.p_adjusted <= MOST_P:
            if low > 0:
                return "better"
            if high < 0:
                return "worse"
        is_equal = self.equal is not None and shows_equal(self.equal, self.change, 0.0)
        return "equal" if is_equal else "unclear"


@dataclass(frozen=True, slots=True)
class TaskChange:
    """One task: the target's mean score against the common rivals before and after; `moves` says of each rival what.

    `same_code`: both runs judged the same solution of the target, so what differs is the judge.
    """

    task_id: str
    before: float
    after: float
    same_code: bool
    moves: Sequence[tuple[str, Outcome, Outcome]]

    @property
    def change(self) -> float:
        return self.after - self.before


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs compared. Names are sorted; `unlike` are tasks of one id with two prompts, which are not compared.

    `tasks` are the compared ones, the greatest gain first. `same_code` names common tasks whose target is the same to
    the character, `other_rivals` counts common pairs whose rival is not. `retold` is of pairs with both the same: what
    changed there is the judge's own doing.
    """

    target_before: str | None
    target_after: str | None
    common: int
    only_before: Sequence[str]
    only_after: Sequence[str]
    unlike: Sequence[str]
    authors_only_before: Sequence[str]
    authors_only_after: Sequence[str]
    same_code: Sequence[str]
    other_rivals: int
    pairs: int
    overall: Change
    rivals: Sequence[Change]
    dimensions: Sequence[Change]
    retold: Change
    tasks: Sequence[TaskChange]


@dataclass(frozen=True, slots=True)
class _Twin:
    """One task and rival in both runs."""

    before: Pair
    after: Pair

    @property
    def is_scored(self) -> bool:
        return self.before.is_scored and self.after.is_scored

    @property
    def has_same_target(self) -> bool:
        return bool(self.before.target.get("code") == self.after.target.get("code"))

    @property
    def has_same_rival(self) -> bool:
        return bool(self.before.record.get("code") == self.after.record.get("code"))


def compare(before: Sequence[Record], after: Sequence[Record]) -> Comparison:
    """Return what changed from one run's per-task records to another's, on the tasks and rivals they have in common.

    Raises InputError where a run has a task, or a rival within a task, twice.
    """
    old = {str(record["task_id"]): record for record in sorted_records(before)}
    new = {str(record["task_id"]): record for record in sorted_records(after)}
    shared = [task for task in old if task in new]
    unlike = [task for task in shared if old[task].get("prompt") != new[task].get("prompt")]
    common = [task for task in shared if task not in set(unlike)]
    twins = [twin for task in common for twin in _twins(old[task], new[task])]
    scored = [twin for twin in twins if twin.is_scored]
    by_author = _by_author(twins)
    authors_before, authors_after = _authors(old.values()), _authors(new.values())
    return Comparison(
        target_before=_target(old.values()),
        target_after=_target(new.values()),
        common=len(common),
        only_before=[task for task in old if task not in new],
        only_after=[task for task in new if task not in old],
        unlike=unlike,
        authors_only_before=sorted(authors_before - authors_after),
        authors_only_after=sorted(authors_after - authors_before),
        same_code=[task for task in common if old[task]["target"].get("code") == new[task]["target"].get("code")],
        other_rivals=sum(not twin.has_same_rival for twin in twins),
        pairs=len(twins),
        overall=_change(OVERALL, twins),
        rivals=_adjusted([_change(author, them) for author, them in by_author.items()], holm),
        dimensions=_adjusted(_dimensions(scored), benjamini_hochberg),
        retold=_change(OVERALL, [twin for twin in twins if twin.has_same_target and twin.has_same_rival]),
        tasks=sorted(_task_changes(scored), key=lambda task: (-task.change, task.task_id)),
    )


def _twins(old: Record, new: Record) -> Iterator[_Twin]:
    before = {pair.author: pair for pair in pairs_of(old)}
    for pair in pairs_of(new):
        if pair.author in before:
            yield _Twin(before[pair.author], pair)


def _by_author(twins: Iterable[_Twin]) -> dict[str, list[_Twin]]:
    found: dict[str, list[_Twin]] = {}
    for twin in twins:
        found.setdefault(twin.after.author, []).append(twin)
    return {author: found[author] for author in sorted(found)}


def _authors(records: Iterable[Record]) -> set[str]:
    return {str(rival["author"]) for record in records for rival in record["rivals"]}


def _target(records: Iterable[Record]) -> str | None:
    """Return the target's author, None where tasks have different ones."""
    authors = {str(record["target"]["author"]) for record in records}
    return authors.pop() if len(authors) == 1 else None


def _change(author: str, twins: Sequence[_Twin]) -> Change:
    scored = [twin for twin in twins if twin.is_scored]
    scores = [(twin.before.record["score"], twin.after.record["score"]) for twin in scored]
    moves = Counter((twin.before.record["outcome"], twin.after.record["outcome"]) for twin in twins)
    return _tested(author, scored, scores, moves)


def _dimensions(scored: Sequence[_Twin]) -> list[Change]:
    """Return the change on every dimension that both runs judged."""
    names = dict.fromkeys(name for twin in scored for name in twin.after.record["dimensions"])
    found = []
    for name in names:
        on_it = [
            (twin, (twin.before.record["dimensions"][name], twin.after.record["dimensions"][name]))
            for twin in scored
            if name in twin.before.record["dimensions"] and name in twin.after.record["dimensions"]
        ]
        if on_it:
            found.append(_tested(name, [twin for twin, _ in on_it], [scores for _, scores in on_it], {}))
    return found


def _tested(
    author: str,
    twins: Sequence[_Twin],
    scores: Sequence[tuple[float, float]],
    moves: Mapping[tuple[Outcome, Outcome], int],
) -> Change:
    """Return the change of scores, before and after, of pairs that follow each other by task."""
    pairs = [twin.after for twin in twins]
    gaps = means_of_tasks(pairs, [new - old for old, new in scores])
    p_value = sign_flip_test(cluster_sums(gaps, equal=0.0)) if len(gaps) else None
    return Change(
        author=author,
        before=_mean(means_of_tasks(pairs, [old for old, _ in scores])),
        after=_mean(means_of_tasks(pairs, [new for _, new in scores])),
        change=mean_gap(gaps),
        tasks=len(gaps),
        p_value=p_value,
        p_adjusted=p_value,
        equal=tost(cluster_values(gaps, equal=0.0), EQUAL_WITHIN) if len(gaps) else None,
        moves=moves,
    )


def _mean(means: TaskMeans) -> float | None:
    return exact_sum(means.values) / len(means) if len(means) else None


def _adjusted(changes: Sequence[Change], adjust: Adjustment) -> list[Change]:
    adjusted = iter(adjust([change.p_value for change in changes if change.p_value is not None]))
    return [change if change.p_value is None else replace(change, p_adjusted=next(adjusted)) for change in changes]


def _task_changes(scored: Sequence[_Twin]) -> Iterator[TaskChange]:
    by_task: dict[str, list[_Twin]] = {}
    for twin in scored:
        by_task.setdefault(twin.after.task_id, []).append(twin)
    for task_id, twins in by_task.items():
        yield TaskChange(
            task_id,
            before=fsum(twin.before.record["score"] for twin in twins) / len(twins),
            after=fsum(twin.after.record["score"] for twin in twins) / len(twins),
            same_code=twins[0].has_same_target,
            moves=[(twin.after.author, twin.before.record["outcome"], twin.after.record["outcome"]) for twin in twins],
        )


_PLACES: Mapping[Outcome, int] = {"loss": -1, "tie": 0, "win": 1}


def _step(old: Outcome, new: Outcome) -> int:
    """Return by how many places an outcome moved; 0 where either is none."""
    return _PLACES[new] - _PLACES[old] if old in _PLACES and new in _PLACES else 0
