"""Edits by the tokens of Pygments, in whatever language it knows. Knows no judge and runs nothing."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

_DOC_COMMENT = ("//", "/*", "#", "--")  # how documentation begins where it is a comment, and not a text of the program
_TOLD_TO_COMPILERS = ("{-#", "//go:", "//export ", "# frozen_string_literal", "#!")


class Piece(NamedTuple):
    """One token of Pygments: where it begins, its kind, its text."""

    start: int
    kind: Any
    text: str

    @property
    def end(self) -> int:
        return self.start + len(self.text)


class Cut(NamedTuple):
    """What is taken out of code, by its indices, and what stands there instead."""

    start: int
    end: int
    instead: str = ""


def cut_out(code: str, cuts: Iterable[Cut]) -> str:
    """Return code without some parts, and without the lines that held nothing else."""
    for start, end, instead in sorted(cuts, reverse=True):
        line_start = code.rfind("\n", 0, start) + 1
        line_end = end + len(code[end:].partition("\n")[0])
        left, right = code[line_start:start], code[end:line_end]
        if instead:
            left, right = left + instead, right
        elif left.strip() and right.strip():
            left += "\n" if "\n" in code[start:end] else " "  # a line end in a comment may end a statement
        elif left.strip():
            left, right = left.rstrip(), ""
        elif right.strip():
            right = right.lstrip()
        else:
            left, right, line_end = "", "", line_end + 1
        code = code[:line_start] + left + right + code[line_end:]
    return code


@lru_cache(maxsize=16)  # an edit reads the same code several times over
def pieces_of(code: str, language: str) -> Sequence[Piece]:
    """Cut code into tokens, nothing left out; none at all in a language that Pygments does not know."""
    from pygments.lexers import get_lexer_by_name
    from pygments.util import ClassNotFound

    try:
        lexer = get_lexer_by_name(language)
    except ClassNotFound:
        return ()
    return () if lexer.name == "Text only" else tuple(itertools.starmap(Piece, lexer.get_tokens_unprocessed(code)))


def comments_in(pieces: Iterable[Piece]) -> list[Piece]:
    """Return the comments whole, without white space at their ends, but for those that tell a compiler something."""
    found: list[Piece] = []
    for piece in pieces:
        if not is_comment(piece):
            continue
        last = found[-1] if found else None
        if last and last.end == piece.start and not last.text.endswith("\n"):
            found[-1] = last._replace(text=last.text + piece.text)
        else:
            found.append(piece)
    whole = [piece._replace(text=piece.text.rstrip()) for piece in found]
    return [piece for piece in whole if not piece.text.startswith(_TOLD_TO_COMPILERS)]


def is_comment(piece: Piece) -> bool:
    from pygments.token import Comment, String

    if piece.kind in String.Doc:
        return piece.text.startswith(_DOC_COMMENT)
    code_after_all = (Comment.Preproc, Comment.PreprocFile, Comment.Hashbang)
    return piece.kind in Comment and not any(piece.kind in other for other in code_after_all)


def words_of(code: str, language: str) -> list[str]:
    """Return what is neither comment nor white space: two texts of the same words are the same program."""
    return [word for piece in pieces_of(code, language) if not is_comment(piece) and (word := piece.text.strip())]


def is_balanced(code: str, language: str) -> bool:
    """Whether as many braces open as close: behind a part of a program there is no place for a function."""
    from pygments.token import String

    counted = "".join(p.text for p in pieces_of(code, language) if p.kind not in String and not is_comment(p))
    return counted.count("{") == counted.count("}")


def in_first_class(code: str, language: str) -> int | None:
    """Return the index right behind the brace that opens the first class; None where there is none."""
    from pygments.token import Name

    pieces = [piece for piece in pieces_of(code, language) if not is_comment(piece) and piece.text.strip()]
    for number, (keyword, name) in enumerate(itertools.pairwise(pieces)):
        if keyword.text == "class" and name.kind in Name:
            opening = (piece for piece in pieces[number:] if "{" in piece.text)
            return next((piece.start + piece.text.index("{") + 1 for piece in opening), None)
    return None
