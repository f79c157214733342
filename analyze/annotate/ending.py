"""What an annotation ends in, when all is recorded: what there is on the console, and a page of it.

One pass over the records, from the files of the run alone. Asks nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

from analyze.annotate.page import Material, page
from analyze.annotate.results import Results, records
from analyze.console import printable
from analyze.files import whole_file
from analyze.lang import Lang
from analyze.report.outputs import Columns, build, is_built
from analyze.runs.filejob import FileJob
from analyze.runs.in_order import in_order
from analyze.runs.manifest import read_manifest

COLUMNS: Columns = {
    **dict.fromkeys(("image_path", "caption", "objects", "objects_px"), "text"),
    **dict.fromkeys(("annotations_error", "status", "error", "flags", "coords", "vlm_output", "model", "id"), "text"),
}
PAGE = "report.html"
MOST_NAMED = 5
TEXTS: dict[Lang, dict[str, str]] = {
    "en": {
        "counts": "images annotated: {annotated:,}, {empty:,} of them without objects; {objects:,} boxes",
        "names": "most frequent: {names}",
        "flags": "flagged: {flags}",
        "page": "report:   {path}",
    },
    "zh": {
        "counts": "已标注图片: {annotated:,}，其中无物体 {empty:,}；边界框 {objects:,} 个",
        "names": "最常见: {names}",
        "flags": "标记: {flags}",
        "page": "报告: {path}",
    },
}


@dataclass(frozen=True, slots=True)
class Ending:
    """Called when all is recorded (`FileJob.finish`)."""

    def __call__(self, job: FileJob) -> list[str]:
        """Write what there is to write; return what is to be said."""
        if is_built(job.paths.output):
            requests = chain.from_iterable(job.rows(job.source()).chunks())
            in_turn = in_order(requests, job.paths.answers, job.paths.failures, job.lines)
            build(job.paths.output, in_turn, COLUMNS)
        results = Results()
        for record in records([job.paths.answers, job.paths.failures]):
            results.add(record)
        if not results.rows:
            return []
        texts = TEXTS[job.lang]
        said = [texts["counts"].format(annotated=results.annotated, empty=results.empty, objects=results.objects)]
        if results.names:
            said.append(texts["names"].format(names=_counted(results.names.most_common(MOST_NAMED))))
        if results.flags:
            said.append(texts["flags"].format(flags=_counted(results.flags.most_common(MOST_NAMED))))
        return [*map(printable, said), self._write_page(job, results)]

    def _write_page(self, job: FileJob, results: Results) -> str:
        path = job.paths.beside(PAGE)
        there = [job.paths.output, job.paths.failures, job.paths.rejects, job.paths.manifest]
        material = Material(
            run=read_manifest(job.paths.manifest) or {},
            results=results,
            lang=job.lang,
            output=job.paths.output.name,
            files=[one.name for one in there if one.exists()],
        )
        with whole_file(path, "wb") as file:
            file.write(page(material).encode("utf-8", "replace"))
        return printable(TEXTS[job.lang]["page"].format(path=path))


def _counted(counts: list[tuple[str, int]]) -> str:
    return ", ".join(f"{name or '-'} {count:,}" for name, count in counts)
