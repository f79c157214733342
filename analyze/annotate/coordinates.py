"""Boxes from the scale of a model to pixels of the upright image and to whole thousandths of its sides.

    model's numbers ──> pixels (float) ──> clipped, in order ──> objects_px, objects (0-1000)
Both are made from the same pixels, so that rounding one does not spoil the other. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analyze.annotate.families import Coords
from analyze.annotate.shapes import Box

THOUSAND = 1000
PX_DECIMALS = 2
FARTHEST = 10**12  # a model may write any number of digits, which no float holds
Size = tuple[int, int]
"""Width and height in pixels."""

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Placed:
    """Objects on the image: in thousandths of its sides, in its pixels, and what had to be done to them."""

    objects: list[Object]
    objects_px: list[Object]
    flags: tuple[str, ...]


def place(
    objects: Sequence[Mapping[str, Any]], coords: Coords, *, size: Size, sent: Size, is_y_first: bool = False
) -> Placed:
    """Return objects as a model gave them, `{"name", "bbox"}` each, placed on an image of `size`, sent as `sent`.

    Numbers that are shares of a side where thousandths or pixels were expected are taken for shares, and flagged.
    """
    boxes = [_ordered(one["bbox"], is_y_first) for one in objects]
    flags: set[str] = set()
    if coords not in ("unit",) and _are_shares(boxes):
        coords = "unit"
        flags.add("rescaled:unit")
    placed: list[tuple[str, Box]] = []
    dropped = 0
    for one, box in zip(objects, boxes, strict=True):
        whole = to_pixels(box, coords, size=size, sent=sent)
        upright = _sorted(whole)
        inside = _clipped(upright, size)
        if upright != whole:
            flags.add("reordered")
        if inside != upright:
            flags.add("clipped")
        if _rounded(inside[0]) >= _rounded(inside[2]) or _rounded(inside[1]) >= _rounded(inside[3]):
            dropped += 1
        else:
            placed.append((str(one["name"]), inside))
    if dropped:
        flags.add("dropped:outside")
    unique = [*dict.fromkeys(placed)]
    if len(unique) < len(placed):
        flags.add(f"deduplicated:{len(placed) - len(unique)}")
    return Placed(
        [{"name": name, "bbox": to_thousandths(box, size)} for name, box in unique],
        [{"name": name, "bbox": [*map(_rounded, box)]} for name, box in unique],
        tuple(sorted(flags)),
    )


def to_pixels(box: Box, coords: Coords, *, size: Size, sent: Size) -> Box:
    """Return a box in pixels of an image of `size`, which was sent as `sent`."""
    whole = {
        "norm1000": (THOUSAND, THOUSAND),
        "norm999": (THOUSAND - 1, THOUSAND - 1),
        "unit": (1, 1),
        "resized_px": sent,
        "original_px": size,
    }[coords]
    across, down = size[0] / whole[0], size[1] / whole[1]
    return box[0] * across, box[1] * down, box[2] * across, box[3] * down


def to_thousandths(box: Box, size: Size) -> list[int]:
    """Return a box in pixels as whole numbers from 0 to 1000, never without an area."""
    x1, x2 = _steps(box[0], box[2], size[0])
    y1, y2 = _steps(box[1], box[3], size[1])
    return [x1, y1, x2, y2]


def from_thousandths(box: Sequence[float], size: Size) -> Box:
    """Return a box of 0 to 1000 in pixels."""
    x1, y1, x2, y2 = box
    return to_pixels((x1, y1, x2, y2), "norm1000", size=size, sent=size)


def _steps(low: float, high: float, side: int) -> tuple[int, int]:
    first, last = round(low * THOUSAND / side), round(high * THOUSAND / side)
    if first == last:  # thinner than a thousandth
        return (first, last + 1) if last < THOUSAND else (first - 1, last)
    return first, last


def _ordered(box: Sequence[float], is_y_first: bool) -> Box:
    one, two, three, four = (min(max(number, -FARTHEST), FARTHEST) for number in box)
    return (two, one, four, three) if is_y_first else (one, two, three, four)


def _are_shares(boxes: Sequence[Box]) -> bool:
    numbers = [number for box in boxes for number in box]
    return any(isinstance(one, float) and one % 1 for one in numbers) and all(0 <= one <= 1 for one in numbers)


def _sorted(box: Box) -> Box:
    x1, y1, x2, y2 = box
    return min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)


def _clipped(box: Box, size: Size) -> Box:
    x1, y1, x2, y2 = box
    return _within(x1, size[0]), _within(y1, size[1]), _within(x2, size[0]), _within(y2, size[1])


def _within(value: float, most: int) -> float:
    return min(max(value, 0), most)


def _rounded(value: float) -> float:
    rounded = round(value, PX_DECIMALS)
    return int(rounded) if rounded == int(rounded) else rounded
