"""`analyze annotate evaluate labelled.jsonl --gold coco.json`: how well annotations agree with true boxes (`measures`).

Images are paired by path; those of the gold file that have no such pair, by file name where that is unique there. A
true image without a good annotation counts: all its boxes are missed. Images that the gold file does not list are left
out, and counted.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from analyze import settings
from analyze.annotate.formats import from_coco
from analyze.annotate.labelled import Labelled, read
from analyze.annotate.measures import Measured, Pairs, Score
from analyze.console import printable
from analyze.errors import EXIT_OK, InputError
from analyze.files import input_errors
from analyze.lang import Lang, language
from analyze.records import from_json
from analyze.runs.amounts import columns
from analyze.runs.command import Parser, add_settings, flags_of

SETTINGS = (settings.ANALYZE_LANG,)
MOST_NAMES = 30
TEXTS: dict[Lang, dict[str, str]] = {
    "en": {
        "images": "{images:,} true images, {missing:,} of them without a good annotation",
        "others": "images that the gold file does not list, left out: {count:,}",
        "names": "names that the gold file does not have: {names}",
        "ap": "AP {ap}, AP50 {ap50}, F1 at 0.5 {f1}, mean IoU of boxes found {iou}",
        "head": "name|precision|recall|F1|mean IoU|true|given",
        "all": "(all)",
        "unnamed": "(unnamed)",
        "more": "and {count:,} more names",
    },
    "zh": {
        "images": "{images:,} 张有真值的图片，其中 {missing:,} 张没有可用标注",
        "others": "真值文件未列出的图片，未计入: {count:,}",
        "names": "真值文件中没有的名称: {names}",
        "ap": "AP {ap}，AP50 {ap50}，F1（IoU 0.5）{f1}，命中框平均 IoU {iou}",
        "head": "名称|精确率|召回率|F1|平均 IoU|真值|给出",
        "all": "（全部）",
        "unnamed": "（未命名）",
        "more": "另有 {count:,} 种名称",
    },
}


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What gold says. `missing`: true images without a good annotation; `others`: images that have no gold."""

    measured: Measured
    missing: int
    others: int
    unknown: Counter[str]  # names that gold does not have, with their boxes


def read_gold(path: Path) -> Mapping[str, Labelled]:
    """Return the images of a COCO file by path. Raises InputError."""
    with input_errors(str(path)):
        raw = path.read_bytes()
    try:
        content = from_json(raw)
    except ValueError as error:
        raise InputError(f"is no JSON ({error})", path=str(path), cure="give a COCO file") from error
    return from_coco(content, str(path))


def evaluate(output: Path, gold: Mapping[str, Labelled]) -> Evaluation:
    """Hold the good annotations of an output against true ones. Raises InputError, UsageError."""
    paired = {one.path for one in read(output) if isinstance(one, Labelled)} & gold.keys()
    by_file_name = Counter(PurePosixPath(path).name for path in gold)
    unique = {name: path for path in gold if path not in paired and by_file_name[name := PurePosixPath(path).name] == 1}
    pairs, left, others = Pairs(), dict(gold), 0
    unknown: Counter[str] = Counter()
    known = {one.name for image in gold.values() for one in image.objects}
    for one in read(output):
        if not isinstance(one, Labelled):
            continue
        path = one.path if one.path in gold else unique.get(PurePosixPath(one.path).name)
        true = None if path is None else left.pop(path, None)
        if true is None:
            others += 1
            continue
        unknown.update(boxed.name for boxed in one.objects if boxed.name not in known)
        pairs.add(true.objects, one.objects)
    for true in left.values():
        pairs.add(true.objects, ())
    return Evaluation(pairs.measured(), len(left), others, unknown)


def said(found: Evaluation, lang: Lang) -> list[str]:
    """Return what is said on the console."""
    texts, measured = TEXTS[lang], found.measured
    lines = [texts["images"].format(images=measured.images, missing=found.missing)]
    if found.others:
        lines.append(texts["others"].format(count=found.others))
    if found.unknown:
        named = ", ".join(f"{name!r} {count:,}" for name, count in found.unknown.most_common(10))
        lines.append(printable(texts["names"].format(names=named)))
    total = measured.total
    values = {"ap": number(measured.ap), "ap50": number(measured.ap50), "f1": number(total.f1)}
    lines.append(texts["ap"].format(**values, iou=number(total.mean_iou)))
    shown = measured.names[:MOST_NAMES]
    rows = [_row(one, " ".join(printable(one.name).split()) or texts["unnamed"]) for one in shown]
    lines += [f"  {line}" for line in columns([texts["head"].split("|"), *rows, _row(total, texts["all"])])]
    if len(measured.names) > MOST_NAMES:
        lines.append(texts["more"].format(count=len(measured.names) - MOST_NAMES))
    return lines


def _row(score: Score, name: str) -> list[str]:
    rates = map(number, (score.precision, score.recall, score.f1, score.mean_iou))
    return [name[:32], *rates, f"{score.true:,}", f"{score.given:,}"]


def number(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"


def as_json(found: Evaluation) -> str:
    """Return the figures for a program."""
    measured = found.measured
    told = {
        "images": measured.images,
        "missing": found.missing,
        "others": found.others,
        "ap": measured.ap,
        "ap50": measured.ap50,
        **_figures(measured.total),
        "names": {one.name: _figures(one) for one in measured.names},
    }
    text = json.dumps(told, ensure_ascii=False, indent=2)
    return text.encode("utf-8", "backslashreplace").decode()  # half a character becomes its escape in JSON


def _figures(score: Score) -> dict[str, float | None]:
    figures = {"precision": score.precision, "recall": score.recall, "f1": score.f1, "mean_iou": score.mean_iou}
    return {**figures, "true": score.true, "given": score.given, "right": score.right}


def command(argv: Sequence[str]) -> int:
    parser = Parser("analyze annotate evaluate", description="Hold annotations against true boxes.")
    parser.add_argument("output", metavar="ANNOTATIONS", help="the output of `analyze annotate`")
    parser.add_argument("--gold", metavar="FILE", required=True, help="the true boxes, as a COCO file")
    parser.add_argument("--json", action="store_true", help="tell the figures as JSON")
    add_settings(parser, SETTINGS, language())
    args = parser.parse_args(argv)
    chosen = flags_of(args, SETTINGS)
    if args.show_settings:
        print(chosen.show())
        return EXIT_OK
    found = evaluate(Path(args.output), read_gold(Path(args.gold)))
    print(as_json(found) if args.json else "\n".join(said(found, language(chosen[settings.ANALYZE_LANG]))))
    return EXIT_OK
