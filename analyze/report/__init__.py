"""Reports: what a run ends in, built from its recorded files alone. Knows no model.

    reading ─► words ─► clouds ───┐
    summary ─► charts ─► figures ─┼─► material ─► page, markdown, tables, sheets ─► workbook
    summary ─► findings ──────────┘             (figures ─► png and, of a large run, words and workbook: `beside`)

Step 5 is `build_pictures`: charts/*.svg and .png, wordcloud_zh and wordcloud_en as .svg and .png. Step 6 is
`build_pages`: report.html, report.md, summary.csv, tables.xlsx. The same records give the same bytes. Who wants both
gathers the material once, which is most of the work, for `pictures_of` and `pages_of`.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from analyze.files import write_whole
from analyze.lang import LANGS, Lang
from analyze.report.cycles import no_cycles
from analyze.report.fonts import check_font

if TYPE_CHECKING:
    from analyze.report.beside import Worker
    from analyze.report.comparison import Compared
    from analyze.report.material import Material, Numbers
    from analyze.report.sheets import Tables

__all__ = [
    "build_pages",
    "build_pictures",
    "build_report",
    "check_font",
    "compare_runs",
    "gather",
    "no_cycles",
    "pages_of",
    "pictures_of",
]

log = logging.getLogger(__name__)


@no_cycles()
def build_report(run_dir: Path, *, lang: Lang, font_path: str | None = None) -> dict[str, Path]:
    """Build every picture and page of the run in `run_dir`.

    Returns each artefact's path by its name, the path below `run_dir` without extension; an SVG beside a PNG keeps
    its own. A picture that cannot be drawn (no words, no font with the glyphs) is absent and logged with the cure.
    Raises InputError where `run_dir` holds no readable run, UsageError where `font_path` is no font.
    """
    from analyze.report.beside import at_work
    from analyze.report.png import Pngs
    from analyze.report.sheets import begun_tables

    folder = Path(run_dir)
    with at_work(Pngs, beside=True) as pngs, begun_tables(folder, lang) as tables:
        charts, others = _with_records(folder, lang, font_path, pngs, tables)
        # To forget the records of 100,000 judgements takes 0.3 s, in which those beside finish.
        return {**charts.written(), **others, **_workbook(folder, tables)}


def _with_records(
    folder: Path, lang: Lang, font_path: str | None, pngs: Worker[list[bytes]], tables: Tables
) -> tuple[_Charts, dict[str, Path]]:
    """Have charts and workbook made, and write all others. Nothing of the records is left when it is done."""
    from analyze.report.findings import facts_per_author
    from analyze.report.material import Material, Numbers, begun

    with begun(folder) as (recorded, wording):
        tables.take_pairs(recorded)
        numbers = Numbers.of(recorded, lang, font_path)
        charts = _Charts(numbers, pngs)
        authors = facts_per_author(recorded.tasks)
        tables.take(numbers, authors)
        material = Material.with_others(numbers, authors, wording())
        return charts, {**_clouds(material), **_written_pages(material)}


def build_pictures(run_dir: Path, *, lang: Lang, font_path: str | None = None) -> dict[str, Path]:
    """Build the charts and word clouds: `build_report` without the pages."""
    return pictures_of(gather(run_dir, lang=lang, font_path=font_path))


def build_pages(run_dir: Path, *, lang: Lang, font_path: str | None = None) -> dict[str, Path]:
    """Build report.html, report.md, summary.csv and tables.xlsx: `build_report` without the pictures."""
    return pages_of(gather(run_dir, lang=lang, font_path=font_path))


def compare_runs(run_dir: Path, other_dir: Path, *, lang: Lang) -> Compared:
    """Write compare.html and compare.md beside the run in `run_dir`: what changed since that in `other_dir`.

    Raises InputError where a folder holds no readable run, or the two have nothing in common, or everything.
    """
    from analyze.report import comparison

    return comparison.compare_runs(run_dir, other_dir, lang=lang)


@no_cycles()
def gather(run_dir: Path, *, lang: Lang, font_path: str | None = None) -> Material:
    """Read a run and work out all that pictures and pages show. Raises as `build_report` does."""
    from analyze.report.findings import facts_per_author
    from analyze.report.material import Material, Numbers, begun

    with begun(Path(run_dir)) as (recorded, wording):
        numbers = Numbers.of(recorded, lang, font_path)
        return Material.with_others(numbers, facts_per_author(recorded.tasks), wording())


def pictures_of(material: Material) -> dict[str, Path]:
    from analyze.report.beside import at_work
    from analyze.report.png import Pngs

    with at_work(Pngs, beside=True) as pngs:
        charts = _Charts(material, pngs)
        clouds = _clouds(material)
        return {**charts.written(), **clouds}


class _Charts:
    """Charts that are being drawn as PNG."""

    def __init__(self, numbers: Numbers, pngs: Worker[list[bytes]]) -> None:
        self._folder, self._pngs, self._font_cure = numbers.recorded.folder, pngs, numbers.font_cure
        self._charts = {figure.name: numbers.chart_alone(figure) for figure in numbers.figures}
        fonts = {name: numbers.font_of(chart) for name, chart in self._charts.items()}
        self._drawn = [name for name, font in fonts.items() if font is not None]
        for name, font in fonts.items():
            if font is not None:
                pngs.take((self._charts[name], font))
        pngs.finish()

    def written(self) -> dict[str, Path]:
        """Write both files of each, and remove those of charts that are not there."""
        from analyze.report.figures import FIGURES
        from analyze.report.svg import alone

        drawn = dict(zip(self._drawn, self._pngs.result(), strict=True))
        made: dict[str, Path] = {}
        for name in FIGURES:
            chart, png = self._charts.get(name), drawn.get(name)
            made |= _picture(self._folder, f"charts/{name}", alone(chart) if chart else None, png)
            if chart and png is None:
                log.warning("charts/%s.png: %s", name, self._font_cure)
        return made


def _clouds(material: Material) -> dict[str, Path]:
    made: dict[str, Path] = {}
    for lang in LANGS:
        cloud = material.clouds[lang]
        pictures = (cloud.svg(lang, material.cloud_label, alone=True), cloud.png) if cloud else (None, None)
        made |= _picture(material.recorded.folder, f"wordcloud_{lang}", *pictures)
        if note := material.cloud_note(lang):
            # No words is nothing to mend, and the page says it.
            log.log(logging.WARNING if material.words[lang] else logging.INFO, "wordcloud_%s: %s", lang, note)
    return made


def _picture(folder: Path, name: str, svg: str | None, png: bytes | None) -> dict[str, Path]:
    """Write both files of a picture; remove one that cannot be made, lest an older run's stand for this one's."""
    made = {}
    for key, suffix, data in ((name, ".png", png), (f"{name}.svg", ".svg", svg)):
        path = folder / f"{name}{suffix}"
        if data is None:
            path.unlink(missing_ok=True)
        else:
            made[key] = write_whole(path, data)
    return made


def pages_of(material: Material) -> dict[str, Path]:
    from analyze.report.sheets import begun_tables

    folder = material.recorded.folder
    with begun_tables(folder, material.lang) as tables:
        tables.take_pairs(material.recorded)
        tables.take(material, material.authors)
        return {**_written_pages(material), **_workbook(folder, tables)}


def _written_pages(material: Material) -> dict[str, Path]:
    from analyze.report.judging import is_measured
    from analyze.report.markdown import markdown_page
    from analyze.report.page import page
    from analyze.report.tables import summary_csv

    folder = material.recorded.folder
    table = summary_csv(material.summary, measured=is_measured(material.recorded.run))
    return {
        "report": write_whole(folder / "report.html", page(material)),
        "report.md": write_whole(folder / "report.md", markdown_page(material)),
        "summary": write_whole(folder / "summary.csv", table),
    }


def _workbook(folder: Path, tables: Tables) -> dict[str, Path]:
    return {"tables": write_whole(folder / "tables.xlsx", tables.book.result())}
