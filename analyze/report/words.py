"""Which words the judgements are made of, and in how many comparisons each appears. Knows no picture and no font.

Everything is counted in one unit, comparisons (target against one rival on one task), so that a judged issue and a
word of free text with the same size mean the same. Issues are codes with a label per language, so both languages
have them; free text counts for the language it is written in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import compress
from operator import not_
from typing import TYPE_CHECKING, Literal

from analyze.judge.issues import ISSUES
from analyze.lang import Lang
from analyze.report.reading import Record
from analyze.report.safe import name
from analyze.stats.issues import IssueCount

if TYPE_CHECKING:
    from rjieba import Jieba

# Whose issue it is: more often the target's, more often the rivals', as often; or no issue but a word.
Kind = Literal["tag_target", "tag_rival", "tag_even", "word"]

_HAN_BLOCKS = (range(0x3400, 0x4DC0), range(0x4E00, 0xA000))
_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]")
_NO_HAN = re.compile(r"[^\n\u3400-\u4dbf\u4e00-\u9fff]+")
# No digits, no underscores: names out of somebody's code are not words about it. A newline is between two texts.
_LATIN_WORD = re.compile(r"\n|(?<![\w.])[a-z][a-z'’-]*[a-z](?![\w(]|\.\w)")
_MOST_CHARS = 1_000  # of one free text: a judge that rambles does not outweigh the others


@dataclass(frozen=True, slots=True)
class Word:
    text: str
    count: int
    kind: Kind

    @property
    def is_tag(self) -> bool:
        return self.kind != "word"


def issue_label(code: str, lang: Lang) -> str:
    """Return the name of an issue; a code of another version is its own."""
    label = ISSUES.get(code)
    return name(code) if label is None else str(getattr(label, lang))


def judged(tasks: Iterable[Record]) -> Iterator[tuple[Record, Record]]:
    """Yield every task with each of its rivals whose comparison has an outcome."""
    for task in tasks:
        for rival in task.get("rivals", ()):
            if rival.get("outcome") != "unscored":
                yield task, rival


def words_of(issues: Sequence[IssueCount], free: Mapping[str, int], lang: Lang) -> list[Word]:
    """Return issues, then `free` words, which are given with their counts, each the most frequent first."""
    tags = [Word(issue_label(count.code, lang), count.either, _kind(count)) for count in issues]
    taken = {tag.text for tag in tags}
    words = [Word(text, count, "word") for text, count in free.items() if text not in taken]
    return sorted(tags, key=_place) + sorted(words, key=_place)


def _place(word: Word) -> tuple[int, str]:
    return -word.count, word.text


def _kind(count: IssueCount) -> Kind:
    if count.target == count.rival:
        return "tag_even"
    return "tag_target" if count.target > count.rival else "tag_rival"


def tokens(texts: Iterable[str], lang: Lang) -> set[str]:
    """Return the words of texts written in `lang`, without stop words.

    A negation is kept with the word it denies, for 不清晰 and "no docstring" are the opposite of what would be left.
    """
    # All texts at once, a newline between two: 100,000 judgements have a million of them.
    text = "\n".join([text[:_MOST_CHARS].replace("\n", " ") for text in texts])
    pieces = _chinese(text) if lang == "zh" else _LATIN_WORD.findall(text.lower().replace("’", "'"))
    denied = _denied(pieces, lang)
    return denied.union(pieces) - _no_words(lang)  # a word that is denied wherever it stands is none by itself


def by_lang(texts: Sequence[str]) -> dict[Lang, Sequence[str]]:
    """Return the texts by the language that they are written in; without English, or without Chinese, only one."""
    if "".join(texts).isascii():  # all at once: 900,000 texts in 100,000 judgements
        return {"en": texts}
    is_chinese = [_HAN.search(text, 0, _MOST_CHARS) is not None for text in texts]
    if all(is_chinese):
        return {"zh": texts}
    return {"zh": list(compress(texts, is_chinese)), "en": list(compress(texts, map(not_, is_chinese)))}


def _chinese(text: str) -> list[str]:
    return _cutter().cut(_NO_HAN.sub(" ", text)) if text else []


def _denied(pieces: list[str], lang: Lang) -> set[str]:
    """Return words that are denied, with what denies them, and empty their places."""
    joint, no_words, negations = "" if lang == "zh" else " ", _no_words(lang), _NEGATIONS[lang]
    found = set()
    for start in [start for start, piece in enumerate(pieces) if piece in negations]:
        at = start + 1
        while at < len(pieces) and pieces[at] in _TRANSPARENT:
            at += 1
        if at < len(pieces) and pieces[at] not in no_words:
            found.add(pieces[start] + joint + pieces[at])
            pieces[at] = ""
    return found


_NEGATIONS: dict[Lang, frozenset[str]] = {
    "zh": frozenset({"不", "没", "没有", "未", "无", "缺少", "缺乏", "不够", "不能", "无法", "并未", "不会"}),
    "en": frozenset({"no", "not", "without", "never", "lacks", "missing", "doesn't", "isn't", "cannot", "can't"}),
}
# A negation reaches over these to the word it denies: "not a correct answer".
_TRANSPARENT = frozenset({" ", "a", "an", "the", "any", "very", "任何", "很", "做", "进行"})


@cache
def _no_words(lang: Lang) -> frozenset[str]:
    """Return what is no word by itself: stop words, negations, what is between words, and any one character."""
    stop = _word_list(f"stop_{lang}.txt") | _NEGATIONS[lang] | {"", " ", "\n"}
    return stop | {chr(code) for block in _HAN_BLOCKS for code in block} if lang == "zh" else stop


@cache
def _word_list(name: str) -> frozenset[str]:
    text = (files("analyze.report") / "wordlists" / name).read_text(encoding="utf-8")
    return frozenset(line for line in text.splitlines() if line and not line.startswith("#"))


@cache
def _cutter() -> Jieba:
    """Return a segmenter that keeps the terms of this trade whole: 圈复杂度过高 would be cut 圈, 复杂, 度过, 高."""
    from rjieba import Jieba

    cutter = Jieba()
    for term in sorted(_word_list("terms_zh.txt")):
        cutter.add_word(term, 100_000, "n")
    return cutter
