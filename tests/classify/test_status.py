"""`analyze runs` tells of a classification what it tells of a batch."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.classify.conftest import Command, environ, text_of
from tests.fake_vllm import go_on, hold_at


def runs(folder: Path, *words: str) -> str:
    command = [sys.executable, "-m", "analyze", "runs", *words, "--lang", "en"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environ())
    assert done.returncode == 0, done.stderr
    return done.stdout


def told(folder: Path, output: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(runs(folder, output, "--json"))
    return found


@pytest.mark.parametrize("output", ["out.jsonl", "out.json"])
def test_a_classification_is_told_with_counts_failures_and_tokens(classify: Command, output: str) -> None:
    classify.reply = lambda body: '{"label": "others"}' if text_of(body) != "text 3" else "no idea"
    classify.write("q.txt", "\n".join(f"text {n}" for n in range(10)))
    assert classify.run("--input", "q.txt", "--lenient", output=output).code == 1
    found = told(classify.folder, output)
    assert (found["job"], found["state"], found["foreign_lines"]) == ("classify", "finished", 0)
    assert (found["counts"]["ok"], found["counts"]["failed"], found["counts"]["left"]) == (9, 1, 0)
    assert found["failures"]["schema"]["count"] == 1 and "names no label" in found["failures"]["schema"]["message"]
    assert found["tokens"] == {"prompt_tokens": 63, "completion_tokens": 27}
    screen = runs(classify.folder, output)
    assert "63 in, 27 out" in screen and "--retry-failed" in screen


def test_a_killed_classification_is_told_with_the_command_that_continues_it(classify: Command) -> None:
    classify.write("q.txt", "\n".join(f"text {n}" for n in range(200)))
    hold_at(classify.servers, 40)
    process = classify.start("--input", "q.txt", "--batch-size", "4")
    while len(classify.lines_whole()) < 10:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    go_on(classify.servers)
    found = told(classify.folder, "out.jsonl")
    assert found["state"] == "killed" and 10 <= found["counts"]["ok"] < 200
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    env = {**environ(), "PATH": path}
    done = subprocess.run(found["continue"], shell=True, capture_output=True, text=True, cwd=classify.folder, env=env)
    assert done.returncode == 0, done.stderr
    assert len(classify.lines()) == 200


def test_without_its_manifest_an_output_is_still_known_and_lists_beside_it_are_no_runs(known: Command) -> None:
    assert known.run("--input", "q.jsonl", "--gold", "truth", "--review", "3").code == 0
    before = told(known.folder, ".")
    (known.folder / "out.jsonl.run.json").unlink()
    (known.folder / "out.jsonl.lock").unlink(missing_ok=True)
    assert before["output"] == told(known.folder, ".")["output"] == "out.jsonl"
    assert told(known.folder, "out.jsonl")["counts"]["ok"] == 10
