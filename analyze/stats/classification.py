"""Predicted labels held against true ones: labels in, numbers out. Knows nothing of who predicts, and of what.

    truth, predicted ──> Scores       one label a row
    truth, predicted ──> SetScores    any number of labels a row

A row without a prediction (None) is a wrong one everywhere, never left out; `coverage` says how many have one. What
has no value, such as the precision of a label that was never predicted, is None, never 0 and never nan; an average is
of the labels that have a value.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analyze.errors import UsageError
from analyze.stats.agreement import kappa_of_table
from analyze.stats.intervals import Estimate, share

Cell = tuple[str, str | None]
"""A true label and a predicted one, None for none."""


@dataclass(frozen=True, slots=True)
class LabelScore:
    """How well one label is found. `right`: rows that have it and were given it."""

    label: str
    support: int  # rows that have it
    predicted: int  # rows that were given it
    right: int

    @property
    def precision(self) -> float | None:
        """Return right / predicted."""
        return _ratio(self.right, self.predicted)

    @property
    def recall(self) -> float | None:
        """Return right / support."""
        return _ratio(self.right, self.support)

    @property
    def f1(self) -> float | None:
        """Return 2·right / (support + predicted), the harmonic mean of precision and recall."""
        return _ratio(2 * self.right, self.support + self.predicted)


@dataclass(frozen=True, slots=True)
class DecisionScore(LabelScore):
    """How well one of several labels is decided on: each row has it, or has it not, whatever else the row has.

    `kappa`, `mcc`: agreement of these decisions with the truth, beyond chance.
    """

    kappa: float | None
    mcc: float | None


@dataclass(frozen=True, slots=True)
class Average:
    """Precision, recall and F1 over all labels."""

    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True, slots=True)
class Scores:
    """One label a row. `confusion` counts pairs of a true and a predicted label."""

    accuracy: Estimate
    coverage: Estimate
    labels: Sequence[LabelScore]
    macro: Average
    micro: Average
    weighted: Average
    confusion: Mapping[Cell, int]
    kappa: float | None
    mcc: float | None


@dataclass(frozen=True, slots=True)
class SetScores:
    """Any number of labels a row. `subset_accuracy`: rows whose predicted labels are exactly the true ones.

    `kappa`, `mcc`: means of the labels that have them.
    """

    subset_accuracy: Estimate
    coverage: Estimate
    hamming_loss: float | None
    labels: Sequence[DecisionScore]
    macro: Average
    micro: Average
    weighted: Average
    kappa: float | None
    mcc: float | None


def single_label(truth: Sequence[str], predicted: Sequence[str | None], labels: Sequence[str]) -> Scores:
    """Hold one predicted label a row against the true one.

    `labels` are what can be predicted; a true label may be another, which is never right, and has no part in the
    averages. κ and MCC take having no prediction for one more label. Raises UsageError for lengths that differ, and
    for a prediction that is none of `labels`.

    Sources: accuracy's interval, `wilson`; κ, `agreement.cohen_kappa`; MCC, `matthews`.
    """
    _refuse_unequal(truth, predicted)
    _refuse_unknown((one for one in predicted if one is not None), labels)
    confusion = Counter(zip(truth, predicted, strict=True))
    support, given = Counter(truth), Counter(predicted)
    scores = [LabelScore(label, support[label], given[label], confusion[label, label]) for label in labels]
    right = sum(score.right for score in scores)
    return Scores(
        accuracy=share(right, len(truth)),
        coverage=share(len(truth) - given[None], len(truth)),
        labels=scores,
        macro=_macro(scores),
        micro=_micro(scores),
        weighted=_weighted(scores),
        confusion=confusion,
        kappa=kappa_of_table(confusion),
        mcc=_matthews(confusion),
    )


def multi_label(
    truth: Sequence[Collection[str]], predicted: Sequence[Collection[str] | None], labels: Sequence[str]
) -> SetScores:
    """Hold the predicted labels of each row against its true ones.

        Hamming loss = Σ_rows |truth △ predicted| / (rows · labels)

    A row without a prediction has all of its labels wrong, and none found; to κ and MCC of a label, having no
    prediction is a third decision beside yes and no. A true label that is none of `labels` makes its row wrong, and has
    no part in what is counted by label. Raises UsageError for lengths that differ, and for a
    prediction that is none of `labels`.
    """
    _refuse_unequal(truth, predicted)
    _refuse_unknown((one for row in predicted if row is not None for one in row), labels)
    known = set(labels)
    support, given, both, missed = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    exact = wrong = missing = 0
    for own, said in zip(truth, predicted, strict=True):
        support.update(set(own) & known)
        if said is None:
            missing, wrong = missing + 1, wrong + len(known)
            missed.update(set(own) & known)
            continue
        given.update(set(said))
        both.update(set(own) & set(said))
        wrong += len((set(own) & known) ^ set(said))
        exact += set(own) == set(said)

    def decisions(label: str) -> DecisionScore:
        """Score one label, from how often each decision on it met each truth."""
        has, said, right, lost = support[label], given[label], both[label], missed[label]
        hasnt = len(truth) - has
        table: dict[tuple[bool, bool | None], int] = {
            (True, True): right,
            (True, False): has - right - lost,
            (True, None): lost,
            (False, True): said - right,
            (False, False): hasnt - (said - right) - (missing - lost),
            (False, None): missing - lost,
        }
        return DecisionScore(label, has, said, right, kappa_of_table(table), _matthews(table))

    scores = [decisions(label) for label in labels]
    return SetScores(
        subset_accuracy=share(exact, len(truth)),
        coverage=share(len(truth) - missing, len(truth)),
        hamming_loss=_ratio(wrong, len(truth) * len(known)),
        labels=scores,
        macro=_macro(scores),
        micro=_micro(scores),
        weighted=_weighted(scores),
        kappa=_mean([(score.kappa, 1) for score in scores]),
        mcc=_mean([(score.mcc, 1) for score in scores]),
    )


def matthews(truth: Sequence[Hashable], predicted: Sequence[Hashable]) -> float | None:
    """Return Matthews' correlation for any number of classes, −1 to 1, 0 for chance.

        (c·s − Σ_k p_k·t_k) / √((s² − Σ_k p_k²)(s² − Σ_k t_k²))

    s rows, c of them right, t_k truly of class k and p_k predicted to be. None where all rows are of one class, or all
    predictions: there is nothing to correlate. Raises UsageError for lengths that differ.

    Source: J. Gorodkin, Comput. Biol. Chem. 28 (2004) 367-374.
    """
    _refuse_unequal(truth, predicted)
    return _matthews(Counter(zip(truth, predicted, strict=True)))


def _matthews(table: Mapping[tuple[Any, Any], int]) -> float | None:
    """Return `matthews` of pairs that are counted already."""
    true, given = Counter[Any](), Counter[Any]()
    for (own, said), times in table.items():
        true[own] += times
        given[said] += times
    rows, right = true.total(), sum(times for (own, said), times in table.items() if own == said)
    spread = (rows**2 - sum(n * n for n in given.values())) * (rows**2 - sum(n * n for n in true.values()))
    if not spread:
        return None
    return (right * rows - sum(true[k] * given[k] for k in true)) / math.sqrt(spread)


def _macro(scores: Sequence[LabelScore]) -> Average:
    """Average the labels, each counting the same."""
    return Average(
        _mean([(score.precision, 1) for score in scores]),
        _mean([(score.recall, 1) for score in scores]),
        _mean([(score.f1, 1) for score in scores]),
    )


def _weighted(scores: Sequence[LabelScore]) -> Average:
    """Average the labels, each counting by its support."""
    return Average(
        _mean([(score.precision, score.support) for score in scores]),
        _mean([(score.recall, score.support) for score in scores]),
        _mean([(score.f1, score.support) for score in scores]),
    )


def _micro(scores: Sequence[LabelScore]) -> Average:
    """Return the scores of all decisions together."""
    support, predicted, right = (
        sum(score.support for score in scores),
        sum(score.predicted for score in scores),
        sum(score.right for score in scores),
    )
    whole = LabelScore("", support, predicted, right)
    return Average(whole.precision, whole.recall, whole.f1)


def _mean(weighted: Sequence[tuple[float | None, int]]) -> float | None:
    told = [(value, weight) for value, weight in weighted if value is not None]
    weights = sum(weight for _, weight in told)
    return math.fsum(value * weight for value, weight in told) / weights if weights else None


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _refuse_unequal(truth: Sequence[object], predicted: Sequence[object]) -> None:
    if len(truth) != len(predicted):
        raise UsageError(f"{len(truth)} true labels have {len(predicted)} predictions", cure="give each its prediction")


def _refuse_unknown(predicted: Iterable[str], labels: Sequence[str]) -> None:
    known = set(labels)
    for one in predicted:
        if one not in known:
            raise UsageError(f"{one!r} is predicted, and is none of the labels", cure="give all labels")
