"""Other names for local variables in languages with braces, by tokens alone. Runs nothing, and knows no types.

A name is replaced, everywhere in the file, only where tokens leave no doubt that it is always the same local variable:
every function that holds it declares it first; it is never a member, a key, a label, a call, or a shorthand for a
field; and no text, comment or macro holds the word.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from analyze.judge.edits_by_token import Cut, Piece, cut_out, is_comment, pieces_of, words_of

# How many braces stand around the body of a function, at least.
_DEPTH = {"javascript": 1, "typescript": 1, "rust": 1, "go": 1, "c": 1, "cpp": 1, "java": 2}
_DECLARING = {
    **dict.fromkeys(("javascript", "typescript"), frozenset({"let", "const", "var"})),
    "rust": frozenset({"let", "mut"}),
    "cpp": frozenset({"auto"}),
    "java": frozenset({"var"}),
}
_TYPED = ("c", "cpp", "java")  # where the name of a built-in type declares, too
_SHORTHAND = ("javascript", "typescript", "rust")  # where `{ a, b }` names fields

_BEFORE_OTHERS = frozenset({".", "->", "::", "?.", "#", "@", "'", "goto", "struct", "enum", "class", "union"})
_BEHIND_OTHERS = frozenset({"(", "::", "!"})


class _Place(NamedTuple):
    """Where a name stands: its token, the tokens beside it, in which function (0: in none), in which bracket."""

    piece: Piece
    before: Piece
    behind: Piece
    function: int
    bracket: str


def with_new_names(code: str, language: str) -> str | None:
    """Return the code with other names for local variables; None where there is none to rename without doubt."""
    if language not in _DEPTH:
        return None
    pieces = pieces_of(code, language)
    places: dict[str, list[_Place]] = {}
    for place in _places(pieces, _DEPTH[language]):
        places.setdefault(place.piece.text, []).append(place)
    kept = set(_words_elsewhere(pieces))
    local = [name for name, found in places.items() if name not in kept and _is_local(found, language)]
    fresh = (name for number in itertools.count(1) if (name := f"v{number}") not in places and name not in kept)
    names = dict(zip(local, fresh, strict=False))
    cuts = [Cut(one.piece.start, one.piece.end, names[name]) for name in local for one in places[name]]
    edited = cut_out(code, cuts)
    expected = [names.get(word, word) for word in words_of(code, language)]
    return edited if names and words_of(edited, language) == expected else None


def _places(pieces: Sequence[Piece], depth_of_functions: int) -> Iterator[_Place]:
    """Yield every place where a name stands."""
    from pygments.token import Name, String

    code = [piece for piece in pieces if not is_comment(piece) and piece.text.strip()]
    brackets: list[str] = []
    functions = 0
    nothing = Piece(0, None, "")
    for before, piece, behind in zip([nothing, *code], code, [*code[1:], nothing], strict=False):
        if piece.kind in Name:
            inside = brackets.count("{") >= depth_of_functions
            yield _Place(piece, before, behind, functions if inside else 0, brackets[-1] if brackets else "")
        elif piece.kind not in String:
            for character in piece.text:
                if character in "([{":
                    brackets.append(character)
                    functions += character == "{" and brackets.count("{") == depth_of_functions
                elif character in ")]}" and brackets:
                    brackets.pop()


def _words_elsewhere(pieces: Sequence[Piece]) -> Iterator[str]:
    """Yield the words of comments, texts, macros, and whatever else is no name."""
    from pygments.token import Name

    for piece in pieces:
        if piece.kind not in Name or piece.kind in Name.Builtin or piece.kind in Name.Decorator:
            yield from re.findall(r"\w+", piece.text)


def _is_local(places: Sequence[_Place], language: str) -> bool:
    declared: set[int] = set()
    for place in places:
        declares = _declares(place, language)
        if declares:
            declared.add(place.function)
        if place.function == 0 or place.function not in declared or _is_other(place, language, declares):
            return False
    return True


def _declares(place: _Place, language: str) -> bool:
    from pygments.token import Keyword

    if language == "go":
        return place.behind.text == ":="
    is_typed = (
        language in _TYPED and place.before.kind in Keyword.Type and place.behind.text in ("=", ";", ":", ",", "[")
    )
    return is_typed or place.before.text in _DECLARING.get(language, ())


def _is_other(place: _Place, language: str, declares: bool) -> bool:
    """Whether a name may be something else here than a variable: a member, a key, a label, a call, a shorthand."""
    before, behind = place.before.text, place.behind.text
    is_key = behind == ":" and not declares
    is_shorthand = language in _SHORTHAND and place.bracket == "{" and before in ("{", ",")
    return before in _BEFORE_OTHERS or behind in _BEHIND_OTHERS or is_key or is_shorthand
