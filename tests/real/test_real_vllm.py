"""The whole product against four real vLLM servers (CPU, tiny random model)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import openai
import pytest

from analyze import Answer, ChatRequest, MultiVLLMClient, ask_many
from analyze.tiny_model import DEMO_MODEL_NAME
from tests.real.conftest import RealFleet

pytestmark = pytest.mark.vllm

ROOT = Path(__file__).resolve().parents[2]
HELLO = [{"role": "user", "content": "Hello!"}]


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def start_pipeline(fleet: RealFleet, folder: Path, *flags: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "analyze.pipeline", "--input-jsonl", str(ROOT / "data/tasks.jsonl"), *flags]
    env = {**os.environ, "VLLM_PORTS": fleet.ports, "VLLM_HOST": "127.0.0.1", "OUTPUT_DIR": str(folder)}
    return subprocess.Popen(command, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)


def test_the_sdk_works_unchanged_over_real_servers(real_fleet):
    with MultiVLLMClient(real_fleet.urls) as client:
        assert {model.id for model in client.models.list()} == {DEMO_MODEL_NAME}
        reply = client.chat.completions.create(model=DEMO_MODEL_NAME, messages=HELLO, max_tokens=8)
        assert reply.usage is not None and reply.usage.completion_tokens == 8
        stream = client.chat.completions.create(model=DEMO_MODEL_NAME, messages=HELLO, max_tokens=8, stream=True)
        assert [chunk.choices[0].finish_reason for chunk in stream][-1] == "length"
        text = client.completions.create(model=DEMO_MODEL_NAME, prompt="a", max_tokens=4)
        assert text.choices[0].finish_reason == "length"
        with pytest.raises(openai.NotFoundError, match="does not exist"):
            client.chat.completions.create(model="nope", messages=HELLO)
        with pytest.raises(openai.BadRequestError, match="maximum context length"):
            client.chat.completions.create(
                model=DEMO_MODEL_NAME, messages=[{"role": "user", "content": "long " * 9000}]
            )


def test_a_killed_server_costs_no_request(real_fleet):
    requests = [ChatRequest(HELLO, id=str(n), options={"max_tokens": 64, "seed": n}) for n in range(200)]
    outcomes = []
    for outcome in ask_many(requests, MultiVLLMClient(real_fleet.urls)):
        outcomes.append(outcome)
        if len(outcomes) == 20:
            real_fleet.kill(2)
    assert Counter(type(outcome) for outcome in outcomes) == {Answer: 200}


def test_the_pipeline_survives_a_server_killed_in_the_middle(real_fleet, tmp_path):
    process = start_pipeline(real_fleet, tmp_path)
    journal = tmp_path / "journal.jsonl"
    deadline = time.monotonic() + 600
    while not journal.exists() or journal.read_bytes().count(b"\n") < 40:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "the pipeline does not get on"
        time.sleep(0.1)
    real_fleet.kill(1)
    out, err = process.communicate(timeout=1200)
    assert process.returncode in (0, 1), err

    run = json.loads((tmp_path / "run.json").read_text())
    counts = run["counts"]
    assert counts["cells"] == counts["cells_ok"] + counts["cells_failed"]
    assert counts["cells_left"] == 0
    assert counts["cells_ok"] >= 0.98 * counts["cells"]
    assert counts["read"] == counts["ok"] + counts["failed"] + counts["rejected"]
    assert run["demo"] is True and "noise" in out
    assert len({row["custom_id"] for row in lines(journal)}) == counts["cells"]
    assert f"{real_fleet.urls[1]} is out" in err
    for name in ("report.html", "report.md", "summary.csv", "wordcloud_en.png"):
        assert (tmp_path / name).stat().st_size > 500
    assert len(run["instances"]) >= 3

    asked_before = len(lines(journal))
    again = start_pipeline(real_fleet, tmp_path)
    again.communicate(timeout=600)
    assert again.returncode == process.returncode
    assert len(lines(journal)) == asked_before, "a finished run asks nothing again"


def test_the_pipeline_killed_and_continued_ends_as_if_never_killed(real_fleet, tmp_path):
    journal = tmp_path / "journal.jsonl"
    for reached in (20, 60):
        process = start_pipeline(real_fleet, tmp_path, "--audit-tasks", "0")
        while not journal.exists() or journal.read_bytes().count(b"\n") < reached:
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        process.kill()
        process.wait()
    last = start_pipeline(real_fleet, tmp_path, "--audit-tasks", "0")
    _, err = last.communicate(timeout=1200)
    assert last.returncode in (0, 1), err
    rows = Counter(row["custom_id"] for row in lines(journal))
    counts = json.loads((tmp_path / "run.json").read_text())["counts"]
    assert len(rows) == counts["cells"] and set(rows.values()) == {1}
