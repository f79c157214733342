"""`summary.csv`: the numbers of a run for spreadsheets and scripts, the same in every language. Knows no sentence."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from analyze.report.safe import spreadsheet

if TYPE_CHECKING:
    from analyze.stats.intervals import Estimate
    from analyze.stats.second import SecondJudge
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
    "expected",
    "expected_low",
    "expected_high",
    "expected_n",
    "judge_check",
)


SECOND_COLUMNS = (
    "second_judge_pairs",
    "second_judge_win_rate",
    "second_judge_win_rate_low",
    "second_judge_win_rate_high",
    "second_judge_agreement",
    "second_judge_agreement_low",
    "second_judge_agreement_high",
    "second_judge_kappa",
    "second_judge_ac1",
    "second_judge_levels_kappa",
    "second_judge_levels_alpha",
)
"""Only of a run with a second judge, and only in the row over all."""


def summary_csv(summary: Summary, *, measured: bool = False) -> bytes:
    """Return one row per rival and one over all, whose author is `*`: UTF-8 with a BOM, so that Excel reads Chinese.

    `measured`: no judge was asked, so `judge_check` says does_not_apply.
    """
    judge_check = "does_not_apply" if measured else summary.check.state
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    second = _second(summary.second)
    writer.writerow([*COLUMNS, *second])
    for row in (*summary.rivals, summary.overall):
        of_second = second.values() if row is summary.overall else [""] * len(second)
        writer.writerow([*_cells(summary, row), *_expected(summary, row.author), judge_check, *of_second])
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
        *(_texts(tests.wilcoxon, tests.sign, tests.equal, tests.detectable) if (tests := row.tests) else [""] * 4),
    ]


def _second(found: SecondJudge | None) -> dict[str, str]:
    if found is None:
        return {}
    shares = [*_numbers(found.second.win_rate), *_numbers(found.agreement)]
    ac1 = None if found.ac1 is None else found.ac1.value
    beyond = _texts(found.kappa.value, ac1, found.levels_kappa.value, found.levels_alpha.value)
    return dict(zip(SECOND_COLUMNS, [str(found.agreement.n), *shares, *beyond], strict=True))


def _expected(summary: Summary, author: str) -> list[str | int]:
    """Return the score by the judge's probabilities, and of how many pairs it is; empty where none were read."""
    found = summary.probabilities
    for it in (found.overall, *found.rivals) if found else ():
        if it.author == author:
            return [*_numbers(it.score), it.score.n]
    return [""] * 3 + [0]


def _numbers(estimate: Estimate) -> list[str]:
    return _texts(estimate.value, estimate.low, estimate.high)


def _texts(*values: float | None) -> list[str]:
    return ["" if value is None else f"{value:.6f}" for value in values]
