"""Tests of a hypothesis: arrays in, p-values out. Knows nothing of what is compared."""

from __future__ import annotations

from collections.abc import Sequence

EXACT_UP_TO = 20  # 2^20 sign vectors: 8 MB, 10 ms
DRAWS = 10_000
_BLOCK = 256  # draws made at once: bounds memory at 256 · n numbers


def sign_flip_test(values: Sequence[float], seed: int = 0) -> float:
    """Return the two-sided p-value that values are symmetric about 0: the share of sign flips with as large a |sum|.

    Exact up to 20 values (all 2ⁿ sign vectors), else (1 + hits)/(1 + 10,000) over random ones, so never 0. The values
    must be independent: pass one per cluster. No values give 1.
    Sources: R. A. Fisher, The Design of Experiments (1935) §21; Phipson & Smyth, SAGMB 9 (2010) 39 for the + 1.
    """
    import numpy as np

    array = np.sort(np.asarray(values, dtype=float))
    observed = abs(array.sum())
    threshold = observed - 1e-9 * max(1.0, float(np.abs(array).sum()))
    if array.size <= EXACT_UP_TO:
        sums = np.zeros(1)
        for value in array:
            sums = np.concatenate([sums + value, sums - value])
        return float((np.abs(sums) >= threshold).mean())
    generator = np.random.default_rng(seed)
    hits = drawn = 0
    while drawn < DRAWS:
        count = min(_BLOCK, DRAWS - drawn)
        flipped = np.frombuffer(generator.bytes(count * -(-array.size // 8)), np.uint8).reshape(count, -1)
        kept = np.unpackbits(flipped, axis=1, count=array.size).astype(float)  # a bit a sign: 5 times choice([-1, 1])
        hits += int((np.abs(2 * (kept @ array) - array.sum()) >= threshold).sum())
        drawn += count
    return (1 + hits) / (1 + DRAWS)


def holm(pvalues: Sequence[float]) -> list[float]:
    """Return the p-values adjusted for their number by Holm's step-down rule, in the order given.

        p̃(i) = max over j <= i of min(1, (m − j + 1) · p(j))          p(1) <= … <= p(m)

    Source: S. Holm, Scand. J. Stat. 6 (1979) 65-70.
    """
    count = len(pvalues)
    adjusted = [0.0] * count
    running = 0.0
    for rank, index in enumerate(sorted(range(count), key=lambda i: pvalues[i])):
        running = max(running, min(1.0, (count - rank) * pvalues[index]))
        adjusted[index] = running
    return adjusted
