"""`report.md`: the answer and its tables, for a pull request. Knows Markdown; every foreign text in it is inert."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from analyze._version import __version__
from analyze.judge.labels import DIMENSION_LABELS, DIMENSIONS
from analyze.report.certainty import certainty_lines, certainty_notes
from analyze.report.findings import ahead_text, answer, halo_text, percent_text, score_text, subject, target_name
from analyze.report.judging import banners, check_state, flags, gate_lines, habit_lines, is_measured, probe_lines
from analyze.report.numbers import (
    NONE,
    percent,
    percent_span,
    probability,
    score,
    score_span,
    signed,
    signed_span,
    whole,
)
from analyze.report.robin import robin_view
from analyze.report.runinfo import instance_rows, run_rows
from analyze.report.safe import code_span, markdown
from analyze.report.second import SecondView, disagreement_text, second_view
from analyze.report.texts import TEXTS
from analyze.report.words import issue_label

if TYPE_CHECKING:
    from analyze.report.material import Material
    from analyze.stats.intervals import Estimate
    from analyze.stats.summary import Result

_MOST_ISSUES = 20


def markdown_page(material: Material) -> str:
    """Return the report as Markdown. The same records give the same bytes."""
    return "\n".join(part for section in _sections(material) for part in (*section, "")).rstrip() + "\n"


def _sections(material: Material) -> Iterable[Sequence[str]]:
    t, summary, run = TEXTS[material.lang], material.summary, material.recorded.run
    said = answer(summary, t)
    yield [f"# {t['title']}{t['colon']}{markdown(subject(summary, t))}"]
    for banner in banners(run, summary, t):
        yield [f"> **{markdown(banner.title)}{t['stop']}** {markdown(banner.text, 1000)}"]
    yield [" · ".join(f"**{markdown(flag.text)}**" for flag in flags(run, summary, t))]
    yield [f"**{markdown(said.headline)}{t['stop']}** {markdown(said.detail)}"]
    if said.warning:
        yield [f"**{markdown(said.warning)}**"]
    yield from _check(material)
    yield [f"## {t['outcomes']}"]
    yield _outcomes(material)
    yield from _tests(material)
    yield from _certainty(material)
    yield from _sensitivity(material)
    yield from _robin(material)
    yield from _dimensions(material)
    yield from _issues(material)
    yield [f"## {t['how']}"]
    yield table(("", ""), [(markdown(name), code_span(text)) for name, text in run_rows(run, t)])
    if run.get("instances"):
        rows = [(code_span(url), *shares) for url, *shares in instance_rows(run)]
        yield table((t["h_instance"], t["h_answers"], t["h_share"], t["run_seconds"], t["h_idle"]), rows)
    failed, rejects = len(material.recorded.failed), len(material.recorded.rejects)
    yield [f"{t['failures_caption']}: {failed} · {t['rejects_caption']}: {rejects}"]
    files = " · ".join(f"[{name}]({name})" for name in ("report.html", "tables.xlsx", "summary.csv"))
    yield [f"{files} · {markdown(t['made_by_short'])} {__version__}"]


def _check(material: Material) -> Iterable[Sequence[str]]:
    t, summary, measured = TEXTS[material.lang], material.summary, is_measured(material.recorded.run)
    yield [f"## {t['check']} {t['check_' + check_state(summary, measured=measured)]}"]
    yield table(
        (t["check_measure"], t["check_value"], t["h_interval"], t["h_n"], t["check_wanted"], t["check_state"]),
        [
            (
                line.measure,
                percent(line.estimate.value),
                percent_span(line.estimate),
                whole(line.estimate.n),
                line.wanted or NONE,
                t[f"check_{line.state}"],
            )
            for line in gate_lines(summary, t, measured=measured)
        ],
    )
    if measured:
        return
    yield table(
        (t["habits"], t["check_value"], t["h_interval"], t["h_n"]),
        [(line.measure, line.value, line.interval or NONE, line.n) for line in habit_lines(summary, t)],
    )
    if probes := probe_lines(summary, t):
        yield table(
            (t["probes"], t["h_moved"], t["h_n"], t["h_toward"], t["h_n"], t["h_away"], t["h_n"]),
            [
                (
                    line.measure,
                    *(cell for it in (line.moved, line.toward, line.away) for cell in (percent_text(it), _count(it))),
                )
                for line in probes
            ],
        )

    if second := second_view(material.recorded.run, summary, t):
        yield from _second(second, t)


def _second(view: SecondView, t: Mapping[str, str]) -> Iterable[Sequence[str]]:
    yield [f"### {t['second']}"]
    yield [markdown(view.lead, 1000)]
    if view.kin:
        yield [f"**{markdown(view.kin, 1000)}**"]
    yield table(
        (t["second_said"], t["h_wtl"], t["win_rate"], t["h_interval"]),
        [(f"{line.judge} {code_span(line.model)}", line.outcomes, line.win_rate, line.interval) for line in view.said],
    )
    yield table(
        (t["second_agreement"], t["check_value"], t["h_interval"], t["h_n"]),
        [(line.measure, line.value, line.interval or NONE, line.n) for line in view.lines],
    )
    if view.few:
        yield [f"**{view.few}**"]
    if view.differ:
        yield [view.differ]
    rest = [f"- {t['and_more'].format(n=view.rest)}"] if view.rest else []
    if rows := [f"- {code_span(it.task_id)} {markdown(disagreement_text(it, t))}" for it in view.disagreements]:
        yield [*rows, *rest]


def _count(estimate: Estimate) -> str:
    return whole(estimate.n or None)


def _tests(material: Material) -> Iterable[Sequence[str]]:
    t, summary = TEXTS[material.lang], material.summary
    names = [(f"**{t['overall']}**", summary.overall)]
    names += [(code_span(rival.author), rival) for rival in summary.rivals]
    rows = [
        (
            name,
            probability(row.p_adjusted),
            probability(row.tests.wilcoxon if row.tests else None),
            _sign_test(row, t),
            t["yes"] if row.is_equal else NONE,
            score(row.tests.detectable if row.tests else None),
        )
        for name, row in names
    ]
    yield [f"### {t['score_tests']}"]
    yield table((t["rival"], t["h_p_adjusted"], t["h_wilcoxon"], t["h_sign"], t["h_equal"], t["h_detectable"]), rows)
    if any(ahead_text(row, t) for _, row in names):
        yield [t["score_ahead"] + t["stop"]]


def _sign_test(row: Result, t: Mapping[str, str]) -> str:
    p_value, ahead = probability(row.tests.sign if row.tests else None), ahead_text(row, t)
    return f"{p_value} ({ahead})" if ahead else p_value


def _sensitivity(material: Material) -> Iterable[Sequence[str]]:
    t, model = TEXTS[material.lang], material.summary.sensitivity
    if model is None or not model.is_known:
        return
    effects = ((t["s_position"], model.position), (t["s_length"], model.length), (t["s_comments"], model.comments))
    equal = model.rate_at_equal_length
    yield [f"### {t['sensitivity']}"]
    yield [t["sensitivity_lead"]]
    yield table(
        ("", t["h_effect"], t["h_interval"]),
        [
            *((name, signed(effect.value), signed_span(effect)) for name, effect in effects),
            (t["s_equal"], score(equal.value), t["s_no_overlap"] if equal.value is None else score_span(equal)),
        ],
    )


def _certainty(material: Material) -> Iterable[Sequence[str]]:
    t, lines = TEXTS[material.lang], certainty_lines(material.summary)
    if not lines:
        return
    yield [f"### {t['sure']}"]
    yield [markdown(t["sure_lead"], 1000)]
    yield table(
        (t["rival"], t["h_sure"], t["h_interval"], t["h_se"], t["score"], t["h_se"], t["h_worth"], t["h_n"]),
        [
            (
                f"**{t['overall']}**" if line.author is None else code_span(line.author),
                *(line.score, line.interval, line.se, line.graded, line.graded_se, line.worth, line.n),
            )
            for line in lines
        ],
    )
    yield [markdown(t["gap"].join(certainty_notes(material.summary, t)), 1000)]


def _outcomes(material: Material) -> list[str]:
    t, summary = TEXTS[material.lang], material.summary
    names = [(f"**{t['overall']}**", summary.overall)]
    names += [(code_span(rival.author) + _lacking(rival, t), rival) for rival in summary.rivals]
    head = (t["rival"], t["pairs"], t["h_wins"], t["h_ties"], t["h_losses"], t["h_unscored"], t["win_rate"], t["score"])
    rows = [
        (
            name,
            str(row.pairs),
            str(row.wins),
            str(row.ties),
            str(row.losses),
            str(row.unscored),
            percent_text(row.win_rate),
            score_text(row.score),
        )
        for name, row in names
    ]
    return table(head, rows)


def _robin(material: Material) -> Iterable[Sequence[str]]:
    t = TEXTS[material.lang]
    view = robin_view(material.summary, t)
    if view is None:
        return
    yield [f"## {t['robin']}"]
    for sentence in (t["robin_lead"], *view.sentences):
        yield [markdown(sentence, 2000)]
    if view.standings:
        head = (t["h_author"], t["h_strength"], t["h_interval"], t["h_tasks"])
        yield table(head, [(code_span(author), *numbers) for author, *numbers in view.standings])
    if view.met:
        yield [t["robin_met"] + t["stop"]]
        yield table(("", *map(code_span, view.authors)), [(code_span(author), *cells) for author, cells in view.met])


def _lacking(row: Result, t: Mapping[str, str]) -> str:
    """Return what a rival of whom too little was judged is to be read with, or nothing."""
    if row.sufficient:
        return ""
    low, high = (percent(bound) for bound in row.worst_win_rate)
    said = t["row_insufficient"].format(
        coverage=percent(row.coverage), measure=t["win_rate"].lower(), low=low, high=high
    )
    return f" *{said}*"


def _dimensions(material: Material) -> Iterable[Sequence[str]]:
    t, found = TEXTS[material.lang], material.summary.dimensions
    labels = DIMENSION_LABELS[material.lang]
    rows = [
        (
            labels[name],
            score_text(found[name].overall.score),
            percent_text(found[name].overall.win_rate),
            str(found[name].overall.score.n),
            percent_text(found[name].facts_agreement),
        )
        for name in DIMENSIONS
        if name in found
    ]
    if rows:
        yield [f"## {t['dimensions']}"]
        yield table((t["h_dimension"], t["h_score"], t["win_rate"], t["h_n"], t["h_facts"]), rows)
    if halo := halo_text(material.summary, labels, t):
        yield [f"**{markdown(halo, 1000)}**"]


def _issues(material: Material) -> Iterable[Sequence[str]]:
    t = TEXTS[material.lang]
    if not material.summary.issues:
        return
    yield [f"## {t['issues']}"]
    rows = [
        (
            markdown(issue_label(issue.code, material.lang)),
            percent(issue.target / issue.pairs),
            percent(issue.rival / issue.pairs),
        )
        for issue in material.summary.issues[:_MOST_ISSUES]
    ]
    yield table((t["h_issue"], markdown(target_name(material.summary, t)), t["rivals"]), rows)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return a table: the first column to the left, the others to the right."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return [f"| {' | '.join(cells)} |" for cells in (head, rule, *rows)]
