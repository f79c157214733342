"""Values in what a model said: JSON, wherever it stands in the text, whole, cut off, or nearly JSON.

    text ──> JSON values at any bracket that begins one ──> those that hold boxes: the last list, else all objects
                └──> Python's notation, `json_repair`, where brackets close and no JSON begins there
Nothing is invented: where the text was cut off, only what is complete is taken.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

from analyze.annotate.shapes import Several, has_boxes, is_box, is_single, says_nothing_is_there, shapes_in

_BRACKET = re.compile(r"[\[{]")
_NAME = re.compile(r"([^\[\](){},;.:：*`\"-]*[^\s\[\](){},;.:：*`\"-])[\"*`]*\s*[:：]\s*$")
LONGEST_NAME = 80
_CLOSING = {"]": "[", "}": "{"}
LONGEST_REPAIRED = 200_000
"""Characters that are given to `json_repair`: its time grows faster than the text, and replies are a few thousand."""

DEEPEST_REPAIRED = 64
"""Brackets within brackets that are given to it: 10,000 of them take it 2 s, and an answer has four."""

_WIDE = str.maketrans("：，“”０１２３４５６７８９", ':,""0123456789')
"""What Chinese models write in the place of JSON's own signs."""

MOST_STARTS = 20_000
"""Brackets at which a value is looked for: a reply that repeats `[` to its end must not take minutes."""


DEEP_CHARS = 500
"""Characters that are passed over where brackets are nested deeper than Python reads (1,000 in 3.11): what begins in
them is as deep, and each try costs as much as the one before."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The value that holds the answer, where in the text it begins, and what had to be done to read it."""

    value: Any
    start: int
    flags: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _Value:
    value: Any
    start: int
    end: int
    is_inside: bool  # a bracket before it begins no JSON: it may be a part of something broken


def _pairs(pairs: list[tuple[str, Any]]) -> Any:
    """Return an object; where a key comes twice, one each time: parsers keep the last one only."""
    whole = dict(pairs)
    if len(whole) == len(pairs):
        return whole
    parts: list[dict[str, Any]] = [{}]
    for key, value in pairs:
        if key in parts[-1]:
            parts.append({})
        parts[-1][key] = value
    return Several(parts)


_decoder = json.JSONDecoder(object_pairs_hook=_pairs, strict=False)


def find(text: str, *, was_cut: bool | None) -> Finding | None:
    """Return what a text says about objects; None where it says nothing that can be read.

    `was_cut`: whether the model was stopped before its end; None: by the looks of the text.
    """
    values = [*_values(text)]
    cut = is_open(text) if was_cut is None else was_cut
    broken = any(value.is_inside for value in values) or (not values and _BRACKET.search(text) is not None)
    finding = _chosen(text, values, cut=cut)
    if cut:
        return _with_last(text, values, finding)
    if broken or finding is None:
        finding = _better(finding, _repaired(text))
    return finding


def is_open(text: str) -> bool:
    """Whether a text ends before its brackets do. One that ends in all the brackets that it needs, though in a string,
    was not cut: a quotation mark in the string is what is wrong."""
    start = _BRACKET.search(text)
    if start is None:
        return False
    open_brackets: list[str] = []
    open_of = {"[": 0, "{": 0}
    in_string = escaped = False
    for char in text[start.start() :]:
        if in_string:
            in_string = escaped or char != '"'
            escaped = char == "\\" and not escaped
        elif char == '"':
            in_string = bool(open_brackets)
        elif char in "[{":
            open_brackets.append(char)
            open_of[char] += 1
        elif char in _CLOSING and open_of[_CLOSING[char]]:
            closed = ""
            while closed != _CLOSING[char]:
                closed = open_brackets.pop()
                open_of[closed] -= 1
    needed = "".join("]" if bracket == "[" else "}" for bracket in reversed(open_brackets))
    return bool(needed) and not (in_string and "".join(text.split()).endswith(needed))


def _values(text: str) -> Iterator[_Value]:
    """Yield every JSON value that begins with a bracket and is in no other."""
    at, is_inside = 0, False
    for _ in range(MOST_STARTS):
        bracket = _BRACKET.search(text, at)
        if bracket is None:
            return
        start = bracket.start()
        try:
            value, end = _decoder.raw_decode(text, start)
        except RecursionError:
            at, is_inside = start + DEEP_CHARS, True
            continue
        except ValueError:
            at, is_inside = start + 1, is_inside or _looks_like_json(text, start)
            continue
        yield _Value(value, start, end, is_inside)
        at = end


def _looks_like_json(text: str, start: int) -> bool:
    """Whether a bracket begins something that was meant to be JSON, not a remark in prose."""
    after = text[start + 1 : start + 40].lstrip()
    return not after or after.startswith('\\"') or after[0] in "[{\"'" or after[0].isdigit() or after[0] in "-/#"


def _chosen(text: str, values: list[_Value], *, cut: bool) -> Finding | None:
    """Return the last list of objects; where there is none, all objects that stand alone; else boxes told in prose."""
    told = [one for one in values if has_boxes(one.value) and not _is_a_part(one)]
    last = None if cut or not values or values[-1].is_inside else values[-1].value
    if last and says_nothing_is_there(last) and not len(shapes_in(last)):
        # {"objects": []}: what was said before was a draft, or thought aloud
        has_draft = any(one is not values[-1] and not is_box(one.value) for one in told)
        return Finding(_texts_of(last), values[-1].start, frozenset({"several_lists"} if has_draft else ()))
    lists = [one for one in told if not is_single(one.value) and not is_box(one.value)]
    if lists and not cut:
        flags = {"several_lists"} if len(lists) > 1 else set()
        return Finding(lists[-1].value, lists[-1].start, frozenset(flags | _repair_flag(lists[-1:])))
    told = [one for one in told if not is_box(one.value)] or [_named_in_prose(text, one) for one in told]
    if told:
        value = told[0].value if len(told) == 1 else [one.value for one in told]
        return Finding(value, told[0].start, frozenset(set() if cut else _repair_flag(told)))
    if last is not None and says_nothing_is_there(last):
        return Finding([], values[-1].start)
    return None


def _texts_of(value: Any) -> Any:
    """Return the fields of an object without objects that are text: its reasons are among them."""
    return {key: inner for key, inner in value.items() if isinstance(inner, str)}


def _named_in_prose(text: str, one: _Value) -> _Value:
    """Return a box that stands alone with the name before it, as in `- cat: [1, 2, 3, 4]`."""
    line = text[max(0, one.start - LONGEST_NAME) : one.start].rpartition("\n")[2]
    name = _NAME.search(line)
    return replace(one, value={"bbox": one.value, "name": name[1].strip() if name else None})


def _is_a_part(one: _Value) -> bool:
    """Whether these are bare numbers inside of something broken: they may be the box of an object, or half of one."""
    return one.is_inside and all(name is None for name, _ in shapes_in(one.value).found)


def _repair_flag(values: list[_Value]) -> set[str]:
    return {"repaired"} if any(one.is_inside for one in values) else set()


def _with_last(text: str, values: list[_Value], finding: Finding | None) -> Finding | None:
    """Add the last object of a text that was cut off, where all but its bracket is there."""
    start = text.rfind("{")
    if start < 0 or any(value.start <= start < value.end for value in values):
        return finding
    try:
        last, _ = _decoder.raw_decode(text[start:].rstrip().rstrip(",") + "}")
    except (ValueError, RecursionError):
        return finding
    if not is_single(last) or any(name is None for name, _ in shapes_in(last).found):
        return finding
    if finding is None:
        return Finding([last], start)
    if start > finding.start:
        known = finding.value if isinstance(finding.value, list) else [finding.value]
        return Finding([*known, last], finding.start, finding.flags)
    return finding


def _repaired(text: str) -> Finding | None:
    """Return what is found when a text is read as Python would, or by `json_repair`."""
    first = next((one for one in _BRACKET.finditer(text) if _looks_like_json(text, one.start())), None)
    if first is None:
        return None
    start, end = first.start(), max(text.rfind("]"), text.rfind("}")) + 1
    part = text[start:end]
    if not part or len(part) > LONGEST_REPAIRED or _depth(part) > DEEPEST_REPAIRED:
        return None
    value = _respelt(part)
    if value is None:
        value = _by_python(part)
    if value is None:
        value = _by_json_repair(part)
    return Finding(value, start, frozenset({"repaired"})) if has_boxes(value) else None


def _depth(text: str) -> int:
    """Return how many brackets stand within each other, those in strings too."""
    return max(accumulate((char in "[{") - (char in "]}") for char in text), default=0)


def _respelt(part: str) -> Any:
    """Return the value of a text that is JSON but for its full-width signs, or for quotation marks that are escaped
    once too often."""
    for other in (part.translate(_WIDE), part.replace('\\"', '"').replace("\\n", "\n")):
        try:
            value, _ = _decoder.raw_decode(other)
        except (ValueError, RecursionError):
            continue
        if has_boxes(value):
            return value
    return None


def _by_python(part: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd escapes
            return _as_lists(ast.literal_eval(part))
    except Exception:  # noqa: BLE001 - what is no Python fails in many ways, and in new ones with each version
        return None


def _by_json_repair(part: str) -> Any:
    from json_repair import repair_json

    try:
        return repair_json(part, return_objects=True, skip_json_loads=True)
    except Exception:  # noqa: BLE001 - a parser of guesses may raise anything; what it cannot read is not read
        return None


def _as_lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _as_lists(inner) for key, inner in value.items()}
    return [*map(_as_lists, value)] if isinstance(value, list | tuple) else value


def _better(one: Finding | None, other: Finding | None) -> Finding | None:
    """Return what holds more objects; of equals the one that was read as it stands."""
    if one is None or other is None:
        return one or other
    return other if len(shapes_in(other.value)) > len(shapes_in(one.value)) else one
