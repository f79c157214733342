"""Edits of a solution that leave what it does as it is: for asking whether they move a verdict. Knows no judge.

    planted             one comment more, at the top
    without_comments    no comment, no docstring
    renamed             other names for local variables (Python)
    with_dead_function  one function more, which nobody calls

Each returns the edited code, or None where it cannot be made without doubt: an unknown language, code that does not
parse, brackets that do not match. What is made is held against the original before it is handed out: Python by its
syntax tree, other languages by the sequence of Pygments' tokens. The same code always gives the same edit. Line ends
become line feeds on the way.
"""

from __future__ import annotations

import ast
import builtins
import io
import itertools
import re
import tokenize
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from analyze.facts.languages import canonical

# What opens a comment that ends with its line.
_LINE_COMMENT = {
    language: mark
    for mark, languages in {
        "//": "c cpp csharp objective-c java javascript typescript tsx go rust zig swift kotlin scala php solidity "
        "fsharp dart groovy d haxe",
        "#": "python ruby perl r bash gdscript julia elixir powershell",
        "--": "lua haskell sql ada elm",
        "%": "erlang matlab",
        ";": "common-lisp clojure",
        "!": "fortran",
    }.items()
    for language in languages.split()
}
_DOC_COMMENT = ("//", "/*", "#", "--")  # how documentation begins where it is a comment, and not a text of the program
_TOLD_TO_COMPILERS = ("{-#", "//go:", "//export ", "# frozen_string_literal", "#!")

# What must stay first: `#!`, `<?php`, the encoding of a Python or Ruby file.
_HEAD = re.compile(r"(?:#![^\[\n][^\n]*\n)?(?:\s*<\?php\b[^\n]*\n)?(?:#[^\n]*coding[:=][^\n]*\n)?")

_CURLY = """
{declared}(int value) {{
    int total = 0;
    for (int step = 0; step < value; step++) {{
        total += step;
    }}
    return total;
}}
"""
_UNTYPED = """
function unusedHelper({parameter}){result} {{
  let total = 0;
  for (let step = 0; step < value; step += 1) {{
    total += step;
  }}
  return total;
}}
"""
_DEAD_FUNCTIONS = {
    "python": """

def unused_helper(value):
    total = 0
    for step in range(value):
        total += step
    return total
""",
    "javascript": _UNTYPED.format(parameter="value", result=""),
    "typescript": _UNTYPED.format(parameter="value: number", result=": number"),
    "c": _CURLY.format(declared="static int unused_helper"),
    "cpp": _CURLY.format(declared="static int unused_helper"),
    "go": """
func unusedHelper(value int) int {
	total := 0
	for step := 0; step < value; step++ {
		total += step
	}
	return total
}
""",
    "rust": """
fn unused_helper(value: i32) -> i32 {
    let mut total = 0;
    for step in 0..value {
        total += step;
    }
    total
}
""",
    "java": """
    private static int unusedHelper(int value) {
        int total = 0;
        for (int step = 0; step < value; step++) {
            total += step;
        }
        return total;
    }
""",
}
_DEAD_FUNCTIONS["csharp"] = _DEAD_FUNCTIONS["java"]
_IN_A_CLASS = ("java", "csharp")
_DEAD_NAMES = frozenset({"unused_helper", "unusedHelper"})

_ENCODING = re.compile(r"#!|#.*coding[:=]")
_LOOK_UP_NAMES = frozenset({"eval", "exec", "locals", "vars", "globals", "dir"})

_Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


class _Python(NamedTuple):
    """Python that parses: its text, its tree, its tokens."""

    code: str
    tree: ast.Module
    tokens: Sequence[tokenize.TokenInfo]


class _Piece(NamedTuple):
    """One token of Pygments: where it begins, its kind, its text."""

    start: int
    kind: Any
    text: str

    @property
    def end(self) -> int:
        return self.start + len(self.text)


class _Cut(NamedTuple):
    """What is taken out of code, by its indices, and what stands there instead."""

    start: int
    end: int
    instead: str = ""


def planted(code: str, language: str, sentence: str) -> str | None:
    """Return the code with one comment more, as its first line (behind `#!` and the like)."""
    code, language = _with_line_feeds(code), canonical(language)
    mark = _LINE_COMMENT.get(language)
    if mark is None:
        return None
    head = _HEAD.match(code)
    at = head.end() if head else 0
    edited = f"{code[:at]}{mark} {sentence}\n{code[at:]}"
    is_comment = any(sentence in piece.text for piece in _comments(_pieces(edited, language)))
    return edited if is_comment and _words(edited, language) == _words(code, language) else None


def without_comments(code: str, language: str) -> str | None:
    """Return the code without comments, in Python without docstrings too; as it is where it has none."""
    plain, language = _with_line_feeds(code), canonical(language)
    if language == "python":
        edited = _python_without_comments(plain)
    else:
        cuts = [_Cut(piece.start, piece.end) for piece in _comments(_pieces(plain, language))]
        edited, words = _cut_out(plain, cuts), _words(plain, language)
        edited = edited if words and _words(edited, language) == words else None
    return code if edited == plain else edited


def renamed(code: str, language: str) -> str | None:
    """Return the code with other names for local variables; None where there is none to rename without doubt.

    Parameters, functions and attributes keep their names: they are what a task asks for. So does a variable that a
    comment or a text may speak of.
    """
    before = _python(_with_line_feeds(code)) if canonical(language) == "python" else None
    names = _new_names(before) if before else {}
    if before is None or not names:
        return None
    after = _python(_cut_out(before.code, _name_cuts(before, names)))
    return after.code if after and _shape(_with_ids(before.tree, names)) == _shape(after.tree) else None


def with_dead_function(code: str, language: str) -> str | None:
    """Return the code with one function more, which nobody calls: at its end, in Java and C# in its first class."""
    code, language = _with_line_feeds(code), canonical(language)
    function, words = _DEAD_FUNCTIONS.get(language), _words(code, language)
    if not function or not words or not _is_balanced(code, language) or not _DEAD_NAMES.isdisjoint(words):
        return None
    at = _in_first_class(code, language) if language in _IN_A_CLASS else len(code)
    if at is None:
        return None
    edited = code[:at] + function + code[at:]
    if language == "python" and not (_python(code) and _python(edited)):
        return None
    before = len(_words(code[:at], language))
    expected = [*words[:before], *_words(function, language), *words[before:]]
    return edited if _words(edited, language) == expected else None


def _with_line_feeds(code: str) -> str:
    return code.replace("\r\n", "\n").replace("\r", "\n")


def _cut_out(code: str, cuts: Iterable[_Cut]) -> str:
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


# --- any language, by the tokens of Pygments ---


@lru_cache(maxsize=16)  # an edit reads the same code several times over
def _pieces(code: str, language: str) -> Sequence[_Piece]:
    """Cut code into tokens, nothing left out; none at all in a language that Pygments does not know."""
    from pygments.lexers import get_lexer_by_name
    from pygments.util import ClassNotFound

    try:
        lexer = get_lexer_by_name(language)
    except ClassNotFound:
        return ()
    return () if lexer.name == "Text only" else tuple(itertools.starmap(_Piece, lexer.get_tokens_unprocessed(code)))


def _comments(pieces: Iterable[_Piece]) -> list[_Piece]:
    """Return the comments whole, without white space at their ends, but for those that tell a compiler something."""
    found: list[_Piece] = []
    for piece in pieces:
        if not _is_comment(piece):
            continue
        last = found[-1] if found else None
        if last and last.end == piece.start and not last.text.endswith("\n"):
            found[-1] = last._replace(text=last.text + piece.text)
        else:
            found.append(piece)
    whole = [piece._replace(text=piece.text.rstrip()) for piece in found]
    return [piece for piece in whole if not piece.text.startswith(_TOLD_TO_COMPILERS)]


def _is_comment(piece: _Piece) -> bool:
    from pygments.token import Comment, String

    if piece.kind in String.Doc:
        return piece.text.startswith(_DOC_COMMENT)
    code_after_all = (Comment.Preproc, Comment.PreprocFile, Comment.Hashbang)
    return piece.kind in Comment and not any(piece.kind in other for other in code_after_all)


def _words(code: str, language: str) -> list[str]:
    """Return what is neither comment nor white space: two texts of the same words are the same program."""
    return [word for piece in _pieces(code, language) if not _is_comment(piece) and (word := piece.text.strip())]


def _is_balanced(code: str, language: str) -> bool:
    """Whether as many braces open as close: behind a part of a program there is no place for a function."""
    from pygments.token import String

    counted = "".join(p.text for p in _pieces(code, language) if p.kind not in String and not _is_comment(p))
    return counted.count("{") == counted.count("}")


def _in_first_class(code: str, language: str) -> int | None:
    """Return the index right behind the brace that opens the first class; None where there is none."""
    from pygments.token import Name

    pieces = [piece for piece in _pieces(code, language) if not _is_comment(piece) and piece.text.strip()]
    for number, (keyword, name) in enumerate(itertools.pairwise(pieces)):
        if keyword.text == "class" and name.kind in Name:
            opening = (piece for piece in pieces[number:] if "{" in piece.text)
            return next((piece.start + piece.text.index("{") + 1 for piece in opening), None)
    return None


# --- Python, by its tree ---


def _python(code: str) -> _Python | None:
    """Read Python; None where it is none, or where a hostile one is nested too deeply."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an invalid escape sequence warns
        try:
            return _Python(code, ast.parse(code), list(tokenize.generate_tokens(io.StringIO(code).readline)))
        except (SyntaxError, ValueError, tokenize.TokenError, RecursionError, MemoryError):
            return None


def _shape(tree: ast.AST) -> list[object]:
    """Return all that is in a tree but its line numbers, node by node: two trees of one shape are the same program."""

    def inner(value: object) -> object:
        if isinstance(value, list):
            return [inner(one) for one in value]
        return "a node" if isinstance(value, ast.AST) else (type(value), repr(value))

    return [(type(node), [inner(value) for _, value in ast.iter_fields(node)]) for node in ast.walk(tree)]


def _indices(code: str) -> tuple[Callable[[int, int], int], Callable[[int, int], int]]:
    """Return what makes an index of a line (from 1) and a column: one for characters, one for bytes of UTF-8."""
    lines = code.split("\n")
    starts = list(itertools.accumulate((len(line) + 1 for line in lines), initial=0))

    def by_characters(line: int, column: int) -> int:
        return starts[line - 1] + column

    def by_bytes(line: int, column: int) -> int:
        return starts[line - 1] + len(lines[line - 1].encode()[:column].decode())

    return by_characters, by_bytes


def _python_without_comments(code: str) -> str | None:
    before = _python(code)
    after = _python(_cut_out(code, _python_comments(before))) if before else None
    if before is None or after is None:
        return None
    return after.code if _shape(_undocumented(before.tree)) == _shape(_undocumented(after.tree)) else None


def _python_comments(python: _Python) -> Iterator[_Cut]:
    by_characters, by_bytes = _indices(python.code)
    for token in python.tokens:
        if token.type == tokenize.COMMENT and not _ENCODING.match(token.string):
            yield _Cut(by_characters(*token.start), by_characters(*token.end))
    for owner, text in _docstrings(python.tree):
        start, end = by_bytes(text.lineno, text.col_offset), by_bytes(text.end_lineno or 0, text.end_col_offset or 0)
        is_all = len(owner.body) == 1 and not isinstance(owner, ast.Module)
        yield _Cut(start, end, "pass" if is_all else "")


def _docstrings(tree: ast.AST) -> Iterator[tuple[_Documented, ast.Expr]]:
    for node in ast.walk(tree):
        if isinstance(node, _Documented) and node.body:
            first = node.body[0]
            value = first.value if isinstance(first, ast.Expr) else None
            if isinstance(first, ast.Expr) and isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield node, first


def _undocumented(tree: ast.Module) -> ast.Module:
    """Return the tree, which loses its docstrings."""
    for owner, docstring in list(_docstrings(tree)):
        owner.body.remove(docstring)
        if not owner.body and not isinstance(owner, ast.Module):
            owner.body.append(ast.Pass())
    return tree


def _new_names(python: _Python) -> dict[str, str]:
    """Return new names for the local variables that can be renamed, by their old ones.

    Such a name is a plain variable wherever it stands in the file, and stands in functions only: then another one,
    put for it everywhere, changes nothing. Texts count as well, for they may look names up, or speak of them.
    """
    local: dict[str, None] = {}
    kept = {*dir(builtins), *_words_of_texts(python)}
    for node, in_function in _nodes(python.tree):
        if not isinstance(node, ast.Name):
            kept.update(_names_in(node))
        elif not in_function or node.id.startswith("_"):
            kept.add(node.id)
        elif isinstance(node.ctx, ast.Store):
            local[node.id] = None
    words = {token.string for token in python.tokens}
    if "*" in kept or words & _LOOK_UP_NAMES:
        return {}
    fresh = (name for number in itertools.count(1) if (name := f"v{number}") not in words)
    return dict(zip((name for name in local if name not in kept), fresh, strict=False))


def _nodes(tree: ast.AST) -> Iterator[tuple[ast.AST, bool]]:
    """Yield every node, and whether it stands in the body of a function, and not of a class in there."""
    waiting: list[tuple[ast.AST, bool]] = [(tree, False)]
    while waiting:
        node, in_function = waiting.pop()
        yield node, in_function
        body: list[ast.stmt] | list[ast.expr] = []
        if isinstance(node, ast.Lambda):
            body = [node.body]
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body
        inherits = in_function and not isinstance(node, ast.ClassDef)
        children = [(child, inherits or child in body) for child in ast.iter_child_nodes(node)]
        waiting.extend(reversed(children))


def _names_in(node: ast.AST) -> Iterator[str]:
    """Yield the names that a node holds as texts: of attributes, arguments, imports, what `except` binds …"""
    for _, value in ast.iter_fields(node):
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str):
                yield from text.split(".")
    if type(node).__name__ in ("JoinedStr", "TemplateStr"):  # Python 3.11 does not say where in it they stand
        yield from (inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name))


def _words_of_texts(python: _Python) -> Iterator[str]:
    """Yield every word in a comment or a text."""
    for token in python.tokens:
        if token.type not in (tokenize.NAME, tokenize.OP, tokenize.NUMBER):
            yield from re.findall(r"\w+", token.string)


def _name_cuts(python: _Python, names: Mapping[str, str]) -> Iterator[_Cut]:
    _, by_bytes = _indices(python.code)
    for node in ast.walk(python.tree):
        if isinstance(node, ast.Name) and node.id in names:
            end = by_bytes(node.end_lineno or 0, node.end_col_offset or 0)
            yield _Cut(by_bytes(node.lineno, node.col_offset), end, names[node.id])


def _with_ids(tree: ast.Module, names: Mapping[str, str]) -> ast.Module:
    """Return the tree, whose variables get their new names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            node.id = names.get(node.id, node.id)
    return tree
