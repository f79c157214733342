"""Every row of the input ends as exactly one record, and the last lines account for all of them."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from aiohttp import web

from tests.fake_vllm import go_on, hold_at
from tests.promises.conftest import Batch, Row, account, lines, name_of, question, row, text_of, until
from tests.promises.warm import Ended

BAD = [b"not json", b"[1, 2]", b'{"custom_id": "x"}', b'{"custom_id": 7, "body": {}}', b"\xff\xfe\xfd"]
TOO_LONG = "This model's maximum context length is 4096 tokens. However, your prompt contains at least 4097"


@pytest.fixture
def mixed(batch: Batch) -> Batch:
    """40 rows: one in eight refused, as many unusable, two with one id, two with one body."""
    rows: list[bytes] = []
    for number in range(40):
        if number % 8 == 5:
            rows.append(BAD[number // 8])
        else:
            line = row(number)
            if number == 1:
                line["custom_id"] = "row-0"
            if number == 3:
                line["body"] = row(2)["body"]
            rows.append(as_bytes(line))
    batch.input.write_bytes(b"\n".join(rows) + b"\n")
    for server in batch.servers:
        server.refuse = lambda body: 400 if int(question(body).split()[-1]) % 8 == 7 else None
    return batch


def as_bytes(line: Row) -> bytes:
    return json.dumps(line).encode()


def rejects(batch: Batch) -> list[Row]:
    return lines(batch.beside("rejects.jsonl"))


def holds(batch: Batch, ended: Ended, *, left: int = 0) -> dict[str, int]:
    """Check that the last lines add up and say what the files hold."""
    counts = account(ended.out)
    total = {name: count for name, count in counts.items() if name != "read"}
    assert sum(total.values()) == counts["read"], ended.out
    assert counts["ok"] == len(batch.answers)
    assert counts["failed"] + counts.get("invalid", 0) == len(batch.failed)
    assert counts["rejected"] == len(rejects(batch))
    assert counts.get("left", 0) == left
    assert not set(batch.answers) & set(batch.failed), "a row has one record"
    return counts


def test_ok_invalid_failed_and_rejected_are_what_was_read(mixed: Batch) -> None:
    ended = mixed.run("--skip-bad")
    assert ended.code == 1, ended.err
    counts = holds(mixed, ended)
    assert counts["read"] == 40
    assert (counts["ok"], counts["rejected"]) == (30, 5)
    assert sorted(reject["line"] for reject in rejects(mixed)) == [6, 14, 22, 30, 38]
    assert all(reject["reason"] for reject in rejects(mixed))


def test_the_next_run_counts_the_same_rows_again(mixed: Batch) -> None:
    first = holds(mixed, mixed.run("--skip-bad"))
    asked = len(mixed.asked)
    assert holds(mixed, mixed.run("--skip-bad")) == first
    assert len(mixed.asked) == asked, "permanent failures are asked again with --retry-failed only"
    for server in mixed.servers:
        server.refuse = lambda body: None
    ended = mixed.run("--skip-bad", "--retry-failed")
    counts = holds(mixed, ended)
    assert ended.code == 1, "there are still rejects"
    assert (counts["ok"], counts["rejected"]) == (35, 5)
    assert len(mixed.asked) == asked + 5


def test_each_answer_is_its_own_rows(mixed: Batch) -> None:
    mixed.run("--skip-bad")
    found = {name_of(line): text_of(line) for line in lines(mixed.output)}
    assert found["row-0"] == "answer to question 0" and found["row-0#2"] == "answer to question 1"
    assert found["row-2"] == found["row-3"] == "answer to question 2"
    assert len(found) == 30


def test_without_skip_bad_the_first_bad_line_is_named_and_nothing_recorded_is_lost(mixed: Batch) -> None:
    stopped = mixed.run()
    assert stopped.code == 2, stopped.err
    assert f"{mixed.input}:6:" in stopped.err and "--skip-bad" in stopped.err and "Traceback" not in stopped.err
    recorded = len(mixed.answers)
    assert recorded == len(mixed.asked), "what was asked by then is finished and recorded"
    holds(mixed, mixed.run("--skip-bad"))
    assert len(mixed.asked) == 35


@pytest.mark.parametrize(
    ("flags", "read"), [(("--limit", "10"), 10), (("--shard", "1/2"), None), (("--shard", "2/2"), None)]
)
def test_a_part_of_the_input_is_accounted_for_as_such(mixed: Batch, flags: Sequence[str], read: int | None) -> None:
    ended = mixed.run("--skip-bad", *flags)
    assert ended.code == 1, ended.err
    counts = holds(mixed, ended)
    assert read is None or counts["read"] == read


def test_two_shards_are_the_whole(mixed: Batch) -> None:
    parts = []
    for number in (1, 2):
        assert mixed.run("--skip-bad", "--shard", f"{number}/2").code == 1
        parts.append({**mixed.answers, **mixed.failed})
        mixed.output.unlink()
        mixed.failures.unlink(missing_ok=True)
        mixed.manifest.unlink()
    assert not set(parts[0]) & set(parts[1])
    assert len(parts[0]) + len(parts[1]) == 35
    assert min(map(len, parts)) >= 5


def test_a_time_limit_stops_cleanly_and_the_same_command_continues(mixed: Batch) -> None:
    refuse = mixed.servers[0].refuse
    hold_at(mixed.servers, 7)
    process = mixed.start("--skip-bad", "--max-time", "3s", "--in-flight", "2")
    until(lambda: "Ctrl-C stops at once" in process.err or process.has_ended)
    go_on(mixed.servers)
    ended = process.wait()
    assert ended.code == 4, ended.err
    assert "Traceback" not in ended.err
    asked = len(mixed.asked)
    assert 0 < asked < 35
    assert len(mixed.answers) + len(mixed.failed) == asked, "what was in flight is recorded"
    for server in mixed.servers:
        server.refuse = refuse
    holds(mixed, mixed.run("--skip-bad"))
    assert len(mixed.asked) == 35


def test_too_many_failures_stop_the_run(batch: Batch) -> None:
    batch.input.write_bytes(b"\n".join(as_bytes(row(number)) for number in range(400)) + b"\n")
    for server in batch.servers:
        server.refuse = lambda body: 400
    ended = batch.run("--max-error-rate", "5%", "--in-flight", "4")
    assert ended.code == 4, ended.err
    assert len(batch.asked) < 300
    assert len(batch.failed) == len(batch.asked)


def test_every_kind_of_failure_says_why(batch: Batch) -> None:
    async def refuse(request: web.Request, body: Row) -> web.Response:
        return web.json_response({"error": {"message": TOO_LONG}}, status=400)

    for server in batch.servers:
        server.handler = refuse
    batch.input.write_bytes(as_bytes(row(1)) + b"\n")
    assert batch.run().code == 1
    (failure,) = lines(batch.failures)
    assert failure["error"] == {"code": "too_long", "message": TOO_LONG}
