"""`summary.csv`: the numbers of a run for spreadsheets and scripts, the same in every language. Knows no sentence."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from analyze.report.safe import spreadsheet

if TYPE_CHECKING:
    from analyze.stats.intervals import Estimate
    from analyze.stats.summary import Result, Summary, Tests

COLUMNS = (
    "target",
    "author",
    "pairs",
    "wins",
    "ties_true",
    "ties_weak",
    "ties_conflict",
    "losses",
    "unscored",
    "win_rate",
    "win_rate_low",
    "win_rate_high",
    "score",
    "score_low",
    "score_high",
    "score_n",
    "by_rule",
    "decided_rate",
    "decided_rate_low",
    "decided_rate_high",
    "coverage",
    "worst_low",
    "worst_high",
    "p_value",
    "p_adjusted",
    "p_wilcoxon",
    "p_sign",
    "p_equal",
    "detectable",
    "ahead",
    "ahead_low",
    "ahead_high",
    "ahead_n",
    "effect_position",
    "effect_position_low",
    "effect_position_high",
    "effect_length",
    "effect_length_low",
    "effect_length_high",
    "effect_comments",
    "effect_comments_low",
    "effect_comments_high",
    "judge_check",
)


def summary_csv(summary: Summary, *, measured: bool = False) -> bytes:
    """Return one row per rival and one over all, whose author is `*`: UTF-8 with a BOM, so that Excel reads Chinese.

    `measured`: no judge was asked, so `judge_check` says does_not_apply.
    """
    judge_check = "does_not_apply" if measured else summary.check.state
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in (*summary.rivals, summary.overall):
        effects = _effects(summary if row is summary.overall else None)
        writer.writerow([*_cells(summary, row), *effects, judge_check])
    return buffer.getvalue().encode("utf-8-sig")


def _cells(summary: Summary, row: Result) -> list[str | int]:
    counts = [row.pairs, row.wins, row.ties_true, row.ties_weak, row.ties_conflict, row.losses, row.unscored]
    return [
        spreadsheet(summary.target or ""),
        spreadsheet(row.author),
        *counts,
        *_numbers(row.win_rate),
        *_numbers(row.score),
        row.score.n,
        row.by_rule,
        *_numbers(row.decided_rate),
        *_texts(row.coverage, *row.worst, row.p_value, row.p_adjusted),
        *(_tests(row.tests) if row.tests else [""] * 8),
    ]


def _tests(tests: Tests) -> list[str | int]:
    said = _texts(tests.wilcoxon, tests.sign, tests.equal, tests.detectable)
    return [*said, *_numbers(tests.ahead), tests.ahead.n]


def _effects(summary: Summary | None) -> list[str]:
    """Return what order, length and comments add, which is known over all rivals only."""
    model = summary.sensitivity if summary else None
    if model is None:
        return [""] * 9
    return [text for effect in (model.position, model.length, model.comments) for text in _numbers(effect)]


def _numbers(estimate: Estimate) -> list[str]:
    return _texts(estimate.value, estimate.low, estimate.high)


def _texts(*values: float | None) -> list[str]:
    return ["" if value is None else f"{value:.6f}" for value in values]
