"""A second judge, over real local servers: what it is asked, what is recorded of it, and what it can never change."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from analyze.core import BULK
from analyze.errors import InputError, MixedRunError, NoServerError, UsageError
from analyze.judge.probabilities import LOGPROBS
from analyze.runs.askers import FleetAsker
from analyze.runs.journal import read_outcomes
from tests.fake_vllm import FakeVLLM, chat_reply, free_port, go_on, hold_at
from tests.judge.factory import reply_text
from tests.judge.test_protocol import Run, a_task, only_the_protocol, run, shown, user_text

__all__ = ["only_the_protocol", "run"]  # fixtures

ROOT = Path(__file__).resolve().parents[2]
SECOND = "Qwen/second"
RIVALS = 2
"""Pairs of a task that no rule decides: each is asked in both orders."""


def two_rivals(number: int) -> dict[str, Any]:
    """Return a task with two pairs for the judge, and two that rules decide."""
    task = a_task(number)
    code = f"def f(x):\n    return sum([x, {number}])\n"
    return task | {"rivals": [*task["rivals"], {"author": "SECRET-OTHER", "code": code, "passed": False}]}


@pytest.fixture
def second(run: Run, fake: Callable[..., FakeVLLM]) -> FakeVLLM:
    """The server of another model, which finds the target better; the first one prefers what it is shown first."""
    run.write(*map(two_rivals, range(3)))
    server = fake(model=SECOND)

    async def answer(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        is_target_first = "total = " in shown(body)[0]
        return web.json_response(chat_reply(reply_text(5 if is_target_first else 1), model=server.model))

    server.handler = answer
    return server


def with_second(run: Run, *servers: FakeVLLM, **options: Any) -> Any:
    return run(second_judge_endpoints=[server.url for server in servers], **{"audit_tasks": 2, **options})


def second_cells(run: Run) -> list[dict[str, Any]]:
    audits = [entry for task in run.lines("per_task.jsonl") for entry in task["audit"]]
    return [cell for entry in audits if entry["probe"] == "second" for cell in entry["cells"]]


def test_the_second_judge_is_asked_every_pair_of_the_audited_tasks_with_the_bytes_of_the_first(
    run: Run, second: FakeVLLM, capsys: pytest.CaptureFixture[str]
) -> None:
    assert with_second(run, second).exit_code == 0
    assert len(second.bodies) == 2 * RIVALS * 2
    plain = [{k: v for k, v in body.items() if k not in LOGPROBS} for body in run.bodies if body["temperature"] == 0]
    for body in second.bodies:
        assert body["model"] == SECOND and body["temperature"] == 0
        assert {**body, "model": "fake-model"} in plain
    assert len({user_text(body) for body in second.bodies}) == len(second.bodies)
    assert {cell["digit"] for cell in second_cells(run)} == {5, 1}
    said = capsys.readouterr().out
    assert f"second judge: 1 of 1 instances up, model {SECOND}" in said
    assert "second judge: 8 judgements (0 of them before), 0 failed, 0 left" in said
    assert "the second judge gives the same outcome: 0% of 4 comparisons" in said
    assert run.manifest["second_model"] == SECOND
    assert [part["url"] for part in run.manifest["second_judge"]["instances"]] == [second.url]
    assert second.url not in [part["url"] for part in run.manifest["instances"]]


def test_without_a_second_judge_nothing_is_recorded_of_one_and_with_one_no_outcome_changes(
    run: Run, second: FakeVLLM
) -> None:
    run(audit_tasks=2)
    before = run.lines("per_task.jsonl")
    journal = (run.out / "journal.jsonl").read_bytes()
    assert {"second_model", "second_judge"}.isdisjoint(run.manifest) and b"second" not in journal

    with_second(run, second)
    for one, other in zip(before, run.lines("per_task.jsonl"), strict=True):
        assert one | {"audit": []} == other | {"audit": []}
        assert one["audit"] == [entry for entry in other["audit"] if entry["probe"] != "second"]
    assert (run.out / "journal.jsonl").read_bytes().startswith(journal)

    run(audit_tasks=2)
    assert run.lines("per_task.jsonl") == before, "a run goes on without its second judge"
    asked = len(second.bodies)
    with_second(run, second)
    assert len(second.bodies) == asked, "and with it again, where it stopped"


def test_another_second_model_is_refused_unless_update_which_asks_only_the_second_again(
    run: Run, second: FakeVLLM, fake: Callable[..., FakeVLLM]
) -> None:
    with_second(run, second)
    asked, recorded = len(run.bodies), (run.out / "journal.jsonl").read_bytes()
    other = fake(model="other", reply=reply_text(3))
    with pytest.raises(MixedRunError, match="the second judge's model was 'Qwen/second', is"):
        with_second(run, other)
    assert (run.out / "journal.jsonl").read_bytes() == recorded and not other.bodies

    assert with_second(run, other, update=True).exit_code == 0
    assert len(other.bodies) == 2 * RIVALS * 2 and len(run.bodies) == asked
    assert {cell["digit"] for cell in second_cells(run)} == {3}

    run(audit_tasks=2)  # the manifest of a run without a second judge names none
    with pytest.raises(MixedRunError, match="8 row"):
        with_second(run, second)


def test_its_addresses_are_no_part_of_the_run(run: Run, second: FakeVLLM, fake: Callable[..., FakeVLLM]) -> None:
    with_second(run, second)
    moved = fake(model=SECOND)
    assert with_second(run, moved, second).exit_code == 0
    assert not moved.bodies


def test_servers_of_the_second_judge_that_are_down_are_told_before_anything_is_asked(
    run: Run, second: FakeVLLM
) -> None:
    url = f"http://127.0.0.1:{free_port()}/v1"
    with pytest.raises(NoServerError, match="the second judge: no server could be reached") as told:
        run(audit_tasks=2, second_judge_endpoints=url)
    assert url in told.value.message and "SECOND_JUDGE_ENDPOINTS" in (told.value.cure or "")
    assert not run.bodies and not (run.out / "journal.jsonl").exists()


def test_a_second_judge_that_goes_down_in_the_middle_ends_the_run_and_the_same_command_continues(
    run: Run, second: FakeVLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    patience = replace(BULK, unavailable_s=1.0)
    monkeypatch.setattr(
        FleetAsker.__init__, "__kwdefaults__", {**FleetAsker.__init__.__kwdefaults__, "bounds": patience}
    )
    answer, url = second.handler, second.url
    assert answer is not None

    async def twice(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if len(second.bodies) == 3:
            second._die()
        return await answer(request, body)

    second.handler = twice
    with pytest.raises(NoServerError, match="the second judge: no server") as told:
        with_second(run, second)
    assert url in told.value.message
    first_asked = len(run.bodies)
    second.handler = answer
    second.start()
    assert with_second(run, second).exit_code == 0
    assert len(run.bodies) == first_asked and len(second_cells(run)) == 2 * RIVALS * 2
    ids = [outcome.id for outcome in read_outcomes(run.out / "journal.jsonl")]
    assert len(set(ids)) == len(ids) == run.manifest["counts"]["cells"]


def test_a_control_token_of_the_second_model_is_never_sent(run: Run, second: FakeVLLM) -> None:
    task = two_rivals(0)
    task["target"]["code"] += "# <odd-one>\n"
    run.write(task)
    second.control_tokens = ["<|im_end|>", "<odd-one>"]
    with pytest.raises(InputError, match=f"holds <odd-one>, a control token of {SECOND}"):
        with_second(run, second)
    assert not run.bodies and not second.bodies


@pytest.mark.parametrize(
    ("first", "kin"), [("Qwen/Qwen3-8B", True), (SECOND, True), ("gemma-3", False), ("fake-model", False)]
)
@pytest.mark.parametrize(("lang", "words"), [("en", "of one model family"), ("zh", "同属一个模型家族")])
def test_judges_of_one_family_are_said_to_be(
    run: Run, second: FakeVLLM, capsys: pytest.CaptureFixture[str], first: str, kin: bool, lang: str, words: str
) -> None:
    with_second(run, second, model=first, audit_tasks=1, lang=lang)
    assert run.manifest["second_judge"]["same_family"] is kin
    assert (words in capsys.readouterr().out) is kin


def test_one_server_with_several_models_can_be_both_judges(run: Run, second: FakeVLLM) -> None:
    with pytest.raises(UsageError, match="the second judge: no server serves 'third'") as told:
        with_second(run, second, second_judge_model="third")
    assert "--second-judge-model" in (told.value.cure or "")
    assert with_second(run, second, second_judge_model=SECOND).exit_code == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"second_judge_model": SECOND}, "not which servers serve it"),
        ({"second_judge_endpoints": "http://box:1", "audit_tasks": 0}, "AUDIT_TASKS=0 names none"),
        ({"second_judge_endpoints": "http://box:1", "engine": "measured"}, "asks no model"),
        ({"second_judge_endpoints": "box:1"}, "no base URL"),
    ],
)
def test_a_second_judge_that_could_be_asked_nothing_is_wrong_use(run: Run, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        run(**options)
    assert not run.bodies


def test_what_the_second_judge_fails_to_answer_fails_no_task(
    run: Run, second: FakeVLLM, capsys: pytest.CaptureFixture[str]
) -> None:
    second.refuse = lambda body: 400 if "total = " in shown(body)[0] else None
    assert with_second(run, second).exit_code == 0
    assert [failure["probe"] for failure in run.lines("failed.jsonl")] == ["second"] * 4
    assert [cell["status"] for cell in second_cells(run)].count("failed") == 4
    said = capsys.readouterr().out
    assert "4 of the" in said and "3 tasks = 3 ok + 0 failed" in said


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
def test_ended_while_the_second_judge_is_asked_it_asks_exactly_what_is_missing(
    run: Run, second: FakeVLLM, number: signal.Signals, code: int
) -> None:
    first = run.server()
    hold_at([second], 4)  # cells are left for the next run, however late the signal comes
    env = {
        **os.environ,
        "INPUT_JSONL": str(run.input),
        "OUTPUT_DIR": str(run.out),
        "VLLM_ENDPOINTS": first.url,
        "SECOND_JUDGE_ENDPOINTS": second.url,
        "AUDIT_TASKS": "3",
    }
    command = [sys.executable, "-m", "analyze.pipeline", "--in-flight", "1"]
    process = subprocess.Popen(command, env=env, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    while len(second.bodies) < 4:
        time.sleep(0.01)
        assert process.poll() is None
    process.send_signal(number)
    if number == signal.SIGINT:
        assert any(b"stops at once" in line for line in process.stdout)
    else:
        process.wait()
    go_on([second])
    process.communicate()
    assert process.returncode == code
    asked = len(run.bodies)
    with_second(run, second, audit_tasks=3)
    assert len(run.bodies) == asked
    cells = 2 * RIVALS * 3
    assert cells <= len(second.bodies) <= cells + 1  # the one in flight when it was killed
    ids = [json.loads(outcome.id) for outcome in read_outcomes(run.out / "journal.jsonl")]
    assert sum(row[-1] == "second" for row in ids) == cells
