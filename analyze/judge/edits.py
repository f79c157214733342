"""Edits of a solution that leave what it does as it is: for asking whether they move a verdict. Knows no judge.

    planted             one comment more, at the top
    without_comments    no comment, no docstring
    renamed             other names for local variables
    with_dead_function  one function more, which nobody calls

Each returns the edited code, or None where it cannot be made without doubt: an unknown language, code that does not
parse, braces that do not match, a name that may mean more than a variable. What is made is held against the original
before it is handed out: Python by its syntax tree, other languages by the sequence of Pygments' tokens. The same code
always gives the same edit. Line ends become line feeds on the way.
"""

from __future__ import annotations

import re

from analyze.facts.languages import canonical
from analyze.judge import edits_by_tree, edits_of_names
from analyze.judge.edits_by_token import Cut, comments_in, cut_out, in_first_class, is_balanced, pieces_of, words_of

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


def planted(code: str, language: str, sentence: str) -> str | None:
    """Return the code with one comment more, as its first line (behind `#!` and the like)."""
    code, language = _with_line_feeds(code), canonical(language)
    mark = _LINE_COMMENT.get(language)
    if mark is None:
        return None
    head = _HEAD.match(code)
    at = head.end() if head else 0
    edited = f"{code[:at]}{mark} {sentence}\n{code[at:]}"
    is_comment = any(sentence in piece.text for piece in comments_in(pieces_of(edited, language)))
    return edited if is_comment and words_of(edited, language) == words_of(code, language) else None


def without_comments(code: str, language: str) -> str | None:
    """Return the code without comments, in Python without docstrings too; as it is where it has none."""
    plain, language = _with_line_feeds(code), canonical(language)
    if language == "python":
        edited = edits_by_tree.without_comments(plain)
    else:
        cuts = [Cut(piece.start, piece.end) for piece in comments_in(pieces_of(plain, language))]
        edited, words = cut_out(plain, cuts), words_of(plain, language)
        edited = edited if words and words_of(edited, language) == words else None
    return code if edited == plain else edited


def renamed(code: str, language: str) -> str | None:
    """Return the code with other names for local variables; None where there is none to rename without doubt.

    Parameters, functions and attributes keep their names: they are what a task asks for. So does a variable that a
    comment or a text may speak of.
    """
    code, language = _with_line_feeds(code), canonical(language)
    return edits_by_tree.with_new_names(code) if language == "python" else edits_of_names.with_new_names(code, language)


def with_dead_function(code: str, language: str) -> str | None:
    """Return the code with one function more, which nobody calls: at its end, in Java and C# in its first class."""
    code, language = _with_line_feeds(code), canonical(language)
    function, words = _DEAD_FUNCTIONS.get(language), words_of(code, language)
    if not function or not words or not is_balanced(code, language) or not _DEAD_NAMES.isdisjoint(words):
        return None
    at = in_first_class(code, language) if language in _IN_A_CLASS else len(code)
    if at is None:
        return None
    edited = code[:at] + function + code[at:]
    if language == "python" and not (edits_by_tree.is_python(code) and edits_by_tree.is_python(edited)):
        return None
    before = len(words_of(code[:at], language))
    expected = [*words[:before], *words_of(function, language), *words[before:]]
    return edited if words_of(edited, language) == expected else None


def _with_line_feeds(code: str) -> str:
    return code.replace("\r\n", "\n").replace("\r", "\n")
