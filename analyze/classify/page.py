"""`<output>.report.html`: what a classification has come to, as one file without network or script.

    manifest, Results, Evaluation ─► parts, charts ─► template (escapes everything) ─► one string
Knows what stands where; every number comes from elsewhere, and every text that is foreign is made visible here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from analyze._version import __version__
from analyze.classify.gold import Evaluation
from analyze.classify.labels import Labels
from analyze.classify.page_texts import TEXTS
from analyze.classify.results import CONFIDENCE_BINS, Record, Results
from analyze.classify.telling import confusion_rows, mistaken
from analyze.lang import Lang
from analyze.report import numbers
from analyze.report.frame import environment
from analyze.report.jobpage import banners, made_rows, page_css, sampling_row, small, tokens_row, when_rows
from analyze.report.plots import Count, Spot, bars, histogram, shares
from analyze.report.runinfo import flat
from analyze.report.safe import visible, visible_all
from analyze.stats.classification import Average, DecisionScore, LabelScore, Scores, SetScores
from analyze.stats.intervals import Estimate

if TYPE_CHECKING:
    from markupsafe import Markup

MOST_BARS = 12
MOST_ROWS = 200
MOST_CLASSES = 20  # a matrix of more is no longer looked at
MOST_MISTAKES = 30
MOST_LISTED = 50
MOST_NAMED = 10
MOST_PROMPT = 20_000
SHADES = 5

Texts = Mapping[str, str]
Parts = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Material:
    """What a page is made of. `run` is the manifest; `gold` names the field of true labels, if there is one."""

    run: Record
    results: Results
    labels: Labels
    lang: Lang
    output: str
    gold: str | None = None
    evaluation: Evaluation | None = None
    disagreements: Sequence[Record] = ()  # the first of them
    files: Sequence[str] = field(default_factory=tuple)


def page(material: Material) -> str:
    """Return the whole page. The same records give the same bytes."""
    t = TEXTS[material.lang]
    found = material.evaluation if material.evaluation is not None and material.evaluation.rows else None
    gold_parts = _gold_parts(material, found, t) if found else {}
    there = [name for name, parts in GOLD_SECTIONS.items() if found and any(map(gold_parts.get, parts))]
    about_gold = [*there, "disagreements"] if found else []
    return (
        environment("analyze.classify")
        .get_template("page.html.j2")
        .render(
            t=t,
            n=numbers,
            css=page_css("analyze.classify"),
            version=__version__,
            output=visible(material.output),
            files=[visible(name) for name in material.files],
            gold=found,
            sections=["labels", "endings", "confidence", *about_gold, "failures", "how"],
            **_answer_parts(material, found, t),
            **_label_parts(material, t),
            **_confidence_parts(material, t),
            **gold_parts,
            **_failure_parts(material.results, t),
            **_run_parts(material, t),
        )
    )


GOLD_SECTIONS = {
    "scores": ["score_rows"],
    "confusion": ["matrix", "mistakes"],
    "reliability": ["reliability_chart"],
    "risk": ["cutoff_chart"],
}
"""The sections about gold, and what there must be, any of it, for each to be on the page."""


def _answer_parts(material: Material, found: Evaluation | None, t: Texts) -> Parts:
    results, is_multi = material.results, material.labels.multi
    values = {"n": f"{results.labelled:,}", "all": f"{results.rows:,}"}
    headline, detail, warnings = t["answer_plain"].format_map(values), t["detail_plain"], []
    if material.gold is not None:
        detail = t["detail_no_gold"].format(field=visible(material.gold))
    tiles = [(t["tile_texts"], f"{results.rows:,}", "")]
    share = results.labelled / results.rows if results.rows else None
    tiles.append((t["tile_labelled"], numbers.percent(share), f"{results.labelled:,}"))
    tiles.append((t["tile_failed"], f"{results.failed.total():,}", ""))
    if found is not None:
        scores = found.scores
        accuracy = scores.accuracy if isinstance(scores, Scores) else scores.subset_accuracy
        form = t["answer_gold_multi" if is_multi else "answer_gold"]
        headline = form.format(share=_tenths(accuracy.value), n=f"{found.rows:,}")
        detail = t["detail_gold"].format(interval=_span(accuracy))
        if found.unknown:
            names = t["comma"].join(visible(name, 60) for name in list(found.unknown)[:MOST_NAMED])
            warnings.append(t["warn_unknown"].format(n=f"{sum(found.unknown.values()):,}", names=names))
        if found.without_gold:
            warnings.append(t["warn_without"].format(n=f"{found.without_gold:,}"))
        if isinstance(scores, Scores):
            tiles += [(t["tile_kappa"], _score(scores.kappa), ""), (t["tile_mcc"], _score(scores.mcc), "")]
        else:
            tiles.append((t["tile_hamming"], _score(scores.hamming_loss), ""))
            tiles.append((t["tile_kappa_mean"], _score(scores.kappa), ""))
        tiles.append((t["tile_macro"], _score(scores.macro.f1), ""))
    if results.mean_mass is not None:
        tiles.append((t["tile_mass"], numbers.percent(results.mean_mass), ""))
    if results.cached_share is not None:
        tiles.append((t["tile_cached"], numbers.percent(results.cached_share), ""))
    return {
        "headline": headline,
        "detail": detail,
        "warnings": warnings,
        "tiles": tiles,
        "banners": list(_banners(material, t)),
        "is_multi": is_multi,
    }


def _banners(material: Material, t: Texts) -> list[tuple[str, str, str]]:
    found = banners(material.run, t)
    if guessed := material.results.flags.total():
        found.append(("measured", t["lenient_title"], t["lenient_text"].format(n=f"{guessed:,}")))
    return found


def _label_parts(material: Material, t: Texts) -> Parts:
    results = material.results
    names = {None: t["no_label"], (): t["no_labels"]}
    counted = [
        (visible(label, 200) if isinstance(label, str) else names[label], count, label is None)
        for label, count in sorted(results.labels.items(), key=lambda it: (it[0] is None, -it[1], str(it[0])))
    ]
    ended = [(t[f"s_{name}"], count, name != "ok") for name, count in results.statuses.most_common()]
    return {
        "label_rows": _shares(counted[:MOST_ROWS], results.rows),
        "label_rest": max(0, len(counted) - MOST_ROWS),
        "label_chart": _bars(counted, results.rows, t["labels_label"]),
        "ending_rows": _shares(ended, results.rows),
        "ending_chart": _bars(ended, results.rows, t["endings_label"]),
    }


def _shares(counted: Sequence[tuple[str, int, bool]], rows: int) -> list[tuple[str, int, str]]:
    return [(name, count, numbers.percent(count / rows)) for name, count, _ in counted]


def _bars(counted: Sequence[tuple[str, int, bool]], rows: int, label: str) -> Markup:
    shown = [
        Count(name, count, f"{count:,} · {numbers.percent(count / rows)}", absent)
        for name, count, absent in counted[:MOST_BARS]
    ]
    return small(bars(shown, label=label))


def _confidence_parts(material: Material, t: Texts) -> Parts:
    counts = material.results.confidences
    wide = 100 // CONFIDENCE_BINS
    rows = [(f"{wide * i}–{wide * (i + 1)}%", count) for i, count in enumerate(counts) if count]
    told = sum(counts)
    return {
        "confidence_rows": [(name, count, numbers.percent(count / told)) for name, count in rows],
        "confidence_chart": small(histogram(counts, below=t["confidence_axis"], label=t["confidence_label"])),
        "confidence_lead": t[_confidence_lead(material)],
    }


def _confidence_lead(material: Material) -> str:
    if material.results.masses:
        return "confidence_lead_read"
    return "confidence_lead_multi" if material.labels.multi else "confidence_lead"


def _gold_parts(material: Material, found: Evaluation, t: Texts) -> Parts:
    scores = found.scores
    macro = _beyond_chance(scores)
    averages = [
        (t["macro"], scores.macro, macro),
        (t["weighted"], scores.weighted, [""] * len(macro)),
        (t["micro"], scores.micro, [""] * len(macro)),
    ]
    return {
        "score_rows": [
            (visible(it.label, 200), *_precision_recall_f1(it), it.support, it.predicted, _beyond_chance(it))
            for it in scores.labels[:MOST_ROWS]
        ],
        "score_rest": max(0, len(scores.labels) - MOST_ROWS),
        "averages": [(name, *_precision_recall_f1(it), beyond) for name, it, beyond in averages],
        "beyond_heads": ["κ", "MCC"] if macro else [],
        **_confusion_parts(scores, material.labels, t),
        **_reliability_parts(found, material.labels, t),
        "cutoff_rows": [
            (
                numbers.percent(it.threshold) if it.threshold else t["none"],
                _tenths(it.coverage.value),
                _tenths(it.accuracy.value),
                _span(it.accuracy),
                it.wrong_avoided,
                it.right_lost,
            )
            for it in found.cutoffs
        ],
        "cutoff_chart": _cutoff_chart(found, t),
        "differing": [_differing(record, t) for record in material.disagreements[:MOST_LISTED]],
    }


def _precision_recall_f1(it: LabelScore | Average) -> tuple[str, str, str]:
    return _tenths(it.precision), _tenths(it.recall), _tenths(it.f1)


def _beyond_chance(it: LabelScore | Scores | SetScores) -> list[str]:
    """Return κ and MCC where they are of single labels: with several a row."""
    return [_score(it.kappa), _score(it.mcc)] if isinstance(it, DecisionScore | SetScores) else []


def _confusion_parts(scores: Any, labels: Labels, t: Texts) -> Parts:
    """Return the matrix, or where there are too many labels the most frequent mistakes."""
    if not isinstance(scores, Scores):
        return {"matrix": None, "matrix_head": [], "mistakes": []}
    if len(labels.names) > MOST_CLASSES:
        worst = [
            (visible(truth, 200), visible(said, 200) if said is not None else t["no_label"], count)
            for truth, said, count in mistaken(scores, MOST_MISTAKES)
        ]
        return {"matrix": None, "matrix_head": [], "mistakes": worst}
    rows = []
    for index, (name, counts) in enumerate(confusion_rows(scores, labels.names)):
        total = sum(counts)
        fields = [(count, _shade(count, total), at == index and name is not None) for at, count in enumerate(counts)]
        rows.append((t["other_label"] if name is None else visible(name, 60), fields, total))
    return {
        "matrix": rows,
        "matrix_head": [*(visible(name, 60) for name in labels.names), t["no_label"]],
        "mistakes": [],
    }


def _shade(count: int, total: int) -> int:
    """Return how dark a field is, 0 for none, by its share of the line."""
    return 0 if not count else min(SHADES, 1 + int(count / total * SHADES))


def _reliability_parts(found: Evaluation, labels: Labels, t: Texts) -> Parts:
    bins = [it for it in found.bins if it.right.n]
    spots = [
        Spot(it.confidence, it.right.value, it.right.low, it.right.high)
        for it in bins
        if it.confidence is not None
        and it.right.value is not None
        and it.right.low is not None
        and it.right.high is not None
    ]
    stated, scaling = found.calibration, found.scaling
    said = [
        t["calibration_text"].format(ece=_score(stated.ece), brier=_score(stated.brier), n=f"{stated.n:,}"),
    ]
    if scaling is not None:
        said.append(
            t["scaling_text"].format(
                temperature=f"{scaling.temperature:.2f}",
                fitted=f"{scaling.fitted_on:,}",
                n=f"{scaling.before.n:,}",
                before=_score(scaling.before.ece),
                after=_score(scaling.after.ece),
                brier_before=_score(scaling.before.brier),
                brier_after=_score(scaling.after.brier),
            )
        )
    below, label = t["confidence_axis"], t["reliability_label"]
    return {
        "reliability_lead": t["reliability_lead_multi" if labels.multi else "reliability_lead"],
        "bin_rows": [
            (
                f"{it.low:.0%}–{it.high:.0%}",
                _tenths(it.confidence),
                _tenths(it.right.value),
                _span(it.right),
                it.right.n,
            )
            for it in bins
        ],
        "reliability_chart": small(shares(spots, below=below, label=label, diagonal=True)) if spots else None,
        "calibration_said": said,
    }


def _cutoff_chart(found: Evaluation, t: Texts) -> Markup | None:
    spots, taken = [], set()
    for it in found.cutoffs:
        value, low, high, x = it.accuracy.value, it.accuracy.low, it.accuracy.high, it.coverage.value
        if value is None or low is None or high is None or x is None or x in taken:
            continue
        taken.add(x)
        spots.append(Spot(x, value, low, high))
    return small(shares(spots, below=t["risk_axis"], label=t["risk_label"])) if spots else None


def _differing(record: Record, t: Texts) -> Record:
    return {
        "text": visible(record["query"], 400),
        "gold": visible(_listed(record.get("gold")), 200) or t["no_labels"],
        "label": visible(_listed(record.get("label")), 200) or t["no_labels"],
        "confidence": _tenths(record.get("confidence")),
    }


def _listed(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _failure_parts(results: Results, t: Texts) -> Parts:
    kinds = []
    for kind, count in results.failed.most_common():
        examples = [
            {
                "reason": visible(record.get("error") or "", 300),
                "text": visible(record["query"], 200),
                "said": visible(record.get("raw_output") or "", 200),
            }
            for record in results.failures[kind]
        ]
        kinds.append((t.get(f"kind_{kind}", kind), count, examples))
    return {"failures": kinds}


def _run_parts(material: Material, t: Texts) -> Parts:
    run = visible_all(material.run)
    source, results = run.get("input") or {}, material.results
    listed = t["comma"].join(visible(name, 60) for name in material.labels.names[:MOST_BARS])
    if (rest := len(material.labels.names) - MOST_BARS) > 0:
        listed += t["comma"] + t["and_more"].format(n=rest)
    threshold = run.get("abstain_below")
    rows = [
        (t["run_model"], run.get("model")),
        (t["run_engine"], run.get("engine")),
        (t["run_input"], source.get("path")),
        ("SHA-256", source.get("sha256")),
        (t["run_output"], visible(material.output)),
        (t["run_labels"], f"{listed} ({t['run_multi']})" if material.labels.multi else listed),
        sampling_row(run, t),
        (t["run_constrained"], t[_form_of_replies(run)]),
        (t["run_abstain"], None if threshold is None else f"{threshold:g}"),
        *when_rows(run, t),
        tokens_row(results.prompt_tokens, results.completion_tokens, t),
        (t["run_cached"], None if results.cached_share is None else numbers.percent(results.cached_share)),
        *made_rows(run, t),
    ]
    return {
        "run_rows": [(name, text) for name, text in rows if text is not None],
        "prompt": visible(material.run.get("prompt") or "", MOST_PROMPT),
        "run_settings": flat(run.get("settings") or {}),
        "instances": [_instance(one) for one in run.get("instances") or ()],
    }


def _form_of_replies(run: Record) -> str:
    if run.get("mode") == "label-read":
        return "run_is_read"
    return "run_is_constrained" if run.get("constrained", True) else "run_is_free"


def _instance(told: Record) -> tuple[str, str, str, str, str]:
    seconds, idle_s = told.get("seconds"), told.get("idle_s")
    tokens = (told.get("prompt_tokens") or 0) + (told.get("completion_tokens") or 0)
    return (
        str(told.get("url")),
        numbers.whole(told.get("answers")),
        numbers.whole(tokens / seconds) if seconds else numbers.NONE,
        numbers.whole(told.get("failures")),
        numbers.percent(max(0.0, 1 - idle_s / seconds)) if seconds and idle_s is not None else numbers.NONE,
    )


def _tenths(share: float | None) -> str:
    """Write a share to a tenth of a percent: two runs are told apart by less than one."""
    return "n/a" if share is None else f"{share:.1%}"


def _score(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"


def _span(estimate: Estimate) -> str:
    return "" if estimate.low is None else f"{estimate.low:.1%}–{estimate.high:.1%}"
