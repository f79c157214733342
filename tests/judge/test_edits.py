"""Edits leave a program what it is: by its syntax tree in Python, by its tokens elsewhere, and to a compiler."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyze.facts.languages import canonical
from analyze.judge.edits import planted, renamed, with_dead_function, without_comments

SAID = "believe me"
DATA = Path(__file__).parents[2] / "data/tasks.jsonl"
SHIPPED = sorted(
    {
        (canonical(task["language"]), solution["code"])
        for task in map(json.loads, DATA.read_text().splitlines())
        for solution in (task["target"], *task["rivals"])
        if solution["code"].strip()
    }
)
COMMENTED = {
    "python": ("def f(x):\n    # why\n    return '\\r'  # so\n", "def f(x):\n    return '\\r'\n"),
    "javascript": (
        "/** doc */\nconst f = (x) => x; // so\nconst u = `// ${x}`;\n",
        "const f = (x) => x;\nconst u = `// ${x}`;\n",
    ),
    "typescript": ("// a\nlet x: number = 1;\n", "let x: number = 1;\n"),
    "java": ("class A {\n    /* b */ int x; // c\n}\n", "class A {\n    int x;\n}\n"),
    "c": ("#include <stdio.h> /* io */\n/* a\n b */\nint x;\n", "#include <stdio.h>\nint x;\n"),
    "c++": ("int x; // a\nint/* b */y = '\\r';\n", "int x;\nint y = '\\r';\n"),
    "go": ("//go:build linux\n// a\npackage main\n", "//go:build linux\npackage main\n"),
    "rust": ("//! crate\n/// doc\nfn f<'a>() {} // 'x'\n", "fn f<'a>() {}\n"),
    "ruby": ("# a\nputs '# b' # c\n", "puts '# b'\n"),
    "bash": ("#!/bin/bash\n# a\necho '# b'\n", "#!/bin/bash\necho '# b'\n"),
    "sql": ("-- a\nSELECT '-- b'; -- c\n", "SELECT '-- b';\n"),
    "lua": ("-- a\n--[[ b\n c ]]\nreturn 1\n", "return 1\n"),
    "haskell": ("{-# LANGUAGE GADTs #-}\n-- a\nf = 1\n", "{-# LANGUAGE GADTs #-}\nf = 1\n"),
    "php": ("<?php\n// a\necho '# b';\n", "<?php\necho '# b';\n"),
}  # fmt: skip


@pytest.mark.parametrize("language", COMMENTED)
def test_comments_go_and_what_looks_like_one_stays(language: str) -> None:
    code, bare = COMMENTED[language]
    assert without_comments(code, language) == bare
    assert without_comments(bare, language) == bare


@pytest.mark.parametrize("language", COMMENTED)
def test_a_planted_comment_is_one_line_at_the_top_and_can_be_taken_away_again(language: str) -> None:
    for code in COMMENTED[language]:
        edited = planted(code, language, SAID)
        assert edited is not None
        added = [line for line in edited.splitlines() if SAID in line]
        assert len(added) == 1 and "".join(edited.splitlines(keepends=True)).replace(f"{added[0]}\n", "") == code
        assert without_comments(edited, language) == without_comments(code, language)


@pytest.mark.parametrize(
    ("language", "code", "first"),
    [
        ("python", "#!/usr/bin/env python\n# -*- coding: utf-8 -*-\nx = 1\n", "#!/usr/bin/env python\n# -*- coding"),
        ("javascript", "#!/usr/bin/env node\nf()\n", "#!/usr/bin/env node\n// "),
        ("php", "<?php\nf();\n", "<?php\n// "),
        ("rust", "#![allow(dead_code)]\nfn f() {}\n", "// believe me\n#!["),
    ],
)
def test_what_must_stand_first_stays_first(language: str, code: str, first: str) -> None:
    assert str(planted(code, language, SAID)).startswith(first)


@pytest.mark.parametrize("language", ["unknown", "text", "brainf***", "nonsense", ""])
def test_in_an_unknown_language_nothing_is_edited(language: str) -> None:
    assert planted("x", language, SAID) is without_comments("x", language) is None
    assert renamed("x", language) is with_dead_function("x", language) is None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("def f(n):\n    total = 0\n    for i in range(n):\n        total += i\n    return total\n",
         "def f(n):\n    v1 = 0\n    for v2 in range(n):\n        v1 += v2\n    return v1\n"),
        ("def f(s):\n    é, 名 = s; return [名 for x in é]\n", "def f(s):\n    v1, v2 = s; return [v2 for v3 in v1]\n"),
        ("def f(v1):\n    x = 1\n    return f'é {v1} v2 {v1!r}' f'{v1:>{v1}}', x\n",
         "def f(v1):\n    v2 = 1\n    return f'é {v1} v2 {v1!r}' f'{v1:>{v1}}', v2\n"),
        ("def f():\n    x = 1\n    return f'{v1}', x\n", "def f():\n    v2 = 1\n    return f'{v1}', v2\n"),
        ("def f(a):\n    x = 1\n    return f'vars of {a}', x\n",
         "def f(a):\n    v1 = 1\n    return f'vars of {a}', v1\n"),
        ("def f():\n    v1 = 1\n    x = v1\n    return x\n", "def f():\n    v3 = 1\n    v2 = v3\n    return v2\n"),
    ],
)  # fmt: skip
def test_local_variables_get_new_names(before: str, after: str) -> None:
    edited = renamed(before, "Python3")
    assert edited is not None
    if "v1 = 1" not in before:
        assert edited == after
    assert behaviour(edited) == behaviour(before)


def behaviour(code: str) -> object:
    """What the code is, whatever its variables are called."""
    tree, seen = ast.parse(code), {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            node.id = seen.setdefault(node.id, f"n{len(seen)}")
    return ast.dump(tree)


@pytest.mark.parametrize(
    "code",
    [
        "x = 1\ndef f():\n    return x\n",  # of the module
        "def f(x):\n    x = 1\n    return x\n",  # a parameter
        "class A:\n    x = 1\n",  # an attribute
        "def f(o):\n    x = 1\n    return o.x + x\n",  # also an attribute
        "def f(g):\n    x = 1\n    return g(x=x)\n",  # also a keyword
        "def f():\n    global x\n    x = 1\n",
        "def f():\n    x = 1\n    return locals()\n",
        "def f():\n    x = 1\n    return f'{x}'\n",  # Python 3.11 does not say where it stands
        "def f():\n    x = 1\n    return f'{1!x}'\n".replace("x", "r"),  # a conversion, to Python 3.12 a name
        "def f():\n    x = 1\n    return f'{locals()}'\n",
        "def f():\n    x = 1\n    return '{x}'.format(x=x)\n",
        "def f():\n    # x is one\n    x = 1\n    return x\n",  # the comment would be wrong
        "from m import *\ndef f():\n    x = 1\n    return x\n",
        "def f():\n    len = 1\n    return len\n",
        "def f():\n    _ = 1\n    return _\n",
        "def f():\n    import x\n    return x\n",
        "def f():\n    try:\n        pass\n    except ValueError as x:\n        return x\n",
        "def f(y):\n    match y:\n        case [x]:\n            return x\n",
        "def f():\n    return 1\n",
        "def f(:\n    x = 1\n",
    ],
)
def test_a_name_that_may_mean_more_than_a_local_variable_is_kept(code: str) -> None:
    assert renamed(code, "python") is None


IN_BRACES = {
    "javascript": "function f(a) {\n  let @ = a;\n  use((c) => c + @);\n  return { a, d: @ };\n}\n",
    "typescript": "const f = () => {\n  let @: number = 1;\n  return @;\n};\n",
    "java": "class A {\n  int a;\n  int f(int c) {\n    int @ = a + c;\n    return @;\n  }\n}\n",
    "c": "int f(int a) {\n  int @ = a, c = 0;\n  return @ + c;\n}\n",
    "c++": "int f(int a) {\n  auto @ = a;\n  return p.a + @;\n}\n",
    "go": "func f(a int) T {\n\t@ := a\n\treturn T{a: @}\n}\n",
    "rust": "fn f(a: i32) -> i32 {\n    let mut @ = a;\n    @ += 1;\n    @\n}\n",
}


@pytest.mark.parametrize("language", IN_BRACES)
def test_local_variables_get_new_names_in_languages_with_braces_too(language: str) -> None:
    written = IN_BRACES[language]
    assert renamed(written.replace("@", "b"), language) == written.replace("@", "v1")


@pytest.mark.parametrize(
    ("language", "code"),
    [
        ("javascript", "let b = 1;\n"),  # of the module
        ("javascript", "function f() { let b = 1; return { b }; }\n"),  # also a key
        ("javascript", "function f() { let b = 1; return o.b + b; }\n"),  # also a member
        ("javascript", "function f() { let b = 1; return `${b} b`; }\n"),  # also a word of a text
        ("javascript", "function f() { let b = 1; return b; }\nfunction g() { return b; }\n"),  # also a global
        ("javascript", "function f() { g(b); var b = 1; }\n"),  # used before it is declared
        ("javascript", "function f() { const b = () => 1; return b(); }\n"),  # a function
        ("javascript", "function f() { // b\n  let b = 1; return b; }\n"),
        ("c", "#define M b\nint f() { int b = 1; return M; }\n"),
        ("c", "int f() { int b = 1; goto b; b: return b; }\n"),
        ("c", "int f(int b) { int b = 1; return b; }\n"),
        ("java", "class A { int b = 1; int f() { return b; } }\n"),
        ("rust", 'fn f() { let b = 1; println!("{b}"); }\n'),
        ("rust", "fn f() -> P { let b = 1; P { b } }\n"),
        ("go", "func f() T { b := 1; return T{b: b} }\n"),
        ("csharp", "class A { void f() { int b = 1; g(b); } }\n"),  # tuples and anonymous types take names over
    ],
)
def test_by_tokens_alone_a_name_in_doubt_is_kept(language: str, code: str) -> None:
    assert renamed(code, language) is None


def test_a_docstring_that_is_all_there_is_leaves_pass() -> None:
    code = 'class A:\n    """a"""\n\n\ndef f(): "b"\n\n\ndef g():\n    """c"""\n    return "d"\n'
    bare = 'class A:\n    pass\n\n\ndef f(): pass\n\n\ndef g():\n    return "d"\n'
    assert without_comments(code, "python") == bare


@pytest.mark.parametrize("code", ["class A {", "interface A { int f(); }", "int f() { return 1; }", "// nothing"])
def test_no_function_is_added_where_there_is_no_place_for_it(code: str) -> None:
    assert with_dead_function(code, "java") is None


def test_a_function_is_added_once() -> None:
    edited = with_dead_function("x = 1", "python")
    assert edited is not None and ast.parse(edited).body[0].lineno == 1
    assert with_dead_function(edited, "python") is None


# --- properties ---

lines_of_python = st.sampled_from(
    [
        "x = 1",
        "y = '# no comment'  # a comment",
        "# alone",
        '"""a text"""',
        "if x: # why\n    pass",
        "\\\n\nz = 2",
        "def f(a, *b, c=1):\n    '''doc # not'''\n    q = a\n    return [i for i in q]",
        "class C: 'doc'",
        "s = '''\n# in\n'''",
        "def g():\n    'doc'; r = 1\n    return r",
        'async def h():\n    """only"""',
        "t = f'{x} # {y!r:>{x}}'",
        "\x0c",
        "",
        "def k():\n\t# tab\n\tw = lambda u: u\n\treturn w",
        "名 = 'x' # 好",
        "#!/bin/x",
        "# coding: utf-8",
        "a = b'\\x00' ; c = 1",
    ]
)
line_ends = st.sampled_from(["\n", "\r\n", "\r"])
pythons = st.builds(
    lambda lines, end: "\n".join(lines).replace("\n", end), st.lists(lines_of_python, max_size=8), line_ends
)
any_code = pythons | st.text()


def parses(code: str) -> bool:
    try:
        ast.parse(code)
    except (SyntaxError, ValueError):
        return False
    return True


def undocumented(code: str) -> str:
    tree = ast.parse(code)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and ast.get_docstring(node, clean=False) is not None
        ):
            assert isinstance(body, list)
            del body[0]
        if body == [] and not isinstance(node, ast.Module):
            node.body = [ast.Pass()]  # type: ignore[attr-defined]
    return ast.dump(tree)


@given(any_code)
def test_edited_python_parses_and_is_the_same_program(code: str) -> None:
    if not parses(code):
        assert without_comments(code, "python") is renamed(code, "python") is with_dead_function(code, "python") is None
        return
    if (bare := without_comments(code, "python")) is not None:
        assert undocumented(bare) == undocumented(code)
    if (other := renamed(code, "python")) is not None:
        assert behaviour(other) == behaviour(code)
    if (longer := with_dead_function(code, "python")) is not None:
        assert ast.dump(ast.Module(ast.parse(longer).body[:-1], [])) == ast.dump(ast.Module(ast.parse(code).body, []))
    if (told := planted(code, "python", SAID)) is not None:
        assert ast.dump(ast.parse(told)) == ast.dump(ast.parse(code))


@given(st.text(alphabet="/*#-{}()'\"`\\\n x1;", max_size=40), st.sampled_from(sorted(COMMENTED)))
def test_whatever_the_code_edits_end_and_are_the_same_each_time(code: str, language: str) -> None:
    for edit in (without_comments, renamed, with_dead_function):
        assert edit(code, language) == edit(code, language)
    bare = without_comments(code, language)
    assert bare is None or without_comments(bare, language) in (bare, None)


# --- real solutions ---


@pytest.mark.parametrize("language", sorted({language for language, _ in SHIPPED}))
def test_every_shipped_solution_can_be_edited(language: str) -> None:
    for code in (code for written, code in SHIPPED if written == language):
        if language != "python" or parses(code):
            bare = without_comments(code, language)
            assert bare is not None and without_comments(bare, language) == bare
            assert planted(code, language, SAID) and with_dead_function(code, language)
