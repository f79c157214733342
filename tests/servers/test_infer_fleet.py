"""`analyze infer --model_type vllm`: servers of its own on W x P of the visible GPUs, each started again once."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from analyze.servers import processes
from analyze.servers.private import PrivateFleet
from analyze.servers.settings import ServerSettings
from analyze.servers.texts import SILENT
from tests.servers.conftest import Machine

ROOT = str(Path(__file__).parents[2])


@pytest.fixture
def gpus(machine: Machine) -> Machine:
    for name in ("VLLM_PORTS", "VLLM_LOG_DIR"):
        del machine.env[name]
    machine.add_gpus(4)
    return machine


def command(*flags: str) -> list[str]:
    task = ["--output_path", "out", "--task_name", "basic_example", "--model_path", "some/model"]
    return [sys.executable, "-m", "analyze.infer", *task, *flags]


def infer(machine: Machine, folder: Path, *flags: str, **env: str) -> tuple[int, str]:
    done = machine.run(*command(*flags), cwd=folder, PYTHONPATH=ROOT, **env)
    return done.returncode, done.stdout + done.stderr


def devices(machine: Machine) -> list[str]:
    calls = [json.loads(path.read_text()) for path in sorted(machine.told.glob("*.json"))]
    return sorted(call["env"]["CUDA_VISIBLE_DEVICES"] for call in calls)


@pytest.mark.parametrize(
    ("visible", "wanted"),
    [
        (None, ["0,1", "2,3"]),
        ("3,1,0,2", ["0,2", "3,1"]),
        ("GPU-0002-abcd,GPU-0000,GPU-0003-abcd,GPU-0001", ["2,0", "3,1"]),
    ],
)
def test_each_server_has_its_own_of_the_visible_gpus(
    gpus: Machine, tmp_path: Path, visible: str | None, wanted: list[str]
) -> None:
    env = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    code, said = infer(gpus, tmp_path, "--workers", "2", "--tensor_parallel_size", "2", **env)
    assert code == 0, said
    assert devices(gpus) == wanted and "6 rows read: 6 ok" in said
    lines = (tmp_path / "out/results/infer/task_0001.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["q1", "q2", "q3", "q4", "q5", "q6"]
    assert not list((tmp_path / "out/logs/servers").glob("*.pid"))
    for path in gpus.told.glob("*.json"):
        path.unlink()
    code, said = infer(gpus, tmp_path, "--workers", "1", "--tasks", "3", **env)
    assert code == 0 and "nothing is started" in said and devices(gpus) == []
    assert len(list((tmp_path / "out/results/infer").iterdir())) == 3
    code, said = infer(gpus, tmp_path, "--model_path", "other/model", **env)
    assert code == 2 and "the model was 'some/model', is 'other/model'" in said and devices(gpus) == []


@pytest.mark.parametrize(
    ("visible", "told"),
    [
        (None, "workers * tensor_parallel_size = 3 * 2 = 6 GPUs, but 4 can be used here (GPU 0,1,2,3)"),
        ("0,1,2", "= 3 * 2 = 6 GPUs, but 3 can be used here (CUDA_VISIBLE_DEVICES=0,1,2)"),
        ("0,1,9,2", "= 6 GPUs, but 2 can be used here"),
        ("", "CUDA_VISIBLE_DEVICES='' leaves none of the 4 GPUs here"),
        ("-1", "CUDA_VISIBLE_DEVICES='-1' leaves none of the 4 GPUs here"),
    ],
)
@pytest.mark.parametrize("kind", ["vllm", "hf"])
def test_too_few_gpus_are_told_with_the_arithmetic_before_anything_is_started(
    gpus: Machine, tmp_path: Path, visible: str | None, told: str, kind: str
) -> None:
    env = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    size = ["--workers", "3", "--tensor-parallel-size", "2"] if kind == "vllm" else ["--workers", "6"]
    code, said = infer(gpus, tmp_path, "--model_type", kind, *size, **env)
    told = told if kind == "vllm" else told.replace("3 * 2", "6 * 1")
    assert code == 2 and told in said and "Traceback" not in said
    assert devices(gpus) == [] and not (tmp_path / "out").exists()


def test_where_not_even_one_server_fits_the_cure_is_fewer_gpus_for_each(gpus: Machine, tmp_path: Path) -> None:
    code, said = infer(gpus, tmp_path, "--tensor_parallel_size", "8")
    assert code == 2 and "= 1 * 8 = 8 GPUs, but 4" in said and "→ --tensor_parallel_size 4, or less" in said


def test_on_the_cpu_gpus_are_not_counted(machine: Machine, tmp_path: Path) -> None:
    del machine.env["VLLM_PORTS"]
    code, said = infer(machine, tmp_path, "--workers", "9", "--dry_run", VLLM_DEVICE="cpu")
    assert code == 0, said
    code, said = infer(machine, tmp_path, "--workers", "9")
    assert code == 2 and "--model_type vllm needs a GPU, and there is no sign of one here" in said


def test_a_server_that_dies_is_started_again_once_and_none_is_left(
    gpus: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in gpus.env.items():
        monkeypatch.setenv(name, value)
    settings = ServerSettings(model="some/model", tensor_parallel_size=1, log_dir=tmp_path / "servers")
    heard: list[str] = []

    async def live() -> None:
        fleet = PrivateFleet(settings, SILENT, instances=2)
        fleet.guard()
        await fleet.start()
        keeping = asyncio.create_task(fleet.keep_alive(lambda port, what: heard.append(what)))
        pid_file = sorted(settings.log_dir.glob("*.pid"))[0]
        try:
            for wanted in (["died", "back"], ["died", "back", "stays"]):
                record = processes.read_record(pid_file)
                assert record is not None
                os.killpg(record.pid, signal.SIGKILL)
                async with asyncio.timeout(180):
                    while heard != wanted:  # noqa: ASYNC110 - the fleet looks at its processes now and then
                        await asyncio.sleep(0.05)
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
            await asyncio.to_thread(fleet.stop)

    asyncio.run(live())
    assert not list(settings.log_dir.glob("*.pid"))


def test_ctrl_c_does_not_wait_for_a_server_that_is_still_loading_its_model(gpus: Machine, tmp_path: Path) -> None:
    gpus.hold()
    process = subprocess.Popen(
        command("--workers", "2"), cwd=tmp_path, env={**gpus.env, "PYTHONPATH": ROOT}, stdout=subprocess.DEVNULL
    )
    logs = tmp_path / "out/logs/servers"
    until(lambda: len(processes.read_records(logs)) >= 1)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=300) == 130
    assert not list(logs.glob("*.pid")) and not guards(tmp_path)


def test_servers_are_stopped_when_their_job_is_killed(gpus: Machine, tmp_path: Path) -> None:
    gpus.hold()
    process = subprocess.Popen(
        command("--workers", "2"), cwd=tmp_path, env={**gpus.env, "PYTHONPATH": ROOT}, stdout=subprocess.DEVNULL
    )
    logs = tmp_path / "out/logs/servers"
    until(lambda: len(processes.read_records(logs)) >= 1)
    (record, *_) = processes.read_records(logs).values()
    process.kill()
    process.wait()
    until(lambda: not processes.remains(record) and not list(logs.glob("*.pid")) and not guards(tmp_path))


def guards(folder: Path) -> list[psutil.Process]:
    found = psutil.process_iter(["cmdline", "cwd"])
    return [p for p in found if p.info["cwd"] == str(folder) and "analyze.servers.guard" in (p.info["cmdline"] or [])]


def until(is_so: object, timeout_s: float = 180.0) -> None:
    give_up_at = time.monotonic() + timeout_s
    while not is_so():  # type: ignore[operator]  # a function without arguments
        assert time.monotonic() < give_up_at
        time.sleep(0.05)
