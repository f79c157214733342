"""Predicted labels held against true ones; scikit-learn is the oracle."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyze.errors import UsageError
from analyze.stats.classification import Average, matthews, multi_label, single_label

pytestmark = pytest.mark.filterwarnings("ignore:A single label was found")  # the oracle's

LABELS = ["a", "b", "c", "d"]
NONE = "∅"  # how the oracle is told of a row without a prediction

rows = st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from(LABELS) | st.none()), max_size=40)
label_sets = st.lists(st.sampled_from(LABELS), unique=True)
set_rows = st.lists(st.tuples(label_sets, label_sets | st.none()), max_size=40)


def number(value: float | None) -> float:
    return math.nan if value is None else value


def numbers(average: Average) -> list[float]:
    return [number(average.precision), number(average.recall), number(average.f1)]


def close(ours: Sequence[float], theirs: Sequence[Any]) -> None:
    assert list(ours) == pytest.approx([float(value) for value in theirs], nan_ok=True)


@pytest.mark.parametrize("seed", range(30))
def test_one_label_a_row_is_scored_as_scikit_learn_does(seed: int) -> None:
    from sklearn import metrics

    draw = random.Random(seed)
    n, seen = draw.choice([1, 3, 20, 300]), draw.sample(LABELS, draw.randint(1, 4))
    truth = draw.choices(seen, k=n)
    predicted = [own if draw.random() < 0.6 else draw.choice([*seen, None]) for own in truth]
    scores = single_label(truth, predicted, LABELS)
    said = [NONE if one is None else one for one in predicted]

    def theirs(average: str | None) -> Any:
        return metrics.precision_recall_fscore_support(
            truth, said, labels=LABELS, average=average, zero_division=math.nan
        )

    precision, recall, f1, support = theirs(None)
    close([number(score.precision) for score in scores.labels], precision)
    close([number(score.recall) for score in scores.labels], recall)
    close([number(score.f1) for score in scores.labels], f1)
    assert [score.support for score in scores.labels] == list(support)
    for ours, name in ((scores.macro, "macro"), (scores.micro, "micro"), (scores.weighted, "weighted")):
        close(numbers(ours), theirs(name)[:3])
    assert scores.accuracy.value == pytest.approx(metrics.accuracy_score(truth, said))
    order = [*LABELS, NONE]
    table = metrics.confusion_matrix(truth, said, labels=order)
    for i, own in enumerate(LABELS):
        assert [scores.confusion.get((own, None if s == NONE else s), 0) for s in order] == list(table[i])
    if scores.kappa is not None:
        assert scores.kappa == pytest.approx(metrics.cohen_kappa_score(truth, said))
    assert (scores.mcc or 0.0) == pytest.approx(metrics.matthews_corrcoef(truth, said))


@pytest.mark.parametrize("seed", range(30))
def test_several_labels_a_row_are_scored_as_scikit_learn_does(seed: int) -> None:
    from sklearn import metrics

    draw = random.Random(seed)
    n = draw.choice([1, 3, 20, 200])
    truth = [draw.sample(LABELS, draw.randint(0, 3)) for _ in range(n)]
    said = [[label for label in LABELS if (label in own) != (draw.random() < 0.2)] for own in truth]
    scores = multi_label(truth, said, LABELS)
    true = [[label in own for label in LABELS] for own in truth]
    given = [[label in own for label in LABELS] for own in said]
    assert scores.subset_accuracy.value == pytest.approx(metrics.accuracy_score(true, given))
    assert scores.hamming_loss == pytest.approx(metrics.hamming_loss(true, given))
    for ours, name in ((scores.macro, "macro"), (scores.micro, "micro"), (scores.weighted, "weighted")):
        found = metrics.precision_recall_fscore_support(true, given, average=name, zero_division=math.nan)
        # Where no label that is true anywhere has a value, the oracle says 0 as often as nan.
        told = [(value, other) for value, other in zip(numbers(ours), found[:3], strict=True) if not math.isnan(value)]
        close([value for value, _ in told], [other for _, other in told])
    for at, score in enumerate(scores.labels):
        one, other = [row[at] for row in true], [row[at] for row in given]
        close([number(score.kappa)], [metrics.cohen_kappa_score(one, other, labels=[False, True])])
        assert (score.mcc or 0.0) == pytest.approx(metrics.matthews_corrcoef(one, other))
    for mean, told in ((scores.kappa, [s.kappa for s in scores.labels]), (scores.mcc, [s.mcc for s in scores.labels])):
        values = [value for value in told if value is not None]
        assert mean == (pytest.approx(sum(values) / len(values)) if values else None)
    tables = metrics.multilabel_confusion_matrix(true, given)
    assert [(s.right, s.predicted - s.right, s.support - s.right) for s in scores.labels] == [
        (t[1][1], t[0][1], t[1][0]) for t in tables
    ]


def test_a_row_without_a_prediction_is_wrong_and_uncovered() -> None:
    scores = single_label(["a", "a", "b"], ["a", None, "b"], ["a", "b"])
    assert scores.accuracy.value == scores.coverage.value == pytest.approx(2 / 3)
    assert scores.labels[0].recall == 0.5 and scores.labels[0].precision == 1
    assert scores.confusion["a", None] == 1
    sets = multi_label([["a"], []], [None, None], ["a", "b"])
    assert (sets.subset_accuracy.value, sets.coverage.value, sets.hamming_loss) == (0, 0, 1)


def test_a_true_label_that_cannot_be_predicted_is_never_right_and_no_part_of_averages() -> None:
    scores = single_label(["a", "b", "zebra"], ["a", "b", "a"], ["a", "b"])
    assert scores.accuracy.value == pytest.approx(2 / 3)
    assert scores.labels[0].precision == 0.5 and scores.macro.recall == 1
    sets = multi_label([["a", "zebra"], ["a"]], [["a"], ["a"]], ["a"])
    assert sets.subset_accuracy.value == 0.5 and sets.hamming_loss == 0 and sets.labels[0].f1 == 1


def test_what_has_no_value_is_none() -> None:
    nothing = single_label([], [], ["a", "b"])
    assert (nothing.accuracy.value, nothing.kappa, nothing.mcc, nothing.macro.f1) == (None, None, None, None)
    same = single_label(["a", "a"], ["a", "a"], ["a", "b"])
    assert (same.accuracy.value, same.kappa, same.mcc) == (1, None, None)
    assert (same.labels[1].precision, same.labels[1].recall, same.labels[1].f1) == (None, None, None)
    assert same.macro == Average(1, 1, 1)
    assert multi_label([], [], ["a"]).hamming_loss is None


def test_wrong_use_is_refused() -> None:
    with pytest.raises(UsageError):
        single_label(["a"], [], ["a", "b"])
    with pytest.raises(UsageError):
        single_label(["a"], ["x"], ["a", "b"])
    with pytest.raises(UsageError):
        multi_label([["a"]], [["x"]], ["a"])


@given(rows, st.permutations(LABELS))
def test_scores_are_shares_and_blind_to_order_and_names(pairs: list[tuple[str, str | None]], other: list[str]) -> None:
    truth, predicted = [own for own, _ in pairs], [said for _, said in pairs]
    scores = single_label(truth, predicted, LABELS)
    for value in (*numbers(scores.macro), *numbers(scores.micro), *numbers(scores.weighted)):
        assert math.isnan(value) or 0 <= value <= 1
    assert scores.mcc is None or -1 - 1e-9 <= scores.mcc <= 1 + 1e-9
    if pairs:
        assert (
            scores.accuracy.low is not None and scores.accuracy.value is not None and scores.accuracy.high is not None
        )
        assert 0 <= scores.accuracy.low <= scores.accuracy.value <= scores.accuracy.high <= 1
        assert scores.accuracy.value == pytest.approx(scores.micro.recall)
    assert sum(scores.confusion.values()) == len(pairs)
    names = dict(zip(LABELS, other, strict=True))
    renamed = single_label([names[own] for own in truth], [said and names[said] for said in predicted], other)
    assert (renamed.accuracy, renamed.kappa, renamed.mcc) == (scores.accuracy, scores.kappa, scores.mcc)
    back = single_label(truth[::-1], predicted[::-1], LABELS)
    assert (back.labels, back.macro, back.mcc) == (scores.labels, scores.macro, scores.mcc)


@given(set_rows)
def test_sets_are_exactly_right_no_more_often_than_any_of_their_labels(
    pairs: list[tuple[list[str], list[str] | None]],
) -> None:
    scores = multi_label([own for own, _ in pairs], [said for _, said in pairs], LABELS)
    if not pairs:
        assert scores.subset_accuracy.value is None
        return
    assert scores.subset_accuracy.value is not None and scores.hamming_loss is not None
    assert scores.subset_accuracy.value <= 1 - scores.hamming_loss + 1e-9


@given(set_rows)
def test_to_kappa_and_matthews_of_a_label_having_no_prediction_is_a_third_decision(
    pairs: list[tuple[list[str], list[str] | None]],
) -> None:
    truth, predicted = [own for own, _ in pairs], [said for _, said in pairs]
    for score in multi_label(truth, predicted, LABELS).labels:
        yes = ["yes" if score.label in own else "no" for own in truth]
        said = [None if row is None else "yes" if score.label in row else "no" for row in predicted]
        alone = single_label(yes, said, ["yes", "no"])
        assert (score.kappa, score.mcc) == (alone.kappa, alone.mcc)
        assert (score.precision, score.recall, score.f1) == (
            alone.labels[0].precision,
            alone.labels[0].recall,
            alone.labels[0].f1,
        )


@given(st.lists(st.booleans(), min_size=2), st.lists(st.booleans(), min_size=2))
def test_of_two_classes_matthews_is_the_correlation_of_two_signs(a: list[bool], b: list[bool]) -> None:
    n = min(len(a), len(b))
    ours = matthews(a[:n], b[:n])
    mean_a, mean_b = sum(a[:n]) / n, sum(b[:n]) / n
    spread = math.sqrt(mean_a * (1 - mean_a) * mean_b * (1 - mean_b))
    if ours is None:
        assert spread == 0
        return
    both = sum(x and y for x, y in zip(a, b, strict=False)) / n
    assert ours == pytest.approx((both - mean_a * mean_b) / spread)
