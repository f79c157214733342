"""Agreement between raters: labels in, numbers out. Knows nothing of who rates.

Every measure is agreement beyond chance, 1 less observed to expected disagreement; they differ in what is expected by
chance and in how far apart two labels count. None stands where nothing could disagree: no ratings, or one label only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from math import fsum
from numbers import Real
from typing import Any, Literal, get_args

from analyze.errors import UsageError

Weights = Literal["linear", "quadratic"]
Level = Literal["nominal", "ordinal", "interval"]

_DISTANCES: dict[Weights | None, Callable[[Any, Any], float]] = {
    None: lambda x, y: x != y,
    "linear": lambda x, y: abs(x - y),
    "quadratic": lambda x, y: (x - y) ** 2,
}


def cohen_kappa(a: Sequence[Hashable], b: Sequence[Hashable], weights: Weights | None = None) -> float | None:
    """Return Cohen's κ = (p_o − p_e)/(1 − p_e): agreement beyond what the raters' own frequencies give by chance.

    With weights the labels must be numbers, and a disagreement counts by its distance: κ = 1 − Σ w·o / Σ w·e with
    w = |x − y| (linear) or (x − y)² (quadratic). None where it has no meaning: no ratings, or both raters always give
    the same one label. Raises UsageError for lengths that differ, for NaN, and for weighted labels that are no numbers.

    Sources: J. Cohen, Educ. Psychol. Meas. 20 (1960) 37-46; weighted, Psychol. Bull. 70 (1968) 213-220.
    """
    _refuse_unequal(a, b)
    return kappa_of_table(Counter(zip(a, b, strict=True)), weights)


def kappa_of_table(table: Mapping[tuple[Any, Any], int], weights: Weights | None = None) -> float | None:
    """Return `cohen_kappa` of ratings that are counted already: `table` says how often each pair of them occurred."""
    if weights not in _DISTANCES:
        raise UsageError(f"weights {weights!r} are not known", cure="use None, 'linear' or 'quadratic'")
    distance = _DISTANCES[weights]
    table = {(_label(x, weights), _label(y, weights)): times for (x, y), times in table.items()}
    count_a, count_b = Counter[Any](), Counter[Any]()
    for (x, y), times in table.items():
        count_a[x] += times
        count_b[y] += times
    observed = fsum(times * distance(x, y) for (x, y), times in table.items())
    by_chance = fsum(count_a[x] * count_b[y] * distance(x, y) for x in count_a for y in count_b)  # times n
    return 1 - count_a.total() * observed / by_chance if by_chance else None


def gwet_ac1(a: Sequence[Hashable], b: Sequence[Hashable], labels: int) -> float | None:
    """Return Gwet's AC1: agreement beyond chance where one label is so frequent that κ is low though raters agree.

        (p_o − p_e)/(1 − p_e),   p_e = Σ_k π_k (1 − π_k)/(q − 1),   π_k = the share of label k in all 2n ratings

    `labels` is q, how many labels the scale has, seen or not. None without ratings. Raises UsageError for lengths that
    differ, and for more labels than the scale has.

    Source: K. L. Gwet, Br. J. Math. Stat. Psychol. 61 (2008) 29-48.
    """
    _refuse_unequal(a, b)
    n, counts = len(a), Counter(a) + Counter(b)
    if labels < max(2, len(counts)):
        raise UsageError(f"{len(counts)} labels are seen on a scale of {labels}", cure="count every label of the scale")
    if n == 0:
        return None
    differing = sum(x != y for x, y in zip(a, b, strict=True))
    by_chance = sum(count * (2 * n - count) for count in counts.values())  # times 4n²(q − 1)
    return 1 - differing / n / (1 - by_chance / (4 * n * n * (labels - 1)))


def krippendorff_alpha(ratings: Iterable[Sequence[Any]], level: Level) -> float | None:
    """Return Krippendorff's α = 1 − D_o/D_e over units rated by any number of raters.

    `ratings` has the ratings of each unit, None or NaN for a missing one; who gave which is of no matter, and a unit
    with fewer than two says nothing. D_o is the mean difference of two ratings of a unit, units weighing by their
    ratings; D_e that of any two ratings. Two ratings differ by 0 or 1 (nominal), by their squared distance in ranks,
    equal ones sharing theirs (ordinal), or by (x − y)² (interval); for the last two they must be numbers. None where no
    two ratings can be paired, or all are the same.

    Source: K. Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011).
    """
    if level not in get_args(Level):
        raise UsageError(f"level {level!r} is not known", cure="use 'nominal', 'ordinal' or 'interval'")
    units = Counter(  # NaN is not the same as itself
        frozenset(Counter([one for one in unit if one is not None and one == one]).items()) for unit in ratings
    )
    paired = [(dict(unit), times) for unit, times in units.items() if sum(count for _, count in unit) > 1]
    totals: Counter[Any] = Counter()
    for unit, times in paired:
        totals.update({label: count * times for label, count in unit.items()})
    numbers = {label: label if level == "nominal" else _number(label) for label in totals}
    place = _ranks(totals, numbers) if level == "ordinal" else numbers
    distance = _DISTANCES[None if level == "nominal" else "quadratic"]

    def differences(counts: Mapping[Any, int]) -> float:
        return fsum(counts[x] * counts[y] * distance(place[x], place[y]) for x in counts for y in counts)

    observed = fsum(times * differences(unit) / (sum(unit.values()) - 1) for unit, times in paired)
    by_chance = differences(totals)
    return 1 - (totals.total() - 1) * observed / by_chance if by_chance else None


def _label(label: Any, weights: Weights | None) -> Any:
    if label != label:
        raise UsageError("a label is NaN", cure="leave out what was not rated by both")
    return label if weights is None else _number(label)


def _number(label: Any) -> float:
    """Return a label as a number whose distances are exact: those of NumPy's small integers wrap around."""
    number = label.item() if hasattr(label, "item") else label
    if not isinstance(number, Real):
        raise UsageError(f"{number!r} is no number, so it has no distance to others", cure="give numbers as labels")
    return float(number)


def _ranks(totals: Mapping[Any, int], numbers: Mapping[Any, float]) -> dict[Any, float]:
    """Return the rank of each label among all ratings; equal ratings share the middle one."""
    ranks, below = {}, 0
    for label in sorted(totals, key=numbers.__getitem__):
        ranks[label] = below + totals[label] / 2
        below += totals[label]
    return ranks


def _refuse_unequal(a: Sequence[Hashable], b: Sequence[Hashable]) -> None:
    if len(a) != len(b):
        raise UsageError(f"{len(a)} ratings are held against {len(b)}", cure="rate the same items twice")
