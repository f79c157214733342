"""Word clouds: counted words in, a picture out. Knows no record and says no sentence.

The `wordcloud` package lays the words out and paints the PNG. The SVG is written here from the same layout: the
package's own carries the time of day in its font (other bytes each time), restyles every text of the page it is put
in, and cannot follow a dark theme. Ours carries just the glyphs in use, 6 to 20 kB.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from analyze.report.fonts import covers, find_font, may_embed
from analyze.report.style import INKS, css_inks_alone
from analyze.report.words import Kind, Word

if TYPE_CHECKING:
    from wordcloud import WordCloud  # type: ignore[import-untyped]  # ships no types

_WIDTH = 760
_LEAST_HEIGHT, _HEIGHT_PER_WORD, _MOST_HEIGHT = 240, 10, 600  # a few words would be lost on a large ground
_MOST_TAGS, _MOST_WORDS = 24, 30
# Free text has a few words in nearly every comparison: at their own weight they would leave issues no room.
_WORD_WEIGHT = 0.55
_LEAST_WEIGHT = 0.15  # keeps the rarest legible
_SMALLEST_PX = 12
_SCALE = 2  # PNG pixels per px of layout

KIND_INK: dict[Kind, str] = {"tag_target": "loss", "tag_rival": "win", "tag_even": "text", "word": "muted"}


@dataclass(frozen=True, slots=True)
class _Placed:
    """A word with its size and the start of its baseline, in px."""

    word: Word
    size: int
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Cloud:
    """A laid-out cloud in the font file `font`, and the words it had no room or no glyphs for.

    `woff` holds the glyphs in use; None where the font's licence forbids to hand them on: then the SVG is a picture.
    """

    font: str
    placed: tuple[_Placed, ...]
    left_out: tuple[Word, ...]
    height: int
    png: bytes
    woff: bytes | None

    def svg(self, name: str, label: str, *, alone: bool = False) -> str:
        """Return the cloud as `<svg>`: for a page, in its theme, or `alone`, as a file with its own colours.

        `name` makes the embedded font's family unique on the page.
        """
        space = ' xmlns="http://www.w3.org/2000/svg"' if alone else ""
        return (
            f'<svg{space} class="cloud" role="img" aria-label="{escape(label)}" viewBox="0 0 {_WIDTH} {self.height}" '
            f'width="{_WIDTH}" height="{self.height}">'
            f"{self._painted() if self.woff is None else self._written(name, self.woff, alone)}</svg>"
        )

    def _painted(self) -> str:
        data = base64.b64encode(self.png).decode()
        return f'<image width="{_WIDTH}" height="{self.height}" href="data:image/png;base64,{data}"/>'

    def _written(self, name: str, woff: bytes, alone: bool) -> str:
        family = f"cloud-{name}"
        source = f"url(data:font/woff;base64,{base64.b64encode(woff).decode()})format('woff')"
        style = f"@font-face{{font-family:{family};src:{source}}}"
        ground = f'<rect class="f-paper" width="{_WIDTH}" height="{self.height}"/>' if alone else ""
        words = "".join(
            f'<text class="f-{KIND_INK[it.word.kind]}" x="{it.x:g}" y="{it.y:g}" font-size="{it.size}">'
            f"{escape(it.word.text)}</text>"
            for it in self.placed
        )
        return f'<style>{style}{css_inks_alone() if alone else ""}</style>{ground}<g font-family="{family}">{words}</g>'


def lay_out(words: Sequence[Word], font_path: str | None = None) -> Cloud | None:
    """Lay out the most frequent words, issues first; None where there are no words or no font has their glyphs.

    The same words and font give the same picture. Raises UsageError where `font_path` is no font.
    """
    chosen = _chosen(words)
    font = find_font("".join(word.text for word in chosen), font_path) if chosen else None
    if font is None:
        return None
    drawable = {word.text: word for word in chosen if covers(word.text, font)}
    cloud = _engine(font, drawable)
    cloud.generate_from_frequencies(_weights(drawable))
    placed = tuple(_place(item, drawable, font) for item in cloud.layout_)
    drawn = {it.word.text for it in placed}
    left_out = tuple(word for word in reversed(chosen) if word.text not in drawn)
    buffer = io.BytesIO()
    cloud.to_image().save(buffer, format="PNG")
    woff = _glyphs_in_use(font, "".join(sorted(drawn))) if may_embed(font) else None
    return Cloud(font, placed, left_out, cloud.height, buffer.getvalue(), woff)


def _chosen(words: Sequence[Word]) -> list[Word]:
    tags = [word for word in words if word.is_tag][:_MOST_TAGS]
    free = [word for word in words if not word.is_tag][:_MOST_WORDS]
    return tags + free


def _weights(words: dict[str, Word]) -> dict[str, float]:
    """Return what sizes the words: issues against the most frequent issue, words against the most frequent word.

    Equal weights keep the order of `words`, and the order decides the picture: hence words come sorted.
    """
    top_tag = max((word.count for word in words.values() if word.is_tag), default=0)
    top_word = max((word.count for word in words.values() if not word.is_tag), default=0)
    share = _WORD_WEIGHT if top_tag else 1.0

    def weight(word: Word) -> float:
        own = word.count / top_tag if word.is_tag else share * word.count / top_word
        return max(own, _LEAST_WEIGHT)

    return {text: weight(word) for text, word in words.items()}


def _glyphs_in_use(path: str, text: str) -> bytes:
    """Return the font cut down to the characters of `text`, as WOFF."""
    from fontTools.subset import Options, Subsetter  # type: ignore[import-untyped]  # ships no types
    from fontTools.ttLib import TTFont  # type: ignore[import-untyped]  # ships no types

    # The fonts' tables for shaping and vertical writing are most of the work, and no word here needs them.
    unused = ["GSUB", "GPOS", "GDEF", "BASE", "STAT", "vhea", "vmtx", "VORG", "FFTM", "MATH", "DSIG", "meta"]
    subsetter = Subsetter(Options(hinting=False, name_IDs=[], drop_tables=unused))
    subsetter.populate(text=text)
    with TTFont(path, fontNumber=0, lazy=True, recalcTimestamp=False) as font:
        subsetter.subset(font)
        font.flavor = "woff"
        buffer = io.BytesIO()
        font.save(buffer)
    return buffer.getvalue()


def _engine(font: str, words: dict[str, Word]) -> WordCloud:
    from wordcloud import WordCloud

    def ink(word: str, **_: object) -> str:
        return INKS[KIND_INK[words[word].kind]].light

    return WordCloud(
        font_path=font,
        width=_WIDTH,
        height=min(_MOST_HEIGHT, _LEAST_HEIGHT + _HEIGHT_PER_WORD * len(words)),
        scale=_SCALE,
        margin=18,  # half of it on every side; with less, two words on one line read as one
        prefer_horizontal=1.0,  # turned words are read by nobody
        relative_scaling=0.5,
        min_font_size=_SMALLEST_PX,
        max_font_size=84,
        background_color=INKS["paper"].light,
        color_func=ink,
        random_state=7,
    )


def _place(item: Any, words: dict[str, Word], font: str) -> _Placed:
    """Turn the corner of a word's painted box, which is what the layout knows, into the start of its baseline."""
    from PIL import ImageFont

    (text, _), size, (top, left), _, _ = item
    box = ImageFont.truetype(font, size).getbbox(text, anchor="ls")
    return _Placed(words[text], int(size), float(left - box[0]), float(top - box[1]))
