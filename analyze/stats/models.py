"""Logistic models of who wins: strengths of many, and what a judge's habits add. Knows nothing of where wins come from.

These are for looking behind a win rate, never in its place: a ranking of rivals that were all held against one target
is that target's win rates again, and a rate "at equal length" is a model's guess.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from analyze.errors import UsageError
from analyze.stats.intervals import Estimate, refuse_other_level, t_quantile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

RIDGE = 0.1
LEAST_OVERLAP = 0.1
_STEPS = 100
_CLOSE = 1e-9  # to the maximum, of a log-odds
_SUSPECT = 10.0  # log-odds of 22,000 to 1: what grows without end comes there, held by the ridge alone, or so many wins


@dataclass(frozen=True, slots=True)
class Strengths:
    """Log-odds of each contestant, their mean 0, and what being shown first adds; None where that was not asked."""

    strengths: list[float]
    first: float | None


def bradley_terry(wins: ArrayLike, order_effect: bool = False) -> Strengths:
    """Return the strengths s with which i beats j with the probability 1/(1 + exp(s_j − s_i)), by maximum likelihood.

    `wins[i][j]` is how often i won against j, half for a tie. With `order_effect` it is how often so when i was shown
    first, and `wins` has a second such table for j shown first: wins[0][i][j], wins[1][i][j]. Who is shown first then
    has γ added to its strength, `first` in the result. The diagonal says nothing of strengths: nobody beats himself.

    Raises UsageError where there is no maximum: somebody, or a group, never won (or never lost) against the others, or
    some strengths and γ together tell who wins every time; and for numbers of wins that are none.
    Sources: R. A. Bradley, M. E. Terry, Biometrika 39 (1952) 324-345; order: R. R. Davidson, R. J. Beaver, Biometrics
    33 (1977) 693-702; existence: L. R. Ford, Am. Math. Mon. 64 (1957) no. 8, 28-33, and with an order A. Albert, J. A.
    Anderson, Biometrika 71 (1984) 1-10.
    """
    import numpy as np
    from scipy.sparse.csgraph import connected_components  # type: ignore[import-untyped]  # SciPy ships no types

    shown = np.asarray(wins, dtype=float)
    shown = shown if order_effect else shown[None]
    if shown.ndim != 3 or shown.shape != (1 + order_effect, shown.shape[-1], shown.shape[-1]):
        raise UsageError(
            f"wins of shape {np.shape(wins)} are no table", cure="wins[i][j], or with the order wins[0 or 1][i][j]"
        )
    if not (np.isfinite(shown).all() and (shown >= 0).all()):
        raise UsageError("somebody won a number of times that is none", cure="count wins: 0, 1, 2 …, half for a tie")
    if connected_components(shown.sum(axis=0) > 0, connection="strong")[0] > 1:
        raise UsageError(
            "some contestants never won, or never lost, against the others: they have no finite strength",
            cure="compare every one with more of the others, or report win rates",
        )
    players = shown.shape[1]
    second, i, j = np.nonzero(shown)
    rows, row = np.zeros((len(i), players + order_effect)), np.arange(len(i))
    rows[row, i] += 1
    rows[row, j] -= 1
    if order_effect:
        rows[:, -1] = 1 - 2 * second
    beta, _ = _logistic(rows, np.ones(len(i)), ridge=1e-9, weights=shown[second, i, j])
    if order_effect and (rows @ beta).max(initial=0) > _SUSPECT and _is_told(rows):
        raise UsageError(
            "who is shown first and who plays tell together who wins: what being first adds is not finite",
            cure="compare more often in both orders, or leave the order out",
        )
    strengths = beta[:players] - beta[:players].mean()
    return Strengths([float(strength) for strength in strengths], float(beta[-1]) if order_effect else None)


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """What order, length and comments have to do with who wins, in log-odds, and the win rate at equal length.

    `position`: what being shown first adds; `length`: what being as much longer as is usual adds; `comments`: what
    being as much more commented as is usual adds. None where every difference of the kind is the same. `overlap` is the
    share of verdicts in which the less usual side is the longer one, at most ½. `rate_at_equal_length` is None where
    that is below a tenth: then nobody has seen what it would say.
    """

    position: Estimate
    length: Estimate
    rate_at_equal_length: Estimate
    overlap: float
    comments: Estimate

    @property
    def is_known(self) -> bool:
        """Whether any of the effects has an interval."""
        return any(effect.low is not None for effect in (self.position, self.length, self.comments))


def length_sensitivity(
    scores: Sequence[float],
    rivals: Sequence[Hashable],
    first: Sequence[bool],
    length_differences: Sequence[float],
    clusters: Sequence[Hashable],
    level: float = 0.95,
    *,
    comment_differences: Sequence[float | None] | None = None,
) -> Sensitivity:
    """Fit how verdicts depend on rival, order, length and comments; one element a verdict in every argument.

        logit P(target wins) = θ_rival + β_pos·(½ if the target was shown first, else −½)
                               + β_len·tanh(Δ/sd(Δ)) + β_com·tanh(Δ'/sd(Δ'))

    `scores` are the target's, 0 to 1, a tie ½; `length_differences` Δ are target less rival, in any unit, and so are
    `comment_differences` Δ' of the share of comment. One that is not known is None and enters as 0: it says nothing
    of comments, and `comments.n` does not count it. Without that argument there is no such term. A weak ridge,
    0.1·|coefficients|²/2, keeps what nobody ever lost finite; errors are clustered (a sandwich with C/(C − 1)), with t
    of C − 1 degrees of freedom. `rate_at_equal_length` is the mean of what the model says of the same pairs with Δ = 0
    and neither shown first, their comments as they are, its error by the delta method. What does not vary from cluster
    to cluster has no interval, as what length adds where who is shown first always wins: nothing was seen, which is not
    to see nothing.

    It is a sensitivity analysis: without shrinkage such a model missed the published length-controlled rates of 57
    models by 6.7 points in the mean, where the rates as they are miss them by 4.8.

    Sources: Y. Dubois et al., arXiv:2404.04475 for the form; K.-Y. Liang, S. L. Zeger, Biometrika 73 (1986) 13-22 for
    the errors. Raises UsageError for lengths of arguments that differ, for scores outside 0..1, and for differences of
    length that are not finite.
    """
    import numpy as np

    refuse_other_level(level)

    n = len(scores)
    comments = [None] * n if comment_differences is None else comment_differences
    if {len(rivals), len(first), len(length_differences), len(clusters), len(comments)} != {n}:
        raise UsageError("arguments of different lengths", cure="give every verdict its rival, order, length, cluster")
    if not all(0 <= score <= 1 for score in scores):
        raise UsageError("scores outside 0..1", cure="give the target's scores, 1 for a win")
    if not np.isfinite(np.asarray(length_differences, dtype=float)).all():
        raise UsageError("a difference of length is not finite", cure="leave out what was not measured")
    unknown = Estimate(None, None, None, n)
    if len(set(clusters)) < 2:
        return Sensitivity(unknown, unknown, unknown, 0.0, unknown)
    columns = np.array([_codes(rivals), _codes(clusters), first, length_differences, comments, scores], dtype=float)
    columns = columns[:, np.lexsort(columns)]  # so that order changes no digit
    rival, group, shown_first, difference, comment, y = columns
    position, length, commented = range(-3, 0)
    design = np.zeros((n, len(set(rivals)) + 3))
    design[np.arange(n), rival.astype(int)] = 1
    design[:, position] = shown_first - 0.5
    design[:, length] = _in_spreads(difference)
    design[:, commented] = _in_spreads(comment)
    beta, hessian = _logistic(design, y, ridge=RIDGE)
    covariance = _sandwich(design, y - _expit(design @ beta), group.astype(int), hessian)
    quantile = t_quantile(0.5 + level / 2, len(set(clusters)) - 1)

    def estimate(value: float, gradient: Any, of: int = n) -> Estimate:
        half = quantile * math.sqrt(max(0.0, float(gradient @ covariance @ gradient)))
        if half < _CLOSE:
            return Estimate(value, None, None, of)
        return Estimate(value, value - half, value + half, of)

    def effect(column: int, of: int = n) -> Estimate:
        if not design[:, column].any():
            return Estimate(None, None, None, of)
        return estimate(float(beta[column]), np.eye(len(beta))[column], of)

    neutral = design.copy()
    neutral[:, [position, length]] = 0
    rates = _expit(neutral @ beta)
    overlap = float(min((difference > 0).mean(), (difference < 0).mean()) + (difference == 0).mean() / 2)
    at_equal = estimate(float(rates.mean()), (rates * (1 - rates)) @ neutral / n)
    return Sensitivity(
        position=effect(position),
        length=effect(length),
        rate_at_equal_length=at_equal if overlap >= LEAST_OVERLAP else unknown,
        overlap=overlap,
        comments=effect(commented, int(np.isfinite(comment).sum())),
    )


# --- fitting ---


def _is_told(wins: NDArray[np.float64]) -> bool:
    """Return whether some coefficients explain every win, and not all as a draw: then larger ones do so better.

    Each row is the winner's side of a game: with coefficients β it is won with the log-odds row·β.
    """
    import numpy as np
    from scipy.optimize import linprog  # type: ignore[import-untyped]  # SciPy ships no types

    unique = np.unique(wins, axis=0)
    bounds = np.vstack([unique, -unique]), np.repeat([1.0, 0.0], len(unique))  # 0 <= row·β <= 1
    found = linprog(-unique.sum(axis=0), A_ub=bounds[0], b_ub=bounds[1], bounds=(None, None))
    return bool(-found.fun > 1e-6)


def _codes(names: Sequence[Hashable]) -> list[int]:
    """Return a number for each name, the same wherever it stands."""
    known = {name: code for code, name in enumerate(sorted(set(names), key=repr))}
    return [known[name] for name in names]


def _in_spreads(differences: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return tanh(Δ/sd(Δ)), 0 for a difference that is not known (NaN); 0 for all where they are one and the same."""
    import numpy as np

    known = np.isfinite(differences)
    if not known.any() or np.ptp(differences[known]) == 0:
        return np.zeros(len(differences))
    bounded: NDArray[np.float64] = np.tanh(np.where(known, differences / differences[known].std(), 0.0))
    return bounded


def _logistic(
    design: NDArray[np.float64], y: NDArray[np.float64], *, ridge: float, weights: NDArray[np.float64] | float = 1.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the coefficients that maximise the penalised likelihood, and the negative second derivatives there."""
    import numpy as np

    def loss(beta: NDArray[np.float64]) -> float:
        lean = design @ beta
        return float((weights * (np.logaddexp(0, lean) - y * lean)).sum() + ridge * beta @ beta / 2)

    beta = np.zeros(design.shape[1])
    lost = loss(beta)
    for _ in range(_STEPS):
        p = _expit(design @ beta)
        gradient = design.T @ (weights * (y - p)) - ridge * beta
        hessian = (design.T * (weights * p * (1 - p))) @ design + ridge * np.eye(len(beta))
        step = np.linalg.solve(hessian, gradient)
        while (now := loss(beta + step)) > lost * (1 + 1e-12) and np.abs(step).max() > _CLOSE:
            step /= 2  # Newton's step may jump over the top where few verdicts decide
        beta, lost = beta + step, now
        if np.abs(step).max() <= _CLOSE:
            break
    return beta, hessian


def _sandwich(
    design: NDArray[np.float64], residuals: NDArray[np.float64], groups: NDArray[np.int64], hessian: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the covariance of coefficients where the verdicts of a group go together."""
    import numpy as np

    sums = np.array([np.bincount(groups, column * residuals) for column in design.T])
    count = sums.shape[1]
    bread = np.linalg.inv(hessian)
    covariance: NDArray[np.float64] = bread @ (sums @ sums.T) @ bread * count / (count - 1)
    return covariance


def _expit(lean: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.special import expit  # type: ignore[import-untyped]

    share: NDArray[np.float64] = expit(lean)
    return share
