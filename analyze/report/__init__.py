"""Reports: what a run ends in, built from its recorded files alone. Knows no model.

    reading ─► words ─► clouds ───┐
    summary ─► charts ─► figures ─┼─► material ─► page, markdown, tables, sheets ─► workbook
    summary ─► findings ──────────┘

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
from analyze.report.fonts import check_font

if TYPE_CHECKING:
    from analyze.report.comparison import Compared
    from analyze.report.material import Material

__all__ = [
    "build_pages",
    "build_pictures",
    "build_report",
    "check_font",
    "compare_runs",
    "gather",
    "pages_of",
    "pictures_of",
]

log = logging.getLogger(__name__)


def build_report(run_dir: Path, *, lang: Lang, font_path: str | None = None) -> dict[str, Path]:
    """Build every picture and page of the run in `run_dir`.

    Returns each artefact's path by its name, the path below `run_dir` without extension; an SVG beside a PNG keeps
    its own. A picture that cannot be drawn (no words, no font with the glyphs) is absent and logged with the cure.
    Raises InputError where `run_dir` holds no readable run, UsageError where `font_path` is no font.
    """
    material = gather(run_dir, lang=lang, font_path=font_path)
    return {**pictures_of(material), **pages_of(material)}


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


def gather(run_dir: Path, *, lang: Lang, font_path: str | None = None) -> Material:
    """Read a run and work out all that pictures and pages show. Raises as `build_report` does."""
    from analyze.report.material import Material

    return Material.of(Path(run_dir), lang, font_path)


def pictures_of(material: Material) -> dict[str, Path]:
    from analyze.report.figures import FIGURES
    from analyze.report.svg import alone

    charts = {figure.name: material.chart_alone(figure) for figure in material.figures}
    made: dict[str, Path] = {}
    for name in FIGURES:
        chart = charts.get(name)
        png = material.png(chart) if chart else None
        made |= _picture(material, f"charts/{name}", alone(chart) if chart else None, png)
        if chart and png is None:
            log.warning("charts/%s.png: %s", name, material.font_cure)
    for lang in LANGS:
        cloud = material.clouds[lang]
        pictures = (cloud.svg(lang, material.cloud_label, alone=True), cloud.png) if cloud else (None, None)
        made |= _picture(material, f"wordcloud_{lang}", *pictures)
        if note := material.cloud_note(lang):
            log.warning("wordcloud_%s: %s", lang, note)
    return made


def _picture(material: Material, name: str, svg: str | None, png: bytes | None) -> dict[str, Path]:
    """Write both files of a picture; remove one that cannot be made, lest an older run's stand for this one's."""
    made = {}
    for key, suffix, data in ((name, ".png", png), (f"{name}.svg", ".svg", svg)):
        path = material.recorded.folder / f"{name}{suffix}"
        if data is None:
            path.unlink(missing_ok=True)
        else:
            made[key] = write_whole(path, data)
    return made


def pages_of(material: Material) -> dict[str, Path]:
    from analyze.report.judging import is_measured
    from analyze.report.markdown import markdown_page
    from analyze.report.page import page
    from analyze.report.sheets import tables_xlsx
    from analyze.report.tables import summary_csv

    folder = material.recorded.folder
    table = summary_csv(material.summary, measured=is_measured(material.recorded.run))
    return {
        "report": write_whole(folder / "report.html", page(material)),
        "report.md": write_whole(folder / "report.md", markdown_page(material)),
        "summary": write_whole(folder / "summary.csv", table),
        "tables": write_whole(folder / "tables.xlsx", tables_xlsx(material)),
    }
