"""What cannot be is refused with what, where and a cure; of what fails in a task's own code the rest goes on."""

from __future__ import annotations

import json

import pytest

from tests.infer.conftest import TASK, Infer, questions

SHORT = ["--output_path", "out", "--task_name", "mine"]


@pytest.mark.parametrize(
    ("flags", "told", "cure"),
    [
        ([], "--output_path and --task_name are required", "analyze infer --model_path"),
        ([*SHORT, "--use_cpu"], "--use_cpu needs --model_type hf, not vllm", "--model_type hf --use_cpu"),
        ([*SHORT], "--model_path is required with --model_type vllm", "tiny-random"),
        ([*SHORT, "--model_type", "hf"], "--model_path is required with --model_type hf", "tiny-random"),
        ([*SHORT, "--extract_only", "--rerun"], "--extract_only keeps the replies that --rerun moves away", "one of"),
        ([*SHORT, "--extract_only", "--dry_run"], "--extract_only writes answers, --dry_run writes nothing", "one of"),
        ([*SHORT, "--model_type", "server", "--workers", "2"], "--workers is for what is started here", "leave out"),
        (
            [*SHORT, "--base-url", "http://localhost:1", "--tensor_parallel_size", "2"],
            "--tensor_parallel_size is for what is started here, but addresses are given",
            "leave out",
        ),
        ([*SHORT, "--model_type", "hf", "--base-url", "http://localhost:1"], "asks no server", "leave out --base-url"),
        ([*SHORT, "--model_type", "hf", "--tensor-parallel-size", "2"], "is for vLLM", "--model_type vllm"),
        ([*SHORT, "--tasks", "0"], "no number from 1 up", "--help"),
        (["--output_path", "out", "--task_name", "other"], "there is no task 'other'", "basic_example"),
        (["--output_path", "out", "--task_name", "../mine"], "is no name of a folder in configs/", "mine"),
        ([*SHORT, "--extract_only"], "holds no recorded replies", "without --extract_only first"),
    ],
)
def test_wrong_use_is_told_with_its_cure_and_writes_nothing(
    infer: Infer, flags: list[str], told: str, cure: str
) -> None:
    infer.task(rows=questions(2))
    ended = infer.typed(*flags)
    assert ended.code == 2 and told in ended.err and cure in ended.err
    assert not (infer.folder / "out").exists() and infer.bodies == []


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("def get_file_list(:\n", "configs/mine/task_config.py:1: no Python"),
        (
            "import json\n1 / 0\n",
            "configs/mine/task_config.py:2: it raised ZeroDivisionError: division by zero when it was",
        ),
        (TASK.replace("def extract_answer", "def extract"), "configs/mine/task_config.py: extract_answer is missing"),
        (TASK + "read_file = 3\n", "read_file is no function"),
        (TASK + "REQUIRED_FIELDS = 'question'\n", "REQUIRED_FIELDS is no list of names"),
        (
            TASK.replace("    return sorted(", "    raise OSError('gone')\n    return sorted("),
            "get_file_list raised OSError: gone (configs/mine/task_config.py:8)",
        ),
        (TASK.replace("return sorted(", "return 3 and str("), "get_file_list must return a list of paths, not str"),
        (TASK.replace("return [json", "return None and [json"), "read_file must return a list of rows, not NoneType"),
        (TASK.replace('"*.jsonl"', '"*.none"'), "get_file_list names no file"),
    ],
)
def test_a_task_that_cannot_work_is_refused_with_file_and_line(infer: Infer, code: str, told: str) -> None:
    infer.task(code, rows=questions(2))
    ended = infer.run()
    assert ended.code == 2 and told in ended.err and "Traceback" not in ended.err
    assert infer.bodies == []


def test_a_file_that_cannot_be_read_is_listed_and_the_others_go_on(infer: Infer) -> None:
    infer.task(rows=questions(3))
    (infer.folder / "configs/mine/data/broken.jsonl").write_text('{"question": "good"}\nno json\n')
    infer.task(TASK.replace("return [json.loads(line) for", "yield from (json.loads(line) for").replace('8")]', '8"))'))
    ended = infer.run()
    assert ended.code == 1 and sorted(infer.asked) == ["good", "question 0", "question 1", "question 2"]
    (reject,) = map(json.loads, (infer.folder / "out/logs/rejected.jsonl").read_text().splitlines())
    assert "broken.jsonl: read_file raised JSONDecodeError" in reject["reason"]
    assert "task_config.py:12" in reject["reason"]
    assert "1 rejected" in ended.out and "not read to its end" in ended.out


def test_a_row_that_format_prompt_raises_on_is_listed_with_its_place_and_the_others_go_on(infer: Infer) -> None:
    infer.task(rows=[{"question": "a"}, {"no": 1}, {"question": "c"}])
    ended = infer.run("--tasks", "3")
    assert ended.code == 1 and sorted(infer.asked) == ["a", "c"]
    (reject,) = map(json.loads, (infer.folder / "out/logs/rejected.jsonl").read_text().splitlines())
    assert reject["line"] == 2 and json.loads(reject["raw"]) == {"no": 1}
    for part in ("row 2 of", "rows.jsonl", "format_prompt raised KeyError: 'question'", "task_config.py:16"):
        assert part in reject["reason"]
    assert infer.marks() == ["task_0001", "task_0003"], "a task with a row that was not asked is not complete"
    infer.task(TASK.replace('["question"]', '.get("question", "b")'))
    ended = infer.run("--tasks", "3")
    assert ended.code == 0 and sorted(infer.asked) == ["a", "b", "c"], "corrected, the same command asks that row"
    assert not (infer.folder / "out/logs/rejected.jsonl").exists() and len(infer.marks()) == 3


@pytest.mark.parametrize(
    ("returned", "told"),
    [
        ("3", "format_prompt must return a text or a list of messages, not int"),
        ("[]", "format_prompt must return a text or a list of messages, not an empty list"),
        ("''", "format_prompt gave an empty prompt"),
        ("[{'role': 'user'}]", 'a message is {"role": ..., "content": ...}'),
        ("[{'role': 'user', 'content': [{'text': {1, 2}}]}]", 'a message is {"role": ..., "content": ...}'),
    ],
)
def test_a_prompt_that_is_none_is_refused_with_the_row(infer: Infer, returned: str, told: str) -> None:
    infer.task(TASK.replace('[{"role": "user", "content": org_data["question"]}]', returned), rows=questions(1))
    ended = infer.run()
    assert ended.code == 1 and infer.bodies == []
    assert told in json.loads(infer.log("rejected.jsonl"))["reason"]


def test_rows_that_lack_a_required_field_or_are_no_rows_are_not_asked(infer: Infer) -> None:
    infer.task(TASK + 'REQUIRED_FIELDS = ["question", "gold"]\n')
    code = TASK.replace('return [json.loads(line) for line in open(file_path, encoding="utf-8")]', "return ROWS")
    rows = 'ROWS = [{"question": "a", "gold": 1}, {"question": "b"}, 7, {"question": "d", "gold": {1, 2}}]\n'
    infer.task(code + 'REQUIRED_FIELDS = ["question", "gold"]\n' + rows, rows=[])
    ended = infer.run()
    assert ended.code == 1 and infer.asked == ["a"]
    reasons = [json.loads(line)["reason"] for line in infer.log("rejected.jsonl").splitlines()]
    assert "it lacks gold (REQUIRED_FIELDS); it has: question" in reasons[0]
    assert "a row must be an object with named values, not int" in reasons[1]
    assert "cannot be written as JSON" in reasons[2]


def test_a_reply_that_extract_answer_raises_on_is_told_and_the_others_are_kept(infer: Infer) -> None:
    infer.task(
        TASK.replace("    return model_response", "    assert '1' not in model_response\n    return model_response"),
        rows=questions(3),
    )
    ended = infer.run()
    assert ended.code == 1
    first, second, third = infer.lines("extract")
    assert (first["answer"], first["extract_status"]) == ("question 0", "ok")
    assert (third["answer"], third["extract_status"]) == ("question 2", "ok")
    assert (second["answer"], second["extract_status"]) == (None, "error")
    assert second["extract_error"] == "extract_answer raised AssertionError (configs/mine/task_config.py:20)"
    assert "row 2 of" in ended.out and "AssertionError" in ended.out
    assert [row["status"] for row in infer.lines()] == ["ok"] * 3, "the reply itself is there"


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("def evaluate(rows):\n    return 1 / 0\n", "evaluate raised ZeroDivisionError"),
        ("def evaluate(rows):\n    return {1, 2}\n", "evaluate gave set, which is no JSON"),
    ],
)
def test_an_evaluation_that_fails_is_told_and_the_answers_are_there(infer: Infer, code: str, told: str) -> None:
    infer.task(TASK + code, rows=questions(2))
    ended = infer.run()
    assert ended.code == 1 and told in ended.out and infer.answers() == ["question 0", "question 1"]
    assert told.split()[1] in (infer.folder / "out/report.html").read_text()


def test_an_answer_that_is_no_json_is_an_error_of_its_row(infer: Infer) -> None:
    infer.task(TASK.replace("return model_response", "return {1} if '1' in model_response else model_response"))
    infer.rows(questions(2))
    assert infer.run().code == 1
    assert [row["extract_status"] for row in infer.lines("extract")] == ["ok", "error"]
