"""The manifest tells which run it is, and while rows are still read, how many are expected."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from analyze.runs import manifest
from analyze.runs.manifest import new_manifest, read_manifest, rows_kept_current


class Reading:
    """An input of 1,000 rows that is read bit by bit."""

    def __init__(self) -> None:
        self.estimate: float | None = None
        self.is_all_read = False

    def rows(self) -> float | None:
        return self.estimate


async def told(path: Path, rows: object) -> None:
    """Wait until the manifest tells this of its input."""
    async with asyncio.timeout(60):
        while (read_manifest(path) or {"input": {}})["input"].get("rows_expected") != rows:  # noqa: ASYNC110 - a file
            await asyncio.sleep(0.005)


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "FIRST_ROWS_S", 0.01)
    monkeypatch.setattr(manifest, "ROWS_EVERY_S", 0.01)


async def test_rows_are_estimated_until_all_are_read_and_exact_from_then_on(tmp_path: Path) -> None:
    path, run, reading = tmp_path / "run.json", new_manifest("batch", input={"path": "a.jsonl"}), Reading()
    with rows_kept_current(path, run, reading.rows, lambda: reading.is_all_read):
        await asyncio.sleep(0.05)
        assert not path.exists(), "while nothing is known, nothing is told"
        reading.estimate = 1034.4
        await told(path, 1034)
        reading.estimate = 990.0
        await told(path, 990)
        assert run["input"] == {"path": "a.jsonl", "rows_expected": 990, "rows": None}
        reading.estimate, reading.is_all_read = 1000.0, True
        await told(path, 1000)
        written = path.stat().st_mtime_ns
        await asyncio.sleep(0.05)
        assert path.stat().st_mtime_ns == written, "what is known for good is written once"
    assert read_manifest(path) == run and run["input"]["rows"] == 1000


async def test_after_the_run_nothing_more_is_written(tmp_path: Path) -> None:
    path, reading = tmp_path / "run.json", Reading()
    reading.estimate = 5.0
    with rows_kept_current(path, new_manifest("batch", input={}), reading.rows, lambda: False):
        await told(path, 5)
    path.unlink()
    await asyncio.sleep(0.05)
    assert not path.exists()


async def test_a_manifest_that_cannot_be_written_does_not_end_the_run(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path, reading = tmp_path / "file" / "run.json", Reading()
    reading.estimate = 5.0
    with rows_kept_current(path, new_manifest("batch", input={}), reading.rows, lambda: False):
        await asyncio.sleep(0.05)


def test_a_run_is_of_the_folder_that_it_was_started_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert new_manifest("batch")["folder"] == os.getcwd()
    tmp_path.rmdir()
    assert new_manifest("batch")["folder"] is None, "it was removed"
