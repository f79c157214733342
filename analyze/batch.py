"""`python -m analyze.batch -i requests.jsonl -o answers.jsonl`: the OpenAI Batch file format, over a fleet.

    requests.jsonl ──> plan ──> ask ──> answers.jsonl            one line an answered row, as they come
                                   └──> answers.jsonl.failed.jsonl    one line a failed row, with the reason
Beside them `answers.jsonl.run.json` (what this run is) and, with --skip-bad, `answers.jsonl.rejects.jsonl`.
Knows nothing of what the requests are about.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analyze import settings
from analyze.errors import EXIT_OK, EXIT_SOME_FAILED, InputError, Interrupted, UsageError
from analyze.files import sha256_of, text_lines, whole_file
from analyze.lang import Lang, language
from analyze.records import TRANSIENT, Answer, Outcome, Request, from_json, to_json
from analyze.runs.askers import FleetAsker
from analyze.runs.command import Parser, add_settings, command_line, flags_of, run_command
from analyze.runs.ids import RowIds, request_of
from analyze.runs.journal import Journal, RunLock, decode
from analyze.runs.manifest import new_manifest, read_manifest, refuse_other_run, utc_now, write_manifest
from analyze.runs.plan import Plan, changed_ids, mixed
from analyze.runs.progress import Progress
from analyze.runs.replies import ReplyCheck
from analyze.runs.runner import Stop, outcomes
from analyze.runs.tally import Tally

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
        "again": "continue with: {command}",
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
        "again": "继续运行: {command}",
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


def read_requests(path: Path, rejects: list[dict[str, Any]] | None = None) -> Iterator[Request]:
    """Yield the requests of a batch file. Bad lines go to `rejects` where that is given; else InputError is raised."""
    ids = RowIds()
    for number, line in text_lines(path):
        try:
            yield request_of(_json(line), ids)
        except ValueError as error:
            if rejects is None:
                cure = "correct the line, or leave such lines out with --skip-bad"
                raise InputError(str(error), path=str(path), line=number, cure=cure) from error
            raw = line if isinstance(line, str) else line.decode(errors="replace")
            rejects.append({"file": str(path), "line": number, "reason": str(error), "raw": raw[:RAW_KEPT]})


def _json(line: str | bytes) -> Any:
    if isinstance(line, bytes):
        raise ValueError("neither UTF-8 nor GB18030 text")
    try:
        return from_json(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"no JSON: {error}") from error


async def run(job: Job) -> int:
    """Run the batch; return the exit code. Raises AnalyzeError for all that stops it."""
    rejects: list[dict[str, Any]] | None = [] if job.skip_bad else None
    total = sum(1 for _ in read_requests(job.input, rejects))
    with RunLock(job.paths.lock), Journal(job.paths.answers, job.paths.failures) as journal:
        _settle_old_lines(job, journal)
        asker = FleetAsker(
            settings.addresses(job.settings, job.base_urls),
            api_key=job.settings.text(settings.VLLM_API_KEY),
            in_flight=job.in_flight,
        )
        try:
            await asker.connect(job.settings[settings.MODEL])
            return await _ask(job, journal, asker, total, rejects or [])
        finally:
            await asker.aclose()


def _settle_old_lines(job: Job, journal: Journal) -> None:
    """Retire the lines that this run will replace, before it asks anything. Raises MixedRunError for changed rows."""
    if not journal.seen:
        return
    changed = changed_ids(read_requests(job.input, [] if job.skip_bad else None), journal.seen)
    if changed and not job.update:
        raise mixed(changed)
    again = {
        row for row, seen in journal.seen.items() if seen.failed and (job.retry_failed or seen.failed in TRANSIENT)
    }
    journal.retire(again.union(changed))


async def _ask(job: Job, journal: Journal, asker: FleetAsker, total: int, rejects: list[dict[str, Any]]) -> int:
    texts = TEXTS[job.lang]
    manifest = _manifest(job, asker, total)
    refuse_other_run(None if job.update else read_manifest(job.paths.manifest), manifest, {"model": "the model"})
    _write_rejects(job.paths.rejects, rejects)
    write_manifest(job.paths.manifest, manifest)
    _say_servers(asker, texts)

    before = sum(seen.failed is None for seen in journal.seen.values())
    plan, check, tally = Plan(journal.seen), ReplyCheck(), Tally()
    progress = Progress(texts["label"], total, job.lang, start=before)
    asker.core.on_change = progress.note
    stop = Stop(on_first=lambda: progress.note(texts["stopping"]))

    def keep(request: Request, outcome: Outcome) -> Outcome:
        outcome = check(request, outcome)
        journal.record(outcome)
        return outcome

    try:
        with stop.on_signals():
            left = plan.left(read_requests(job.input, [] if job.skip_bad else None))
            async for outcome in outcomes(left, asker.ask, in_flight=asker.in_flight, stop=stop, keep=keep):
                tally.add(outcome)
                progress.add(ok=isinstance(outcome, Answer))
    finally:
        progress.close()
        counts = _say_end(job, journal, total, len(rejects), before)
        finished = None if counts["left"] else utc_now()
        shares = {"usage": tally.usage(), "instances": tally.instances(), "counts": counts, "finished": finished}
        write_manifest(job.paths.manifest, {**manifest, **shares})
    if counts["left"]:
        print(texts["again"].format(command=command_line()))
        return Interrupted.exit_code
    if job.ordered:
        put_in_order(job.paths.answers, read_requests(job.input, [] if job.skip_bad else None))
    return EXIT_SOME_FAILED if counts["failed"] or counts["rejected"] else EXIT_OK


def _manifest(job: Job, asker: FleetAsker, total: int) -> dict[str, Any]:
    return new_manifest(
        "batch",
        engine="fleet",
        model=asker.model,
        settings=job.settings.record(),
        input={"path": str(job.input), "sha256": sha256_of(job.input), "rows": total},
    )


def _say_servers(asker: FleetAsker, texts: dict[str, str]) -> None:
    fleet = asker.core.fleet
    print(texts["servers"].format(up=len(fleet.up), all=len(fleet.instances), model=asker.model))
    for instance in fleet.instances:
        if not instance.is_up:
            print(texts["down"].format(url=instance.url, problem=instance.reason))


def _say_end(job: Job, journal: Journal, total: int, rejected: int, before: int) -> dict[str, int]:
    """Account for every row of the input, on the console and for the manifest."""
    wanted = {request.id for request in read_requests(job.input, [] if job.skip_bad else None)}
    ended = [seen for row, seen in journal.seen.items() if row in wanted]
    ok = sum(seen.failed is None for seen in ended)
    failed = len(ended) - ok
    counts = {
        "read": total + rejected,
        "ok": ok,
        "failed": failed,
        "rejected": rejected,
        "left": total - len(ended),
    }
    texts = TEXTS[job.lang]
    print(texts["sum"].format(**counts, before=before))
    print(texts["answers"].format(path=job.paths.answers))
    if failed:
        kinds = sorted({seen.failed for seen in ended if seen.failed})
        print(texts["failures"].format(path=job.paths.failures, kinds=", ".join(kinds)))
    if rejected:
        print(texts["rejects"].format(path=job.paths.rejects))
    return counts


def _write_rejects(path: Path, rejects: Sequence[dict[str, Any]]) -> None:
    if rejects:
        with whole_file(path, "wb") as file:
            file.writelines(to_json(reject) + b"\n" for reject in rejects)
    else:
        path.unlink(missing_ok=True)


def put_in_order(path: Path, requests: Iterator[Request]) -> None:
    """Rewrite a finished output in the order of the input, in one step. Memory holds one offset a row, no answers."""
    with open(path, "rb") as old:
        offsets: dict[str, int] = {}
        start = 0
        for line in old:
            offsets[decode(line).id] = start
            start += len(line)
        with whole_file(path, "wb") as new:
            for request in requests:
                if request.id in offsets:
                    old.seek(offsets[request.id])
                    new.write(old.readline())


def parse(argv: Sequence[str]) -> Job | settings.Settings:
    """Read the command line; with --show-settings return the settings instead of a job. Raises UsageError."""
    lang = language()
    parser = Parser("analyze.batch", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("-i", "--input-file", metavar="FILE", help="requests, one OpenAI batch line each")
    parser.add_argument("-o", "--output-file", metavar="FILE", help="answers (.jsonl)")
    parser.add_argument(
        "--base-url", "--api-base", action="append", default=[], metavar="URL", help="a server; repeatable"
    )
    parser.add_argument("--in-flight", type=int, metavar="N", help="requests out at a time, in all (16 an instance)")
    parser.add_argument("--skip-bad", action="store_true", help="list unusable lines in .rejects.jsonl and go on")
    parser.add_argument("--update", action="store_true", help="ask rows again whose content changed")
    parser.add_argument("--retry-failed", action="store_true", help="ask failed rows again, permanent failures too")
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
    if args.in_flight is not None and args.in_flight < 1:
        raise UsageError(f"--in-flight {args.in_flight}: nothing would ever be asked", cure="--in-flight 64")
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
