"""The six-step pipeline as its user meets it: a command, an output folder, an exit code."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from datetime import datetime
from pathlib import Path

import openai
import pytest

from analyze import MultiVLLMClient, analyze_task, analyze_tasks_concurrent, analyze_tasks_parallel, run_pipeline
from analyze.errors import InputError, MixedRunError
from analyze.judge.labels import DIMENSIONS
from analyze.judge.tasks import task_from_json
from analyze.per_task import Judge, facts_of
from analyze.runs.journal import read_outcomes
from tests.fake_vllm import FakeVLLM, chat_reply, free_port, go_on, hold_at

ROOT = Path(__file__).resolve().parents[1]
TASKS = ROOT / "data/tasks.jsonl"
RECORDS = ["journal.jsonl", "run.json", "tasks.jsonl", "per_task.jsonl", "failed.jsonl", "rejects.jsonl"]
PAGES = ["summary.csv", "tables.xlsx", "report.md", "report.html", "charts"]
CLOUDS = ["wordcloud_zh.png", "wordcloud_zh.svg", "wordcloud_en.png", "wordcloud_en.svg"]


def judged(verdict: str = "4") -> str:
    """A reply of the agreed form."""
    dimensions = {name: {"evidence": "both loop once", "verdict": verdict} for name in DIMENSIONS}
    lists = {f"{what}_{side}": [] for side in "ab" for what in ("strengths", "weaknesses", "issues")}
    reply = {
        "requirements": ["handles an empty list"],
        "analysis_a": "clear",
        "analysis_b": "clear",
        "dimensions": dimensions,
        "strengths_a": lists["strengths_a"],
        "weaknesses_a": ["poor names"],
        "strengths_b": lists["strengths_b"],
        "weaknesses_b": lists["weaknesses_b"],
        "issues_a": ["poor_naming"],
        "issues_b": lists["issues_b"],
        "overall_reason": "A is clearer",
        "overall": verdict,
    }
    return json.dumps(reply)


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def some_tasks(path: Path, count: int = 3) -> Path:
    path.write_text("".join(TASKS.read_text().splitlines(keepends=True)[:count]))
    return path


def on_a_terminal(command: list[str], env: dict[str, str]) -> str:
    """Run a command on a terminal of 100 columns and return what it showed."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    process = subprocess.Popen(command, env={**os.environ, **env}, cwd=ROOT, stdin=its, stdout=its, stderr=its)
    os.close(its)
    shown = b""
    with contextlib.suppress(OSError):  # the terminal is gone when the process is
        while chunk := os.read(ours, 65536):
            shown += chunk
    os.close(ours)
    assert process.wait() == 0, shown.decode()
    return shown.decode()


class Pipeline:
    """Runs `python -m analyze.pipeline` over a few tasks, against given servers or none."""

    def __init__(self, folder: Path, servers: list[FakeVLLM]) -> None:
        self.input, self.out, self.servers = some_tasks(folder / "tasks.jsonl"), folder / "outputs", servers
        self.env: dict[str, str] = {"INPUT_JSONL": str(self.input), "OUTPUT_DIR": str(self.out), "AUDIT_TASKS": "0"}
        if servers:
            self.env["VLLM_ENDPOINTS"] = ",".join(server.url for server in servers)
        else:
            self.env["ANALYZE_ENGINE"] = "measured"

    def start(self, *flags: str, **env: str) -> subprocess.Popen[str]:
        environ = {**os.environ, **self.env, **env}
        command = [sys.executable, "-m", "analyze.pipeline", *flags]
        return subprocess.Popen(
            command, env=environ, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def run(self, *flags: str, **env: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*flags, **env)
        out, err = process.communicate(timeout=300)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def told_to_stop(self, process: subprocess.Popen[str], number: signal.Signals, *, asked: int) -> str:
        """Send a signal when so many cells were asked, and let no more be done before it is heard; return stderr."""
        hold_at(self.servers, asked)
        while self.asked < asked:
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        process.send_signal(number)
        heard = next(line for line in process.stderr if "stops at once" in line)
        go_on(self.servers)
        return heard + process.communicate(timeout=300)[1]

    @property
    def asked(self) -> int:
        return sum(server.asked for server in self.servers)

    @property
    def cells(self) -> int:
        return sum(1 for _ in read_outcomes(self.out / "journal.jsonl"))

    @property
    def manifest(self) -> dict:
        return json.loads((self.out / "run.json").read_text())


@pytest.fixture
def measured(tmp_path: Path) -> Pipeline:
    return Pipeline(tmp_path, [])


@pytest.fixture
def served(tmp_path: Path, fleet: list[FakeVLLM]) -> Pipeline:
    for server in fleet:
        server.reply = judged()
    return Pipeline(tmp_path, fleet)


def test_without_any_server_the_measured_engine_does_all_six_steps(measured):
    done = measured.run()
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in measured.out.iterdir()) == sorted(RECORDS + PAGES + CLOUDS)
    assert "3 tasks = 3 ok + 0 failed; 0 lines rejected" in done.stdout.splitlines()[-1]
    assert f"report: {measured.out / 'report.html'}" in done.stdout
    assert measured.manifest["engine"] == "measured"
    began, ended = (datetime.fromisoformat(measured.manifest[name]) for name in ("started", "finished"))
    assert abs((ended - began).total_seconds() - measured.manifest["seconds"]) <= 1.1, "times are of whole seconds"


def test_in_chinese_the_console_says_the_lines_of_the_users_guide(served):
    done = served.run(ANALYZE_LANG="zh")
    assert done.returncode == 0, done.stderr
    guide = [
        "=" * 60,
        "🚀 开始运行 1vN 代码质量分析 Pipeline",
        "=" * 60,
        "🚀 启用多 vLLM 实例并发模式",
        f"   使用 4 个 vLLM 实例: 端口 {[server.port for server in served.servers]}",
        "",
        "📖 [步骤 1/6] 读取任务数据...",
        "   ✓ 成功读取 3 个任务",
        "",
        "🤖 [步骤 2/6] 调用 LLM 分析任务...",
    ]
    assert done.stdout.splitlines()[: len(guide)] == guide
    assert "分析任务: 3/3" in done.stderr and "成功=3, 失败=0" in done.stderr


def test_on_a_terminal_the_bar_counts_tasks_as_in_the_users_guide(served):
    shown = on_a_terminal([sys.executable, "-m", "analyze.pipeline"], {**served.env, "ANALYZE_LANG": "zh"})
    assert "分析任务: 100%|█" in shown
    assert re.search(r"\| 3/3 \[\d\d:\d\d", shown) and ", 成功=3, 失败=0]" in shown


def test_both_orders_of_every_pair_are_asked_once_and_never_again(served):
    assert served.run().returncode == 0
    tasks = lines(served.out / "tasks.jsonl")
    assert served.asked == served.cells == 2 * sum(len(task["rivals"]) for task in tasks)
    again = served.run()
    assert again.returncode == 0
    assert served.asked == served.cells
    assert f"({served.cells} of them before)" in again.stdout


def test_a_judge_that_always_prefers_the_first_gives_conflict_ties_and_no_winner(served):
    served.run()
    rivals = [rival for task in lines(served.out / "per_task.jsonl") for rival in task["rivals"]]
    assert {(rival["outcome"], rival["tie_kind"]) for rival in rivals} == {("tie", "conflict")}


def test_added_tasks_ask_exactly_what_is_missing(served):
    served.run()
    before = served.asked
    some_tasks(served.input, 4)
    assert served.run().returncode == 0
    added = lines(served.out / "tasks.jsonl")[3]
    assert served.asked == before + 2 * len(added["rivals"])


def test_an_edited_solution_is_refused_unless_update(served):
    served.run()
    before = served.asked
    tasks = lines(served.input)
    tasks[1]["rivals"][0]["code"] += "\n# edited\n"
    served.input.write_text("".join(json.dumps(task) + "\n" for task in tasks))
    refused = served.run()
    assert refused.returncode == 2
    assert "--update" in refused.stderr
    assert served.asked == before
    assert served.run("--update").returncode == 0
    assert served.asked == before + 2
    assert served.cells == before


def test_another_model_is_another_run(served):
    served.run()
    for server in served.servers:
        server.model = "other"
    refused = served.run()
    assert refused.returncode == 2
    assert "'fake-model'" in refused.stderr and "'other'" in refused.stderr
    assert served.run("--force-new").returncode == 0
    (old,) = (served.out / "previous").iterdir()
    assert (old / "report.html").exists() and (old / "journal.jsonl").exists()
    assert served.manifest["model"] == "other"


def test_a_run_goes_on_in_the_judges_language_whatever_the_console_speaks(served):
    served.run(ANALYZE_LANG="zh")
    before = served.asked
    done = served.run(ANALYZE_LANG="en")
    assert done.returncode == 0, done.stderr
    assert served.asked == before


def test_replies_that_cannot_be_used_leave_their_pairs_unscored_and_exit_1(served):
    turn = itertools.count()

    async def moody(request, body):
        from aiohttp import web

        cut = next(turn) % 3 == 0
        return web.json_response(chat_reply(judged()[:40] if cut else judged(), "length" if cut else "stop"))

    for server in served.servers:
        server.handler = moody
    done = served.run()
    assert done.returncode == 1, done.stderr
    failures = lines(served.out / "failed.jsonl")
    assert failures and {failure["kind"] for failure in failures} == {"truncated"}
    assert f"truncated {len(failures)}" in done.stdout
    unscored = sum(task["unscored"] for task in lines(served.out / "per_task.jsonl"))
    assert 0 < unscored <= len(failures)

    asked = served.asked
    served.run()
    assert served.asked == asked, "a permanent failure is not asked again by itself"
    for server in served.servers:
        server.handler = None
    assert served.run("--retry-failed").returncode == 0
    assert lines(served.out / "failed.jsonl") == []


def test_killed_at_any_instant_it_continues_and_ends_the_same(served):
    for server in served.servers:
        server.delay_s = 0.05
    for reached in (4, 12):
        process = served.start("--in-flight", "4")
        while served.asked < reached:
            time.sleep(0.005)
        process.kill()
        process.wait()
    assert served.run("--in-flight", "4").returncode == 0
    ids = [outcome.id for outcome in read_outcomes(served.out / "journal.jsonl")]
    assert len(set(ids)) == len(ids) == served.manifest["counts"]["cells"]
    assert served.asked <= len(ids) + 2 * 4


def test_ctrl_c_ends_with_130_and_the_command_to_continue(served):
    process = served.start("--in-flight", "4")
    err = served.told_to_stop(process, signal.SIGINT, asked=8)
    assert process.returncode == 130
    assert "continue with: python -m analyze.pipeline --in-flight 4" in err
    assert served.cells == served.asked
    assert served.run().returncode == 0
    assert served.asked == served.cells


def test_code_that_holds_a_control_token_of_the_served_model_is_never_sent(served):
    """What the text guard knows is made inert; what only this model's tokenizer has ends the run, before it begins."""
    task = lines(served.input)[0]
    task["target"]["code"] += "\n# <odd-one>\n"
    served.input.write_text(json.dumps(task) + "\n")
    for server in served.servers:
        server.control_tokens = ["<|im_end|>", "<odd-one>"]
    done = served.run()
    assert done.returncode == 2 and served.asked == 0
    assert f"task {task['task_id']}: code of {task['target']['author']} holds <odd-one>" in done.stderr
    for server in served.servers:
        server.control_tokens = ["<|im_end|>"]
    assert served.run().returncode == 0


def test_whether_the_judge_may_be_believed_is_said_before_any_result(served):
    """This one always answers 4: it prefers what it sees first."""
    said = served.run().stdout
    assert said.index("the judge is not qualified") < said.index("win rate")


def test_the_same_code_in_two_languages_is_measured_in_each(measured):
    row = lines(measured.input)[0]
    tasks = [task_from_json(row | {"task_id": language, "language": language}) for language in ("python", "ruby")]
    folded = [list(Judge(order, lang="en").fold({}, facts_of(order))) for order in (tasks, tasks[::-1])]
    assert folded[0] == folded[1][::-1]
    assert folded[0][0]["target"]["facts"] != folded[0][1]["target"]["facts"]


def test_two_runs_at_once_on_one_folder_are_one_too_many(served):
    for server in served.servers:
        server.mode = "hang"
    first = served.start()
    while served.asked == 0:
        time.sleep(0.01)
    second = served.run()
    assert second.returncode == 4
    assert str(first.pid) in second.stderr
    first.kill()
    first.communicate()


def test_use_multi_vllm_false_asks_one_server(served):
    assert served.run(USE_MULTI_VLLM="false").returncode == 0
    assert [server.asked > 0 for server in served.servers] == [True, False, False, False]


def test_no_server_up_is_exit_3_and_nothing_recorded_is_lost(served):
    served.run()
    recorded = (served.out / "journal.jsonl").read_bytes()
    for server in served.servers:
        server.stop()
    started = time.monotonic()
    done = served.run()
    assert done.returncode == 3
    assert time.monotonic() - started < 90, "it does not wait for servers to come"
    for server in served.servers:
        assert server.url in done.stderr
    assert "./start_vllm.sh" in done.stderr and "./check_vllm.sh" in done.stderr
    assert (served.out / "journal.jsonl").read_bytes() == recorded


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no such file"),
        (b"", "empty"),
        (b"\x89PNG\x00\x00\x01", "binary"),
        (b'{"task_id": "a", "prompt": "p", "language": "python", "rivals": []}\n', ":1: "),
        (b"{nope\n", ":1: "),
        (b'{"task_id":"a","prompt":"p","target":{"author":"x"},"rivals":[{"author":"y","code":"1"}]}\n', "code"),
    ],
)
def test_bad_input_is_exit_2_naming_file_and_cure(measured, content, said):
    measured.input.unlink()
    if content is not None:
        measured.input.write_bytes(content)
    done = measured.run()
    assert done.returncode == 2
    assert str(measured.input) in done.stderr and said in done.stderr and "→" in done.stderr
    assert "Traceback" not in done.stderr


def test_skip_bad_lists_bad_lines_and_accounts_for_them(measured):
    measured.input.write_text(measured.input.read_text() + "not json\n")
    done = measured.run("--skip-bad")
    assert done.returncode == 1
    (reject,) = lines(measured.out / "rejects.jsonl")
    assert (reject["line"], reject["raw"]) == (4, "not json")
    assert "1 lines rejected" in done.stdout.splitlines()[-1]


@pytest.mark.parametrize("flag", [("--analyze-engine", "magic"), ("--use-multi-vllm", "perhaps"), ("--nonsense",)])
def test_wrong_use_is_exit_2_with_a_cure(measured, flag):
    done = measured.run(*flag)
    assert done.returncode == 2
    assert "→" in done.stderr and "Traceback" not in done.stderr


def test_from_python_it_returns_a_mapping_of_artefacts(served, tmp_path):
    client = MultiVLLMClient([server.url for server in served.servers])
    paths = run_pipeline(input_jsonl=served.input, output_dir=tmp_path / "out", client=client, audit_tasks=1)
    assert len(json.loads(paths["run"].read_text())["audit"]["tasks"]) == 1
    assert paths["report"] == tmp_path / "out" / "report.html"
    assert {"per_task", "summary", "wordcloud_zh", "run", "report.md"} <= set(paths)
    assert all(path.exists() for path in paths.values())
    assert "report: " in repr(paths) and "model-" in paths._repr_html_()


async def test_it_works_with_a_running_loop_as_in_a_notebook(served, tmp_path):
    client = openai.OpenAI(base_url=served.servers[0].url, api_key="x")
    paths = run_pipeline(served.input, tmp_path / "out", client, model="fake-model", audit_tasks=0)
    assert paths.exit_code == 0
    assert served.servers[0].asked > 0 and served.servers[1].asked == 0


def test_its_errors_are_raised_as_they_are(tmp_path, served):
    with pytest.raises(InputError):
        run_pipeline(tmp_path / "missing.jsonl", tmp_path / "out", engine="measured")
    run_pipeline(served.input, tmp_path / "out", engine="measured")
    client = MultiVLLMClient([server.url for server in served.servers])
    with pytest.raises(MixedRunError, match="engine"):
        run_pipeline(served.input, tmp_path / "out", client)


async def test_single_tasks_are_judged_through_any_client(served):
    client = MultiVLLMClient([server.url for server in served.servers])
    tasks = lines(served.input)
    analysis = analyze_task(tasks[0], "fake-model", client)
    assert analysis is not None and analysis["task_id"] == tasks[0]["task_id"]
    several = analyze_tasks_concurrent(tasks, "fake-model", max_workers=3, client=client)
    assert [a["task_id"] for a in several] == [task["task_id"] for task in tasks]
    parallel = analyze_tasks_parallel(tasks, "fake-model", client=client)
    assert {a["task_id"] for a in parallel} == {task["task_id"] for task in tasks}


def test_a_task_that_cannot_be_judged_is_none_and_the_log_says_why(served, caplog):
    for server in served.servers:
        server.mode = "400"
    client = MultiVLLMClient([server.url for server in served.servers])
    assert analyze_task(lines(served.input)[0], "fake-model", client) is None
    assert "told to say 400" in caplog.text
    assert analyze_tasks_concurrent(lines(served.input), "fake-model", client=client) == []


def test_single_tasks_are_guarded_against_control_tokens_of_the_served_model_too(served):
    tasks = lines(served.input)
    tasks[2]["target"]["code"] += "\n# <odd-one>\n"
    for server in served.servers:
        server.control_tokens = ["<|im_end|>", "<odd-one>"]
    client = MultiVLLMClient([server.url for server in served.servers])
    for analyze_some in (analyze_tasks_concurrent, analyze_tasks_parallel):
        with pytest.raises(InputError, match="holds <odd-one>"):
            analyze_some(tasks, "fake-model", client=client)
    with pytest.raises(InputError, match="holds <odd-one>"):
        analyze_task(tasks[2], "fake-model", client)
    assert served.asked == 0
    assert analyze_task(tasks[0], "fake-model", client) is not None


def test_a_client_that_does_not_tell_its_tokens_is_told_of_once_and_asked_all_the_same(served, caplog):
    client = openai.OpenAI(base_url=served.servers[0].url, api_key="x")
    tasks = lines(served.input)[:2]
    assert all(analyze_task(task, "model-of-a-client", client) is not None for task in tasks)
    assert caplog.text.count("does not show its tokenizer") == 1


def test_the_report_is_rebuilt_from_records_alone(measured):
    measured.run()
    before = (measured.out / "report.html").read_bytes()
    for name in ("report.html", "report.md", "summary.csv", "wordcloud_zh.png"):
        (measured.out / name).unlink()
    done = subprocess.run(
        [sys.executable, "-m", "analyze", "report", str(measured.out)], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert (measured.out / "report.html").read_bytes() == before


def test_the_command_line_lists_its_commands_and_refuses_others():
    for flags, code, said in ((["--help"], 0, "pipeline"), (["--version"], 0, "0."), (["fly"], 2, "'fly'")):
        done = subprocess.run([sys.executable, "-m", "analyze", *flags], capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == code
        assert said in done.stdout + done.stderr


def test_ports_where_nobody_listens_are_named(measured):
    measured.env["ANALYZE_ENGINE"] = "fleet"
    port = free_port()
    done = measured.run(VLLM_PORTS=str(port))
    assert done.returncode == 3
    assert f"http://localhost:{port}/v1" in done.stderr


def test_a_refused_run_leaves_every_file_as_it_was(served):
    served.run()
    before = {path.name: path.read_bytes() for path in served.out.iterdir() if path.is_file()}
    some_tasks(served.input, 1)
    for server in served.servers:
        server.model = "other"
    assert served.run().returncode == 2
    for server in served.servers:
        server.stop()
    assert served.run("--force-new").returncode == 3
    assert {path.name: path.read_bytes() for path in served.out.iterdir() if path.is_file()} == before


def test_the_command_to_continue_does_not_start_afresh(served):
    process = served.start("--in-flight", "4", "--force-new")
    err = served.told_to_stop(process, signal.SIGTERM, asked=4)
    assert process.returncode == 130
    assert "continue with: python -m analyze.pipeline --in-flight 4\n" in err


def test_no_server_is_told_at_once_however_many_solutions_there_are_to_measure(measured):
    measured.env["ANALYZE_ENGINE"] = "fleet"
    tasks = lines(TASKS)
    many = [{**task, "task_id": f"{task['task_id']}-{copy}"} for copy in range(20) for task in tasks]
    measured.input.write_text("".join(json.dumps(task) + "\n" for task in many))
    started = time.monotonic()
    assert measured.run(VLLM_PORTS=str(free_port())).returncode == 3
    assert time.monotonic() - started < 90
