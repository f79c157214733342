"""How well boxes agree with true ones: average precision, F1 at an overlap of one half, mean overlap. Knows no file.

AP is COCO's own (pycocotools): boxes come without scores and all have 1.0, so it is what one point of the curve gives.
F1 and overlap are of pairs of equal name, matched one to one so that their overlaps add up to the most (Kuhn 1955).
"""

from __future__ import annotations

import contextlib
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from analyze.annotate.labelled import Boxed
from analyze.annotate.shapes import Box
from analyze.errors import UsageError

HALF = 0.5
MOST_BOXES = 10_000  # of an image that AP looks at; COCO's own 100 are fewer than a crowd has


@dataclass(frozen=True, slots=True)
class Score:
    """Counts of one name, or of all: true boxes, boxes given, and those of them that are right."""

    name: str
    true: int
    given: int
    right: int
    overlap: float  # the sum over pairs that are right

    @property
    def precision(self) -> float | None:
        return self.right / self.given if self.given else None

    @property
    def recall(self) -> float | None:
        return self.right / self.true if self.true else None

    @property
    def f1(self) -> float | None:
        return 2 * self.right / (self.true + self.given) if self.true + self.given else None

    @property
    def mean_iou(self) -> float | None:
        """The mean overlap of the pairs that are right; how many boxes were missed is not in it."""
        return self.overlap / self.right if self.right else None


@dataclass(frozen=True, slots=True)
class Measured:
    """AP over overlaps from 0.50 to 0.95, AP50 at one half; None where there is no true box."""

    ap: float | None
    ap50: float | None
    total: Score
    names: tuple[Score, ...]
    images: int


@dataclass(slots=True)
class Pairs:
    """True and given boxes, added image by image."""

    images: int = 0
    _true: Counter[str] = field(default_factory=Counter)
    _given: Counter[str] = field(default_factory=Counter)
    _right: Counter[str] = field(default_factory=Counter)
    _overlap: Counter[str] = field(default_factory=Counter)
    _coco_true: list[dict[str, Any]] = field(default_factory=list)
    _coco_given: list[dict[str, Any]] = field(default_factory=list)
    _ids: dict[str, int] = field(default_factory=dict)

    def add(self, true: Sequence[Boxed], given: Sequence[Boxed]) -> None:
        """Add one image."""
        self.images += 1
        by_name = [_by_name(true), _by_name(given)]
        for name in by_name[0].keys() | by_name[1].keys():
            real, told = by_name[0].get(name, []), by_name[1].get(name, [])
            self._true[name] += len(real)
            self._given[name] += len(told)
            found = [overlap for overlap in _matched(real, told) if overlap >= HALF]
            self._right[name] += len(found)
            self._overlap[name] += sum(found)  # type: ignore[assignment]  # a Counter adds floats as well
        for boxes, listed in ((true, self._coco_true), (given, self._coco_given)):
            listed += [self._coco(one, len(listed) + number) for number, one in enumerate(boxes, 1)]

    def _coco(self, one: Boxed, number: int) -> dict[str, Any]:
        x1, y1, x2, y2 = one.box
        wide, high = x2 - x1, y2 - y1
        category = self._ids.setdefault(one.name, len(self._ids) + 1)
        told = {"id": number, "image_id": self.images, "category_id": category, "bbox": [x1, y1, wide, high]}
        return {**told, "area": wide * high, "iscrowd": 0, "score": 1.0}

    def measured(self) -> Measured:
        """Return what they come to. Raises UsageError where pycocotools is missing."""
        names = sorted(self._true.keys() | self._given.keys(), key=lambda name: (-self._true[name], name))
        scores = tuple(self._score(name) for name in names)
        total = Score(
            "",
            sum(one.true for one in scores),
            sum(one.given for one in scores),
            sum(one.right for one in scores),
            sum(one.overlap for one in scores),
        )
        ap, ap50 = self._average_precision() if total.true else (None, None)
        return Measured(ap, ap50, total, scores, self.images)

    def _score(self, name: str) -> Score:
        return Score(name, self._true[name], self._given[name], self._right[name], float(self._overlap[name]))

    def _average_precision(self) -> tuple[float, float]:
        if not self._coco_given:
            return 0.0, 0.0  # which `loadRes` has no answer to
        try:
            from pycocotools.coco import COCO  # type: ignore[import-untyped]  # ships no types
            from pycocotools.cocoeval import COCOeval  # type: ignore[import-untyped]  # nor does this
        except ImportError as error:
            raise UsageError(
                "average precision needs pycocotools", cure="pip install 'multi-vllm-analyze[annotate]'"
            ) from error
        with contextlib.redirect_stdout(io.StringIO()):  # it tells its progress
            gold = COCO()
            gold.dataset = {
                "info": {},
                "images": [{"id": number} for number in range(1, self.images + 1)],
                "categories": [{"id": number, "name": name} for name, number in self._ids.items()],
                "annotations": [dict(one) for one in self._coco_true],
            }
            gold.createIndex()
            told = gold.loadRes([dict(one) for one in self._coco_given])
            evaluation = COCOeval(gold, told, "bbox")
            evaluation.params.maxDets = [MOST_BOXES]
            evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e18]], ["all"]
            evaluation.evaluate()
            evaluation.accumulate()
        precision = evaluation.eval["precision"]  # overlaps, recalls, categories, areas, most boxes; -1: no true box
        return _mean(precision), _mean(precision[:1])


def _mean(precision: Any) -> float:
    known = precision[precision > -1]
    return float(known.mean()) if known.size else 0.0


def _by_name(boxes: Sequence[Boxed]) -> Mapping[str, list[Box]]:
    found: dict[str, list[Box]] = {}
    for one in boxes:
        found.setdefault(one.name, []).append(one.box)
    return found


def _matched(true: Sequence[Box], given: Sequence[Box]) -> list[float]:
    """Return the overlaps of boxes matched one to one."""
    if not true or not given:
        return []
    import numpy as np
    from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped]  # SciPy ships no types

    overlaps = np.array([[iou(one, other) for other in given] for one in true])
    rows, columns = linear_sum_assignment(overlaps, maximize=True)
    return [float(one) for one in overlaps[rows, columns]]


def iou(one: Box, other: Box) -> float:
    """Return the intersection of two boxes over their union."""
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    if wide <= 0 or high <= 0:
        return 0.0
    shared = wide * high
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return shared / (sum(areas) - shared)
