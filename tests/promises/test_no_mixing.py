"""An input, a setting or a manifest that has changed between two runs: what is asked, what is refused, what stays."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.fake_vllm import FakeVLLM
from tests.promises.conftest import Batch, Row, account, as_new, lines, name_of, row, write

ROWS = [row(number) for number in range(8)]
ANSWERS = {f"row-{number}": f"answer to question {number}" for number in range(8)}


@pytest.fixture
def done(batch: Batch) -> Batch:
    """A finished run over ROWS; what it asked is forgotten."""
    write(batch.input, ROWS)
    assert batch.run().code == 0
    forget(batch)
    return batch


def forget(batch: Batch) -> None:
    for server in batch.servers:
        server.bodies.clear()


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_added_rows_are_asked_and_no_others(done: Batch) -> None:
    write(done.input, [row(100), *ROWS[:4], row(101), *ROWS[4:]])
    ended = done.run()
    assert ended.code == 0, ended.err
    assert sorted(done.asked) == ["question 100", "question 101"]
    assert done.answers == {**ANSWERS, "row-100": "answer to question 100", "row-101": "answer to question 101"}
    assert account(ended.out)["read"] == account(ended.out)["ok"] == 10


def test_rows_that_left_the_input_are_neither_asked_nor_counted_and_keep_their_answers(done: Batch) -> None:
    write(done.input, ROWS[3:])
    ended = done.run()
    assert ended.code == 0, ended.err
    assert done.asked == []
    assert done.answers == ANSWERS
    assert account(ended.out)["read"] == account(ended.out)["ok"] == 5


def test_the_order_of_rows_makes_no_difference(done: Batch) -> None:
    write(done.input, random.Random(1).sample(ROWS, len(ROWS)))
    assert done.run().code == 0
    assert done.asked == []
    assert done.answers == ANSWERS


def test_neither_does_how_the_json_is_written(done: Batch) -> None:
    turned = [{name: row[name] for name in reversed(row)} for row in ROWS]
    for line in turned:
        line["body"] = {"temperature": None, **line["body"]}
        del line["body"]["temperature"]
    write(done.input, turned)
    assert done.run().code == 0
    assert done.asked == []


@pytest.mark.parametrize(
    "edited",
    [
        row(3, "another question"),
        row(3, temperature=0.7),
        row(3, model="another-model"),
        {**row(3), "url": "/v1/completions", "body": {"prompt": "question 3"}},
        row(3, response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}),
    ],
    ids=["text", "sampling", "model", "url", "schema"],
)
def test_an_edited_row_stops_the_run_before_anything_is_asked_of_it(done: Batch, edited: Row) -> None:
    before = done.output.read_bytes()
    write(done.input, [edited if row["custom_id"] == "row-3" else row for row in ROWS])
    refused = done.run()
    assert refused.code == 2, refused.err
    assert "row-3" in refused.err and "--update" in refused.err
    assert "row-2" not in refused.err
    assert done.asked == []
    assert done.output.read_bytes() == before


def test_the_first_of_many_edited_rows_are_named(done: Batch) -> None:
    write(done.input, [row(number, temperature=0.1) for number in range(8)])
    refused = done.run()
    assert refused.code == 2
    assert "row-0" in refused.err and "--update" in refused.err
    assert done.asked == []


def test_update_asks_the_edited_rows_only_and_retires_their_old_lines(done: Batch) -> None:
    write(done.input, [row(0), row(1, "new 1"), *ROWS[2:6], row(6, "new 6"), row(7), row(8)])
    ended = done.run("--update")
    assert ended.code == 0, ended.err
    assert sorted(done.asked) == ["new 1", "new 6", "question 8"]
    changed = {"row-1": "answer to new 1", "row-6": "answer to new 6", "row-8": "answer to question 8"}
    assert done.answers == {**ANSWERS, **changed}
    forget(done)
    assert done.run().code == 0
    assert done.asked == []


def test_a_row_that_was_edited_and_edited_back_needs_nothing(done: Batch) -> None:
    write(done.input, [row(0, "for a moment"), *ROWS[1:]])
    assert done.run().code == 2
    write(done.input, ROWS)
    assert done.run().code == 0
    assert done.asked == []


def test_rows_added_removed_reordered_and_edited_at_once(done: Batch) -> None:
    write(done.input, [row(9), row(5, "new 5"), row(2), row(1)])
    assert done.run().code == 2
    assert "row-9" not in done.answers or sorted(done.asked) == ["question 9"]
    ended = done.run("--update")
    assert ended.code == 0, ended.err
    assert sorted(done.asked) == ["new 5", "question 9"]
    assert done.answers == {**ANSWERS, "row-5": "answer to new 5", "row-9": "answer to question 9"}
    assert account(ended.out)["read"] == 4


def test_another_model_is_refused_unless_update(done: Batch) -> None:
    for server in done.servers:
        server.model = "another-model"
    refused = done.run()
    assert refused.code == 2
    assert "'fake-model'" in refused.err and "'another-model'" in refused.err and "--update" in refused.err
    assert done.asked == []
    assert done.run("--update").code == 0
    assert {body["model"] for server in done.servers for body in server.bodies} == {"another-model"}
    assert len(done.asked) == len(done.answers) == 8


def test_other_servers_and_another_concurrency_are_no_difference(done: Batch, shared_servers: list[FakeVLLM]) -> None:
    done.servers = shared_servers[2:]
    for server in done.servers:
        as_new(server)
    assert done.run("--in-flight", "3", VLLM_API_KEY="another-key").code == 0
    assert done.asked == []


@pytest.mark.parametrize("kept", [0, 1, 40, -3])
def test_a_manifest_that_is_half_written_stops_the_run_and_the_journal_continues_without_it(
    done: Batch, kept: int
) -> None:
    done.manifest.write_bytes(done.manifest.read_bytes()[:kept])
    write(done.input, [*ROWS, row(8)])
    refused = done.run()
    if refused.code:
        assert refused.code == 2, refused.err
        assert str(done.manifest) in refused.err and "→" in refused.err and "Traceback" not in refused.err
        assert done.asked == []
        done.manifest.unlink()
        assert done.run().code == 0
    assert done.asked == ["question 8"]
    assert len(done.answers) == 9


def test_a_manifest_of_a_later_version_is_not_guessed_at(done: Batch) -> None:
    manifest = done.manifest.read_text()
    done.manifest.write_text(manifest.replace('"format": 1', '"format": 99').replace('"format": 2', '"format": 99'))
    assert done.manifest.read_text() != manifest
    refused = done.run()
    assert refused.code == 2
    assert "99" in refused.err and "Traceback" not in refused.err


def test_a_row_is_known_by_its_content_where_it_has_no_id(batch: Batch) -> None:
    bodies = [{"body": row(number)["body"]} for number in (1, 2, 2, 3)]
    write(batch.input, bodies)
    assert batch.run().code == 0
    assert sorted(batch.asked) == ["question 1", "question 2", "question 2", "question 3"]
    forget(batch)
    write(batch.input, [*reversed(bodies), {"body": row(4)["body"]}])
    assert batch.run().code == 0
    assert batch.asked == ["question 4"]
    assert len({name_of(line) for line in lines(batch.output)}) == 5


def test_nothing_is_touched_before_a_server_is_found(done: Batch) -> None:
    write(done.input, [row(0, "new 0"), *ROWS[1:]])
    before = files(done.folder)
    done.servers = []
    for flags, code in (((), 2), (("--update",), 3), (("--update", "--retry-failed"), 3)):
        refused = done.run("--base-url", "http://127.0.0.1:9/v1", *flags)
        assert refused.code in (code, 3), refused.err
        assert files(done.folder) == before
