"""A real vLLM tells how sure a judge is: what it reports, before or after the grammar mask, and what it refuses."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from analyze import run_pipeline
from analyze.judge.cells import cell_body, cells_of
from analyze.judge.probabilities import LOGPROBS, reading, verdict_only
from analyze.judge.tasks import Task, read_tasks
from analyze.per_task import MAX_CODE_CHARS
from analyze.tiny_model import DEMO_MODEL_NAME
from tests.real.conftest import RealFleet, running

pytestmark = pytest.mark.vllm

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module", params=["raw_logprobs", "processed_logprobs"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealFleet]:
    logs = tmp_path_factory.mktemp("vllm_logs")
    with running(logs, 1, "--logprobs-mode", request.param, "--max-logprobs", "5") as fleet:
        yield fleet


@pytest.fixture(scope="module")
def task() -> Task:
    return read_tasks(ROOT / "data/tasks.jsonl")[0]


def ask(fleet: RealFleet, body: dict[str, Any]) -> dict[str, Any]:
    client = openai.OpenAI(base_url=fleet.urls[0], api_key="EMPTY", max_retries=0)
    return client.chat.completions.create(model=DEMO_MODEL_NAME, **body).model_dump(mode="json")


def test_what_the_schema_forbids_is_masked_before_log_probabilities_are_taken_whatever_the_mode(
    server: RealFleet, task: Task
) -> None:
    """A random model, with 2,048 tokens about as likely as each other, could not give five of them everything."""
    told = ask(server, {**cell_body(cells_of(task)[0], lang="en", max_code_chars=MAX_CODE_CHARS), **LOGPROBS})
    cut = verdict_only(told)
    (kept,) = cut["choices"][0]["logprobs"]["content"]
    assert {entry["token"] for entry in kept["top_logprobs"]} == set("12345")
    assert kept["token"] == told["choices"][0]["message"]["content"].rstrip('"}')[-1]
    found = reading(cut)
    assert found is not None and found.legal_mass == pytest.approx(1, abs=1e-5)
    assert found.probabilities[found.digit - 1] == max(found.probabilities), "greedy"


def judged(fleet: RealFleet, folder: Path) -> dict[str, Any]:
    """The analysis of one audited task."""
    (folder / "tasks.jsonl").write_text((ROOT / "data/tasks.jsonl").read_text().splitlines()[0])
    run_pipeline(folder / "tasks.jsonl", folder / "out", base_urls=fleet.urls, audit_tasks=1)
    analysis: dict[str, Any] = json.loads((folder / "out/per_task.jsonl").read_text())
    return analysis


def test_a_task_is_judged_with_probabilities(server: RealFleet, tmp_path: Path) -> None:
    analysis = judged(server, tmp_path)
    cells = [cell for rival in analysis["rivals"] for cell in rival["cells"] if cell["status"] == "ok"]
    assert cells
    assert all(math.fsum(cell["probabilities"].values()) == pytest.approx(1) for cell in cells)
    assert all(rival["expected"] is not None for rival in analysis["rivals"] if rival["score"] is not None)


def test_a_server_with_a_lower_limit_judges_all_the_same(tmp_path: Path) -> None:
    with running(tmp_path / "logs", 1, "--max-logprobs", "3") as fleet:
        with pytest.raises(openai.BadRequestError, match="logprobs of 5, which is greater than max allowed: 3"):
            ask(fleet, {"messages": [{"role": "user", "content": "x"}], **LOGPROBS})
        analysis = judged(fleet, tmp_path)
    assert analysis["score"] is not None
    assert {rival["expected"] for rival in analysis["rivals"]} == {None}
