"""Objects with boxes in what a model said, once that is values and no longer text. Knows no text and no scale.

    {"bbox_2d": [...], "label": "cat"}     {"objects": [...]}     {"cat": [[...], [...]]}     [[...], [...]]
all become `Found`: a name and four numbers, as the model gave them. What was not as it should be is in `flags`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Box = tuple[float, float, float, float]

BOX_KEYS = (
    *("bbox", "bbox_2d", "box_2d", "box", "bounding_box", "boundingbox", "bbox2d", "bboxes", "boxes"),
    *("coordinates", "边界框", "坐标"),
)
NAME_KEYS = (
    *("name", "label", "name_zh", "name_en", "class_name", "class", "category", "object", "title", "text"),
    *("category_name", "object_name", "名称", "物体名", "物体", "类别", "标签"),
)
LIST_KEYS = ("objects", "annotations", "detections", "results", "items", "bboxes", "boxes", "物体", "物体列表")
OTHER_SHAPES = ("point_2d", "bbox_3d", "polygon", "points")
_CORNERS = (
    ("x1", "y1", "x2", "y2"),
    ("xmin", "ymin", "xmax", "ymax"),
    ("x_min", "y_min", "x_max", "y_max"),
    ("left", "top", "right", "bottom"),
)
_SIZED = (("x", "y", "width", "height"), ("x", "y", "w", "h"))
_NUMBERS = re.compile(r"-?\d+(?:\.\d+)?")
_BOX_TEXT = re.compile(r"[\s\d.,()\[\]{}<>|-]*")
DEEPEST = 12
LARGEST = 1e300
"""A number beyond it is none: JSON has integers that no float holds, and sums must stay finite."""


class Several(list[Any]):
    """What one JSON object said that has a key twice: an object for each time."""


@dataclass(slots=True)
class Shapes:
    """What was found in a value: pairs of a name (None where there is none) and four numbers."""

    found: list[tuple[str | None, Box]] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    flags: set[str] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self.found)


def shapes_in(value: Any) -> Shapes:
    """Return the objects that a value holds."""
    shapes = Shapes()
    _collect(value, None, shapes, 0)
    return shapes


def has_boxes(value: Any) -> bool:
    shapes = shapes_in(value)
    return bool(shapes.found or shapes.dropped)


def is_single(value: Any) -> bool:
    """Whether this is one object, not a list or an object that holds some."""
    return isinstance(value, Mapping) and _box_key(value) is not None


def says_nothing_is_there(value: Any, depth: int = 0) -> bool:
    """Whether this is the answer that there are no objects: an empty list, or an object that holds one."""
    if isinstance(value, list):
        return not value
    if not isinstance(value, Mapping) or depth > DEEPEST:
        return False
    lists = [value[key] for key in value if str(key).lower() in LIST_KEYS]
    if lists or not value:
        return all(one == [] for one in lists)
    inner = [one for one in value.values() if isinstance(one, Mapping) and one]
    return any(says_nothing_is_there(one, depth + 1) for one in inner)


def _collect(value: Any, name: str | None, shapes: Shapes, depth: int) -> None:
    if depth > DEEPEST:
        return
    if isinstance(value, Several):
        shapes.flags.add("repaired")
    if isinstance(value, Mapping):
        _collect_object(value, name, shapes, depth)
    elif is_box(value):
        shapes.found.append((name, _as_box(value)))
    elif isinstance(value, list):
        named = [one for one in value if isinstance(one, str)]
        own = named[0] if len(named) == 1 else name  # ["cat", [1, 2, 3, 4]]
        for one in value:
            if isinstance(one, Mapping | list):
                _collect(one, own, shapes, depth + 1)


def _collect_object(value: Mapping[str, Any], name: str | None, shapes: Shapes, depth: int) -> None:
    said = _name_of(value)
    own = said or name
    key = _box_key(value)
    if key is not None:
        boxes = [*_boxes_of(value[key], shapes)]
        names = _names_beside(value, len(boxes))
        shapes.found += zip(names if said is None and names else [own] * len(boxes), boxes, strict=True)
        for inner in value.values():  # its parts: {"name": "table", "bbox": [...], "children": [{...}]}
            for one in inner if isinstance(inner, list) else ():
                if is_single(one):
                    _collect(one, None, shapes, depth + 1)
        return
    if (sides := _sides_of(value)) is not None:
        shapes.flags.add("coerced")
        shapes.found.append((own, sides))
        return
    if any(str(other).lower() in OTHER_SHAPES for other in value):
        shapes.dropped["malformed"] += 1
        return
    has_one_box = sum(map(is_box, value.values())) == 1
    for under, inner in value.items():
        if isinstance(inner, list | Mapping):
            is_its_own = str(under).lower() in LIST_KEYS or (said is not None and has_one_box and is_box(inner))
            _collect(inner, said if is_its_own else str(under), shapes, depth + 1)


def _box_key(value: Mapping[str, Any]) -> str | None:
    """Return the key under which an object has its own box, or boxes that are bare numbers."""
    for wanted in BOX_KEYS:
        for key, inner in value.items():
            if str(key).lower() == wanted and not _holds_objects(inner):
                return key
    return None


def _holds_objects(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(one, Mapping) for one in value)


def _boxes_of(value: Any, shapes: Shapes) -> Iterator[Box]:
    """Yield the boxes that stand under an object's key, whatever their form."""
    if is_box(value):
        yield _as_box(value)
    elif isinstance(value, list) and value and all(isinstance(one, list) for one in value):
        flat = [number for pair in value for number in pair]
        if len(value) == 2 and all(len(pair) == 2 for pair in value) and is_box(flat):
            shapes.flags.add("coerced")
            yield _as_box(flat)
            return
        for one in value:
            yield from _boxes_of(one, shapes)
    elif (box := _coerced(value)) is not None:
        shapes.flags.add("coerced")
        yield box
    else:
        shapes.dropped["malformed"] += 1


def _coerced(value: Any) -> Box | None:
    """Return the box that is meant by numbers as strings, by one string, or by named sides."""
    if isinstance(value, Mapping):
        return _sides_of(value)
    if isinstance(value, list) and len(value) == 4:
        numbers = [_number(one) for one in value]
        return None if None in numbers else _as_box(numbers)
    if isinstance(value, str) and _BOX_TEXT.fullmatch(value):
        found = _NUMBERS.findall(value)
        return _as_box([float(one) for one in found]) if len(found) == 4 else None
    return None


def _sides_of(value: Mapping[str, Any]) -> Box | None:
    by_name = {str(key).lower(): _number(inner) for key, inner in value.items()}
    for names in _CORNERS:
        sides = [by_name.get(name) for name in names]
        if None not in sides:
            return _as_box(sides)
    for names in _SIZED:
        x, y, width, height = (by_name.get(name) for name in names)
        if x is not None and y is not None and width is not None and height is not None:
            return x, y, x + width, y + height
    return None


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        try:
            value = float(value.strip())
        except ValueError:
            return None
    return value if _is_number(value) else None


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return -LARGEST <= value <= LARGEST  # which NaN is not either


def is_box(value: Any) -> bool:
    """Whether these are four numbers."""
    return isinstance(value, list) and len(value) == 4 and all(map(_is_number, value))


def boxes_in(text: str) -> list[Box]:
    """Return the boxes whose numbers a text holds, four after four."""
    numbers = [int(one) if one.is_integer() else one for one in map(float, _NUMBERS.findall(text))]
    fours = [numbers[at : at + 4] for at in range(0, len(numbers), 4)]
    return [_as_box(four) for four in fours if is_box(four)]


def _as_box(numbers: Iterable[Any]) -> Box:
    x1, y1, x2, y2 = numbers
    return x1, y1, x2, y2


def _name_of(value: Mapping[str, Any]) -> str | None:
    by_name = {str(key).lower(): inner for key, inner in value.items()}
    for key in NAME_KEYS:
        name = by_name.get(key)
        if isinstance(name, str) and name.strip():
            return name.strip()
        if isinstance(name, int | float) and not isinstance(name, bool):
            return str(name)
    return None


def _names_beside(value: Mapping[str, Any], count: int) -> list[str] | None:
    """Return the names of an object that lists boxes and names apart: `{"bboxes": [...], "labels": [...]}`."""
    for key, inner in value.items():
        if str(key).lower().removesuffix("s") in NAME_KEYS and isinstance(inner, list) and len(inner) == count:
            return [*map(str, inner)]
    return None


def without_degenerate(objects: Sequence[tuple[str | None, Box]]) -> list[tuple[str | None, Box]]:
    """Return the objects whose boxes have an area."""
    return [(name, box) for name, box in objects if box[0] != box[2] and box[1] != box[3]]
