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

LOCAL = (
    "python -m analyze.infer --model_path tiny-random --model_type hf --use_cpu --output_path outputs/infer "
    "--task_name basic_example"
)

# What is not run as it stands, and what is run for it.
INSTEAD = {
    "make test": "make --dry-run test",  # this test is part of it
    LOCAL: f"env --unset VLLM_PORTS --unset VLLM_HOST {LOCAL}",  # who has set them would ask servers
    "./stop_vllm.sh": "VLLM_LOG_DIR=nowhere ./stop_vllm.sh",  # the servers are the session's: tests/servers stops some
}


def blocks(readme: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / readme).read_text(), re.DOTALL | re.MULTILINE)


def commands() -> list[str]:
    """Each bash block line by line, but for the lines that belong together: a job in the background and its `wait`."""
    found = []
    for block in blocks(READMES[0], "bash"):
        if "analyze.annotate" in block:  # wants a model that sees: tests/annotate/test_readme.py
            continue
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
        timeout=1800,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


def is_task(code: str) -> bool:
    return "def get_file_list(" in code


@pytest.mark.parametrize(
    "number", [n for n, code in enumerate(blocks(READMES[0], "python")) if not is_task(code)], ids=str
)
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
        timeout=1800,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_the_task_that_is_shown_is_one(checkout: Path, real_fleet: RealFleet):
    (task,) = filter(is_task, blocks(READMES[0], "python"))
    (checkout / "configs/shown").mkdir(parents=True)
    (checkout / "configs/shown/task_config.py").write_text(task)
    (checkout / "questions.jsonl").write_text('{"question": "What is a prime number?"}\n' * 2)
    command = [sys.executable, "-m", "analyze.infer", "--model_type", "server", "--task_name", "shown"]
    done = subprocess.run(
        [*command, "--output_path", "outputs/shown", "--max_tokens", "16"],
        cwd=checkout,
        env=environment(real_fleet),
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    answers = checkout / "outputs/shown/results/extract/task_0001.jsonl"
    assert len(answers.read_text().splitlines()) == 2


@pytest.mark.parametrize("language", ["bash", "python", "json"])
def test_both_languages_show_the_same_commands_and_examples(language: str):
    ours, theirs = (["".join(block.split("#")[0].split()) for block in blocks(name, language)] for name in READMES)
    assert [block.replace("Results", "") for block in ours] == [block.replace("结果", "") for block in theirs]


@pytest.mark.parametrize("readme", READMES)
def test_every_link_leads_somewhere(readme: str):
    for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / readme).read_text()):
        assert (ROOT / target).exists(), target
