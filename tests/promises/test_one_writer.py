"""One writer an output: the second run says who holds it, and a dead holder is in nobody's way."""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.promises.conftest import Batch, row, until, write
from tests.promises.warm import Ended, Process

NO_LOCKS = "tests.promises.wrappers:no_locks"
IDLE_LOCKS = "tests.promises.wrappers:idle_locks"


@contextmanager
def at_work(batch: Batch, *first: object) -> Iterator[Process]:
    """A run that has asked all its rows and waits for answers."""
    write(batch.input, [row(number) for number in range(6)])
    for server in batch.servers:
        server.mode = "endless"  # so that no server is taken for one that has stopped, however long this takes
    process = batch.start(first=first)
    try:
        until(lambda: len(batch.asked) >= 6 or process.has_ended)
        assert not process.has_ended, process.err
        yield process
    finally:
        for server in batch.servers:
            server.mode = "ok"
        ended = process.wait()
    assert ended.code in (0, -9), ended.err


def refused_for(process: Process, second: Process) -> None:
    ended = second.wait()
    assert ended.code == 4, ended.err
    assert str(process.pid) in ended.err and "another run" in ended.err and "Traceback" not in ended.err


def said(batch: Batch, ended: Ended) -> str:
    """What stood on the console, without the names of files."""
    return (ended.out + ended.err).replace(str(batch.output), "").lower()


def test_the_second_of_two_runs_names_the_first_and_changes_nothing(batch: Batch) -> None:
    with at_work(batch) as process:
        refused_for(process, batch.start())
        refused_for(process, batch.start("--update"))
    assert len(batch.answers) == 6
    assert len(batch.asked) == 6


def test_of_two_started_at_once_one_runs_and_one_is_refused(batch: Batch) -> None:
    write(batch.input, [row(number) for number in range(20)])
    for server in batch.servers:
        server.mode = "endless"  # the one that runs is not done before the last one has looked
    all_of_them = [batch.start() for _ in range(4)]
    until(lambda: sum(process.has_ended for process in all_of_them) == 3)
    for server in batch.servers:
        server.mode = "ok"
    assert sorted(process.wait().code for process in all_of_them) == [0, 4, 4, 4]
    assert len(batch.answers) == 20
    assert len(batch.asked) == 20


def test_a_killed_holder_is_in_nobodys_way(batch: Batch) -> None:
    with at_work(batch) as process:
        process.kill()
        process.wait()
    assert batch.run().code == 0
    assert len(batch.answers) == 6


def test_a_lock_file_that_nobody_holds_is_none_whoever_it_names(batch: Batch) -> None:
    """After a restart the pid in it may be somebody else's."""
    write(batch.input, [row(1)])
    holder = {"pid": os.getpid(), "host": socket.gethostname(), "started": "2020-01-01T00:00:00+00:00"}
    batch.beside("lock").write_text(json.dumps(holder) + "\n")
    assert batch.run().code == 0


def test_two_runs_in_one_folder_leave_each_others_files_alone(batch: Batch) -> None:
    """Not even where the name of one output begins as the other's."""
    theirs = batch.beside("more.jsonl")
    at_work = theirs.with_name(f".{theirs.name}.run.json.0123abcd.part")
    at_work.write_text("{")
    theirs.write_text("")
    write(batch.input, [row(1)])
    assert batch.run().code == 0
    assert at_work.exists() and theirs.exists()


def test_a_link_to_an_output_is_the_same_output(batch: Batch) -> None:
    with at_work(batch) as process:
        target, batch.output = batch.output, batch.folder / "link.jsonl"
        batch.output.symlink_to(target)
        refused_for(process, batch.start())


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_without_working_locks_the_run_says_so_and_goes_on(batch: Batch, code: int) -> None:
    write(batch.input, [row(number) for number in range(3)])
    ended = batch.run(first=[NO_LOCKS, code])
    assert ended.code == 0, ended.err
    assert "lock" in said(batch, ended), "a second run cannot be kept out, and that is said"
    assert len(batch.answers) == 3


@pytest.mark.parametrize("first", [(NO_LOCKS, errno.ENOLCK), (IDLE_LOCKS,)])
def test_where_locks_do_not_work_a_holder_that_lives_is_still_respected(
    batch: Batch, first: tuple[object, ...]
) -> None:
    with at_work(batch, *first) as process:
        refused_for(process, batch.start(first=first))


@pytest.mark.parametrize("first", [(NO_LOCKS, errno.ENOLCK), (IDLE_LOCKS,)])
def test_without_working_locks_a_holder_that_is_dead_is_in_nobodys_way(batch: Batch, first: tuple[object, ...]) -> None:
    with at_work(batch, *first) as process:
        process.kill()
        process.wait()
    assert batch.run(first=first).code == 0
    assert len(batch.answers) == 6


def test_on_nfs_locks_work(batch: Batch) -> None:
    nfs = "tests.promises.wrappers:nfs_locks"
    with at_work(batch, nfs) as process:
        refused_for(process, batch.start(first=[nfs]))
    assert "lock" not in said(batch, process.wait())


def test_where_locks_work_nothing_is_said_of_them(batch: Batch) -> None:
    write(batch.input, [row(1)])
    assert "lock" not in said(batch, batch.run())
