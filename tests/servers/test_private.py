"""Servers of a job's own: as many as the GPUs allow, started as its flags say, gone when it ends, however it ends."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path

import pytest

from analyze.errors import ServerError
from analyze.servers import Gpu, ServerSettings, plan
from analyze.servers.private import PORTS, free_ports
from tests.servers.conftest import Machine

FLAGS = {
    "--tensor-parallel-size": "2",
    "--gpu-memory-utilization": "0.7",
    "--max-num-seqs": "64",
    "--max-model-len": "2048",
}


@pytest.fixture
def gpus(machine: Machine, tmp_path: Path) -> Machine:
    """A machine with eight GPUs on which nothing says where servers are."""
    for name in ("VLLM_PORTS", "VLLM_LOG_DIR"):
        del machine.env[name]
    machine.add_gpus(8)
    (tmp_path / "q.txt").write_text("\n".join(f"text {number}" for number in range(40)))
    return machine


def classify(machine: Machine, folder: Path, *flags: str, **env: str) -> tuple[int, str]:
    root = str(Path(__file__).parents[2])
    command = [sys.executable, "-m", "analyze.classify", "--input", "q.txt", "--output", "out.json", *flags]
    done = machine.run(*command, cwd=folder, PYTHONPATH=root, **env)
    return done.returncode, done.stdout + done.stderr


def calls(machine: Machine) -> list[dict[str, object]]:
    return [json.loads(path.read_text()) for path in sorted(machine.told.glob("*.json"))]


def test_each_engine_flag_of_a_classification_reaches_every_server(gpus: Machine, tmp_path: Path) -> None:
    code, said = classify(gpus, tmp_path, "--model", "some/model", *(word for pair in FLAGS.items() for word in pair))
    assert code == 0, said
    made = calls(gpus)
    assert len(made) == 4
    assert sorted(call["env"]["CUDA_VISIBLE_DEVICES"] for call in made) == ["0,1", "2,3", "4,5", "6,7"]
    for call in made:
        argv = call["argv"]
        assert argv[:2] == ["serve", "some/model"] and "--enable-prompt-tokens-details" in argv
        assert {flag: argv[argv.index(flag) + 1] for flag in FLAGS} == FLAGS
    rows = json.loads((tmp_path / "out.json").read_text())
    assert [row["query"] for row in rows] == [f"text {number}" for number in range(40)]
    assert {row["label"] for row in rows} == {"medical"} and len({row["instance"] for row in rows}) == 4


def test_no_server_is_started_where_every_text_has_its_record(gpus: Machine, tmp_path: Path) -> None:
    assert classify(gpus, tmp_path, "--model", "some/model")[0] == 0
    started = len(calls(gpus))
    (tmp_path / "out.json").unlink()
    code, said = classify(gpus, tmp_path, "--model", "some/model", "--review", "3")
    assert code == 0 and "nobody is asked" in said, said
    assert len(calls(gpus)) == started
    assert len(json.loads((tmp_path / "out.json").read_text())) == 40 and (tmp_path / "out.json.review.xlsx").exists()


def test_without_flags_it_is_the_seeds_model_on_every_gpu(gpus: Machine, tmp_path: Path) -> None:
    code, said = classify(gpus, tmp_path)
    assert code == 0, said
    made = calls(gpus)
    assert [call["argv"][1] for call in made] == ["Qwen/Qwen2.5-3B-Instruct"] * 8
    for flag, default in (("--max-num-seqs", "256"), ("--max-model-len", "8192"), ("--gpu-memory-utilization", "0.9")):
        assert {call["argv"][call["argv"].index(flag) + 1] for call in made} == {default}


def test_a_start_that_runs_out_of_memory_gives_the_seeds_advice(gpus: Machine, tmp_path: Path) -> None:
    gpus.tell("die", "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB")
    code, said = classify(gpus, tmp_path, "--model", "some/model")
    assert code == 1 and "--gpu-memory-utilization 0.7" in said and "--max-num-seqs" in said
    assert "out of memory" in said and "Traceback" not in said


def test_ports_are_neither_those_that_linux_gives_to_connections_nor_shared_by_vllms_own() -> None:
    """A model loads for minutes: a port that any connection may be given would not always be free after that."""
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    if lowest <= PORTS.start:
        pytest.skip("this machine gives all ports to connections")
    with socket.create_server(("127.0.0.1", free_ports(1)[0])) as taken:
        for _ in range(50):
            ports = free_ports(8)
            assert max(ports) < lowest and taken.getsockname()[1] not in ports
            assert len({internal_ports(port) for port in ports}) == 8


def internal_ports(port: int) -> str:
    (spec,) = plan(ServerSettings(model="m", ports=(port,)), [Gpu("0", "NVIDIA Test", 80, "GPU-0")]).specs
    return spec.env["VLLM_PORT"]


def test_ports_that_are_all_taken_are_told_with_a_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", free_ports(1)[0])) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr("analyze.servers.private.PORTS", range(port, port + 1))
        with pytest.raises(ServerError, match=f"of the ports from {port} to {port} only 0 are free, 2 are needed"):
            free_ports(2)
