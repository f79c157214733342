"""Errors speak the language of the console, and English everywhere else."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import analyze
from analyze.errors import InputError, UsageError
from analyze.errors_zh import ZH, in_chinese

PACKAGE = Path(analyze.__file__).parent

# Said to programmers, by functions that no command calls with what a user typed.
FOR_PROGRAMMERS = {"stats", "multi_vllm.py", "__init__.py", "verdicts.py"}


def sentences() -> Iterator[tuple[str, str]]:
    """Yield what every error says that is raised in the sources, and its cures, with {} for values."""
    names = {cls for path in [PACKAGE / "errors.py"] for cls in re.findall(r"^class (\w+)", path.read_text(), re.M)}
    for path in sorted(PACKAGE.rglob("*.py")):
        if FOR_PROGRAMMERS & set(path.relative_to(PACKAGE).parts):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
                said = [*node.args[:1], *(keyword.value for keyword in node.keywords if keyword.arg == "cure")]
                for part in said:
                    if (text := _template(part)) is not None:
                        yield text, f"{path.name}:{node.lineno}"


def _template(node: ast.expr) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    return None


def is_a_command(text: str) -> bool:
    """Nothing in it is a sentence: a command, a flag, an assignment."""
    begins = ("-", "pip ", "chmod ", "analyze ", "python ", "VLLM_", "{} --help", "TENSOR_", "GPU_GROUPS=", '{"author"')
    return (text.startswith(begins) and text not in ZH) or not re.search(r"[a-z]{2}", text.replace("{}", ""))


def test_every_sentence_of_an_error_is_known_in_chinese() -> None:
    missing = {text: where for text, where in sentences() if text not in ZH and not is_a_command(text)}
    assert not missing


def test_no_sentence_is_known_that_speaks_of_other_values() -> None:
    for english, chinese in ZH.items():
        named = re.findall(r"\{(\d*)\}", chinese)
        assert len(named) == english.count("{}"), english
        assert sorted(int(place or number) for number, place in enumerate(named)) == list(range(len(named))), english


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        ("there is no such file", "文件不存在"),
        ("disk.jsonl cannot be written: Permission denied", "无法写入 disk.jsonl: Permission denied"),
        (
            "3 of 9 rows failed, more than --max-error-rate allows; everything recorded is safe",
            "9 行中有 3 行失败，超过 --max-error-rate；已记录的结果都在",
        ),
        ("`tags` must be a list of texts", "`tags` 应是文本列表"),
        ("`rivals` must be a list of objects, it is a number", "`rivals` 应是对象的列表，实际是 数字"),
        (
            "no server could be reached:\n  http://localhost:1/v1: cannot connect (Connection refused)\n"
            "  http://localhost:2/v1: no connection in time",
            "没有可用的服务器:\n  http://localhost:1/v1: 无法连接（Connection refused）\n"
            "  http://localhost:2/v1: 连接超时",
        ),
        ("somebody else's words", "somebody else's words"),
        ("", ""),
    ],
)
def test_a_sentence_is_translated_with_its_values(english: str, chinese: str) -> None:
    assert in_chinese(english) == chinese


def test_an_error_about_a_line_names_file_and_line_in_both_languages() -> None:
    error = InputError("the file is empty", path="a: b.jsonl", line=3, cure="write one JSON object a line")
    assert str(error) == error.said("en") == "a: b.jsonl:3: the file is empty\n  → write one JSON object a line"
    assert error.said("zh") == "a: b.jsonl:3: 文件为空\n  → 请每行写一个 JSON 对象"


def test_values_never_pass_for_placeholders_of_a_sentence() -> None:
    assert UsageError("{0}{} cannot be written: {1}").said("zh") == "无法写入 {0}{}: {1}"


@pytest.mark.parametrize("flags", [["--lang", "zh"], ["--lang=zh"], ["--analyze-lang", "zh"], []])
def test_a_command_that_fails_says_why_in_chinese(flags: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "analyze.batch", "-i", "missing.jsonl", "-o", "out.jsonl", *flags]
    environ = {**os.environ, "ANALYZE_LANG": "en" if flags else "zh"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environ)
    assert done.returncode == 2
    assert done.stderr == "错误: missing.jsonl: 文件不存在\n  → 请给出存在的文件路径\n"


def test_a_command_line_that_cannot_be_read_is_told_in_its_own_language(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "analyze.batch", "--lang", "zh", "--nonsense"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "错误: 无法识别的参数: --nonsense\n  → python -m analyze.batch --help\n"


@pytest.mark.parametrize("job", ["batch", "classify"])
def test_a_wrong_input_beside_an_output_that_is_there_is_told_as_any_other(job: str, tmp_path: Path) -> None:
    (tmp_path / "out.jsonl").touch()
    command = [sys.executable, "-m", f"analyze.{job}", "-i", "missing.jsonl", "-o", "out.jsonl"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2 and "there is no such file" in done.stderr and "Traceback" not in done.stderr
