"""The charts of a run: which numbers each shows, and what it is called. Knows no shape and no file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analyze.judge.labels import DIMENSION_LABELS, DIMENSIONS
from analyze.lang import Lang
from analyze.report.charts import Bar, Gauge, Mark, Point, Pull, Twin, dots, gauges, pulls, stacked_bars, twins
from analyze.report.findings import named_side, percent_text, score_text
from analyze.report.judging import gate_lines, probe_lines
from analyze.report.numbers import percent
from analyze.report.style import NARROW_PX, WIDE_PX
from analyze.report.svg import Drawing
from analyze.report.texts import TEXTS
from analyze.report.words import issue_label

if TYPE_CHECKING:
    from analyze.stats.intervals import Estimate
    from analyze.stats.issues import IssueCount
    from analyze.stats.summary import Result, Summary

# Issues and rivals a chart has room for; its table has them all.
MOST_ISSUES = 12
MOST_RIVALS = 20

FIGURES = ("check", "probes", "win_rate", "outcomes", "score", "dimensions", "issues")
OUTCOME_INKS = ("win", "tie_true", "tie_weak", "tie_conflict", "loss", "unscored")


@dataclass(frozen=True, slots=True)
class Figure:
    """One chart, drawn for a wide page and for a narrow one."""

    name: str
    wide: Drawing
    narrow: Drawing


def figures(summary: Summary, lang: Lang, *, measured: bool = False) -> list[Figure]:
    """Return the charts that this run has numbers for, in the order in which a page shows them.

    `measured`: no judge was asked, so there is none to check.
    """
    if summary.overall.win_rate.value is None:
        return []
    drawn = []
    if not measured and any(gate.estimate.n for gate in summary.check.gates):
        drawn.append(_figure("check", lambda width: _check(summary, lang, width)))
    if not measured and any(probe.moved.n for probe in summary.check.probes):
        drawn.append(_figure("probes", lambda width: _probes(summary, lang, width)))
    drawn += [
        _figure("win_rate", lambda width: _win_rate(summary, lang, width)),
        _figure("outcomes", lambda width: _outcomes(summary, lang, width)),
        _figure("score", lambda width: _score(summary, lang, width)),
    ]
    if summary.dimensions:
        drawn.append(_figure("dimensions", lambda width: _dimensions(summary, lang, width)))
    if summary.issues:
        drawn.append(_figure("issues", lambda width: _issues(summary.issues[:MOST_ISSUES], lang, width)))
    return drawn


def _figure(name: str, draw: Callable[[int], Drawing]) -> Figure:
    return Figure(name, draw(WIDE_PX), draw(NARROW_PX))


def _rows(summary: Summary, lang: Lang) -> list[tuple[str, Result]]:
    rivals = [(rival.author, rival) for rival in summary.rivals[:MOST_RIVALS]]
    return rivals if len(rivals) == 1 else [(TEXTS[lang]["overall"], summary.overall), *rivals]


def _sides(lang: Lang) -> tuple[str, str]:
    return TEXTS[lang]["rival_better"], TEXTS[lang]["target_better"]


def _check(summary: Summary, lang: Lang, width: int) -> Drawing:
    t = TEXTS[lang]
    rows = [
        Gauge(
            line.short,
            line.estimate.value,
            line.estimate.low,
            line.estimate.high,
            percent_text(line.estimate),
            good=(0.0, gate.threshold) if gate.direction == "at_most" else (gate.threshold, 1.0),
            is_sure=line.state != "unknown",
        )
        for gate, line in zip(summary.check.gates, gate_lines(summary, t), strict=True)
    ]
    return gauges(rows, good=t["check_good"], label=t["check_label"], width=width)


def _probes(summary: Summary, lang: Lang, width: int) -> Drawing:
    t = TEXTS[lang]
    rows = [
        Pull(
            line.measure,
            _mark(line.toward),
            _mark(line.away),
            f"{percent(line.toward.value)} · {percent(line.away.value)}",
        )
        if line.is_sided
        else Pull(line.measure, _mark(line.moved), None, percent(line.moved.value))
        for line in probe_lines(summary, t)
    ]
    return pulls(rows, names=(t["probes_toward"], t["probes_away"]), label=t["probes_label"], width=width)


def _mark(estimate: Estimate) -> Mark:
    return Mark(estimate.value, estimate.low, estimate.high)


def _point(label: str, result: Result, estimate: Estimate, text: Callable[[Estimate], str]) -> Point:
    side = named_side(result, estimate)
    return Point(label, estimate.value, estimate.low, estimate.high, text(estimate), side)


def _win_rate(summary: Summary, lang: Lang, width: int) -> Drawing:
    rows = [_point(name, row, row.win_rate, percent_text) for name, row in _rows(summary, lang)]
    return dots(rows, ends=_sides(lang), label=TEXTS[lang]["win_rate_label"], ticks="{:.0%}".format, width=width)


def _outcomes(summary: Summary, lang: Lang, width: int) -> Drawing:
    t = TEXTS[lang]
    rows = []
    for name, row in _rows(summary, lang):
        counts = (row.wins, row.ties_true, row.ties_weak, row.ties_conflict, row.losses, row.unscored)
        value = f"{row.wins} · {row.ties_true + row.ties_weak + row.ties_conflict} · {row.losses}"
        rows.append(Bar(name, tuple(zip(OUTCOME_INKS, counts, strict=True)), value))
    used = {ink for row in rows for ink, count in row.counts if count}
    legend = [(ink, t[ink]) for ink in OUTCOME_INKS if ink in used]
    return stacked_bars(rows, legend=legend, label=t["outcomes_label"], width=width)


def _score(summary: Summary, lang: Lang, width: int) -> Drawing:
    rows = [_point(name, row, row.score, score_text) for name, row in _rows(summary, lang)]
    return dots(rows, ends=_sides(lang), label=TEXTS[lang]["score_label"], width=width)


def _dimensions(summary: Summary, lang: Lang, width: int) -> Drawing:
    rows = []
    for name in DIMENSIONS:
        dimension = summary.dimensions.get(name)
        if dimension is not None:
            overall = dimension.overall
            rows.append(_point(DIMENSION_LABELS[lang][name], overall, overall.score, score_text))
    return dots(rows, ends=_sides(lang), label=TEXTS[lang]["dimensions_label"], width=width)


def _issues(issues: Sequence[IssueCount], lang: Lang, width: int) -> Drawing:
    t = TEXTS[lang]
    rows = [
        Twin(
            issue_label(issue.code, lang),
            issue.target / issue.pairs,
            issue.rival / issue.pairs,
            f"{percent(issue.target / issue.pairs)} · {percent(issue.rival / issue.pairs)}",
        )
        for issue in issues
    ]
    return twins(rows, names=(t["target"], t["rivals"]), label=t["issues_label"], width=width)
