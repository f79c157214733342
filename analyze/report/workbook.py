"""An Excel workbook of sheets: what stands in a cell is what was put there. Knows no sentence and no number of a run.

Text is written as text, so nothing is run as a formula or followed as a link and `007` keeps its zeros; numbers keep
all their digits under a format that shows a few; what is not there is blank. Excel's own bounds are kept: 32,767
UTF-16 units a cell, 31 characters a sheet's name, 1,048,576 rows, beyond which a sheet goes on in another.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, islice
from typing import Any, Final, Literal

from analyze.report.beside import Worker
from analyze.report.safe import visible

Cell = str | int | float | None
Kind = Literal["text", "long", "whole", "share", "score", "change", "p", "number"]

MOST_ROWS: Final = 1_048_575  # below the header
MOST_CHARS: Final = 16_000  # half of Excel's 32,767 units, as a character may take two of them
_SAMPLE: Final = 200  # rows that decide how wide a column is
_LEAST_WIDTH, _HEADER_WIDTH, _MOST_WIDTH, _LONG_WIDTH = 8, 14, 40, 90

_FORMATS: Final[dict[Kind, dict[str, Any]]] = {
    "text": {},
    "long": {"text_wrap": True},
    "whole": {"num_format": "#,##0"},
    "share": {"num_format": "0.0%"},
    "score": {"num_format": "0.000"},
    "change": {"num_format": "+0.000;-0.000;0.000"},
    "p": {"num_format": "0.0000"},
    "number": {"num_format": "General"},
}
_HEADER: Final = {"bold": True, "text_wrap": True, "valign": "bottom", "bottom": 1, "bg_color": "#F6F7F9"}
_NO_NAME = re.compile(r"[\[\]:*?/\\]")
_WIDE = re.compile(r"[\u1100-\u115f\u2e80-\uffdc\U0001f000-\U0003ffff]")


@dataclass(frozen=True, slots=True)
class Column:
    title: str
    kind: Kind = "text"


@dataclass(frozen=True, slots=True)
class Sheet:
    """A named table. `rows` are read once, each as long as `columns`."""

    name: str
    columns: Sequence[Column]
    rows: Iterable[Sequence[Cell]]


class Book(Worker[bytes]):
    """A worker that writes an .xlsx file: see `beside`. Sheets stand in the order of `names`, and come in any.

    The same sheets of the same time give the same bytes.
    """

    def __init__(self, names: Iterable[str], created: datetime, title: str) -> None:
        import xlsxwriter  # type: ignore[import-untyped]  # ships no types

        self._file = io.BytesIO()
        self._book = xlsxwriter.Workbook(
            self._file, {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
        )
        self._book.set_properties({"title": visible(title, 200), "created": created})
        self._formats = {kind: self._book.add_format({"valign": "top", **look}) for kind, look in _FORMATS.items()}
        self._header = self._book.add_format(_HEADER)
        self._taken: set[str] = set()
        self._pages = {name: self._page(name) for name in names}

    def _page(self, name: str) -> Any:
        return self._book.add_worksheet(_free_name(name, self._taken))

    def take(self, sheet: Sheet) -> None:
        """Write a sheet. Rows beyond those that Excel takes go on in sheets at the end of the book."""
        rows, page, number = iter(sheet.rows), self._pages[sheet.name], 1
        self._fill(page, sheet.columns, islice(rows, MOST_ROWS))
        while (first := next(rows, None)) is not None:
            number += 1
            more = chain((first,), islice(rows, MOST_ROWS - 1))
            self._fill(self._page(f"{sheet.name[:24]} ({number})"), sheet.columns, more)

    def _fill(self, page: Any, columns: Sequence[Column], rows: Iterable[Sequence[Cell]]) -> None:
        """Write a page: a header that stays in view and filters, then the rows."""
        looks = [self._formats[column.kind] for column in columns]
        widths = [_width(column.title, header=True) for column in columns]
        for at, column in enumerate(columns):
            page.write_string(0, at, visible(column.title), self._header)
        last = 0
        for last, row in enumerate(rows, 1):
            for at, value in enumerate(row):
                if isinstance(value, str):
                    page.write_string(last, at, text := _text(value), looks[at])
                    if last <= _SAMPLE:
                        widths[at] = max(widths[at], _width(text))
                elif value is not None and abs(value) < float("inf"):  # NaN is below nothing
                    page.write_number(last, at, value, looks[at])
        for at, column in enumerate(columns):
            most = _LONG_WIDTH if column.kind == "long" else _MOST_WIDTH
            page.set_column(at, at, min(most, max(_LEAST_WIDTH, widths[at] + 2)))
        page.freeze_panes(1, 1)
        page.autofilter(0, 0, last, len(columns) - 1)
        page.ignore_errors({"number_stored_as_text": f"A1:XFD{last + 1}"})

    def finish(self) -> None:
        self._book.close()

    def result(self) -> bytes:
        return self._file.getvalue()


def _free_name(name: str, taken: set[str]) -> str:
    """Return a name that Excel takes for a sheet, and that no other has."""
    clean = _NO_NAME.sub("_", visible(name)).strip("'")[:31] or "_"
    free, number = clean, 1
    while free.lower() in taken:
        number += 1
        free = f"{clean[:24]} ({number})"
    taken.add(free.lower())
    return free


def _text(text: str) -> str:
    return text if len(text) < 2_000 and text.isprintable() else visible(text, MOST_CHARS)


def _width(text: str, *, header: bool = False) -> int:
    """Return about how many characters wide a text is; a header wraps, so only its longest word counts, if any."""
    if header:
        return min(_HEADER_WIDTH, max(_width(word) for word in text.split(" "))) + 3  # the filter's arrow
    first = text.split("\n", 1)[0][:200]
    return len(first) + len(_WIDE.findall(first))
