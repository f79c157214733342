"""A run at a glance, for the cell of a notebook: the answer, the judge's state, a row per rival, a chart, the files.

Made of the same material as the pages. It takes its ink and ground from the notebook, light or dark; the chart is an
image with paper of its own, so that its style sheet cannot restyle the notebook.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from analyze.report.findings import Answer, answer
from analyze.report.judging import banners, flags
from analyze.report.numbers import percent, percent_span
from analyze.report.safe import cut, markdown
from analyze.report.svg import alone
from analyze.report.texts import TEXTS

if TYPE_CHECKING:
    from analyze.report.material import Material

MOST_RIVALS = 12
_MOST_NAME_CHARS = 80
_MOST_FILES = 40
_CHART = "win_rate"
_SOFT = "opacity:.75"
_CELL = "padding:.15em .9em .15em 0"


@dataclass(frozen=True, slots=True)
class Brief:
    """What is shown of a run, in words; `chart` is an SVG file, or empty where nothing could be judged."""

    said: Answer
    warnings: tuple[str, ...]
    flags: tuple[str, ...]
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    more: str
    chart: str
    chart_label: str

    @classmethod
    def of(cls, material: Material) -> Brief:
        t, summary, run = TEXTS[material.lang], material.summary, material.recorded.run
        said = answer(summary, t)
        everybody = [(t["overall"], summary.overall), *((row.author, row) for row in summary.rivals[:MOST_RIVALS])]
        left = len(summary.rivals) - MOST_RIVALS
        figure = next((figure for figure in material.figures if figure.name == _CHART), None)
        return cls(
            said=said,
            warnings=(*(banner.title for banner in banners(run, summary, t)), *filter(None, (said.warning,))),
            flags=tuple(flag.text for flag in flags(run, summary, t)),
            head=(t["rival"], t["h_wins"], t["h_ties"], t["h_losses"], t["win_rate"], t["h_interval"]),
            rows=tuple(
                (
                    cut(name, _MOST_NAME_CHARS),
                    *(str(count) for count in (row.wins, row.ties, row.losses)),
                    percent(row.win_rate.value),
                    percent_span(row.win_rate),
                )
                for name, row in everybody
            ),
            more=t["and_more"].format(n=left) if left > 0 else "",
            chart=alone(material.chart_alone(figure)) if figure else "",
            chart_label=figure.wide.label if figure else "",
        )

    def html(self, files: Mapping[str, Path]) -> str:
        """Return HTML for a notebook, below 30 kB; everything that comes from a run or a model is escaped."""
        warnings = "".join(f"<p><strong>⚠ {escape(text)}</strong></p>" for text in self.warnings)
        head = "".join(
            f'<th scope="col" style="{_CELL};text-align:{_side(at)}">{escape(name)}</th>'
            for at, name in enumerate(self.head)
        )
        rows = "".join(f"<tr>{_html_row(row)}</tr>" for row in self.rows)
        more = f'<p style="{_SOFT}">{escape(self.more)}</p>' if self.more else ""
        data = base64.b64encode(self.chart.encode()).decode()
        chart = (
            f'<img alt="{escape(self.chart_label)}" style="max-width:100%;width:640px;height:auto" '
            f'src="data:image/svg+xml;base64,{data}">'
            if data
            else ""
        )
        links = " · ".join(
            f'<a href="{escape(quote(str(path)))}">{escape(name)}</a>' for name, path in _most_wanted(files)
        )
        return (
            f'<div style="max-width:52em">{warnings}'
            f'<p style="font-size:1.25em;margin:.3em 0"><strong>{escape(self.said.headline)}</strong></p>'
            f"<p>{escape(self.said.detail)}</p>"
            f'<p style="{_SOFT}">{escape(" · ".join(self.flags))}</p>'
            f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{more}{chart}<p>{links}</p></div>"
        )

    def markdown(self, files: Mapping[str, Path]) -> str:
        """Return the same as Markdown, without the chart."""
        lines = [f"**⚠ {markdown(text)}**\n" for text in self.warnings]
        lines += [f"**{markdown(self.said.headline)}** {markdown(self.said.detail)}\n"]
        lines += [" · ".join(map(markdown, self.flags)) + "\n"]
        table = [self.head, ("---", *["---:"] * (len(self.head) - 1)), *(map(markdown, row) for row in self.rows)]
        lines += ["| " + " | ".join(row) + " |" for row in table]
        links = (f"[{markdown(name)}](<{quote(str(path))}>)" for name, path in _most_wanted(files))
        return "\n".join([*lines, f"\n{self.more}\n" if self.more else "", " · ".join(links)])


def _html_row(row: Iterable[str]) -> str:
    tags = (("th", ' scope="row"') if at == 0 else ("td", "") for at in range(len(tuple(row))))
    return "".join(
        f'<{tag}{scope} style="{_CELL};text-align:{_side(at)}">{escape(text)}</{tag}>'
        for at, ((tag, scope), text) in enumerate(zip(tags, row, strict=True))
    )


def _side(column: int) -> str:
    return "right" if column else "left"


def _most_wanted(files: Mapping[str, Path]) -> list[tuple[str, Path]]:
    """Return the files with the report first; of pictures, those that a page carries inside, none."""
    named = [(name, path) for name, path in files.items() if path.suffix not in (".svg", ".png")]
    return sorted(named, key=lambda item: (item[0] != "report", item[0]))[:_MOST_FILES]
