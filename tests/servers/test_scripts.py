"""The four scripts, run as a user runs them, on machines with a fake `vllm` and a fake `nvidia-smi`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from analyze.servers import processes

from .conftest import PROJECT, Machine

SCRIPTS = ("start_vllm.sh", "stop_vllm.sh", "check_vllm.sh", "run_multi_vllm.sh")
STRUCTURED = '{"backend":"xgrammar","disable_any_whitespace":true}'


def until(condition: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("gpus", "groups", "tensor_parallel"),
    [(8, ["0,1", "2,3", "4,5", "6,7"], "2"), (4, ["0,1", "2,3"], "2"), (2, ["0,1"], "2"), (1, ["0"], "1")],
)
def test_start_pins_one_server_to_each_group_of_gpus(
    machine: Machine, gpus: int, groups: list[str], tensor_parallel: str
) -> None:
    machine.add_gpus(gpus)

    done = machine.script("start_vllm.sh", MODEL="org/model")

    assert done.returncode == 0, done.stderr
    for position, port in enumerate(machine.ports):
        called = machine.called(port)
        if position >= len(groups):
            assert called is None
            continue
        assert called is not None
        assert called["argv"] == [
            *("serve", "org/model", "--host", "127.0.0.1", "--port", str(port), "--max-num-seqs", "6"),
            *("--max-model-len", "8192", "--generation-config", "vllm", "--structured-outputs-config", STRUCTURED),
            *("--shutdown-timeout", "30", "--tensor-parallel-size", tensor_parallel),
            *("--gpu-memory-utilization", "0.96"),
        ]
        env = called["env"]
        assert isinstance(env, dict)
        assert env["CUDA_VISIBLE_DEVICES"] == groups[position]
        assert env["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
        assert env["VLLM_PORT"] == str(20000 + 40 * (port % 250))
        assert env["VLLM_API_KEY"] == "" and env["VLLM_NO_USAGE_STATS"] == "1"
        assert not {"VLLM_PORTS", "VLLM_LOG_DIR", "VLLM_BIND", "VLLM_DEVICE"} & env.keys()
    assert ("instance(s), not 4" in done.stdout) == (gpus < 8)
    assert machine.script("check_vllm.sh").returncode == 0, "ports without a GPU are not expected to answer"


def test_settings_reach_the_server_and_presets_stand_behind_them(machine: Machine) -> None:
    machine.add_gpus(2)
    own = {"MAX_NUM_SEQS": "9", "VLLM_EXTRA_ARGS": "--seed 7 --hf-overrides '{\"a b\": 1}'", "VLLM_API_KEY": "s3cret"}

    done = machine.script("start_vllm.sh", VLLM_PRESET="qwen3-4b", **own)

    assert done.returncode == 0, done.stderr
    called = machine.called(machine.ports[1])
    assert called is not None
    argv = called["argv"]
    assert isinstance(argv, list)
    assert argv[1] == "Qwen/Qwen3-4B-Instruct-2507" and argv[argv.index("--max-num-seqs") + 1] == "9"
    assert argv[argv.index("--tensor-parallel-size") + 1] == "1", "the preset's: so two instances on two GPUs"
    assert argv[-4:] == ["--seed", "7", "--hf-overrides", '{"a b": 1}']
    assert called["env"]["VLLM_API_KEY"] == "s3cret"  # type: ignore[index]  # recorded JSON
    assert "s3cret" not in str(argv) + done.stdout + machine.logs.joinpath("vllm_01.log").read_text()


def test_the_first_server_answers_before_the_others_are_launched(machine: Machine) -> None:
    machine.add_gpus(8)
    machine.hold()

    start = machine.spawn(str(PROJECT / "start_vllm.sh"), MODEL="m")
    until(lambda: machine.called(machine.ports[0]))
    time.sleep(0.5)  # two looks of the start: time to do wrong
    assert machine.called(machine.ports[1]) is None
    machine.release()
    start.communicate()

    assert start.returncode == 0
    assert all(machine.called(port) for port in machine.ports)


def test_a_second_start_finds_the_servers_up_and_launches_nothing(machine: Machine) -> None:
    machine.add_gpus(4)
    machine.script("start_vllm.sh", MODEL="m")
    before = [machine.record(number).pid for number in (1, 2)]

    done = machine.script("start_vllm.sh", MODEL="m")

    assert done.returncode == 0 and done.stdout.count("already running, serves m") == 2
    assert [machine.record(number).pid for number in (1, 2)] == before


def test_a_start_beside_another_start_waits_for_the_servers_of_that_one(machine: Machine) -> None:
    machine.add_gpus(2)
    machine.hold()
    first = machine.spawn(str(PROJECT / "start_vllm.sh"), MODEL="m")
    until(lambda: (machine.logs / "vllm_01.pid").exists())

    second = machine.spawn(str(PROJECT / "start_vllm.sh"), MODEL="m")
    assert second.stdout is not None
    said = f"another start has launched it (pid {machine.record(1).pid})"
    until(lambda: second.stdout is not None and said in second.stdout.readline())
    machine.release()
    first.communicate(), second.communicate()

    assert (first.returncode, second.returncode) == (0, 0)


def test_another_model_than_the_one_running_is_refused_not_mixed(machine: Machine) -> None:
    machine.add_gpus(2)
    machine.script("start_vllm.sh", MODEL="m")

    done = machine.script("start_vllm.sh", MODEL="other")

    assert done.returncode == 2
    assert f"port {machine.ports[0]} already serves m, not other" in done.stderr
    assert processes.alive(machine.record(1))


def test_dry_run_prints_commands_that_a_shell_can_run_and_starts_nothing(machine: Machine) -> None:
    machine.add_gpus(8)

    done = machine.script("start_vllm.sh", "--dry-run", MODEL="my model", VLLM_API_KEY="s3cret")

    assert done.returncode == 0 and not machine.logs.exists()
    assert done.stderr == "" and "s3cret" not in done.stdout and done.stdout.count('VLLM_API_KEY="$VLLM_API_KEY"') == 4
    machine.tell("die", "enough")
    machine.run("bash", "-c", done.stdout.splitlines()[1], VLLM_API_KEY="k")
    called = machine.called(machine.ports[1])
    assert called is not None and called["argv"][1] == "my model"  # type: ignore[index]  # recorded JSON
    assert called["env"]["CUDA_VISIBLE_DEVICES"] == "2,3" and called["env"]["VLLM_API_KEY"] == "k"  # type: ignore[index]


@pytest.mark.parametrize("last_words", ["torch.OutOfMemoryError: CUDA out of memory.", "\x1b]0;x\x07boom"])
def test_a_server_that_dies_ends_the_start_at_once_with_the_end_of_its_log(machine: Machine, last_words: str) -> None:
    machine.add_gpus(8)
    machine.tell("die", last_words)

    done = machine.script("start_vllm.sh", MODEL="m")  # a start may take half an hour, this call a tenth of it

    assert done.returncode == 1
    assert "server 1 (port" in done.stderr and "exit code 1" in done.stderr and "loading m" in done.stderr
    assert "\x1b" not in done.stderr
    if "CUDA" in last_words:
        assert "CUDA out of memory" in done.stderr and "GPU_MEMORY_UTILIZATION=0.90" in done.stderr
    assert not list(machine.logs.glob("*.pid"))


def test_when_one_of_the_others_dies_those_started_before_it_are_stopped(machine: Machine) -> None:
    machine.add_gpus(8)
    machine.hold()
    start = machine.spawn(str(PROJECT / "start_vllm.sh"), MODEL="m")
    until(lambda: "loading" in _text(machine.logs / "vllm_01.log"))
    machine.tell("die", "bad luck")  # what the next ones find
    machine.release()

    output, _ = start.communicate()

    assert start.returncode == 1 and "bad luck" in output
    assert (machine.told / f"{machine.ports[0]}.term").exists()
    assert not list(machine.logs.glob("*.pid"))


def test_a_server_that_never_answers_ends_the_start_when_its_time_is_over(machine: Machine) -> None:
    machine.add_gpus(1)
    machine.hold()

    done = machine.script("start_vllm.sh", MODEL="m", STARTUP_TIMEOUT_S="1")

    assert done.returncode == 1 and "does not answer after 1 s" in done.stderr
    assert not list(machine.logs.glob("*.pid"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_start_stops_what_it_started(machine: Machine, number: signal.Signals) -> None:
    machine.add_gpus(2)
    machine.hold()
    start = machine.spawn(str(PROJECT / "start_vllm.sh"), MODEL="m")
    until(lambda: machine.called(machine.ports[0]))

    start.send_signal(number)
    start.communicate()

    assert start.returncode == 128 + number
    assert not list(machine.logs.glob("*.pid"))


def test_a_port_held_by_something_else_is_an_error_that_names_its_process(machine: Machine) -> None:
    machine.add_gpus(2)
    with HTTPServer(("127.0.0.1", machine.ports[0]), BaseHTTPRequestHandler) as other:  # answers 501 to all
        Thread(target=other.serve_forever, daemon=True).start()
        done = machine.script("start_vllm.sh", MODEL="m", VLLM_PORTS=str(machine.ports[0]))
        other.shutdown()

    assert done.returncode == 2
    assert f"port {machine.ports[0]} is taken" in done.stderr and str(os.getpid()) in done.stderr


def test_a_vllm_that_answers_already_is_used_and_left_running(machine: Machine, tmp_path: Path) -> None:
    machine.add_gpus(4)
    other = Machine(tmp_path / "other", machine.ports)
    other.add_gpus(2)
    other.script("start_vllm.sh", MODEL="m")

    started = machine.script("start_vllm.sh", MODEL="m")
    check = machine.script("check_vllm.sh")
    stopped = machine.script("stop_vllm.sh")
    still_there = processes.alive(other.record(1))
    other.clean()

    assert started.returncode == 0 and f"port {machine.ports[0]}: a server not started here answers" in started.stdout
    assert not (machine.logs / "vllm_01.pid").exists()
    assert check.returncode == 0 and "ready (not ours)" in check.stdout
    assert still_there and f"port {machine.ports[0]} still answers" in stopped.stdout


def test_stop_waits_for_requests_in_flight_before_it_ends_a_server(machine: Machine) -> None:
    machine.add_gpus(2)
    machine.script("start_vllm.sh", MODEL="m")
    port = machine.ports[0]
    machine.tell(f"{port}.busy", "3")

    stop = machine.spawn(str(PROJECT / "stop_vllm.sh"))
    assert stop.stdout is not None
    assert any("for 3 requests in flight" in line for line in stop.stdout)
    time.sleep(1)
    assert processes.alive(machine.record(1)), "not ended while it is busy"
    machine.tell(f"{port}.busy", "0")
    stop.communicate()

    assert stop.returncode == 0
    assert (machine.told / f"{port}.term").read_text() == "0"


def test_stop_waits_no_longer_than_the_drain_timeout(machine: Machine) -> None:
    machine.add_gpus(2)
    machine.script("start_vllm.sh", MODEL="m")
    machine.tell(f"{machine.ports[0]}.busy", "3")

    done = machine.script("stop_vllm.sh", DRAIN_TIMEOUT_S="1")

    assert done.returncode == 0 and "3 requests still in flight after 1 s" in done.stdout
    assert not processes.listener(machine.ports[0])


def test_a_second_stop_finds_nothing_and_says_so(machine: Machine) -> None:
    machine.add_gpus(2)
    machine.script("start_vllm.sh", MODEL="m")

    first, second = machine.script("stop_vllm.sh"), machine.script("stop_vllm.sh")

    assert (first.returncode, second.returncode) == (0, 0)
    assert "stopped" in first.stdout and "Nothing to stop" in second.stdout


def test_a_worker_that_outlives_its_killed_server_is_ended_by_stop(machine: Machine) -> None:
    machine.add_gpus(2)
    machine.script("start_vllm.sh", MODEL="m", FAKE_WORKER="1")
    record = machine.record(1)
    worker = next(pid for pid in processes.remains(record) if pid != record.pid)
    os.kill(record.pid, signal.SIGKILL)
    until(lambda: not processes.alive(record))
    assert processes.remains(record) == [worker]

    check = machine.script("check_vllm.sh")
    done = machine.script("stop_vllm.sh")

    assert check.returncode == 3 and "dead" in check.stdout and "1 processes left" in check.stdout
    assert done.returncode == 0 and "killed 1 processes" in done.stdout
    assert processes.birth(worker) is None


def test_start_clears_such_a_worker_away_before_it_launches_again(machine: Machine) -> None:
    machine.add_gpus(2)
    machine.script("start_vllm.sh", MODEL="m", FAKE_WORKER="1")
    record = machine.record(1)
    worker = next(pid for pid in processes.remains(record) if pid != record.pid)
    os.kill(record.pid, signal.SIGKILL)
    until(lambda: not processes.alive(record))

    done = machine.script("start_vllm.sh", MODEL="m")

    assert done.returncode == 0 and "1 processes are left of a server that died" in done.stdout
    assert processes.birth(worker) is None and machine.record(1).pid != record.pid
    assert (machine.logs / "vllm_01.log.1").read_text().startswith("# "), "the log of the start before is kept"


def test_a_recycled_pid_is_neither_believed_nor_killed(machine: Machine) -> None:
    machine.add_gpus(2)
    machine.script("start_vllm.sh", MODEL="m")
    pid_file = machine.logs / "vllm_01.pid"
    said = json.loads(pid_file.read_text())
    machine.clean()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True) as stranger:
        pid_file.write_text(json.dumps(said | {"pid": stranger.pid}))  # our record, its pid now another's

        check = machine.script("check_vllm.sh", VLLM_PORTS=str(machine.ports[0]))
        stop = machine.script("stop_vllm.sh")

        assert check.returncode == 3 and "dead" in check.stdout
        assert "Nothing to stop" in stop.stdout and not pid_file.exists()
        assert stranger.poll() is None
        stranger.communicate(b"\n")


def test_a_child_of_a_later_session_under_the_same_pid_is_not_taken_for_an_orphan(machine: Machine) -> None:
    machine.add_gpus(2)
    machine.script("start_vllm.sh", MODEL="m")
    pid_file = machine.logs / "vllm_01.pid"
    said = json.loads(pid_file.read_text())
    machine.clean()
    program = "import subprocess, sys; print(subprocess.Popen(['sleep', '3600'], stdout=subprocess.DEVNULL).pid)"
    leader = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, start_new_session=True)
    child = int(leader.communicate()[0])
    pid_file.write_text(json.dumps(said | {"pid": leader.pid}))

    stop = machine.script("stop_vllm.sh")

    assert "Nothing to stop" in stop.stdout and processes.birth(child)
    os.kill(child, signal.SIGKILL)


def test_check_prints_one_line_an_instance_and_exits_by_how_many_are_ready(machine: Machine) -> None:
    machine.add_gpus(8)
    nothing = machine.script("check_vllm.sh")
    machine.script("start_vllm.sh", MODEL="m")
    machine.tell(f"{machine.ports[2]}.busy", "5")
    all_ready, as_json = machine.script("check_vllm.sh"), machine.script("check_vllm.sh", "--json")
    os.killpg(machine.record(4).pid, signal.SIGKILL)
    until(lambda: not processes.remains(machine.record(4)))
    some = machine.script("check_vllm.sh")

    assert (nothing.returncode, all_ready.returncode, some.returncode) == (3, 0, 1)
    line = all_ready.stdout.splitlines()[3].split()
    assert line == [str(machine.ports[2]), "4,5", str(machine.record(3).pid), "ready", "m", "5", "0", "25.0%"]
    states = json.loads(as_json.stdout)
    assert [state["state"] for state in states] == ["ready"] * 4
    assert states[2]["load"] == {"running": 5, "waiting": 0, "kv_used": 0.25} and states[2]["gpus"] == ["4", "5"]
    assert "dead" in some.stdout.splitlines()[4]


def test_check_waits_until_all_are_ready(machine: Machine) -> None:
    machine.add_gpus(2)
    machine.hold()
    start = machine.spawn(str(PROJECT / "start_vllm.sh"), MODEL="m")
    until(lambda: (machine.logs / "vllm_01.pid").exists())

    early = machine.script("check_vllm.sh")
    patient = machine.spawn(str(PROJECT / "check_vllm.sh"), "--wait", "120")
    machine.release()
    start.communicate(), patient.communicate()

    assert early.returncode == 3 and "starting" in early.stdout
    assert patient.returncode == 0


def test_a_card_that_cannot_be_used_is_an_error_never_the_demo(machine: Machine) -> None:
    (machine.folder / "hardware/dev").mkdir(parents=True)
    (machine.folder / "hardware/dev/nvidia0").touch()

    done = machine.script("start_vllm.sh")

    assert done.returncode == 2 and "seems to be here" in done.stderr and "nvidia-smi" in done.stderr
    assert machine.called(machine.ports[0]) is None


def test_a_model_without_any_gpu_is_an_error_never_the_demo(machine: Machine) -> None:
    done = machine.script("start_vllm.sh", MODEL="org/model")

    assert done.returncode == 2 and "no sign of an NVIDIA GPU" in done.stderr and "VLLM_DEVICE=cpu" in done.stderr


def test_gpus_too_small_for_the_seeds_model_get_presets_that_fit(machine: Machine) -> None:
    machine.add_gpus(2, gib=24)

    done = machine.script("start_vllm.sh")

    assert done.returncode == 2
    assert "qwen3-4b" in done.stderr and "qwen2.5-coder-7b" in done.stderr and "qwen3-30b-a3b" not in done.stderr


def test_a_log_folder_that_cannot_be_written_is_told(machine: Machine) -> None:
    machine.add_gpus(2)

    done = machine.script("start_vllm.sh", MODEL="m", VLLM_LOG_DIR="/proc/none")

    assert done.returncode == 2 and "cannot be written" in done.stderr and "VLLM_LOG_DIR=" in done.stderr


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_is_the_header_comment(machine: Machine, script: str) -> None:
    done = machine.script(script, "--help")

    header = [line.removeprefix("#").removeprefix(" ") for line in (PROJECT / script).read_text().splitlines()[1:]]
    assert done.returncode == 0 and f"Usage: ./{script}" in done.stdout and "Exit code:" in done.stdout
    assert done.stdout.splitlines() == header[: len(done.stdout.splitlines())]
    assert "set -euo" not in done.stdout


def test_the_console_speaks_chinese_when_asked(machine: Machine) -> None:
    machine.add_gpus(2)

    start = machine.script("start_vllm.sh", "--lang", "zh", MODEL="m")
    check = machine.script("check_vllm.sh", ANALYZE_LANG="zh")
    stop = machine.script("stop_vllm.sh", LANG="zh_CN.UTF-8")

    assert (
        "1 个实例就绪" in start.stdout and "端口" in check.stdout and "就绪" in check.stdout and "已停止" in stop.stdout
    )


def test_shellcheck_finds_nothing() -> None:
    program = Path(sys.executable).with_name("shellcheck")
    files = [*SCRIPTS, "scripts/environment.sh"]
    done = subprocess.run([program, "-x", *files], cwd=PROJECT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout


# --- run_multi_vllm.sh ---------------------------------------------------------------------------------------------


def test_a_command_runs_on_the_servers_and_only_those_started_for_it_are_stopped(
    machine: Machine, tmp_path: Path
) -> None:
    machine.add_gpus(4)
    job = "import os; print('JOB', os.environ['VLLM_PORTS'], os.environ['VLLM_HOST'], os.getcwd()); raise SystemExit(7)"
    elsewhere = tmp_path / "别处 else"
    elsewhere.mkdir()

    done = machine.script("run_multi_vllm.sh", "--", "python", "-c", job, cwd=elsewhere, MODEL="m")

    assert done.returncode == 7
    assert f"JOB {machine.ports[0]},{machine.ports[1]} 127.0.0.1 {elsewhere}" in done.stdout
    assert done.stdout.rstrip().endswith(f"ports {machine.ports[0]},{machine.ports[1]}"), (
        "stopping is the last thing said"
    )
    assert not list(machine.logs.glob("*.pid"))


def test_a_command_on_servers_that_are_up_leaves_them_up(machine: Machine) -> None:
    machine.add_gpus(8)
    machine.script("start_vllm.sh", MODEL="m")

    done = machine.script("run_multi_vllm.sh", "--", "true", MODEL="m")

    assert done.returncode == 0 and done.stdout.count("already running, serves m") == 4
    assert machine.script("check_vllm.sh").returncode == 0


def test_terminating_a_run_ends_its_job_and_the_servers_it_started_but_no_other(machine: Machine) -> None:
    machine.add_gpus(4)
    machine.script("start_vllm.sh", MODEL="m", VLLM_PORTS=str(machine.ports[0]))
    ours_before = machine.record(1)
    run = machine.spawn(str(PROJECT / "run_multi_vllm.sh"), "--", "sleep", "600", MODEL="m")
    until(lambda: machine.called(machine.ports[1]))
    until(lambda: b"sleep\x00600" in _children(run.pid))

    run.terminate()
    run.communicate()

    assert run.returncode == 143
    assert processes.alive(ours_before) and not (machine.logs / "vllm_02.pid").exists()


def test_ctrl_c_is_the_jobs_and_the_servers_are_stopped_when_it_has_ended(machine: Machine) -> None:
    machine.add_gpus(2)
    job = "import signal, time\nsignal.signal(2, lambda *_: exit(130))\nprint('up', flush=True)\ntime.sleep(3600)"
    command = [str(PROJECT / "run_multi_vllm.sh"), "--", "python", "-c", job]
    run = subprocess.Popen(
        command, env=machine.env | {"MODEL": "m"}, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert run.stdout is not None
    until(lambda: run.stdout is not None and "up" in run.stdout.readline())

    os.killpg(run.pid, signal.SIGINT)  # as a terminal does: the whole foreground group
    run.communicate()

    assert run.returncode == 130 and not list(machine.logs.glob("*.pid"))


def test_a_second_ctrl_c_while_stopping_waits_for_nothing(machine: Machine) -> None:
    machine.add_gpus(2)
    job = ["sh", "-c", 'until [ -e "$0" ]; do sleep 0.05; done', str(machine.told / "enough")]
    run = machine.spawn(str(PROJECT / "run_multi_vllm.sh"), "--", *job, MODEL="m", DRAIN_TIMEOUT_S="3600")
    until(lambda: machine.called(machine.ports[0]))
    machine.tell(f"{machine.ports[0]}.busy", "3")
    machine.tell("enough", "")
    assert run.stdout is not None
    until(lambda: run.stdout is not None and "in flight" in run.stdout.readline())

    run.send_signal(signal.SIGINT)
    run.communicate(timeout=300)  # the requests are given an hour

    assert run.returncode == 130
    assert not list(machine.logs.glob("*.pid")) and not processes.listener(machine.ports[0])


def test_the_measured_engine_takes_no_servers(machine: Machine) -> None:
    machine.add_gpus(8)

    done = machine.script("run_multi_vllm.sh", "--", "echo", "no servers", ANALYZE_ENGINE="measured")

    assert done.stdout == "no servers\n" and machine.called(machine.ports[0]) is None


def test_servers_elsewhere_are_asked_and_none_is_started(machine: Machine) -> None:
    machine.add_gpus(8)

    done = machine.script("run_multi_vllm.sh", "--", "true", VLLM_ENDPOINTS="http://gpu-box:8000/v1")

    assert done.returncode == 0 and "VLLM_ENDPOINTS names servers elsewhere" in done.stdout
    assert machine.called(machine.ports[0]) is None


def test_a_command_that_is_none_is_refused_before_any_server_starts(machine: Machine) -> None:
    machine.add_gpus(8)

    done = machine.script("run_multi_vllm.sh", "--", "no-such-command", MODEL="m")

    assert done.returncode == 2 and "no-such-command" in done.stderr and machine.called(machine.ports[0]) is None


def _text(file: Path) -> str:
    return file.read_text() if file.exists() else ""


def _children(pid: int) -> bytes:
    return subprocess.run(["ps", "--ppid", str(pid), "-o", "args="], capture_output=True, check=False).stdout.replace(
        b" ", b"\0"
    )
