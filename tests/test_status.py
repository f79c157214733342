"""`analyze runs` in the morning: after a good night, a bad one, and while the run still goes on."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analyze.lang import LANGS, Lang
from analyze.records import Answer, Failure
from analyze.runs.amounts import width
from analyze.runs.lines import BATCH
from analyze.runs.tail import SHARE
from analyze.status import main
from analyze.status_texts import TEXTS
from tests.fake_vllm import FakeVLLM, go_on, hold_at

BODY = {"usage": {"prompt_tokens": 7, "completion_tokens": 3}}


def answers(*rows: str, url: str = "http://h:1/v1") -> bytes:
    return b"".join(BATCH.encode(Answer(row, "0" * 64, BODY, url, 1, 0.5)) for row in rows)


def failures(kind: Any, *rows: str, message: str = "HTTP 500: no") -> bytes:
    return b"".join(BATCH.encode(Failure(row, "0" * 64, kind, message, "http://h:1/v1", 1)) for row in rows)


MANIFEST = {
    "format": 1,
    "job": "batch",
    "started": "2026-11-20T22:14:05Z",
    "finished": None,
    "engine": "fleet",
    "model": "some-model",
    "settings": {"VLLM_PORTS": "8001,8002,8003,8004", "MODEL": None, "ANALYZE_LANG": "en"},
    "input": {"path": "requests.jsonl", "rows": 10},
}


class Output:
    """The files of a run, as somebody left them."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str], name: str = "answers.jsonl") -> None:
        self.path, self._capsys = folder / name, capsys

    def beside(self, ending: str) -> Path:
        return self.path.with_name(f"{self.path.name}.{ending}")

    def has(self, answered: bytes = b"", failed: bytes = b"", **manifest: Any) -> Output:
        self.path.write_bytes(answered)
        self.beside("failed.jsonl").write_bytes(failed)
        self.beside("run.json").write_text(json.dumps({**MANIFEST, **manifest}))
        return self

    def show(self, *flags: str) -> str:
        self._capsys.readouterr()
        assert main([str(self.path), *flags]) == 0
        return self._capsys.readouterr().out

    def json(self) -> dict[str, Any]:
        return json.loads(self.show("--json"))


@pytest.fixture
def output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Output:
    return Output(tmp_path, capsys)


# -- real runs ---------------------------------------------------------------------------------------------------------


class Batch:
    """A real batch over fake servers, whose output is looked at."""

    def __init__(self, output: Output, servers: list[FakeVLLM], rows: int) -> None:
        self.output, self.servers, self.folder = output, servers, output.path.parent
        body = {"messages": [{"role": "user", "content": "hello"}]}
        lines = [
            {"custom_id": f"row-{n}", "method": "POST", "url": "/v1/chat/completions", "body": body}
            for n in range(rows)
        ]
        (self.folder / "requests.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    def start(self, *flags: str) -> subprocess.Popen[str]:
        urls = ",".join(server.url for server in self.servers)
        command = ["-m", "analyze.batch", "-i", "requests.jsonl", "-o", self.output.path.name, *flags]
        environ = {**os.environ, "VLLM_ENDPOINTS": urls}
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=self.folder,
            env=environ,
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return process

    def hold_at(self, process: subprocess.Popen[str], asked: int) -> None:
        """Wait until so many rows were asked, and let none of those in flight be done before `go_on`."""
        hold_at(self.servers, asked)
        while sum(server.asked for server in self.servers) < asked:
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)

    def run_shown(self, command: str) -> int:
        """Type the command that was shown, into a shell of another folder, which has no settings of its own."""
        typed = re.sub(r"\bpython -m", f"{shlex.quote(sys.executable)} -m", command)
        return subprocess.run(typed, shell=True, cwd="/", capture_output=True).returncode


def shown(screen: str, label: str) -> str:
    """Return what stands behind a label."""
    return next(line.split(": ", 1)[1] for line in screen.splitlines() if line.strip().startswith(f"{label}: "))


def test_a_finished_run_says_so_and_asks_for_nothing(output, fleet):
    batch = Batch(output, fleet, rows=40)
    assert batch.start().wait() == 0
    screen = output.show()
    assert screen.startswith(f"{output.path}: batch, finished 2")
    assert "40 of 40 (100 %): 40 ok, 0 invalid, 0 failed, 0 rejected, 0 left" in screen
    assert "280 in, 120 out" in screen and "fake-model (fleet)" in screen
    assert "continue" not in screen and "retry" not in screen
    assert all(server.url.removeprefix("http://").removesuffix("/v1") in screen for server in fleet)
    told = output.json()
    assert (told["state"], told["counts"]["ok"], told["continue"], told["retry_failed"]) == ("finished", 40, None, None)
    assert sum(instance["answers"] for instance in told["instances"]) == 40
    assert all(0 <= instance["idle_s"] <= instance["seconds"] for instance in told["instances"])


def test_a_run_that_goes_on_is_told_without_disturbing_it(output, fleet):
    batch = Batch(output, fleet, rows=200)
    process = batch.start("--in-flight", "8")
    batch.hold_at(process, 30)
    while json.loads(output.beside("run.json").read_text())["input"].get("rows") != 200:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)  # it is written once more when all rows are read, and no file comes or goes from then on
    files = sorted(path.name for path in batch.folder.iterdir())
    told = output.json()
    screen = output.show()
    assert (told["state"], told["holder"]["pid"]) == ("running", process.pid)
    assert 10 <= told["counts"]["ok"] < 200 and told["continue"] is None
    assert f"process {process.pid} on" in screen.splitlines()[0] and "last record" in screen
    assert sorted(path.name for path in batch.folder.iterdir()) == files
    go_on(fleet)
    assert process.wait() == 0, process.stderr.read()
    assert output.json()["counts"]["ok"] == 200


def test_a_killed_run_is_told_and_the_command_shown_continues_it(output, fleet):
    """The servers' addresses were given by the environment, which is gone by the morning."""
    batch = Batch(output, fleet, rows=100)
    process = batch.start("--in-flight", "8")
    batch.hold_at(process, 40)
    process.kill()
    process.wait()
    screen, told = output.show(), output.json()
    assert told["state"] == "killed" and "was killed, or its machine went down" in screen.splitlines()[0]
    assert 20 <= told["counts"]["ok"] < 100
    command = shown(screen, "continue")
    assert command.startswith(f"cd {batch.folder} && VLLM_ENDPOINTS=") and command.endswith("--in-flight 8")
    go_on(fleet)
    assert batch.run_shown(command) == 0
    assert output.json()["counts"]["ok"] == 100
    assert sum(server.asked for server in fleet) <= (100 + 8) * (1 + SHARE), "the last rows may be asked twice"


def test_what_is_left_of_a_run_is_told_while_its_input_is_still_read(output, fleet):
    """No more than 20,000 rows are read ahead."""
    for server in fleet:
        server.delay_s = 0.2
    batch = Batch(output, fleet, rows=40_000)
    process = batch.start("--in-flight", "8")

    def counts() -> dict[str, Any]:
        return output.json()["counts"]

    try:
        until = time.monotonic() + 120
        while not (output.beside("run.json").exists() and counts()["left"]) and time.monotonic() < until:
            time.sleep(0.2)
        assert not counts()["is_exact"]
        assert counts()["all"] == pytest.approx(40_000, rel=0.05)
        assert re.search(r"rows .* of ≈(39|40|41),\d{3} .* ≈(39|40|41),\d{3} left\n", output.show())
    finally:
        process.kill()
        process.wait()
    assert "≈" in output.show() and output.json()["state"] == "killed"


def test_an_interrupted_run_says_what_is_left(output, fleet):
    batch = Batch(output, fleet, rows=400)
    process = batch.start("--in-flight", "8")
    batch.hold_at(process, 40)
    process.send_signal(signal.SIGINT)
    assert any("Ctrl-C stops at once" in line for line in process.stderr)
    go_on(fleet)
    assert process.wait() == 130
    told, screen = output.json(), output.show()
    assert told["state"] == "stopped" and ": batch, stopped 2" in screen
    assert told["counts"]["left"] == told["counts"]["all"] - told["counts"]["ok"] > 0
    assert shown(screen, "continue").endswith("-o answers.jsonl --in-flight 8")


def test_failures_are_told_by_kind_with_an_example_and_the_command_that_asks_them_again(output, fleet):
    for server in fleet:
        server.refuse = lambda body: 400
    batch = Batch(output, fleet, rows=12)
    assert batch.start().wait() == 1
    screen = output.show()
    assert re.search(r"failed +invalid 12, as row-\d+: told to say 400\n", screen)
    assert "0 ok, 12 invalid, 0 failed" in screen
    for server in fleet:
        server.refuse = lambda body: None
    command = shown(screen, "retry failed")
    assert command.endswith(" --retry-failed")
    assert batch.run_shown(command) == 0
    assert "failed   " not in output.show() and output.json()["counts"]["ok"] == 12


# -- what was left behind ----------------------------------------------------------------------------------------------


def test_failures_that_a_later_run_has_made_good_are_none(output):
    output.has(answers("a", "b"), failures("server", "a", "c") + failures("timeout", "c", "d"))
    told = output.json()
    assert {kind: found["count"] for kind, found in told["failures"].items()} == {"timeout": 2}
    assert (told["counts"]["ok"], told["counts"]["failed"], told["counts"]["left"]) == (2, 2, 6)


def test_what_models_and_inputs_said_never_steers_a_terminal(output):
    nasty = "\x1b[2J\u202e\nline two\r" + "x" * 5000
    output.has(failed=failures("server", "row\x1b[31m", message=nasty), model="\x1b]0;m\x07", input={"path": "a\nb"})
    output.beside("rejects.jsonl").write_text(json.dumps({"line": 3, "reason": nasty, "raw": "?"}) + "\n")
    for text in (output.show(), output.show("--json")):
        assert not set(text) & set("\x1b\u202e\r\x07")
    lines = output.show().splitlines()
    assert max(map(len, lines)) < 400 and not any(line.startswith(("line two", "b")) for line in lines)


def test_rejected_lines_are_counted_and_the_first_is_shown(output):
    output.has(answers("a"))
    rejects = [{"file": "r.jsonl", "line": n, "reason": "no JSON: nonsense", "raw": "?"} for n in (3, 7, 8)]
    output.beside("rejects.jsonl").write_text("".join(json.dumps(reject) + "\n" for reject in rejects))
    assert re.search(r"rejected  3, as line 3: no JSON: nonsense\n", output.show())
    assert output.json()["counts"]["rejected"] == 3


def test_without_a_manifest_the_journal_still_tells(output):
    output.path.write_bytes(answers("a", "b") + answers("c", url="http://h:2/v1"))
    screen = output.show()
    assert "3 so far: 3 ok" in screen and "h:2" in screen and "run.json is missing" in screen
    assert output.json()["state"] == "unknown"


@pytest.mark.parametrize(
    "text", ["", '{"format": 1, "job": "ba', "[]", '{"format": 99, "job": "batch"}', '{"format": "x"}']
)
def test_a_manifest_that_cannot_be_read_is_said_and_the_journal_still_tells(output, text):
    output.has(answers("a", "b")).beside("run.json").write_text(text)
    screen = output.show()
    assert "2 so far: 2 ok" in screen and "the manifest cannot be read" in screen


@pytest.mark.parametrize(
    "odd",
    [
        {"counts": {"read": "many", "ok": True, "left": None}, "instances": [None, 3, {"url": 5}, {"url": "u"}]},
        {"settings": "x", "input": "y", "model": 5, "started": "yesterday", "seconds": "long", "command": [1, 2]},
        {"counts": [], "instances": {}, "command": "analyze", "finished": 3, "usage": 7},
    ],
    ids=("counts", "settings", "kinds"),
)
def test_a_manifest_that_holds_nonsense_is_read_as_far_as_it_makes_sense(output, odd):
    output.has(answers("a", "b"), **odd)
    assert "2 ok" in output.show() and output.json()["counts"]["ok"] == 2


def test_runs_of_the_first_version_are_told(output):
    """Its accounts had no word for invalid rows, its instances no measurements."""
    counts = {"read": 5, "ok": 2, "failed": 2, "rejected": 1, "left": 0}
    instances = [{"url": "http://h:1/v1", "answers": 2, "busy_s": 1.0}]
    output.has(
        answers("a", "b"),
        failures("invalid", "c") + failures("server", "d"),
        counts=counts,
        instances=instances,
        finished="2026-11-20T23:14:05Z",
        usage={"prompt_tokens": 14, "completion_tokens": 6},
    )
    output.beside("rejects.jsonl").write_text('{"line": 5, "reason": "no JSON"}\n')
    screen = output.show()
    assert "5 of 5 (100 %): 2 ok, 1 invalid, 1 failed, 1 rejected, 0 left" in screen
    assert "continue: analyze batch -i requests.jsonl -o " in screen, "rows that failed for the moment are asked again"
    assert "h:1           2  100 %" in screen and "idle" not in screen


def test_a_torn_last_line_is_mentioned_unless_somebody_is_writing_it(output):
    output.has(answers("a", "b")[:-9])
    assert "the last line is not whole" in output.show() and output.json()["counts"]["ok"] == 1


def test_answers_of_earlier_executions_are_told_apart_from_what_servers_did_last(output):
    instances = [{"url": "http://h:1/v1", "answers": 1, "busy_s": 1.0, "seconds": 10.0, "idle_s": 4.0}]
    output.has(answers("a", "b", "c"), counts={"read": 3, "ok": 3, "rejected": 0, "left": 0}, instances=instances)
    assert "2 answers are of earlier ones" in output.show()


def test_rows_of_another_input_are_told_apart(output):
    output.has(answers("a", "b", "c"), counts={"read": 1, "ok": 1, "rejected": 0, "left": 0}, finished="x")
    assert "1 of 1 (100 %)" in output.show() and "holds 2 more answers" in output.show()


def test_a_run_on_another_machine_may_run_or_not(output):
    output.has(answers("a")).beside("lock").write_text('{"pid": 7, "host": "box-2", "started": "2026-11-20T22:14:05Z"}')
    assert "process 7 on box-2 runs it since 2026-11-2" in output.show()
    assert output.json()["state"] == "elsewhere"


def test_the_recorded_command_is_shown_with_the_settings_that_came_from_outside(output):
    output.has(
        answers("a"),
        failures("schema", "b"),
        command=["python", "-m", "analyze.batch", "-i", "my requests.jsonl", "--retry-failed", "--vllm-ports=9001"],
        settings={"VLLM_PORTS": "9001", "VLLM_HOST": "box; rm -rf /", "MODEL": None, "ANALYZE_LANG": "zh"},
    )
    screen = output.show()
    plain = "VLLM_HOST='box; rm -rf /' python -m analyze.batch -i 'my requests.jsonl' --vllm-ports=9001"
    assert shown(screen, "continue") == plain
    assert shown(screen, "retry failed") == f"{plain} --retry-failed"


def test_the_command_goes_to_the_folder_where_the_run_was_started_unless_it_is_this_one(output, monkeypatch):
    folder = output.path.parent / "night's work; rm -rf *"
    folder.mkdir()
    output.has(answers("a"), command=["analyze", "batch", "-i", "a b.jsonl"], folder=str(folder), settings={})
    command = "analyze batch -i 'a b.jsonl'"
    assert shown(output.show(), "continue") == f"cd {shlex.quote(str(folder))} && {command}"
    assert output.json()["continue"] == f"cd {shlex.quote(str(folder))} && {command}"
    monkeypatch.chdir(folder)
    assert shown(output.show(), "continue") == command


def test_what_came_by_standard_input_is_to_be_given_again(output):
    output.has(answers("a"), command=["analyze", "batch", "-i", "-", "-o", "a.jsonl"], input={"path": "-"})
    assert "the input came by standard input: give it again" in output.show()
    output.has(answers("a"), input={"path": "-"}, finished="2026-11-20T23:14:05Z")
    assert "standard input" not in output.show(), "nothing is to be continued"


@pytest.mark.parametrize("counts", [None, {"read": 5, "ok": 2, "invalid": 0, "failed": 1, "rejected": 0, "left": 2}])
def test_what_is_left_of_a_run_that_did_not_read_all_of_its_input_is_estimated(output, counts):
    """Of those it had read, two were left."""
    source = {"path": "requests.jsonl", "rows": None, "rows_expected": 1000}
    output.has(answers("a", "b"), failures("server", "c"), input=source, counts=counts)
    assert "3 of ≈1,000 (<1 %): 2 ok, 0 invalid, 1 failed, 0 rejected, ≈997 left" in output.show()
    told = output.json()["counts"]
    assert (told["all"], told["left"], told["is_exact"]) == (1000, 997, False)
    output.has(answers("a", "b"), failures("server", "c"), input={"path": "-", "rows": None}, counts=counts)
    assert "3 so far: 2 ok" in output.show() and " left" not in output.show(), "nobody can know"


def test_a_pipeline_is_told_by_its_folder(tmp_path, capsys):
    output = Output(tmp_path, capsys, "outputs")
    output.path.mkdir()
    (output.path / "journal.jsonl").write_bytes(failures("server", "a", "b") + answers("a", "c", "d"))
    counts = {"cells": 6, "cells_ok": 3, "cells_failed": 1, "cells_left": 2}
    (output.path / "run.json").write_text(json.dumps({**MANIFEST, "job": "pipeline", "counts": counts}))
    screen = output.show()
    assert "outputs: pipeline, stopped" in screen
    assert "4 of 6 (67 %): 3 ok, 0 invalid, 1 failed, 0 rejected, 2 left" in screen
    assert "server 1, as b: HTTP 500: no" in screen
    assert "continue: analyze pipeline" in screen
    ended = counts | {"read": 4, "ok": 2, "failed": 1, "rejected": 1}
    (output.path / "run.json").write_text(json.dumps({**MANIFEST, "job": "pipeline", "counts": ended, "finished": "x"}))
    assert "4 read: 2 ok, 1 failed, 1 rejected" in output.show()


def test_a_folder_of_several_outputs_has_a_line_each(tmp_path, capsys):
    Output(tmp_path, capsys, "night-1.jsonl").has(
        answers("a", "b"), counts={"read": 2, "ok": 2, "rejected": 0, "left": 0}, finished="2026-11-20T23:14:05Z"
    )
    Output(tmp_path, capsys, "night-2.jsonl").has(answers("a"), failures("server", "b"))
    (tmp_path / "night-3.jsonl").write_bytes(answers("a"))
    (tmp_path / "requests.jsonl").write_text('{"custom_id": "a"}\n')
    folder = Output(tmp_path.parent, capsys, tmp_path.name)
    lines = [line.split() for line in folder.show().splitlines()]
    assert lines == [
        ["output", "state", "done", "of", "all", "failed"],
        ["night-1.jsonl", "finished", "2", "2", "0"],
        ["night-2.jsonl", "killed", "2", "10", "1"],
        ["night-3.jsonl", "?", "1", "–", "0"],
    ]
    assert [run["state"] for run in folder.json()["runs"]] == ["finished", "killed", "unknown"]


def test_a_folder_with_one_output_is_that_output(tmp_path, capsys):
    Output(tmp_path, capsys).has(answers("a"))
    assert "answers.jsonl: batch, was killed" in Output(tmp_path.parent, capsys, tmp_path.name).show()


# -- how it is asked ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda path: None,
        lambda path: path.mkdir(),
        lambda path: path.write_text('{"custom_id": "row-1"}\n'),
        lambda path: path.write_bytes(b""),
    ],
    ids=["missing", "empty folder", "requests", "empty file"],
)
def test_what_is_no_output_ends_with_2_and_what_to_give_instead(output, capsys, make: Callable[[Path], object]):
    make(output.path)
    assert main([str(output.path)]) == 2
    said = capsys.readouterr()
    assert said.out == "" and str(output.path) in said.err and "→ give " in said.err


def test_it_is_a_command_of_analyze_and_speaks_both_languages(output):
    output.has(answers("a"), failures("server", "b"))
    said = {}
    for lang in LANGS:
        command = [sys.executable, "-m", "analyze", "runs", output.path, "--lang", lang]
        said[lang] = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "2 of 10 (20 %): 1 ok, 0 invalid, 1 failed, 0 rejected, 8 left" in said["en"]
    assert "10 中的 2（20 %）: 成功 1，无效 0，失败 1，拒收 0，剩余 8" in said["zh"]
    labels = [re.match(r"  (\S+) +", line) for line in said["zh"].split("\n\n")[0].splitlines()[1:]]
    assert len({width(match[0]) for match in labels if match}) == 1, "the labels stand in a column"


def test_every_language_says_the_same():
    def places(lang: Lang) -> dict[str, list[str]]:
        return {name: sorted(re.findall(r"{(\w+)", text)) for name, text in TEXTS[lang].items()}

    assert places("en") == places("zh")
