"""`report.html`: one file, no network, no script. Knows what stands where; every number comes from elsewhere.

    records ─ summary ─ findings ─ figures ─ clouds ─► template (escapes everything) ─► one string

The template engine escapes all it is given; the only markup it is handed is our own SVG and highlighted code. A
content policy in the page forbids scripts and every address, so that even a mistake there could do nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from analyze._version import __version__
from analyze.judge.labels import DIMENSION_LABELS, DIMENSIONS
from analyze.lang import LANGS, Lang
from analyze.report import numbers
from analyze.report.certainty import certainty_lines, certainty_notes
from analyze.report.figures import MOST_ISSUES, MOST_RIVALS, Figure
from analyze.report.findings import (
    ahead_text,
    answer,
    contradictions,
    corrected_text,
    fact_contradictions,
    halo_text,
    subject,
    target_name,
)
from analyze.report.frame import css, environment
from analyze.report.judging import banners, check_state, flags, gate_lines, habit_lines, is_measured, probe_lines
from analyze.report.prose import KINDS, SIDES
from analyze.report.reading import Record, lowest_first
from analyze.report.robin import robin_view
from analyze.report.runinfo import flat, instance_rows, run_rows
from analyze.report.second import second_view
from analyze.report.svg import inline
from analyze.report.taskview import anchor, facts_text, task_view
from analyze.report.texts import TEXTS
from analyze.report.words import issue_label

if TYPE_CHECKING:
    from markupsafe import Markup

    from analyze.report.material import Material
    from analyze.stats.summary import Result

# A page stays openable on a phone and attachable to a mail: what does not fit is named, with its file.
MOST_TASK_BYTES = 1_500_000
MOST_NAMED = 2_000
MOST_LISTED = 100
MOST_CONTRADICTIONS = 30
MOST_DIFFERENCES = 30
MOST_WORDS = 20

Parts = dict[str, Any]


def page(material: Material) -> str:
    """Return the whole page. The same records give the same bytes."""
    t = TEXTS[material.lang]
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            t=t,
            n=numbers,
            css=css(),
            version=__version__,
            figures={figure.name: _svg(figure) for figure in material.figures},
            **_verdict_parts(material, t),
            **_check_parts(material, t),
            **_dimension_parts(material, t),
            **_fact_parts(material),
            **_word_parts(material, t),
            **_task_parts(material),
            **_failure_parts(material, t),
            **_run_parts(material.recorded.run, t),
        )
    )


def _verdict_parts(material: Material, t: Mapping[str, str]) -> Parts:
    summary, run = material.summary, material.recorded.run
    return {
        "subject": subject(summary, t),
        "target": target_name(summary, t),
        "rival_names": [rival.author for rival in summary.rivals[:1]],  # the heading names a rival that is the only one
        "banners": banners(run, summary, t),
        "flags": flags(run, summary, t),
        "answer": answer(summary, t),
        "summary": summary,
        "most_rivals": MOST_RIVALS,
        "robin": robin_view(summary, t),
        "ahead": lambda result: ahead_text(result, t),
        "any_ahead": any(ahead_text(row, t) for row in (summary.overall, *summary.rivals)),
        "differences": sorted(summary.differences, key=lambda it: (-abs(it.advantage.value or 0), it.first, it.second)),
        "most_differences": MOST_DIFFERENCES,
        "certainty": certainty_lines(summary),
        "certainty_notes": certainty_notes(summary, t),
    }


def _check_parts(material: Material, t: Mapping[str, str]) -> Parts:
    summary, measured = material.summary, is_measured(material.recorded.run)
    return {
        "measured": measured,
        "gates": gate_lines(summary, t, measured=measured),
        "habits": habit_lines(summary, t),
        "probes": probe_lines(summary, t),
        "check_state": check_state(summary, measured=measured),
        "second": second_view(material.recorded.run, summary, t),
    }


def _dimension_parts(material: Material, t: Mapping[str, str]) -> Parts:
    summary, labels = material.summary, DIMENSION_LABELS[material.lang]
    names = [name for name in DIMENSIONS if name in summary.dimensions]
    found = [summary.dimensions[name] for name in names]
    per_rival: dict[str, list[Result]] = {}
    for dimension in found:
        for result in dimension.rivals:
            per_rival.setdefault(result.author, []).append(result)
    rho = {frozenset((one.first, one.second)): one for one in summary.correlations}
    return {
        "dimensions": [(labels[dimension.name], dimension) for dimension in found],
        "dimension_labels": [labels[name] for name in names],
        "per_rival": list(per_rival.items()),
        "correlations": [
            (labels[first], [rho.get(frozenset((first, second))) for second in names[:index]])
            for index, first in enumerate(names)
        ],
        "halo": halo_text(summary, labels, t),
        # Measured facts know of recorded tests: there is no error to correct.
        "corrected": None if is_measured(material.recorded.run) else corrected_text(summary, t),
    }


def _fact_parts(material: Material) -> Parts:
    tasks, summary, labels = material.recorded.tasks, material.summary, DIMENSION_LABELS[material.lang]
    against = fact_contradictions(tasks)
    return {
        "authors": material.authors,
        "win_rates": {rival.author: rival.win_rate for rival in summary.rivals},
        "contradictions": contradictions(tasks),
        "against_facts": [
            (it, labels.get(it.dimension, it.dimension), facts_text(it.facts, material.lang))
            for it in against[:MOST_CONTRADICTIONS]
        ],
        "against_facts_count": len(against),
        "most_contradictions": MOST_CONTRADICTIONS,
    }


def _word_parts(material: Material, t: Mapping[str, str]) -> Parts:
    lists = [
        {"title": t[f"{kind}_{side}"], "phrases": material.wording.phrases[kind, side]}
        for side in SIDES
        for kind in KINDS
    ]
    # The reader's own language first.
    langs = sorted(LANGS, key=lambda lang: lang != material.lang)
    return {
        "issues": [(issue, issue_label(issue.code, material.lang)) for issue in material.summary.issues],
        "most_issues": MOST_ISSUES,
        "phrase_lists": lists if any(entry["phrases"] for entry in lists) else [],
        "clouds": [_cloud(material, lang, t) for lang in langs],
        "heard_note": material.heard_note,
    }


def _cloud(material: Material, lang: Lang, t: Mapping[str, str]) -> Parts:
    from markupsafe import Markup

    cloud = material.clouds[lang]
    tags = [word for word in material.words[lang] if word.is_tag][: MOST_WORDS // 2]
    free = [word for word in material.words[lang] if not word.is_tag][: MOST_WORDS - len(tags)]
    return {
        "lang": TEXTS[lang]["html_lang"],
        "title": t[f"cloud_{lang}"],
        "svg": Markup(cloud.svg(lang, t["cloud_label"])) if cloud else None,
        "rows": tags + free,
        "note": material.cloud_note(lang),
        "left_out": t["list_joint"].join(word.text for word in cloud.left_out) if cloud else "",
    }


def _task_parts(material: Material) -> Parts:
    blocks, rest = _task_blocks(material)
    return {
        "anchor": anchor,
        "blocks": blocks,
        "closed": {task["task_id"] for task in rest},
        "rest": [task["task_id"][:120] for task in rest[:MOST_NAMED]],
        "rest_count": len(rest),
        "most_named": MOST_NAMED,
    }


def _task_blocks(material: Material) -> tuple[list[Markup], list[Record]]:
    """Render the blocks of tasks, the lowest score first, until the page is full; return them and the tasks left."""
    from markupsafe import Markup

    template = environment().get_template("task.html.j2")
    blocks: list[Markup] = []
    room = MOST_TASK_BYTES
    for task in material.recorded.opened:
        block = template.render(t=TEXTS[material.lang], task=task_view(task, material.lang))
        room -= len(block.encode())
        if room < 0:
            break
        blocks.append(Markup(block))  # rendered by an escaping template just above
    return blocks, sorted(material.recorded.tasks, key=lowest_first)[len(blocks) :]


def _failure_parts(material: Material, t: Mapping[str, str]) -> Parts:
    failed, rejects = material.recorded.failed, material.recorded.rejects
    return {
        "failed": failed[:MOST_LISTED],
        "failed_count": len(failed),
        "failed_kinds": _kinds(failed, t),
        "rejects": rejects[:MOST_LISTED],
        "rejects_count": len(rejects),
    }


def _kinds(failed: Sequence[Record], t: Mapping[str, str]) -> str:
    """Return `timeout 3, server error 1`."""
    counts = Counter(str(failure.get("kind")) for failure in failed)
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return t["list_joint"].join(f"{t.get(f'kind_{kind}', kind)} {count}" for kind, count in ranked)


def _run_parts(run: Record, t: Mapping[str, str]) -> Parts:
    return {
        "demo": bool(run.get("demo")),
        "run_rows": list(run_rows(run, t)),
        "run_folded": [(t[f"run_{name}"], flat(run.get(name) or {})) for name in ("asked", "settings")],
        "instances": instance_rows(run),
    }


def _svg(figure: Figure) -> Markup:
    from markupsafe import Markup

    return Markup(inline(figure.wide, "chart wide") + inline(figure.narrow, "chart narrow"))
