"""Charts stay inside their frame, keep their order, and are the same drawing in SVG and PNG."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyze.judge.issues import ISSUES
from analyze.report.charts import Bar, Gauge, Mark, Point, Pull, Twin, dots, gauges, pulls, stacked_bars, twins
from analyze.report.safe import visible
from analyze.report.style import INKS, NARROW_PX, WIDE_PX
from analyze.report.svg import Dot, Drawing, Line, Rect, Text, alone, fit, inline, text_width

SHARES = st.floats(0, 1)
WIDTHS = st.sampled_from([WIDE_PX, NARROW_PX])
NAMES = st.text(max_size=60).map(visible)
INK_NAMES = ("win", "tie_true", "tie_weak", "tie_conflict", "loss", "unscored")


def reach(drawing: Drawing) -> tuple[float, float, float, float]:
    """How far marks go to the left, right, top and bottom; texts by their anchor."""
    xs, ys = [], []
    for shape in drawing.shapes:
        match shape:
            case Rect(x, y, width, height):
                xs += [x, x + width]
                ys += [y, y + height]
            case Line(x1, y1, x2, y2):
                xs += [x1, x2]
                ys += [y1, y2]
            case Dot(x, y) | Text(x, y):
                xs.append(x)
                ys.append(y)
    return min(xs), max(xs), min(ys), max(ys)


@pytest.mark.parametrize(
    "name", ["Qwen3-Coder-30B-A3B-Instruct", *(name for issue in ISSUES.values() for name in issue)]
)
@pytest.mark.parametrize("width", [WIDE_PX, NARROW_PX])
def test_the_name_of_an_issue_or_of_a_model_is_not_cut(name: str, width: int):
    drawn = twins([Twin(name, 0.2, 0.1, "20%")], names=("a", "b"), label="", width=width)
    assert name in [shape.text for shape in drawn.shapes if isinstance(shape, Text)]


def test_a_long_value_stands_beside_the_scale_and_not_on_it():
    drawn = dots([Point("a", 0.5, 0.4, 0.6, "−0.10 (−0.25 … −0.05)")], ends=("left", "right"), label="")
    scale = max(line.x1 for line in drawn.shapes if isinstance(line, Line))
    value = next(it for it in drawn.shapes if isinstance(it, Text) and it.text.startswith("−0.10"))
    assert value.x - text_width(value.text, value.size) > scale


def check(drawing: Drawing) -> None:
    left, right, top, bottom = reach(drawing)
    assert left >= 0 and right <= drawing.width + 0.01
    assert top >= 0 and bottom <= drawing.height + 0.01
    ElementTree.fromstring(alone(drawing))
    ElementTree.fromstring(inline(drawing, "chart"))


@settings(deadline=None)
@given(st.lists(st.tuples(NAMES, SHARES, SHARES, SHARES), max_size=6), WIDTHS)
def test_dots_stay_inside_their_frame(rows: list[tuple[str, float, float, float]], width: int):
    points = [Point(name, value, min(a, value), max(b, value), "x") for name, value, a, b in rows]
    check(dots(points, ends=("left", "right"), label="<label>", width=width))


@settings(deadline=None)
@given(
    st.lists(st.tuples(NAMES, st.lists(st.integers(0, 9999), min_size=6, max_size=6)), min_size=1, max_size=6), WIDTHS
)
def test_bars_stay_inside_their_frame(rows: list[tuple[str, list[int]]], width: int):
    bars = [Bar(name, tuple(zip(INK_NAMES, counts, strict=True)), "1 · 2 · 3") for name, counts in rows]
    legend = [(ink, "a name of an ink") for ink in INK_NAMES]
    check(stacked_bars(bars, legend=legend, label="bars", width=width))


@settings(deadline=None)
@given(st.lists(st.tuples(NAMES, SHARES, SHARES), max_size=6), WIDTHS)
def test_twins_stay_inside_their_frame(rows: list[tuple[str, float, float]], width: int):
    check(twins([Twin(name, a, b, "1% · 2%") for name, a, b in rows], names=("a", "b"), label="twins", width=width))


@settings(deadline=None)
@given(st.lists(st.tuples(NAMES, SHARES, SHARES, SHARES), max_size=6), WIDTHS)
def test_gauges_and_pulls_stay_inside_their_frame(rows: list[tuple[str, float, float, float]], width: int):
    marks = [(name, Mark(value, min(a, value), max(b, value))) for name, value, a, b in rows]
    gauged = [Gauge(name, it.value, it.low, it.high, "x", good=(0.8, 1.0), is_sure=True) for name, it in marks]
    check(gauges(gauged, good="good", label="gauges", width=width))
    check(pulls([Pull(name, it, it, "1% · 2%") for name, it in marks], names=("a", "b"), label="pulls", width=width))


def test_what_an_edit_moves_toward_its_side_stands_above_what_it_moves_away():
    drawn = pulls([Pull("a", Mark(0.9, 0.8, 1.0), Mark(0.1, 0.0, 0.2), "")], names=("", ""), label="")
    toward, away = [dot for dot in drawn.shapes if isinstance(dot, Dot)][-2:]
    assert (toward.hollow, away.hollow) == (False, True)
    assert toward.x > away.x and toward.y + 10 < away.y


def test_a_dot_is_filled_and_coloured_for_a_named_side_whatever_its_interval():
    points = [Point("a", 0.6, 0.55, 0.8, ""), Point("b", 0.8, 0.7, 0.9, "", 1), Point("c", 0.2, 0.1, 0.3, "", -1)]
    drawn = dots(points, ends=("", ""), label="")
    marks = [(dot.ink, dot.hollow) for dot in drawn.shapes if isinstance(dot, Dot)]
    assert marks == [("axis", True), ("win", False), ("loss", False)]


def test_an_estimate_that_is_not_there_has_a_row_and_no_mark():
    drawn = dots([Point("a", None, None, None, "—")], ends=("", ""), label="")
    assert not any(isinstance(shape, Dot) for shape in drawn.shapes)
    assert any(isinstance(shape, Text) and shape.text == "a" for shape in drawn.shapes)


def test_parts_of_a_bar_are_as_wide_as_their_counts():
    drawn = stacked_bars([Bar("a", (("win", 3), ("loss", 1)), "")], legend=[], label="")
    win, loss = [shape for shape in drawn.shapes if isinstance(shape, Rect)]
    assert win.width + 1 == pytest.approx(3 * (loss.width + 1))


def test_a_name_too_long_for_its_place_ends_in_an_ellipsis():
    assert fit("a very long name of a model", 80).endswith("…")
    assert text_width(fit("一个很长很长的模型名称", 80)) <= 80


def test_a_label_is_escaped():
    drawing = dots([Point("<b>&", 0.5, None, None, "")], ends=("", ""), label='"><script>')
    assert "<script>" not in inline(drawing, "chart")
    assert "&lt;b&gt;&amp;" in inline(drawing, "chart")


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(
    ("ink", "ground"),
    [
        *[(ink, ground) for ink in ("text", "muted", "win", "loss") for ground in ("paper", "panel")],
        ("on_win", "win"),
        ("on_loss", "loss"),
        *[("on_tie", tie) for tie in ("tie_true", "tie_weak", "tie_conflict")],
    ],
)
def test_text_has_a_contrast_of_4_5_on_its_ground(ink: str, ground: str, theme: str):
    assert contrast(getattr(INKS[ink], theme), getattr(INKS[ground], theme)) >= 4.5


def test_a_png_is_the_same_each_time_and_needs_no_glyph_that_its_font_lacks():
    from analyze.report.fonts import find_font
    from analyze.report.png import png

    drawing = dots([Point("模型-丁 $x$ \U0001f600", 0.5, 0.4, 0.6, "")], ends=("左", "右"), label="")
    font = find_font("模型丁左右")
    assert font is not None
    assert png(drawing, font) == png(drawing, font)
