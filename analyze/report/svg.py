"""Drawings: a few shapes at fixed places, and SVG made of them. Knows no data, no language, no theme.

A chart is drawn once, as a `Drawing`. SVG is written here and PNG in `png.py` from the same shapes, so the two
can never disagree. Handing charts to a plotting library would give one picture for one ground: it knows neither
the reader's dark theme nor a phone's width, and its SVG is 20 times the size.

Inks are names of `style.INKS`. On a page they follow the page's theme through CSS classes; a file of its own
carries a small style sheet with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from html import escape
from typing import Literal

from analyze.report.style import FONT_STACK, TEXT_PX, css_inks_alone

Anchor = Literal["start", "middle", "end"]


@dataclass(frozen=True, slots=True)
class Rect:
    x: float
    y: float
    width: float
    height: float
    ink: str
    outline: str | None = None


@dataclass(frozen=True, slots=True)
class Line:
    x1: float
    y1: float
    x2: float
    y2: float
    ink: str
    width: float = 1.0
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Dot:
    x: float
    y: float
    radius: float
    ink: str
    hollow: bool = False


@dataclass(frozen=True, slots=True)
class Text:
    """`y` is the baseline."""

    x: float
    y: float
    text: str
    ink: str = "text"
    size: int = TEXT_PX
    anchor: Anchor = "start"


Shape = Rect | Line | Dot | Text


@dataclass(frozen=True, slots=True)
class Drawing:
    """Shapes on a ground of `width` × `height` px, the later over the earlier; `label` says in words what it shows.

    `margin` px of paper around that ground belong to a drawing that stands alone.
    """

    width: int
    height: int
    shapes: tuple[Shape, ...]
    label: str
    margin: int = 0


_MARGIN_PX = 48
_TITLE_PX = 17


def titled(drawing: Drawing, title: str, note: str = "") -> Drawing:
    """Return the drawing with a margin and a title in it, to stand alone. `note` is what must be said with it."""
    head = [Text(0, -26 if note else -16, fit(title, drawing.width, _TITLE_PX), size=_TITLE_PX)]
    if note:
        head.append(Text(0, -8, fit(note, drawing.width), "loss"))
    return replace(drawing, shapes=(*head, *drawing.shapes), margin=_MARGIN_PX)


# A wide character (Han, kana, full-width signs) takes one em, others a little over half: enough to place labels.
_WIDE = re.compile(r"[\u1100-\u115f\u2e80-\uffdc\U0001f000-\U0003ffff]")


def text_width(text: str, size: int = TEXT_PX) -> float:
    """Return about how many px `text` takes at `size`; within 10 % for the fonts that pages ask for."""
    wide = len(_WIDE.findall(text))
    return size * (wide + 0.56 * (len(text) - wide))


def fit(text: str, width: float, size: int = TEXT_PX) -> str:
    """Return `text`, cut with an ellipsis where it would be wider than `width` px."""
    if text_width(text, size) <= width:
        return text
    text = text[: int(width)]  # no sign is narrower than a px
    while text and text_width(text + "…", size) > width:
        text = text[:-1]
    return text.rstrip() + "…"


def inline(drawing: Drawing, css_class: str) -> str:
    """Return the drawing as an `<svg>` element for a page that has the inks' classes."""
    return (
        f'<svg class="{css_class}" role="img" aria-label="{escape(drawing.label)}" '
        f'viewBox="0 0 {drawing.width} {drawing.height}" width="{drawing.width}" height="{drawing.height}">'
        f"{_body(drawing.shapes)}</svg>"
    )


def alone(drawing: Drawing) -> str:
    """Return the drawing as a file of its own: its own inks, on paper."""
    around = drawing.margin
    width, height = drawing.width + 2 * around, drawing.height + 2 * around
    ground = Rect(-around, -around, width, height, "paper")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{escape(drawing.label)}" '
        f'viewBox="{-around} {-around} {width} {height}" width="{width}" height="{height}">'
        f"<style>text{{font-family:{FONT_STACK}}}{css_inks_alone()}</style>"
        f"{_body((ground, *drawing.shapes))}</svg>\n"
    )


def _body(shapes: Iterable[Shape]) -> str:
    return "".join(map(_element, shapes))


def _element(shape: Shape) -> str:
    match shape:
        case Rect(x, y, width, height, ink, outline):
            stroke = f" s-{outline}" if outline else ""
            return f'<rect class="f-{ink}{stroke}" x="{x:.4g}" y="{y:.4g}" width="{width:.4g}" height="{height:.4g}"/>'
        case Line(x1, y1, x2, y2, ink, width, dashed):
            dash = ' stroke-dasharray="3 3"' if dashed else ""
            return (
                f'<line class="s-{ink}" x1="{x1:.4g}" y1="{y1:.4g}" x2="{x2:.4g}" y2="{y2:.4g}" '
                f'stroke-width="{width:g}"{dash}/>'
            )
        case Dot(x, y, radius, ink, hollow):
            paint = f'class="f-paper s-{ink}" stroke-width="2"' if hollow else f'class="f-{ink}"'
            return f'<circle {paint} cx="{x:.4g}" cy="{y:.4g}" r="{radius:g}"/>'
        case Text(x, y, text, ink, size, anchor):
            small = f' font-size="{size}"'
            where = "" if anchor == "start" else f' text-anchor="{anchor}"'
            return f'<text class="f-{ink}" x="{x:.4g}" y="{y:.4g}"{small}{where}>{escape(text)}</text>'
