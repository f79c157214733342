"""Annotation by a real vLLM server with a tiny random vision-language model: its boxes are noise, all else is real."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from PIL import Image

from analyze import servers
from analyze.annotate.prompts import constraint
from analyze.servers import ServerSettings, processes
from analyze.servers.private import free_ports
from tests.annotate.pictures import GOOD, TROUBLES, make_pictures

pytestmark = pytest.mark.vllm

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "boxes" / "images"
MODEL = "tiny-vision"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One server with a vision-language model."""
    folder = tmp_path_factory.mktemp("vision")
    model, (port,) = folder / "model", free_ports(1)
    subprocess.run([sys.executable, "-m", "tests.real.tiny_vlm", str(model)], check=True, timeout=600)
    extra = ("--served-model-name", MODEL, "--kv-cache-memory-bytes", "64M", "--limit-mm-per-prompt", '{"image":1}')
    settings = ServerSettings(
        model=str(model),
        ports=(port,),
        device="cpu",
        extra_args=extra,
        max_num_seqs=8,
        log_dir=folder,
        startup_timeout_s=300,
    )
    servers.start(servers.plan(settings, ()).specs)
    try:
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        servers.stop_records(processes.read_records(folder), drain_timeout_s=0)


def annotate(folder: Path, url: str, *flags: str) -> subprocess.Popen[str]:
    files = ["--input", "in.jsonl", "--image-root", "images", "--output", "out.jsonl"]
    asked = ["--api-base", url, "--constrained", "--temperature", "1", "--image-workers", "1", *flags]
    command = [sys.executable, "-m", "analyze.annotate", *files, *asked]
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, cwd=folder, env={**os.environ, "ANALYZE_LANG": "en"}, **pipes)


def rows(path: Path) -> dict[str, Any]:
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return {row["id"]: row for row in map(json.loads, lines)}


def test_real_images_and_every_trap_on_a_real_server_killed_and_continued(server: str, tmp_path: Path) -> None:
    make_pictures(tmp_path / "images")
    names = [*GOOD, *TROUBLES]
    if SHARED.exists():
        shutil.copytree(SHARED, tmp_path / "images" / "blood")
        names += [f"blood/{path.name}" for path in sorted(SHARED.iterdir())]
    for number in range(20):
        Image.effect_noise((300 + number, 200), 80).convert("RGB").save(tmp_path / "images" / f"noise{number}.jpg")
        names.append(f"noise{number}.jpg")
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({"image_path": name}) + "\n" for name in names))

    process = annotate(tmp_path, server, "--max-concurrency", "2")
    give_up_at = time.monotonic() + 900
    while len(rows(tmp_path / "out.jsonl")) < 6:
        assert process.poll() is None and time.monotonic() < give_up_at, process.communicate()[0]
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    kept = rows(tmp_path / "out.jsonl")

    process = annotate(tmp_path, server)
    said, _ = process.communicate(timeout=1200)
    found, failed = rows(tmp_path / "out.jsonl"), rows(tmp_path / "out.jsonl.failed.jsonl")
    assert process.returncode == 1 and said.splitlines()[-1].startswith(f"{len(names)} rows read"), said
    assert {name: row["status"] for name, row in failed.items()} == TROUBLES, [
        row["error"] for row in failed.values() if row["status"] == "error"
    ]
    assert set(found) | set(failed) == set(names) and not set(found) & set(failed)
    assert all(found[name] == row for name, row in kept.items()), "what was recorded before the kill stands"
    schema = jsonschema_rs.validator_for(constraint("norm1000")["response_format"]["json_schema"]["schema"])
    good = [row for row in found.values() if not row["annotations_error"]]
    assert len(good) >= 0.8 * len(found), [row["error"] for row in found.values()]
    for row in good:
        assert schema.is_valid(json.loads(row["vlm_output"])) and row["finish_reason"] == "stop"
        assert row["annotations"]["objects"] == row["objects"] and len(row["objects_px"]) == len(row["objects"])
        for one in row["objects_px"]:
            x1, y1, x2, y2 = one["bbox"]
            assert 0 <= x1 < x2 <= row["image"]["width"] and 0 <= y1 < y2 <= row["image"]["height"]
    for row in found.values():
        assert (row["model"], row["usage"] is None) == (MODEL, row["annotations_error"])
    assert len({row["vlm_output"] for row in found.values()}) > 10, "the server sees the images"
