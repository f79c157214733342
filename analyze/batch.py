"""`python -m analyze.batch -i requests.jsonl -o answers.jsonl`: the OpenAI Batch file format, over a fleet.

    requests.jsonl ──> plan ──> ask ──> answers.jsonl            one line an answered row, as they come
                                   └──> answers.jsonl.failed.jsonl    one line a failed row, with the reason
Beside them `answers.jsonl.run.json` (what this run is) and, with --skip-bad, `answers.jsonl.rejects.jsonl`.
Knows nothing of what the requests are about.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from analyze import settings
from analyze.console import printable
from analyze.errors import EXIT_OK, EXIT_SOME_FAILED, InputError, UsageError
from analyze.files import sha256_of, text_lines, whole_file
from analyze.lang import Lang, language
from analyze.records import Answer, Outcome, Request, from_json, to_json
from analyze.runs.askers import FleetAsker
from analyze.runs.command import Parser, add_run_flags, add_settings, flags_of, interrupted, run_command
from analyze.runs.ids import RowIds, request_of, row_id_of
from analyze.runs.journal import Journal, RunLock, decode
from analyze.runs.manifest import new_manifest, read_manifest, utc_now, write_manifest
from analyze.runs.plan import Plan
from analyze.runs.progress import Progress
from analyze.runs.runner import Stop
from analyze.runs.session import ask_left, settle
from analyze.runs.tally import Tally

T = TypeVar("T")

SETTINGS = (*settings.ADDRESSES, settings.MODEL, settings.ANALYZE_LANG)
RAW_KEPT = 2000

TEXTS: dict[Lang, dict[str, str]] = {
    "en": {
        "label": "Asking",
        "servers": "{up} of {all} servers, model {model}",
        "down": "  not used: {url}: {problem}",
        "stopping": "finishing what is in flight; Ctrl-C again stops at once",
        "sum": "{read} rows read: {ok} ok ({before} of them before), {failed} failed, {rejected} rejected, {left} left",
        "answers": "answers:  {path}",
        "failures": "failures: {path} ({kinds})",
        "rejects": "rejects:  {path}",
    },
    "zh": {
        "label": "推理",
        "servers": "{all} 个服务器中 {up} 个可用，模型 {model}",
        "down": "  未使用: {url}: {problem}",
        "stopping": "正在完成已发出的请求；再按一次 Ctrl-C 立即停止",
        "sum": "共读取 {read} 行: 成功 {ok}（其中此前 {before}），失败 {failed}，拒收 {rejected}，剩余 {left}",
        "answers": "结果: {path}",
        "failures": "失败: {path}（{kinds}）",
        "rejects": "拒收: {path}",
    },
}


@dataclass(frozen=True, slots=True)
class Paths:
    """The files of a run whose output is `answers`."""

    answers: Path

    def beside(self, ending: str) -> Path:
        return self.answers.with_name(f"{self.answers.name}.{ending}")

    @property
    def failures(self) -> Path:
        return self.beside("failed.jsonl")

    @property
    def rejects(self) -> Path:
        return self.beside("rejects.jsonl")

    @property
    def manifest(self) -> Path:
        return self.beside("run.json")

    @property
    def lock(self) -> Path:
        return self.beside("lock")


@dataclass(frozen=True, slots=True)
class Job:
    """One invocation, checked: what to read, where to write, whom to ask."""

    input: Path
    paths: Paths
    settings: settings.Settings
    base_urls: tuple[str, ...]
    in_flight: int | None
    skip_bad: bool
    update: bool
    retry_failed: bool
    ordered: bool
    lang: Lang


class Rows:
    """The requests of a batch file. Going through it reads the file again, so that memory holds names, not rows.

    The first reading, at once, finds `ids` and, with `skip_bad`, the `rejects`; without it a bad line is InputError.
    """

    def __init__(self, path: Path, *, skip_bad: bool) -> None:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise InputError("is no regular file, and is read more than once", path=str(path), cure="save it as a file")
        self._path, self._skip_bad = path, skip_bad
        self.rejects: list[dict[str, Any]] = []
        self.ids = set(self._read(row_id_of, self._reject))

    def __iter__(self) -> Iterator[Request]:
        return self._read(request_of, lambda number, line, reason: None)

    def _read(self, reader: Callable[[Any, RowIds], T], on_bad: Callable[[int, str | bytes, str], None]) -> Iterator[T]:
        names = RowIds()
        for number, line in text_lines(self._path):
            try:
                yield reader(_json(line), names)
            except ValueError as error:
                if not self._skip_bad:
                    cure = "correct the line, or leave such lines out with --skip-bad"
                    raise InputError(str(error), path=str(self._path), line=number, cure=cure) from error
                on_bad(number, line, str(error))

    def _reject(self, number: int, line: str | bytes, reason: str) -> None:
        raw = line if isinstance(line, str) else line.decode(errors="replace")
        self.rejects.append({"file": str(self._path), "line": number, "reason": reason, "raw": raw[:RAW_KEPT]})


def _json(line: str | bytes) -> Any:
    if isinstance(line, bytes):
        raise ValueError("neither UTF-8 nor GB18030 text")
    try:
        return from_json(line)
    except ValueError as error:
        raise ValueError(f"no JSON: {error}") from error


async def run(job: Job) -> int:
    """Run the batch; return the exit code. Raises AnalyzeError for all that stops it."""
    rows = Rows(job.input, skip_bad=job.skip_bad)
    with RunLock(job.paths.lock):
        asker = FleetAsker(
            settings.addresses(job.settings, job.base_urls),
            api_key=settings.api_key(job.settings[settings.VLLM_API_KEY]),
            in_flight=job.in_flight,
        )
        try:
            await asker.connect(job.settings[settings.MODEL])
            with Journal(job.paths.answers, job.paths.failures) as journal:
                counts = await _ask(job, journal, asker, rows)
        finally:
            await asker.aclose()
        if job.ordered and not counts["left"]:
            put_in_order(job.paths.answers, rows)
    if counts["left"]:
        raise interrupted(job.lang)
    return EXIT_SOME_FAILED if counts["failed"] or counts["rejected"] else EXIT_OK


async def _ask(job: Job, journal: Journal, asker: FleetAsker, rows: Rows) -> dict[str, int]:
    """Ask what is left and return how every row of the input has ended."""
    texts = TEXTS[job.lang]
    manifest = new_manifest(
        "batch",
        engine="fleet",
        model=asker.model,
        settings=job.settings.record(),
        input={"path": str(job.input), "sha256": sha256_of(job.input), "rows": len(rows.ids)},
    )
    before = read_manifest(job.paths.manifest)
    settle(journal, before, manifest, rows, update=job.update, retry_failed=job.retry_failed)
    _write_rejects(job.paths.rejects, rows.rejects)
    write_manifest(job.paths.manifest, manifest)
    _say_servers(asker, texts)

    answered_before = _counts(journal, rows)["ok"]
    progress = Progress(texts["label"], len(rows.ids), job.lang, start=answered_before)
    stop = Stop(on_first=lambda: progress.note(texts["stopping"]))
    tally = Tally()

    def hear(outcome: Outcome) -> None:
        tally.add(outcome)
        progress.add(ok=isinstance(outcome, Answer))

    try:
        with stop.on_signals():
            left = Plan(journal.seen, retry_failed=job.retry_failed).left(rows)
            await ask_left(left, asker, journal, stop=stop, progress=progress, on_outcome=hear)
    finally:
        progress.close()
        counts = _counts(journal, rows)
        _say_end(job, counts, journal, answered_before)
    finished = None if counts["left"] else utc_now()
    shares = {"usage": tally.usage(), "instances": tally.instances(), "counts": counts, "finished": finished}
    write_manifest(job.paths.manifest, {**manifest, **shares})
    return counts


def _counts(journal: Journal, rows: Rows) -> dict[str, int]:
    """Account for every line of the input: read = ok + failed + rejected + left."""
    ended = [journal.seen[row] for row in rows.ids if row in journal.seen]
    ok = sum(seen.failed is None for seen in ended)
    return {
        "read": len(rows.ids) + len(rows.rejects),
        "ok": ok,
        "failed": len(ended) - ok,
        "rejected": len(rows.rejects),
        "left": len(rows.ids) - len(ended),
    }


def _say_servers(asker: FleetAsker, texts: dict[str, str]) -> None:
    fleet = asker.core.fleet
    print(printable(texts["servers"].format(up=len(fleet.up), all=len(fleet.instances), model=asker.model)))
    for instance in fleet.instances:
        if not instance.is_up:
            print(printable(texts["down"].format(url=instance.url, problem=instance.reason)))


def _say_end(job: Job, counts: dict[str, int], journal: Journal, before: int) -> None:
    texts = TEXTS[job.lang]
    print(texts["answers"].format(path=job.paths.answers))
    if counts["failed"]:
        kinds = sorted({seen.failed for seen in journal.seen.values() if seen.failed})
        print(texts["failures"].format(path=job.paths.failures, kinds=", ".join(kinds)))
    if counts["rejected"]:
        print(texts["rejects"].format(path=job.paths.rejects))
    print(texts["sum"].format(**counts, before=before))


def _write_rejects(path: Path, rejects: Sequence[dict[str, Any]]) -> None:
    if rejects:
        with whole_file(path, "wb") as file:
            file.writelines(to_json(reject) + b"\n" for reject in rejects)
    else:
        path.unlink(missing_ok=True)


def put_in_order(path: Path, requests: Iterable[Request]) -> None:
    """Rewrite a finished output in the order of the input, in one step; rows of earlier inputs come last.

    Memory holds one offset a row, no answers.
    """
    with open(path, "rb") as old:
        offsets: dict[str, int] = {}
        start = 0
        for line in old:
            offsets[decode(line).id] = start
            start += len(line)
        with whole_file(path, "wb") as new:
            wanted = [request.id for request in requests if request.id in offsets]
            for row in dict.fromkeys([*wanted, *offsets]):
                old.seek(offsets[row])
                new.write(old.readline())


def parse(argv: Sequence[str]) -> Job | settings.Settings:
    """Read the command line; with --show-settings return the settings instead of a job. Raises UsageError."""
    lang = language()
    parser = Parser("analyze.batch", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("-i", "--input-file", metavar="FILE", help="requests, one OpenAI batch line each")
    parser.add_argument("-o", "--output-file", metavar="FILE", help="answers (.jsonl)")
    add_run_flags(parser)
    parser.add_argument("--ordered", action="store_true", help="put the finished output in the input's order")
    add_settings(parser, SETTINGS, lang)
    args = parser.parse_args(argv)
    resolved = flags_of(args, SETTINGS)
    if args.show_settings:
        return resolved
    if not args.input_file or not args.output_file:
        raise UsageError("no input or no output is given", cure="analyze batch -i requests.jsonl -o answers.jsonl")
    output = Path(args.output_file)
    if output.suffix != ".jsonl":
        raise UsageError(f"{output}: answers are written as .jsonl", cure=f"-o {output.with_suffix('.jsonl')}")
    if output.exists() and output.samefile(args.input_file):
        raise UsageError(f"{output} is the input too; it would be overwritten", cure="give another output with -o")
    return Job(
        input=Path(args.input_file),
        paths=Paths(output),
        settings=resolved,
        base_urls=tuple(args.base_url),
        in_flight=args.in_flight,
        skip_bad=args.skip_bad,
        update=args.update,
        retry_failed=args.retry_failed,
        ordered=args.ordered,
        lang=language(resolved[settings.ANALYZE_LANG]),
    )


def command(argv: Sequence[str]) -> int:
    job = parse(argv)
    if isinstance(job, settings.Settings):
        print(job.show())
        return EXIT_OK
    return asyncio.run(run(job))


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(command, argv)


if __name__ == "__main__":
    sys.exit(main())
