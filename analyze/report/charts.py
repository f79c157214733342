"""The charts: numbers in, a `Drawing` out. Knows shapes and inks; no records, no files, no language of its own.

Every chart takes the width it will be shown at. Wide ones have their labels to the left of the marks, narrow
ones above them, so both keep text at its natural size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from analyze.report.style import SMALL_PX, WIDE_PX
from analyze.report.svg import Anchor, Dot, Drawing, Line, Rect, Shape, Text, fit, text_width

# Left column of a wide chart: 20 Latin or 11 Han characters; as many as 35 or 19 where a label is so long.
_LABEL_PX, _MOST_LABEL_PX = 172, 280
_VALUE_PX = 132  # right column: "0.62 (0.55–0.70)", or wider
_PAD = 10
_GAP = 24  # between a label and the marks
_NO_DIFFERENCE = 0.5


@dataclass(frozen=True, slots=True)
class Bar:
    """One row of stacked bars: counts by ink, in drawing order, and what stands at the end of the bar."""

    label: str
    counts: Sequence[tuple[str, int]]
    text: str


@dataclass(frozen=True, slots=True)
class Point:
    """One row of a dot chart: an estimate with its interval, each None where there is none.

    `side` is what may be said of it: 1 the target is better, -1 a rival is, 0 neither. An interval alone does not tell.
    """

    label: str
    value: float | None
    low: float | None
    high: float | None
    text: str
    side: int = 0


@dataclass(frozen=True, slots=True)
class Twin:
    """One row of a two-dot chart: the target's share and the rivals', 0 to 1."""

    label: str
    target: float
    rival: float
    text: str


@dataclass(frozen=True, slots=True)
class Gauge:
    """One row of a chart of conditions on shares, 0 to 1: an estimate with its interval.

    `good` is from where to where it is good; `is_sure` tells that the whole interval lies inside of that, or outside.
    """

    label: str
    value: float | None
    low: float | None
    high: float | None
    text: str
    good: tuple[float, float]
    is_sure: bool

    @property
    def edge(self) -> float | None:
        """The end of the good band that lies inside the scale."""
        return next((end for end in self.good if 0 < end < 1), None)


@dataclass(frozen=True, slots=True)
class Mark:
    """A share, 0 to 1, with its interval, each None where there is none."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Pull:
    """One row of a chart of what an edit moves: toward the edited side, and away from it where it is one side."""

    label: str
    toward: Mark
    away: Mark | None
    text: str


class _Row(Protocol):
    @property
    def label(self) -> str: ...

    @property
    def text(self) -> str: ...


def _left(width: int, rows: Sequence[_Row]) -> float:
    """Return where the marks begin."""
    longest = max((text_width(row.label) for row in rows), default=0.0)
    return min(max(_LABEL_PX, longest + _GAP), _MOST_LABEL_PX) if width >= WIDE_PX else _PAD


def _right(width: int, rows: Sequence[_Row]) -> float:
    """Return where the marks end."""
    longest = max((text_width(row.text, SMALL_PX) for row in rows), default=0.0)
    return width - (min(max(_VALUE_PX, longest + _GAP), _MOST_LABEL_PX) if width >= WIDE_PX else _PAD)


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where things stand: the band of marks from `left` to `right`, rows of `row` px below `top`."""

    width: int
    wide: bool
    left: float
    right: float
    row: int
    top: int

    @classmethod
    def of(cls, width: int, top: int, rows: Sequence[_Row]) -> _Frame:
        wide = width >= WIDE_PX
        return cls(width, wide, _left(width, rows), _right(width, rows), 32 if wide else 50, top)

    def middle(self, index: int) -> float:
        """Return the y of the middle of a row's marks."""
        return self.top + self.row * index + (self.row / 2 if self.wide else 34)

    def bottom(self, rows: int) -> float:
        return self.top + self.row * rows

    def x(self, share: float) -> float:
        return self.left + (self.right - self.left) * share

    def names(self, index: int, label: str, value: str) -> Iterable[Shape]:
        """Yield a row's label and its value: beside the marks where there is room, above them where there is none."""
        if self.wide:
            y = self.middle(index) + 4.5
            yield Text(0, y, fit(label, self.left - _GAP))
        else:
            y = self.middle(index) - 16
            yield Text(self.left, y, fit(label, self.right - self.left - text_width(value, SMALL_PX) - 14))
        yield Text(self.width - (0 if self.wide else _PAD), y, value, "muted", SMALL_PX, "end")


def stacked_bars(
    rows: Sequence[Bar], *, legend: Sequence[tuple[str, str]], label: str, width: int = WIDE_PX
) -> Drawing:
    """Draw counts as shares of a full bar each, with a line at the half. `legend` names the inks, in order."""
    key = _legend(legend, _left(width, rows), width)
    frame = _Frame.of(width, key.height + 18, rows)
    half = frame.x(0.5)
    shapes: list[Shape] = [
        *key.shapes,
        Text(half, frame.top - 10, "50%", "muted", SMALL_PX, "middle"),
        Line(half, frame.top - 6, half, frame.bottom(len(rows)), "text", 1.0, dashed=True),
    ]
    for index, row in enumerate(rows):
        shapes += frame.names(index, row.label, row.text)
        shapes += _segments(row.counts, frame, frame.middle(index))
    return Drawing(width, round(frame.bottom(len(rows)) + 6), tuple(shapes), label)


def _segments(counts: Sequence[tuple[str, int]], frame: _Frame, middle: float) -> Iterable[Shape]:
    all_of_it = sum(count for _, count in counts)
    x, high = frame.left, 20
    for ink, count in counts:
        if not count:
            continue
        wide = (frame.right - frame.left) * count / all_of_it
        open_ = ink == "unscored"
        # A hairline of paper between neighbours: the greys of two kinds of tie stay apart in print.
        yield Rect(
            x + 0.5, middle - high / 2, max(wide - 1, 0.5), high, "paper" if open_ else ink, "axis" if open_ else None
        )
        text = str(count)
        if wide > text_width(text, SMALL_PX) + 6:
            on = "muted" if open_ else f"on_{ink.partition('_')[0]}"
            yield Text(x + wide / 2, middle + 4.5, text, on, SMALL_PX, "middle")
        x += wide


def dots(
    rows: Sequence[Point],
    *,
    ends: tuple[str, str],
    label: str,
    ticks: Callable[[float], str] = "{:g}".format,
    width: int = WIDE_PX,
) -> Drawing:
    """Draw estimates on a scale from 0 to 1 with their intervals, and the line of no difference at one half.

    `ends` names the sides of that line, `ticks` names a place on the scale.

    The scale is never cut: a difference looks as large as it is.
    """
    frame = _Frame.of(width, 30, rows)
    bottom = frame.bottom(len(rows))
    shapes: list[Shape] = [*_scale((0, 0.25, 0.5, 0.75, 1), frame, bottom, ticks)]
    line = frame.x(_NO_DIFFERENCE)
    shapes.append(Line(line, frame.top - 4, line, bottom, "text", 1.2))
    shapes.append(Text(line - 8, frame.top - 12, f"← {ends[0]}", "muted", SMALL_PX, "end"))
    shapes.append(Text(line + 8, frame.top - 12, f"{ends[1]} →", "muted", SMALL_PX))
    for index, row in enumerate(rows):
        shapes += frame.names(index, row.label, row.text)
        shapes += _whisker(row, frame, frame.middle(index))
    return Drawing(width, round(bottom + 22), tuple(shapes), label)


def _whisker(row: Point, frame: _Frame, y: float) -> Iterable[Shape]:
    if row.value is None:
        return
    ink = {1: "win", -1: "loss", 0: "axis"}[row.side]
    if row.low is not None and row.high is not None:
        yield from _span(frame.x(row.low), frame.x(row.high), y, ink)
    # A filled dot where a side is named, a hollow one where none is: colour never says it alone.
    yield Dot(frame.x(row.value), y, 5, ink, hollow=not row.side)


def gauges(rows: Sequence[Gauge], *, good: str, label: str, width: int = WIDE_PX) -> Drawing:
    """Draw shares on a scale from 0 to 100 % with their intervals, each over the band where it is good.

    `good` names that band. A dot is hollow where it is not sure on which side of the band's edge it lies.
    """
    frame = _Frame.of(width, 30, rows)
    bottom = frame.bottom(len(rows))
    shapes: list[Shape] = [
        Rect(frame.left, 3, 16, 12, "tie_true"),
        Text(frame.left + 24, 13.5, good, "muted", SMALL_PX),
        *_scale((0, 0.25, 0.5, 0.75, 1), frame, bottom, "{:.0%}".format),
    ]
    for index, row in enumerate(rows):
        y = frame.middle(index)
        start, end = frame.x(row.good[0]), frame.x(row.good[1])
        shapes.append(Rect(start, y - 10, end - start, 20, "tie_true"))
        if row.edge is not None:
            shapes.append(Line(frame.x(row.edge), y - 12, frame.x(row.edge), y + 12, "text", 1.2))
        shapes += frame.names(index, row.label, row.text)
        shapes += _mark(Mark(row.value, row.low, row.high), frame, y, hollow=not row.is_sure)
    return Drawing(width, round(bottom + 22), tuple(shapes), label)


def pulls(rows: Sequence[Pull], *, names: tuple[str, str], label: str, width: int = WIDE_PX) -> Drawing:
    """Draw shares on a scale from 0 to 100 %, two a row: filled what moved toward a side, hollow below it what away.

    `names` says what either dot is.
    """
    frame = _Frame.of(width, 52, rows)
    bottom = frame.bottom(len(rows))
    shapes: list[Shape] = [*_scale((0, 0.25, 0.5, 0.75, 1), frame, bottom, "{:.0%}".format)]
    for y, name, hollow in ((10.0, names[0], False), (30.0, names[1], True)):
        shapes.append(Dot(frame.left + 5, y, 5, "text", hollow=hollow))
        shapes.append(Text(frame.left + 16, y + 4.5, name, "muted", SMALL_PX))
    for index, row in enumerate(rows):
        y, apart = frame.middle(index), 6 if row.away else 0
        shapes += frame.names(index, row.label, row.text)
        shapes += _mark(row.toward, frame, y - apart)
        if row.away:
            shapes += _mark(row.away, frame, y + apart, hollow=True)
    return Drawing(width, round(bottom + 22), tuple(shapes), label)


def _mark(mark: Mark, frame: _Frame, y: float, *, hollow: bool = False) -> Iterable[Shape]:
    if mark.value is None:
        return
    if mark.low is not None and mark.high is not None:
        yield from _span(frame.x(mark.low), frame.x(mark.high), y, "text")
    yield Dot(frame.x(mark.value), y, 5, "text", hollow=hollow)


def _span(low: float, high: float, y: float, ink: str) -> Iterable[Shape]:
    """Yield an interval: a line with an end at each limit."""
    yield Line(low, y, high, y, ink, 2)
    yield Line(low, y - 4, low, y + 4, ink, 2)
    yield Line(high, y - 4, high, y + 4, ink, 2)


def twins(rows: Sequence[Twin], *, names: tuple[str, str], label: str, width: int = WIDE_PX) -> Drawing:
    """Draw two shares per row, joined: the target's filled in orange, the rivals' hollow in blue."""
    frame = _Frame.of(width, 34, rows)
    bottom = frame.bottom(len(rows))
    top_share = max((max(row.target, row.rival) for row in rows), default=0.0)
    ticks = _ticks(top_share)
    shapes: list[Shape] = [
        Dot(frame.left + 5, 10, 5, "loss"),
        Text(frame.left + 16, 14.5, names[0]),
        Dot(frame.left + 36 + text_width(names[0]), 10, 5, "win", hollow=True),
        Text(frame.left + 47 + text_width(names[0]), 14.5, names[1]),
        *_scale(ticks, frame, bottom, "{:.0%}".format),
    ]
    for index, row in enumerate(rows):
        y, far = frame.middle(index), ticks[-1]
        shapes += frame.names(index, row.label, row.text)
        shapes.append(Line(frame.x(row.target / far), y, frame.x(row.rival / far), y, "axis", 1.5))
        shapes.append(Dot(frame.x(row.rival / far), y, 5, "win", hollow=True))
        shapes.append(Dot(frame.x(row.target / far), y, 5, "loss"))
    return Drawing(width, round(bottom + 22), tuple(shapes), label)


def _ticks(top: float) -> list[float]:
    """Return round shares from 0 to one at or above `top`, four or five of them."""
    step = next((step for step in (0.01, 0.02, 0.05, 0.1, 0.2) if top <= 4 * step), 0.25)
    count = max(2, -(-top // step)) if top else 2
    return [step * index for index in range(int(count) + 1)]


def _scale(ticks: Sequence[float], frame: _Frame, bottom: float, name: Callable[[float], str]) -> Iterable[Shape]:
    for tick in ticks:
        share = tick / ticks[-1]
        x = frame.x(share)
        # On a phone the marks run to the edge: the outermost labels lean inwards.
        anchor: Anchor = "middle" if frame.wide or 0 < share < 1 else "start" if share == 0 else "end"
        yield Line(x, frame.top, x, bottom, "grid")
        yield Text(x, bottom + 16, name(tick), "muted", SMALL_PX, anchor)


@dataclass(frozen=True, slots=True)
class _Legend:
    shapes: tuple[Shape, ...]
    height: int


def _legend(entries: Sequence[tuple[str, str]], left: float, width: int) -> _Legend:
    """Lay the names of inks from `left` on in as many lines as `width` needs."""
    x, y = left, 0
    shapes: list[Shape] = []
    for ink, name in entries:
        wide = 18 + text_width(name, SMALL_PX)
        if x > left and x + wide > width - _PAD:
            x, y = left, y + 20
        open_ = ink == "unscored"
        shapes.append(Rect(x, y + 3, 12, 12, "paper" if open_ else ink, "axis" if open_ else None))
        shapes.append(Text(x + 18, y + 13.5, name, "muted", SMALL_PX))
        x += wide + 16
    return _Legend(tuple(shapes), y + 24)
