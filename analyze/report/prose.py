"""What the judge wrote, counted a task at a time as it is read: words and phrases. Keeps no text.

The judge's own sentences are most of a run; nothing but counts of them is shown beyond the tasks that a page opens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from itertools import chain
from typing import Literal

from analyze.lang import LANGS, Lang
from analyze.report.reading import Record
from analyze.report.safe import name, visible
from analyze.report.words import by_lang, judged, tokens

Side = Literal["target", "rival"]
Kind = Literal["strengths", "weaknesses"]
PHRASE_CHARS = 300

MOST_PHRASES = 8
"""Of each list of strengths or weaknesses."""

SIDES: tuple[Side, ...] = ("target", "rival")
KINDS: tuple[Kind, ...] = ("strengths", "weaknesses")
_LISTS = tuple((kind, side) for kind in KINDS for side in SIDES)


@dataclass(frozen=True, slots=True)
class Phrase:
    """A strength or weakness, in how many comparisons it was named, and a task that has it."""

    text: str
    count: int
    task_id: str


class Prose:
    """Counts what it hears: in how many comparisons each word was, and each phrase. In whatever order tasks come.

    Tasks are heard as they were written (`foreign_tasks`): a word has letters alone, and phrases are made visible.
    """

    def __init__(self) -> None:
        self.words: dict[Lang, Counter[str]] = {lang: Counter() for lang in LANGS}
        self.tasks = 0
        self._phrases = {of: _Phrases() for of in _LISTS}

    def hear(self, task: Record) -> None:
        self.tasks += 1
        for _, rival in judged((task,)):
            lists: list[Sequence[str]] = [(rival.get(kind) or {}).get(side, ()) for kind, side in _LISTS]
            reasons = [reason for cell in rival.get("cells", ()) if (reason := cell.get("reason"))]
            for lang, own in by_lang([*chain.from_iterable(lists), *reasons]).items():
                self.words[lang].update(tokens(own, lang))
            for heard, phrases in zip(self._phrases.values(), lists, strict=True):
                heard.hear(phrases, task["task_id"])

    def phrases(self) -> dict[tuple[Kind, Side], list[Phrase]]:
        """Return the most frequent phrases of each list; equal but for case and space is the same."""
        return {of: phrases.most_frequent(MOST_PHRASES) for of, phrases in self._phrases.items()}


class _Phrases:
    """Phrases by their text in lower case, and of each the first task by id that has it, with its own writing."""

    def __init__(self) -> None:
        self._first: dict[str, str] = {}
        self._written: dict[str, str] = {}  # where it is another than the text itself
        self._again: Counter[str] = Counter()  # most phrases are of one comparison alone

    def hear(self, phrases: Iterable[str], task_id: str) -> None:
        """Count the phrases of one comparison, each once."""
        for key, phrase in {" ".join(phrase.split()).lower(): phrase for phrase in phrases}.items():
            first = self._first.get(key)
            if first is not None:
                self._again[key] += 1
            if first is None or task_id < first:
                self._first[key] = task_id
                if key != phrase:
                    self._written[key] = phrase
                else:
                    self._written.pop(key, None)

    def most_frequent(self, most: int) -> list[Phrase]:
        self._first.pop("", None)
        self._again.pop("", None)
        # Where there are enough that were heard again, those are it: 800,000 phrases of 100,000 judgements were not.
        candidates = self._again if len(self._again) >= most else self._first
        ranked = nsmallest(most, candidates, key=lambda key: (-self._again[key], key))
        return [self._phrase(key) for key in ranked]

    def _phrase(self, key: str) -> Phrase:
        text = visible(self._written.get(key, key), PHRASE_CHARS)
        return Phrase(text, 1 + self._again[key], name(self._first[key]))
