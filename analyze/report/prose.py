"""What the judge wrote, counted a task at a time as it is read: words and phrases. Keeps what is counted, not the text.

The judge's own sentences are most of a run; nothing but counts of them is shown beyond the tasks that a page opens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from heapq import nsmallest
from typing import Literal

from analyze.lang import LANGS, Lang
from analyze.report.reading import Record
from analyze.report.safe import cut
from analyze.report.words import is_chinese, judged, tokens

Side = Literal["target", "rival"]
Kind = Literal["strengths", "weaknesses"]
PHRASE_CHARS = 300

SIDES: tuple[Side, ...] = ("target", "rival")
KINDS: tuple[Kind, ...] = ("strengths", "weaknesses")


@dataclass(frozen=True, slots=True)
class Phrase:
    """A strength or weakness, in how many comparisons it was named, and a task that has it."""

    text: str
    count: int
    task_id: str


class Prose:
    """Counts what it hears. The order in which tasks come changes nothing."""

    def __init__(self) -> None:
        self.words: dict[Lang, Counter[str]] = {lang: Counter() for lang in LANGS}
        self._phrases = {(kind, side): _Phrases() for kind in KINDS for side in SIDES}

    def hear(self, task: Record) -> None:
        for _, rival in judged((task,)):
            texts: dict[Lang, list[str]] = {lang: [] for lang in LANGS}
            for text in _free_texts(rival):
                texts["zh" if is_chinese(text) else "en"].append(text)
            for lang, own in texts.items():
                self.words[lang].update(tokens(own, lang))
            for (kind, side), phrases in self._phrases.items():
                phrases.hear((rival.get(kind) or {}).get(side, ()), task["task_id"])

    def phrases(self, kind: Kind, side: Side, most: int) -> list[Phrase]:
        """Return the most frequent phrases; equal but for case and space is the same."""
        return self._phrases[kind, side].most_frequent(most)


class _Phrases:
    """Phrases by their text in lower case, and of each the first task by id that has it, with its own writing."""

    def __init__(self) -> None:
        self._first: dict[str, tuple[str, str]] = {}
        self._again: Counter[str] = Counter()  # most phrases are of one comparison alone

    def hear(self, phrases: Iterable[str], task_id: str) -> None:
        """Count the phrases of one comparison, each once."""
        for key, phrase in {" ".join(phrase.split()).lower(): phrase for phrase in phrases if phrase.strip()}.items():
            if key not in self._first:
                self._first[key] = (task_id, phrase)
            else:
                self._again[key] += 1
                if task_id < self._first[key][0]:
                    self._first[key] = (task_id, phrase)

    def most_frequent(self, most: int) -> list[Phrase]:
        ranked = nsmallest(most, self._first, key=lambda key: (-self._again[key], key))
        return [
            Phrase(cut(self._first[key][1], PHRASE_CHARS), 1 + self._again[key], self._first[key][0]) for key in ranked
        ]


def _free_texts(rival: Record) -> Iterator[str]:
    for kind in KINDS:
        for side in SIDES:
            yield from (rival.get(kind) or {}).get(side, ())
    yield from (cell.get("reason") or "" for cell in rival.get("cells", ()))
