"""`python -m analyze.infer --model_path M --output_path output --task_name T`: run a task of your own over its rows.

The flags are those of the seed; a hyphen may stand for each `_`. What a file job does is `runs.filejob`'s.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from analyze import settings
from analyze.errors import EXIT_OK, EXIT_SOME_FAILED, AnalyzeError, UsageError, in_language
from analyze.infer.checkpoints import Checkpoints, plan_sha
from analyze.infer.ending import Ending, WrapUp
from analyze.infer.engines import Answering, Engine, ModelType
from analyze.infer.flags import EXAMPLE, SAMPLING_FLAGS, SEED_FLAGS, SETTINGS, STARTS, parser
from analyze.infer.job import InferJob, Places, refuse_other_task
from analyze.infer.mainlog import MainLog
from analyze.infer.records import Guard, lines
from analyze.infer.rows import Maker, TaskRows
from analyze.infer.sampling import Sampling, read_sampling, refuse_beyond, without_neutral
from analyze.infer.segments import Cut, refuse_empty
from analyze.infer.tasks import Task, default_sampling_file, load_task
from analyze.infer.telling import TEXTS, task_lines, told
from analyze.infer.tree import Tree
from analyze.lang import Lang, language
from analyze.records import Body
from analyze.runs.askers import Asker, Nobody, connected_asker
from analyze.runs.command import flags_of, run_command
from analyze.runs.dry import TokensOf, dry_run, served
from analyze.runs.filejob import nothing_left, run
from analyze.runs.jobflags import chosen
from analyze.runs.lock import RunLock
from analyze.servers.private import PrivateFleet
from analyze.tokens import CANNOT_TELL

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Inference:
    """One invocation, checked."""

    job: InferJob
    engine: Engine
    task: Task
    sampling: Sampling
    guard: Guard
    wrap_up: WrapUp
    main_log: MainLog
    is_dry_run: bool

    def run(self) -> int:
        """Infer; return the exit code. Raises AnalyzeError."""
        lang = self.job.lang
        said = task_lines(self.task, self.sampling, lang)
        rows, cut = self.job.places.rows, self.job.places.cut
        said.append(told("rows", lang, rows=len(rows), files=len(rows.files), tasks=cut.tasks))
        said += [told("problem", lang, problem=in_language(problem, lang)) for problem in rows.problems]
        if self.is_dry_run:
            print("\n".join(said))
            return dry_run(self.job, self._tokens_of())
        with self.main_log.of_console():
            try:
                print("\n".join(said), flush=True)
                return self._run()
            except AnalyzeError as error:
                self.main_log.add(str(error))
                raise

    def _tokens_of(self) -> TokensOf:
        """Return who counts tokens before anything is asked: servers that run, or the model if it is at hand."""
        engine = self.engine
        if engine.urls is None:
            return self._tokens_at_hand
        urls, key, model = engine.urls, engine.api_key, engine.model
        return served(lambda: connected_asker(urls=urls, api_key=key, model=model), self.job.lang)

    def _tokens_at_hand(self, bodies: Sequence[Body]) -> list[list[int]] | None:
        from analyze.hf import body_tokens, tokenizer_at_hand

        tokenizer = tokenizer_at_hand(self.engine.model) if self.engine.model else None
        return None if tokenizer is None else [body_tokens(tokenizer, body) for body in bodies]

    def _run(self) -> int:
        fleet = self.engine.fleet(self.job.lang)
        try:
            code = asyncio.run(run(self.job, lambda: self._connect(fleet)))
        finally:
            if fleet is not None:
                fleet.stop()
        return EXIT_SOME_FAILED if code == EXIT_OK and self.wrap_up.failed else code

    async def _connect(self, fleet: PrivateFleet | None) -> Asker:
        asker: Answering | Nobody
        if self.engine.urls is None and not self.job.rerun and nothing_left(self.job):
            print(told("nothing_left", self.job.lang))
            asker = Nobody(self.engine.model)
        else:
            asker = await self.engine.asker(fleet, self.job.lang, self.job.in_flight)
        try:
            if not isinstance(asker, Nobody):
                tokens = await asker.unguarded_tokens()
                if tokens is None:
                    log.warning(CANNOT_TELL[self.job.lang])
                self.guard.refuse(tokens or frozenset(), asker.model)
            moved = self.job.begin()
            self.main_log.open(self.job.tree.main_log)
        except BaseException:
            await asker.aclose()
            raise
        if moved is not None:
            print(told("moved", self.job.lang, path=moved))
        return asker


@dataclass(frozen=True, slots=True)
class ExtractOnly:
    """`--extract_only`, checked: answers anew from the replies that are recorded."""

    tree: Tree
    wrap_up: WrapUp
    main_log: MainLog

    def run(self) -> int:
        """Extract; return the exit code. Raises AnalyzeError."""
        if not self.tree.output.is_dir():
            refuse_empty(self.tree)
        with RunLock(self.tree.lock), self.main_log.of_console():
            self.tree.restore()
            refuse_empty(self.tree)
            cure = "give its --task_name, or the --output_path of another run"
            refuse_other_task(self.tree, self.wrap_up.task.name, cure)
            self.main_log.open(self.tree.main_log)
            print("\n".join(self.wrap_up()))
        return EXIT_SOME_FAILED if self.wrap_up.failed else EXIT_OK


def parse(argv: Sequence[str]) -> Inference | ExtractOnly | settings.Settings:
    """Read the command line; with --show-settings return the settings instead. Raises UsageError."""
    args = parser().parse_args(argv)
    resolved = flags_of(args, SETTINGS)
    if args.show_settings:
        return resolved
    _refuse_contradictions(args)
    lang = language(resolved[settings.ANALYZE_LANG])
    output = Path(args.output_path)
    tree, main_log = Tree(output.resolve() if output.is_symlink() else output), MainLog()
    task = load_task(args.task_name)
    wrap_up = WrapUp(tree, task, lang, save_text=args.save_text)
    if args.extract_only:
        return ExtractOnly(tree, wrap_up, main_log)
    sampling = read_sampling(default_sampling_file(), task.sampling_file, {f: getattr(args, f) for f in SAMPLING_FLAGS})
    engine = _engine(args, resolved, tree)
    if engine.kind == "hf":
        _refuse_beyond_hf(sampling)
    if not args.dry_run:
        engine.check(os.environ)
    rows = TaskRows(task, args.input_path or "", args.limit)
    places, guard = Places(rows, Cut.of(len(rows), args.tasks)), Guard()
    job = _job(args, engine, task, sampling, places, guard, wrap_up, lang)
    return Inference(job, engine, task, sampling, guard, wrap_up, main_log, args.dry_run)


def _refuse_beyond_hf(sampling: Sampling) -> None:
    """Raise UsageError for sampling that transformers cannot grant, before a model is loaded for it."""
    from analyze.hf.sampling import GRANTED
    from analyze.hf.sampling import Sampling as HfSampling

    refuse_beyond(sampling, GRANTED, "hf")
    try:
        HfSampling.of(without_neutral(sampling.values))
    except ValueError as error:
        raise UsageError(f"the sampling cannot be: {error}", cure="leave it out, or --model_type vllm") from error


def _job(
    args: argparse.Namespace,
    engine: Engine,
    task: Task,
    sampling: Sampling,
    places: Places,
    guard: Guard,
    wrap_up: WrapUp,
    lang: Lang,
) -> InferJob:
    tree, values = wrap_up.tree, sampling.values
    sent = without_neutral(values) if engine.kind == "hf" else values
    sha = plan_sha(engine=engine.kind, model=engine.model, sampling=values, task=task.sha256)
    return InferJob(
        name="infer",
        label=TEXTS[lang]["label"],
        input=str(task.path),
        paths=tree,
        lang=lang,
        maker=Maker(task, places.rows, {"temperature": values["temperature"], **sent}),
        lines=lines(places.head),
        in_flight=args.in_flight,
        **chosen(args),
        told={
            "engine": engine.kind,
            **_seed_args(args),
            "task": {"name": task.name, "path": str(task.path), "sha256": task.sha256},
            "files": list(places.rows.files),
            **sampling.record(),
        },
        around=guard,
        finish=Ending(wrap_up),
        tree=tree,
        places=places,
        checkpoints=Checkpoints(tree, places.cut, sha),
        rerun=args.rerun,
    )


def _seed_args(args: argparse.Namespace) -> dict[str, Any]:
    """Return the flags as they hold."""
    told = {name: getattr(args, name) for name in SEED_FLAGS}
    return {**told, "workers": args.workers or 1, "tensor_parallel_size": args.tensor_parallel_size or 1}


def _refuse_contradictions(args: argparse.Namespace) -> None:
    if not args.output_path or not args.task_name:
        raise UsageError("--output_path and --task_name are required", cure=EXAMPLE)
    if args.use_cpu and args.model_type != "hf":
        raise UsageError(
            f"--use_cpu needs --model_type hf, not {args.model_type}",
            cure="--model_type hf --use_cpu; or VLLM_DEVICE=cpu for vLLM on the CPU",
        )
    if args.extract_only and args.rerun:
        raise UsageError("--extract_only keeps the replies that --rerun moves away", cure="leave out one of them")
    if args.extract_only and args.dry_run:
        raise UsageError("--extract_only writes answers, --dry_run writes nothing", cure="leave out one of them")
    if args.model_type == "hf":
        for name in ("tensor_parallel_size", "gpu_memory_utilization"):
            if (getattr(args, name) or 1) != 1:
                raise UsageError(f"--{name} is for vLLM; a worker of hf has one GPU", cure="--model_type vllm")


def _engine(args: argparse.Namespace, resolved: settings.Settings, tree: Tree) -> Engine:
    """Return what is to answer. Raises UsageError for flags that could do nothing."""
    kind = cast(ModelType, args.model_type)
    has_addresses = settings.names_addresses(resolved, args.base_url)
    asks_servers = kind == "server" or (kind == "vllm" and has_addresses)
    if kind == "hf" and has_addresses:
        raise UsageError(
            "addresses are given, but --model_type hf asks no server",
            cure="leave out --base-url, unset VLLM_ENDPOINTS, VLLM_PORTS and VLLM_HOST; or --model_type server",
        )
    if asks_servers and (given := [name for name in STARTS if getattr(args, name) is not None]):
        what = "addresses are given" if kind == "vllm" else "--model_type server asks servers that run"
        raise UsageError(f"--{given[0]} is for what is started here, but {what}", cure=f"leave out --{given[0]}")
    if not args.model_path and not asks_servers and not args.dry_run:
        raise UsageError(
            f"--model_path is required with --model_type {kind}",
            cure="--model_path tiny-random tries everything with a tiny model of random weights",
        )
    return Engine(
        model_type=kind,
        model=args.model_path,
        urls=settings.addresses(resolved, tuple(args.base_url)) if asks_servers else None,
        api_key=settings.api_key(resolved[settings.VLLM_API_KEY]),
        workers=args.workers or 1,
        tensor_parallel_size=args.tensor_parallel_size or 1,
        use_cpu=args.use_cpu,
        gpu_memory_utilization=args.gpu_memory_utilization,
        max_num_seqs=args.max_num_seqs,
        max_model_len=args.max_model_len,
        logs=tree.workers if kind == "hf" else tree.servers,
    )


def command(argv: Sequence[str]) -> int:
    parsed = parse(argv)
    if isinstance(parsed, settings.Settings):
        print(parsed.show())
        return EXIT_OK
    return parsed.run()


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(command, argv)
