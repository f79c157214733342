"""Source code as coloured HTML. Knows Pygments' tokens and seven classes of ours; runs nothing, has no colours.

Only what guides the eye gets a tag: names and punctuation are most of a program and stay plain, which halves the page.
"""

from __future__ import annotations

from functools import cache
from html import escape
from typing import TYPE_CHECKING

from analyze.report.safe import cut

if TYPE_CHECKING:
    from markupsafe import Markup
    from pygments.lexer import Lexer

# Characters of one solution on a page: 24 tasks of 5 solutions stay far under 2 MB, and a lexer meets no more than
# this of hostile input.
MOST_CHARS = 5_000

_CLASSES = {
    "Token.Comment": "hc",
    "Token.Literal.String": "hs",
    "Token.Literal.Number": "hn",
    "Token.Keyword": "hk",
    "Token.Operator.Word": "hk",
    "Token.Name.Function": "hf",
    "Token.Name.Class": "hf",
    "Token.Name.Decorator": "hd",
    "Token.Name.Builtin": "hb",
    "Token.Name.Exception": "hb",
}


def highlighted(code: str, language: str) -> Markup:
    """Return at most `MOST_CHARS` of `code` as escaped HTML with `<i class>` around keywords, strings, comments."""
    from markupsafe import Markup

    pieces = []
    for kind, text in _lexer(language.lower()).get_tokens(cut(code, MOST_CHARS)):
        css = _css_class(str(kind))
        pieces.append(f'<i class="{css}">{escape(text)}</i>' if css else escape(text))
    return Markup("".join(pieces))


@cache
def _lexer(language: str) -> Lexer:
    from pygments.lexers import get_lexer_by_name
    from pygments.lexers.special import TextLexer
    from pygments.util import ClassNotFound

    try:
        return get_lexer_by_name(language, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return TextLexer(stripnl=False, ensurenl=False)


@cache
def _css_class(kind: str) -> str:
    """Return the class of a token type such as `Token.Literal.String.Doc`: its own or its nearest parent's."""
    while kind and kind not in _CLASSES:
        kind = kind.rpartition(".")[0]
    return _CLASSES.get(kind, "")
