"""What a second judge says beside the first, in words: how far they agree, and where not. No markup and no file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analyze.report.judging import HabitLine, failed_line, habit
from analyze.report.numbers import NONE, percent, percent_span
from analyze.report.reading import Record

if TYPE_CHECKING:
    from analyze.stats.second import Disagreement, Said, SecondJudge
    from analyze.stats.summary import Summary

Texts = Mapping[str, str]

MOST_DISAGREEMENTS = 30
ENOUGH_PAIRS = 120
"""Of several outcomes: in fewer, intervals of agreement hold less than promised (`python -m benchmarks agreement`)."""


@dataclass(frozen=True, slots=True)
class SaidLine:
    """What one of the two judges makes of the pairs that both judged."""

    judge: str
    model: str
    outcomes: str
    win_rate: str
    interval: str


@dataclass(frozen=True, slots=True)
class SecondView:
    """`kin` says that both judges are of one family, if they are; `few` on how little intervals of agreement rest,
    where it is too little; `rest` how many disagreements are not listed.
    """

    lead: str
    kin: str | None
    said: list[SaidLine]
    lines: list[HabitLine]
    few: str | None
    differ: str
    disagreements: list[Disagreement]
    rest: int


def second_view(run: Record, summary: Summary, t: Texts) -> SecondView | None:
    """Return all that is shown of a second judge; None where none was asked."""
    found = summary.second
    if found is None:
        return None
    first, second = (str(run.get(key) or NONE) for key in ("model", "second_model"))
    is_kin = (run.get("second_judge") or {}).get("same_family")
    count = len(found.disagreements)
    differ = t["second_differ"].format(n=count, all=found.agreement.n) if count else t["second_same"]
    return SecondView(
        lead=t["second_lead"].format(model=second, pairs=found.pairs),
        kin=t["second_kin"].format(first=first, second=second) if is_kin else None,
        said=[_said(t["second_first"], first, found.first), _said(t["second_second"], second, found.second)],
        lines=list(_lines(found, t)),
        few=_few(found, t),
        differ=differ if found.agreement.n else "",
        disagreements=found.disagreements[:MOST_DISAGREEMENTS],
        rest=max(0, count - MOST_DISAGREEMENTS),
    )


def _said(judge: str, model: str, said: Said) -> SaidLine:
    outcomes = f"{said.wins} · {said.ties} · {said.losses}"
    return SaidLine(judge, model, outcomes, percent(said.win_rate.value), percent_span(said.win_rate))


def _few(found: SecondJudge, t: Texts) -> str | None:
    """Say what the intervals of agreement rest on, where it is too little for them."""
    count = found.agreement.n
    if not count or (count >= ENOUGH_PAIRS and found.ac1 is None):
        return None
    return t["second_few"].format(pairs=count, tasks=found.tasks, n=len(found.disagreements))


def _lines(found: SecondJudge, t: Texts) -> Iterator[HabitLine]:
    yield habit("m_second", found.agreement, t)
    yield habit("m_second_kappa", found.kappa, t, share=False)
    if found.ac1 is not None:
        yield habit("m_second_ac1", found.ac1, t, share=False)
    yield habit("m_second_levels", found.levels_kappa, t, share=False)
    yield habit("m_second_alpha", found.levels_alpha, t, share=False)
    yield failed_line("m_cells", found.failed_cells, found.cells, t)


def disagreement_text(it: Disagreement, t: Texts) -> str:
    """Say what either judge makes of a pair."""
    return t["second_row"].format(rival=it.rival, first=t[it.first], second=t[it.second])
