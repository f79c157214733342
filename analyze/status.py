"""`analyze runs OUTPUT`: how a run stands, from its files alone: while it goes on, when it has ended, or was killed.

    manifest, journal, rejects, lock ──> Run ──> a screen, or JSON
Shows what is there, however little, and changes nothing. Knows no server.
"""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

from analyze import settings
from analyze.console import printable
from analyze.errors import EXIT_OK, InputError
from analyze.lang import Lang, language
from analyze.records import TRANSIENT, from_json
from analyze.runs.amounts import columns, percent, span, width
from analyze.runs.command import Parser, add_settings, flags_of, run_command
from analyze.runs.ending import table
from analyze.runs.inputs import STDIN
from analyze.runs.lines import BATCH, record_outcome
from analyze.runs.manifest import Manifest, current_folder, read_manifest
from analyze.runs.survey import Survey, holder_of, survey
from analyze.runs.tally import Part
from analyze.status_texts import TEXTS

T = TypeVar("T")

State = Literal["running", "elsewhere", "finished", "stopped", "killed", "unknown"]
"""`elsewhere`: it has a lock on another machine. `killed`: it began, and its end is written nowhere."""

BESIDE = ("journal.jsonl", "failed.jsonl", "rejects.jsonl", "run.json", "lock")

RETRY = "--retry-failed"
MESSAGE_CHARS = 200
LONGEST_LINE = 1 << 24
ABOUT = "≈"


@dataclass(frozen=True, slots=True)
class Files:
    """Where the files of a run are; `name` is what its user calls it."""

    name: Path
    answers: Path
    failures: Path | None
    rejects: Path
    manifest: Path
    lock: Path
    segments: tuple[Path, ...] = ()  # in place of `answers`, where that is a folder

    @property
    def is_pipeline(self) -> bool:
        return self.failures is None and self.answers.suffix == ".jsonl"


def files_of_job(output: Path) -> Files:
    """Return the files of a job whose output is a file. One that is built at the end has its journal beside it."""
    journal, failures, rejects, manifest, lock = (output.with_name(f"{output.name}.{ending}") for ending in BESIDE)
    return Files(output, journal if journal.exists() else output, failures, rejects, manifest, lock)


def files_of_pipeline(folder: Path) -> Files:
    journal = folder / "journal.jsonl"
    lock = journal.with_name(f"{journal.name}.lock")
    return Files(folder, journal, None, folder / "rejects.jsonl", folder / "run.json", lock)


def files_of_inference(folder: Path) -> Files:
    """Return the files of a job whose output is a folder, and its journal another one in it."""
    journal, logs = folder / "results" / "infer", folder / "logs"
    segments = tuple(sorted(journal.glob("task_*.jsonl")))
    return Files(folder, journal, None, logs / "rejected.jsonl", folder / "args.json", folder / ".lock", segments)


def find(output: Path) -> list[Files]:
    """Return the runs whose output this is: one, or all in a folder. Raises InputError where there is none."""
    if output.is_dir():
        if any((output / name).exists() for name in ("run.json", "journal.jsonl")):
            return [files_of_pipeline(output)]
        if (output / "args.json").exists():
            return [files_of_inference(output)]
        found = [files_of_job(output / name) for name in sorted(set(_names_of_outputs(output)))]
        cure = "give the output of a batch (answers.jsonl), or the OUTPUT_DIR of a pipeline"
        if not found:
            raise InputError("holds no run", path=str(output), cure=cure)
        return found
    files = files_of_job(output)
    if not any(path.exists() for path in (files.answers, files.manifest, files.lock)):
        cure = "give the output of a run (answers.jsonl), or a folder that holds some"
        raise InputError("there is no such output", path=str(output), cure=cure)
    if not files.manifest.exists() and files.answers.exists() and not _is_journal(files.answers):
        raise InputError("was not written by a run", path=str(output), cure="give the file that was given with -o")
    return [files]


def _names_of_outputs(folder: Path) -> Iterator[str]:
    for path in folder.iterdir():
        endings = [ending for ending in BESIDE if path.name.endswith(f".{ending}")]
        if endings:
            yield path.name.removesuffix(f".{endings[0]}")
        elif path.suffix == ".jsonl" and _is_journal(path):
            yield path.name


def _is_journal(path: Path) -> bool:
    """Whether a file begins with a line of ours; what is larger than any line is looked at no further."""
    try:
        with open(path, "rb") as file:
            line = file.readline(LONGEST_LINE)
        if not line.startswith(BATCH.begins):
            record_outcome(line)
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return True


# -- one run -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Counts:
    """How the rows have ended; None where it is not known yet. Of a pipeline these are its judgements.

    Not `is_exact`: not all rows were read, and how many there are is estimated by the bytes that were.
    """

    all: int | None
    ok: int
    invalid: int
    failed: int
    rejected: int
    left: int | None
    is_exact: bool = True

    @property
    def done(self) -> int:
        return self.ok + self.invalid + self.failed + self.rejected


class Run:
    """What the files of one run tell."""

    def __init__(self, files: Files) -> None:
        self.files = files
        self.holder = holder_of(files.lock)
        self.problem: str | None = None  # of the manifest
        self.manifest = self._read_manifest()
        self.survey: Survey = survey(files.segments or files.answers, files.failures)
        self.rejected, self.reject = _rejects(files.rejects)

    def _read_manifest(self) -> Manifest:
        try:
            found = read_manifest(self.files.manifest)
        except (InputError, OSError) as error:
            self.problem = error.reason if isinstance(error, InputError) else str(error)
            return {}
        return {} if found is None else found

    def told(self, kind: type[T], *path: str) -> T | None:
        """Return what the manifest has at this place, None where it has nothing, or nothing of that kind."""
        value: Any = self.manifest
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        return value if isinstance(value, kind) and not (isinstance(value, bool) and kind is not bool) else None

    @property
    def job(self) -> str:
        return self.told(str, "job") or ("pipeline" if self.files.is_pipeline else "batch")

    @property
    def state(self) -> State:
        if self.holder is not None:
            return "running" if self.holder.is_sure else "elsewhere"
        if not self.manifest:
            return "unknown"
        if self.told(str, "finished"):
            return "finished"
        return "stopped" if self.told(dict, "counts") else "killed"

    @property
    def ended_at(self) -> float | None:
        """Return when the run was last heard of, as time.time."""
        with suppress(OSError):
            written_at = self.files.manifest.stat().st_mtime
            return max(written_at, self.survey.written_at or 0.0)
        return self.survey.written_at

    @cached_property
    def counts(self) -> Counts:
        """The account that the run has given at its end, else what its journal holds now."""
        is_pipeline, tally = self.files.is_pipeline, self.survey.tally
        invalid = tally.failed["invalid"] + tally.failed["too_long"]
        failed, rejected = tally.failed.total() - invalid, 0 if is_pipeline else self.rejected
        names = ("cells", "cells_ok", "cells_left") if is_pipeline else ("read", "ok", "left")
        read, ok, left = (self.told(int, "counts", name) for name in names)
        rows, expected = (None if is_pipeline else self.told(int, "input", name) for name in ("rows", "rows_expected"))
        is_all_read = is_pipeline or self.state == "finished" or read == rows
        if read is not None and ok is not None and left is not None and is_all_read:
            return Counts(read, ok, invalid, max(0, read - left - rejected - ok - invalid), rejected, left)
        total = expected if rows is None else rows
        ok = self.survey.tally.ok if ok is None else ok
        done = ok + invalid + failed + rejected
        left = None if total is None else max(0, total - done)
        return Counts(total, ok, invalid, failed, rejected, left, is_exact=rows is not None or total is None)

    @cached_property
    def parts(self) -> list[Part]:
        """What each server did: as measured, where the last execution came to write that down, else by the answers."""
        measured = map(Part.from_json, self.told(list, "instances") or ())
        return [part for part in measured if part is not None] or self.survey.tally.parts()

    @property
    def answers_of_earlier_executions(self) -> int:
        return max(0, self.survey.tally.ok - sum(part.share.answers for part in self.parts)) if self.parts else 0

    @property
    def chosen(self) -> dict[settings.Setting, str]:
        """The settings that are not as they are by default; the language of the console is none of the run's."""
        wanted = (s for s in settings.PIPELINE if s is not settings.ANALYZE_LANG)
        values = {s: self.told(str, "settings", s.env) for s in wanted}
        return {s: value for s, value in values.items() if value is not None and value != s.default}

    # -- what to do next ---------------------------------------------------------------------------------------

    @property
    def to_continue(self) -> str | None:
        """Return the command that asks what is left; None where nothing is, or it runs, or nobody knows the command."""
        may_pass = any(count for kind, count in self.survey.tally.failed.items() if kind in TRANSIENT)
        is_over = self.state == "finished" and not may_pass
        return None if is_over or self.holder is not None else self._command()

    @property
    def to_retry(self) -> str | None:
        """Return the command that asks again what failed for good too."""
        has_failed = any(count for kind, count in self.survey.tally.failed.items() if kind not in TRANSIENT)
        return self._command(RETRY) if has_failed and self.holder is None else None

    def _command(self, *more: str) -> str | None:
        """Return the recorded command, with the settings that its environment gave; else one that does the same. It is
        for the folder that the run was started in, and goes there first."""
        folder, typed = self.told(str, "folder"), self._command_there(*more)
        is_elsewhere = folder is not None and folder != current_folder()
        return f"cd {shlex.quote(folder)} && {typed}" if typed and folder and is_elsewhere else typed

    def _command_there(self, *more: str) -> str | None:
        chosen = self.chosen
        recorded = self.told(list, "command")
        if recorded and all(isinstance(word, str) for word in recorded):
            argv = [word for word in recorded if word != RETRY]
            given = {word.partition("=")[0] for word in argv}
            environ = [f"{s.env}={shlex.quote(value)}" for s, value in chosen.items() if s.flag not in given]
            return " ".join([*environ, shlex.join([*argv, *more])])
        source = self.told(str, "input", "path")
        if self.job not in ("batch", "pipeline") or source is None:
            return None
        files = ["-i", source, "-o", str(self.files.name.absolute())] if self.job == "batch" else []
        flags = [word for s, value in chosen.items() for word in (s.flag, value)]
        return shlex.join(["analyze", self.job, *files, *flags, *more])

    def to_json(self) -> dict[str, Any]:
        examples = self.survey.examples
        return {
            "output": str(self.files.name),
            "job": self.job,
            "state": self.state,
            "holder": None if self.holder is None else asdict(self.holder),
            **{key: self.manifest.get(key) for key in ("engine", "model", "started", "finished", "seconds")},
            "settings": self.manifest.get("settings"),
            "input": self.manifest.get("input"),
            "last_written": _utc(self.ended_at),
            "counts": asdict(self.counts),
            "failures": {
                kind: {"count": count, "id": examples[kind].id, "message": examples[kind].message}
                for kind, count in self.survey.tally.failed.most_common()
            },
            "rejects": {"count": self.rejected, "example": self.reject},
            "tokens": self.survey.tally.usage(),
            "instances": [part.to_json() for part in self.parts],
            "answers_of_earlier_executions": self.answers_of_earlier_executions,
            "manifest_problem": self.problem,
            "is_torn": self.survey.is_torn,
            "foreign_lines": self.survey.foreign,
            "continue": self.to_continue,
            "retry_failed": self.to_retry,
        }


def _rejects(path: Path) -> tuple[int, dict[str, Any] | None]:
    """Return how many lines were rejected, and the first of them."""
    try:
        with open(path, "rb") as file:
            first = file.readline()
            count = bool(first) + sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))
    except FileNotFoundError:
        return 0, None
    try:
        example = from_json(first)
    except ValueError:
        example = None
    return count, example if isinstance(example, dict) else None


# -- the screen --------------------------------------------------------------------------------------------------------


def screen(run: Run, lang: Lang) -> list[str]:
    """Return what is shown of one run."""
    texts = TEXTS[lang]
    labels = [(texts[name], line) for name, line in _facts(run, lang) if line]
    wide = max((width(label) for label, _ in labels), default=0)
    facts = [f"  {label}{' ' * (wide - width(label))}  {line}" for label, line in labels]
    commands = [("continue", run.to_continue), ("retry", run.to_retry)]
    told = [f"  {texts[name]}: {command}" for name, command in commands if command]
    if told and run.told(str, "input", "path") == STDIN:
        told.append(f"  {texts['stdin']}")
    blocks = (facts, [f"  {line}" for line in table(run.parts, lang)], told)
    lines = [f"{run.files.name}: {run.job}, {_state(run, lang)}"]
    for block in filter(None, blocks):
        lines += ["", *block] if len(lines) > 1 else block
    return [_inert(line) for line in lines]


def _facts(run: Run, lang: Lang) -> Iterator[tuple[str, str | None]]:
    texts, found = TEXTS[lang], run.survey
    model, engine = run.told(str, "model"), run.told(str, "engine")
    yield "model", f"{model} ({engine})" if model and engine else model or engine
    yield "input", run.told(str, "input", "path")
    yield "settings", ", ".join(f"{s.env}={value}" for s, value in run.chosen.items())
    yield from _rows(run, lang)
    for kind, count in found.tally.failed.most_common():
        example = found.examples[kind]
        yield (
            "failures",
            texts["failure"].format(kind=kind, count=count, id=example.id, message=_short(example.message)),
        )
    if run.rejected:
        told = run.reject or {}
        line, reason = told.get("line"), _short(str(told.get("reason")))
        yield "rejects", texts["reject"].format(count=run.rejected, line=line, reason=reason)
    tokens = found.tally.usage()
    if any(tokens.values()):
        prompt, completion = tokens.values()
        yield "tokens", texts["token_counts"].format(prompt=prompt, completion=completion)
    yield "time", _time(run, lang)
    for note in _notes(run, texts):
        yield "note", note


def _rows(run: Run, lang: Lang) -> Iterator[tuple[str, str]]:
    texts, counts = TEXTS[lang], run.counts
    is_pipeline = run.files.is_pipeline
    tasks = run.told(dict, "counts") or {}
    if is_pipeline and all(isinstance(tasks.get(name), int) for name in ("read", "ok", "failed", "rejected")):
        yield "tasks", texts["task_kinds"].format_map(tasks)
    about = "" if counts.is_exact else ABOUT
    kinds = texts["kinds"].format_map(asdict(counts))
    if counts.left is not None:
        kinds += texts["left"].format(about=about, left=counts.left)
    share = percent(counts.done / counts.all) if counts.all else "–"
    form = texts["so_far" if counts.all is None else "of_all"]
    said = form.format(done=counts.done, about=about, all=counts.all, share=share, kinds=kinds)
    yield "cells" if is_pipeline else "rows", said


def _time(run: Run, lang: Lang) -> str | None:
    texts, started = TEXTS[lang], _local(run.told(str, "started"))
    if run.holder is not None:
        written_at = run.survey.written_at
        passed_s = None if written_at is None else max(0.0, time.time() - written_at)
        return None if passed_s is None else texts["heard"].format(span=span(passed_s, lang))
    seconds = run.told(float, "seconds") or run.told(int, "seconds")
    asking = texts["asking"].format(span=span(seconds, lang)) if seconds else None
    ended = _local(_utc(run.ended_at))
    from_to = None
    if started and ended:
        day = started.partition(" ")[0] + " "
        from_to = texts["from_to"].format(started=started, ended=ended.removeprefix(day))
    return texts["comma"].join(filter(None, (from_to, asking))) or None


def _state(run: Run, lang: Lang) -> str:
    holder, ended = run.holder, _local(_utc(run.ended_at))
    if holder is None:
        return TEXTS[lang][run.state].format(ended=_local(run.told(str, "finished")) or ended)
    began = _seconds(holder.started)
    since = "–" if began is None else span(max(0.0, time.time() - began), lang)
    started = _local(holder.started) or "–"
    return TEXTS[lang][run.state].format(started=started, span=since, pid=holder.pid, host=holder.host)


def _notes(run: Run, texts: Mapping[str, str]) -> Iterator[str]:
    if run.problem is not None:
        yield texts["bad_manifest"].format(problem=run.problem)
    elif not run.manifest:
        yield texts["no_manifest"].format(path=run.files.manifest)
    if run.survey.foreign:
        yield texts["foreign"].format(count=run.survey.foreign)
    if run.survey.is_torn and run.holder is None:
        yield texts["torn"]
    if run.answers_of_earlier_executions:
        yield texts["earlier"].format(count=run.answers_of_earlier_executions)
    if (more := run.survey.tally.ok - run.counts.ok) > 0:
        yield texts["more"].format(count=more)


def overview(runs: Sequence[Run], lang: Lang) -> list[str]:
    """Return a line a run, for a folder of several."""
    texts = TEXTS[lang]
    rows = [texts["head"].split("|")]
    for run in runs:
        counts = run.counts
        total = "–" if counts.all is None else f"{'' if counts.is_exact else ABOUT}{counts.all:,}"
        numbers = [f"{counts.done:,}", total, f"{counts.invalid + counts.failed:,}"]
        rows.append([run.files.name.name, texts[f"state_{run.state}"], *numbers])
    return [_inert(line) for line in columns(rows)]


def _inert(line: str) -> str:
    return printable(line).replace("\n", "\\n")


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= MESSAGE_CHARS else text[: MESSAGE_CHARS - 1] + "…"


def _seconds(text: str | None) -> float | None:
    try:
        return datetime.fromisoformat(text or "").timestamp()
    except ValueError:
        return None


def _utc(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _local(text: str | None) -> str | None:
    """Return a time of a manifest as the clock on the wall shows it; what is none, as it is."""
    seconds = _seconds(text)
    return text if seconds is None else datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")


# -- the command -------------------------------------------------------------------------------------------------------


def command(argv: Sequence[str]) -> int:
    wanted = (settings.ANALYZE_LANG,)
    parser = Parser("analyze runs", description="show how a run stands; changes nothing")
    parser.add_argument(
        "output", metavar="OUTPUT", help="what a run writes to: a file, a folder, a folder of such files"
    )
    parser.add_argument("--json", action="store_true", help="the same as one JSON object")
    add_settings(parser, wanted, language())
    args = parser.parse_args(argv)
    chosen = flags_of(args, wanted)
    if args.show_settings:
        print(chosen.show())
        return EXIT_OK
    runs = [Run(files) for files in find(Path(args.output))]
    if args.json:
        told = [run.to_json() for run in runs]
        print(json.dumps(told[0] if len(told) == 1 else {"runs": told}, indent=2))
        return EXIT_OK
    lang = language(chosen[settings.ANALYZE_LANG])
    print("\n".join(screen(runs[0], lang) if len(runs) == 1 else overview(runs, lang)))
    return EXIT_OK


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(command, argv)


if __name__ == "__main__":
    sys.exit(main())
