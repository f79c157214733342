"""Answers from recorded replies: without a model, in one step, and with what differs from before."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from aiohttp import web

from tests.fake_vllm import chat_reply
from tests.infer.conftest import TASK, Body, Infer, environ, questions

FIRST_WORD = TASK.replace('model_response.partition("answer: ")[2] or None', "model_response.split()[0]")


def test_extraction_alone_asks_nothing_and_lists_the_answers_that_changed(infer: Infer) -> None:
    infer.task(rows=questions(4))
    infer.run("--tasks", "2")
    ended = infer.extract()
    assert ended.code == 0 and "no answer differs from the extraction before" in ended.out
    infer.task(TASK.replace("or None", "if '2' in model_response else None"))
    ended = infer.extract("--save_text")
    assert ended.code == 0 and "1 answers of 4 replies (3 had none, 0 errors)" in ended.out
    assert "differ from the extraction before: 3" in ended.out
    changed = [json.loads(line) for line in infer.log("changed_answers.jsonl").splitlines()]
    assert [row["before"]["answer"] for row in changed] == ["question 0", "question 1", "question 3"]
    assert all(row["after"] == {"answer": None, "extract_status": "none"} for row in changed)
    assert infer.answers() == [None, None, "question 2", None] and len(infer.asked) == 4
    assert len({row["extractor_sha"] for row in infer.lines("extract")}) == 1
    assert (infer.folder / "out/results/text/task_0001.txt").exists()
    assert infer.extract().code == 0 and not (infer.folder / "out/logs/changed_answers.jsonl").exists()
    infer.task(FIRST_WORD)
    assert infer.extract().code == 0
    text = (infer.folder / "out/results/text/task_0001.txt").read_text()
    assert "--- answer\nanswer:\n" in text, "a text that is there fits the answers"


def test_an_extraction_that_dies_on_its_way_leaves_the_old_answers_whole(infer: Infer) -> None:
    infer.task(rows=questions(4))
    infer.run("--tasks", "2")
    dying = "import os\n" + FIRST_WORD.replace(
        "return model_response", "'3' in model_response and os._exit(9)\n    return model_response"
    )
    infer.task(dying)
    command = [sys.executable, "-m", "analyze.infer", "--extract_only", "--output_path", "out", "--task_name", "mine"]
    assert subprocess.run(command, cwd=infer.folder, env=environ(), capture_output=True).returncode == 9
    assert infer.answers() == [f"question {n}" for n in range(4)]
    infer.task(FIRST_WORD)
    assert infer.extract().code == 0 and infer.answers() == ["answer:"] * 4


def test_extraction_alone_imports_neither_torch_nor_vllm_nor_transformers(infer: Infer) -> None:
    infer.task(rows=questions(2))
    infer.run()
    code = (
        "import sys; from analyze.infer.command import main; "
        "code = main(['--extract_only', '--output_path', 'out', '--task_name', 'mine']); "
        "print(sorted({'torch', 'vllm', 'transformers'} & set(sys.modules))); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=infer.folder, env=environ(), capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "[]", done.stderr


def test_the_row_is_handed_to_an_extractor_that_takes_two(infer: Infer) -> None:
    code = TASK.replace("extract_answer(model_response)", "extract_answer(model_response, org_data)")
    infer.task(
        code.replace("return model_response", "return org_data['question'] in model_response and model_response")
    )
    infer.rows(questions(2))
    assert infer.run().code == 0 and infer.answers() == ["question 0", "question 1"]


def test_extraction_alone_leaves_the_answers_of_another_task_as_they_are(infer: Infer) -> None:
    infer.task(rows=questions(2))
    infer.run()
    infer.task(FIRST_WORD, name="other")
    ended = infer.typed("--extract_only", "--output_path", "out", "--task_name", "other")
    assert ended.code == 2 and "the task was 'mine', is 'other'" in ended.err and "--task_name" in ended.err
    assert infer.answers() == ["question 0", "question 1"]


def test_what_an_extraction_takes_out_of_its_row_is_there_for_the_evaluation(infer: Infer) -> None:
    code = TASK.replace("extract_answer(model_response)", "extract_answer(model_response, org_data)")
    code = code.replace("return model_response", "return org_data.pop('question') in model_response and model_response")
    infer.task(code + "def evaluate(rows):\n    return {'asked': [row['org_data']['question'] for row in rows]}\n")
    infer.rows(questions(2))
    assert infer.run().code == 0
    assert infer.json("results/evaluation.json") == {"asked": ["question 0", "question 1"]}


def test_of_several_replies_a_row_each_is_extracted_and_evaluated(infer: Infer) -> None:
    async def three(request: web.Request, body: Body) -> web.Response:
        reply = chat_reply("answer: a")
        texts = ["answer: a", "answer: b", "nothing"]
        reply["choices"] = [
            {"index": n, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            for n, text in enumerate(texts)
        ]
        return web.json_response(reply)

    infer.task(
        TASK + "def evaluate(rows):\n    return {'right': sum('b' in row['answers'] for row in rows)}\n",
        rows=questions(1),
        sampling_params__json='{"n": 3, "temperature": 1.0}',
    )
    for server in infer.servers:
        server.handler = three
    assert infer.run().code == 0
    (row,), (told,) = infer.lines(), infer.lines("extract")
    assert row["response"] == "answer: a" and row["responses"] == ["answer: a", "answer: b", "nothing"]
    assert told["answer"] == "a" and told["answers"] == ["a", "b", None]
    assert infer.json("results/evaluation.json") == {"right": 1}


def test_what_a_model_says_cannot_steer_a_terminal_or_break_a_file(infer: Infer) -> None:
    infer.reply = lambda body: "answer: \u2028\x1b[31m</script>\ud800"
    infer.task(rows=questions(1))
    ended = infer.run("--save_text")
    assert ended.code == 0 and "\x1b" not in ended.out
    assert infer.answers() == ["\u2028\x1b[31m</script>\ud800"]
    page = (infer.folder / "out/report.html").read_text()
    assert "</script>" not in page and "\x1b" not in page


def test_a_users_control_tokens_stay_text_in_a_chat_and_are_the_authors_in_a_plain_prompt(infer: Infer) -> None:
    infer.task(rows=[{"question": "x<|im_end|>y"}])
    infer.run()
    plain = TASK.replace('[{"role": "user", "content": org_data["question"]}]', '"<|im_start|>" + org_data["question"]')
    infer.task(plain, name="plain")
    infer.rows([{"question": "x"}], name="plain")
    infer.typed(*infer.argv("--rerun", name="plain"))
    assert infer.asked == ["x<·|im_end|>y", "<|im_start|>x"]


def test_what_a_disk_or_an_editor_has_spoilt_is_told_with_its_line_or_made_anew(infer: Infer) -> None:
    infer.task(rows=questions(3))
    infer.run()
    (infer.folder / "out/results/extract/task_0001.jsonl").write_text("no json\n")
    assert infer.extract().code == 0 and len(infer.answers()) == 3
    ids = [row["id"] for row in infer.lines("extract")]
    spoilt = [{"id": ids[0]}, {"id": ids[1], "answer": "x"}, 7]
    (infer.folder / "out/results/extract/task_0001.jsonl").write_text("".join(json.dumps(row) + "\n" for row in spoilt))
    ended = infer.extract()
    assert ended.code == 0 and len(infer.answers()) == 3, ended.err
    with open(infer.folder / "out/results/infer/task_0001.jsonl", "a") as file:
        file.write("no json\n")
    ended = infer.extract()
    assert ended.code == 2 and "task_0001.jsonl:4: this line was not written by a run of ours" in ended.err
    assert len(infer.answers()) == 3


@pytest.mark.parametrize(
    ("parameters", "is_given"),
    [("reply, org_data", True), ("reply, org_data=None", True), ("*args", True), ("reply, strict=False", False)],
)
def test_the_row_is_given_to_an_extraction_that_asks_for_it_not_to_a_setting_of_its_own(
    infer: Infer, parameters: str, is_given: bool
) -> None:
    named = parameters.partition(", ")[2].partition("=")[0] or "(*args, None)[1]"
    infer.task(TASK + f"def extract_answer({parameters}):\n    return {named}\n", rows=questions(1))
    assert infer.run().code == 0
    assert infer.answers() == [questions(1)[0] if is_given else False]


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_console_speaks_both_languages(infer: Infer, lang: str) -> None:
    infer.task(rows=questions(1))
    ended = infer.run("--lang", lang)
    assert ended.code == 0 and ("共读取 1 行" if lang == "zh" else "1 rows read") in ended.out
    assert ("任务:" if lang == "zh" else "task:") in ended.out
