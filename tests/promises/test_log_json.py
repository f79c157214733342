"""With --log-json every line of that stream is one JSON object, whatever happens to the run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fake_vllm import FakeVLLM
from tests.promises.conftest import Batch, row, strictly, until, write


def said(err: str) -> list[dict[str, Any]]:
    """Read the stream as a log collector does."""
    return [strictly(line) for line in err.splitlines()]


def full_disk() -> None:
    """A run that ends with 4 before it has begun."""
    import errno
    import os

    def refuse(fd: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    os.fsync = refuse  # type: ignore[assignment]


def a_bug() -> None:
    import analyze.runs.plan

    analyze.runs.plan.Plan.left_of = None  # type: ignore[assignment,method-assign]


def a_library_that_warns() -> None:
    import logging
    import warnings

    import analyze.runs.plan

    real = analyze.runs.plan.Plan.left_of

    def left_of(*arguments: Any) -> Any:
        warnings.warn("this way is old\nvery old", stacklevel=1)
        logging.getLogger("some.library").error("cannot find %s", "it")
        return real(*arguments)

    analyze.runs.plan.Plan.left_of = left_of  # type: ignore[method-assign]


def test_a_run_that_goes_well(batch: Batch) -> None:
    write(batch.input, [row(number) for number in range(20)])
    ended = batch.run("--log-json")
    assert ended.code == 0
    assert [line["event"] for line in said(ended.err)] == ["end"]


@pytest.mark.parametrize(
    ("rows", "flags", "first", "code", "named"),
    [
        (["no object"], [], None, 2, "requests.jsonl:1"),
        ([row(1)], ["--no-such-flag"], None, 2, "--no-such-flag"),
        ([row(1)], ["--max-time", "soon"], None, 2, "'soon' is no time"),
        ([row(1)], ["--base-url", "http://127.0.0.1:1/v1", "--model", "other"], None, 2, "no server serves 'other'"),
        ([row(1)], [], full_disk, 4, "No space left"),
        ([row(1)], [], a_bug, 70, "this is a bug"),
    ],
    ids=["bad input", "unknown flag", "wrong value", "wrong model", "full disk", "bug"],
)
def test_what_ends_a_run_is_the_last_line(
    batch: Batch, rows: list[Any], flags: list[str], first: Callable[[], None] | None, code: int, named: str
) -> None:
    write(batch.input, rows)
    ended = batch.run("--log-json", *flags, first=[f"{__name__}:{first.__name__}"] if first else [])
    last = said(ended.err)[-1]
    assert (ended.code, last["event"], last["exit_code"]) == (code, "error", code)
    assert named in last["message"]
    assert ("Traceback" in last["traceback"]) if code == 70 else last["cure"]


def test_an_interrupted_run(batch: Batch) -> None:
    write(batch.input, [row(number) for number in range(100)])
    for server in batch.servers:
        server.delay_s = 0.3
    process = batch.start("--log-json", "--in-flight", "4")
    until(lambda: len(batch.asked) > 4)
    process.interrupt()
    ended = process.wait()
    events = [(line["event"], line.get("exit_code")) for line in said(ended.err)]
    assert events == [("note", None), ("end", None), ("error", 130)]
    assert "--log-json" in said(ended.err)[-1]["cure"], "the command that continues"


def test_warnings_of_libraries_and_of_the_file_system(batch: Batch) -> None:
    write(batch.input, [row(number) for number in range(5)])
    for first in ([f"{__name__}:{a_library_that_warns.__name__}"], ["tests.promises.wrappers:no_locks"]):
        Path(batch.output).unlink(missing_ok=True)
        lines = said(batch.run("--log-json", first=first).err)
        assert {line["event"] for line in lines} >= {"warning", "end"}
        texts = " ".join(line.get("text", "") for line in lines)
        assert ("this way is old" in texts and "cannot find it" in texts) or "working locks" in texts


@pytest.mark.parametrize(("lang", "out", "back"), [("en", "is out: ", "is back"), ("zh", "已停用: ", "已恢复")])
def test_a_server_that_goes_and_comes_back(
    batch: Batch, fake: Callable[..., FakeVLLM], lang: str, out: str, back: str
) -> None:
    write(batch.input, [row(number) for number in range(200)])
    batch.servers = [fake(delay_s=0.1), fake(delay_s=0.1)]
    process = batch.start("--log-json", "--in-flight", "4", "--lang", lang)
    until(lambda: len(batch.asked) > 8)
    batch.servers[1].mode = "endless"  # the run is not over before the other one is back
    batch.servers[0].crash()
    until(lambda: process.err.endswith("\n"))
    batch.servers[0].start()
    until(lambda: process.err.count("\n") > 1 or process.has_ended)
    batch.servers[1].mode = "ok"
    ended = process.wait()
    notes = [line["text"] for line in said(ended.err) if line["event"] == "note"]
    assert (ended.code, len(notes)) == (0, 2)
    url = batch.servers[0].url
    assert notes[0].startswith(f"{url} {out}") and notes[1] == f"{url} {back}"
