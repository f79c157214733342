"""What a classification ends in, when all is recorded: built outputs, figures against gold, rows for a person, a page.

    records ──> Results ─┐
            ──> Held ────┼──> console lines, disagreements, review, page
            ──> Review ──┘
One pass over the records, from the files of the run alone. Asks nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from analyze.classify.gold import Evaluation, Held
from analyze.classify.labels import Labels
from analyze.classify.page import MOST_LISTED, Material, page
from analyze.classify.results import Record, Results, records, records_at
from analyze.classify.review import Review, label_studio_tasks, label_studio_view, workbook
from analyze.classify.telling import gold_lines, label_lines, told
from analyze.files import whole_file
from analyze.records import to_json
from analyze.report.outputs import Columns, build, is_built
from analyze.runs.filejob import FileJob
from analyze.runs.in_order import in_order
from analyze.runs.manifest import read_manifest

COLUMNS: Columns = {
    **dict.fromkeys(("query", "label", "raw_output", "status", "error"), "text"),
    "confidence": "number",
    "label_mass": "number",
    "id": "text",
    "index": "whole",
    **dict.fromkeys(("gold", "flags", "confidence_kind", "probabilities"), "text"),
}
DISAGREEMENTS = "disagreements.jsonl"
PAGE = "report.html"
REVIEWS = ("review.xlsx", "review.labelstudio.json", "review.labelstudio.xml")


@dataclass(frozen=True, slots=True)
class Ending:
    """Called when all is recorded (`FileJob.finish`).

    `gold`: the field of a row that holds its true label, if any; `review`: how many rows a person will look at.
    """

    labels: Labels
    gold: str | None = None
    review: int | None = None

    def __call__(self, job: FileJob) -> list[str]:
        """Write what there is to write; return what is to be said."""
        if is_built(job.paths.output):
            requests = chain.from_iterable(job.rows(job.source()).chunks())
            records_in_order = in_order(requests, job.paths.answers, job.paths.failures, job.lines)
            build(job.paths.output, records_in_order, COLUMNS)
        files = [job.paths.answers, job.paths.failures]
        results = Results(labels=Counter(dict.fromkeys(self.labels.names, 0)))
        held = Held(self.labels, gold_of_rows(job)) if self.gold else None
        review = Review(self.review) if self.review else None
        for place, record in records(files):
            results.add(record)
            differs = held is not None and held.add(place, record)
            if review is not None:
                review.add(place, record, differs=differs)
        if not results.rows:
            return []
        said, found = label_lines(results, job.lang), None
        if held is not None and self.gold is not None:
            found = held.evaluation()
            said += gold_lines(found, self.labels, self.gold, job.lang)
            said += write_disagreements(job, held, found, files)
        if review is not None:
            said += write_review(job, review, held, self.labels, files)
        return [*said, self._write_page(job, results, held, found)]

    def _write_page(self, job: FileJob, results: Results, held: Held | None, found: Evaluation | None) -> str:
        files, differing = [job.paths.answers, job.paths.failures], list[Record]()
        if held is not None:
            there = records_at(files, held.differing[:MOST_LISTED])
            differing = [{**record, "gold": held.gold_of(record)} for record in there]
        material = Material(
            run=read_manifest(job.paths.manifest) or {},
            results=results,
            labels=self.labels,
            lang=job.lang,
            output=job.paths.output.name,
            gold=self.gold,
            evaluation=found,
            disagreements=differing,
            files=files_beside(job),
        )
        path = job.paths.beside(PAGE)
        with whole_file(path, "wb") as file:
            file.write(page(material).encode("utf-8", "replace"))
        return told("page", job.lang, path=path)


def gold_of_rows(job: FileJob) -> dict[str, Any] | None:
    """Return the true label of each row as the input has it now; None where it cannot be read again."""
    source = job.source()
    if not source.can_be_read_again:
        return None
    return {request.id: request.row.gold for request in chain.from_iterable(job.rows(source).chunks())}


def write_disagreements(job: FileJob, held: Held, found: Evaluation, files: list[Path]) -> list[str]:
    """List the rows whose label is another than the true one; where there are none, there is no file either."""
    path = job.paths.beside(DISAGREEMENTS)
    if not found.disagreements:
        path.unlink(missing_ok=True)
        return []
    _write_lines(path, (_disagreement(record, held) for record in records_at(files, held.differing)))
    return [told("disagreements", job.lang, path=path, count=found.disagreements)]


def _disagreement(record: Record, held: Held) -> Record:
    """Return what is listed. It begins otherwise than records do: nobody takes the list for an output."""
    names = ("label", "query", "confidence", "probabilities", "raw_output", "id", "index")
    return {"gold": held.gold_of(record), **{name: record.get(name) for name in names}}


def files_beside(job: FileJob) -> list[str]:
    """Return the names of the run's files, those that are there."""
    endings = ("failed.jsonl", DISAGREEMENTS, *REVIEWS, "run.json")
    paths = [job.paths.output, *map(job.paths.beside, endings)]
    return [path.name for path in paths if path.exists()]


def write_review(job: FileJob, review: Review, held: Held | None, labels: Labels, files: list[Path]) -> list[str]:
    """Write the rows for a person in each form."""
    rows = [*records_at(files, review.places)]
    if held is not None:
        rows = [{**row, "gold": held.gold_of(row)} for row in rows]
    model = (read_manifest(job.paths.manifest) or {}).get("model")
    contents = (
        workbook(rows, labels),
        label_studio_tasks(rows, model),
        label_studio_view(labels).encode("utf-8", "replace"),
    )
    paths = [job.paths.beside(ending) for ending in REVIEWS]
    for path, content in zip(paths, contents, strict=True):
        with whole_file(path, "wb") as file:
            file.write(content)
    return [told("review", job.lang, count=len(rows), paths=", ".join(map(str, paths)))]


def _write_lines(path: Path, rows: Iterable[Record]) -> None:
    with whole_file(path, "wb") as file:
        for row in rows:
            file.write(to_json(row) + b"\n")
