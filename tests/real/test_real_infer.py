"""Inference by real engines: servers of its own, transformers in two workers, servers that run. All give the same rows
in the same order, through the deaths of servers, workers and the parent itself."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from analyze import hf
from analyze.servers import processes
from analyze.tiny_model import folder_name
from tests.real.conftest import RealFleet

pytestmark = pytest.mark.vllm

ROWS = [{"id": f"r{n}", "question": f"{n}: what helps against a headache, " + "and why " * (n % 7)} for n in range(200)]
MAX_TOKENS = 12

TASK = """
import json
from pathlib import Path

def get_file_list(input_path):
    return sorted(str(path) for path in Path(__file__).parent.glob("part_*.jsonl"))

def read_file(file_path):
    return [json.loads(line) for line in open(file_path)]

def format_prompt(org_data):
    if org_data["id"].endswith("7"):
        return "Q: " + org_data["question"] + "\\nA:"
    return [{"role": "user", "content": org_data["question"]}]

def extract_answer(model_response, org_data):
    return [org_data["id"], len(model_response)]
"""

SAME_GAP = 0.1
"""Nats between the two likeliest tokens up to which arithmetic may choose either: vLLM computes in bfloat16, whose 8
bits are about 0.01 of a logit of this model, through two layers; transformers in float32. Seen: 0.06 at most."""

LEAST_ALIKE = 0.5
"""Of the rows, how many must be alike to the character: random weights find many tokens as likely. Seen: 0.81."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("infer")
    task = folder / "configs" / "mine"
    task.mkdir(parents=True)
    (task / "task_config.py").write_text(TASK)
    (task / "sampling_params.json").write_text(json.dumps({"temperature": 0, "max_tokens": MAX_TOKENS}))
    for part in range(2):
        rows = ROWS[part * 100 : part * 100 + 100]
        (task / f"part_{part}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    yield folder
    assert left_of(folder) == []


def start(folder: Path, output: str, *flags: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "analyze.infer", "--output_path", output, "--task_name", "mine", *flags]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, text=True, stdout=pipe, stderr=subprocess.STDOUT)


def ended(process: subprocess.Popen[str]) -> str:
    said, _ = process.communicate(timeout=1200)
    assert process.returncode == 0, said
    return said


def lines(folder: Path, output: str, kind: str = "infer") -> list[dict[str, Any]]:
    paths = sorted((folder / output / "results" / kind).glob("task_*.jsonl"))
    whole = [line for path in paths for line in path.read_bytes().splitlines(True) if line.endswith(b"\n")]
    return [json.loads(line) for line in whole]


def left_of(folder: Path) -> list[psutil.Process]:
    """Return the processes that work in this folder."""
    return [one for one in psutil.process_iter(["cwd", "cmdline"]) if one.info["cwd"] == str(folder)]


def until(is_so: Any, process: subprocess.Popen[str] | None = None, timeout_s: float = 900.0) -> None:
    give_up_at = time.monotonic() + timeout_s
    while not is_so():
        assert process is None or process.poll() is None, process.communicate()[0]
        assert time.monotonic() < give_up_at
        time.sleep(0.02)


def assert_all_rows_in_order(folder: Path, output: str) -> None:
    found = lines(folder, output)
    assert [row["org_data"] for row in found] == ROWS and {row["status"] for row in found} == {"ok"}
    assert [row["index"] for row in found] == list(range(200))
    answers = [row["answer"] for row in lines(folder, output, "extract")]
    assert answers == [[row["id"], len(row["response"])] for row in found]


@pytest.fixture(scope="module")
def by_fleet(folder: Path) -> list[dict[str, Any]]:
    """Two servers of its own, of which one is killed."""
    flags = ("--model_path", "tiny-random", "--workers", "2", "--in-flight", "2")  # so that there is time to kill one
    process = start(folder, "fleet", *flags, "--tasks", "4")
    until(lambda: len(lines(folder, "fleet")) >= 5, process)
    records = processes.read_records(folder / "fleet/logs/servers")
    os.killpg(next(iter(records.values())).pid, signal.SIGKILL)
    said = ended(process)
    assert "200 rows read: 200 ok (0 of them before)" in said and "died; it is started again" in said
    assert len(records) == 2 and not (folder / "fleet/previous").exists()
    assert_all_rows_in_order(folder, "fleet")
    return lines(folder, "fleet")


@pytest.fixture(scope="module")
def by_workers(folder: Path) -> list[dict[str, Any]]:
    """Two workers, of which one is killed; then the parent; then, in the next run, everything."""
    flags = ("--model_path", "tiny-random", "--model_type", "hf", "--use_cpu", "--workers", "2", "--max_num_seqs", "2")
    process, kept = start(folder, "hf", *flags, "--tasks", "4"), 0
    for strike in range(3):
        wanted = kept + 5
        until(lambda wanted=wanted: len(lines(folder, "hf")) >= wanted, process)
        workers = [one for one in left_of(folder) if "analyze.infer.worker" in (one.info["cmdline"] or [])]
        match strike:
            case 0:
                workers[0].kill()
                until(lambda: re.search(r"worker-[12] died", (folder / "hf/logs/main.log").read_text()), process)
                continue
            case 1:
                process.kill()
            case 2:
                process.kill()
                for one in workers:
                    with suppress(psutil.NoSuchProcess):  # it ends with its parent
                        one.kill()
        process.communicate()
        until(lambda: left_of(folder) == [])
        kept = len(lines(folder, "hf"))
        process = start(folder, "hf", *flags, "--tasks", str(2 + strike))
    said = ended(process)
    assert f"200 rows read: 200 ok ({kept} of them before)" in said and 10 <= kept < 200
    assert_all_rows_in_order(folder, "hf")
    return lines(folder, "hf")


def test_servers_that_run_servers_of_its_own_and_workers_give_the_same_rows_in_the_same_order(
    folder: Path, by_fleet: list[dict[str, Any]], by_workers: list[dict[str, Any]], real_fleet: RealFleet
) -> None:
    urls = [word for url in real_fleet.urls for word in ("--base-url", url)]
    ended(start(folder, "server", "--model_type", "server", *urls, "--tasks", "3"))
    assert_all_rows_in_order(folder, "server")
    by_servers = lines(folder, "server")
    assert [row["id"] for row in by_servers] == [row["id"] for row in by_fleet] == [row["id"] for row in by_workers]
    assert [row.get("prompt") for row in by_servers] == [row.get("prompt") for row in by_workers]
    assert [row["usage"]["prompt"] for row in by_servers] == [row["usage"]["prompt"] for row in by_workers]
    assert "noise" in (folder / "server/report.html").read_text()


def test_greedy_replies_of_transformers_and_vllm_differ_only_where_two_tokens_are_as_likely(
    folder: Path, by_fleet: list[dict[str, Any]], by_workers: list[dict[str, Any]]
) -> None:
    """How that is judged: transformers, in float32, says of each token of its reply how likely it and the next one
    were. Where vLLM's reply leaves it, these two must be within SAME_GAP; up to there they are the same."""
    import torch

    torch.set_num_threads(1)
    model = hf.load(str(folder / "hf/logs/workers" / folder_name()), device="cpu")
    sampling, alike = hf.Sampling(MAX_TOKENS, 0.0, top_logprobs=2), 0
    for ours, theirs in zip(by_workers, by_fleet, strict=True):
        if ours["response"] == theirs["response"]:
            alike += 1
            continue
        (body,) = model.generate([model.prompt(ours)], sampling, None, lambda: False)
        (choice,) = body["choices"]
        assert choice["message"]["content"] == ours["response"], "a row alone is answered as in a batch"
        so_far, gap = "", 0.0
        for token in choice["logprobs"]["content"]:
            so_far += token["token"]
            first, second = (one["logprob"] for one in token["top_logprobs"])
            gap = first - second
            if not theirs["response"].startswith(so_far):
                break
        assert gap <= SAME_GAP, (ours["id"], so_far, theirs["response"], gap)
    assert alike >= LEAST_ALIKE * len(ROWS), alike
