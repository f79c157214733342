"""What the pictures and pages of one run are made of, computed once: records, summary, figures, clouds.

Knows which parts there are; draws and writes none of them itself.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from analyze.lang import LANGS, Lang
from analyze.report.clouds import Cloud, lay_out
from analyze.report.figures import Figure, figures
from analyze.report.findings import subject
from analyze.report.fonts import find_font
from analyze.report.judging import check_state, is_measured
from analyze.report.prose import KINDS, SIDES, Kind, Phrase, Prose, Side
from analyze.report.reading import Recorded, read_run
from analyze.report.svg import Drawing, Text, titled
from analyze.report.texts import TEXTS
from analyze.report.words import Word, words_of

if TYPE_CHECKING:
    from analyze.stats.summary import Summary


# Of each list of strengths or weaknesses.
MOST_PHRASES = 8


@dataclass(frozen=True, slots=True)
class Material:
    """`clouds` holds None for a language whose cloud has no words, or no font that could draw them."""

    recorded: Recorded
    lang: Lang
    summary: Summary
    figures: list[Figure]
    words: Mapping[Lang, list[Word]]
    phrases: Mapping[tuple[Kind, Side], list[Phrase]]
    clouds: Mapping[Lang, Cloud | None]
    font_path: str | None

    @classmethod
    def of(cls, run_dir: Path, lang: Lang, font_path: str | None) -> Material:
        """Read a run and compute all that its report shows. Raises InputError, and UsageError for a bad font."""
        from analyze.stats.summary import summarise

        with _no_cycles():
            prose = Prose()
            recorded = read_run(run_dir, prose.hear)
            phrases = {(kind, side): prose.phrases(kind, side, MOST_PHRASES) for kind in KINDS for side in SIDES}
            said = prose.words
            del prose
            summary = summarise(recorded.tasks)
        # Without a model the free text is sentences of this program's own: their words say nothing about the code.
        measured = is_measured(recorded.run)
        words = {each: words_of(summary.issues, {} if measured else said[each], each) for each in LANGS}
        return cls(
            recorded=recorded,
            lang=lang,
            summary=summary,
            figures=figures(summary, lang, measured=measured),
            words=words,
            phrases=phrases,
            clouds={each: lay_out(words[each], font_path) for each in LANGS},
            font_path=font_path,
        )

    def chart_alone(self, figure: Figure) -> Drawing:
        """Return a chart to stand alone: it says who was compared, and what is to be known before believing it."""
        t = TEXTS[self.lang]
        return titled(figure.wide, f"{t[figure.name]} · {subject(self.summary, t)}", self._note(t))

    def _note(self, t: Mapping[str, str]) -> str:
        """Say that the verdicts are no model's, or that the judge is not shown to be good; else nothing."""
        run = self.recorded.run
        if run.get("demo"):
            return t["demo_title"]
        state = check_state(self.summary, measured=is_measured(run))
        return "" if state == "ok" else t[{"none": "measured", "bad": "unqualified"}.get(state, "unproven") + "_title"]

    def png(self, drawing: Drawing) -> bytes | None:
        """Return a drawing as PNG, or None where no font has the characters of its texts."""
        from analyze.report.png import png

        texts = "".join(shape.text for shape in drawing.shapes if isinstance(shape, Text))
        font = find_font(texts, self.font_path)
        return None if font is None else png(drawing, font)

    @property
    def font_cure(self) -> str:
        return "{font_none} {font_cure}".format_map(TEXTS[self.lang])

    @property
    def cloud_label(self) -> str:
        return TEXTS[self.lang]["cloud_label"]

    def cloud_note(self, lang: Lang) -> str | None:
        """Return what must be said about a cloud: why it is not there, or that another font drew it."""
        t, cloud = TEXTS[self.lang], self.clouds[lang]
        if not self.words[lang]:
            return t["cloud_empty"]
        if cloud is None:
            return self.font_cure
        if self.font_path is not None and cloud.font != self.font_path:
            return t["font_lacks"].format(font=self.font_path, other=Path(cloud.font).name)
        return None


@contextmanager
def _no_cycles() -> Iterator[None]:
    """Let nobody look for cycles meanwhile: records are none, and looking through them takes as long as reading."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
