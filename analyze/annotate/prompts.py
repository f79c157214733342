"""What is asked about an image: the picture first, then a prompt that names the scale its boxes are to have.

In a prompt `{scale}` and `{corners}` stand for how this model writes boxes, `{width}` and `{height}` for the size of
the image as it is sent, `{caption}` for the caption of its row, which goes in as data (`inert`). Knows no server.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from analyze.annotate.families import Coords
from analyze.inert import inert
from analyze.lang import Lang

CAPTION = "{caption}"
NAME_CHARS, RATIONALE_CHARS, MOST_OBJECTS = 80, 120, 100
"""Of a reply that is held to the form. A class that may come more than 128 times makes xgrammar allow tokens that it
then rejects, which is HTTP 500 (`judge.schema`)."""
LOOPS = {"max_pattern_size": 64, "min_count": 8}
"""What counts as a loop, in tokens: an object of a list takes about 40, and nobody means one eight times."""

_CHARACTER = "[ !#-\\[\\]-~\u00a1-\ud7ff\uf900-\ufffd]"
"""What a string of JSON holds without escapes. xgrammar fails on a class that says what it is not (0.2.8)."""

_SUFFIX: dict[Lang, str] = {"en": "", "zh": ".zh"}
_SCALE: dict[Lang, dict[Coords, str]] = {
    "en": {
        "norm1000": "whole numbers from 0 to 1000, in thousandths of the image's width and height",
        "norm999": "whole numbers from 0 to 999, in relation to the image's width and height",
        "unit": "numbers from 0 to 1, as shares of the image's width and height",
        "resized_px": "in pixels of the image, which is {width} wide and {height} high",
        "original_px": "in pixels of the image, which is {width} wide and {height} high",
    },
    "zh": {
        "norm1000": "用 0 到 1000 的整数表示，以图片宽高的千分之一为单位",
        "norm999": "用 0 到 999 的整数表示，相对于图片的宽高",
        "unit": "用 0 到 1 的小数表示，即占图片宽高的比例",
        "resized_px": "以图片像素为单位，图片宽 {width}、高 {height}",
        "original_px": "以图片像素为单位，图片宽 {width}、高 {height}",
    },
}
_CORNERS = {False: "x1, y1, x2, y2", True: "y1, x1, y2, x2"}
_Y_FIRST: dict[Lang, tuple[str, str]] = {
    "en": ("the left, top, right and bottom edge", "the top, left, bottom and right edge"),
    "zh": ("依次是左、上、右、下边缘", "依次是上、左、下、右边缘"),
}


def default_prompt(lang: Lang) -> str:
    """Return the prompt that comes with the program."""
    return files("analyze.annotate").joinpath("prompts", f"annotate{_SUFFIX[lang]}.txt").read_text(encoding="utf-8")


def for_model(prompt: str, coords: Coords, lang: Lang, *, is_y_first: bool = False) -> str:
    """Return a prompt with what this model must know of boxes filled in."""
    if is_y_first:
        prompt = prompt.replace(*_Y_FIRST[lang])
    return prompt.replace("{scale}", _SCALE[lang][coords]).replace("{corners}", _CORNERS[is_y_first])


def messages(prompt: str, url: str, size: tuple[int, int], caption: str | None) -> list[dict[str, Any]]:
    """Return the chat that asks about one image; `size`: the width and height that boxes in pixels refer to."""
    before, place, after = prompt.partition(CAPTION)
    text = _sized(before, size) + (inert(caption or "") + _sized(after, size) if place else "")
    image = {"type": "image_url", "image_url": {"url": url}}
    return [{"role": "user", "content": [image, {"type": "text", "text": text.strip()}]}]


def _sized(text: str, size: tuple[int, int]) -> str:
    return text.replace("{width}", str(size[0])).replace("{height}", str(size[1]))


def sampling(temperature: float, max_tokens: int) -> Mapping[str, Any]:
    """Return the fields of a request that say how it is answered. A model that repeats itself is stopped."""
    return {"temperature": temperature, "max_tokens": max_tokens, "repetition_detection": LOOPS}


def constraint(coords: Coords) -> Mapping[str, Any]:
    """Return the field of a request that holds a reply to the form. Strings are bounded by patterns, never `maxLength`:
    that lets control characters through (xgrammar#800)."""
    number: dict[str, Any] = {"type": "integer", "minimum": 0, "maximum": 99_999}
    if coords in ("norm1000", "norm999"):
        number["maximum"] = int(coords.removeprefix("norm"))
    if coords == "unit":
        number = {"type": "number", "minimum": 0, "maximum": 1}
    item = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "pattern": _text(1, NAME_CHARS)},
            "bbox": {"type": "array", "items": number, "minItems": 4, "maxItems": 4},
        },
        "required": ["name", "bbox"],
        "additionalProperties": False,
    }
    schema = {
        "type": "object",
        "properties": {
            "rationale": {"type": "string", "pattern": _text(0, RATIONALE_CHARS)},
            "objects": {"type": "array", "items": item, "maxItems": MOST_OBJECTS},
        },
        "required": ["rationale", "objects"],
        "additionalProperties": False,
    }
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "annotation", "schema": schema}}}


def _text(least: int, most: int) -> str:
    return f"^{_CHARACTER}{{{least},{most}}}$"
