"""Two judges on the same pairs: how far they agree, and where they do not. Knows no model, and which is right.

    outcomes (win, tie, loss) of pairs that both scored -> raw share, Cohen's κ, AC1 where nearly all are alike
    digits (1 to 5) of single judgements that both gave -> quadratic κ, ordinal α

A digit is what was said of A and B as they were shown, not of target and rival: two judges that always prefer what is
shown first agree on nothing else, and so get no credit for it. Swapping target and rival mirrors the win rates and the
list, and changes no other number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from analyze.stats.agreement import cohen_kappa, gwet_ac1, krippendorff_alpha
from analyze.stats.intervals import Estimate
from analyze.stats.jackknife import jackknife
from analyze.stats.pairs import POINTS, Audit, Outcome, by_order, order_means, outcome_of, rate

OUTCOMES = 3
ONE_CLASS = 0.80
"""The share of one outcome above which κ falls however much judges agree, and AC1 is told beside it."""


@dataclass(frozen=True, slots=True)
class Said:
    """What one of two judges makes of the pairs that both scored, from the target's side."""

    wins: int
    ties: int
    losses: int
    win_rate: Estimate


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A pair whose outcome is not the same by both judges."""

    task_id: str
    rival: str
    first: Outcome
    second: Outcome

    @property
    def is_opposite(self) -> bool:
        return "tie" not in (self.first, self.second)


@dataclass(frozen=True, slots=True)
class SecondJudge:
    """What a second judge says, beside the first.

    `pairs` were asked of it, `failed_cells` of its `cells` have no verdict. `agreement`: pairs with the same outcome by
    both, of so many `tasks` (clusters); `kappa` the same beyond chance; `ac1` too, where one outcome has more than 80 %
    of all, else None.
    `levels_kappa` and `levels_alpha` are quadratic κ and ordinal α of single judgements on their five levels.
    `disagreements`: pairs with another outcome, opposite ones first.
    """

    pairs: int
    cells: int
    failed_cells: int
    first: Said
    second: Said
    agreement: Estimate
    tasks: int
    kappa: Estimate
    ac1: Estimate | None
    levels_kappa: Estimate
    levels_alpha: Estimate
    disagreements: list[Disagreement]


Both = tuple[Any, Any]
_Rated = tuple[Outcome, Outcome, Audit]


def second_judge(audits: Sequence[Audit]) -> SecondJudge | None:
    """Return what the second judge says of the pairs that it was asked about; None where there is none."""
    own = [audit for audit in audits if audit.probe == "second"]
    if not own:
        return None
    rated = [both for audit in own if (both := _outcomes(audit)) is not None]
    outcomes = _by_cluster([((first, second), audit.pair.cluster) for first, second, audit in rated])
    digits = _by_cluster([(both, audit.pair.cluster) for audit in own for both in _digits(audit)])
    said = Counter(outcome for first, second, _ in rated for outcome in (first, second))
    is_one_class = bool(said) and max(said.values()) > ONE_CLASS * said.total()
    cells = [cell for audit in own for cell in audit.cells]
    return SecondJudge(
        pairs=len(own),
        cells=len(cells),
        failed_cells=sum(cell["status"] != "ok" for cell in cells),
        first=_said([(first, audit) for first, _, audit in rated]),
        second=_said([(second, audit) for _, second, audit in rated]),
        agreement=rate((float(first == second), audit.pair.cluster) for first, second, audit in rated),
        tasks=len(outcomes),
        kappa=jackknife(outcomes, _of_columns(cohen_kappa)),
        ac1=jackknife(outcomes, _of_columns(lambda a, b: gwet_ac1(a, b, OUTCOMES))) if is_one_class else None,
        levels_kappa=jackknife(digits, _of_columns(lambda a, b: cohen_kappa(a, b, "quadratic"))),
        levels_alpha=jackknife(digits, lambda units: krippendorff_alpha(units, "ordinal")),
        disagreements=_disagreements(rated),
    )


def _outcomes(audit: Audit) -> _Rated | None:
    """Return what both judges make of a pair; None where one of them does not score it."""
    means, first = order_means(by_order(audit.cells)), audit.pair.record["outcome"]
    return None if means is None or first == "unscored" else (first, outcome_of(means)[0], audit)


def _digits(audit: Audit) -> list[Both]:
    """Return what both judges say where they were shown the same."""
    first = {(cell["order"], cell["sample"]): cell["digit"] for cell in audit.pair.cells if cell["status"] == "ok"}
    own = {(cell["order"], cell["sample"]): cell["digit"] for cell in audit.cells if cell["status"] == "ok"}
    return [(first[shown], own[shown]) for shown in sorted(first.keys() & own.keys())]


def _by_cluster(units: Sequence[tuple[Both, Hashable]]) -> list[list[Both]]:
    clusters: dict[Hashable, list[Both]] = {}
    for unit, cluster in units:
        clusters.setdefault(cluster, []).append(unit)
    return list(clusters.values())


def _of_columns(
    measure: Callable[[Sequence[Any], Sequence[Any]], float | None],
) -> Callable[[list[Both]], float | None]:
    """Return a measure of two columns as one of rows."""
    return lambda units: measure([first for first, _ in units], [second for _, second in units])


def _said(rated: Sequence[tuple[Outcome, Audit]]) -> Said:
    counts = Counter(outcome for outcome, _ in rated)
    win_rate = rate((POINTS[outcome], audit.pair.cluster) for outcome, audit in rated)
    return Said(counts["win"], counts["tie"], counts["loss"], win_rate)


def _disagreements(rated: Sequence[_Rated]) -> list[Disagreement]:
    found = [
        Disagreement(audit.pair.task_id, audit.pair.author, first, second)
        for first, second, audit in rated
        if first != second
    ]
    return sorted(found, key=lambda it: (not it.is_opposite, it.task_id, it.rival))
