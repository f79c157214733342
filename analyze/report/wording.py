"""What is shown of what the judge wrote: words and phrases. Knows no result.

To count them takes as long as all numbers of a run together, and needs none of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from analyze.lang import LANGS, Lang
from analyze.report.beside import Worker
from analyze.report.prose import Kind, Phrase, Prose, Side
from analyze.report.reading import foreign_tasks
from analyze.report.words import Word, words_of


@dataclass(frozen=True, slots=True)
class Wording:
    """The words of each language, issues first, and the phrases of each list, the most frequent first."""

    words: Mapping[Lang, list[Word]]
    phrases: Mapping[tuple[Kind, Side], list[Phrase]]


class Listener(Worker[Wording]):
    """A worker that is told nothing, but reads all tasks itself: told faster than it hears, they would pile up.

    Where there was no model (`measured`) free text is sentences of this program's own: its words say nothing.
    """

    def __init__(self, folder: Path, measured: bool) -> None:
        self._folder, self._measured = folder, measured

    def finish(self) -> None:
        prose = Prose()
        for task in foreign_tasks(self._folder):
            prose.hear(task)
        issues = prose.issues.counts()
        free = {lang: {} if self._measured else prose.words[lang] for lang in LANGS}
        self._wording = Wording({lang: words_of(issues, free[lang], lang) for lang in LANGS}, prose.phrases())

    def result(self) -> Wording:
        return self._wording
