"""What an inference ends in, when all is recorded: the journal in order, answers, figures, a page.

    results/infer ──> lay_out ──> extract ──> results/extract, results/text
                                     └──> evaluate ──> results/evaluation.json ──> report.html
From the files of the run and the task's own code alone: asks nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from analyze.errors import in_language
from analyze.files import whole_file, write_whole
from analyze.infer.extracting import Extracted, extract
from analyze.infer.job import InferJob
from analyze.infer.page import Material, page
from analyze.infer.plain import plain_json
from analyze.infer.records import Record
from analyze.infer.results import Results
from analyze.infer.segments import EARLIER, lay_out
from analyze.infer.tasks import Task, TaskError
from analyze.infer.telling import SHOWN_CHARS, extracted_lines, figure_lines, told
from analyze.infer.tree import Tree
from analyze.lang import Lang
from analyze.records import from_json, to_json
from analyze.runs.filejob import FileJob
from analyze.runs.journal import read_lines
from analyze.runs.manifest import read_manifest

EXTRACTED = ("answer", "answers", "extract_status")
"""What `evaluate` is told of an extraction, beside the record; `answers` where a row has several replies."""

REJECTS_TOLD = 3  # the others are listed


@dataclass(slots=True)
class WrapUp:
    """Extraction and all that follows it. `failed` tells at its end whether the task's own code raised anything."""

    tree: Tree
    task: Task
    lang: Lang
    save_text: bool = False
    failed: bool = False
    extracted: Extracted = field(default_factory=Extracted)

    def __call__(self) -> list[str]:
        """Write what there is to write; return what is to be said."""
        tree, lang, results = self.tree, self.lang, Results()
        rows: list[Record] = []

        def heard(record: Record, answer: Record) -> None:
            results.add(record, answer)
            if self.task.evaluate is not None:
                rows.append({**record, **{name: answer[name] for name in EXTRACTED if name in answer}})

        self.extracted = extract(tree, self.task, save_text=self.save_text, heard=heard)
        said = extracted_lines(self.extracted, lang, path=tree.extract, changed=tree.changed)
        figures, problem = self._evaluated(rows)
        if figures is not None:
            said += figure_lines(figures, lang)
        if problem is not None:
            said.append(told("evaluate", lang, problem=in_language(problem, lang)))
        self.failed = bool(self.extracted.errors) or problem is not None
        if self.save_text:
            said.append(told("text", lang, path=tree.text))
        material = Material(read_manifest(tree.manifest) or {}, self.task, self.extracted, results, figures, problem)
        with whole_file(tree.page, "wb") as file:
            file.write(page(material, lang).encode("utf-8", "replace"))
        return [*said, told("page", lang, path=tree.page)]

    def _evaluated(self, rows: list[Record]) -> tuple[Mapping[str, Any] | None, str | None]:
        """Return the figures of the task's own `evaluate`, and what went wrong with it. Where there are none, there is
        no file either."""
        path = self.tree.evaluation
        path.unlink(missing_ok=True)
        if self.task.evaluate is None or not rows:
            return None, None
        try:
            value = self.task.evaluate(rows)
            figures = from_json(plain_json(value))
        except TaskError as error:
            return None, str(error)
        except (TypeError, ValueError) as error:
            return None, f"evaluate gave {type(value).__name__}, which is no JSON: {error}"
        if not isinstance(figures, dict):
            figures = {"value": figures}
        write_whole(path, to_json(figures) + b"\n")
        return figures, None


@dataclass(frozen=True, slots=True)
class Ending:
    """Called when an execution has ended (`FileJob.finish`)."""

    wrap_up: WrapUp

    def __call__(self, job: FileJob) -> list[str]:
        """Put the journal in order and wrap up, if all rows have been asked; return what is to be said."""
        assert isinstance(job, InferJob)
        job.checkpoints.end()
        said = [
            told("reject", job.lang, reason=in_language(reason, job.lang)[:SHOWN_CHARS])
            for reason in _first_reasons(job.tree.rejects)
        ]
        run = read_manifest(job.paths.manifest) or {}
        if run.get("finished") is None:
            return [*said, told("later", job.lang)]
        if earlier := lay_out(job.tree, job.layout()):
            said.append(told("earlier", job.lang, count=earlier, path=job.tree.infer / EARLIER))
        return [*said, *self.wrap_up()]


def _first_reasons(rejects: Path) -> list[str]:
    """Return why the first of the rows that could not be asked could not."""
    return [from_json(line)["reason"] for _, line in islice(read_lines(rejects), REJECTS_TOLD)]
