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

Number = int | float | None


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
        names = (spreadsheet(summary.target or ""), spreadsheet(row.author))
        numbers = [*result_numbers(row), *_expected(summary, row.author)]
        of_second = second.values() if row is summary.overall else [None] * len(second)
        writer.writerow([*names, *map(_text, numbers), judge_check, *map(_text, of_second)])
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


def _second(found: SecondJudge | None) -> dict[str, Number]:
    if found is None:
        return {}
    shares = [*with_limits(found.second.win_rate), *with_limits(found.agreement)]
    ac1 = None if found.ac1 is None else found.ac1.value
    beyond = (found.kappa.value, ac1, found.levels_kappa.value, found.levels_alpha.value)
    return dict(zip(SECOND_COLUMNS, [found.agreement.n, *shares, *beyond], strict=True))


def _expected(summary: Summary, author: str) -> list[Number]:
    """Return the score by the judge's probabilities, and of how many pairs it is; empty where none were read."""
    found = summary.probabilities
    for it in (found.overall, *found.rivals) if found else ():
        if it.author == author:
            return [*with_limits(it.score), it.score.n]
    return [None, None, None, 0]


def with_limits(estimate: Estimate) -> tuple[Number, Number, Number]:
    return estimate.value, estimate.low, estimate.high


def _text(number: Number) -> str:
    return "" if number is None else f"{number:.6f}" if isinstance(number, float) else str(number)
