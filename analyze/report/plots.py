"""Charts of counts and of shares against shares: numbers in, a `Drawing` out. Knows no records and no language.

They stand beside their table, on a phone above it, and are drawn once, for the width of a phone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from analyze.report.style import NARROW_PX, SMALL_PX
from analyze.report.svg import Anchor, Dot, Drawing, Line, Rect, Shape, Text, fit, text_width

_LEFT, _RIGHT, _TOP, _BELOW = 44, 12, 14, 42  # px around the field of a plot; below: scale and what it is of
_ROW = 44
_QUARTERS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, slots=True)
class Count:
    """One bar; `text` stands at its end. Hollow bars are of what is not there."""

    label: str
    count: int
    text: str
    is_absent: bool = False


@dataclass(frozen=True, slots=True)
class Spot:
    """A share against a share, with the interval of the second; `text` stands beside it."""

    x: float
    y: float
    low: float
    high: float
    text: str = ""


def bars(rows: Sequence[Count], *, label: str, width: int = NARROW_PX) -> Drawing:
    """Draw counts as bars from one line, labels above them; the largest is as wide as the drawing."""
    most = max((row.count for row in rows), default=0) or 1
    shapes: list[Shape] = []
    for index, row in enumerate(rows):
        y = index * _ROW
        shapes.append(Text(0, y + 15, fit(row.label, width - text_width(row.text, SMALL_PX) - 32)))
        shapes.append(Text(width, y + 15, row.text, "muted", SMALL_PX, "end"))
        long = max((width - 1) * row.count / most, 0.5 if row.count else 0)
        if long:
            ink, outline = ("paper", "axis") if row.is_absent else ("axis", None)
            shapes.append(Rect(0.5, y + 22, long, 14, ink, outline))
    return Drawing(width, max(1, _ROW * len(rows)), tuple(shapes), label)


@dataclass(frozen=True, slots=True)
class _Field:
    """The square in which shares stand: 0 to 1 from left to right, and upwards."""

    width: int
    height: int

    def x(self, share: float) -> float:
        return _LEFT + (self.width - _LEFT - _RIGHT) * share

    def y(self, share: float) -> float:
        return _TOP + (self.height - _TOP - _BELOW) * (1 - share)

    def scales(self, below: str, beside: Callable[[float], str] | None) -> Iterable[Shape]:
        """Yield the lines of a scale of percent below, of another beside where there is one, and what is below."""
        for share in _QUARTERS:
            if beside is not None:
                yield Line(self.x(0), self.y(share), self.x(1), self.y(share), "grid")
                yield Text(self.x(0) - 6, self.y(share) + 4.5, beside(share), "muted", SMALL_PX, "end")
            anchor: Anchor = "end" if share == 1 else "middle"
            shift = _RIGHT if share == 1 else 0
            yield Text(self.x(share) + shift, self.y(0) + 16, f"{share:.0%}", "muted", SMALL_PX, anchor)
        yield Line(self.x(0), self.y(0), self.x(1), self.y(0), "axis")
        yield Text(self.x(0.5), self.height - 4, below, "muted", SMALL_PX, "middle")


def histogram(counts: Sequence[int], *, below: str, label: str, width: int = NARROW_PX) -> Drawing:
    """Draw how many values lie in each of as many equal parts of 0..1; `below` names the values."""
    field, most = _Field(width, 220), max(counts, default=0) or 1
    shapes: list[Shape] = [*field.scales(below, lambda share: f"{most * share:,.0f}" if share in (0, 1) else "")]
    for index, count in enumerate(counts):
        left, right = field.x(index / len(counts)), field.x((index + 1) / len(counts))
        if count:
            high = max(field.y(0) - field.y(count / most), 1)
            shapes.append(Rect(left + 0.5, field.y(0) - high, right - left - 1, high, "axis"))
    return Drawing(width, field.height, tuple(shapes), label)


def shares(spots: Sequence[Spot], *, below: str, label: str, diagonal: bool = False, width: int = NARROW_PX) -> Drawing:
    """Draw shares against shares with their intervals; `below` names those from left to right.

    `diagonal`: with the line on which both are equal.
    """
    field = _Field(width, width)
    shapes: list[Shape] = [*field.scales(below, lambda share: f"{share:.0%}")]
    if diagonal:
        shapes.append(Line(field.x(0), field.y(0), field.x(1), field.y(1), "text", 1.0, dashed=True))
    for spot in spots:
        x = field.x(spot.x)
        shapes.append(Line(x, field.y(spot.low), x, field.y(spot.high), "text", 2))
        shapes += [Line(x - 4, field.y(end), x + 4, field.y(end), "text", 2) for end in (spot.low, spot.high)]
        shapes.append(Dot(x, field.y(spot.y), 5, "text"))
        if spot.text:
            shapes.append(Text(x - 9, field.y(spot.y) + 4.5, spot.text, "muted", SMALL_PX, "end"))
    return Drawing(width, field.height, tuple(shapes), label)
