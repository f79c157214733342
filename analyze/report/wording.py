"""What is shown of what the judge wrote: words and phrases. Knows no result.

To count them takes longer than all numbers of a run together, and needs none of them. So of a large run they are
counted in some of its tasks, and the page says so: how often a word is used is known well enough from those.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from analyze.lang import LANGS, Lang
from analyze.report.beside import Worker
from analyze.report.prose import Kind, Phrase, Prose, Side
from analyze.report.reading import foreign_tasks

MOST_TASKS = 5_000
"""Tasks whose words are counted. A word of every tenth comparison is then known to 1 %; all 12,500 of 100,000
judgements took 9 s of CPU, twice what their statistics do."""


@dataclass(frozen=True, slots=True)
class Wording:
    """In how many comparisons each word of a language was, and the phrases of each list, the most frequent first.

    They are those of `heard` tasks, of `tasks` that there are.
    """

    words: Mapping[Lang, Mapping[str, int]]
    phrases: Mapping[tuple[Kind, Side], list[Phrase]]
    heard: int
    tasks: int


class Listener(Worker[Wording]):
    """A worker that is told nothing, but reads all tasks itself: told faster than it hears, they would pile up.

    Where there was no model (`measured`) free text is sentences of this program's own: its words say nothing.
    """

    def __init__(self, folder: Path, measured: bool) -> None:
        self._folder, self._measured = folder, measured

    def finish(self) -> None:
        prose = Prose()
        heard, tasks = foreign_tasks(self._folder, MOST_TASKS)
        for task in heard:
            prose.hear(task)
        free = {lang: {} if self._measured else prose.words[lang] for lang in LANGS}
        self._wording = Wording(free, prose.phrases(), prose.tasks, tasks)

    def result(self) -> Wording:
        return self._wording
