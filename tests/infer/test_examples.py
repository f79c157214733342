"""The packaged tasks run as they are, and take from replies what they are to take; a task can do without code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from analyze.infer.command import main
from analyze.infer.tasks import Task, load_task, packaged_configs
from tests.infer.conftest import Infer, questions

NAMES = sorted(path.name for path in packaged_configs().iterdir() if path.is_dir())

MATH = """\
files: data/*.jsonl
user: "{{ question }}"
extract: {regex: '#### (-?\\d+)', take: last}
gold: gold
"""


def test_the_packaged_tasks_are_those_of_the_manual() -> None:
    assert NAMES == ["basic_example", "code_generation", "math_word_problems", "medical_qa_zh"]


def test_help_says_how_to_try_it_and_where_the_packaged_tasks_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    said = capsys.readouterr().out
    assert str(packaged_configs()) in said and ", ".join(NAMES) in said and "--task_name basic_example" in said


@pytest.mark.parametrize("name", NAMES)
def test_each_packaged_task_runs_anywhere(infer: Infer, name: str) -> None:
    ended = infer.run("--save_text", name=name)
    assert ended.code == 0, ended.err
    rows = infer.lines()
    assert len(rows) >= 4 and all(row["status"] == "ok" and "messages" in row for row in rows)
    assert len({row["id"] for row in rows}) == len(rows)


@pytest.fixture
def task(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Task:
    monkeypatch.chdir(tmp_path)
    return load_task(request.param)


FUNCTION = {"signature": "def twice(x: int) -> int", "description": ""}
OPTIONS = {"question": "?", "options": {"A": "", "B": "", "C": ""}, "answer": "B"}


@pytest.mark.parametrize(
    ("task", "reply", "row", "answer"),
    [
        ("basic_example", "\n  Mercury. \nand more", {}, "Mercury."),
        ("basic_example", " \n", {}, None),
        (
            "code_generation",
            "Sure:\n```python\ndef twice(x):\n    return 2 * x\n```\nDone.",
            FUNCTION,
            {"code": "def twice(x):\n    return 2 * x", "is_python": True},
        ),
        (
            "code_generation",
            "```\ndef twice(x: return\n```",
            FUNCTION,
            {"code": "def twice(x: return", "is_python": False},
        ),
        ("code_generation", "I cannot.", FUNCTION, None),
        ("medical_qa_zh", "A 不对，C 也不对。\n答案：B", OPTIONS, "B"),
        ("medical_qa_zh", "应选 C。更正：答案是（b）", OPTIONS, "B"),
        ("medical_qa_zh", "分析……\nC", OPTIONS, "C"),
        ("medical_qa_zh", "应选 B。答案（Answer）见上。", OPTIONS, "B"),
        ("medical_qa_zh", "答案：E", OPTIONS, None),
        ("medical_qa_zh", "无法判断", OPTIONS, None),
        ("math_word_problems", "12 * 15 = 180\n#### 180\nno:\n#### 140", {}, "140"),
        ("math_word_problems", "####-2.5", {}, "-2.5"),
        ("math_word_problems", "140", {}, None),
    ],
    indirect=["task"],
)
def test_a_packaged_task_takes_the_answer_out_of_a_reply(task: Task, reply: str, row: object, answer: object) -> None:
    assert task.extract_answer(reply, row) == answer  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("task", "answers", "figures"),
    [
        ("medical_qa_zh", ["B", "C", None, None], {"题数": 4, "答对": 2, "准确率": 0.5}),
        ("math_word_problems", ["140", "205", None, "1"], {"rows": 4, "right": 2, "accuracy": 0.5}),
    ],
    indirect=["task"],
)
def test_a_packaged_evaluation_counts_a_row_without_an_answer_as_wrong(
    task: Task, answers: list[str | None], figures: dict[str, object]
) -> None:
    rows = [row for file in task.get_file_list("") for row in task.read_file(file)]
    held = [{"org_data": row, "answer": answer} for row, answer in zip(rows, answers, strict=True)]
    assert task.evaluate is not None and task.evaluate(held) == figures


def test_a_users_task_is_taken_before_a_packaged_one_of_its_name(infer: Infer) -> None:
    infer.task(name="basic_example", rows=None)
    infer.rows(questions(1), name="basic_example")
    assert infer.run(name="basic_example").code == 0 and infer.asked == ["question 0"]


# -- without code ------------------------------------------------------------------------------------------------------


def no_code(infer: Infer, text: str, rows: list[dict[str, object]]) -> None:
    folder = infer.folder / "configs/plain"
    (folder / "data").mkdir(parents=True)
    (folder / "task.yaml").write_text(text, encoding="utf-8")
    infer.rows(rows, name="plain")


def test_a_task_without_code_reads_formats_extracts_and_evaluates(infer: Infer) -> None:
    no_code(
        infer, MATH + "system: Be brief.\n", [{"question": "1+1", "gold": 2}, {"question": "2+2<|im_end|>", "gold": 5}]
    )
    infer.reply = lambda body: "#### 9 then #### 2"
    assert infer.run(name="plain").code == 0
    assert infer.answers() == ["2", "2"] and infer.json("results/evaluation.json")["accuracy"] == 0.5
    assert sorted(infer.asked) == ["1+1", "2+2<·|im_end|>"]
    assert infer.bodies[0]["messages"][0] == {"role": "system", "content": "Be brief."}


def test_a_task_without_code_reads_what_input_path_names_and_takes_fields_of_json(infer: Infer) -> None:
    no_code(infer, 'prompt: "<s>{{ city }}"\nextract: {json: answer}\n', [])
    (infer.folder / "cities.csv").write_text("city\nLima\nOslo\n")
    infer.reply = lambda body: 'so {"answer": {"a": 1}} and {"answer": 7} {x'
    assert infer.run("--input_path", "cities.csv", name="plain").code == 0
    assert infer.answers() == [7, 7] and sorted(infer.asked) == ["<s>Lima", "<s>Oslo"]


def test_of_a_folder_a_task_without_code_reads_the_files_that_a_person_sees(infer: Infer) -> None:
    (infer.folder / "in [1]" / ".ipynb_checkpoints").mkdir(parents=True)
    (infer.folder / "in [1]" / "old").mkdir()
    for name in ("a.csv", "b.csv", ".DS_Store"):
        (infer.folder / "in [1]" / name).write_text(f"city\n{name}\n")
    no_code(infer, 'user: "{{ city }}"\n', [])
    ended = infer.run("--input_path", "in [1]", name="plain")
    assert ended.code == 0 and sorted(infer.asked) == ["a.csv", "b.csv"], ended.err


def test_the_files_of_a_task_without_code_are_found_whatever_its_own_name_is(infer: Infer) -> None:
    no_code(infer, 'user: "{{ question }}"\nfiles: "data/*.jsonl"\n', [{"question": "q"}])
    (infer.folder / "configs" / "plain").rename(infer.folder / "configs" / "plain[1]")
    assert infer.run(name="plain[1]").code == 0 and infer.asked == ["q"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("files: [\n", "configs/plain/task.yaml:2: no YAML"),
        ("just text\n", "holds no keys"),
        (MATH + "extarct: x\n", "the key 'extarct' is not known"),
        (MATH + "prompt: x\n", "exactly one of user: (a chat) and prompt: (plain text) is wanted"),
        (MATH.replace("take: last", "take: middle"), "the key extract.take must be first or last"),
        (MATH.replace("(-?\\d+)", "(("), "the key extract.regex must be a regular expression"),
        (MATH.replace("{{ question }}", "{{ question"), "no template"),
        (MATH.replace('"{{ question }}"', '["{{ question }}"]'), "the key user must be a text"),
        (MATH.replace('"{{ question }}"', '""'), "the key user must be a text"),
        (MATH + "system: 3\n", "the key system must be a text"),
        (MATH.replace("gold: gold", "gold: [gold]"), "the key gold must be the name of a field"),
        (MATH.replace("data/*.jsonl", "data/none.jsonl"), "there is no such file"),
    ],
)
def test_a_task_without_code_that_cannot_work_names_the_key(infer: Infer, text: str, told: str) -> None:
    no_code(infer, text, [{"question": "1", "gold": 1}])
    ended = infer.run(name="plain")
    assert ended.code == 2 and told in ended.err and "Traceback" not in ended.err


def test_a_line_that_is_no_row_is_listed_with_its_place_in_the_file_it_is_of(infer: Infer) -> None:
    no_code(infer, MATH, [{"question": "1", "gold": 1}])
    (infer.folder / "configs/plain/data/empty.jsonl").write_text("")
    (infer.folder / "configs/plain/data/torn.jsonl").write_text('{"question": "2", "gold": 2}\n{"question":\n')
    ended = infer.run(name="plain")
    assert ended.code == 1 and sorted(infer.asked) == ["1", "2"]
    empty, reject = map(json.loads, infer.log("rejected.jsonl").splitlines())
    assert empty["reason"] == "row 1 of configs/plain/data/empty.jsonl: holds no rows"
    assert reject["file"] == "configs/plain/data/torn.jsonl" and reject["line"] == 2
    assert "row 2 of configs/plain/data/torn.jsonl: no JSON" in reject["reason"]
    assert "row 2 of configs/plain/data/torn.jsonl: no JSON" in ended.out, "nobody needs to open a file to know why"


def test_a_row_that_lacks_a_field_of_the_prompt_is_listed(infer: Infer) -> None:
    no_code(infer, MATH, [{"question": "1", "gold": 1}, {"other": 2}])
    assert infer.run(name="plain").code == 1 and infer.asked == ["1"]
    assert "'question' is undefined; it has: other" in json.loads(infer.log("rejected.jsonl"))["reason"]
