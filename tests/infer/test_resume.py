"""The journal is `results/infer`: whatever changes between two runs, the next one asks exactly what is missing."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyze.infer.segments import Cut
from analyze.infer.tree import Tree, whole_folder
from analyze.records import from_json
from analyze.runs.tail import SHARE
from tests.infer.conftest import TASK, Infer, questions


@given(rows=st.integers(1, 500), tasks=st.integers(1, 600))
def test_every_row_is_in_one_task_and_tasks_are_alike_in_size(rows: int, tasks: int) -> None:
    cut = Cut.of(rows, tasks)
    assert [cut.task_of(index) for index in range(rows)] == [
        task for task in range(1, cut.tasks + 1) for _ in cut.range_of(task)
    ]
    sizes = {len(cut.range_of(task)) for task in range(1, cut.tasks + 1)}
    assert cut.tasks == min(rows, tasks) and max(sizes) - min(sizes) <= 1


def test_the_output_is_the_tree_of_the_seed_in_the_order_of_the_input(infer: Infer) -> None:
    infer.task(rows=questions(5))
    infer.rows(questions(5, 5), "second.jsonl")
    ended = infer.run("--tasks", "3", "--save_text", "--input_path", str(infer.folder / "configs/mine/data"))
    assert ended.code == 0
    assert [row["index"] for row in infer.lines()] == list(range(10))
    assert [row["org_data"]["question"] for row in infer.lines()] == [f"question {n}" for n in range(10)]
    assert infer.answers() == [f"question {n}" for n in range(10)]
    assert (
        infer.counts()
        == infer.counts("extract")
        == {f"task_000{n}.jsonl": size for n, size in ((1, 3), (2, 3), (3, 4))}
    )
    assert infer.marks() == ["task_0001", "task_0002", "task_0003"]
    last = infer.lines()[-1]
    assert last["task"] == 3 and last["status"] == "ok" and last["usage"] == {"prompt": 7, "completion": 3}
    assert last["source"] == {"file": str(infer.folder / "configs/mine/data/second.jsonl"), "row": 5}
    told = infer.json("args.json")
    assert (told["model_type"], told["tasks"], told["workers"], told["use_cpu"]) == ("server", 3, 1, False)
    assert told["input_path"].endswith("data") and told["save_text"] is True and told["limit"] is None
    assert told["task"]["sha256"] and told["model"] == "fake-model" and told["finished"]
    assert "question 9" in (infer.folder / "out/results/text/task_0003.txt").read_text()
    assert "10 rows read: 10 ok" in infer.log("main.log") and "complete: 4 rows" in infer.log("tasks/task_0003.log")


def test_another_number_of_tasks_asks_nothing_and_loses_nothing(infer: Infer) -> None:
    infer.task(rows=questions(40))
    assert infer.run("--tasks", "8").code == 0
    before = [(row["id"], row["response"], row["latency_s"]) for row in infer.lines()]
    for tasks in (4, 7, 1):
        assert infer.run("--tasks", str(tasks)).code == 0
        assert [(row["id"], row["response"], row["latency_s"]) for row in infer.lines()] == before
        assert len(infer.counts()) == len(infer.counts("extract")) == len(infer.marks()) == tasks
        assert set(infer.counts().values()) <= {40 // tasks, 40 // tasks + 1}
    assert len(infer.asked) == 40


def test_the_marks_of_many_tasks_are_looked_at_a_few_times_each(infer: Infer, monkeypatch: pytest.MonkeyPatch) -> None:
    looked, mark = [], Tree.mark
    monkeypatch.setattr(Tree, "mark", lambda tree, task: looked.append(task) or mark(tree, task))  # type: ignore[func-returns-value]
    infer.task(rows=questions(80))
    assert infer.run("--tasks", "80").code == 0 and len(infer.marks()) == 80
    assert len(looked) <= 5 * 80, "2,000 tasks took 35 s at the end of a run"


def test_a_row_inserted_at_the_top_asks_one_request(infer: Infer) -> None:
    infer.task(rows=questions(10))
    infer.run("--tasks", "2")
    infer.rows([{"question": "new"}, *questions(10)])
    assert infer.run("--tasks", "2").code == 0
    assert infer.asked[10:] == ["new"]
    assert infer.answers() == ["new", *(f"question {n}" for n in range(10))]
    assert [(row["index"], row["source"]["row"]) for row in infer.lines()] == [(n, n + 1) for n in range(11)]
    assert [row["task"] for row in infer.lines()] == [1] * 5 + [2] * 6


def test_rows_that_are_gone_are_kept_aside_and_answered_when_they_are_back(infer: Infer) -> None:
    infer.task(rows=questions(6))
    infer.run("--tasks", "2")
    ended = infer.run("--tasks", "2", "--limit", "4")
    assert ended.code == 0 and infer.counts() == {"earlier.jsonl": 2, "task_0001.jsonl": 2, "task_0002.jsonl": 2}
    assert "rows that the input no longer holds: 2" in ended.out and len(infer.answers()) == 4
    assert infer.run("--tasks", "2").code == 0
    assert infer.counts() == {"task_0001.jsonl": 3, "task_0002.jsonl": 3} and len(infer.asked) == 6


def test_what_a_task_changes_in_a_row_it_formats_changes_neither_the_row_nor_what_is_asked_again(infer: Infer) -> None:
    code = TASK.replace("    return [{", "    org_data['question'] += '!'\n    org_data['seen'] = 1\n    return [{")
    infer.task(code, rows=questions(5))
    assert infer.run().code == 0 and infer.run().code == 0
    assert sorted(infer.asked) == [f"question {n}!" for n in range(5)]
    assert [row["org_data"] for row in infer.lines()] == questions(5)


def test_rows_of_pandas_and_numpy_are_recorded_as_json_and_asked_once(infer: Infer) -> None:
    code = (
        "import datetime, decimal, numpy, pandas\n"
        + TASK.replace('return [json.loads(line) for line in open(file_path, encoding="utf-8")]', "return ROWS")
        + "ROWS = pandas.DataFrame({'question': ['a', 'b'], 'n': numpy.array([1, 2]), 'when':"
        " pandas.to_datetime(['2026-01-02', None])}).to_dict('records')\n"
        "ROWS += [{'question': 'c', 'list': numpy.arange(2), 'price': decimal.Decimal('1.10'), 'none': pandas.NA}]\n"
        "def format_prompt(row):\n    return f\"{row['question']} {row.get('when')}\"\n"
        "def evaluate(rows):\n    return {'mean': numpy.float32(0.5)}\n"
        "def extract_answer(reply):\n    return numpy.int64(len(reply))\n"
    )
    infer.task(code, rows=[])
    infer.rows([{}])
    assert infer.run().code == 0 and infer.run("--tasks", "2").code == 0
    assert sorted(infer.asked) == ["a 2026-01-02 00:00:00", "b NaT", "c None"], "a task formats what it has read"
    assert [row["org_data"] for row in infer.lines()] == [
        {"question": "a", "n": 1, "when": "2026-01-02T00:00:00"},
        {"question": "b", "n": 2, "when": None},
        {"question": "c", "list": [0, 1], "price": "1.10", "none": None},
    ]
    assert infer.answers() == [29, 13, 14] and infer.json("results/evaluation.json") == {"mean": 0.5}


def test_an_edit_of_the_code_within_a_second_is_run(infer: Infer) -> None:
    infer.task(rows=questions(1))
    infer.run()
    before = (infer.folder / "configs/mine/task_config.py").stat()
    infer.task(TASK.replace("answer: ", "swer: ans"))
    os.utime(infer.folder / "configs/mine/task_config.py", (before.st_atime, before.st_mtime))
    infer.extract()
    assert infer.answers() == [None]
    assert not (infer.folder / "configs/mine/__pycache__").exists()


def test_names_of_files_need_not_be_utf8(infer: Infer) -> None:
    infer.task(rows=questions(1))
    folder = os.fsdecode(b"d\xce\xca")  # as GB18030 has it
    (infer.folder / "configs/mine/data").rename(infer.folder / folder)
    for _ in range(2):
        assert infer.run("--input_path", folder).code == 0
    assert len(infer.asked) == 1 and from_json((infer.folder / "out/args.json").read_bytes())["input_path"] == folder


def test_equal_rows_each_have_their_answer(infer: Infer) -> None:
    infer.task(rows=[{"question": "same"}] * 3)
    assert infer.run().code == 0
    assert len(infer.asked) == 3 and len({row["id"] for row in infer.lines()}) == 3
    assert infer.run().code == 0 and len(infer.asked) == 3


def test_other_sampling_is_another_run_until_update_asks_again_or_rerun_starts_afresh(infer: Infer) -> None:
    infer.task(rows=questions(3))
    infer.run()
    refused = infer.run("--max_tokens", "9")
    assert refused.code == 2 and "recorded with another content, prompt, schema or sampling" in refused.err
    assert len(infer.asked) == 3 and len(infer.lines()) == 3
    assert infer.run("--max_tokens", "9", "--update").code == 0
    assert len(infer.asked) == 6 and infer.bodies[-1]["max_tokens"] == 9
    ended = infer.run("--rerun")
    (previous,) = (infer.folder / "out/previous").iterdir()
    assert ended.code == 0 and len(infer.asked) == 9 and str(previous.relative_to(infer.folder)) in ended.out
    kept = (previous / "results/infer/task_0001.jsonl").read_text().splitlines()
    assert len(kept) == 3 and (previous / "args.json").exists() and (previous / "logs/main.log").exists()
    assert "earlier results were moved to" in infer.log("main.log")


def test_another_task_does_not_take_the_place_of_the_results_of_one(infer: Infer) -> None:
    infer.task(rows=questions(3))
    infer.run()
    infer.task(name="other")
    infer.rows(questions(2), name="other")
    ended = infer.run(name="other")
    assert ended.code == 2 and "the task was 'mine', is 'other'" in ended.err and "--output_path" in ended.err
    assert len(infer.answers()) == len(infer.asked) == 3
    assert infer.run("--rerun", name="other").code == 0 and len(infer.answers()) == 2


def test_nothing_is_moved_or_unmarked_where_nobody_can_answer_or_the_run_is_refused(infer: Infer) -> None:
    infer.task(rows=questions(3))
    infer.run()
    before = {path: path.read_bytes() for path in (infer.folder / "out").rglob("*") if path.is_file()}
    assert infer.run("--max_tokens", "9").code == 2
    for server in infer.servers:
        server.stop()
    assert infer.run("--rerun").code == 3
    after = {path: path.read_bytes() for path in (infer.folder / "out").rglob("*") if path.is_file()}
    logs = {path for path in before if path.name == "main.log"}
    assert {path: text for path, text in after.items() if path not in logs} == {
        path: text for path, text in before.items() if path not in logs
    }


def test_a_field_corrected_beside_the_question_asks_nothing_and_is_evaluated(infer: Infer) -> None:
    evaluate = "def evaluate(rows):\n    return {'right': sum(r['answer'] == r['org_data']['gold'] for r in rows)}\n"
    rows = [{"id": n, "question": f"q{n}", "gold": "q0"} for n in range(3)]
    infer.task(TASK + evaluate, rows=rows)
    ended = infer.run()
    assert ended.code == 0 and infer.json("results/evaluation.json") == {"right": 1} and "right: 1" in ended.out
    infer.rows([{**row, "gold": row["question"]} for row in rows])
    assert infer.run().code == 0
    assert len(infer.asked) == 3 and infer.json("results/evaluation.json") == {"right": 3}
    assert [row["org_data"]["gold"] for row in infer.lines()] == ["q0", "q1", "q2"]


def test_a_completion_mark_holds_only_for_the_rows_and_the_plan_that_it_was_made_of(infer: Infer) -> None:
    infer.task(rows=questions(4))
    infer.run("--tasks", "2")
    first, second = (infer.json(f"logs/completions/task_000{n}.json") for n in (1, 2))
    assert first["n"] == second["n"] == 2 and first["plan_sha"] == second["plan_sha"]
    infer.run("--tasks", "2")
    assert infer.json("logs/completions/task_0001.json") == first, "a mark that holds is left as it is"
    for server in infer.servers:
        server.refuse = lambda body: 400 if "broken" in str(body) else None
    infer.rows([*questions(4), {"question": "broken"}])
    ended = infer.run("--tasks", "2")
    assert ended.code == 1 and infer.marks() == ["task_0001"], "the task with a row that failed is not complete"
    assert "row 5" in infer.log("tasks/task_0002.log") and "not complete: 2 of 3" in infer.log("tasks/task_0002.log")
    (infer.folder / "out/results/infer/task_0001.jsonl").unlink()
    infer.run("--tasks", "2")
    assert sorted(infer.asked[-2:]) == ["question 0", "question 1"], "a mark is no reason to skip rows"


def test_failed_rows_stand_among_the_others_with_their_reason(infer: Infer) -> None:
    infer.task(rows=questions(3))
    for server in infer.servers:
        server.refuse = lambda body: 400 if "question 1" in str(body) else None
    ended = infer.run()
    assert ended.code == 1
    assert [row["status"] for row in infer.lines()] == ["ok", "error", "ok"]
    failed = infer.lines()[1]
    assert failed["response"] is None and "400" in failed["error"] and failed["failed"] == "invalid"
    assert [row["extract_status"] for row in infer.lines("extract")] == ["ok", "no_reply", "ok"]
    for server in infer.servers:
        server.refuse = lambda body: None
    assert infer.run("--retry-failed").code == 0
    assert infer.answers() == ["question 0", "question 1", "question 2"] and infer.counts() == {"task_0001.jsonl": 3}


def test_a_run_that_is_killed_goes_on_with_what_is_missing(infer: Infer) -> None:
    infer.task(rows=questions(60))
    for server in infer.servers:
        server.delay_s, server.slots = 0.05, 2
    infer.hold_after(20)
    process = infer.start("--tasks", "3")
    until(lambda: len(lines_of(infer.folder)) >= 20)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    infer.go_on(when_dropped=True)
    kept = len(lines_of(infer.folder))
    assert 20 <= kept < 60 and not (infer.folder / "out/report.html").exists()
    with open(next((infer.folder / "out/results/infer").glob("*.jsonl")), "ab") as torn:
        torn.write(b'{"index":3,"ta')
    asked = len(infer.asked)
    ended = infer.run("--tasks", "4")
    assert ended.code == 0 and f"60 ok ({kept} of them before)" in ended.out
    assert len(infer.asked) - asked == 60 - kept
    assert infer.answers() == [f"question {n}" for n in range(60)] and sum(infer.counts().values()) == 60


def test_ctrl_c_keeps_what_is_answered_and_says_how_to_go_on(infer: Infer) -> None:
    infer.task(rows=questions(60))
    for server in infer.servers:
        server.delay_s, server.slots = 0.05, 2
    infer.hold_after(10)
    process = infer.start("--rerun")
    until(lambda: len(lines_of(infer.folder)) >= 5)
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None and any("stops at once" in line for line in process.stdout)
    infer.go_on()
    said, _ = process.communicate(timeout=180)
    assert process.returncode == 130 and "--extract_only makes them now" in said
    assert "continue with: python -m analyze.infer" in said and "--rerun" not in said.rpartition("continue with")[2]
    assert infer.extract().code == 0 and len(infer.answers()) == len(lines_of(infer.folder))
    assert infer.run().code == 0 and len(infer.answers()) == 60


def test_a_second_run_on_the_same_output_says_who_holds_it(infer: Infer) -> None:
    infer.task(rows=questions(60))
    for server in infer.servers:
        server.delay_s, server.slots = 0.05, 2
    infer.hold_after(10)
    process = infer.start()
    until(lambda: len(lines_of(infer.folder)) >= 5)
    for ended in (infer.run("--rerun"), infer.extract()):
        assert ended.code == 4 and f"process {process.pid}" in ended.err
    infer.go_on()
    said, _ = process.communicate(timeout=180)
    assert process.returncode == 0, said
    assert (
        len(set(infer.asked)) == 60
        and len(infer.asked) <= 60 * (1 + SHARE)
        and not (infer.folder / "out/previous").exists()
    )


@pytest.mark.parametrize("killed_at", ["before", "between", "after"])
def test_a_kill_while_the_files_are_put_in_order_loses_nothing(infer: Infer, killed_at: str) -> None:
    infer.task(rows=questions(9))
    infer.run("--tasks", "3")
    folder = infer.folder / "out/results/infer"
    match killed_at:
        case "before":
            (folder.parent / ".infer.new").mkdir()
            (folder.parent / ".infer.new/task_0001.jsonl").write_text("{")
        case "between":
            folder.rename(folder.parent / ".infer.old")
        case "after":
            (folder.parent / ".infer.old").mkdir()
            (folder.parent / ".infer.old/task_0001.jsonl").write_text("{")
    assert infer.run("--tasks", "2").code == 0
    assert len(infer.asked) == 9 and infer.answers() == [f"question {n}" for n in range(9)]
    assert [path.name for path in sorted(folder.parent.iterdir())] == ["extract", "infer"]


def test_a_folder_whose_making_fails_stays_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "old").write_text("old")
    with pytest.raises(RuntimeError), whole_folder(folder) as new:
        (new / "new").write_text("new")
        raise RuntimeError
    assert [path.name for path in folder.iterdir()] == ["old"] and [path.name for path in tmp_path.iterdir()] == [
        "results"
    ]


def test_a_dry_run_shows_the_first_prompt_and_writes_nothing(infer: Infer) -> None:
    infer.task(rows=questions(3))
    for flag in ("--dry_run", "--dry-run"):
        ended = infer.run(flag)
        assert ended.code == 0 and "question 0" in ended.out and "3 would be asked" in ended.out
        assert not (infer.folder / "out").exists() and infer.bodies == []
    infer.run("--limit", "2")
    assert "2 answered before" in infer.run("--dry_run").out
    rerun = infer.run("--dry_run", "--rerun").out
    assert "0 answered before" in rerun and "3 would be asked" in rerun, "as --rerun would"
    ended = infer.run("--dry_run", "--max_tokens", "9")
    assert ended.code == 2 and "--update" in ended.err
    ended = infer.run("--dry_run", "--max_tokens", "9", "--update")
    assert ended.code == 0 and "3 would be asked" in ended.out and "0 answered before" in ended.out
    infer.task(name="other", rows=None)
    infer.rows(questions(3), name="other")
    ended = infer.run("--dry_run", name="other")
    assert ended.code == 2 and "holds another run" in ended.err, "nothing would be asked"
    assert len(infer.asked) == 2


def lines_of(folder: Path) -> list[dict[str, object]]:
    paths = (folder / "out/results/infer").glob("task_*.jsonl")
    return [json.loads(line) for path in paths for line in path.read_bytes().splitlines(True) if line.endswith(b"\n")]


def until(is_so: object, timeout_s: float = 180.0) -> None:
    give_up_at = time.monotonic() + timeout_s
    while not is_so():  # type: ignore[operator]  # a function without arguments
        assert time.monotonic() < give_up_at
        time.sleep(0.02)
