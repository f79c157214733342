"""`tables.xlsx`: which sheets a run's workbook has and what stands in them. Knows no file format.

The same numbers as on the pages, unrounded, with every pair, failure and reject: a page is capped, this is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from analyze.judge.labels import DIMENSION_LABELS, DIMENSIONS
from analyze.lang import Lang
from analyze.report.beside import Worker, at_work, is_large
from analyze.report.findings import AuthorFacts, answer, subject, target_name
from analyze.report.judging import banners, check_state, flags, gate_lines, is_measured
from analyze.report.reading import Record, Recorded, read_manifest
from analyze.report.runinfo import flat, instance_rows, run_rows
from analyze.report.tables import row_numbers, with_limits
from analyze.report.texts import TEXTS
from analyze.report.words import issue_label
from analyze.report.workbook import Book, Cell, Column, Kind, Sheet

if TYPE_CHECKING:
    from analyze.report.material import Numbers
    from analyze.stats.intervals import Estimate
    from analyze.stats.summary import Result, Summary

Texts = Mapping[str, str]
Row = Sequence[Cell]

# A run that has recorded no time is as old as the oldest zip file: the same records give the same bytes.
_NO_TIME = datetime(1980, 1, 1, tzinfo=UTC)


@contextmanager
def begun_tables(folder: Path, lang: Lang) -> Iterator[Tables]:
    """Begin the workbook of a run; that of a large one is written by another process. Raises InputError."""
    t = TEXTS[lang]
    with at_work(Book, _names(t), _made_at(read_manifest(folder)), t["title"], beside=is_large(folder)) as book:
        yield Tables(book, t)


@dataclass(frozen=True, slots=True)
class Tables:
    """A workbook that is being written. The same records give the same bytes."""

    book: Worker[bytes]
    t: Texts

    def take_pairs(self, recorded: Recorded) -> None:
        """Take the pairs, as soon as they are known: of 50,000 they are 450,000 cells, nearly all of the work."""
        self.book.take(_whole(_pairs(recorded.tasks, self.t)))

    def take(self, numbers: Numbers, authors: Sequence[AuthorFacts]) -> None:
        """Take all else, and finish."""
        for sheet in _sheets(numbers, authors, self.t):
            self.book.take(_whole(sheet))
        self.book.finish()


def _whole(sheet: Sheet) -> Sheet:
    """Return a sheet that can be handed to another process."""
    return replace(sheet, rows=[*sheet.rows])


def _names(t: Texts) -> list[str]:
    """Return the names of the sheets, in their order."""
    first = (t["sheet_answer"], t["sheet_summary"], t["dimensions"], t["differences"], t["sheet_pairs"])
    return [
        *first,
        t["sheet_check"],
        t["issues"],
        *(t[f"sheet_{name}"] for name in ("failures", "rejects", "facts")),
        t["how"],
    ]


def _made_at(run: Record) -> datetime:
    try:
        made = datetime.fromisoformat(str(run.get("finished") or run.get("started")))
    except ValueError:
        return _NO_TIME
    return made.astimezone(UTC) if made.tzinfo else made.replace(tzinfo=UTC)


def _sheets(numbers: Numbers, authors: Sequence[AuthorFacts], t: Texts) -> Iterator[Sheet]:
    """Yield all sheets but that of the pairs."""
    summary, recorded, lang = numbers.summary, numbers.recorded, numbers.lang
    measured = is_measured(recorded.run)
    yield Sheet(t["sheet_answer"], [Column(t["h_what"]), Column(t["h_says"], "long")], _answer(numbers, t))
    yield Sheet(t["sheet_summary"], _summary_columns(t), _summary_rows(summary, t, measured))
    yield _dimensions(summary, lang, t)
    yield _differences(summary, t)
    yield _check(summary, t, measured)
    yield _issues(summary, lang, t)
    yield _failures(recorded.failed, t)
    yield _rejects(recorded.rejects, t)
    yield _facts(authors, summary, t)
    columns = [Column(t["how"]), Column(t["h_what"]), Column(t["h_says"], "long")]
    yield Sheet(t["how"], columns, _how(recorded.run, t))


# --- the answer, and each rival ---


def _answer(numbers: Numbers, t: Texts) -> Iterator[Row]:
    summary, run = numbers.summary, numbers.recorded.run
    said = answer(summary, t)
    yield t["title"], subject(summary, t)
    for banner in banners(run, summary, t):
        yield banner.title, banner.text
    yield t["answered"], said.headline
    yield None, said.detail
    if said.warning:
        yield None, said.warning
    for flag in flags(run, summary, t):
        yield None, flag.text


def _estimate(title: str, kind: Kind, t: Texts) -> list[Column]:
    """Return the columns of a value with its limits."""
    return [Column(title, kind), *(Column(t[end].format(name=title), kind) for end in ("h_low", "h_high"))]


def _outcome_columns(t: Texts) -> list[Column]:
    names = (t["pairs"], t["win"], t["tie_true"], t["tie_weak"], t["tie_conflict"], t["loss"], t["unscored"])
    return [Column(name[:1].upper() + name[1:], "whole") for name in names]


def _summary_columns(t: Texts) -> list[Column]:
    """Return the columns of `summary.csv`, in its order."""
    return [
        Column(t["target"]),
        Column(t["rival"]),
        *_outcome_columns(t),
        *_estimate(t["win_rate"], "share", t),
        *_counted(t["score"], "score", t),
        Column(t["h_by_rule"], "whole"),
        *_estimate(t["h_decided"], "share", t),
        Column(t["h_coverage"], "share"),
        *(Column(t[name], "score") for name in ("h_worst", "h_best")),
        *(Column(t[name], "p") for name in ("h_p", "h_p_adjusted", "h_wilcoxon", "h_sign", "h_p_equal")),
        Column(t["h_detectable"], "score"),
        *_counted(t["h_ahead"], "share", t),
        *_counted(t["h_sure"], "score", t),
        *(column for name in ("s_position", "s_length", "s_comments") for column in _estimate(t[name], "change", t)),
        Column(t["sheet_check"]),
    ]


def _counted(title: str, kind: Kind, t: Texts) -> list[Column]:
    """Return the columns of a value with its limits, and of how many it is."""
    return [*_estimate(title, kind, t), Column(t["h_counted"].format(name=title), "whole")]


def _summary_rows(summary: Summary, t: Texts, measured: bool) -> Iterator[Row]:
    state = t["check_" + check_state(summary, measured=measured)]
    for row, name in _named(summary.rivals, summary.overall, t):
        yield [target_name(summary, t), name, *row_numbers(summary, row), state]


def _named(rivals: Iterable[Result], overall: Result, t: Texts) -> Iterator[tuple[Result, str]]:
    yield overall, t["overall"]
    for rival in rivals:
        yield rival, rival.author


def _dimensions(summary: Summary, lang: Lang, t: Texts) -> Sheet:
    columns = [
        Column(t["h_dimension"]),
        Column(t["rival"]),
        *_outcome_columns(t),
        *_estimate(t["win_rate"], "share", t),
        *_estimate(t["score"], "score", t),
        *(Column(t[name], "p") for name in ("h_p", "h_p_adjusted")),
        *_estimate(t["h_facts"], "share", t),
        Column(t["h_held"], "whole"),
    ]
    return Sheet(t["dimensions"], columns, _dimension_rows(summary, lang, t))


def _dimension_rows(summary: Summary, lang: Lang, t: Texts) -> Iterator[Row]:
    for name in DIMENSIONS:
        found = summary.dimensions.get(name)
        if found is None:
            continue
        for row, author in _named(found.rivals, found.overall, t):
            is_overall = row is found.overall
            held = (*with_limits(found.facts_agreement), found.facts_agreement.n) if is_overall else (None,) * 4
            adjusted = None if is_overall else row.p_adjusted  # that over all rivals is of no family
            numbers = [*_outcomes(row), *with_limits(row.win_rate), *with_limits(row.score), row.p_value, adjusted]
            yield [DIMENSION_LABELS[lang][name], author, *numbers, *held]


def _outcomes(row: Result) -> tuple[int, ...]:
    return row.pairs, row.wins, row.ties_true, row.ties_weak, row.ties_conflict, row.losses, row.unscored


def _differences(summary: Summary, t: Texts) -> Sheet:
    columns = [
        Column(t["h_first"]),
        Column(t["h_second"]),
        *_estimate(t["h_advantage"], "change", t),
        Column(t["h_n"], "whole"),
        *(Column(t[name], "p") for name in ("h_p", "h_p_adjusted", "h_p_equal")),
        Column(t["h_equal"]),
    ]
    rows = (
        (
            it.first,
            it.second,
            *with_limits(it.advantage),
            it.advantage.n,
            it.p_value,
            it.p_holm,
            it.equal,
            _yes(it.is_equal, t),
        )
        for it in summary.differences
    )
    return Sheet(t["differences"], columns, rows)


def _yes(said: bool | None, t: Texts) -> str | None:
    return None if said is None else t["yes"] if said else t["no"]


# --- every pair ---


def _pairs(tasks: Iterable[Record], t: Texts) -> Sheet:
    columns = [
        Column(t["h_task"]),
        Column(t["h_language"]),
        Column(t["h_group"]),
        Column(t["target"]),
        Column(t["rival"]),
        Column(t["h_outcome"]),
        Column(t["h_kind_of_tie"]),
        Column(t["score"], "score"),
        *(Column(t[name]) for name in ("h_target_passed", "h_rival_passed", "h_rule", "h_flags")),
    ]
    return Sheet(t["sheet_pairs"], columns, _pair_rows(tasks, t))


def _pair_rows(tasks: Iterable[Record], t: Texts) -> Iterator[Row]:
    for task in tasks:
        target = task["target"]
        head = [task["task_id"], task.get("language"), task.get("group_id"), target.get("author")]
        for rival in task.get("rivals", ()):
            outcome, kind, rule = rival.get("outcome") or "unscored", rival.get("tie_kind"), rival.get("rule")
            yield [
                *head,
                rival.get("author"),
                t[outcome],
                t[f"short_tie_{kind}"] if kind else None,
                rival.get("score"),
                _yes(target.get("passed"), t),
                _yes(rival.get("passed"), t),
                t[f"rule_{rule}"] if rule else None,
                t["joint"].join(t.get(f"flag_{flag}", flag) for flag in rival.get("flags") or ()) or None,
            ]


# --- the judge, issues, what failed ---


def _check(summary: Summary, t: Texts, measured: bool) -> Sheet:
    columns = [
        Column(t["check_measure"]),
        *_estimate(t["check_value"], "score", t),
        Column(t["h_n"], "whole"),
        Column(t["check_wanted"]),
        Column(t["check_state"]),
    ]
    return Sheet(t["sheet_check"], columns, _check_rows(summary, t, measured))


def _check_rows(summary: Summary, t: Texts, measured: bool) -> Iterator[Row]:
    check = summary.check
    for line in gate_lines(summary, t, measured=measured):
        yield [line.measure, *_with_n(line.estimate), line.wanted or None, t[f"check_{line.state}"]]
    habits = {
        "m_kappa": check.order_kappa,
        "m_first": check.first_pick_share,
        "m_flips": check.repeat_flips,
        "m_alpha": check.repeat_alpha,
        "m_facts": check.facts_agreement,
    }
    for name, estimate in habits.items():
        yield [t[name], *_with_n(estimate), None, None]
    failed = check.failed_cells / check.cells if check.cells else None
    yield [t["m_cells"], failed, None, None, check.cells, None, None]
    for probe in check.probes:
        for side, estimate in (("h_moved", probe.moved), ("h_toward", probe.toward), ("h_away", probe.away)):
            if estimate.n:
                yield [f"{t[f'probe_{probe.name}']}{t['colon']}{t[side]}", *_with_n(estimate), None, None]


def _with_n(estimate: Estimate) -> Row:
    return *with_limits(estimate), estimate.n


def _issues(summary: Summary, lang: Lang, t: Texts) -> Sheet:
    sides = (target_name(summary, t), t["rivals"])
    columns = [
        Column(t["h_issue"]),
        Column(t["h_code"]),
        *(Column(side, "whole") for side in sides),
        *(Column(f"{side} / {t['pairs']}", "share") for side in sides),
        Column(t["h_difference"], "change"),
        Column(t["pairs"], "whole"),
    ]
    rows = (
        (
            issue_label(it.code, lang),
            it.code,
            it.target,
            it.rival,
            it.target / it.pairs,
            it.rival / it.pairs,
            (it.target - it.rival) / it.pairs,
            it.pairs,
        )
        for it in summary.issues
    )
    return Sheet(t["issues"], columns, rows)


def _failures(failed: Iterable[Record], t: Texts) -> Sheet:
    names = ("h_task", "rival", "h_order", "h_probe", "h_failure")
    columns = [*(Column(t[name]) for name in names), Column(t["h_message"], "long"), Column(t["h_attempts"], "whole")]
    rows = (
        (
            it.get("task_id"),
            it.get("rival"),
            t.get(f"order_{it.get('order')}"),
            t.get(f"probe_{it.get('probe')}"),
            t.get(f"kind_{it.get('kind')}", it.get("kind")),
            it.get("message"),
            it.get("attempts"),
            it.get("instance"),
        )
        for it in failed
    )
    return Sheet(t["sheet_failures"], [*columns, Column(t["h_instance"])], rows)


def _rejects(rejects: Iterable[Record], t: Texts) -> Sheet:
    columns = [Column(t["h_file"]), Column(t["h_line"], "whole"), Column(t["h_reason"], "long"), Column(t["h_raw"])]
    rows = ([it.get("file"), it.get("line"), it.get("reason"), it.get("raw")] for it in rejects)
    return Sheet(t["sheet_rejects"], columns, rows)


# --- measured facts, how it was run ---


def _facts(authors: Sequence[AuthorFacts], summary: Summary, t: Texts) -> Sheet:
    columns = [
        Column(t["h_author"]),
        *(Column(t[name], "whole") for name in ("h_solutions", "h_tested", "h_passed")),
        *(Column(t[name], "score") for name in ("h_code_lines", "h_complexity")),
        Column(t["h_max_complexity"], "number"),
        *(Column(t[name], "score") for name in ("h_duplicated", "h_lint", "h_security")),
        Column(t["h_win_rate"], "share"),
    ]
    rates = {rival.author: rival.win_rate.value for rival in summary.rivals}
    rows = (
        (
            it.author,
            it.solutions,
            it.tested,
            it.passed if it.tested else None,
            it.code_lines,
            it.complexity,
            it.max_complexity,
            it.duplicated,
            it.lint,
            it.security,
            None if it.is_target else rates.get(it.author),
        )
        for it in authors
    )
    return Sheet(t["sheet_facts"], columns, rows)


def _how(run: Record, t: Texts) -> Iterator[Row]:
    for name, text in run_rows(run, t):
        yield t["how"], name, text
    for url, *numbers in instance_rows(run):
        names = (t["h_answers"], t["h_share"], t["run_seconds"], t["h_idle"])
        yield t["h_instance"], url, ", ".join(f"{name} {number}" for name, number in zip(names, numbers, strict=True))
    for key in ("asked", "settings"):
        for name, text in flat(run.get(key) or {}):
            yield t[f"run_{key}"], name, text
