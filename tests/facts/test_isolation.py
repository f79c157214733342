"""Nothing but the code decides its facts: no configuration, environment, place or comment. And the code never runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from analyze.facts import Facts, measure

CODE = "import os\n\n\ndef f(x=[]):\n    try:\n        return eval(x)\n    except:\n        pass\n"
SETTINGS = {
    "pyproject.toml": '[tool.ruff]\nexclude = ["*"]\nlint.select = []\n[tool.bandit]\nskips = ["B307", "B110"]\n',
    "ruff.toml": 'exclude = ["*"]\nlint.ignore = ["ALL"]\n',
    ".ruff.toml": 'lint.ignore = ["ALL"]\n',
    ".bandit": "[bandit]\nskips: B307,B110\nexclude: /\n",
    "setup.cfg": "[bandit]\nskips: B307,B110\n[flake8]\nignore = E,F\n",
    "tox.ini": "[bandit]\nskips: B307,B110\n[flake8]\nignore = E,F\n",
    ".gitignore": "*\n",
}


@pytest.fixture(scope="module")
def alone() -> Facts:
    facts = measure(CODE, "python")
    assert facts.lint and facts.security
    return facts


def test_settings_in_the_working_directory_change_nothing(
    alone: Facts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in SETTINGS.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    assert measure(CODE, "python") == alone


def test_settings_beside_the_temporary_files_and_in_the_home_change_nothing(
    alone: Facts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where the temporary folder stands in a `.git`, which both tools would leave out."""
    home, temporary = tmp_path / "home", tmp_path / ".git" / "tmp"
    for folder in (home / ".config" / "ruff", temporary, tmp_path / ".git"):
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in SETTINGS.items():
            (folder / name).write_text(text)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr("tempfile.tempdir", None)
    assert measure(CODE, "python") == alone
    assert list(temporary.glob("analyze-facts-*")) == []


def test_the_environment_changes_nothing(alone: Facts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "RUFF_OUTPUT_FILE": str(tmp_path / "elsewhere"),
        "RUFF_OUTPUT_FORMAT": "github",
        "RUFF_CONFIG": str(tmp_path / "ruff.toml"),
        "PYTHONWARNINGS": "error",
        "PYTHONSTARTUP": str(tmp_path / "start.py"),
        "PYTHONHASHSEED": "7",
        "LANG": "zh_CN.GBK",
        "PATH": str(tmp_path),
    }.items():
        monkeypatch.setenv(name, value)
    assert measure(CODE, "python") == alone
    assert list(tmp_path.iterdir()) == []


def test_modules_in_the_working_directory_are_not_taken_for_the_analysers(
    alone: Facts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("lizard", "pygments", "ruff", "bandit", "json", "analyze"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(3)\n")
    monkeypatch.chdir(tmp_path)
    assert measure(CODE, "python") == alone


def test_no_comment_in_the_code_hides_a_finding(alone: Facts) -> None:
    hushed = "# ruff: noqa\n# flake8: noqa\n# ruff: disable[F401,B006,E722]\n" + CODE.replace(
        "import os", "import os  # noqa"
    ).replace("eval(x)", "eval(x)  # nosec").replace(
        "except:", "except:  # noqa: E722  # nosec B110  # pylint: disable=all"
    ).replace("def f(x=[]):", "def f(x=[]):  # noqa: B006  # type: ignore")
    facts = measure(hushed, "python")
    assert {f.code for f in alone.lint} <= {f.code for f in facts.lint}
    assert [f.code for f in facts.security] == [f.code for f in alone.security]


@pytest.mark.parametrize("encoding", ["nope", "utf-7", "utf-16", "latin-1", "gbk"])
def test_no_encoding_line_hides_a_finding(alone: Facts, encoding: str) -> None:
    """bandit reads a file as its encoding line says, and nothing at all where there is no such encoding."""
    facts = measure(f"# -*- coding: {encoding} -*-\n" + CODE, "python")
    assert facts.limits == ()
    assert [(f.code, f.line) for f in facts.security] == [(f.code, f.line + 1) for f in alone.security]


@pytest.mark.parametrize("comment", ["#lizard forgives", "#lizard forgive global", "GENERATED CODE"])
@pytest.mark.parametrize(("language", "mark"), [("python", "#"), ("javascript", "//"), ("c", "//")])
def test_no_comment_in_the_code_hides_a_function(comment: str, language: str, mark: str) -> None:
    code = {
        "python": "{}\ndef f(a):\n    {}\n    if a: return 1\n",
        "javascript": "{}\nfunction f(a) {{\n  {}\n  if (a) {{ return 1; }}\n}}\n",
        "c": "{}\nint f(int a) {{\n  {}\n  if (a) {{ return 1; }}\n  return 0;\n}}\n",
    }[language]
    facts = measure(code.format(f"{mark} {comment}", f"{mark} {comment}"), language)
    assert (facts.functions, facts.max_complexity) == (1, 2)


def test_the_code_is_never_run(tmp_path: Path) -> None:
    """Not on import, not by a decorator, a default, a class body, not as a script of another language."""
    trace = tmp_path / "trace"
    code = f"""\
# -*- coding: utf-8 -*-
import os, pathlib
pathlib.Path({str(trace)!r}).write_text("ran")
class A:
    os.system("touch {trace}")
def f(a=open({str(trace)!r}, "w")): pass
@f
def g(): pass
if __name__ == "__main__": f()
"""
    for language in ("python", "bash", "perl", "ruby", "php"):
        measure(code, language)
    assert not trace.exists()


def test_no_path_of_ours_is_told() -> None:
    facts = measure("import os\nassert (1, 'x')\nprint('%s %s' % (1,))\nexec(a)\n", "python")
    told = " ".join(finding.message for finding in (*facts.lint, *facts.security)) + " ".join(facts.limits)
    assert facts.lint and "/" not in told and ".py" not in told
