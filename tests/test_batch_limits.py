"""Runs that ask only a part, stop early, or ask again: the flags of `analyze.batch` that bound a run."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from datetime import datetime
from itertools import chain

import pytest
from aiohttp import web

import analyze.batch
from analyze.runs.jobflags import duration_s, seconds_until
from analyze.runs.runner import FINISH_S
from tests.fake_vllm import chat_reply, go_on, hold_at
from tests.test_batch import SCHEMA, Batch, batch, lines, row, write

__all__ = ["batch"]

FORM = {"type": "json_schema", "json_schema": {"name": "label", "schema": SCHEMA}}


def answered(batch: Batch) -> list[str]:
    return sorted(answer["custom_id"] for answer in lines(batch.output))


def test_limit_asks_the_first_rows_and_a_later_run_the_rest(batch):
    write(batch.input, [row(n) for n in range(10)])
    done = batch.run("--limit", "3")
    assert done.returncode == 0 and "3 rows read: 3 ok" in done.stdout
    assert answered(batch) == ["row-0", "row-1", "row-2"]
    assert batch.run("--limit", "3").returncode == 0 and batch.asked == 3
    assert batch.run().returncode == 0 and batch.asked == 10


def test_shards_share_the_input_out_whatever_its_order(batch):
    everything = [row(n) for n in range(40)]
    parts = []
    for number in range(1, 4):
        batch.output = batch.folder / f"{number}.jsonl"
        write(batch.input, everything if number % 2 else everything[::-1])
        assert batch.run("--shard", f"{number}/3").returncode == 0
        parts.append(answered(batch))
    assert all(parts) and sorted(chain(*parts)) == sorted(r["custom_id"] for r in everything)


def test_a_dry_run_shows_the_first_request_and_asks_and_writes_nothing(batch):
    write(batch.input, [row(n, max_tokens=7) for n in range(10)])
    before = sorted(batch.folder.iterdir())
    done = batch.run("--dry-run")
    assert done.returncode == 0
    assert '"max_tokens": 7' in done.stdout and "10 would be asked" in done.stdout
    assert sorted(batch.folder.iterdir()) == before and batch.asked == 0
    assert batch.run().returncode == 0
    write(batch.input, [row(n, max_tokens=8 if n < 4 else 7) for n in range(10)])
    assert batch.run("--dry-run").returncode == 2
    done = batch.run("--dry-run", "--update")
    assert done.returncode == 0 and "6 answered before" in done.stdout and "4 would be asked" in done.stdout


def test_when_the_time_is_up_it_finishes_what_is_in_flight_and_the_same_command_continues(batch):
    write(batch.input, [row(n) for n in range(400)])
    hold_at(batch.servers, 20)
    process = batch.start("--max-time", "3s", "--in-flight", "8")
    assert any("Ctrl-C stops at once" in line for line in process.stderr), "it waits for what is in flight"
    go_on(batch.servers)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 4, err
    assert "the time is up" in err and "→" in err
    first = answered(batch)
    assert len(first) == batch.asked and 20 <= len(first) < 400, "what was in flight was finished"
    assert f"{len(first)} ok" in out
    recorded = lines(batch.output)
    assert batch.run("--max-time", "1h").returncode == 0
    assert len(answered(batch)) == 400 and batch.asked_again(recorded) == []


@pytest.mark.parametrize("fault", ["crash", "500"])
def test_a_run_whose_servers_are_all_gone_does_not_wait_for_them_when_the_time_is_up(fault, batch):
    def end_all() -> None:
        for server in batch.servers:
            if fault == "crash":
                server.crash()
            else:
                server.mode = fault

    for server in batch.servers:
        server.delay_s = 0.1
    write(batch.input, [row(n) for n in range(2000)])
    process = batch.start("--max-time", "8s", "--in-flight", "8")
    while not batch.asked:
        time.sleep(0.01)
    end_all()
    _, said = process.communicate(timeout=8 + FINISH_S / 2)  # half of what requests in flight may take
    assert process.returncode == 4 and "the time is up" in said
    assert "requests wait" in said


def test_too_many_failures_stop_the_run_and_the_others_do_not(batch):
    for server in batch.servers:
        server.refuse = lambda body: 400 if int(body["messages"][0]["content"].split()[-1]) % 5 == 0 else None
    write(batch.input, [row(n) for n in range(1000)])
    done = batch.run("--max-error-rate", "5%", "--in-flight", "4")
    assert done.returncode == 4 and "--max-error-rate" in done.stderr
    assert 50 <= batch.asked < 200
    assert batch.run("--max-error-rate", "30%").returncode == 1
    assert len(lines(batch.output)) == 800 and len(lines(batch.failed)) == 200


def test_a_bad_line_that_is_met_late_costs_nothing_that_was_asked(batch, monkeypatch, capsys):
    monkeypatch.setattr("analyze.runs.filejob.LOOK_FIRST_S", 0.0)
    monkeypatch.setattr("analyze.runs.backlog.LOOK_AHEAD_ROWS", 100)
    for server in batch.servers:
        server.delay_s = 0.02
    good = b"".join(json.dumps(row(n)).encode() + b"\n" for n in range(2000))
    batch.input.write_bytes(good + b"{not json\n")
    urls = [flag for server in batch.servers for flag in ("--base-url", server.url)]
    assert analyze.batch.main(["-i", str(batch.input), "-o", str(batch.output), *urls]) == 2
    said = capsys.readouterr().err
    assert f"{batch.input}:2001" in said and "--skip-bad" in said
    assert len(lines(batch.output)) == batch.asked >= 1000, "what was in flight was finished and recorded"


def test_a_row_that_is_nested_too_deeply_is_a_reject_and_no_bug(batch):
    deep = b'{"body": {"messages": [], "x": ' + b"[" * 1015 + b"]" * 1015 + b"}}"
    batch.input.write_bytes(json.dumps(row(0)).encode() + b"\n" + deep + b"\n" + json.dumps(row(1)).encode() + b"\n")
    done = batch.run("--skip-bad")
    assert done.returncode == 1 and "1 rejected" in done.stdout, done.stderr
    assert answered(batch) == ["row-0", "row-1"]


def test_an_answer_that_breaks_its_schema_is_asked_once_more_and_told_why(batch):
    told: list[list[dict[str, str]]] = []

    async def reply(request, body):
        is_first = len(body["messages"]) == 1
        wrong = is_first and body["messages"][0]["content"] in ("question 1", "question 2")
        never = body["messages"][0]["content"] == "question 2"
        told.extend([] if is_first else [body["messages"]])
        return web.json_response(chat_reply('{"label":"c"}' if wrong or never else '{"label":"a"}'))

    for server in batch.servers:
        server.handler = reply
    write(batch.input, [row(n, response_format=FORM) for n in range(3)])
    assert batch.run("--in-flight", "1").returncode == 1
    assert answered(batch) == ["row-0", "row-1"]
    assert [(f["custom_id"], f["error"]["code"], f["raw"]) for f in lines(batch.failed)] == [
        ("row-2", "schema", '{"label":"c"}')
    ]
    assert len(told) == 2 and batch.asked == 5
    assert told[0][1] == {"role": "assistant", "content": '{"label":"c"}'}
    assert "is not one of" in told[0][2]["content"]
    assert [a["attempts"] for a in lines(batch.output)] == [1, 2]


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--until", "25:00"),
        ("--max-time", "6"),
        ("--max-error-rate", "often"),
        ("--shard", "4/3"),
        ("--limit", "0"),
        ("--body", '{"max_tokens": 1}'),
    ],
)
def test_a_wrong_value_is_exit_2_with_a_cure(batch, flag, value):
    write(batch.input, [row(0)])
    assert analyze.batch.main(["-i", str(batch.input), "-o", str(batch.output), flag, value]) == 2


def test_until_is_the_next_time_the_clock_shows_it():
    now = datetime(2026, 11, 21, 22, 0)
    assert seconds_until("22:30", now) == 1800
    assert seconds_until("08:00", now) == 10 * 3600
    assert seconds_until("22:00", now) == 24 * 3600


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("6h", 21600), ("1h30m", 5400), ("2d", 172800)]
)
def test_a_time_is_written_as_people_write_it(text, seconds):
    assert duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "6", "h", "-1h", "1.5h", "0s"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError):
        duration_s(text)


def test_rows_of_a_pipe_are_asked_as_they_come(batch):
    urls = [flag for server in batch.servers for flag in ("--base-url", server.url)]
    command = [sys.executable, "-m", "analyze.batch", "-i", "-", "-o", batch.output, *urls]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin is not None
    for number in range(3):
        process.stdin.write(json.dumps(row(number)).encode() + b"\n")
    process.stdin.flush()
    deadline = time.monotonic() + 120
    while len(lines(batch.output)) < 3:
        assert time.monotonic() < deadline, "the input has not ended, and its rows are asked"
        time.sleep(0.05)
    process.stdin.write(json.dumps(row(3)).encode() + b"\n")
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0 and b"4 rows read: 4 ok" in out
