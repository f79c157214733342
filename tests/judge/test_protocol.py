"""The judge's protocol as a whole run keeps it: what is asked, what becomes of replies that are none, what is told."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from analyze import MultiVLLMClient, analyze_task, run_pipeline
from analyze.errors import ConstraintIgnoredError, UsageError
from analyze.facts import Facts
from analyze.judge.audit import CLAIMS, COMMANDS, TWINS
from analyze.judge.tasks import Task
from analyze.per_task import MAX_CODE_CHARS
from analyze.pipeline.artefacts import Artefacts
from analyze.pipeline.judges import DEMO_AUDIT_TASKS
from analyze.runs.journal import read_outcomes
from analyze.tiny_model import DEMO_MODEL_NAME
from tests.fake_vllm import FakeVLLM, chat_reply
from tests.judge.factory import reply_text

AUTHORS = ("SECRET-TARGET-qwen", "SECRET-RIVAL", "SECRET-COPY", "SECRET-EMPTY")
PLAIN, PROBES = 2, 22
Body = dict[str, Any]
Reply = Callable[[Body], Any]


def codes(number: int) -> tuple[str, str]:
    """Return the two solutions of a task that the judge is asked about."""
    target = f"def f(x):\n    total = x + {number}\n    return total\n"
    return target, f"def f(x):\n    # adds\n    result = {number} + x\n    return result\n"


def a_task(number: int) -> dict[str, Any]:
    """Return a task with one pair for the judge, and two that rules decide."""
    target, rival = codes(number)
    written = (target, rival, f"{target}\n\n", " \n")
    solutions = [{"author": a, "code": code, "passed": True} for a, code in zip(AUTHORS, written, strict=True)]
    task = {"task_id": f"t{number}", "prompt": f"add {number}", "language": "python"}
    return task | {"target": solutions[0], "rivals": solutions[1:]}


@pytest.fixture(autouse=True)
def only_the_protocol(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what takes most of a run's time and is no part of the protocol: facts, pictures, pages."""
    calm = Facts("python", lines=3, code_lines=3)
    monkeypatch.setattr("analyze.pipeline.steps.facts_of", lambda tasks: dict.fromkeys(all_codes(tasks), calm))
    monkeypatch.setattr("analyze.report.material.lay_out", lambda words, font: None)
    monkeypatch.setattr("analyze.report.pictures_of", lambda material: {})
    monkeypatch.setattr(
        "analyze.report.pages_of", lambda material: {"report": material.recorded.folder / "report.html"}
    )


def all_codes(tasks: Sequence[Task]) -> list[tuple[str, str]]:
    return [(solution.code, task.language) for task in tasks for solution in (task.target, *task.rivals)]


class Run:
    """Runs the pipeline in a folder, against a server that answers by a rule; one request at a time."""

    def __init__(self, folder: Path, fake: Callable[..., FakeVLLM]) -> None:
        self.input, self.out, self._fake = folder / "tasks.jsonl", folder / "out", fake
        self.bodies: list[Body] = []
        self.write(*map(a_task, range(2)))

    def write(self, *tasks: dict[str, Any]) -> None:
        self.input.write_text("".join(json.dumps(task) + "\n" for task in tasks))

    def __call__(self, reply: Reply | None = None, *, model: str = "fake-model", **options: Any) -> Artefacts:
        """`reply` takes a body and returns the reply's text, or the reply; the server serves `model`."""
        server = self.server(reply, model)
        said = {"lang": "en", "in_flight": 1, **options}
        return run_pipeline(self.input, self.out, base_urls=[server.url], **said)

    def server(self, reply: Reply | None = None, model: str = "fake-model") -> FakeVLLM:
        server = self._fake(model=model)

        async def answer(request: web.Request, body: Body) -> web.Response:
            said = reply(body) if reply else reply_text(4)
            return web.json_response(said if isinstance(said, dict) else chat_reply(said, model=model))

        server.handler, server.bodies = answer, self.bodies
        return server

    def lines(self, name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.out / name).read_text().splitlines()]

    @property
    def manifest(self) -> dict[str, Any]:
        return dict(json.loads((self.out / "run.json").read_text()))


@pytest.fixture
def run(tmp_path: Path, fake: Callable[..., FakeVLLM]) -> Run:
    return Run(tmp_path, fake)


def user_text(body: Body) -> str:
    return str(body["messages"][1]["content"])


def shown(body: Body) -> tuple[str, str]:
    """Return the code that a body shows as A and as B."""
    parts = [part.split("\n", 1)[1].split("\n</solution")[0] for part in user_text(body).split("\n<solution ")[1:]]
    return parts[0], parts[1]


# --- what is asked ---


def test_the_judge_is_checked_on_the_audited_tasks_and_nothing_is_asked_twice(run: Run) -> None:
    assert run(audit_tasks=0).exit_code == 0
    assert len(run.bodies) == 2 * PLAIN and run.manifest["audit"]["tasks"] == []
    plain = run.lines("per_task.jsonl")
    assert [task["audit"] for task in plain] == [[], []]

    assert run().exit_code == 0
    assert len(run.bodies) == 2 * (PLAIN + PROBES) == run.manifest["counts"]["cells_ok"]
    assert sorted(run.manifest["audit"]["tasks"]) == ["t0", "t1"]
    for before, after in zip(plain, run.lines("per_task.jsonl"), strict=True):
        assert sum(len(entry["cells"]) for entry in after["audit"]) == PROBES
        assert before == after | {"audit": []}, "probes change nothing else in the record"

    run()
    run(audit_tasks=0)
    assert len(run.bodies) == 2 * (PLAIN + PROBES)
    assert run.lines("per_task.jsonl") == plain, "fewer audited tasks leave the answers of the others alone"


def test_code_that_differs_in_white_space_is_the_control_of_equals(run: Run) -> None:
    run(audit_tasks=1)
    audits = [task["audit"] for task in run.lines("per_task.jsonl")]
    assert [entry["rival"] for audit in audits for entry in audit if entry["probe"] == "same"] == ["SECRET-COPY"] * 2


def test_repeats_are_sampled_without_a_seed_and_are_different_questions(run: Run) -> None:
    run(audit_tasks=1)
    assert all("seed" not in body for body in run.bodies)
    assert sorted(body["temperature"] for body in run.bodies) == [0] * (2 * PLAIN + 10) + [0.7] * (10 + 2 * TWINS)
    asked = [outcome.asked for outcome in read_outcomes(run.out / "journal.jsonl")]
    assert len(set(asked)) == len(asked) == len(run.bodies)


def test_authors_and_recorded_results_never_reach_the_judge(run: Run) -> None:
    run()
    assert len(run.bodies) == 2 * (PLAIN + PROBES)
    assert [body for body in run.bodies if "SECRET" in json.dumps(body)] == []
    assert {len(body["messages"]) for body in run.bodies} == {2}
    for body in run.bodies:
        a, b = shown(body)
        frame = user_text(body).replace(a, "", 1).replace(b, "", 1)
        assert "true" not in frame.lower() and "passed" not in frame.lower()


def test_what_is_planted_stands_in_the_code_and_nowhere_else(run: Run) -> None:
    run(audit_tasks=1)
    for sentences in (COMMANDS, CLAIMS):
        planted = [body for body in run.bodies if any(said in user_text(body) for said in sentences)]
        assert len(planted) == 2
        for body in planted:
            (seen,) = [code for code in shown(body) if any(code.startswith(f"# {said}\n") for said in sentences)]
            assert sum(user_text(body).count(said) for said in sentences) == 1 and seen.count("\n") > 1


def test_a_continued_run_over_the_tasks_in_another_order_folds_the_same_bytes(run: Run) -> None:
    run()
    before, asked = (run.out / "per_task.jsonl").read_bytes().splitlines(), len(run.bodies)
    run.write(a_task(1), a_task(0))
    run()
    assert (run.out / "per_task.jsonl").read_bytes().splitlines() == before[::-1]
    assert len(run.bodies) == asked


def test_a_single_task_is_judged_without_a_check_of_the_judge(run: Run) -> None:
    analysis = analyze_task(a_task(0), "fake-model", MultiVLLMClient([run.server().url]))
    assert analysis is not None and analysis["audit"] == [] and len(run.bodies) == PLAIN


def test_the_demo_model_is_checked_on_a_few_tasks_unless_more_are_wished(run: Run) -> None:
    run.write(*map(a_task, range(DEMO_AUDIT_TASKS + 1)))
    run(model=DEMO_MODEL_NAME)
    assert len(run.manifest["audit"]["tasks"]) == DEMO_AUDIT_TASKS
    run(model=DEMO_MODEL_NAME, audit_tasks=30)
    assert len(run.manifest["audit"]["tasks"]) == DEMO_AUDIT_TASKS + 1


def test_the_measured_judge_is_asked_no_probe(run: Run) -> None:
    run_pipeline(run.input, run.out, engine="measured", lang="en")
    assert run.manifest["audit"]["tasks"] == [] and run.manifest["same_family"] == []
    assert [task["audit"] for task in run.lines("per_task.jsonl")] == [[], []]


@pytest.mark.parametrize("wrong", ["many", "-1", "1.5"])
def test_a_number_of_audited_tasks_that_is_none_is_wrong_use(run: Run, wrong: str) -> None:
    with pytest.raises(UsageError, match="AUDIT_TASKS"):
        run(audit_tasks=wrong)


def test_the_manifest_names_the_authors_that_are_the_judges_kin(run: Run) -> None:
    run(model="Qwen/Qwen3-8B", audit_tasks=0)
    assert run.manifest["same_family"] == ["SECRET-TARGET-qwen"]


def test_a_pair_that_is_equal_as_far_as_the_judge_sees_is_not_asked_and_no_failure(run: Run) -> None:
    long, task = "x = 1\n" * MAX_CODE_CHARS, a_task(0)
    task["target"]["code"], task["rivals"][0]["code"] = long, long + "y = 2\n"
    task["rivals"] = task["rivals"][:1]
    run.write(task, a_task(1))
    assert run(audit_tasks=0).exit_code == 0
    assert len(run.bodies) == PLAIN and run.lines("failed.jsonl") == []
    pair = run.lines("per_task.jsonl")[0]["rivals"][0]
    assert (pair["outcome"], pair["flags"]) == ("unscored", ["cut_alike"])
    run_pipeline(run.input, run.out.parent / "measured", engine="measured", lang="en")
    measured = json.loads((run.out.parent / "measured" / "per_task.jsonl").read_text().splitlines()[0])
    assert measured["rivals"][0]["flags"] == [] and len(measured["rivals"][0]["cells"]) == PLAIN


def three_rivals(number: int) -> dict[str, Any]:
    """Return a task with three rivals, of which every two need a judge."""
    task = a_task(number)
    for index, rival in enumerate(task["rivals"][1:]):
        rival["code"] = f"def f(x):\n    return {number} + x + {index}\n"
    return task


def test_a_round_robin_added_to_a_finished_run_asks_only_what_it_needs_more(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    run.write(three_rivals(0), three_rivals(1))
    run(audit_tasks=0)
    plain, before = (run.out / "per_task.jsonl").read_bytes(), len(run.bodies)
    assert before == 2 * 3 * PLAIN and b"round_robin" not in plain
    capsys.readouterr()

    assert run(audit_tasks=0, round_robin=True).exit_code == 0
    assert len(run.bodies) - before == 2 * 3 * 2
    assert "12 of the 24 judgements are for that" in capsys.readouterr().out
    for body in run.bodies:
        assert "SECRET" not in json.dumps(body)
    for task, line in zip(run.lines("per_task.jsonl"), plain.splitlines(), strict=True):
        met = [(entry["first"], entry["second"]) for entry in task.pop("round_robin")]
        assert met == [
            ("SECRET-COPY", "SECRET-EMPTY"),
            ("SECRET-COPY", "SECRET-RIVAL"),
            ("SECRET-EMPTY", "SECRET-RIVAL"),
        ]
        assert task == json.loads(line)

    run(audit_tasks=0, round_robin=True)
    run(audit_tasks=0)
    assert len(run.bodies) == before + 12 and (run.out / "per_task.jsonl").read_bytes() == plain


def test_a_failed_meeting_of_rivals_is_listed_with_both_and_costs_the_target_nothing(run: Run) -> None:
    run.write(three_rivals(0))
    two = {rival["code"] for rival in three_rivals(0)["rivals"][:2]}

    def but_between(body: Body) -> Any:
        return chat_reply("", "length") if set(shown(body)) == two else reply_text(4)

    assert run(but_between, audit_tasks=0, round_robin=True).exit_code == 1
    (task,) = run.lines("per_task.jsonl")
    assert task["unscored"] == 0
    assert [it["outcome"] for it in task["round_robin"]].count("unscored") == 1
    told = [(it["rival"], it["against"], it["probe"]) for it in run.lines("failed.jsonl")]
    assert told == [("SECRET-RIVAL", "SECRET-COPY", "robin")] * 2


def test_the_measured_judge_plays_a_round_robin_too(run: Run) -> None:
    run.write(three_rivals(0))
    run_pipeline(run.input, run.out, engine="measured", lang="zh", round_robin=True)
    (task,) = run.lines("per_task.jsonl")
    assert [len(entry["cells"]) for entry in task["round_robin"]] == [2, 2, 2]


# --- replies that are none ---


def well_but(bad: Callable[[Body], Any]) -> Reply:
    """Answer well, but for the pair of the second task, target first: there, reply as `bad` does."""

    def reply(body: Body) -> Any:
        is_it = body["temperature"] == 0 and shown(body) == codes(1)
        return bad(body) if is_it else reply_text(4)

    return reply


def test_a_reply_that_breaks_the_schema_is_asked_once_more_and_told_why(run: Run) -> None:
    replies = iter([reply_text(overall=9), reply_text(2)])
    assert run(well_but(lambda body: next(replies)), audit_tasks=0).exit_code == 0
    assert len(run.bodies) == 2 * PLAIN + 1
    again = run.bodies[-2]["messages"]
    assert [message["role"] for message in again] == ["system", "user", "assistant", "user"]
    assert again[2]["content"] == reply_text(overall=9) and '"9" is not one of' in again[3]["content"]
    cell = run.lines("per_task.jsonl")[1]["rivals"][0]["cells"][0]
    assert (cell["digit"], cell["status"]) == (2, "ok")


def refusal() -> Body:
    reply = chat_reply("")
    reply["choices"][0]["message"]["refusal"] = "I cannot judge this"
    return reply


def thinking_only() -> Body:
    reply = chat_reply("")
    reply["choices"][0]["message"] |= {"content": None, "reasoning": reply_text(5)}
    return reply


@pytest.mark.parametrize(
    ("bad", "kind", "times"),
    [
        (reply_text(overall=9), "schema", 2),
        ("A is better", "schema", 2),
        ("", "schema", 2),
        (thinking_only(), "schema", 2),
        (chat_reply(reply_text(5), "length"), "truncated", 1),
        (chat_reply(reply_text(5), "content_filter"), "truncated", 1),
        (refusal(), "refused", 1),
    ],
    ids=["against the schema", "no JSON", "empty", "thinking only", "truncated", "filtered", "refused"],
)
def test_a_cell_without_a_verdict_leaves_its_pair_unscored(run: Run, bad: Any, kind: str, times: int) -> None:
    assert run(well_but(lambda body: bad), audit_tasks=0).exit_code == 1
    assert len(run.bodies) == 2 * PLAIN - 1 + times
    whole, broken = run.lines("per_task.jsonl")
    assert (whole["unscored"], broken["unscored"]) == (0, 1)
    pair = broken["rivals"][0]
    assert (pair["outcome"], pair["score"], pair["tie_kind"], pair["dimensions"]) == ("unscored", None, None, {})
    assert [cell["status"] for cell in pair["cells"]] == ["failed", "ok"]
    (failure,) = run.lines("failed.jsonl")
    told = (failure["task_id"], failure["rival"], failure["order"], failure["probe"], failure["kind"])
    assert told == ("t1", "SECRET-RIVAL", "target_first", "plain", kind)


def test_a_probe_without_a_verdict_is_listed_and_counted_and_fails_no_task(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    def never_twice(body: Body) -> Any:
        is_twin = body["temperature"] == 0.7 and shown(body)[0].strip() == shown(body)[1].strip()
        return chat_reply(reply_text(4), "length") if is_twin else reply_text(4)

    assert run(never_twice, audit_tasks=1).exit_code == 0
    said = capsys.readouterr().out
    assert "4 of the 24 questions that check the judge have no usable answer" in said
    assert "2 tasks = 2 ok + 0 failed" in said
    assert sum(task["unscored"] for task in run.lines("per_task.jsonl")) == 0
    assert [(failure["probe"], failure["sample"]) for failure in run.lines("failed.jsonl")] == [
        ("same", 0),
        ("same", 1),
    ] * 2
    counts = run.manifest["counts"]
    assert (counts["ok"], counts["failed"], counts["cells_failed"], counts["probes_failed"]) == (2, 0, 4, 4)


def test_thinking_is_not_parsed_as_the_reply(run: Run) -> None:
    def thoughtful(body: Body) -> Body:
        reply = chat_reply(reply_text(4))
        reply["choices"][0]["message"]["reasoning"] = f"perhaps {reply_text(1)}"
        return reply

    assert run(thoughtful, audit_tasks=0).exit_code == 0
    cells = [cell for task in run.lines("per_task.jsonl") for rival in task["rivals"] for cell in rival["cells"]]
    assert {cell["digit"] for cell in cells} == {4}


def test_a_server_that_lets_the_model_think_in_its_reply_stops_the_run(run: Run) -> None:
    """It applied no schema: there is no telling where such a thought ends."""
    with pytest.raises(ConstraintIgnoredError):
        run(lambda body: f"<think>{reply_text(1)}</think>{reply_text(4)}", audit_tasks=0)


def test_a_verdict_against_its_own_dimensions_is_flagged_and_counted(run: Run) -> None:
    assert run(well_but(lambda body: reply_text(5, 1)), audit_tasks=0).exit_code == 0
    assert [task["rivals"][0]["flags"] for task in run.lines("per_task.jsonl")] == [[], ["contradictory"]]


def test_empty_and_identical_code_is_decided_by_rule_without_a_question(run: Run) -> None:
    run(audit_tasks=0)
    for task in run.lines("per_task.jsonl"):
        judged, copy, empty = task["rivals"]
        assert judged["rule"] is None and len(judged["cells"]) == PLAIN
        assert (copy["rule"], copy["outcome"], copy["tie_kind"], copy["cells"]) == ("identical", "tie", "true", [])
        assert (empty["rule"], empty["outcome"], empty["cells"]) == ("rival_empty", "win", [])
