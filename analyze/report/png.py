"""Drawings as PNG, through matplotlib's rasteriser. Knows shapes and fonts; no data, no language.

Always light: a PNG goes into slides and chats whose ground is not known, so it brings its own paper.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from analyze.report.beside import Worker
from analyze.report.fonts import covered
from analyze.report.style import INKS
from analyze.report.svg import Dot, Drawing, Line, Rect, Shape, Text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# 144 dots an inch at 72 px an inch: twice the natural size, sharp on today's screens.
_DPI = 144
_ANCHORS = {"start": "left", "middle": "center", "end": "right"}


class Pngs(Worker[list[bytes]]):
    """A worker that draws, each with a font file, one PNG after the other: see `beside`."""

    def __init__(self) -> None:
        # Now: in a process of its own there is nothing else to do until the first drawing comes.
        import matplotlib.backends.backend_agg
        import matplotlib.figure  # noqa: F401

        self._drawn: list[bytes] = []

    def take(self, said: tuple[Drawing, str]) -> None:
        self._drawn.append(png(*said))

    def result(self) -> list[bytes]:
        return self._drawn


def png(drawing: Drawing, font: str) -> bytes:
    """Return the drawing as PNG bytes, its text set in the font file `font`. The same drawing gives the same bytes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties

    around = drawing.margin
    right, bottom = drawing.width + around, drawing.height + around
    size = ((right + around) / 72, (bottom + around) / 72)
    figure = Figure(figsize=size, dpi=_DPI, facecolor=INKS["paper"].light)
    FigureCanvasAgg(figure)  # no pyplot: it keeps global state and is not for threads
    axes = figure.add_axes((0, 0, 1, 1), xlim=(-around, right), ylim=(bottom, -around))
    axes.axis("off")
    for order, shape in enumerate(drawing.shapes):
        _draw(shape, axes, FontProperties(fname=font), order, font)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _draw(shape: Shape, axes: Axes, properties: Any, order: int, font: str) -> None:
    from matplotlib.patches import Circle, Rectangle

    match shape:
        case Rect(x, y, width, height, ink, outline):
            edge = INKS[outline].light if outline else "none"
            axes.add_patch(Rectangle((x, y), width, height, facecolor=INKS[ink].light, edgecolor=edge, zorder=order))
        case Line(x1, y1, x2, y2, ink, width, dashed):
            dash = (0, (3, 3)) if dashed else "-"
            axes.plot((x1, x2), (y1, y2), color=INKS[ink].light, lw=width, ls=dash, zorder=order, solid_capstyle="butt")
        case Dot(x, y, radius, ink, hollow):
            face = INKS["paper" if hollow else ink].light
            edge = INKS[ink].light if hollow else "none"
            axes.add_patch(Circle((x, y), radius, facecolor=face, edgecolor=edge, linewidth=2, zorder=order))
        case Text(x, y, text, ink, size, anchor):
            axes.text(
                x,
                y,
                covered(text, font),
                color=INKS[ink].light,
                fontsize=size,
                fontproperties=properties,
                ha=_ANCHORS[anchor],
                va="baseline",
                zorder=order,
                parse_math=False,  # a dollar sign in a name is a dollar sign
            )
