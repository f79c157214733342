"""`<output>.report.html`: what an annotation has come to, as one file without network or script.

    manifest, Results ─► parts, charts ─► template (escapes everything) ─► one string
Knows what stands where; every number comes from elsewhere, and every text that is foreign is made visible here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from analyze._version import __version__
from analyze.annotate.page_texts import TEXTS
from analyze.annotate.results import MOST_TOLD, Record, Results
from analyze.lang import Lang
from analyze.report import numbers
from analyze.report.frame import environment
from analyze.report.jobpage import banners, made_rows, page_css, sampling_row, small, tokens_row, when_rows
from analyze.report.plots import Count, bars
from analyze.report.runinfo import flat
from analyze.report.safe import visible, visible_all

if TYPE_CHECKING:
    from markupsafe import Markup

MOST_BARS = 12
MOST_ROWS = 200
MOST_PROMPT = 20_000

Texts = Mapping[str, str]
Parts = dict[str, Any]
Counted = tuple[str, int, bool]
"""What is counted, how often, and whether it is what is not there."""


@dataclass(frozen=True, slots=True)
class Material:
    """What a page is made of. `run` is the manifest."""

    run: Record
    results: Results
    lang: Lang
    output: str
    files: Sequence[str] = field(default_factory=tuple)


def page(material: Material) -> str:
    """Return the whole page. The same records give the same bytes."""
    t, results = TEXTS[material.lang], material.results
    return (
        environment("analyze.annotate")
        .get_template("page.html.j2")
        .render(
            t=t,
            n=numbers,
            css=page_css("analyze.annotate"),
            version=__version__,
            output=visible(material.output),
            files=[visible(name) for name in material.files],
            banners=banners(material.run, t),
            sections=["names", "boxes", "endings", "flags", "failures", "how"],
            **_answer_parts(results, t),
            **_count_parts(results, t),
            failures=_failures(results, t),
            **_run_parts(material, t),
        )
    )


def _answer_parts(results: Results, t: Texts) -> Parts:
    values = {"n": f"{results.annotated:,}", "all": f"{results.rows:,}", "objects": f"{results.objects:,}"}
    mean = results.objects / results.annotated if results.annotated else None
    return {
        "headline": t["headline"].format_map(values),
        "detail": t["detail"].format(empty=f"{results.empty:,}", failed=f"{results.failed:,}"),
        "warnings": [t["warn_older"].format(n=f"{results.older:,}")] if results.older else [],
        "tiles": [
            (t["tile_images"], f"{results.rows:,}"),
            (t["tile_annotated"], f"{results.annotated:,}"),
            (t["tile_empty"], f"{results.empty:,}"),
            (t["tile_failed"], f"{results.failed:,}"),
            (t["tile_objects"], f"{results.objects:,}"),
            (t["tile_names"], f"{len(results.names):,}"),
            (t["tile_mean"], numbers.NONE if mean is None else f"{mean:.1f}"),
        ],
    }


def _count_parts(results: Results, t: Texts) -> Parts:
    ranked = sorted(results.names.items(), key=lambda it: (-it[1], it[0]))
    names = [(visible(name, 200) or t["unnamed"], count, not name) for name, count in ranked]
    boxes = [
        (t["boxes_more"].format(n=many) if many == MOST_TOLD else f"{many}", results.boxes[many], not many)
        for many in range(MOST_TOLD + 1)
        if results.boxes[many]
    ]
    endings = [(t.get(f"s_{name}", name), count, name != "ok") for name, count in results.statuses.most_common()]
    flags = [(_flag(name, t), count, False) for name, count in results.flags.most_common()]
    return {
        "name_rows": [
            (shown, count, numbers.whole(results.images_with[name]))
            for (name, _), (shown, count, _) in zip(ranked[:MOST_ROWS], names, strict=False)
        ],
        "name_rest": max(0, len(names) - MOST_ROWS),
        "name_chart": _bars(names, results.objects, t["names_label"]),
        "box_rows": _shares(boxes, results.annotated),
        "box_chart": _bars(boxes, results.annotated, t["boxes_label"]),
        "ending_rows": _shares(endings, results.rows),
        "ending_chart": _bars(endings, results.rows, t["endings_label"]),
        "flag_rows": _shares(flags, results.rows),
    }


def _flag(name: str, t: Texts) -> str:
    return t.get(f"f_{name.replace(':', '_')}", visible(name, 60))


def _shares(counted: Sequence[Counted], rows: int) -> list[tuple[str, int, str]]:
    return [(name, count, numbers.percent(count / rows)) for name, count, _ in counted]


def _bars(counted: Sequence[Counted], rows: int, label: str) -> Markup | None:
    shown = [
        Count(name, count, f"{count:,} · {numbers.percent(count / rows)}", absent)
        for name, count, absent in counted[:MOST_BARS]
    ]
    return small(bars(shown, label=label)) if shown else None


def _failures(results: Results, t: Texts) -> list[tuple[str, int, list[Record]]]:
    kinds = []
    for status, examples in results.failures.items():
        shown = [
            {
                "reason": visible(record.get("error") or "", 300),
                "text": visible(str(record.get("image_path") or record.get("id") or ""), 200),
                "said": visible(record.get("vlm_output") or "", 200),
            }
            for record in examples
        ]
        kinds.append((t.get(f"s_{status}", status), results.statuses[status], shown))
    return sorted(kinds, key=lambda kind: -kind[1])


def _run_parts(material: Material, t: Texts) -> Parts:
    run, results = visible_all(material.run), material.results
    source = run.get("input") or {}
    coords = t["comma"].join(f"{name} ({count:,})" for name, count in results.coords.most_common())
    rows = [
        (t["run_model"], run.get("model")),
        (t["run_input"], source.get("path")),
        ("SHA-256", source.get("sha256")),
        (t["run_root"], run.get("image_root")),
        (t["run_output"], visible(material.output)),
        (t["run_coords"], coords or None),
        (t["run_pixels"], numbers.whole(run.get("max_pixels"))),
        (t["run_transport"], run.get("image_transport")),
        sampling_row(run, t),
        (t["run_constrained"], t["run_is_constrained" if run.get("constrained") else "run_is_free"]),
        *when_rows(run, t),
        tokens_row(results.prompt_tokens, results.completion_tokens, t),
        *made_rows(run, t),
    ]
    return {
        "run_rows": [(name, text) for name, text in rows if text is not None],
        "prompt": visible(material.run.get("prompt") or "", MOST_PROMPT),
        "run_settings": flat(run.get("settings") or {}),
    }
