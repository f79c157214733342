"""`report.html`: what an inference has come to, as one file without network or script.

    manifest, Extracted, Results, figures ─► parts ─► template (escapes everything) ─► one string
Knows what stands where; every number comes from elsewhere, and every text that is foreign is made visible here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from analyze._version import __version__
from analyze.infer.extracting import Extracted
from analyze.infer.page_texts import TEXTS
from analyze.infer.records import PROMPTS, Record
from analyze.infer.results import LENGTHS, Results
from analyze.infer.tasks import Task
from analyze.infer.telling import shown
from analyze.lang import Lang
from analyze.report import numbers
from analyze.report.frame import environment
from analyze.report.jobpage import banners, made_rows, page_css, small, tokens_row, when_rows
from analyze.report.plots import Count, bars
from analyze.report.safe import visible

if TYPE_CHECKING:
    from markupsafe import Markup

MOST_BARS = 12
MOST_FIGURES = 60
MOST_FILES = 20
SAMPLE_CHARS = 2000
REASON_CHARS = 300

Texts = Mapping[str, str]
Parts = dict[str, Any]
Counted = list[tuple[str, int, str]]


@dataclass(frozen=True, slots=True)
class Material:
    """What a page is made of. `run` is the manifest; `problem` is what went wrong with the task's `evaluate`."""

    run: Record
    task: Task
    extracted: Extracted
    results: Results
    figures: Mapping[str, Any] | None = None
    problem: str | None = None


def page(material: Material, lang: Lang) -> str:
    """Return the whole page. The same records give the same bytes."""
    t, found, results = TEXTS[lang], material.extracted, material.results
    endings = [(t[f"s_{name}"], count) for name, count in results.statuses.most_common()]
    lengths = [(_length(at, t), count) for at, count in sorted(results.lengths.items())]
    frequent = found.answers.most_common(MOST_BARS)
    repeats = bool(frequent) and frequent[0][1] > 1  # of free texts none does, and a list of them says nothing
    answers = [(visible(answer, 80), count) for answer, count in frequent if repeats]
    parts: Parts = {
        "endings": _counted(endings, found.rows),
        "endings_chart": _chart(endings, t["endings_label"]),
        "figures": _figures(material.figures),
        "answers": _counted(answers, found.ok),
        "answers_chart": _chart(answers, t["answers_label"]),
        "lengths": _counted(lengths, sum(results.lengths.values())),
        "lengths_chart": _chart(lengths, t["lengths_label"]),
        "samples": [_sample(record, t) for record in results.samples],
    }
    there = [name for name in ("figures", "endings", "answers", "lengths", "samples") if parts[name]]
    return (
        environment("analyze.infer")
        .get_template("page.html.j2")
        .render(
            t=t,
            n=numbers,
            css=page_css("analyze.infer"),
            version=__version__,
            name=visible(material.task.name, 200),
            banners=banners(material.run, t),
            headline=t["answer"].format(replies=f"{found.rows - found.failed:,}", rows=f"{found.rows:,}"),
            detail=t["detail" if found.rows > found.failed else "detail_none"].format(ok=f"{found.ok:,}"),
            warnings=[*_warnings(material, t)],
            tiles=_tiles(found, t),
            sections=[*there, "failures", "how"],
            failures=_failures(results, t),
            **parts,
            **_how(material, t),
        )
    )


def _warnings(material: Material, t: Texts) -> Iterable[str]:
    found = material.extracted
    if rejected := (material.run.get("counts") or {}).get("rejected"):
        yield t["warn_rejected"].format(n=f"{rejected:,}")
    if found.cut:
        yield t["warn_cut"].format(n=f"{found.cut:,}")
    if found.errors:
        example = visible(str(found.examples[0]["extract_error"]), REASON_CHARS)
        yield t["warn_errors"].format(n=f"{found.errors:,}", example=example)
    if material.problem is not None:
        yield t["warn_evaluate"].format(problem=visible(material.problem, REASON_CHARS))


def _tiles(found: Extracted, t: Texts) -> list[tuple[str, str]]:
    return [
        (t["tile_rows"], f"{found.rows:,}"),
        (t["tile_replies"], f"{found.rows - found.failed:,}"),
        (t["tile_ok"], f"{found.ok:,}"),
        (t["tile_failed"], f"{found.failed:,}"),
        (t["tile_tokens"], f"{found.completion_tokens:,}"),
    ]


def _counted(rows: list[tuple[str, int]], of: int) -> Counted:
    return [(name, count, numbers.percent(count / of) if of else numbers.NONE) for name, count in rows]


def _chart(rows: list[tuple[str, int]], label: str) -> Markup:

    drawn = bars([Count(name, count, f"{count:,}", False) for name, count in rows[:MOST_BARS]], label=label)
    return small(drawn)


def _length(at: int, t: Texts) -> str:
    return t["beyond"].format(n=LENGTHS[-1]) if at == len(LENGTHS) else t["up_to"].format(n=LENGTHS[at])


def _figures(figures: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    return [
        (visible(name, 200), visible(shown(value), 200)) for name, value in [*(figures or {}).items()][:MOST_FIGURES]
    ]


def _sample(record: Record, t: Texts) -> Record:
    prompt = next((record[name] for name in PROMPTS if name in record), "")
    if isinstance(prompt, list):
        prompt = "\n".join(f"{message['role']}{t['colon']}{message['content']}" for message in prompt)
    answer = record["answer"]
    return {
        "place": _place(record, t),
        "prompt": visible(prompt, SAMPLE_CHARS),
        "reply": visible(record["response"] or "", SAMPLE_CHARS),
        "answer": numbers.NONE if answer is None else visible(shown(answer), REASON_CHARS),
    }


def _place(record: Record, t: Texts) -> str:
    source = record["source"]
    return t["row_of"].format(row=source["row"], file=visible(str(source["file"]), 200))


def _failures(results: Results, t: Texts) -> list[tuple[str, int, list[tuple[str, str]]]]:
    return [
        (
            t.get(f"kind_{kind}", kind),
            count,
            [
                (visible(record.get("error") or "", REASON_CHARS), _place(record, t))
                for record in results.failures[kind]
            ],
        )
        for kind, count in results.failed.most_common()
    ]


def _how(material: Material, t: Texts) -> Parts:
    run, task, found = material.run, material.task, material.extracted
    read = [visible(str(name), 200) for name in run.get("files") or ()]
    listed = t["comma"].join(read[:MOST_FILES])
    if len(read) > MOST_FILES:
        listed += t["comma"] + t["and_more"].format(n=len(read) - MOST_FILES)
    rows = [
        (t["run_task"], f"{task.path} (sha256 {task.sha256})"),
        (t["run_model"], run.get("model")),
        (t["run_engine"], run.get("model_type")),
        (t["run_files"], listed or None),
        *when_rows(run, t),
        tokens_row(found.prompt_tokens, found.completion_tokens, t),
        *made_rows(run, t),
    ]
    return {
        "run_rows": [(name, visible(str(text))) for name, text in rows if text is not None],
        "sampling": [*_sampling(run)],
        "instances": [
            (visible(str(one.get("url")), 200), numbers.whole(one.get("answers")), numbers.whole(one.get("failures")))
            for one in run.get("instances") or ()
        ],
    }


def _sampling(run: Record) -> Iterable[tuple[str, str, str]]:
    """Yield each value that holds, and the layer that it comes from."""
    layers = run.get("sampling_layers") or []
    for name, value in (run.get("sampling") or {}).items():
        source = next((layer["from"] for layer in reversed(layers) if name in layer["values"]), "")
        yield visible(name, 80), visible(shown(value), 200), visible(source, 200)
