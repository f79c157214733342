"""`analyze COMMAND` finds the command, and says what to do where there is none."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from analyze.cli import JOBS, main, usage
from analyze.lang import LANGS


@pytest.mark.parametrize("lang", LANGS)
def test_every_command_is_listed_in_both_languages(lang):
    listed = usage(lang).splitlines()
    assert [line.split()[1] for line in listed if line.startswith("  analyze ")] == list(JOBS)
    assert len({line.index(said[lang]) for line, (_, said) in zip(listed[2:], JOBS.values(), strict=False)}) == 1


@pytest.mark.parametrize("name", JOBS)
def test_every_command_says_how_it_is_used(name, capsys):
    """As in a shell: `analyze runs --help`."""
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("usage: ")


@pytest.mark.parametrize("name", [name for name, (module, _) in JOBS.items() if module != "analyze.cli"])
def test_every_command_is_a_module_that_can_be_run(name):
    assert callable(importlib.import_module(JOBS[name][0]).main)


def test_a_command_that_is_none_ends_with_2_and_names_those_there_are(capsys):
    assert main(["run"]) == 2
    said = capsys.readouterr().err
    assert "'run'" in said and "runs" in said and "batch" in said


@pytest.mark.parametrize("argv", [["--version"], ["--help"], [], ["runs", "--show-settings", "x"]], ids=str)
def test_what_only_asks_ends_well(argv, capsys):
    assert main(argv) == 0
    assert capsys.readouterr().out


def test_wrong_use_of_a_command_is_told_without_a_traceback():
    done = subprocess.run([sys.executable, "-m", "analyze", "runs"], capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: ") and "analyze runs --help" in done.stderr and "Traceback" not in done.stderr
