"""`parse_reply`: the objects in what a model said about an image, as it gave them.

    raw ──> without thinking ──> special tokens? ──> fenced block, else anywhere ──> values ──> objects
Every repair is flagged. A list without objects is an answer; a reply in which none can be read is an error. Knows no
image: what the numbers measure is decided by `coordinates`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from analyze.annotate.finding import Finding, find, is_open
from analyze.annotate.shapes import Shapes, boxes_in, shapes_in, without_degenerate

NO_OBJECTS = "no list of objects can be read in it"
CUT_OFF = "it was cut off before the first whole object"
STILL_THINKING = "it ended before its thinking did"
NO_BOXES = "what it lists has no boxes of four numbers"

_THINKS = re.compile(r"<(?:think|thinking|thought)>|◁think▷|\[THINK\]")
_THOUGHT = re.compile(r"</(?:think|thinking|thought)>|◁/think▷|\[/THINK\]")
_FENCE = re.compile(r"(?ms)^[ \t]*```[^\n`]*\r?\n(.*?)(?:^[ \t]*```|\Z)|```(?:json)?(.*?)```")
_WRAPPERS = re.compile(r"<\|(?:begin_of_box|end_of_box|im_end|endoftext|eot_id)\|>")
_TOKENS = re.compile(
    r"(?s)(?:(?:<\|object_ref_start\|>|<\|ref\|>|<ref>)(?P<name>.{0,200}?)(?:<\|object_ref_end\|>|<\|/ref\|>|</ref>)\s*)?"
    r"(?:(?P<det><\|det\|>)|<\|box_start\|>|<box>)(?P<boxes>.*?)(?:<\|box_end\|>|<\|/det\|>|</box>|\Z)"
)
_HAS_TOKENS = re.compile(r"(?:<\|box_start\|>|<\|det\|>|<box>)[\s\[({<]*-?\d")
_WAS_CUT = {"stop": False, "length": True, "repetition": True}
"""Whether a reply was cut off, by its `finish_reason`; where that says nothing, its looks do."""

_RATIONALE = re.compile(r'"rationale"\s*:\s*("(?:[^"\\]|\\.)*")')
_RATIONALE_KEYS = ("rationale", "reasoning", "explanation", "spatial_reasoning")


@dataclass(frozen=True, slots=True)
class Reply:
    """What a reply says. `objects`: `{"name", "bbox"}` each, as the model gave them, those without an area and those
    said twice left out; `error`: why there are none that can be trusted, None where the list is an answer.

    `coords` names the scale that special tokens have, where the reply is in them.
    """

    objects: list[dict[str, Any]] = field(default_factory=list)
    rationale: str = ""
    flags: tuple[str, ...] = ()
    error: str | None = None
    coords: str | None = None


def parse_reply(raw: str | None, *, finish_reason: str | None = None) -> Reply:
    """Return the objects in the raw text of a reply.

    `finish_reason`: how the server says that it ended. Of a reply that was cut off only whole objects are taken. Never
    raises.
    """
    was_cut = _WAS_CUT.get(finish_reason or "")
    if raw is not None and _is_one_value(raw):  # whatever marks stand in its strings, they mark nothing
        return _read(raw, [], was_cut=was_cut)
    text = _without_thinking(raw or "")
    if text is None:
        return Reply(flags=("truncated", "parse_failed"), error=STILL_THINKING)
    text = _unquoted(_WRAPPERS.sub("", text))
    if _HAS_TOKENS.search(text):
        return _told(*_in_tokens(text), was_cut=was_cut or False)
    fenced = [match for match in _FENCE.finditer(text) if (match[1] or match[2] or "").strip()]
    return _read(text, fenced, was_cut=was_cut)


def _is_one_value(raw: str) -> bool:
    """Whether a reply is one JSON object or list, all of it."""
    text = raw.strip()
    if text[:1] not in ("{", "["):
        return False
    try:
        json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return False
    return True


def _read(text: str, fenced: Sequence[re.Match[str]], *, was_cut: bool | None) -> Reply:
    """Return what a text says, in its last fenced block if one of them says anything."""
    finding, before = None, ""
    for match in reversed(fenced):
        block = match[1] or match[2]
        other = find(block, was_cut=was_cut)
        if finding is None and other is not None:
            finding, before = other, text[: match.start()] + block[: other.start]
        elif finding is not None and other is not None and len(shapes_in(other.value)):
            finding = replace(finding, flags=finding.flags | {"several_lists"})
            break
    is_cut = was_cut if was_cut is not None else is_open(fenced[-1][1] or fenced[-1][2] if fenced else text)
    if finding is None:
        finding = find(text, was_cut=was_cut)
        before = "" if finding is None else text[: finding.start]
    if finding is None:
        flags = ("truncated", "parse_failed") if is_cut else ("parse_failed",)
        return Reply(flags=flags, error=CUT_OFF if is_cut else NO_OBJECTS)
    rationale = _rationale(finding.value) or _prose(before)
    return _told(shapes_in(finding.value), rationale, finding=finding, was_cut=is_cut)


def _without_thinking(raw: str) -> str | None:
    """Return what was said after thinking, or before it where that was all; None where it was never done.

    The tag that begins it may have been the prompt's.
    """
    *_, last = (None, *_THOUGHT.finditer(raw))
    text = raw if last is None else raw[last.end() :]
    if _THINKS.search(text):
        return None
    if text.strip() or last is None or (first := _THINKS.search(raw)) is None:
        return text
    return raw[: first.start()]


def _unquoted(text: str) -> str:
    """Return what a reply says that is one JSON string, all of it."""
    if not text.lstrip().startswith('"'):
        return text
    try:
        inner = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return text
    return inner if isinstance(inner, str) else text


def _in_tokens(text: str) -> tuple[Shapes, str, str | None]:
    """Return the objects of a reply in the special tokens of grounding models, and what scale those have."""
    shapes, coords = Shapes(), None
    first = _TOKENS.search(text)
    for match in _TOKENS.finditer(text):
        name = (match["name"] or "").strip() or None
        if match["det"]:
            coords = "norm999"
        boxes = boxes_in(match["boxes"])
        shapes.found += [(name, box) for box in boxes]
        if not boxes:
            shapes.dropped["malformed"] += 1
    return shapes, text[: first.start()].strip() if first else "", coords


def _told(
    shapes: Shapes, rationale: str, coords: str | None = None, *, finding: Finding | None = None, was_cut: bool
) -> Reply:
    """Return the reply: what has no area or was said before is left out, and flagged."""
    flags = [*sorted(shapes.flags | (finding.flags if finding else frozenset()))]
    kept = without_degenerate(shapes.found)
    dropped = shapes.dropped.copy()
    dropped["degenerate"] += len(shapes.found) - len(kept)
    unique = [*dict.fromkeys(kept)]
    if was_cut:
        flags.append("truncated")
    flags += [f"dropped:{why}" for why, count in sorted(dropped.items()) if count]
    if len(unique) < len(kept):
        flags.append(f"deduplicated:{len(kept) - len(unique)}")
    if any(name is None for name, _ in unique):
        flags.append("unnamed")
    error = None
    if not unique and was_cut:
        error = CUT_OFF
    elif not unique and shapes.dropped["malformed"]:
        error = NO_BOXES
    if error is not None:
        flags.append("parse_failed")
    objects = [{"name": name or "", "bbox": list(box)} for name, box in unique]
    return Reply(objects, rationale, tuple(flags), error, coords)


def _rationale(value: Any) -> str:
    """Return the reasons that an answer gives in its own field."""
    if not isinstance(value, dict):
        return ""
    said = next((value[key] for key in value if str(key).lower() in _RATIONALE_KEYS), None)
    return said.strip() if isinstance(said, str) else ""


def _prose(before: str) -> str:
    """Return what was said before the objects: reasons in prose, or in the field of an object that was not finished."""
    field = _RATIONALE.search(before)
    if field is not None:
        return _unquoted(field[1]).strip()
    text = before.strip().strip("`").strip()
    return "" if text.startswith(("{", "[")) else text
