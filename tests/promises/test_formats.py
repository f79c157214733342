"""Whatever the input is written in, the servers see its words, and the output holds theirs, as strict JSON in UTF-8."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from analyze.runs.tail import SHARE
from tests.fake_vllm import chat_reply
from tests.promises.conftest import Batch, Row, lines, name_of, question, row, text_of, until, write

CHINESE = "请比较这两段代码的质量"
TEXTS = [CHINESE, "naïve café 😀", "plain", "a\u2028b\u2029c\u0085d", 'tab\tquote"back\\slash', "\ufeffmark inside"]
ROWS = [row(number, text) for number, text in enumerate(TEXTS)]
LONG = 10 * 2**20


def as_text(rows: list[Row] = ROWS, end: str = "\n") -> str:
    return "".join(json.dumps(line, ensure_ascii=False) + end for line in rows)


def is_whole(batch: Batch, texts: list[str] = TEXTS) -> None:
    """Check that the servers saw these texts, and that each row has its own in its answer."""
    assert sorted(batch.asked) == sorted(texts)
    assert batch.answers == {f"row-{number}": f"answer to {text}" for number, text in enumerate(texts)}


ENCODED = {
    "UTF-8": as_text().encode(),
    "UTF-8 with BOM": codecs.BOM_UTF8 + as_text().encode(),
    "UTF-16 little-endian": codecs.BOM_UTF16_LE + as_text().encode("utf-16-le"),
    "UTF-16 big-endian": codecs.BOM_UTF16_BE + as_text().encode("utf-16-be"),
    "GB18030": as_text().encode("gb18030"),
    "lines that end as on Windows": as_text(end="\r\n").encode(),
    "blank lines between": as_text(end="\n\n \n").encode(),
    "no newline at the end": as_text().rstrip("\n").encode(),
    "all escaped": "".join(json.dumps(line) + "\n" for line in ROWS).encode(),
}


@pytest.mark.parametrize("content", ENCODED.values(), ids=ENCODED)
def test_every_encoding_is_read_as_it_is_meant(batch: Batch, content: bytes) -> None:
    batch.input.write_bytes(content)
    ended = batch.run()
    assert ended.code == 0, ended.err
    is_whole(batch)


def test_an_input_may_change_its_encoding_between_runs(batch: Batch) -> None:
    for content in ENCODED.values():
        batch.input.write_bytes(content)
        assert batch.run().code == 0
    is_whole(batch)


def zstd(data: bytes) -> bytes:
    try:
        from compression import zstd as library
    except ImportError:
        library = pytest.importorskip("backports.zstd")
    return bytes(library.compress(data))


PACKED: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".zst": zstd,
    "two members.gz": lambda data: gzip.compress(data[:100]) + gzip.compress(data[100:]),
}


@pytest.mark.parametrize("ending", PACKED)
def test_a_packed_input_is_unpacked(batch: Batch, ending: str) -> None:
    batch.input = batch.input.with_name(f"requests.jsonl{ending[ending.index('.') :]}")
    batch.input.write_bytes(PACKED[ending](as_text().encode()))
    assert batch.run().code == 0
    is_whole(batch)


def test_a_packed_input_that_is_cut_is_named_and_what_was_read_is_kept(batch: Batch) -> None:
    batch.input = batch.input.with_name("requests.jsonl.gz")
    rows = [row(number, f"{os.urandom(500).hex()}") for number in range(200)]
    batch.input.write_bytes(gzip.compress(as_text(rows).encode())[:-20_000])
    stopped = batch.run()
    assert stopped.code == 2, stopped.err
    assert str(batch.input) in stopped.err and "Traceback" not in stopped.err
    assert len(batch.answers) == len(batch.asked) < 200
    batch.input.write_bytes(gzip.compress(as_text(rows).encode()))
    assert batch.run().code == 0
    assert len(batch.answers) == len(set(batch.asked)) == 200
    assert len(batch.asked) <= 200 * (1 + SHARE), "the last rows may be asked twice"


def test_standard_input_is_asked_as_it_comes(batch: Batch) -> None:
    """Through a pipe that stays open: the first rows are answered before the last are written."""
    batch.input = Path("-")
    pipe = batch.folder / "pipe"
    os.mkfifo(pipe)
    process = batch.start(stdin=pipe)
    with open(pipe, "w", encoding="utf-8") as writer:
        writer.write(as_text(ROWS[:3]))
        writer.flush()
        until(lambda: len(lines(batch.output)) == 3 or process.has_ended)
        assert not process.has_ended, process.err
        writer.write(as_text(ROWS[3:]))
    assert process.wait().code == 0, process.err
    is_whole(batch)


def test_standard_input_continues_too(batch: Batch) -> None:
    batch.input = Path("-")
    given = write(batch.folder / "given.jsonl", ROWS[:4])
    assert batch.run(stdin=given).code == 0
    write(given, ROWS)
    assert batch.run(stdin=given).code == 0
    is_whole(batch)


def test_standard_input_that_is_packed_is_unpacked(batch: Batch) -> None:
    batch.input = Path("-")
    given = batch.folder / "given"
    given.write_bytes(gzip.compress(as_text().encode()))
    assert batch.run(stdin=given).code == 0
    is_whole(batch)


# -- rows of a table ---------------------------------------------------------------------------------------------------

TABLE = [{"id": f"row-{number}", "text": text, "score": number} for number, text in enumerate(TEXTS)]


def as_csv(encoding: str = "utf-8", delimiter: str = ",") -> bytes:
    table = io.StringIO()
    writer = csv.DictWriter(table, ["id", "text", "score"], delimiter=delimiter)
    writer.writeheader()
    writer.writerows(TABLE)
    return table.getvalue().encode(encoding)


def as_parquet() -> bytes:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    file = io.BytesIO()
    parquet.write_table(arrow.Table.from_pylist(TABLE), file)
    return file.getvalue()


TABLES: dict[str, Callable[[], bytes]] = {
    "rows.csv": as_csv,
    "excel.csv": lambda: codecs.BOM_UTF8 + as_csv(),
    "chinese excel.csv": lambda: as_csv("gb18030"),
    "semicolons.csv": lambda: as_csv(delimiter=";"),
    "rows.tsv": lambda: as_csv(delimiter="\t"),
    "rows.csv.gz": lambda: gzip.compress(as_csv()),
    "rows.parquet": as_parquet,
    "rows.jsonl": lambda: "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in TABLE).encode(),
    "rows.json": lambda: json.dumps(TABLE, ensure_ascii=False).encode(),
}


@pytest.mark.parametrize("name", TABLES)
def test_rows_of_a_table_fill_a_template(batch: Batch, name: str) -> None:
    batch.input = batch.folder / name
    batch.input.write_bytes(TABLES[name]())
    template = batch.folder / "prompt.j2"
    template.write_text("{{ text }}", encoding="utf-8")
    body = '{"temperature": 0, "max_tokens": 9}'
    for _ in range(2):
        ended = batch.run("--template", template, "--body", body)
        assert ended.code == 0, ended.err
        is_whole(batch)
    sent = [body for server in batch.servers for body in server.bodies]
    assert all((body["temperature"], body["max_tokens"]) == (0, 9) for body in sent)
    assert {message["role"] for body in sent for message in body["messages"]} == {"user"}


def test_another_template_is_another_question(batch: Batch) -> None:
    batch.input = batch.folder / "rows.csv"
    batch.input.write_bytes(as_csv())
    template = batch.folder / "prompt.j2"
    template.write_text("Translate: {{ text }}")
    assert batch.run("--template", template).code == 0
    template.write_text("Summarize: {{ text }}")
    refused = batch.run("--template", template)
    assert refused.code == 2
    assert "--update" in refused.err
    assert len(batch.asked) == len(TEXTS)
    assert batch.run("--template", template, "--update").code == 0
    assert set(batch.answers.values()) == {f"answer to Summarize: {text}" for text in TEXTS}


def test_braces_in_a_row_are_text_and_no_template(batch: Batch) -> None:
    batch.input = write(batch.folder / "rows.jsonl", [{"id": "a", "text": "{{ 7 * 7 }} {% for x in y %}"}])
    template = batch.folder / "prompt.j2"
    template.write_text("{{ text }}")
    assert batch.run("--template", template).code == 0
    assert batch.asked == ["{{ 7 * 7 }} {% for x in y %}"]


def test_a_row_that_lacks_what_the_template_asks_for_is_a_bad_row(batch: Batch) -> None:
    batch.input = write(batch.folder / "rows.jsonl", [{"id": "a", "text": "x"}, {"id": "b", "other": "y"}])
    template = batch.folder / "prompt.j2"
    template.write_text("{{ text }}")
    stopped = batch.run("--template", template)
    assert stopped.code == 2, stopped.err
    assert f"{batch.input}:2:" in stopped.err and "text" in stopped.err
    assert batch.run("--template", template, "--skip-bad").code == 1
    assert list(batch.answers) == ["a"]


# -- what rows and models say ------------------------------------------------------------------------------------------


def answer_with(batch: Batch, reply: Callable[[Row], Any]) -> None:
    """Let the servers answer with this JSON, written as a lenient writer does."""

    async def handler(request: web.Request, body: Row) -> web.Response:
        return web.Response(text=json.dumps(reply(body)), content_type="application/json")

    for server in batch.servers:
        server.handler = handler


@pytest.mark.parametrize("text", ["half \ud83d", "\ude00 other half", "\x00\x01\x1b[2J", "\u2028\u2029", "\uffff", ""])
def test_what_a_model_says_is_kept_to_the_character(batch: Batch, text: str) -> None:
    answer_with(batch, lambda body: chat_reply(text))
    write(batch.input, [row(1)])
    ended = batch.run()
    assert ended.code == 0, ended.err
    assert batch.output.read_bytes().count(b"\n") == 1
    assert batch.answers == {"row-1": text}
    assert batch.run().code == 0
    assert len(batch.asked) == 1


def test_half_a_surrogate_pair_in_a_prompt_reaches_the_server(batch: Batch) -> None:
    batch.input.write_text(json.dumps({**row(1, "half \ud83d"), "custom_id": "id \udc00"}) + "\n")
    for _ in range(2):
        ended = batch.run()
        assert ended.code == 0, ended.err
    assert batch.asked == ["half \ud83d"]
    assert [name_of(line) for line in lines(batch.output)] == ["id \udc00"]


def test_nan_and_infinity_in_a_reply_become_null_in_strict_json(batch: Batch) -> None:
    def reply(body: Row) -> Row:
        answer = chat_reply("fine")
        logprobs = [{"token": "a", "logprob": number} for number in (float("nan"), -float("inf"), float("inf"), -0.5)]
        answer["choices"][0]["logprobs"] = {"content": logprobs}
        return answer

    answer_with(batch, reply)
    write(batch.input, [row(1)])
    ended = batch.run()
    assert ended.code == 0, ended.err
    (line,) = lines(batch.output)
    content = line["response"]["body"]["choices"][0]["logprobs"]["content"]
    assert [item["logprob"] for item in content] == [None, None, None, -0.5]
    assert batch.run().code == 0
    assert len(batch.asked) == 1


def test_lines_of_10_megabytes_are_lines_like_any_other(batch: Batch) -> None:
    answer_with(batch, lambda body: chat_reply(question(body)[:1] * LONG))
    write(batch.input, [row(1, "a" * LONG), row(2, "语" * (LONG // 3)), row(3)])
    for _ in range(2):
        ended = batch.run()
        assert ended.code == 0, ended.err
    assert len(batch.asked) == 3
    assert {name: (text[:1], len(text)) for name, text in batch.answers.items()} == {
        "row-1": ("a", LONG),
        "row-2": ("语", LONG),
        "row-3": ("q", LONG),
    }


def test_numbers_of_64_bits_reach_the_server_as_they_were_written(batch: Batch) -> None:
    numbers = "[0.1, 1e-7, 9007199254740993, 18446744073709551615, -9223372036854775808, -0.0]"
    batch.input.write_text(json.dumps(row(1)).replace('"messages"', f'"numbers": {numbers}, "messages"') + "\n")
    ended = batch.run()
    assert ended.code == 0, ended.err
    (body,) = [body for server in batch.servers for body in server.bodies]
    assert body["numbers"] == json.loads(numbers)


# -- rows that are alike -----------------------------------------------------------------------------------------------


def test_rows_of_one_id_are_numbered_in_the_order_of_the_input(batch: Batch) -> None:
    write(batch.input, [{**row(number), "custom_id": "same"} for number in range(3)])
    for _ in range(2):
        assert batch.run().code == 0
    assert batch.answers == {
        "same": "answer to question 0",
        "same#2": "answer to question 1",
        "same#3": "answer to question 2",
    }
    assert {line["custom_id"] for line in lines(batch.output)} == {"same"}, "the user's own id stays as it was"
    assert len(batch.asked) == 3


def test_a_numbered_row_never_takes_the_name_of_another(batch: Batch) -> None:
    write(batch.input, [{**row(n), "custom_id": name} for n, name in enumerate(["a", "a#2", "a", "a"])])
    assert batch.run().code == 0
    assert len(batch.answers) == len(batch.asked) == 4


def test_with_dedupe_one_body_is_asked_once_and_answered_for_each(batch: Batch) -> None:
    rows = [row(number, f"question {number % 3}") for number in range(9)]
    write(batch.input, rows)
    for _ in range(2):
        ended = batch.run("--dedupe")
        assert ended.code == 0, ended.err
        assert sorted(batch.asked) == ["question 0", "question 1", "question 2"]
        assert batch.answers == {f"row-{n}": f"answer to question {n % 3}" for n in range(9)}
    write(batch.input, [*rows, row(9, "question 2"), row(10, "question 10")])
    assert batch.run("--dedupe").code == 0
    assert sorted(batch.asked) == ["question 0", "question 1", "question 10", "question 2"]
    assert len(batch.answers) == 11


def test_without_dedupe_each_row_is_asked(batch: Batch) -> None:
    write(batch.input, [row(number, "the same") for number in range(4)])
    assert batch.run().code == 0
    assert len(batch.asked) == len(batch.answers) == 4


def test_with_dedupe_a_failure_is_everybodys_too(batch: Batch) -> None:
    for server in batch.servers:
        server.refuse = lambda body: 400
    write(batch.input, [row(number, "the same") for number in range(4)])
    ended = batch.run("--dedupe")
    assert ended.code == 1, ended.err
    assert len(batch.asked) == 1
    assert batch.failed == {f"row-{n}": "invalid" for n in range(4)}
    for server in batch.servers:
        server.refuse = lambda body: None
    assert batch.run("--dedupe", "--retry-failed").code == 0
    assert len(batch.asked) == 2
    assert len(batch.answers) == 4 and batch.failed == {}


def test_with_dedupe_a_kill_loses_and_repeats_no_more_than_without(batch: Batch) -> None:
    write(batch.input, [row(number, f"question {number % 20}") for number in range(60)])
    for server in batch.servers:
        server.delay_s = 0.1
    process = batch.start("--dedupe", "--in-flight", "2")
    until(lambda: len(batch.asked) >= 8)
    process.kill()
    process.wait()
    for server in batch.servers:
        server.delay_s = 0.0
    assert batch.run("--dedupe").code == 0
    assert batch.answers == {f"row-{n}": f"answer to question {n % 20}" for n in range(60)}
    assert len(batch.asked) <= 20 + 2


def test_completions_embeddings_and_responses_are_asked_at_their_own_paths(batch: Batch) -> None:
    paths: list[str] = []

    async def handler(request: web.Request, body: Row) -> web.Response:
        paths.append(request.path)
        replies = {
            "/v1/completions": {"choices": [{"index": 0, "text": "t", "finish_reason": "stop"}]},
            "/v1/embeddings": {"data": [{"index": 0, "embedding": [0.5]}]},
            "/v1/responses": {"output": [], "status": "completed"},
        }
        return web.json_response({"id": "x", **replies[request.path]})

    for server in batch.servers:
        server.handler = handler
    bodies = {"/v1/completions": {"prompt": "p"}, "/v1/embeddings": {"input": "i"}, "/v1/responses": {"input": "i"}}
    rows = [{"custom_id": url, "method": "POST", "url": url, "body": body} for url, body in bodies.items()]
    write(batch.input, rows)
    for _ in range(2):
        ended = batch.run()
        assert ended.code == 0, ended.err
    assert sorted(paths) == sorted(bodies)
    assert {name_of(line): line["response"]["status_code"] for line in lines(batch.output)} == dict.fromkeys(
        bodies, 200
    )


def test_the_output_is_what_openais_batches_return(batch: Batch) -> None:
    write(batch.input, [row(1)])
    batch.run()
    (line,) = lines(batch.output)
    assert {"id", "custom_id", "response", "error"} <= set(line)
    assert line["id"].startswith("batch_req_") and line["error"] is None
    assert set(line["response"]) == {"status_code", "request_id", "body"}
    assert text_of(line) == "answer to question 1"


@pytest.mark.parametrize("flags", [(), ("--skip-bad",)], ids=["stops", "is listed"])
def test_a_row_that_holds_a_control_token_of_the_served_model(batch: Batch, flags: tuple[str, ...]) -> None:
    """One that the guard knows is made inert; one that only the served model's tokenizer has is never sent."""
    for server in batch.servers:
        server.control_tokens = ["<|im_end|>", "<odd-one>"]
    write(batch.input, [{"id": str(n), "text": text} for n, text in enumerate(("a", "a<|im_end|>b", "an <odd-one>"))])
    template = batch.folder / "prompt.j2"
    template.write_text("Translate: {{ text }}")
    ended = batch.run("--template", template, *flags)
    assert ended.code == (1 if flags else 2), ended.err
    sent = str([server.bodies for server in batch.servers])
    assert sent.count("im_end") == len(flags) and "<|im_end|>" not in sent and "odd-one" not in sent
    if flags:
        assert "<odd-one>" in lines(batch.output.with_name(f"{batch.output.name}.rejects.jsonl"))[0]["reason"]
    else:
        assert "<odd-one>, a control token of fake-model" in ended.err and "jsonl:3" in ended.err


def test_servers_that_do_not_show_their_tokenizer(batch: Batch) -> None:
    for server in batch.servers:
        server.statuses = {"/tokenize": 404, "/detokenize": 404}
    write(batch.input, [{"id": "1", "text": "a"}])
    template = batch.folder / "prompt.j2"
    template.write_text("Translate: {{ text }}")
    ended = batch.run("--template", template)
    assert ended.code == 0 and "rests on the list of known ones" in ended.err
