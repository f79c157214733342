"""The three readers that run inside the worker: Pygments for tokens, Python's own compiler, lizard for functions.

Each takes (code, language) and returns those fields of `Facts` that it can tell; none runs the code. They may take
for ever, recurse without end or raise anything on hostile code: `worker` deals with that, they do not.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from analyze.facts.languages import lizard_ending

# A block shorter than this repeats by chance (a loop header, an accumulator, a return).
COPIED_BLOCK_LINES = 4
# Builtins and methods that walk a whole sequence: in a loop they are one more loop.
_LINEAR_NAMES = frozenset({"sorted", "sum", "min", "max"})
_LINEAR_METHODS = frozenset({"count", "index", "sort"})

_Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


def token_facts(code: str, language: str) -> dict[str, Any]:
    """Count tokens, code lines, comment lines and copied lines. A language that Pygments lacks is counted as text.

    A token is neither space nor comment; a docstring counts as comment; a preprocessor line counts as code.
    """
    words: defaultdict[int, list[str]] = defaultdict(list)
    commented: set[int] = set()
    tokens = line = 0
    for is_comment, value in _pieces(code, language):
        tokens += not is_comment and bool(value.strip())
        for part in value.split("\n"):
            if part.strip():
                if is_comment:
                    commented.add(line)
                else:
                    words[line].append(part.strip())
            line += 1
        line -= 1
    return {
        "tokens": tokens,
        "code_lines": len(words),
        "comment_lines": len(commented - words.keys()),
        "duplicated_lines": copied_lines([" ".join(words[line]) for line in sorted(words)]),
    }


def copied_lines(lines: Sequence[str]) -> int:
    """Count the lines that stand in a second or later copy of a block of four lines, copies not overlapping.

    Lines are compared token by token, without indentation and comments; lines of nothing but brackets are passed over.
    """
    telling = [line for line in lines if re.search(r"\w", line)]
    first_seen: dict[tuple[str, ...], int] = {}
    copied: set[int] = set()
    for start in range(len(telling) - COPIED_BLOCK_LINES + 1):
        block = tuple(telling[start : start + COPIED_BLOCK_LINES])
        if start - first_seen.setdefault(block, start) >= COPIED_BLOCK_LINES:
            copied.update(range(start, start + COPIED_BLOCK_LINES))
    return len(copied)


def _pieces(code: str, language: str) -> Iterator[tuple[bool, str]]:
    """Cut code into (is comment, text), nothing left out."""
    from pygments.lexers import get_lexer_by_name
    from pygments.token import Comment, String
    from pygments.util import ClassNotFound

    try:
        lexer = get_lexer_by_name(language, stripnl=False, ensurenl=False)
    except ClassNotFound:
        lexer = None
    if lexer is None or lexer.name == "Text only":
        yield from ((False, piece) for piece in re.findall(r"\w+|\s+|[^\w\s]", code))
        return
    code_after_all = (Comment.Preproc, Comment.PreprocFile, Comment.Hashbang)
    pieces: Iterable[tuple[Any, str]] = lexer.get_tokens(code)  # typed as tuples; a kind `in` a kind is their own idea
    for kind, value in pieces:
        is_comment = kind in Comment and not any(kind in other for other in code_after_all)
        yield is_comment or kind in String.Doc, value


def python_facts(code: str, language: str) -> dict[str, Any]:
    """Say whether this Python accepts the code (compiled, never run), if not why, and how deep its loops stand."""
    if language != "python":
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an invalid escape sequence warns; ruff reports what of it matters
        try:
            tree = ast.parse(code)
            compile(tree, "code", "exec", dont_inherit=True)
        except SyntaxError as error:
            return _no_python(error.lineno, error.msg)
        except ValueError as error:  # null bytes, on Python 3.11
            return _no_python(1, str(error))
    return {"syntax_ok": True, "loop_depth": loop_depth(tree)}


def _no_python(line: int | None, message: str) -> dict[str, Any]:
    return {"syntax_ok": False, "syntax_error": {"line": line or 1, "message": message}}


def loop_depth(tree: ast.AST) -> int:
    """Return how deep loops stand in each other. Comprehensions are loops; so are, inside a loop, `sorted` or `.count`.

    Each function starts anew at zero: loops of a function that is called in a loop are not added.
    """
    deepest = 0
    waiting: list[tuple[ast.AST, int]] = [(tree, 0)]
    while waiting:  # a list, not recursion: hostile trees are deeper than the stack
        node, depth = waiting.pop()
        deepest = max(deepest, depth + (depth > 0 and _is_linear_call(node)))
        waiting.extend(_children(node, depth))
    return deepest


def _children(node: ast.AST, depth: int) -> Iterator[tuple[ast.AST, int]]:
    """Yield each child of a node with the number of loops around it; what a loop runs over stands outside it."""
    if isinstance(node, _Function):
        yield from ((child, 0) for child in ast.iter_child_nodes(node))
    elif isinstance(node, ast.For | ast.AsyncFor):
        yield node.iter, depth
        yield from ((child, depth + 1) for child in node.body)
        yield from ((child, depth) for child in node.orelse)
    elif isinstance(node, _Comprehension):
        outermost = node.generators[0].iter
        inside = depth + len(node.generators)
        yield outermost, depth
        for child in ast.iter_child_nodes(node):
            parts = ast.iter_child_nodes(child) if isinstance(child, ast.comprehension) else [child]
            yield from ((part, inside) for part in parts if part is not outermost)
    else:
        inside = depth + isinstance(node, ast.While)
        yield from ((child, inside) for child in ast.iter_child_nodes(node))


def _is_linear_call(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return False
    function = node.func
    if isinstance(function, ast.Name):
        return function.id in _LINEAR_NAMES and len(node.args) == 1
    if not isinstance(function, ast.Attribute):
        return False
    at_front = bool(node.args) and isinstance(node.args[0], ast.Constant) and node.args[0].value == 0
    return function.attr in _LINEAR_METHODS or (function.attr in ("pop", "insert") and at_front)


def shape_facts(code: str, language: str) -> dict[str, Any]:
    """Count functions, their complexity, length and parameters.

    lizard's own driver is passed over: it obeys `#lizard forgives` and `GENERATED CODE` in the judged code, reads a
    language that it does not know as C, and returns half of the functions where it ran out of stack.
    """
    ending = lizard_ending(language)
    if ending is None:
        return {"limits": ["lizard: no reader for this language"]}
    import lizard  # type: ignore[import-untyped]  # it ships no types

    context = lizard.FileInfoBuilder(f"code.{ending}")
    reader = lizard.get_reader_for(f"code.{ending}")(context)
    tokens = reader.generate_tokens(code)
    for processor in (lizard.preprocessing, _without_comments, lizard.line_counter, lizard.condition_counter):
        tokens = processor(tokens, reader)
    for _ in reader(tokens, reader):
        pass
    return _shape(context.fileinfo.function_list, context.global_pseudo_function.cyclomatic_complexity)


def _without_comments(tokens: Iterator[str], reader: Any) -> Iterator[str]:
    for token in tokens:
        comment = reader.get_comment_from_token(token)
        if comment is None:
            yield token
        else:
            yield from "\n" * token.count("\n")


def _shape(functions: Sequence[Any], top_level_complexity: int) -> dict[str, Any]:
    complexities = [function.cyclomatic_complexity for function in functions]
    if top_level_complexity > 1 or not functions:
        complexities.append(top_level_complexity)
    return {
        "functions": len(functions),
        "max_complexity": max(complexities),
        "mean_complexity": round(sum(complexities) / len(complexities), 3),
        "longest_function_lines": max((function.length for function in functions), default=None),
        "max_parameters": max((function.parameter_count for function in functions), default=None),
    }
