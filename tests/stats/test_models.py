"""Models of who wins: published fits come out again, what was put into simulated verdicts is found in them."""

from __future__ import annotations

import math
import random
from typing import NamedTuple

import numpy as np
import pytest

from analyze.errors import UsageError
from analyze.stats import Sensitivity, bradley_terry, length_sensitivity

TEAMS = ("Milwaukee", "Detroit", "Toronto", "New York", "Boston", "Cleveland", "Baltimore")
HOME_WINS = [
    [0, 4, 4, 4, 6, 4, 6],
    [3, 0, 4, 4, 6, 6, 4],
    [2, 4, 0, 2, 4, 4, 6],
    [3, 5, 2, 0, 4, 4, 6],
    [5, 2, 3, 4, 0, 5, 6],
    [2, 3, 3, 4, 4, 0, 2],
    [2, 1, 1, 2, 1, 3, 0],
]
HOME_LOSSES = [
    [0, 3, 2, 3, 1, 2, 0],
    [3, 0, 2, 3, 0, 1, 3],
    [5, 3, 0, 4, 3, 2, 0],
    [3, 1, 5, 0, 3, 2, 1],
    [1, 5, 3, 2, 0, 2, 0],
    [5, 3, 4, 3, 2, 0, 4],
    [5, 5, 6, 4, 6, 4, 0],
]
"""The American League East of 1987 at home: A. Agresti, Categorical Data Analysis (1990), section 10.6."""
BASEBALL = np.array([HOME_WINS, np.transpose(HOME_LOSSES)], dtype=float)  # i at home beats j · j at home loses to i


class Verdicts(NamedTuple):
    scores: list[float]
    rivals: list[str]
    first: list[bool]
    differences: list[float]
    tasks: list[int]
    comments: list[float | None]

    @property
    def without_comments(self) -> tuple[list[float], list[str], list[bool], list[float], list[int]]:
        return self.scores, self.rivals, self.first, self.differences, self.tasks

    def permuted(self, order: list[int]) -> Verdicts:
        return Verdicts(*([column[i] for i in order] for column in self))

    def mirrored(self) -> Verdicts:
        return Verdicts(
            [1 - score for score in self.scores],
            self.rivals,
            [not first for first in self.first],
            [-difference for difference in self.differences],
            self.tasks,
            [None if difference is None else -difference for difference in self.comments],
        )


def fitted(drawn: Verdicts) -> Sensitivity:
    return length_sensitivity(*drawn.without_comments, comment_differences=drawn.comments)


def verdicts(
    *, position: float = 0.0, length: float = 0.0, longer: float = 0.0, comments: float = 0.0, tasks: int = 200
) -> Verdicts:
    """Draw verdicts of a target that is as good as its rivals, longer by so many standard deviations.

    What is longer has more comments too, though not always.
    """
    draw = random.Random(4)
    drawn = Verdicts([], [], [], [], [], [])
    for task in range(tasks):
        for rival in ("a", "b", "c"):
            difference = draw.gauss(longer, 1)
            commented = draw.gauss(0.6 * difference, 0.8)
            for first in (True, False):
                lean = position * (0.5 if first else -0.5) + length * math.tanh(difference)
                lean += comments * math.tanh(commented)
                drawn.scores.append(float(draw.random() < 1 / (1 + math.exp(-lean))))
                drawn.rivals.append(rival)
                drawn.first.append(first)
                drawn.differences.append(difference)
                drawn.tasks.append(task)
                drawn.comments.append(commented / 10)
    return drawn


def numbers(sensitivity: Sensitivity) -> list[float | None]:
    found = (sensitivity.position, sensitivity.length, sensitivity.comments, sensitivity.rate_at_equal_length)
    return [number for estimate in found for number in (estimate.value, estimate.low, estimate.high)]


# --- Bradley and Terry ---


def test_agrestis_baseball_teams_have_the_strengths_he_gives() -> None:
    fit = bradley_terry(BASEBALL.sum(axis=0))
    above_last = [strength - fit.strengths[-1] for strength in fit.strengths]
    assert above_last == pytest.approx([1.581, 1.436, 1.294, 1.248, 1.108, 0.684, 0], abs=5e-4)
    assert fit.first is None and sum(fit.strengths) == pytest.approx(0, abs=1e-9)


def test_playing_at_home_is_worth_what_he_gives() -> None:
    fit = bradley_terry(BASEBALL, order_effect=True)
    assert fit.first == pytest.approx(0.302, abs=5e-4)


def test_two_contestants_have_the_odds_of_their_wins() -> None:
    fit = bradley_terry([[0, 30], [10, 0]])
    assert fit.strengths[0] - fit.strengths[1] == pytest.approx(math.log(3))
    assert bradley_terry([[0, 5.5], [5.5, 0]]).strengths == pytest.approx([0, 0])


def test_who_never_lost_has_no_finite_strength() -> None:
    for wins in ([[0, 5], [0, 0]], [[0, 1, 2], [1, 0, 2], [0, 0, 0]]):
        with pytest.raises(UsageError, match="never"):
            bradley_terry(wins)
    for table in ([1, 2], [[0, 1, 2], [1, 0, 2]]):
        with pytest.raises(UsageError, match="shape"):
            bradley_terry(table)


# --- length and order ---


def test_what_order_and_length_do_is_found() -> None:
    found = length_sensitivity(*verdicts(position=0.8, length=1.2).without_comments)
    for estimate, truth in ((found.position, 0.8), (found.length, 1.2), (found.rate_at_equal_length, 0.5)):
        assert estimate.low is not None and estimate.high is not None
        assert estimate.low <= truth <= estimate.high
    assert found.position.low is not None and found.position.low > 0
    assert found.length.low is not None and found.length.low > 0
    assert found.overlap == pytest.approx(0.5, abs=0.05)


def test_a_rate_at_equal_length_takes_away_what_length_gave() -> None:
    drawn = verdicts(length=1.5, longer=0.8)
    found = fitted(drawn)
    assert sum(drawn.scores) / len(drawn.scores) > 0.6
    assert found.rate_at_equal_length.value == pytest.approx(0.5, abs=0.08)


def test_where_the_target_is_always_longer_nothing_is_said_of_equal_length() -> None:
    found = fitted(verdicts(longer=3))
    assert found.overlap < 0.05
    assert found.rate_at_equal_length.value is None and found.position.value is not None


def test_a_target_that_never_loses_has_finite_effects() -> None:
    drawn = verdicts(tasks=15)
    found = fitted(drawn._replace(scores=[1.0] * len(drawn.scores)))
    assert found.position.value == pytest.approx(0, abs=0.3)
    assert found.rate_at_equal_length.value is not None and found.rate_at_equal_length.value > 0.9


def test_what_does_not_vary_from_task_to_task_has_no_interval() -> None:
    drawn = verdicts(tasks=15)
    by_order = [float(shown) for shown in drawn.first]  # a judge that always prefers what is shown first
    found = fitted(drawn._replace(scores=by_order))
    assert found.position.low is not None and found.position.low > 3
    for effect in (found.length, found.rate_at_equal_length):
        assert effect.value is not None and effect.low is None and effect.high is None
    assert fitted(drawn._replace(scores=[0.5] * len(by_order))).position.low is None
    assert fitted(drawn).length.low is not None


def test_what_comments_do_is_told_apart_from_what_length_does() -> None:
    drawn = verdicts(position=0.5, comments=1.2)
    alone, both = length_sensitivity(*drawn.without_comments), fitted(drawn)
    assert alone.length.low is not None and alone.length.low > 0  # what is longer has more comments
    assert both.comments.low is not None and both.comments.high is not None
    assert 0 < both.comments.low <= 1.2 <= both.comments.high
    assert both.length.low is not None and both.length.low < 0


def test_comments_that_nobody_measured_or_that_never_differ_have_no_effect_and_change_nothing() -> None:
    drawn = verdicts(position=0.5, length=0.5, tasks=40)
    alone = length_sensitivity(*drawn.without_comments)
    assert (alone.comments.value, alone.comments.low, alone.comments.n) == (None, None, 0)
    for comments, n in (([None] * len(drawn.scores), 0), ([0.0] * len(drawn.scores), 240)):
        found = fitted(drawn._replace(comments=comments))
        assert (found.comments.value, found.comments.n) == (None, n)
        assert (found.position, found.length) == (alone.position, alone.length)
    some = fitted(drawn._replace(comments=[None, 0.2, None, -0.1] * 60))
    assert some.comments.value is not None and some.comments.n == 120


def test_the_order_of_verdicts_changes_no_digit_and_swapped_sides_mirror() -> None:
    drawn = verdicts(position=0.5, length=0.5, comments=0.5, tasks=40)
    drawn.comments[:10] = [None] * 10
    found = fitted(drawn)
    order = list(range(len(drawn.scores)))
    random.Random(1).shuffle(order)
    assert fitted(drawn.permuted(order)) == found
    mirrored = fitted(drawn.mirrored())
    assert numbers(mirrored)[:9] == pytest.approx(numbers(found)[:9])
    equal, other = found.rate_at_equal_length, mirrored.rate_at_equal_length
    assert equal.value is not None and other.value == pytest.approx(1 - equal.value)


def test_one_task_shows_no_effect_of_anything() -> None:
    drawn = verdicts(tasks=1)
    assert numbers(fitted(drawn)) == [None] * 12
    assert numbers(length_sensitivity([], [], [], [], [])) == [None] * 12
    with pytest.raises(UsageError):
        length_sensitivity(drawn.scores, [], [], [], [])
    with pytest.raises(UsageError):
        fitted(drawn._replace(scores=[2.0] * len(drawn.scores)))


def test_the_diagonal_of_a_table_of_wins_changes_no_strength() -> None:
    wins = np.array([[0, 3, 5], [1, 0, 4], [2, 2, 0]])
    plain = bradley_terry(wins)
    smoothed = bradley_terry(wins + np.diag([9, 0.5, 0]))
    assert smoothed.strengths == pytest.approx(plain.strengths, abs=1e-9)


def test_wins_that_cannot_be_counted_are_refused() -> None:
    for odd in (-1, math.nan, math.inf):
        with pytest.raises(UsageError, match="times"):
            bradley_terry([[0, odd], [1, 0]])


def test_an_order_that_tells_who_wins_has_no_finite_effect() -> None:
    always_first = [[[0, 10], [10, 0]], [[0, 0], [0, 0]]]
    one_always_first = [[[0, 10], [5, 0]], [[0, 5], [0, 0]]]  # of two alike when the other is shown first
    for wins in (always_first, one_always_first):
        with pytest.raises(UsageError, match="first"):
            bradley_terry(wins, order_effect=True)
    nearly = bradley_terry([[[0, 100_000], [100_000, 0]], [[0, 1], [1, 0]]], order_effect=True)
    assert nearly.first == pytest.approx(math.log(100_000), abs=1e-6)


def test_scores_and_lengths_that_are_missing_are_refused() -> None:
    scores, lengths = [0.5, 1.0, 0.0, 0.5] * 5, [1.0, -2.0, 3.0, 0.5] * 5
    same = ["rival"] * 20, [True, False] * 10
    tasks = list(range(20))
    with pytest.raises(UsageError, match="scores"):
        length_sensitivity([0.5, math.nan, *scores[2:]], *same, lengths, tasks)
    with pytest.raises(UsageError, match="length"):
        length_sensitivity(scores, *same, [math.nan, *lengths[1:]], tasks)
