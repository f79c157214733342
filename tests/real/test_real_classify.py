"""Classification by real vLLM servers: those that run, and servers of its own, which it stops at its end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.real.conftest import RealFleet

pytestmark = pytest.mark.vllm

QUERIES = [f"{number}: what helps against a headache, and how far is it to the moon?" for number in range(100)]


def classify(folder: Path, *flags: str, queries: list[str] = QUERIES, **environ: str) -> subprocess.Popen[str]:
    (folder / "q.txt").write_text("\n".join(queries))
    command = [sys.executable, "-m", "analyze.classify", "--input", "q.txt", *flags]
    return subprocess.Popen(
        command, cwd=folder, env={**os.environ, **environ}, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def ended(process: subprocess.Popen[str], code: int = 0) -> str:
    said, _ = process.communicate(timeout=1200)
    assert process.returncode == code, said
    return said


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def servers_of(folder: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        if process.info["cwd"] == str(folder) and "--served-model-name" in (process.info["cmdline"] or []):
            found.append(process)
    return found


def test_running_servers_classify_a_hundred_texts_and_refuse_one_that_is_too_long(
    real_fleet: RealFleet, tmp_path: Path
) -> None:
    urls = [word for url in real_fleet.urls for word in ("--base-url", url)]
    queries = [*QUERIES[:50], "a headache, and then some. " * 2500, *QUERIES[50:]]
    said = ended(classify(tmp_path, "--output", "out.json", *urls, queries=queries), code=1)
    found = json.loads((tmp_path / "out.json").read_text())
    long = found.pop(50)
    assert (long["label"], long["status"]) == (None, "too_long") and "8192" in long["error"]
    assert [row["query"] for row in found] == QUERIES
    for row in found:
        assert row["label"] in ("medical", "others") and json.loads(row["raw_output"]) == {"label": row["label"]}
        assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert row["confidence"] == row["probabilities"][row["label"]]
    assert len({row["instance"] for row in found}) == 4
    dry = ended(classify(tmp_path, "--output", "dry.json", *urls, "--dry-run", queries=QUERIES[:50]))
    assert f"its prompt has {found[0]['usage']['prompt']:,} tokens" in dry
    assert f"50 would be asked, {sum(row['usage']['prompt'] for row in found[:50]):,} prompt tokens (counted)" in dry
    assert said.splitlines()[-1].startswith("101 rows read: 100 ok")


def test_letters_are_as_probable_to_running_servers_as_to_transformers(real_fleet: RealFleet, tmp_path: Path) -> None:
    """Random weights want something else than any letter, so that all end as failures, with what was read."""
    texts = [f"{n}: {'moon ' * n}= {chr(65 + n) * n}?" for n in range(20)]
    urls = [word for url in real_fleet.urls for word in ("--base-url", url)]
    for output, engine in (("fleet.jsonl", urls), ("hf.jsonl", ["--engine", "hf"])):
        flags = ("--output", output, "--mode", "label-read", "--labels", "a,b,c,d,e,f,g,h", *engine)
        ended(classify(tmp_path, *flags, queries=texts), code=1)
    by_fleet, by_hf = (
        {row["query"]: row for row in rows(tmp_path / f"{name}.jsonl.failed.jsonl")} for name in ("fleet", "hf")
    )
    assert set(by_fleet) == set(by_hf) == set(texts)
    for query, row in by_fleet.items():
        assert (row["status"], row["label"], row["confidence_kind"]) == ("invalid", None, "label_read")
        assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert row["probabilities"] == pytest.approx(by_hf[query]["probabilities"], rel=0.01), "0.2 % seen"
        assert row["label_mass"] == pytest.approx(by_hf[query]["label_mass"], rel=0.01)
        assert max(row["probabilities"].values()) > 1.3 * min(row["probabilities"].values()), "they differ by far more"


def test_servers_of_its_own_are_started_reuse_the_prompt_and_are_gone_at_the_end(tmp_path: Path) -> None:
    flags = ("--output", "out.jsonl", "--max-num-seqs", "16", "--max-model-len", "4096")
    process = classify(tmp_path, *flags, "--in-flight", "1")  # so that there is time to kill it
    until_some(process, tmp_path / "out.jsonl", 5)
    process.send_signal(signal.SIGSTOP)  # it is not over before it has been looked at
    (server,) = servers_of(tmp_path)
    argv = server.cmdline()
    assert argv[argv.index("--max-num-seqs") + 1] == "16" and argv[argv.index("--max-model-len") + 1] == "4096"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    kept = len(rows(tmp_path / "out.jsonl"))
    assert 5 <= kept < 100 and server.is_running()
    said = ended(classify(tmp_path, *flags))
    assert not server.is_running(), "what a killed job left behind is stopped by the next one"
    assert servers_of(tmp_path) == []
    found = rows(tmp_path / "out.jsonl")
    assert sorted(row["query"] for row in found) == sorted(QUERIES)
    (share,) = re.findall(r"prefix cache: (\d+)%", said)
    assert int(share) >= 80
    assert "noise" in said and f"({kept} of them before)" in said


def until_some(process: subprocess.Popen[str], path: Path, count: int) -> None:
    give_up_at = time.monotonic() + 900
    while not path.exists() or path.read_bytes().count(b"\n") < count:
        assert process.poll() is None and time.monotonic() < give_up_at, process.communicate()[0]
        time.sleep(0.02)
