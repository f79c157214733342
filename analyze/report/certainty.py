"""How sure the judge was, in rows and sentences, the same for every page. Knows the summary; no markup and no file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analyze.report.numbers import NONE, percent, percent_span, score, score_span, whole

if TYPE_CHECKING:
    from analyze.stats.expected import Expected
    from analyze.stats.summary import Summary

Texts = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class CertaintyLine:
    """The score by probabilities beside the graded one; `author` is None for all rivals together."""

    author: str | None
    score: str
    interval: str
    se: str
    graded: str
    graded_se: str
    worth: str
    n: str


def certainty_lines(summary: Summary) -> list[CertaintyLine]:
    """Return a line for all rivals and one for each; none where no comparison was read in both orders."""
    found = summary.probabilities
    if found is None or found.overall.score.value is None:
        return []
    return [_line(found.overall, None), *(_line(rival, rival.author) for rival in found.rivals)]


def _line(it: Expected, author: str | None) -> CertaintyLine:
    worth = NONE if it.worth is None else f"{it.worth:.1f}"
    return CertaintyLine(
        author,
        score(it.score.value),
        score_span(it.score),
        _error(it.se),
        score(it.graded.value),
        _error(it.graded_se),
        worth,
        whole(it.score.n),
    )


def _error(se: float | None) -> str:
    return NONE if se is None else f"{se:.3f}"


def certainty_notes(summary: Summary, t: Texts) -> list[str]:
    """Return what must be known to read those lines."""
    return list(_notes(summary, t))


def _notes(summary: Summary, t: Texts) -> Iterator[str]:
    found = summary.probabilities
    if found is None:
        return
    share = percent(found.read / found.cells)
    yield t["sure_read"].format(read=whole(found.read), cells=whole(found.cells), share=share)
    yield t["sure_masked"] if found.is_masked else t["sure_open"].format(mass=percent(found.legal_mass))
    if (tested := found.reliability) is not None:
        yield t["sure_tested"].format(
            n=whole(tested.right.n),
            stated=percent(tested.stated),
            right=percent(tested.right.value),
            interval=percent_span(tested.right),
            error=f"{100 * tested.error:.0f}",
        )
