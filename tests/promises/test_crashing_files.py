"""The fault layer itself: careless ways of writing files are found out, and the careful one is not."""

from __future__ import annotations

from tests.promises.crashing_files import Effect, Files, crashes

OLD, NEW = b"old\n", b"new and longer\n"


def left_by(*effects: Effect, start: Files | None = None, blanks: bool = False) -> list[Files]:
    return [crash.files for crash in crashes(start or {"file": OLD}, list(effects), blanks=blanks)]


def create(name: str, file: int = 1) -> Effect:
    return Effect("create", 0, name=name, file=file)


def wrote(data: bytes, start: int = 0, file: int = 1) -> Effect:
    return Effect("write", 0, file=file, start=start, data=data)


SYNC, SYNC_FOLDER = Effect("sync", 0, file=1), Effect("sync_folder", 0, name=".")
RENAME = Effect("rename", 0, name="part", new="file")


def test_a_file_written_in_place_may_be_empty_or_torn() -> None:
    states = left_by(Effect("truncate", 0, name="file", file=1, size=0), wrote(NEW), SYNC)
    assert [state["file"] for state in states] == [OLD, b"", NEW[: len(NEW) // 2], NEW]


def test_a_rename_without_an_fsync_may_leave_an_empty_file() -> None:
    assert {"file": b""} in left_by(create("part"), wrote(NEW), RENAME, SYNC_FOLDER)


def test_a_rename_without_an_fsync_of_the_folder_may_be_undone() -> None:
    *_, last = crashes({"file": OLD}, [create("part"), SYNC_FOLDER, wrote(NEW), SYNC, RENAME, create("other", 2)])
    assert last.files == {"file": NEW, "other": b""}
    assert {"part": NEW, "file": OLD} in left_by(create("part"), SYNC_FOLDER, wrote(NEW), SYNC, RENAME)


def test_a_file_written_beside_and_renamed_is_always_the_old_or_the_new_one() -> None:
    states = left_by(create("part"), wrote(NEW), SYNC, RENAME, SYNC_FOLDER)
    assert {state["file"] for state in states} == {OLD, NEW}


def test_a_new_file_may_vanish_with_all_its_synced_bytes_while_its_folder_is_not_synced() -> None:
    safe, unsafe = left_by(create("new"), wrote(NEW), SYNC), left_by(create("new"), SYNC_FOLDER, wrote(NEW), SYNC)
    assert {"file": OLD} in safe and {"file": OLD} in unsafe
    crashes_at_the_end = [c for c in crashes({"file": OLD}, [create("new"), SYNC_FOLDER, wrote(NEW), SYNC])][-1]
    assert crashes_at_the_end.files == {"file": OLD, "new": NEW}


def test_of_two_unsynced_files_either_may_be_lost() -> None:
    start = {"file": b"", "other": b""}
    opened = [Effect("open", 0, name="file", file=1), Effect("open", 0, name="other", file=2)]
    states = left_by(*opened, wrote(OLD), wrote(OLD, file=2), start=start)
    assert [{"file": a, "other": b} in states for a in (b"", OLD) for b in (b"", OLD)] == [True] * 4


def test_blocks_may_reach_the_disk_in_any_order() -> None:
    opened = Effect("open", 0, name="file", file=1)
    states = left_by(opened, wrote(b"1\n"), wrote(b"2\n", 2), start={"file": b""}, blanks=True)
    assert {"file": b"\0\0" + b"2\n"} in states
