"""`python -m analyze.classify` as its users type it, over servers on real sockets."""

from __future__ import annotations

import json
import re
import signal
import time
from typing import Any

import pytest
from aiohttp import web

from analyze.classify.prompts import packaged
from analyze.runs.tail import SHARE
from tests.classify.conftest import Command, text_of
from tests.fake_vllm import chat_reply, go_on, hold_at

QUERIES = ["What is pneumonia?", "What is the capital of Japan?", "health tips"]
LABELS = dict(zip(QUERIES, ["medical", "others", "medical"], strict=True))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("q.txt", "\n".join(QUERIES)),
        ("q.json", json.dumps(QUERIES)),
        ("q.json", json.dumps({"queries": QUERIES}, indent=2)),
        ("q.json", json.dumps([{"query": query} for query in QUERIES])),
        ("q.jsonl", "".join(json.dumps({"query": query}) + "\n" for query in QUERIES)),
        ("q.jsonl", "".join(json.dumps(query) + "\n" for query in QUERIES)),
        ("q.csv", "query,other\n" + "".join(f"{query},1\n" for query in QUERIES)),
    ],
)
def test_every_form_of_input_gives_the_same_labels(classify: Command, name: str, content: str) -> None:
    classify.write(name, content)
    ended = classify.run("--input", name)
    assert ended.code == 0, ended.err
    assert classify.labels() == LABELS
    assert {row["query"]: row["index"] for row in classify.lines()} == {query: n for n, query in enumerate(QUERIES)}
    assert [list(row)[:3] for row in classify.lines()] == [["query", "label", "raw_output"]] * 3


def test_a_json_output_is_an_array_in_the_order_of_the_input_failures_included(classify: Command) -> None:
    queries = [f"text {number}" for number in range(30)]
    classify.reply = lambda body: '{"label": "others"}' if text_of(body) != "text 7" else "no idea"
    classify.write("q.txt", "\n".join(queries))
    ended = classify.run("--input", "q.txt", "--in-flight", "1", output="out.json")
    assert ended.code == 1
    rows = json.loads((classify.folder / "out.json").read_text())
    assert [row["query"] for row in rows] == queries
    assert rows[7]["label"] is None and rows[7]["status"] == "invalid" and rows[7]["raw_output"] == "no idea"
    assert {row["label"] for row in rows if row["index"] != 7} == {"others"}
    asked = len(classify.bodies)
    (classify.folder / "out.json").unlink()
    assert classify.run("--input", "q.txt", output="out.json").code == 1
    assert len(classify.bodies) == asked, "nothing is asked twice"
    assert json.loads((classify.folder / "out.json").read_text()) == rows


def test_tables_open_as_tables_and_hold_no_formulas(classify: Command) -> None:
    import csv

    import pyarrow.parquet as pq

    classify.write("q.json", json.dumps(["=1+1", "health"]))
    assert classify.run("--input", "q.json", output="out.csv").code == 0
    with open(classify.folder / "out.csv", encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["query"], row["label"]) for row in rows] == [("'=1+1", "others"), ("health", "medical")]
    assert classify.run("--input", "q.json", output="out.parquet").code == 0
    table = pq.read_table(classify.folder / "out.parquet").to_pylist()
    assert [(row["query"], row["label"], row["index"]) for row in table] == [
        ("=1+1", "others", 0),
        ("health", "medical", 1),
    ]


def test_a_killed_run_is_continued_and_nothing_is_asked_twice(classify: Command) -> None:
    queries = [f"text {number}" for number in range(300)]
    classify.write("q.txt", "\n".join(queries))
    hold_at(classify.servers, 100)
    process = classify.start("--input", "q.txt", "--batch-size", "8")
    while len(classify.lines_whole()) < 40:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    go_on(classify.servers)
    kept = len(classify.lines_whole())
    assert 40 <= kept < 300
    ended = classify.run("--input", "q.txt")
    assert ended.code == 0, ended.err
    assert classify.labels() == dict.fromkeys(queries, "others") and len(classify.lines()) == 300
    assert len(classify.bodies) <= 300 + 8 + SHARE * 300, "those in flight, and some of the last ones twice"
    assert "300 ok" in ended.out.splitlines()[-1]


def test_each_bad_row_among_a_thousand_fails_with_its_reason_and_all_others_are_answered(classify: Command) -> None:
    def reply(body: dict[str, Any]) -> str | web.Response:
        if len(text_of(body)) > 40_000:
            told = "This model's maximum context length is 8192 tokens. However, your request has 10061 input tokens."
            return web.json_response({"error": {"message": told, "code": 400}}, status=400)
        return '{"label": "others"}'

    classify.reply = reply
    rows = [json.dumps({"id": f"r{number}", "query": f"text {number}"}) for number in range(1000)]
    rows[10] = json.dumps({"id": "r10", "query": " "})
    rows[200] = json.dumps({"id": "r200", "text": "other field"})
    rows[300] = "{no json"
    rows[500] = json.dumps({"id": "r500", "query": "word " * 10_000})
    (classify.folder / "q.jsonl").write_bytes("\n".join(rows).encode() + b"\n\xff\xfe\x00binary\n")
    for server in classify.servers:
        server.refuse = lambda body: 400 if text_of(body) == "text 400" else None
    ended = classify.run("--input", "q.jsonl")
    assert ended.code == 1, ended.err
    good = set(range(1000)) - {10, 200, 300, 400, 500}
    assert {row["index"] for row in classify.lines()} == good and len(classify.lines()) == len(good)
    assert {row["label"] for row in classify.lines()} == {"others"}
    failed = {row["index"]: row for row in classify.lines("out.jsonl.failed.jsonl")}
    assert {at: row["status"] for at, row in failed.items()} == dict.fromkeys([10, 200, 300, 400, 1000], "error") | {
        500: "too_long"
    }
    assert all(row["label"] is None and row["error"] for row in failed.values())
    assert failed[10]["error"] == "the text is empty"
    assert "it has: id, text" in failed[200]["error"] and "--query-field" in failed[200]["error"]
    assert "8192 tokens" in failed[500]["error"]
    assert ended.out.splitlines()[-1].startswith("1,001 rows read: 995 ok")
    assert classify.run("--input", "q.jsonl").code == 1, "permanent failures are told again, and not asked again"


def test_a_reply_that_is_cut_off_has_no_label(classify: Command) -> None:
    def reply(body: dict[str, Any]) -> str | web.Response:
        if text_of(body) == "text 1":
            return web.json_response(chat_reply('{"label": "me', "length"))
        return '{"label": "medical"}'

    classify.reply = reply
    classify.write("q.txt", "text 0\ntext 1")
    assert classify.run("--input", "q.txt").code == 1
    (failed,) = classify.lines("out.jsonl.failed.jsonl")
    assert (failed["status"], failed["label"], failed["raw_output"]) == ("truncated", None, '{"label": "me')


def test_a_server_that_ignores_the_constraint_stops_the_run_at_its_first_reply(classify: Command) -> None:
    classify.reply = lambda body: "Sure, this is medical."
    classify.write("q.txt", "\n".join(f"text {number}" for number in range(50)))
    ended = classify.run("--input", "q.txt", "--batch-size", "2")
    assert ended.code == 4
    assert "does not apply the regex" in ended.err and "Sure" in ended.err
    assert classify.lines() == []
    assert len(classify.bodies) <= 4


def test_free_text_is_read_only_where_that_is_asked_for_and_it_is_flagged(classify: Command) -> None:
    said = {"a": "This is Medical.", "b": "medical or others", "c": '{"label": "others"}'}
    classify.reply = lambda body: said[text_of(body)]
    classify.write("q.txt", "a\nb\nc")
    assert classify.run("--input", "q.txt", "--lenient").code == 1
    assert classify.labels() == {"a": "medical", "c": "others"}
    flags = {row["query"]: row["flags"] for row in classify.lines()}
    assert flags == {"a": ["label found in free text"], "c": []}
    (failed,) = classify.lines("out.jsonl.failed.jsonl")
    assert failed["label"] is None and failed["status"] == "invalid" and failed["raw_output"] == "medical or others"
    assert all("structured_outputs" not in body for body in classify.bodies)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_what_was_found_in_free_text_is_flagged_in_tables_too(classify: Command, ending: str) -> None:
    import pandas as pd

    classify.reply = lambda body: {"a": "This is Medical.", "b": '{"label": "others"}'}[text_of(body)]
    classify.write("q.txt", "a\nb")
    assert classify.run("--input", "q.txt", "--lenient", output=f"out.{ending}").code == 0
    path = classify.folder / f"out.{ending}"
    table = pd.read_csv(path) if ending == "csv" else pd.read_parquet(path)
    flags = dict(zip(table["query"], table["flags"].fillna(""), strict=True))
    assert "label found in free text" in flags["a"] and "label" not in flags["b"]
    assert list(table["confidence_kind"]) == ["none", "none"]


def test_several_labels_a_text(classify: Command) -> None:
    classify.reply = lambda body: '{"spa": true, "food": %s}' % ("true" if "eat" in text_of(body) else "false")
    classify.write("q.jsonl", [{"text": "eat in the spa"}, {"text": "massage"}])
    ended = classify.run("--input", "q.jsonl", "--query-field", "text", "--labels", "spa,food", "--multi-label")
    assert ended.code == 0, ended.err
    assert classify.labels() == {"eat in the spa": ["spa", "food"], "massage": ["spa"]}
    assert "spa: 2" in ended.out and "food: 1" in ended.out


def test_the_flags_of_the_seed_reach_the_request(classify: Command) -> None:
    classify.write("q.txt", "one")
    classify.write("p.txt", "Is {query} about medicine?")
    flags = [
        "--prompt",
        "p.txt",
        "--temperature",
        "0.5",
        "--max-tokens",
        "33",
        "--batch-size",
        "1",
        "--model",
        "fake-model",
    ]
    assert classify.run("--input", "q.txt", *flags).code == 0
    (body,) = classify.bodies
    assert body["messages"] == [{"role": "user", "content": "Is one about medicine?"}]
    assert (body["temperature"], body["max_tokens"], body["model"]) == (0.5, 33, "fake-model")


def test_a_prompt_that_has_no_place_for_the_text_or_does_not_name_the_labels_is_pointed_out(classify: Command) -> None:
    classify.write("q.txt", "one")
    classify.write("p.txt", "Is {text} medical?")
    ended = classify.run("--input", "q.txt", "--prompt", "p.txt")
    assert ended.code == 0
    assert "p.txt has no {query}: each text comes at its end" in ended.err
    assert "p.txt does not name these labels: others;" in ended.err
    ended = classify.run("--input", "q.txt", "--prompt", "p.txt", "--lang", "zh")
    assert "p.txt 中没有 {query}" in ended.err and "没有提到这些标签: others" in ended.err


def test_an_ordered_output_stands_in_the_order_of_the_input(classify: Command) -> None:
    classify.servers[0].delay_s = 0.05
    queries = [f"text {number}" for number in range(40)]
    classify.write("q.txt", "\n\n".join(queries))
    assert classify.run("--input", "q.txt", "--ordered").code == 0
    assert [(row["query"], row["index"]) for row in classify.lines()] == [(query, n) for n, query in enumerate(queries)]


def test_the_packaged_prompt_comes_first_and_is_the_same_for_every_text(classify: Command) -> None:
    classify.write("q.txt", "first text\nsecond text")
    assert classify.run("--input", "q.txt").code == 0
    shared = packaged("classify_prompt.txt").partition("{query}")[0]
    assert all(body["messages"][0]["content"].startswith(shared) for body in classify.bodies)


def test_another_prompt_over_the_same_output_is_no_silent_mixture(classify: Command) -> None:
    classify.write("q.txt", "one\ntwo")
    classify.write("p.txt", "Another: {query}")
    assert classify.run("--input", "q.txt").code == 0
    ended = classify.run("--input", "q.txt", "--prompt", "p.txt")
    assert ended.code == 2 and "--update" in ended.err
    assert classify.run("--input", "q.txt", "--prompt", "p.txt", "--update").code == 0
    assert len(classify.lines()) == 2


def test_the_prompt_keeps_its_language_whatever_the_console_speaks_next_time(classify: Command) -> None:
    classify.write("q.txt", "肺炎有哪些症状？")
    assert classify.run("--input", "q.txt", "--lang", "zh").code == 0
    asked = len(classify.bodies)
    ended = classify.run("--input", "q.txt", "--lang", "en")
    assert ended.code == 0, ended.err
    assert len(classify.bodies) == asked


@pytest.mark.parametrize(
    "flag", ["--tensor-parallel-size", "--gpu-memory-utilization", "--max-num-seqs", "--max-model-len"]
)
def test_an_engine_flag_that_could_do_nothing_is_refused(classify: Command, flag: str) -> None:
    classify.write("q.txt", "one")
    ended = classify.run("--input", "q.txt", flag, "1")
    assert ended.code == 2 and flag in ended.err and "addresses" in ended.err


def test_a_model_without_a_gpu_is_refused_in_the_words_of_the_command(
    classify: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PATH", "ANALYZE_HARDWARE_ROOT"):  # where there is no nvidia-smi, and no card
        monkeypatch.setenv(name, str(classify.folder))
    classify.write("q.txt", "one")
    ended = classify.run("--input", "q.txt", "--model", "some/model", addresses=False)
    assert ended.code == 2 and "--model some/model, but there is no sign of an NVIDIA GPU" in ended.err
    assert "VLLM_DEVICE=cpu" in ended.err and "--base-url" in ended.err


@pytest.mark.parametrize(
    ("flags", "output", "said"),
    [
        (["--input", "missing.txt"], "out.jsonl", "no such file"),
        (["--input", "q.txt"], "out.xml", ".jsonl, .json, .csv, .parquet"),
        ([], "out.jsonl", "no input or no output"),
        (["--input", "q.txt", "--labels", "a"], "out.jsonl", "nothing to choose"),
        (["--input", "q.txt", "--prompt", "missing.txt"], "out.jsonl", "no such file"),
        (["--input", "q.txt", "--abstain-below", "7"], "out.jsonl", "0 to 1"),
        (["--input", "q.txt", "--temperature", "2.5"], "out.jsonl", "no temperature from 0 to 2"),
        (["--input", "q.txt", "--temperature", "nan"], "out.jsonl", "no temperature from 0 to 2"),
        (["--input", "q.txt", "--gpu-memory-utilization", "90"], "out.jsonl", "no share of a GPU"),
        (["--input", "-"], "out.json", "read twice"),
    ],
)
def test_wrong_use_says_what_and_how_to_cure_it(classify: Command, flags: list[str], output: str, said: str) -> None:
    classify.write("q.txt", "one")
    ended = classify.run(*flags, output=output)
    assert ended.code == 2 and said in ended.err and "→" in ended.err and "Traceback" not in ended.err
    assert not (classify.folder / output).exists()


def test_a_dry_run_shows_the_first_prompt_and_the_servers_count_of_its_tokens_and_asks_nothing(
    classify: Command,
) -> None:
    classify.write("q.txt", "one\ntwo")
    ended = classify.run("--input", "q.txt", "--dry-run")
    assert ended.code == 0 and classify.bodies == [] and not (classify.folder / "out.jsonl").exists()
    shared, _, _ = packaged("classify_prompt.txt").partition("{query}")  # a character is a token to these servers
    assert "Query: one" in ended.out and f"its prompt has {len(shared) + 3:,} tokens" in ended.out
    assert f"begin alike for {len(shared):,} tokens, 100% of what is read" in ended.out
    assert f"2 would be asked, {2 * len(shared) + 6:,} prompt tokens (counted)" in ended.out


def test_a_dry_run_over_many_rows_estimates_their_tokens_by_those_of_some(classify: Command) -> None:
    texts = [" " * 10 + "word " * (number % 40 + 1) for number in range(2000)]
    classify.write("q.json", json.dumps(["", *texts]))
    classify.write("p.txt", "A: {query}")
    ended = classify.run("--input", "q.json", "--prompt", "p.txt", "--dry-run")
    (tokens,) = re.findall(r"2,000 would be asked, about ([\d,]+) prompt tokens \(by those of 64\)", ended.out)
    assert int(tokens.replace(",", "")) == pytest.approx(sum(len(f"A: {text}".rstrip()) for text in texts), rel=0.02)
    assert "without anything to ask, which would fail: 1" in ended.out


@pytest.mark.parametrize(("address", "lang"), [(["--base-url", "http://127.0.0.1:9/v1"], "en"), ([], "zh")])
def test_a_dry_run_without_a_server_says_that_it_estimates_and_starts_none(
    classify: Command, address: list[str], lang: str
) -> None:
    classify.write("q.txt", "one\ntwo")
    ended = classify.run("--input", "q.txt", "--dry-run", "--lang", lang, *address, addresses=False)
    assert ended.code == 0, ended.err
    said = {"en": "they are estimated, 4 bytes each", "zh": "按每 4 字节一个词元估算"}
    assert said[lang] in ended.out and ("127.0.0.1:9" in ended.out) == bool(address)
    shared = len(packaged(f"classify_prompt{'.zh' if lang == 'zh' else ''}.txt").partition("{query}")[0].encode())
    (tokens,) = re.findall(r"(?:begin alike for about|的开头有约) ([\d,]+) ", ended.out)
    assert int(tokens.replace(",", "")) == pytest.approx(shared / 4, rel=0.1)
    assert [path.name for path in classify.folder.iterdir()] == ["q.txt"]


def test_statistics_are_said_before_the_account_of_all_rows(classify: Command) -> None:
    classify.write("q.txt", "\n".join(QUERIES))
    said = classify.run("--input", "q.txt").out.splitlines()
    assert "  medical: 2 (66.7%)" in said and "  others: 1 (33.3%)" in said
    assert said[-1].startswith("3 rows read: 3 ok")
    classify.reply = lambda body: '{"label": "a"}'
    said = classify.run("--input", "q.txt", "--labels", "a,b", output="other.jsonl").out.splitlines()
    assert "  a: 3 (100.0%)" in said and "  b: 0 (0.0%)" in said, "a label that no text has is told too"
