"""`analyze.batch` as its user meets it: files in, files out, an exit code, whatever happens in between."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from analyze.runs.runner import FINISH_S
from analyze.runs.tail import SHARE
from tests.fake_vllm import FakeVLLM, chat_reply, free_port, go_on, hold_at

SCHEMA = {"type": "object", "properties": {"label": {"enum": ["a", "b"]}}, "required": ["label"]}


def row(number: int, **body: object) -> dict[str, object]:
    content = {"messages": [{"role": "user", "content": f"question {number}"}], **body}
    return {"custom_id": f"row-{number}", "method": "POST", "url": "/v1/chat/completions", "body": content}


def write(path: Path, rows: list[object]) -> Path:
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows))
    return path


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


class Batch:
    """Runs `python -m analyze.batch` in a folder, against given servers."""

    def __init__(self, folder: Path, servers: list[FakeVLLM]) -> None:
        self.folder, self.servers = folder, servers
        self.input, self.output = folder / "requests.jsonl", folder / "answers.jsonl"
        self.failed = folder / "answers.jsonl.failed.jsonl"

    def start(self, *flags: str, **env: str) -> subprocess.Popen[str]:
        urls = [flag for server in self.servers for flag in ("--base-url", server.url)]
        command = [sys.executable, "-m", "analyze.batch", "-i", self.input, "-o", self.output, *urls, *flags]
        environ = {**os.environ, "ANALYZE_LANG": "en", **env}
        return subprocess.Popen(
            command, cwd=self.folder, env=environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def run(self, *flags: str, **env: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*flags, **env)
        out, err = process.communicate(timeout=180)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    @property
    def asked(self) -> int:
        return sum(server.asked for server in self.servers)

    def asked_again(self, rows: list[dict]) -> list[str]:
        """Return which of these recorded rows were asked more than once."""
        bodies = [body for server in self.servers for body in server.bodies]
        times = Counter(body["messages"][0]["content"] for body in bodies)
        return [row["custom_id"] for row in rows if times[row["custom_id"].replace("row-", "question ")] > 1]


@pytest.fixture
def batch(tmp_path: Path, fleet: list[FakeVLLM]) -> Batch:
    return Batch(tmp_path, fleet)


def test_every_row_is_answered_in_the_openai_batch_format(batch):
    write(batch.input, [row(n) for n in range(20)])
    done = batch.run()
    assert done.returncode == 0, done.stderr
    answers = lines(batch.output)
    assert {a["custom_id"] for a in answers} == {f"row-{n}" for n in range(20)}
    assert all(a["response"]["status_code"] == 200 and a["error"] is None for a in answers)
    assert answers[0]["response"]["body"]["choices"][0]["message"]["content"] == "hello"
    assert "20 rows read: 20 ok (0 of them before), 0 invalid, 0 failed, 0 rejected, 0 left" in done.stdout
    assert {server.bodies[0]["model"] for server in batch.servers} == {"fake-model"}


def test_a_finished_run_asks_nothing_again(batch):
    write(batch.input, [row(n) for n in range(20)])
    batch.run()
    assert batch.run().returncode == 0
    assert batch.asked == 20


def test_added_and_reordered_rows_ask_exactly_what_is_missing(batch):
    write(batch.input, [row(n) for n in range(10)])
    batch.run()
    write(batch.input, [row(n) for n in reversed(range(13))])
    assert batch.run().returncode == 0
    assert batch.asked == 13
    assert len(lines(batch.output)) == 13


def test_ordered_puts_the_output_in_the_order_of_the_input(batch):
    write(batch.input, [row(n) for n in range(30)])
    assert batch.run("--ordered").returncode == 0
    assert [a["custom_id"] for a in lines(batch.output)] == [f"row-{n}" for n in range(30)]


def test_killed_at_any_instant_it_continues_without_loss_or_repetition(batch):
    write(batch.input, [row(n) for n in range(200)])
    for server in batch.servers:
        server.delay_s = 0.05
    for reached in (40, 90, 150):
        hold_at(batch.servers, reached)
        process = batch.start("--in-flight", "8")
        while batch.asked < reached:
            time.sleep(0.005)
        process.kill()
        process.wait()
        go_on(batch.servers)
    assert 100 < len(lines(batch.output)) < 200
    assert batch.run("--in-flight", "8").returncode == 0
    ids = [a["custom_id"] for a in lines(batch.output)]
    assert sorted(ids) == sorted(f"row-{n}" for n in range(200))
    most = (200 + 3 * 8) * (1 + SHARE)
    assert batch.asked <= most, "asked again: what was in flight at each kill, and at the end a few more"


def test_a_torn_last_line_does_not_spoil_the_next(batch):
    write(batch.input, [row(n) for n in range(5)])
    batch.run()
    whole = batch.output.read_bytes()
    batch.output.write_bytes(whole[:-20])
    assert batch.run().returncode == 0
    assert sorted(a["custom_id"] for a in lines(batch.output)) == [f"row-{n}" for n in range(5)]
    assert batch.asked == 6


def test_ctrl_c_finishes_what_is_in_flight_and_says_how_to_continue(batch):
    write(batch.input, [row(n) for n in range(400)])
    for server in batch.servers:
        server.delay_s = 0.3
    process = batch.start("--in-flight", "8")
    while batch.asked < 16:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert f"continue with: python -m analyze.batch -i {batch.input}" in err
    recorded = lines(batch.output)
    assert len(recorded) == batch.asked, "all that was asked is recorded"
    for server in batch.servers:
        server.delay_s = 0.0
    assert batch.run().returncode == 0
    assert len(lines(batch.output)) == 400 and batch.asked_again(recorded) == []


def test_a_second_ctrl_c_stops_at_once(batch):
    write(batch.input, [row(n) for n in range(40)])
    for server in batch.servers:
        server.mode = "hang"
    process = batch.start()
    while batch.asked < 40:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert any("Ctrl-C stops at once" in line for line in process.stderr)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=FINISH_S / 2) == 130, "sooner than what is in flight may take"


def test_a_second_run_on_the_same_output_says_who_holds_it(batch):
    write(batch.input, [row(n) for n in range(8)])
    for server in batch.servers:
        server.mode = "hang"
    first = batch.start()
    while batch.asked < 8:
        time.sleep(0.02)
    second = batch.run()
    assert second.returncode == 4
    assert f"process {first.pid} on " in second.stderr
    first.kill()
    first.communicate()


def test_an_edited_row_stops_the_run_before_anything_is_asked_unless_update(batch):
    write(batch.input, [row(n) for n in range(5)])
    batch.run()
    write(batch.input, [row(0, temperature=0.5), *(row(n) for n in range(1, 5))])
    refused = batch.run()
    assert refused.returncode == 2
    assert "row-0" in refused.stderr and "--update" in refused.stderr
    assert batch.asked == 5
    assert batch.run("--update").returncode == 0
    assert batch.asked == 6
    assert len(lines(batch.output)) == 5, "the old line is retired"


def test_another_model_on_the_servers_is_refused(batch):
    write(batch.input, [row(n) for n in range(5)])
    batch.run()
    for server in batch.servers:
        server.model = "other-model"
    refused = batch.run()
    assert refused.returncode == 2
    assert "'fake-model'" in refused.stderr and "'other-model'" in refused.stderr


def test_failures_stand_in_their_own_file_and_never_among_the_answers(batch):
    async def moody(request, body):
        from aiohttp import web

        if "question 3" in str(body):
            message = "This model's maximum context length is 4096 tokens. However, your prompt contains at least 4097"
            return web.json_response({"error": {"message": message}}, status=400)
        return web.json_response(chat_reply("fine"))

    for server in batch.servers:
        server.handler = moody
    write(batch.input, [row(n) for n in range(10)])
    done = batch.run()
    assert done.returncode == 1
    assert len(lines(batch.output)) == 9
    (failure,) = lines(batch.failed)
    assert (failure["custom_id"], failure["error"]["code"]) == ("row-3", "too_long")
    assert "9 ok" in done.stdout and "1 invalid" in done.stdout

    asked = batch.asked
    assert batch.run().returncode == 1, "a permanent failure stays one"
    assert batch.asked == asked
    for server in batch.servers:
        server.handler = None
    assert batch.run("--retry-failed").returncode == 0
    assert lines(batch.failed) == []
    assert len(lines(batch.output)) == 10


def test_a_cut_or_broken_structured_answer_is_a_failure_with_the_raw_text(batch):
    form = {"type": "json_schema", "json_schema": {"name": "label", "schema": SCHEMA}}
    replies = {"0": ('{"label":"a"}', "stop"), "1": ('{"lab', "length"), "2": ('{"label":"c"}', "stop")}

    async def reply(request, body):
        from aiohttp import web

        return web.json_response(chat_reply(*replies[body["messages"][0]["content"][-1]]))

    for server in batch.servers:
        server.handler = reply
    write(batch.input, [row(n, response_format=form) for n in range(3)])
    assert batch.run("--in-flight", "1").returncode == 1
    assert [a["custom_id"] for a in lines(batch.output)] == ["row-0"]
    assert [(f["error"]["code"], f["raw"]) for f in lines(batch.failed)] == [
        ("truncated", '{"lab'),
        ("schema", '{"label":"c"}'),
    ]


def test_a_server_that_ignores_the_constraint_stops_the_run_loudly(batch):
    form = {"type": "json_schema", "json_schema": {"name": "label", "schema": SCHEMA}}
    for server in batch.servers:
        server.reply = "Sure! The label is a."
    write(batch.input, [row(n, response_format=form) for n in range(10)])
    done = batch.run()
    assert done.returncode == 4
    assert "does not apply the schema" in done.stderr and "Sure!" in done.stderr


def test_with_servers_down_from_the_start_the_run_goes_on_with_the_others_and_says_so(batch):
    batch.servers[1].stop()
    write(batch.input, [row(n) for n in range(12)])
    done = batch.run()
    assert done.returncode == 0
    assert "3 of 4 servers" in done.stdout
    assert batch.servers[1].url in done.stdout


def test_a_server_killed_in_the_middle_loses_nothing(batch):
    for server in batch.servers:
        server.delay_s = 0.05
    write(batch.input, [row(n) for n in range(300)])
    hold_at(batch.servers, 60)
    process = batch.start("--in-flight", "32")
    while batch.asked < 60:
        time.sleep(0.01)
    batch.servers[2].stop()
    go_on(batch.servers)
    _, err = process.communicate(timeout=180)
    assert process.returncode == 0, err
    assert len(lines(batch.output)) == 300
    assert f"{batch.servers[2].url} is out" in err


def test_no_server_up_is_exit_3_within_seconds_naming_each_address(batch, tmp_path):
    write(batch.input, [row(1)])
    for server in batch.servers:
        server.stop()
    started = time.monotonic()
    done = batch.run()
    assert done.returncode == 3
    assert time.monotonic() - started < 60, "it does not wait for servers to come"
    for server in batch.servers:
        assert server.url in done.stderr
    assert "start_vllm.sh" in done.stderr and "check_vllm.sh" in done.stderr
    assert not batch.output.exists() or batch.output.read_bytes() == b""


def test_a_proxy_in_the_shell_changes_nothing(batch):
    write(batch.input, [row(n) for n in range(4)])
    proxy = f"http://127.0.0.1:{free_port()}"
    assert batch.run(http_proxy=proxy, HTTP_PROXY=proxy, ALL_PROXY=proxy).returncode == 0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "there is no such file"),
        (b"", "holds no rows"),
        (b"\x00\x01\x02PNG", "binary"),
        (b'{"body": {}}\nnot json\n', ":2: no JSON"),
        (b'{"custom_id": "a"}\n', ':1: it has no "body"'),
        (b'{"custom_id": 7, "body": {}}\n', ":1: its id is 7"),
        (b"[1]\n", ":1: a request is"),
    ],
)
def test_bad_input_is_exit_2_naming_file_line_and_cure(batch, content, said):
    if content is not None:
        batch.input.write_bytes(content)
    done = batch.run()
    assert done.returncode == 2
    assert str(batch.input) in done.stderr and said in done.stderr and "→" in done.stderr
    assert batch.asked == 0


def test_skip_bad_lists_the_bad_lines_and_answers_the_rest(batch):
    batch.input.write_text(json.dumps(row(1)) + "\nnot json\n" + json.dumps(row(2)) + "\n")
    done = batch.run("--skip-bad")
    assert done.returncode == 1
    assert len(lines(batch.output)) == 2
    (reject,) = lines(batch.folder / "answers.jsonl.rejects.jsonl")
    assert (reject["line"], reject["raw"]) == (2, "not json")
    assert "2 ok" in done.stdout and "1 rejected" in done.stdout


def test_an_output_that_is_somebody_elses_file_is_left_untouched(batch):
    write(batch.input, [row(1)])
    batch.output.write_text("my precious notes, without a newline")
    assert batch.run().returncode == 2
    assert batch.output.read_text() == "my precious notes, without a newline"


def test_rows_without_an_id_get_one_and_duplicates_are_numbered(batch):
    bodies = [{"body": row(1)["body"]}, {"body": row(1)["body"]}, row(2), row(2)]
    write(batch.input, bodies)
    assert batch.run().returncode == 0
    answers = lines(batch.output)
    assert len({a.get("row", a["custom_id"]) for a in answers}) == 4
    assert sorted(a["custom_id"] for a in answers)[:2] == ["row-2", "row-2"]
    assert batch.run().returncode == 0
    assert batch.asked == 4


def test_secrets_stay_out_of_every_file(batch):
    write(batch.input, [row(n) for n in range(3)])
    batch.run(VLLM_API_KEY="sk-very-secret")
    assert batch.servers[0].headers[-1]["Authorization"] == "Bearer sk-very-secret"
    for path in batch.folder.rglob("*"):
        assert "sk-very-secret" not in path.read_text()


def test_show_settings_says_where_each_value_came_from(batch):
    done = batch.run("--show-settings", "--vllm-host", "box", VLLM_PORTS="1,2")
    assert done.returncode == 0
    shown = {line.split()[0]: line.split()[-1] for line in done.stdout.splitlines()}
    assert shown == {
        "VLLM_ENDPOINTS": "(default)",
        "VLLM_PORTS": "(environment)",
        "VLLM_HOST": "(flag)",
        "VLLM_API_KEY": "(default)",
        "MODEL": "(default)",
        "ANALYZE_LANG": "(environment)",
    }


def test_ordering_keeps_the_answers_of_rows_that_left_the_input(batch):
    write(batch.input, [row(n) for n in range(15)])
    batch.run()
    write(batch.input, [row(n) for n in range(9, -1, -1)])
    assert batch.run("--ordered").returncode == 0
    ids = [a["custom_id"] for a in lines(batch.output)]
    assert ids[:10] == [f"row-{n}" for n in range(9, -1, -1)]
    assert sorted(ids) == sorted(f"row-{n}" for n in range(15))


def test_update_with_another_model_asks_every_row_again(batch):
    write(batch.input, [row(n) for n in range(6)])
    batch.run()
    for server in batch.servers:
        server.model = "other-model"
    assert batch.run("--update").returncode == 0
    assert batch.asked == 12
    assert {a["response"]["body"]["model"] for a in lines(batch.output)} == {"other-model"}


@pytest.mark.parametrize("flags", [(), ("--update",), ("--retry-failed",)])
def test_nothing_recorded_is_touched_before_a_server_is_found(batch, flags):
    for server in batch.servers:
        server.mode = "502"
    write(batch.input, [row(0)])
    batch.run()
    for server in batch.servers:
        server.mode = "ok"
    write(batch.input, [row(n) for n in range(1, 8)])
    batch.run()
    before = batch.output.read_bytes(), batch.failed.read_bytes()
    write(batch.input, [row(n, temperature=0.5) for n in range(8)])
    for server in batch.servers:
        server.stop()
    assert batch.run(*flags).returncode == (3 if "--update" in flags else 2), "changed rows are told without a server"
    assert (batch.output.read_bytes(), batch.failed.read_bytes()) == before
    assert before[1]


def test_when_all_servers_die_for_good_the_run_ends_and_leaves_the_rest_to_the_next(batch, monkeypatch):
    code = (
        "import sys, dataclasses; from analyze import core; "
        "core.BULK = dataclasses.replace(core.BULK, unavailable_s=1.0); "
        "core.Core.ask.__defaults__ = (core.BULK,); "
        "from analyze.batch import main; sys.exit(main(sys.argv[1:]))"
    )
    for server in batch.servers:
        server.delay_s = 0.05
    write(batch.input, [row(n) for n in range(2000)])
    urls = [flag for server in batch.servers for flag in ("--base-url", server.url)]
    command = [sys.executable, "-c", code, "-i", batch.input, "-o", batch.output, "--in-flight", "64", *urls]
    hold_at(batch.servers, 100)
    process = subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while batch.asked < 100:
        time.sleep(0.01)
    for server in batch.servers:
        server.stop()
    stopped = time.monotonic()
    _, err = process.communicate(timeout=180)
    assert process.returncode == 3, err
    assert time.monotonic() - stopped < 60, "not the patience of a usual run, which is five minutes"
    assert len(lines(batch.output)) + len(lines(batch.failed)) < 2000
    assert len(lines(batch.failed)) <= 64


@pytest.mark.parametrize("text", ["[" * 50_000, "9" * 5000, '"' + "x" * 100])
def test_degenerate_structured_replies_are_failures_not_crashes(batch, text):
    form = {"type": "json_schema", "json_schema": {"name": "label", "schema": SCHEMA}}
    good = iter(['{"label":"a"}'] * 3)
    for server in batch.servers:

        async def reply(request, body):
            from aiohttp import web

            return web.json_response(chat_reply(next(good, text)))

        server.handler = reply
    write(batch.input, [row(n, response_format=form) for n in range(6)])
    done = batch.run("--in-flight", "1")
    assert done.returncode == 1, done.stderr
    assert {f["error"]["code"] for f in lines(batch.failed)} == {"schema"}
    assert len(lines(batch.output)) == 3


def test_every_choice_must_fit_the_schema_not_only_the_first(batch):
    form = {"type": "json_schema", "json_schema": {"name": "label", "schema": SCHEMA}}

    async def reply(request, body):
        from aiohttp import web

        both = chat_reply('{"label":"a"}')
        both["choices"].append(chat_reply('{"lab', "length")["choices"][0])
        return web.json_response(both)

    for server in batch.servers:
        server.handler = reply
    write(batch.input, [row(0, response_format=form, n=2)])
    assert batch.run().returncode == 1
    assert [f["error"]["code"] for f in lines(batch.failed)] == ["truncated"]


def test_an_output_that_cannot_be_written_is_exit_2_without_a_traceback(batch):
    write(batch.input, [row(0)])
    (batch.folder / "folder.jsonl").mkdir()
    (batch.folder / "file").write_text("x")
    for output in (batch.folder / "folder.jsonl", batch.folder / "file" / "answers.jsonl"):
        batch.output = output
        done = batch.run()
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr and str(batch.folder) in done.stderr


def test_a_full_disk_is_exit_4_and_the_same_command_continues(batch):
    write(batch.input, [row(n) for n in range(200)])
    urls = [flag for server in batch.servers for flag in ("--base-url", server.url)]
    command = [sys.executable, "-m", "analyze.batch", "-i", str(batch.input), "-o", str(batch.output), *urls]
    limited = f"ulimit -f 16; trap '' XFSZ; exec {' '.join(command)}"
    done = subprocess.run(["bash", "-c", limited], capture_output=True, text=True, env={**os.environ})
    assert done.returncode == 4, done.stderr
    assert "make room" in done.stderr and "Traceback" not in done.stderr
    kept = len(lines(batch.output))
    assert 0 < kept < 200
    assert batch.run().returncode == 0
    assert len({a["custom_id"] for a in lines(batch.output)}) == 200


def test_control_characters_in_ids_never_reach_the_terminal(batch):
    evil = {**row(0), "custom_id": "a\u001b[2Jb"}
    write(batch.input, [evil])
    batch.run()
    write(batch.input, [{**evil, "body": row(1)["body"]}])
    done = batch.run()
    assert done.returncode == 2
    assert "\x1b" not in done.stderr + done.stdout
    assert "\\x1b[2J" in done.stderr


@pytest.mark.parametrize("flag", ["--update", "--ordered"])
def test_what_reads_the_input_twice_refuses_one_that_can_be_read_once(batch, flag):
    os.mkfifo(batch.input)
    done = batch.run(flag)
    assert done.returncode == 2
    assert "save it as a file" in done.stderr
