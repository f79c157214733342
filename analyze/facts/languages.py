"""The names that people give to programming languages, and what each analyser calls them. Knows no code."""

from __future__ import annotations

# Name here: (other names, file ending by which lizard picks its reader, or None where it has none).
# Pygments knows every name here as it stands. Other languages keep their own name: Pygments is asked
# for it, and where it has none the code is counted as plain text.
_LANGUAGES: dict[str, tuple[str, str | None]] = {
    "python": ("py python2 python3 py2 py3 cpython pypy", "py"),
    "c": ("c89 c99 c11 c17 gcc", "c"),
    "cpp": ("c++ cxx cc hpp c++11 c++14 c++17 c++20 cpp11 cpp14 cpp17 cpp20 g++", "cpp"),
    "csharp": ("c# cs dotnet", "cs"),
    "objective-c": ("objc objectivec obj-c", "m"),
    "java": ("java8 java11 java17 java21 openjdk", "java"),
    "javascript": ("js node nodejs node.js ecmascript mjs cjs es6", "js"),
    "typescript": ("ts", "ts"),
    "tsx": ("jsx react", "tsx"),
    "vue": ("", "vue"),
    "go": ("golang", "go"),
    "rust": ("rs", "rs"),
    "zig": ("", "zig"),
    "swift": ("", "swift"),
    "kotlin": ("kt kts", "kt"),
    "scala": ("sc", "scala"),
    "ruby": ("rb", "rb"),
    "php": ("php7 php8", "php"),
    "perl": ("pl perl5", "pl"),
    "lua": ("luajit", "lua"),
    "r": ("rlang rscript", "r"),
    "fortran": ("f90 f95 fortran90", "f90"),
    "erlang": ("erl", "erl"),
    "solidity": ("sol", "sol"),
    "gdscript": ("gd", "gd"),
    "bash": ("sh shell zsh", None),
    "common-lisp": ("commonlisp lisp cl sbcl", None),
    "haskell": ("hs", None),
    "ocaml": ("ml", None),
    "fsharp": ("f# fs", None),
    "sql": ("sqlite mysql postgres", None),
}
_CANONICAL = {alias: name for name, (aliases, _) in _LANGUAGES.items() for alias in (name, *aliases.split())}


def canonical(name: str) -> str:
    """Return the one name of a language: `Python3` is python, `C++` is cpp; a stranger keeps its own, in lower case."""
    name = " ".join(name.lower().split())[:40]
    return _CANONICAL.get(name, name)


def lizard_ending(language: str) -> str | None:
    """Return the file ending by which lizard knows a (canonical) language, None where lizard has no reader for it."""
    return _LANGUAGES.get(language, ("", None))[1]
