"""Which words the judgements are made of, and in how many comparisons each appears. Knows no picture and no font.

Everything is counted in one unit, comparisons (target against one rival on one task), so that a judged issue and a
word of free text with the same size mean the same. Issues are codes with a label per language, so both languages
have them; free text counts for the language it is written in.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Literal

from analyze.judge.issues import ISSUES
from analyze.lang import Lang
from analyze.report.reading import Record
from analyze.report.safe import name
from analyze.stats.issues import IssueCount, count_issues

if TYPE_CHECKING:
    from rjieba import Jieba

# Whose issue it is: more often the target's, more often the rivals', as often; or no issue but a word.
Kind = Literal["tag_target", "tag_rival", "tag_even", "word"]

_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]")
_HAN_WORD = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]+")
# No digits, no underscores: names out of somebody's code are not words about it.
_LATIN_WORD = re.compile(r"(?<![\w.])[a-z][a-z'’-]*[a-z](?![\w(]|\.\w)")
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


def words_of(tasks: Sequence[Record], lang: Lang, *, free_text: bool = True) -> list[Word]:
    """Return issues, then (with `free_text`) words of what was written in `lang`, each the most frequent first."""
    named = count_issues(rival.get("issues") or {} for _, rival in judged(tasks))
    tags = [Word(issue_label(count.code, lang), count.either, _kind(count)) for count in named]
    counts: Counter[str] = Counter()
    for _, rival in judged(tasks) if free_text else ():
        counts.update({word for text in _free_texts(rival) for word in tokens(text, lang)})
    free = [Word(text, count, "word") for text, count in counts.items()]
    taken = {tag.text for tag in tags}
    return sorted(tags, key=_place) + sorted((word for word in free if word.text not in taken), key=_place)


def _place(word: Word) -> tuple[int, str]:
    return -word.count, word.text


def _kind(count: IssueCount) -> Kind:
    if count.target == count.rival:
        return "tag_even"
    return "tag_target" if count.target > count.rival else "tag_rival"


def _free_texts(rival: Record) -> Iterator[str]:
    for side in ("target", "rival"):
        yield from (rival.get("strengths") or {}).get(side, ())
        yield from (rival.get("weaknesses") or {}).get(side, ())
    yield from (cell.get("reason") or "" for cell in rival.get("cells", ()))


def tokens(text: str, lang: Lang) -> list[str]:
    """Return the words of `text` where it is written in `lang`, without stop words; none where it is not.

    A negation is kept with the word it denies, for 不清晰 and "no docstring" are the opposite of what would be left.
    """
    text = text[:_MOST_CHARS]
    chinese = bool(_HAN.search(text))
    if chinese != (lang == "zh"):
        return []
    pieces = _chinese(text) if chinese else [word.replace("’", "'") for word in _LATIN_WORD.findall(text.lower())]
    return list(_denied(pieces, lang))


def _chinese(text: str) -> list[str]:
    return [piece for run in _HAN_WORD.findall(text) for piece in _cutter().cut(run)]


def _denied(pieces: Iterable[str], lang: Lang) -> Iterator[str]:
    stop, negations = _word_list(f"stop_{lang}.txt"), _NEGATIONS[lang]
    joint = "" if lang == "zh" else " "
    denial = ""
    for piece in pieces:
        if piece in negations:
            denial = piece + joint
        elif piece in stop or len(piece) < 2:
            denial = denial if piece in _TRANSPARENT else ""
        else:
            yield denial + piece
            denial = ""


_NEGATIONS: dict[Lang, frozenset[str]] = {
    "zh": frozenset({"不", "没", "没有", "未", "无", "缺少", "缺乏", "不够", "不能", "无法", "并未", "不会"}),
    "en": frozenset({"no", "not", "without", "never", "lacks", "missing", "doesn't", "isn't", "cannot", "can't"}),
}
# A negation reaches over these to the word it denies: "not a correct answer".
_TRANSPARENT = frozenset({"a", "an", "the", "any", "very", "任何", "很", "做", "进行"})


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
