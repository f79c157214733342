"""The rows that a person should look at, as a workbook to fill in and as tasks of Label Studio.

    records ──> Review: the places of N rows ──> output.review.xlsx
                                             ──> output.review.labelstudio.json, and .xml, how it shows them
Disagreements with gold come first, the surest of them before all; then what has no label because its reply could not
be read; then what was least sure. A row that was never answered, or of which no probability is told, is not among them.

In the workbook every text is text: nothing is run as a formula, and an id keeps its zeros. The person's label is chosen
from a list in the column `reviewed`; saved as CSV, the sheet is an input for `--gold reviewed`.
"""

from __future__ import annotations

import heapq
import io
from collections.abc import Iterable
from typing import Any
from xml.sax.saxutils import quoteattr

from analyze.classify.labels import Labels
from analyze.classify.results import Place, Record
from analyze.records import to_json
from analyze.report.safe import visible

REVIEWED = "reviewed"
COLUMNS = ("id", "query", "label", "confidence", "gold", "status")
WIDTHS = {"id": 14, "query": 80, "label": 18, "confidence": 12, "gold": 18, "status": 12, REVIEWED: 18}
MOST_CHARS = 16_000  # half of Excel's 32,767 UTF-16 units, as a character may take two of them
UNREAD = ("invalid", "truncated", "too_long")
YES_NO = ("yes", "no")


class Review:
    """Chooses the rows to look at, one record after the other; holds the places of as many as are wanted."""

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self._heap: list[tuple[float, float, Place]] = []  # the least urgent first

    def add(self, place: Place, record: Record, *, differs: bool) -> None:
        urgency = _urgency(record, differs)
        if urgency is None:
            return
        entry = (*urgency, (-place[0], -place[1]))
        if len(self._heap) < self._wanted:
            heapq.heappush(self._heap, entry)
        else:
            heapq.heappushpop(self._heap, entry)

    @property
    def places(self) -> list[Place]:
        """The chosen rows, the most urgent first."""
        return [(-file, -start) for *_, (file, start) in sorted(self._heap, reverse=True)]


def _urgency(record: Record, differs: bool) -> tuple[float, float] | None:
    confidence = record.get("confidence")
    if differs:
        return 2.0, 0.0 if confidence is None else confidence
    if record["status"] in UNREAD:
        return 1.0, 0.0
    return None if confidence is None else (0.0, -confidence)


def workbook(rows: Iterable[Record], labels: Labels) -> bytes:
    """Return an .xlsx file of these rows, with lists to choose the person's labels from.

    With several labels a row there is a column of yes or no for each.
    """
    import xlsxwriter  # type: ignore[import-untyped]  # ships no types

    buffer = io.BytesIO()
    book = xlsxwriter.Workbook(buffer, {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False})
    page, choices = book.add_worksheet("review"), book.add_worksheet("labels")
    wraps, header = book.add_format({"valign": "top", "text_wrap": True}), book.add_format({"bold": True, "bottom": 1})
    asked = [f"{REVIEWED}: {name}" for name in labels.names] if labels.multi else [REVIEWED]
    titles = [*COLUMNS, *asked]
    for at, title in enumerate(titles):
        page.write_string(0, at, visible(title, 200), header)
        page.set_column(at, at, WIDTHS.get(title, WIDTHS[REVIEWED]))
    last = 0
    for last, row in enumerate(rows, 1):
        for at, name in enumerate(COLUMNS):
            _write(page, last, at, row.get(name), wraps)
    offered = YES_NO if labels.multi else labels.names
    for at, name in enumerate(offered):
        choices.write_string(at, 0, visible(name, MOST_CHARS))
    if last:
        listed = {"validate": "list", "source": f"=labels!$A$1:$A${len(offered)}"}  # a list in place ends at 255 signs
        page.data_validation(1, len(COLUMNS), last, len(titles) - 1, listed)
        page.autofilter(0, 0, last, len(titles) - 1)
    page.freeze_panes(1, 0)
    page.ignore_errors({"number_stored_as_text": f"A1:XFD{last + 1}"})
    book.close()
    return buffer.getvalue()


def _write(page: Any, row: int, column: int, value: Any, form: Any) -> None:
    if isinstance(value, float):
        page.write_number(row, column, value, form)
    elif value is not None:
        page.write_string(row, column, visible(_shown(value), MOST_CHARS), form)


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return "; ".join(map(_shown, value))
    return value if isinstance(value, str) else to_json(value).decode()


def label_studio_tasks(rows: Iterable[Record], model: str | None) -> bytes:
    """Return tasks for Label Studio, each with what the model said as its prediction.

    Source: https://labelstud.io/guide/predictions ("Basic Label Studio JSON format").
    """
    return to_json([_task(row, model) for row in rows]) + b"\n"


def _task(row: Record, model: str | None) -> dict[str, Any]:
    data = {"text": row["query"], **{name: row[name] for name in ("id", "gold", "status") if row.get(name) is not None}}
    label = row["label"]
    if label is None:
        return {"data": data}
    chosen = label if isinstance(label, list) else [label]
    result = {"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": chosen}}
    prediction = {"model_version": model or "", "score": row.get("confidence"), "result": [result]}
    return {"data": data, "predictions": [prediction]}


def label_studio_view(labels: Labels) -> str:
    """Return the labelling interface that these tasks are for: Label Studio knows labels by it alone."""
    many = "multiple" if labels.multi else "single"
    choices = "".join(f"    <Choice value={_quoted(name)}/>\n" for name in labels.names)
    return (
        '<View>\n  <Text name="text" value="$text"/>\n'
        f'  <Choices name="label" toName="text" choice="{many}">\n{choices}  </Choices>\n</View>\n'
    )


def _quoted(name: str) -> str:
    return quoteattr(visible(name, MOST_CHARS), {"\n": "&#10;", "\t": "&#9;"})
