"""Agreement between two raters: labels in, numbers out. Knows nothing of who rates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

from analyze.errors import UsageError


def cohen_kappa(a: Sequence[Hashable], b: Sequence[Hashable]) -> float | None:
    """Return Cohen's κ = (p_o − p_e)/(1 − p_e): agreement beyond what the raters' own frequencies give by chance.

    None where it has no meaning: no ratings, or both raters always give the same one label. Raises UsageError for
    lengths that differ. Source: J. Cohen, Educ. Psychol. Meas. 20 (1960) 37-46.
    """
    if len(a) != len(b):
        raise UsageError(f"{len(a)} ratings are held against {len(b)}", cure="rate the same items twice")
    n = len(a)
    count_a, count_b = Counter(a), Counter(b)
    same = sum(x == y for x, y in zip(a, b, strict=True))
    by_chance = sum(count_a[label] * count_b[label] for label in count_a)  # times n², so that both are whole numbers
    if by_chance == n * n:
        return None
    return (n * same - by_chance) / (n * n - by_chance)
