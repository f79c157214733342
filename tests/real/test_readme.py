"""README keeps its word: every command in it runs, in both languages, against real servers."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from analyze.tiny_model import DEMO_MODEL_NAME
from tests.real.conftest import RealFleet

pytestmark = pytest.mark.vllm

ROOT = Path(__file__).resolve().parents[2]
READMES = ("README.md", "README.zh-CN.md")

# What is not run as it stands, and what is run for it.
INSTEAD = {
    "make test": "make --dry-run test",  # this test is part of it
    "./stop_vllm.sh": "VLLM_LOG_DIR=nowhere ./stop_vllm.sh",  # the servers are the session's: tests/servers stops some
}


def blocks(readme: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / readme).read_text(), re.DOTALL | re.MULTILINE)


def commands() -> list[str]:
    """Each bash block line by line, but for the lines that belong together: a job in the background and its `wait`."""
    found = []
    for block in blocks(READMES[0], "bash"):
        whole = "wait" in block
        found.extend([block.strip()] if whole else block.strip().splitlines())
    return found


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory, real_servers: RealFleet) -> Path:
    """A copy of the project, whose servers are those of the session."""
    copy = tmp_path_factory.mktemp("checkout")
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, files.stdout.split("\0")):
        if (ROOT / name).exists() and not name.startswith("vllm_logs/"):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    (copy / "vllm_logs").symlink_to(real_servers.specs[0].log.parent)
    return copy


def environment(fleet: RealFleet) -> dict[str, str]:
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "VLLM_PORTS": fleet.ports,
        "VLLM_HOST": "localhost",
        "ANALYZE_LANG": "en",
    }


@pytest.mark.parametrize("command", commands())
def test_every_command_runs(command: str, checkout: Path, real_fleet: RealFleet):
    done = subprocess.run(
        ["bash", "-c", INSTEAD.get(command, command)],
        cwd=checkout,
        env=environment(real_fleet),
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("number", range(len(blocks(READMES[0], "python"))))
def test_every_python_example_runs_as_written(number: int, checkout: Path, real_fleet: RealFleet):
    """Only the ports and the model are those of the test's servers."""
    code = blocks(READMES[0], "python")[number].replace(
        "/var/shared/models/Qwen3-30B-A3B-Instruct-2507", DEMO_MODEL_NAME
    )
    for port, own in zip(("8001", "8002", "8003", "8004"), real_fleet.ports.split(","), strict=True):
        code = code.replace(port, own)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=checkout,
        env=environment(real_fleet) | {"OUTPUT_DIR": "outputs/example"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("language", ["bash", "python", "json"])
def test_both_languages_show_the_same_commands_and_examples(language: str):
    ours, theirs = (["".join(block.split("#")[0].split()) for block in blocks(name, language)] for name in READMES)
    assert [block.replace("Results", "") for block in ours] == [block.replace("结果", "") for block in theirs]


@pytest.mark.parametrize("readme", READMES)
def test_every_link_leads_somewhere(readme: str):
    for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / readme).read_text()):
        assert (ROOT / target).exists(), target
