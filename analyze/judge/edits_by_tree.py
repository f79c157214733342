"""Edits of Python by its syntax tree, which says what a comment, a docstring, a local variable is. Runs nothing."""

from __future__ import annotations

import ast
import builtins
import io
import itertools
import re
import tokenize
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from analyze.judge.edits_by_token import Cut, cut_out

_ENCODING = re.compile(r"#!|#.*coding[:=]")
_F_STRINGS = ("JoinedStr", "TemplateStr")
_LOOK_UP_NAMES = frozenset({"eval", "exec", "locals", "vars", "globals", "dir"})

_Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


class _Python(NamedTuple):
    """Python that parses: its text, its tree, its tokens."""

    code: str
    tree: ast.Module
    tokens: Sequence[tokenize.TokenInfo]


def is_python(code: str) -> bool:
    return _python(code) is not None


def without_comments(code: str) -> str | None:
    """Return Python without comments and docstrings; None where it does not parse."""
    before = _python(code)
    after = _python(cut_out(code, _python_comments(before))) if before else None
    if before is None or after is None:
        return None
    return after.code if _shape(_undocumented(before.tree)) == _shape(_undocumented(after.tree)) else None


def with_new_names(code: str) -> str | None:
    """Return Python with other names for local variables; None where there is none to rename without doubt."""
    before = _python(code)
    names = _new_names(before) if before else {}
    if before is None or not names:
        return None
    after = _python(cut_out(before.code, _name_cuts(before, names)))
    return after.code if after and _shape(_with_ids(before.tree, names)) == _shape(after.tree) else None


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


def _python_comments(python: _Python) -> Iterator[Cut]:
    by_characters, by_bytes = _indices(python.code)
    for token in python.tokens:
        if token.type == tokenize.COMMENT and not _ENCODING.match(token.string):
            yield Cut(by_characters(*token.start), by_characters(*token.end))
    for owner, text in _docstrings(python.tree):
        start, end = by_bytes(text.lineno, text.col_offset), by_bytes(text.end_lineno or 0, text.end_col_offset or 0)
        is_all = len(owner.body) == 1 and not isinstance(owner, ast.Module)
        yield Cut(start, end, "pass" if is_all else "")


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
    kept = {*dir(builtins), *_words_of_texts(python), *_words_of_f_strings(python)}
    for node, in_function in _nodes(python.tree):
        if not isinstance(node, ast.Name):
            kept.update(_names_in(node))
        elif not in_function or node.id.startswith("_"):
            kept.add(node.id)
        elif isinstance(node.ctx, ast.Store):
            local[node.id] = None
    used = set(_identifiers(python.tree))
    if "*" in kept or used & _LOOK_UP_NAMES:
        return {}
    fresh = (name for number in itertools.count(1) if (name := f"v{number}") not in used)
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
    if type(node).__name__ in _F_STRINGS:  # Python 3.11 does not say where in it they stand
        yield from (inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name))


def _identifiers(tree: ast.AST) -> Iterator[str]:
    """Yield every name that a program uses, in f-strings too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif not isinstance(node, ast.Constant):
            yield from _names_in(node)


def _words_of_texts(python: _Python) -> Iterator[str]:
    """Yield every word in a comment or a text."""
    for token in python.tokens:
        if token.type not in (tokenize.NAME, tokenize.OP, tokenize.NUMBER):
            yield from re.findall(r"\w+", token.string)


def _words_of_f_strings(python: _Python) -> Iterator[str]:
    """Yield every word in an f-string, its names and its text alike.

    By the tree, which is the same everywhere: to the tokenizer of Python 3.11 an f-string is one text, to that of 3.12
    it is many tokens, names among them (PEP 701). By tokens, a run continued by another Python would ask another edit.
    """
    _, by_bytes = _indices(python.code)
    waiting: list[ast.AST] = [python.tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.expr) and type(node).__name__ in _F_STRINGS:  # what is inside, 3.11 places wrongly
            start, end = (
                by_bytes(node.lineno, node.col_offset),
                by_bytes(node.end_lineno or 0, node.end_col_offset or 0),
            )
            yield from re.findall(r"\w+", python.code[start:end])
        else:
            waiting.extend(ast.iter_child_nodes(node))


def _name_cuts(python: _Python, names: Mapping[str, str]) -> Iterator[Cut]:
    _, by_bytes = _indices(python.code)
    for node in ast.walk(python.tree):
        if isinstance(node, ast.Name) and node.id in names:
            end = by_bytes(node.end_lineno or 0, node.end_col_offset or 0)
            yield Cut(by_bytes(node.lineno, node.col_offset), end, names[node.id])


def _with_ids(tree: ast.Module, names: Mapping[str, str]) -> ast.Module:
    """Return the tree, whose variables get their new names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            node.id = names.get(node.id, node.id)
    return tree
