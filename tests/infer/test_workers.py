"""Worker processes: their rows are answered whatever becomes of them, and none outlives the run. The workers here
know no model; `tests/real` has some that do."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from analyze.errors import NoServerError, ServerError, UsageError
from analyze.infer.workers import WorkersAsker, WorkerSpec
from analyze.records import CHAT_URL, Answer, Failure, Outcome, Request
from analyze.runs.runner import outcomes

STUB = """
import json, os, sys, time
told = json.loads(sys.argv[1])
if told.get("refuse"):
    print(json.dumps({"refused": {"message": "no such model", "cure": "another"}}), flush=True)
    sys.exit(2)
if told.get("break"):
    print("Killed by a broken driver", file=sys.stderr)
    sys.exit(3)
ready = {"name": "stub", "context": 8192, "batch_size": 2, "room": 8}
print(json.dumps({"ready": ready}), flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    print(json.dumps({"began": [asked["n"]]}), flush=True)
    word = asked["body"]["word"]
    if word == "deadly" or (word == "once" and not os.path.exists(told["flag"])):
        open(told["flag"], "a").close()
        os._exit(7)
    time.sleep(told["delay_s"])
    while os.path.exists(told["hold"]):
        time.sleep(0.01)
    if word == "wrong":
        print(json.dumps({"n": asked["n"], "kind": "invalid", "message": "no"}), flush=True)
        continue
    choice = {"index": 0, "message": {"role": "assistant", "content": word.upper()}, "finish_reason": "stop"}
    print(json.dumps({"n": asked["n"], "body": {"choices": [choice], "usage": {"completion_tokens": 1}}}), flush=True)
"""


def specs(folder: Path, count: int = 2, delay_s: float = 0.005, **told: object) -> list[WorkerSpec]:
    stub = folder / "stub.py"
    stub.write_text(STUB)
    told = {"flag": str(folder / "flag"), "hold": str(folder / "hold"), "delay_s": delay_s, **told}
    return [
        WorkerSpec(f"worker-{n}", told, {"STUB": str(folder)}, folder / f"{n}.log", (sys.executable, str(stub)))
        for n in range(1, count + 1)
    ]


def of(folder: Path) -> list[psutil.Process]:
    """Return the workers that live."""
    stub = str(folder / "stub.py")
    return [one for one in psutil.process_iter(["cmdline"]) if stub in (one.info["cmdline"] or [])]


async def asked(asker: WorkersAsker, words: list[str]) -> tuple[dict[str, Outcome], list[str]]:
    """Ask all; return what came of each, and what was said meanwhile."""
    said: list[str] = []
    await asker.start()
    asker.speak(said.append, "en")
    try:
        requests = [[Request(f"{n}", "0" * 64, CHAT_URL, {"word": word}) for n, word in enumerate(words)]]
        return {outcome.id: outcome async for outcome in outcomes(requests, asker)}, said
    finally:
        await asker.aclose()


def texts(found: dict[str, Outcome]) -> Counter[str]:
    return Counter(one.text if isinstance(one, Answer) else one.kind for one in found.values())


async def test_all_workers_answer_and_all_are_gone_at_the_end(tmp_path: Path) -> None:
    asker = WorkersAsker(specs(tmp_path))
    found, said = await asked(asker, ["a"] * 60 + ["wrong"])
    assert texts(found) == {"A": 60, "invalid": 1} and said == [] and asker.model == "stub"
    assert {one.instance for one in found.values()} == {"worker-1", "worker-2"}
    assert of(tmp_path) == []


async def test_a_worker_that_dies_is_started_again_once_and_its_rows_are_answered(tmp_path: Path) -> None:
    asker = WorkersAsker(specs(tmp_path))
    killed: list[int] = []
    (tmp_path / "hold").touch()  # no row is answered before the worker was killed twice

    async def kill_twice() -> None:
        for _ in range(2):
            worker = asker.workers[0]
            while not (worker.is_up and worker.at and worker.process.pid not in killed):  # noqa: ASYNC110 - a process
                await asyncio.sleep(0.01)
            killed.append(worker.process.pid)
            os.kill(killed[-1], signal.SIGKILL)
        (tmp_path / "hold").unlink()

    killing = asyncio.create_task(kill_twice())
    found, said = await asked(asker, ["a"] * 150)
    await killing
    assert texts(found) == {"A": 150}
    assert [line.split(" (")[0] for line in said] == [
        "worker-1 died",
        "worker-1 is started again",
        "worker-1 is back",
        "worker-1 died",
        "worker-1 is not started again: once is enough",
    ]
    assert "killed by SIGKILL" in said[0] and of(tmp_path) == []


async def test_a_row_that_killed_its_worker_once_is_answered_by_another(tmp_path: Path) -> None:
    found, said = await asked(WorkersAsker(specs(tmp_path)), ["a"] * 10 + ["once"] + ["a"] * 10)
    assert texts(found) == {"A": 20, "ONCE": 1} and "exit code 7" in said[0]


async def test_a_row_that_kills_every_worker_is_named_poison_when_the_others_are_done(tmp_path: Path) -> None:
    found, _ = await asked(WorkersAsker(specs(tmp_path, count=3)), ["a"] * 10 + ["deadly"] + ["a"] * 10)
    assert texts(found) == {"A": 20, "poison": 1}
    poison = found["10"]
    assert isinstance(poison, Failure) and not poison.transient


async def test_when_no_worker_is_left_the_run_ends_with_rows_to_ask(tmp_path: Path) -> None:
    with pytest.raises(NoServerError, match="no worker is left"):
        await asked(WorkersAsker(specs(tmp_path, count=1)), ["a", "deadly", "a", "deadly"])
    assert of(tmp_path) == []


@pytest.mark.parametrize(
    ("told", "error", "said"),
    [({"refuse": True}, UsageError, "no such model"), ({"break": True}, ServerError, "Killed by a broken driver")],
)
async def test_a_worker_that_cannot_load_the_model_ends_the_run_with_the_reason(
    tmp_path: Path, told: dict[str, bool], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        await asked(WorkersAsker(specs(tmp_path, **told)), ["a"])
    assert of(tmp_path) == []


def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    """A worker of the real kind, at the reading of its input: what it generates does not keep it."""
    code = (
        "import asyncio, sys, subprocess; from analyze.infer import worker\n"
        "p = subprocess.Popen([sys.executable, '-c', sys.argv[1]], stdin=subprocess.PIPE)\n"
        "print(p.pid, flush=True); p.wait()"
    )
    child = (
        "import asyncio, sys, threading; from analyze.infer import worker\n"
        "loop = asyncio.new_event_loop()\n"
        "threading.Thread(target=worker._read, args=(sys.stdin.buffer, loop, asyncio.Queue()), daemon=True).start()\n"
        "while True: sum(range(10**6))"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, child], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    worker = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    give_up_at = time.monotonic() + 180  # importing what it needs takes seconds
    while lives(worker):
        assert time.monotonic() < give_up_at
        time.sleep(0.05)


def lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # it ended between these two looks
        return False
