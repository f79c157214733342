"""Runs the checks of `checks/` on solutions of `data/tasks.jsonl`, each in a process of its own with a time limit.

Knows the five languages and nothing of authors or expectations. The solutions are this project's own code;
the processes get an empty environment and a temporary working folder, which is tidiness, not a jail.
C++, Java and Rust solutions of one task are compiled together, each in a namespace, package or module of
its own: one compile instead of five.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

CHECKS = Path(__file__).parent / "checks"
RUN_SECONDS = 100
COMPILE_SECONDS = 600
TOOLS = {
    "python": (sys.executable,),
    "javascript": ("node",),
    "cpp": ("g++",),
    "java": ("javac", "java"),
    "rust": ("rustc",),
}
SUFFIX = {"cpp": "cpp", "java": "java", "rust": "rs"}


def missing_tools(language: str) -> list[str]:
    """Return the programs that checking `language` needs and this machine lacks."""
    return [tool for tool in TOOLS[language] if shutil.which(tool) is None]


def check_solutions(task_id: str, language: str, codes: Sequence[str]) -> list[bool]:
    """Return for each solution of a task whether it passes the task's check; solutions without code do not."""
    written = [code for code in codes if code.strip()]
    with tempfile.TemporaryDirectory() as folder:
        verdicts = iter(_CHECKERS[language](task_id, written, Path(folder)))
        return [next(verdicts) if code.strip() else False for code in codes]


def _passes(command: Sequence[str | Path], folder: Path, text: str) -> bool:
    environment = {"PATH": os.environ.get("PATH", ""), "HOME": str(folder), "LANG": "C.UTF-8"}
    try:
        done = subprocess.run(
            command, input=text, cwd=folder, env=environment, capture_output=True, text=True, timeout=RUN_SECONDS
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def _all_pass(runs: Iterable[tuple[Sequence[str | Path], str]], folder: Path) -> list[bool]:
    """Run commands, each with its standard input, two at a time."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        return list(pool.map(lambda run: _passes(run[0], folder, run[1]), runs))


def _compile(command: Sequence[str | Path], folder: Path) -> None:
    """Compile, or fail the test: a solution that does not compile is a mistake of ours."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=COMPILE_SECONDS)
    if done.returncode != 0:
        raise AssertionError(f"{command[0]} failed:\n{done.stderr[-4000:]}")


def _check_text(task_id: str, language: str) -> str:
    return (CHECKS / language / f"{task_id}.{SUFFIX[language]}").read_text("utf-8")


def _check_python(task_id: str, codes: Sequence[str], folder: Path) -> list[bool]:
    command = (sys.executable, "-I", CHECKS / "python_checks.py", task_id)
    return _all_pass([(command, code) for code in codes], folder)


def _check_javascript(task_id: str, codes: Sequence[str], folder: Path) -> list[bool]:
    command = ("node", CHECKS / "js_checks.js", task_id)
    return _all_pass([(command, code) for code in codes], folder)


def _check_cpp(task_id: str, codes: Sequence[str], folder: Path) -> list[bool]:
    include = re.compile(r"^#include .*\n", re.MULTILINE)
    parts = [code + "\n" + _check_text(task_id, "cpp") for code in codes]
    includes = sorted({line for part in parts for line in include.findall(part)})
    spaces = [f"namespace s{index} {{\n{include.sub('', part)}}}\n" for index, part in enumerate(parts)]
    choices = " ".join(f"case '{index}': return s{index}::check() ? 0 : 1;" for index in range(len(parts)))
    main = f"int main(int, char** arguments) {{ switch (*arguments[1]) {{ {choices} }} return 2; }}\n"
    (folder / "all.cpp").write_text("".join([*includes, *spaces, main]), "utf-8")
    _compile(("g++", "-std=c++17", "-O0", "-w", "-o", "all", "all.cpp"), folder)
    return _all_pass([((folder / "all", str(index)), "") for index in range(len(parts))], folder)


def _check_java(task_id: str, codes: Sequence[str], folder: Path) -> list[bool]:
    sources: list[Path] = []
    for index, code in enumerate(codes):
        name = re.search(r"^public (?:final )?class (\w+)", code, re.MULTILINE)
        assert name is not None, f"{task_id}: no public class"
        for class_name, text in ((name[1], code), ("Check", _check_text(task_id, "java"))):
            source = folder / f"s{index}" / f"{class_name}.java"
            source.parent.mkdir(exist_ok=True)
            source.write_text(f"package s{index};\n{text}", "utf-8")
            sources.append(source)
    _compile(("javac", "-encoding", "UTF-8", "-nowarn", "-d", "classes", *map(str, sources)), folder)
    java = ("java", "-Xmx128m", "-XX:TieredStopAtLevel=1", "-cp", "classes")
    return _all_pass([((*java, f"s{index}.Check"), "") for index in range(len(codes))], folder)


def _check_rust(task_id: str, codes: Sequence[str], folder: Path) -> list[bool]:
    check = _check_text(task_id, "rust")
    modules = [f"mod s{index} {{\n{code}\n{check}}}\n" for index, code in enumerate(codes)]
    choices = " ".join(f'"{index}" => s{index}::check(),' for index in range(len(codes)))
    main = f"fn main() {{ let ok = match std::env::args().nth(1).unwrap().as_str() {{ {choices} _ => false }}; "
    main += "std::process::exit(if ok { 0 } else { 1 }) }\n"
    (folder / "all.rs").write_text("".join(["#![allow(warnings)]\n", *modules, main]), "utf-8")
    _compile(("rustc", "--edition=2021", "-Copt-level=0", "-Cdebuginfo=0", "-o", "all", "all.rs"), folder)
    return _all_pass([((folder / "all", str(index)), "") for index in range(len(codes))], folder)


_CHECKERS: dict[str, Callable[[str, Sequence[str], Path], list[bool]]] = {
    "python": _check_python,
    "javascript": _check_javascript,
    "cpp": _check_cpp,
    "java": _check_java,
    "rust": _check_rust,
}
