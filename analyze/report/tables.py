"""`summary.csv`: the numbers of a run for spreadsheets and scripts, the same in every language. Knows no sentence."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from analyze.report.safe import spreadsheet

if TYPE_CHECKING:
    from analyze.stats.intervals import Estimate
    from analyze.stats.second import SecondJudge
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
    "expected",
    "expected_low",
    "expected_high",
    "expected_n",
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
        of_second = second.values() if row is summary.overall else [None] * len(second)
        writer.writerow([*names, *map(_text, row_numbers(summary, row)), judge_check, *map(_text, of_second)])
    return buffer.getvalue().encode("utf-8-sig")


def row_numbers(summary: Summary, row: Result) -> list[Number]:
    """Return the numbers of a row, in the order of `COLUMNS` between its names and the judge's state."""
    effects = _effects(summary if row is summary.overall else None)
    return [*_result_numbers(row), *_expected(summary, row.author), *effects]


def _result_numbers(row: Result) -> list[Number]:
    return [
        *(row.pairs, row.wins, row.ties_true, row.ties_weak, row.ties_conflict, row.losses, row.unscored),
        *with_limits(row.win_rate),
        *with_limits(row.score),
        row.score.n,
        row.by_rule,
        *with_limits(row.decided_rate),
        *(row.coverage, *row.worst, row.p_value, row.p_adjusted),
        *(_tests(row.tests) if row.tests else [None] * 8),
    ]


def _tests(tests: Tests) -> list[Number]:
    said = (tests.wilcoxon, tests.sign, tests.equal, tests.detectable)
    return [*said, *with_limits(tests.ahead), tests.ahead.n]


def _effects(summary: Summary | None) -> list[Number]:
    """Return what order, length and comments add, which is known over all rivals only.

    They are fitted: digits behind the eighth differ from one process to the next, with the place of arrays in memory.
    """
    model = summary.sensitivity if summary else None
    if model is None:
        return [None] * 9
    found = (number for effect in (model.position, model.length, model.comments) for number in with_limits(effect))
    return [None if number is None else round(number, 8) for number in found]


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
