"""What the pictures and pages of one run are made of, computed once: records, summary, figures, clouds.

Knows which parts there are; draws and writes none of them itself.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from analyze.lang import LANGS, Lang
from analyze.report.beside import at_work, is_large
from analyze.report.clouds import Cloud, lay_out
from analyze.report.figures import Figure, figures
from analyze.report.findings import AuthorFacts, subject
from analyze.report.fonts import find_font
from analyze.report.judging import check_state, is_measured
from analyze.report.numbers import whole
from analyze.report.reading import Recorded, read_manifest, read_run
from analyze.report.svg import Drawing, Text, titled
from analyze.report.texts import TEXTS
from analyze.report.wording import Listener, Wording
from analyze.report.words import Word, words_of

if TYPE_CHECKING:
    from analyze.stats.summary import Summary


@dataclass(frozen=True, slots=True)
class Numbers:
    """The numbers that the judge's verdicts come to: all that charts show."""

    recorded: Recorded
    lang: Lang
    summary: Summary
    figures: list[Figure]
    font_path: str | None

    @classmethod
    def of(cls, recorded: Recorded, lang: Lang, font_path: str | None) -> Numbers:
        """Work out the numbers of a run."""
        from analyze.stats.summary import summarise

        summary = summarise(recorded.tasks)
        figured = figures(summary, lang, measured=is_measured(recorded.run))
        return cls(recorded, lang, summary, figured, font_path)

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

    def font_of(self, drawing: Drawing) -> str | None:
        """Return the font file that has the characters of a drawing's texts, or None where there is none."""
        texts = "".join(shape.text for shape in drawing.shapes if isinstance(shape, Text))
        return find_font(texts, self.font_path)

    @property
    def font_cure(self) -> str:
        return "{font_none} {font_cure}".format_map(TEXTS[self.lang])


@dataclass(frozen=True, slots=True)
class Material(Numbers):
    """All that a report shows. `words` are those of each language, issues first.

    `clouds` holds None for a language without words, or no font that could draw them.
    """

    authors: list[AuthorFacts]
    wording: Wording
    words: Mapping[Lang, list[Word]]
    clouds: Mapping[Lang, Cloud | None]

    @classmethod
    def with_others(cls, numbers: Numbers, authors: list[AuthorFacts], wording: Wording) -> Material:
        """Lay out the clouds, and put all together. Raises UsageError for a bad font."""
        known = {field.name: getattr(numbers, field.name) for field in fields(Numbers)}
        words = {lang: words_of(numbers.summary.issues, wording.words[lang], lang) for lang in LANGS}
        clouds = {lang: lay_out(words[lang], numbers.font_path) for lang in LANGS}
        return cls(**known, authors=authors, wording=wording, words=words, clouds=clouds)

    @property
    def heard_note(self) -> str | None:
        """Return what must be said where words and phrases are those of some tasks alone."""
        heard, tasks = self.wording.heard, self.wording.tasks
        if heard == tasks:
            return None
        return TEXTS[self.lang]["heard_some"].format(heard=whole(heard), tasks=whole(tasks))

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
def begun(run_dir: Path) -> Iterator[tuple[Recorded, Callable[[], Wording]]]:
    """Read a run. Give its records, and what returns the wording, which another process reads of a large run.

    Raises InputError.
    """
    _import_clouds()
    measured = is_measured(read_manifest(run_dir))
    with at_work(Listener, run_dir, measured, beside=is_large(run_dir)) as listener:
        listener.finish()
        yield read_run(run_dir), listener.result


def _import_clouds() -> None:
    """Import what lays out the clouds, before there is any record, and clear up after it.

    It imports matplotlib, whose parser leaves exceptions in cycles. Their frames would hold all of our callers'
    variables, and so 0.5 GB of records, until somebody looks for cycles.
    """
    import wordcloud  # type: ignore[import-untyped]  # noqa: F401  # ships no types

    gc.collect(1)
