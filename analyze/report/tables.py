"""`summary.csv`: the numbers of a run for spreadsheets and scripts, the same in every language. Knows no sentence."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from analyze.report.safe import spreadsheet

if TYPE_CHECKING:
    from analyze.stats.intervals import Estimate
    from analyze.stats.summary import Result, Summary

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
    "judge_check",
)


Number = int | float | None


def summary_csv(summary: Summary, *, measured: bool = False) -> bytes:
    """Return one row per rival and one over all, whose author is `*`: UTF-8 with a BOM, so that Excel reads Chinese.

    `measured`: no judge was asked, so `judge_check` says does_not_apply.
    """
    judge_check = "does_not_apply" if measured else summary.check.state
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in (*summary.rivals, summary.overall):
        names = (spreadsheet(summary.target or ""), spreadsheet(row.author))
        writer.writerow([*names, *map(_text, result_numbers(row)), judge_check])
    return buffer.getvalue().encode("utf-8-sig")


def result_numbers(row: Result) -> list[Number]:
    """Return the numbers of a result, in the order of `COLUMNS` between its names and the judge's state."""
    tests = row.tests
    return [
        *(row.pairs, row.wins, row.ties_true, row.ties_weak, row.ties_conflict, row.losses, row.unscored),
        *with_limits(row.win_rate),
        *with_limits(row.score),
        row.score.n,
        row.by_rule,
        *with_limits(row.decided_rate),
        *(row.coverage, *row.worst, row.p_value, row.p_adjusted),
        *((tests.wilcoxon, tests.sign, tests.equal, tests.detectable) if tests else (None,) * 4),
    ]


def with_limits(estimate: Estimate) -> tuple[Number, Number, Number]:
    return estimate.value, estimate.low, estimate.high


def _text(number: Number) -> str:
    return "" if number is None else f"{number:.6f}" if isinstance(number, float) else str(number)
