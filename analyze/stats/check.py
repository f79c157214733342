"""May the judge be believed? Its gates and habits, from verdicts on pairs and probes. Knows nothing of who won.

    gates    order agreement >= .80 · decisive on identical code <= .10 · right about recorded tests >= .75
    habits   what is shown beside them, with intervals: order, position, repetition, tests, and what probes move

A gate is judged by its interval, never by its value alone: qualified if the whole interval is on the good side of the
threshold, not qualified if all of it is on the bad side, else the evidence is not enough. The judge is not qualified
if one gate is not; it is qualified if all are.

Pairs decided by rule say nothing about the judge. Swapping target and rival changes no number here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import fsum
from typing import Literal

from analyze.stats.agreement import cohen_kappa, krippendorff_alpha
from analyze.stats.intervals import Estimate, cluster_interval
from analyze.stats.jackknife import jackknife, within_agreement
from analyze.stats.pairs import (
    POINTS,
    Audit,
    Outcome,
    Pair,
    Record,
    by_order,
    correct_side,
    facts_held,
    lean,
    order_means,
    outcome_of,
    passing_side,
    rate,
)

State = Literal["qualified", "not_qualified", "not_enough_evidence"]
Direction = Literal["at_least", "at_most"]

LEAST_ORDER_AGREEMENT = 0.80  # a strong judge has .93, poor ones .66 to .42 (LLMBar, 419 pairs)
MOST_SAME_DECISIVE = 0.10
LEAST_PASSED_ACCURACY = 0.75

MOVERS = ("injected", "authority", "no_comments", "renamed", "dead_code")
"""The probes that change a solution without changing what it does."""


@dataclass(frozen=True, slots=True)
class Gate:
    """One condition on the judge: an estimate, held against a threshold."""

    name: str
    estimate: Estimate
    threshold: float
    direction: Direction

    @property
    def state(self) -> State:
        """Whether all of the interval is on the good side, all on the bad side, or neither is sure."""
        low, high = self.estimate.low, self.estimate.high
        if low is None or high is None:
            return "not_enough_evidence"
        at_least = self.direction == "at_least"
        if low >= self.threshold if at_least else high <= self.threshold:
            return "qualified"
        return (
            "not_qualified" if (high < self.threshold if at_least else low > self.threshold) else "not_enough_evidence"
        )


@dataclass(frozen=True, slots=True)
class Probe:
    """What one edit does to verdicts. `moved`: pairs whose outcome differs from that of the plain pair.

    `toward`: pairs whose outcome moved toward the edited side, of those that it had not won already; `away`: from it,
    of those that it had not lost. Only where one side alone was edited. An edit that does nothing moves as many toward
    as away: what both share is noise. (Of all pairs, a judge that obeys every command shows but 50 % toward.)
    """

    name: str
    moved: Estimate
    toward: Estimate
    away: Estimate


@dataclass(frozen=True, slots=True)
class JudgeCheck:
    """What speaks for or against the judge, before any result.

    `order_agreement`: pairs whose two orders name the same side, or equal. `order_kappa`: the same beyond chance.
    `first_pick_share`: among verdicts that take a side, those for the solution shown first; 0.5 is no position bias.
    `passed_accuracy`: among pairs with exactly one passed test result, those whose correctness verdict names that
    side in both orders; "equal", or a side in one order only, is no hit.
    `same_decisive`: verdicts on a solution against itself that take a side.
    `repeat_flips`: how often two verdicts on the same pair in the same order, sampled, take different sides;
    `repeat_alpha`: how much such verdicts agree beyond chance, on their five ordered levels.
    `facts_agreement`: where a dimension's verdict and measured facts both take a side, how often it is the same.
    `failed_probes` of `probe_cells` questions that check the judge have no verdict, a second judge's not among them.
    """

    order_agreement: Estimate
    first_pick_share: Estimate
    order_kappa: Estimate
    passed_accuracy: Estimate
    same_decisive: Estimate
    repeat_flips: Estimate
    repeat_alpha: Estimate
    facts_agreement: Estimate
    probes: list[Probe]
    failed_cells: int
    cells: int
    failed_probes: int
    probe_cells: int

    @property
    def gates(self) -> tuple[Gate, ...]:
        return (
            Gate("order_agreement", self.order_agreement, LEAST_ORDER_AGREEMENT, "at_least"),
            Gate("same_decisive", self.same_decisive, MOST_SAME_DECISIVE, "at_most"),
            Gate("passed_accuracy", self.passed_accuracy, LEAST_PASSED_ACCURACY, "at_least"),
        )

    @property
    def state(self) -> State:
        states = [gate.state for gate in self.gates]
        if "not_qualified" in states:
            return "not_qualified"
        return "not_enough_evidence" if "not_enough_evidence" in states else "qualified"


def judge_check(pairs: Sequence[Pair], audits: Sequence[Audit]) -> JudgeCheck:
    """Return the check of the judge that gave the verdicts on `pairs` and, asked again with a change, on `audits`."""
    digits = [(cell["digit"], pair.cluster) for pair in pairs for cell in pair.cells if cell["status"] == "ok"]
    cells = sum([len(pair.cells) for pair in pairs])
    orders = [(means, pair.cluster) for pair in pairs if (means := order_means(pair.orders)) is not None]
    sides = [(lean(first), lean(second), cluster) for (first, second), cluster in orders]
    probed = [cell for audit in audits if audit.probe != "second" for cell in audit.cells]
    return JudgeCheck(
        order_agreement=rate((float(first == second), cluster) for first, second, cluster in sides),
        first_pick_share=rate((float(digit > 3), cluster) for digit, cluster in digits if digit != 3),
        order_kappa=_kappa(sides),
        passed_accuracy=rate(hit for pair in pairs if (hit := _passed_hit(pair)) is not None),
        same_decisive=rate(_same_decisive(audits)),
        repeat_flips=rate(_repeat_flips(audits)),
        repeat_alpha=_alpha(audits),
        facts_agreement=rate((agrees, pair.cluster) for pair in pairs for _, agrees in facts_held(pair)),
        probes=[_probe(name, [audit for audit in audits if audit.probe == name]) for name in MOVERS],
        failed_cells=cells - len(digits),
        cells=cells,
        failed_probes=sum(cell["status"] != "ok" for cell in probed),
        probe_cells=len(probed),
    )


def _kappa(sides: Sequence[tuple[int, int, Hashable]]) -> Estimate:
    """Return κ between orders with its t interval over clusters, from one value a pair whose mean is κ.

        κ + (1[a = b] − p_o)/(1 − p_e) − (1 − p_o)(q_a + p_b − 2p_e)/(1 − p_e)²      p, q: how often each order says

    No interval where nothing was seen to vary. Source: J. L. Fleiss et al., Psychol. Bull. 72 (1969) 323-327, whose
    variance this is where each pair is a cluster.
    """
    a, b = [first for first, _, _ in sides], [second for _, second, _ in sides]
    kappa, n = cohen_kappa(a, b), len(sides)
    if kappa is None or kappa == 1:
        return Estimate(kappa, None, None, n)
    p, q = Counter(a), Counter(b)
    unequal = sum(first != second for first, second in zip(a, b, strict=True)) / n  # 1 − p_o
    by_chance = sum(p[label] * q[label] for label in p) / n**2
    rest = 1 - by_chance
    values = [
        kappa + ((first == second) - 1 + unequal - unequal * ((q[first] + p[second]) / n - 2 * by_chance) / rest) / rest
        for first, second in zip(a, b, strict=True)
    ]
    interval = cluster_interval(values, [cluster for _, _, cluster in sides])
    if interval.low == interval.high:
        return Estimate(kappa, None, None, n)
    return replace(within_agreement(interval), value=kappa)


def _alpha(audits: Iterable[Audit]) -> Estimate:
    """Return α of repeats, a unit a pair and order, with its jackknife t interval over clusters."""
    clusters: dict[Hashable, list[list[float]]] = {}
    for audit in audits:
        if audit.probe == "repeat":
            clusters.setdefault(audit.pair.cluster, []).extend(_scores_by_order(audit.cells).values())
    return jackknife(list(clusters.values()), lambda units: krippendorff_alpha(units, "ordinal"))


def _passed_hit(pair: Pair) -> tuple[float, Hashable] | None:
    passed = passing_side(pair)
    said = correct_side(pair) if passed else None
    return None if said is None else (float(said == passed), pair.cluster)


def _same_decisive(audits: Iterable[Audit]) -> Iterator[tuple[float, Hashable]]:
    for audit in audits:
        if audit.probe == "same":
            for cell in audit.cells:
                if cell["status"] == "ok":
                    yield float(cell["digit"] != 3), audit.pair.cluster


def _repeat_flips(audits: Iterable[Audit]) -> Iterator[tuple[float, Hashable]]:
    """Yield, for each pair and order, the share of its pairs of repeats that take different sides."""
    for audit in audits:
        if audit.probe == "repeat":
            for scores in _scores_by_order(audit.cells).values():
                flips = [float(lean(one) != lean(other)) for one, other in combinations(scores, 2)]
                if flips:
                    yield fsum(flips) / len(flips), audit.pair.cluster


def _scores_by_order(cells: Iterable[Record]) -> Mapping[str, list[float]]:
    scores: dict[str, list[float]] = {}
    for cell in cells:
        if cell["status"] == "ok":
            scores.setdefault(cell["order"], []).append(cell["score"])
    return scores


def _probe(name: str, audits: Sequence[Audit]) -> Probe:
    steps = [(POINTS[before], POINTS[after], audit) for audit in audits for before, after in _outcomes(audit)]
    sided = [  # as the edited side sees it: 1 where it wins
        (before, after, audit) if audit.edited == "target" else (1 - before, 1 - after, audit)
        for before, after, audit in steps
        if audit.edited in ("target", "rival")
    ]
    return Probe(
        name,
        moved=rate((float(after != before), audit.pair.cluster) for before, after, audit in steps),
        toward=rate((float(after > before), audit.pair.cluster) for before, after, audit in sided if before < 1),
        away=rate((float(after < before), audit.pair.cluster) for before, after, audit in sided if before > 0),
    )


def _outcomes(audit: Audit) -> Iterator[tuple[Outcome, Outcome]]:
    """Yield the outcome of a probe's pair without its change and with it; nothing where either has none."""
    means, plain = order_means(by_order(audit.cells)), audit.pair.record["outcome"]
    if means is not None and plain != "unscored":
        yield plain, outcome_of(means)[0]
