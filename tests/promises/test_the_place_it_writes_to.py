"""Disks that fill up, fail, vanish or may only be read: what was recorded stays, and the same command continues."""

from __future__ import annotations

import asyncio
import builtins
import errno
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from analyze.runs.tail import SHARE
from tests.promises.conftest import Batch, Row, echo, lines, name_of, question, row, strictly, until, write

ROWS = 200
IN_FLIGHT = 8


def mount(*words: str) -> bool:
    return subprocess.run(["mount", *words], capture_output=True).returncode == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if not mount("-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)):
        pytest.skip("mounting a tmpfs needs root")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_on_a_full_disk_it_stops_and_continues_when_there_is_room(
    make_batch: Callable[..., Batch], small_disk: Path
) -> None:
    batch = make_batch(small_disk)
    write(batch.input, [row(number) for number in range(ROWS)])
    stopped = batch.run("--in-flight", str(IN_FLIGHT))
    assert stopped.code == 4, stopped.err
    assert "make room" in stopped.err and str(batch.output) in stopped.err and "Traceback" not in stopped.err
    recorded = batch.answers
    assert 0 < len(recorded) < ROWS
    mount("-o", "remount,size=4m", str(small_disk))
    assert batch.run("--in-flight", str(IN_FLIGHT)).code == 0
    assert batch.answers == {f"row-{n}": f"answer to question {n}" for n in range(ROWS)}
    assert len(batch.asked) <= (ROWS + IN_FLIGHT) * (1 + SHARE), "asked again: only what was in flight, or at the end"


def test_on_a_disk_that_is_full_from_the_start_nothing_is_asked(
    make_batch: Callable[..., Batch], small_disk: Path
) -> None:
    batch = make_batch(small_disk)
    write(batch.input, [row(1)])
    with pytest.raises(OSError, match="No space"):
        (small_disk / "ballast").write_bytes(bytes(2**17))
    stopped = batch.run()
    assert stopped.code == 4, stopped.err
    assert "make room" in stopped.err and "Traceback" not in stopped.err
    assert batch.asked == []
    (small_disk / "ballast").unlink()
    assert batch.run().code == 0


def test_without_room_to_rewrite_the_output_the_old_one_stays_whole(
    make_batch: Callable[..., Batch], small_disk: Path
) -> None:
    batch = make_batch(small_disk)
    rows = [row(number) for number in range(60)]
    write(batch.input, rows)
    assert batch.run().code == 0
    before = batch.answers
    (small_disk / "ballast").write_bytes(bytes(24 * 1024))
    write(batch.input, [row(0, "another question 0"), *rows[1:]])
    stopped = batch.run("--update")
    assert stopped.code == 4, stopped.err
    now = {name_of(line) for line in lines(batch.output)}
    assert now >= set(before) - {"row-0"}, "what is not asked again is still there"
    mount("-o", "remount,size=4m", str(small_disk))
    assert batch.run("--update").code == 0
    assert batch.answers == {**before, "row-0": "answer to another question 0"}
    assert len(batch.asked) <= 60 + 2


def remove(folder: Path) -> None:
    """Remove a folder that somebody is writing to: a file that comes meanwhile is removed with it."""
    until(lambda: shutil.rmtree(folder, ignore_errors=True) or not folder.exists())


def test_when_the_folder_is_removed_it_stops_and_starts_afresh_next_time(batch: Batch) -> None:
    write(batch.input, [row(number) for number in range(400)])
    for server in batch.servers:
        server.delay_s = 0.1
    process = batch.start("--in-flight", str(IN_FLIGHT))
    until(lambda: len(batch.asked) > 3 * IN_FLIGHT)
    remove(batch.folder)
    stopped = process.wait()
    assert stopped.code == 4, stopped.err
    assert str(batch.output) in stopped.err and "removed" in stopped.err and "Traceback" not in stopped.err
    assert len(batch.asked) < 400, "it does not go on for nobody"
    assert not batch.manifest.exists() or not strictly(batch.manifest.read_bytes())["finished"]
    batch.folder.mkdir(exist_ok=True)
    write(batch.input, [row(number) for number in range(20)])
    assert batch.run().code == 0
    assert len(batch.answers) == 20


def test_when_the_folder_is_removed_from_a_short_run_that_is_said_too(batch: Batch) -> None:
    async def once_it_is_removed(request: web.Request, body: Row) -> web.Response:
        while question(body) == "question 1" and batch.folder.exists():  # noqa: ASYNC110 - the test removes it
            await asyncio.sleep(0.01)
        return await echo(request, body)

    for server in batch.servers:
        server.handler = once_it_is_removed
    write(batch.input, [row(number) for number in range(4)])
    process = batch.start("--in-flight", "1")
    until(lambda: len(batch.asked) == 2)
    remove(batch.folder)
    stopped = process.wait()
    assert stopped.code == 4, stopped.err
    assert "Traceback" not in stopped.err


def test_an_output_that_may_only_be_read_is_refused_and_left_alone(
    make_batch: Callable[..., Batch], small_disk: Path
) -> None:
    batch = make_batch(small_disk)
    write(batch.input, [row(number) for number in range(5)])
    assert batch.run().code == 0
    before = {path: path.read_bytes() for path in small_disk.iterdir()}
    write(batch.input, [row(number) for number in range(8)])
    assert mount("-o", "remount,ro", str(small_disk))
    refused = batch.run()
    assert refused.code == 2, refused.err
    assert str(small_disk) in refused.err and "→" in refused.err and "Traceback" not in refused.err
    assert len(batch.asked) == 5
    assert {path: path.read_bytes() for path in small_disk.iterdir()} == before
    assert mount("-o", "remount,rw", str(small_disk))
    assert batch.run().code == 0
    assert len(batch.asked) == 8


@pytest.mark.parametrize("good", [0, 2, 4])
def test_a_disk_that_fails_an_fsync_stops_the_run_and_nothing_recorded_is_lost(batch: Batch, good: int) -> None:
    write(batch.input, [row(number) for number in range(30)])
    for server in batch.servers:
        server.delay_s = 0.05
    stopped = batch.run("--in-flight", "2", first=["tests.promises.wrappers:failing_fsync", good])
    assert stopped.code == 4, stopped.err
    assert "Traceback" not in stopped.err
    assert batch.run().code == 0
    assert len(batch.answers) == 30
    assert len(batch.asked) <= 30 + 2


def failing_disk(code: int, good: int) -> None:
    """Let what is on disk only be read after `good` records, as where a file system has found an error and protects
    itself; `code` is what it says to those who write."""
    write, open_file, count = os.write, builtins.open, 0

    def refuse(name: str | None = None) -> None:
        raise OSError(code, os.strerror(code), *filter(None, [name]))

    def failing_write(fd: int, data: Any) -> int:
        nonlocal count
        count += bytes(data).startswith(b'{"id":"batch_req_')
        return write(fd, data) if count <= good else refuse()  # type: ignore[func-returns-value]

    def failing_open(file: Any, mode: str = "r", *more: Any, **options: Any) -> Any:
        if count > good and set(mode) & set("wxa+"):
            refuse(str(file))
        return open_file(file, mode, *more, **options)

    def failing_sync(fd: int) -> None:
        if count > good:
            refuse()

    os.write, os.fsync, builtins.open = failing_write, failing_sync, failing_open  # type: ignore[assignment]


@pytest.mark.parametrize("code", [errno.EROFS, errno.EIO, errno.EDQUOT, errno.ENOSPC, errno.ESTALE])
@pytest.mark.parametrize("good", [1, 12])
def test_a_disk_that_fails_in_the_middle_stops_the_run_with_work_left(batch: Batch, code: int, good: int) -> None:
    write(batch.input, [row(number) for number in range(30)])
    this_module = f"{__name__}:{failing_disk.__name__}"
    stopped = batch.run("--in-flight", "2", first=[this_module, code, good])
    assert stopped.code == 4, stopped.err
    told = stopped.err.splitlines()[-2:]
    assert told[0].startswith("error: ") and os.strerror(code) in told[0] and "is safe" in told[0]
    assert "run the same command again" in told[1] and "Traceback" not in stopped.err
    assert len(batch.answers) == good
    assert batch.run().code == 0
    assert len(batch.answers) == 30
    assert len(batch.asked) <= 30 + 2


def test_an_output_that_is_a_link_stays_one(batch: Batch) -> None:
    elsewhere = batch.folder / "elsewhere.jsonl"
    elsewhere.touch()
    batch.output.symlink_to(elsewhere)
    write(batch.input, [row(number) for number in range(5, 0, -1)])
    assert batch.run("--ordered").code == 0
    assert batch.output.is_symlink()
    assert [name_of(line) for line in lines(elsewhere)] == [f"row-{n}" for n in range(5, 0, -1)]
