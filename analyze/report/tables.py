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
)


def summary_csv(summary: Summary) -> bytes:
    """Return one row per rival and one over all, whose author is `*`: UTF-8 with a BOM, so that Excel reads Chinese."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in (*summary.rivals, summary.overall):
        writer.writerow(_cells(summary.target, row))
    return buffer.getvalue().encode("utf-8-sig")


def _cells(target: str | None, row: Result) -> list[str | int]:
    counts = [row.pairs, row.wins, row.ties_true, row.ties_weak, row.ties_conflict, row.losses, row.unscored]
    return [
        spreadsheet(target or ""),
        spreadsheet(row.author),
        *counts,
        *_numbers(row.win_rate),
        *_numbers(row.score),
        row.score.n,
    ]


def _numbers(estimate: Estimate) -> list[str]:
    return ["" if value is None else f"{value:.6f}" for value in (estimate.value, estimate.low, estimate.high)]
