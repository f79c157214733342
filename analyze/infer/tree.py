"""Where the files of a run are, and folders that are replaced as a whole. Knows no content.

output/  args.json  report.html
         logs/     main.log  tasks/task_0001.log  completions/task_0001.json  rejected.jsonl  servers/  workers/
         results/  infer/task_0001.jsonl  extract/task_0001.jsonl  text/task_0001.txt  evaluation.json
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from analyze.files import output_errors, sync_folder
from analyze.runs.filejob import Paths

PREVIOUS = "previous"
LOCK = ".lock"


@dataclass(frozen=True, slots=True)
class Tree(Paths):
    """The files of a run; `output` is its folder. Answers and failures stand in the files of one folder (`infer`)."""

    @property
    def answers(self) -> Path:
        return self.infer

    @property
    def failures(self) -> Path:
        return self.infer

    @property
    def rejects(self) -> Path:
        return self.logs / "rejected.jsonl"

    @property
    def manifest(self) -> Path:
        return self.output / "args.json"

    @property
    def lock(self) -> Path:
        return self.output / LOCK

    @property
    def all(self) -> tuple[Path, ...]:
        return self.rejects, self.manifest, self.page, self.evaluation

    @property
    def infer(self) -> Path:
        return self.output / "results" / "infer"

    @property
    def extract(self) -> Path:
        return self.output / "results" / "extract"

    @property
    def text(self) -> Path:
        return self.output / "results" / "text"

    @property
    def evaluation(self) -> Path:
        return self.output / "results" / "evaluation.json"

    @property
    def changed(self) -> Path:
        return self.logs / "changed_answers.jsonl"

    @property
    def page(self) -> Path:
        return self.output / "report.html"

    @property
    def logs(self) -> Path:
        return self.output / "logs"

    @property
    def main_log(self) -> Path:
        return self.logs / "main.log"

    @property
    def completions(self) -> Path:
        return self.logs / "completions"

    @property
    def servers(self) -> Path:
        return self.logs / "servers"

    @property
    def workers(self) -> Path:
        return self.logs / "workers"

    def segment(self, task: int) -> Path:
        return self.infer / f"{name_of(task)}.jsonl"

    def task_log(self, task: int) -> Path:
        return self.logs / "tasks" / f"{name_of(task)}.log"

    def mark(self, task: int) -> Path:
        return self.completions / f"{name_of(task)}.json"

    def make(self) -> None:
        """Make the folders. Raises UsageError, OutputLostError."""
        for folder in (self.infer, self.extract, self.logs / "tasks", self.completions):
            with output_errors(folder):
                folder.mkdir(parents=True, exist_ok=True)

    def restore(self) -> None:
        """Undo what a killed process left half done. Hold the lock."""
        for folder in (self.infer, self.extract, self.text):
            restore_folder(folder)

    def move_away(self) -> Path | None:
        """Move everything into `previous/<UTC time>/`, but for what servers and workers write just now; return that
        folder, None where there was nothing."""
        kept = {self.output / PREVIOUS, self.lock, self.logs, self.servers, self.workers}
        folders = (self.output, self.logs)
        old = [path for folder in folders if folder.is_dir() for path in folder.iterdir() if path not in kept]
        if not old:
            return None
        place = self.output / PREVIOUS / datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%S.%fZ")
        with output_errors(place):
            for path in old:
                there = place / path.relative_to(self.output)
                there.parent.mkdir(parents=True, exist_ok=True)
                path.rename(there)
        return place


def name_of(task: int) -> str:
    """Return the name of the files of a task; tasks are numbered from 1."""
    return f"task_{task:04}"


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Make a folder that takes the place of `path` when the block ends well. Its files are on the disk before.

    Whoever looks sees the old folder or the new one. A process that is killed between two renames leaves `.old`
    behind, which `restore_folder` puts back.
    """
    new, old = _beside(path)
    with output_errors(path):
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        try:
            yield new
            for file in new.iterdir():
                _sync(file)
            sync_folder(new)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise
        if path.exists():
            path.rename(old)
        new.rename(path)
        sync_folder(path.parent)
        shutil.rmtree(old, ignore_errors=True)


def restore_folder(path: Path) -> None:
    """Put back a folder that was about to be replaced, and remove what was to replace it."""
    new, old = _beside(path)
    with output_errors(path):
        if old.exists() and not path.exists():
            old.rename(path)
        for left in (new, old):
            shutil.rmtree(left, ignore_errors=True)


def _beside(path: Path) -> tuple[Path, Path]:
    return path.with_name(f".{path.name}.new"), path.with_name(f".{path.name}.old")


def _sync(file: Path) -> None:
    handle = os.open(file, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
