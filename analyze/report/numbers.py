"""How numbers are written, the same in both languages. Knows no record; a number that is not there is a dash."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from analyze.stats.intervals import Estimate

NONE = "—"


def percent(share: float | None) -> str:
    """Write a share as a percentage; one that is not all or nothing never reads 0% or 100%."""
    if share is None:
        return NONE
    if 0 < share < 0.005:
        return "<1%"
    if 0.995 <= share < 1:
        return ">99%"
    return f"{share:.0%}"


def percent_span(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return NONE
    return f"{100 * estimate.low:.0f}–{100 * estimate.high:.0f}%"


def score(value: float | None) -> str:
    return NONE if value is None else f"{value:.2f}"


def score_span(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return NONE
    return f"{estimate.low:.2f}–{estimate.high:.2f}"


def probability(value: float | None) -> str:
    """Write a p-value; what is below 0.001 is only said to be."""
    if value is None:
        return NONE
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def p_value(value: float | None) -> str:
    """Write a p-value within a sentence: p = 0.030, p < 0.001."""
    said = probability(value)
    return f"p\u00a0<\u00a0{said[1:]}" if said.startswith("<") else f"p\u00a0=\u00a0{said}"


def whole(value: int | float | None) -> str:
    return NONE if value is None else f"{value:,.0f}"


def number(value: float | bool | None) -> str:
    """Write a measured value with no more digits than it has."""
    return NONE if value is None else f"{float(value):g}"


def signed(value: float | None) -> str:
    """Write a number with its sign; what rounds to nothing has a plus."""
    return NONE if value is None else f"{round(value, 2) + 0.0:+.2f}".replace("-", "−")


def signed_span(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return NONE
    return f"{signed(estimate.low)} … {signed(estimate.high)}"


def mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def tenths(value: float | None) -> str:
    return NONE if value is None else f"{value:,.1f}"
