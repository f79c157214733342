"""`python -m analyze.classify --input queries.txt --output results.json`: a label for each text of a file.

Without addresses a private fleet is started from the engine flags; with them those servers are asked. `--engine hf`
asks no server: transformers loads the model here. What a file job does is `runs.filejob`'s.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analyze import settings
from analyze.classify.ending import Ending
from analyze.classify.labels import Labels, read_labels
from analyze.classify.letters import FIELDS, LETTERS, Letters
from analyze.classify.local import Local
from analyze.classify.prompts import PLACE, default_prompt, read_prompt, sampling, with_options
from analyze.classify.records import FIRST, Asking, Maker, lines
from analyze.console import printable
from analyze.errors import EXIT_OK, ServerError, UsageError
from analyze.lang import Lang, language
from analyze.records import Body
from analyze.report.outputs import ENDINGS
from analyze.runs.askers import Asker, ClientAsker, FleetAsker, Nobody, connected_asker
from analyze.runs.command import Parser, add_settings, flags_of, positive, run_command, temperature
from analyze.runs.dry import dry_run, served
from analyze.runs.filejob import FileJob, nothing_left, paths_of, run
from analyze.runs.jobflags import add_job_flags, chosen, prompt_language
from analyze.tiny_model import DEMO_MODEL_NAME, folder_name
from analyze.tokens import CANNOT_TELL

if TYPE_CHECKING:
    from analyze.hf import HfAsker
    from analyze.servers.private import PrivateFleet
    from analyze.servers.settings import ServerSettings

log = logging.getLogger(__name__)

SETTINGS = (*settings.ADDRESSES, settings.ANALYZE_LANG)
SEED_MODEL = "Qwen/Qwen2.5-3B-Instruct"
LIST_KEY = "queries"
MOST_NAMED = 10
LEAST_LOGPROBS, MOST_LOGPROBS = 8, 20  # the most is vLLM's own limit

ENGINE_FLAGS = ("tensor_parallel_size", "gpu_memory_utilization", "max_num_seqs", "max_model_len")
SERVER_FLAGS = ("tensor_parallel_size", "gpu_memory_utilization")  # which transformers has no use for
TEMPERATURE, MAX_TOKENS = 0.0, 100
NOT_FOR_LETTERS = ("temperature", "max_tokens", "lenient")  # a letter is one token, and its probability is read
DEFAULTS = {"tensor_parallel_size": 1, "gpu_memory_utilization": 0.9, "max_num_seqs": 256, "max_model_len": 8192}

TEXTS: dict[Lang, dict[str, str]] = {
    "en": {
        "label": "Classifying",
        "nothing_left": "every text has its record: nobody is asked, and nothing is started",
        "starting": "no address is given: starting servers of our own ({logs})",
        "no_place": "{path} has no {place}: each text comes at its end",
        "unnamed": "{path} does not name these labels: {names}; replies are held to them all the same",
        "demo": "⚠️  the tiny random model answers: its labels are noise, good for trying things out and nothing else",
    },
    "zh": {
        "label": "分类",
        "nothing_left": "每条文本都已有记录: 无需提问，也不启动任何服务",
        "starting": "未给出服务器地址: 自行启动服务器（{logs}）",
        "no_place": "{path} 中没有 {place}: 每条文本接在其末尾",
        "unnamed": "{path} 没有提到这些标签: {names}；回复仍会限定在标签之内",
        "demo": "⚠️  回答来自微型随机模型: 标签只是噪声，仅供试跑",
    },
}


@dataclass(frozen=True, slots=True)
class Classification:
    """One invocation, checked."""

    job: FileJob
    asking: Asking
    model: str | None
    settings: settings.Settings
    urls: tuple[str, ...] | None  # None: servers of our own
    servers: ServerSettings
    local: Local | None  # a model in this process, and no server at all
    is_dry_run: bool

    def run(self) -> int:
        """Classify, and build what is built at the end. Return the exit code; raises AnalyzeError."""
        fleet = self._private_fleet() if self.urls is None and self.local is None else None
        try:
            code = asyncio.run(run(self.job, lambda: self._connect(fleet)))
        finally:
            if fleet is not None:
                fleet.stop()
        return code

    def _private_fleet(self) -> PrivateFleet:
        import sys

        from analyze.servers.private import PrivateFleet
        from analyze.servers.texts import Console

        return PrivateFleet(self.servers, Console(self.job.lang, sys.stdout))

    def dry_run(self) -> int:
        """Say what would be asked; start no server, and load no model. Return the exit code; raises AnalyzeError."""
        told = served(lambda: self._connected(self.urls), self.job.lang) if self.urls else self._tokens_at_hand
        return dry_run(self.job, told)

    def _tokens_at_hand(self, bodies: Sequence[Body]) -> list[list[int]] | None:
        """Return the tokens of the bodies' prompts, if the model that would be loaded here is on this machine."""
        from analyze.hf import chat_tokens, tokenizer_at_hand

        demo = str(self.servers.log_dir / folder_name())
        tokenizer = tokenizer_at_hand(self.local.would_load if self.local else self.servers.model or demo)
        return None if tokenizer is None else [chat_tokens(tokenizer, body) for body in bodies]

    async def _connect(self, fleet: PrivateFleet | None) -> Asker:
        """Return who is asked. Raises NoServerError, UsageError, ServerError."""
        asker: FleetAsker | ClientAsker | HfAsker
        texts = TEXTS[self.job.lang]
        if self.urls is None and nothing_left(self.job):
            print(texts["nothing_left"])
            if fleet is not None:
                fleet.stop_leftovers()
            return Nobody(self._own_model)
        if self.local is not None:
            asker = self.local.asker(self.job.lang, self.job.in_flight)
        else:
            if fleet is not None:
                print(texts["starting"].format(logs=self.servers.log_dir))
            asker = await self._connected(await _started(fleet) if fleet is not None else self.urls)
            if asker.model == DEMO_MODEL_NAME:
                print(texts["demo"])
        tokens = await asker.unguarded_tokens()
        if tokens is None:
            log.warning(CANNOT_TELL[self.job.lang])
        self.asking.refuse(tokens or frozenset(), asker.model)
        await self._learn_letters(asker)
        return asker

    async def _learn_letters(self, asker: FleetAsker | ClientAsker | HfAsker) -> None:
        """Raises UsageError where letters are to be read and cannot be; the asker is closed then."""
        if self.asking.letters is None:
            return
        try:
            await self.asking.letters.learn(asker)
        except BaseException:
            await asker.aclose()
            raise

    @property
    def _own_model(self) -> str:
        """The name of the model that is loaded here, or served by servers of our own."""
        if self.local is not None:
            return self.local.name
        return self.servers.model or DEMO_MODEL_NAME

    async def _connected(self, urls: Sequence[str] | None) -> FleetAsker | ClientAsker:
        return await connected_asker(
            urls=urls,
            api_key=settings.api_key(self.settings[settings.VLLM_API_KEY]),
            model=self.model if self.urls is not None else None,
            in_flight=self.job.in_flight,
        )


async def _started(fleet: PrivateFleet) -> list[str]:
    try:
        return await fleet.start()
    except UsageError as error:
        model = fleet.settings.model
        if model is None or not error.message.startswith(f"MODEL={model},"):
            raise
        cure = (
            "VLLM_DEVICE=cpu serves it on the CPU, --base-url asks other servers; without --model a tiny one is tried"
        )
        raise UsageError(
            f"--model {model}, but there is no sign of an NVIDIA GPU on this machine", cure=cure
        ) from error
    except ServerError as error:
        if "out of memory" not in error.message.lower() and "Free memory on device" not in error.message:
            raise
        cure = "take less of the GPU: --gpu-memory-utilization 0.7, or a smaller --max-num-seqs or --max-model-len"
        raise ServerError(error.message, cure=cure) from error


def parse(argv: Sequence[str]) -> Classification | settings.Settings:
    """Read the command line; with --show-settings return the settings instead. Raises UsageError."""
    args = _parser().parse_args(argv)
    resolved = flags_of(args, SETTINGS)
    if args.show_settings:
        return resolved
    if not args.input or not args.output:
        raise UsageError(
            "no input or no output is given", cure="analyze classify --input queries.txt --output out.json"
        )
    output = Path(args.output)
    if output.suffix not in ENDINGS:
        raise UsageError(f"{output}: results are written as one of {', '.join(ENDINGS)}", cure=f"-o {output}.jsonl")
    lang = language(resolved[settings.ANALYZE_LANG])
    paths = paths_of(output, args.input)
    labels = read_labels(args.labels, multi=args.multi_label)
    prompt_lang = prompt_language(paths, lang)
    letters = _letters(args, labels)
    prompt = _prompt(args.prompt, labels, prompt_lang, LETTERS if letters else "")
    if args.prompt:
        _look_at_prompt(prompt, labels, args.prompt, lang)
    servers, asking = _servers(args, output), Asking(labels, letters)
    local = _local(resolved, args, servers.log_dir) if args.engine == "hf" else None
    urls, fields = _urls(resolved, args), _fields(args, labels)
    job = FileJob(
        name="classify",
        label=TEXTS[lang]["label"],
        input=args.input,
        paths=paths,
        lang=lang,
        list_key=LIST_KEY,
        maker=Maker(prompt, fields, args.query_field, args.gold),
        lines=lines(labels, args.abstain_below, letters),
        limit=args.limit,
        in_flight=args.in_flight or args.batch_size,
        skip_bad=args.skip_bad,
        ordered=args.ordered and output.suffix == ".jsonl",
        **chosen(args),
        told={
            "engine": args.engine,
            "settings": resolved.record(),
            "prompt_lang": prompt_lang,
            "prompt": prompt,
            "prompt_sha256": sha256(prompt.encode("utf-8", "surrogatepass")).hexdigest(),
            "labels": list(labels.names),
            "multi_label": labels.multi,
            "mode": args.mode,
            "sampling": {name: fields[name] for name in ("temperature", "max_tokens")},
            "constrained": not args.lenient and letters is None,
            "abstain_below": args.abstain_below,
        },
        around=asking,
        finish=Ending(labels, args.gold, args.review),
    )
    return Classification(job, asking, args.model, resolved, urls, servers, local, args.dry_run)


def _parser() -> Parser:
    parser = Parser("analyze.classify", description=__doc__.splitlines()[0] if __doc__ else None)
    add = parser.add_argument
    add("-i", "--input", metavar="FILE", help="texts: .txt .json .jsonl .csv .tsv .parquet, also .gz and .zst")
    add("-o", "--output", metavar="FILE", help="results: .jsonl (saved as they come), .json, .csv, .parquet")
    add("--model", help=f"the model to ask; without addresses the one to serve ({SEED_MODEL})")
    add("--engine", choices=("fleet", "hf"), default="fleet", help="vLLM servers (fleet), or transformers, here (hf)")
    add("--prompt", metavar="FILE", help="the prompt; {query} in it stands for the text, else it comes at the end")
    add("--labels", metavar="A,B|FILE", help="the labels, or a .txt, .json or .jsonl of them, with descriptions")
    add("--multi-label", action="store_true", help="a text may have several labels, or none")
    add(
        "--mode",
        choices=("json", "label-read"),
        default="json",
        help="json: a constrained reply. label-read: one token, and how probable each label's letter was (json)",
    )
    add("--temperature", type=temperature, metavar="T", help="sampling temperature, 0 to 2 (0.0)")
    add("--max-tokens", type=positive, metavar="N", help="tokens of a reply at most (100)")
    add("--tensor-parallel-size", type=positive, metavar="N", help="GPUs of one server of our own (1)")
    add("--gpu-memory-utilization", type=_gpu_share, metavar="SHARE", help="of a GPU, for a server of our own (0.9)")
    add("--max-num-seqs", type=positive, metavar="N", help="texts that are answered at once (256; hf: CPU 8, GPU 32)")
    add("--max-model-len", type=positive, metavar="N", help="tokens of prompt and reply (8192)")
    add(
        "--batch-size", type=positive, metavar="N", help="texts out at a time; every result is saved as it comes anyway"
    )
    add("--query-field", default=FIRST, metavar="NAME", help=f"the field of a row that holds the text ({FIRST})")
    add("--gold", metavar="FIELD", help="the field of a row that holds its true label: measure against it")
    add("--review", type=positive, metavar="N", help="write the N least sure rows for a person: .xlsx, Label Studio")
    add(
        "--abstain-below", type=_probability, metavar="P", help="give no label that is less sure than this, from 0 to 1"
    )
    add("--lenient", action="store_true", help="do not constrain replies; find labels in free text, and flag them")
    add_job_flags(parser)
    add("--limit", type=positive, metavar="N", help="only the first N texts")
    add("--ordered", action="store_true", help="put a finished .jsonl in the input's order, as the other forms are")
    add("--dry-run", action="store_true", help="show the first request, count rows and tokens; ask nothing")
    add_settings(parser, SETTINGS, language())
    return parser


def _probability(text: str) -> float:
    value = _number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no probability from 0 to 1")
    return value


def _gpu_share(text: str) -> float:
    value = _number(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share of a GPU, above 0 and up to 1")
    return value


def _number(text: str) -> float:
    """Return a number, NaN for what is none: no comparison holds for it."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _letters(args: argparse.Namespace, labels: Labels) -> Letters | None:
    """Return what reads the labels' letters, if it is they that are asked for. Raises UsageError for what cannot be."""
    if args.mode != "label-read":
        return None
    for name in NOT_FOR_LETTERS:
        if getattr(args, name) not in (None, False):
            flag = f"--{name.replace('_', '-')}"
            raise UsageError(
                f"{flag} is for replies, but --mode label-read reads probabilities", cure=f"leave out {flag}"
            )
    return Letters(labels)


def _prompt(path: str | None, labels: Labels, lang: Lang, letters: str) -> str:
    """Return the prompt, a user's own or one of ours. Raises InputError."""
    if not path:
        return default_prompt(labels, lang, letters=letters)
    own = read_prompt(path)
    return with_options(own, labels, lang, letters) if letters else own


def _look_at_prompt(prompt: str, labels: Labels, path: str, lang: Lang) -> None:
    """Warn of what is allowed in a prompt and seldom meant."""
    if PLACE not in prompt:
        log.warning(TEXTS[lang]["no_place"].format(path=path, place=PLACE))
    if unnamed := [name for name in labels.names if name not in prompt]:
        shown = unnamed[:MOST_NAMED] + ["…"] * (len(unnamed) > MOST_NAMED)
        log.warning(TEXTS[lang]["unnamed"].format(path=path, names=printable(", ".join(shown))))


def _fields(args: argparse.Namespace, labels: Labels) -> dict[str, Any]:
    """Return the fields of each request that say how it is answered."""
    if args.mode == "label-read":
        return dict(FIELDS)
    told = sampling(TEMPERATURE if args.temperature is None else args.temperature, args.max_tokens or MAX_TOKENS)
    if args.lenient:
        return dict(told)
    alternatives = min(MOST_LOGPROBS, max(LEAST_LOGPROBS, len(labels.names) + 2))
    constraint = {"structured_outputs": {"regex": labels.pattern}}
    return {**told, **constraint, "logprobs": True, "top_logprobs": alternatives}


def _urls(resolved: settings.Settings, args: argparse.Namespace) -> tuple[str, ...] | None:
    """Return the servers to ask, None for servers of our own. Raises UsageError for flags that could do nothing."""
    if not settings.names_addresses(resolved, args.base_url):
        return None
    for name in ENGINE_FLAGS:
        if getattr(args, name) is not None:
            flag = f"--{name.replace('_', '-')}"
            raise UsageError(
                f"{flag} is for servers that are started here, but addresses are given",
                cure=f"leave out {flag}, or the addresses",
            )
    return tuple(settings.addresses(resolved, tuple(args.base_url)))


def _local(resolved: settings.Settings, args: argparse.Namespace, folder: Path) -> Local:
    """Return the model that transformers is to load. Raises UsageError for what could do nothing then."""
    if settings.names_addresses(resolved, args.base_url):
        raise UsageError(
            "addresses are given, but --engine hf asks no server",
            cure="leave out --base-url, unset VLLM_ENDPOINTS, VLLM_PORTS and VLLM_HOST; or leave out --engine hf",
        )
    for name in SERVER_FLAGS:
        if getattr(args, name) is not None:
            flag = f"--{name.replace('_', '-')}"
            raise UsageError(
                f"{flag} is for servers that are started here, but --engine hf starts none", cure=f"leave out {flag}"
            )
    return Local(args.model, SEED_MODEL, folder, args.max_num_seqs, args.max_model_len)


def _servers(args: argparse.Namespace, output: Path) -> ServerSettings:
    """Return what servers of our own are to be."""
    import os

    from analyze.servers.hardware import find_gpus
    from analyze.servers.settings import ServerSettings

    chosen: dict[str, Any] = {name: getattr(args, name) or DEFAULTS[name] for name in ENGINE_FLAGS}
    model = args.model
    if model is None and args.output and os.environ.get("VLLM_DEVICE") != "cpu" and find_gpus(os.environ):
        model = SEED_MODEL
    return ServerSettings(
        **chosen,
        model=model,
        device=os.environ.get("VLLM_DEVICE", "auto"),
        extra_args=("--enable-prompt-tokens-details",),
        log_dir=output.with_name(f"{output.name}.servers"),
    )


def command(argv: Sequence[str]) -> int:
    parsed = parse(argv)
    if isinstance(parsed, settings.Settings):
        print(parsed.show())
        return EXIT_OK
    return parsed.dry_run() if parsed.is_dry_run else parsed.run()


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(command, argv)
