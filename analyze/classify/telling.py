"""What a classification says on the console when it has ended, in both languages. Knows no file."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

from analyze.classify.gold import Evaluation
from analyze.classify.labels import Labels
from analyze.classify.results import Results
from analyze.console import printable
from analyze.lang import Lang
from analyze.runs.amounts import columns, width
from analyze.stats.classification import Average, DecisionScore, LabelScore, Scores, SetScores
from analyze.stats.intervals import Estimate

NONE = "n/a"
MOST_CLASSES = 10  # a confusion matrix of more does not fit on a console
MOST_NAMED = 10
MOST_NEVER = 20  # among more labels, those that no text has are not listed
LONGEST_LABEL = 32  # columns of a terminal
LONGEST_HEAD = 14

TEXTS: dict[Lang, dict[str, str]] = {
    "en": {
        "counts": "labels:",
        "count": "  {label}: {count:,} ({share:.1%})",
        "none": "(no label)",
        "no_labels": "(none of the labels)",
        "other": "(another label)",
        "cached": "prompt tokens from the prefix cache: {share:.0%}",
        "held": "against the true labels in {field!r}, {rows:,} rows:",
        "no_gold": "no row has a true label in {field!r}: --gold names the field that holds it",
        "without": "  rows without a true label, counted nowhere here: {count:,}",
        "unknown": "  ⚠ true labels that are none of the labels, never right: {count:,} ({names})",
        "accuracy": "  accuracy {accuracy}, κ {kappa}, MCC {mcc}",
        "subsets": "  all labels right {accuracy}, Hamming loss {loss}",
        "coverage": "  with a label: {coverage}",
        "calibration": "  calibration error {ece}, Brier score {brier} ({n:,} statements)",
        "interval": "{value:.1%} (95% interval {low:.1%} – {high:.1%})",
        "head": "label|precision|recall|F1|rows|given",
        "macro": "mean of labels",
        "micro": "of all decisions",
        "weighted": "mean by rows",
        "confusion": "  true label (lines) and label given (columns):",
        "confused": "  most often mistaken (true → given):",
        "mistaken": "    {truth} → {given}: {count:,}",
        "disagreements": "disagreements: {path} ({count:,})",
        "review": "to look at ({count:,}): {paths}",
        "page": "report:   {path}",
    },
    "zh": {
        "counts": "分类统计:",
        "count": "  {label}: {count:,}（{share:.1%}）",
        "none": "（无标签）",
        "no_labels": "（不属于任何标签）",
        "other": "（其他标签）",
        "cached": "来自前缀缓存的提示词元: {share:.0%}",
        "held": "对照 {field!r} 中的真实标签，共 {rows:,} 行:",
        "no_gold": "没有任何一行在 {field!r} 中带有真实标签: 请用 --gold 指明所在字段",
        "without": "  没有真实标签的行，未计入统计: {count:,}",
        "unknown": "  ⚠ 不在标签集中的真实标签，一律计为错误: {count:,}（{names}）",
        "accuracy": "  准确率 {accuracy}，κ {kappa}，MCC {mcc}",
        "subsets": "  标签全对 {accuracy}，汉明损失 {loss}",
        "coverage": "  给出标签: {coverage}",
        "calibration": "  校准误差 {ece}，Brier 分数 {brier}（{n:,} 个判断）",
        "interval": "{value:.1%}（95% 区间 {low:.1%} – {high:.1%}）",
        "head": "标签|精确率|召回率|F1|行数|给出",
        "macro": "各标签平均",
        "micro": "全部判断",
        "weighted": "按行数加权",
        "confusion": "  真实标签（行）与给出的标签（列）:",
        "confused": "  最常见的混淆（真实 → 给出）:",
        "mistaken": "    {truth} → {given}: {count:,}",
        "disagreements": "分歧: {path}（{count:,}）",
        "review": "待人工查看（{count:,}）: {paths}",
        "page": "报告: {path}",
    },
}


def told(name: str, lang: Lang, **values: Any) -> str:
    return printable(TEXTS[lang][name].format(**values))


def label_lines(results: Results, lang: Lang) -> list[str]:
    """Return how many texts have each label, and what was cached."""
    texts, total = TEXTS[lang], results.rows
    names = {None: texts["none"], (): texts["no_labels"]}
    said = [
        told("count", lang, label=label if isinstance(label, str) else names[label], count=count, share=count / total)
        for label, count in results.labels.most_common()
        if count or len(results.labels) <= MOST_NEVER
    ]
    cached = results.cached_share
    return [texts["counts"], *said, *([told("cached", lang, share=cached)] if cached is not None else [])]


def gold_lines(found: Evaluation, labels: Labels, field: str, lang: Lang) -> list[str]:
    """Return what gold says of the labels."""
    if not found.rows:
        return [told("no_gold", lang, field=field)]
    scores = found.scores
    lines = [told("held", lang, field=field, rows=found.rows)]
    if isinstance(scores, Scores):
        accuracy = interval(scores.accuracy, lang)
        lines.append(told("accuracy", lang, accuracy=accuracy, kappa=number(scores.kappa), mcc=number(scores.mcc)))
    else:
        accuracy = interval(scores.subset_accuracy, lang)
        lines.append(told("subsets", lang, accuracy=accuracy, loss=number(scores.hamming_loss)))
    if scores.coverage.value != 1:
        lines.append(told("coverage", lang, coverage=interval(scores.coverage, lang)))
    if found.without_gold:
        lines.append(told("without", lang, count=found.without_gold))
    if found.unknown:
        names = ", ".join(f"{name!r} {count:,}" for name, count in islice(found.unknown.items(), MOST_NAMED))
        lines.append(told("unknown", lang, count=sum(found.unknown.values()), names=names))
    stated = found.calibration
    if stated.n:
        lines.append(told("calibration", lang, ece=number(stated.ece), brier=number(stated.brier), n=stated.n))
    lines += _indented(columns(_label_table(scores, lang)))
    if isinstance(scores, Scores):
        lines += _confusion(scores, labels, lang)
    return lines


def _label_table(scores: Scores | SetScores, lang: Lang) -> list[list[str]]:
    texts = TEXTS[lang]
    rows = [
        [_short(it.label), *_shares(it), f"{it.support:,}", f"{it.predicted:,}", *_beyond_chance(it)]
        for it in scores.labels
    ]
    macro = ["", "", *_beyond_chance(scores)] if isinstance(scores, SetScores) else []
    rows.append([texts["macro"], *_shares(scores.macro), *macro])
    rows += [[texts[name], *_shares(it)] for name, it in (("weighted", scores.weighted), ("micro", scores.micro))]
    head = [*texts["head"].split("|"), *(("κ", "MCC") if macro else ())]
    return [head, *([*row, *[""] * (len(head) - len(row))] for row in rows)]


def _shares(it: LabelScore | Average) -> list[str]:
    return [percent(it.precision), percent(it.recall), percent(it.f1)]


def _beyond_chance(it: LabelScore | SetScores) -> list[str]:
    return [number(it.kappa), number(it.mcc)] if isinstance(it, DecisionScore | SetScores) else []


def confusion_rows(scores: Scores, names: Sequence[str]) -> list[tuple[str | None, list[int]]]:
    """Return the confusion matrix: for each true label how often each was given, then how often none was.

    The true labels that are none of `names` come together in a last row, of None, where there are any.
    """
    given: list[str | None] = [*names, None]
    rows: list[tuple[str | None, list[int]]] = [
        (name, [scores.confusion.get((name, said), 0) for said in given]) for name in names
    ]
    known = set(names)
    others = [
        sum(count for (truth, label), count in scores.confusion.items() if truth not in known and label == said)
        for said in given
    ]
    return [*rows, (None, others)] if any(others) else rows


def mistaken(scores: Scores, most: int) -> list[tuple[str, str | None, int]]:
    """Return the most frequent mistakes: true label, label given, how often."""
    wrong = [(truth, said, count) for (truth, said), count in scores.confusion.items() if truth != said]
    return sorted(wrong, key=lambda it: (-it[2], it[0], it[1] or ""))[:most]


def _confusion(scores: Scores, labels: Labels, lang: Lang) -> list[str]:
    texts = TEXTS[lang]
    if len(labels.names) > MOST_CLASSES:
        found = mistaken(scores, MOST_NAMED)
        said = [told("mistaken", lang, truth=t, given=g or texts["none"], count=n) for t, g, n in found]
        return [texts["confused"], *said] if said else []
    head = ["", *(_short(name, LONGEST_HEAD) for name in labels.names), texts["none"]]
    rows = [
        [texts["other"] if name is None else _short(name), *(f"{count:,}" for count in counts)]
        for name, counts in confusion_rows(scores, labels.names)
    ]
    return [texts["confusion"], *_indented(columns([head, *rows]))]


def _indented(lines: Sequence[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def _short(label: str, most: int = LONGEST_LABEL) -> str:
    label = printable(" ".join(label.split()))
    if width(label) <= most:
        return label
    while width(label) >= most:
        label = label[:-1]
    return f"{label}…"


def interval(estimate: Estimate, lang: Lang) -> str:
    if estimate.value is None:
        return NONE
    return TEXTS[lang]["interval"].format(value=estimate.value, low=estimate.low, high=estimate.high)


def percent(share: float | None) -> str:
    return NONE if share is None else f"{share:.1%}"


def number(value: float | None) -> str:
    return NONE if value is None else f"{value:.3f}"
