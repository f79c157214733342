"""`python -m analyze.annotate --input rows.jsonl --image-root images --output labelled.jsonl`: boxes on images.

Beside that `export`, `preview` and `evaluate`, which take the output. What a file job does is `runs.filejob`'s.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib import import_module
from pathlib import Path

from analyze import settings
from analyze.annotate.asking import Annotator, Wishes
from analyze.annotate.ending import Ending
from analyze.annotate.families import COORDS
from analyze.annotate.prompts import CAPTION, default_prompt, sampling
from analyze.annotate.records import Lines, Maker
from analyze.annotate.sizing import DEFAULT_MAX_PIXELS
from analyze.errors import EXIT_OK, InputError, UsageError
from analyze.files import input_errors, strictness, text_encoding
from analyze.lang import Lang, language
from analyze.report.outputs import ENDINGS
from analyze.runs.askers import Asker, FleetAsker, connected_asker
from analyze.runs.command import Parser, add_settings, flags_of, positive, run_command, temperature
from analyze.runs.dry import dry_run, served
from analyze.runs.filejob import FileJob, paths_of, run
from analyze.runs.jobflags import add_job_flags, chosen, prompt_language
from analyze.tokens import CANNOT_TELL

log = logging.getLogger(__name__)

SETTINGS = (*settings.ADDRESSES, settings.ANALYZE_LANG)
SEED_ADDRESS = "http://localhost:8000/v1"
MAX_CONCURRENCY = 64
MAX_TOKENS = 2048
TOKEN_PIXELS = 28 * 28
OTHER_COMMANDS = {
    "export": "analyze.annotate.export",
    "preview": "analyze.annotate.preview",
    "evaluate": "analyze.annotate.evaluate",
}

TEXTS: dict[Lang, dict[str, str]] = {
    "en": {
        "label": "Annotating",
        "convention": "{model}: boxes as {coords} ({family}), images up to {pixels:,} pixels",
        "image_tokens": "images come on top: up to {tokens:,} tokens each, if it is one for 28 x 28 pixels",
    },
    "zh": {
        "label": "标注",
        "convention": "{model}: 坐标约定 {coords}（{family}），图片最多 {pixels:,} 像素",
        "image_tokens": "图片另计: 若每 28 x 28 像素一个 token，每张最多 {tokens:,} 个",
    },
}


@dataclass(frozen=True, slots=True)
class Annotation:
    """One invocation, checked."""

    job: FileJob
    annotator: Annotator
    model: str | None
    settings: settings.Settings
    urls: tuple[str, ...]
    dry_run: bool

    def run(self) -> int:
        """Annotate. Return the exit code; raises AnalyzeError."""
        try:
            return asyncio.run(run(self.job, self._connect))
        finally:
            self.annotator.close()

    def told(self) -> int:
        """Say what would be asked; ask nothing. Return the exit code; raises AnalyzeError."""
        code = dry_run(self.job, served(self._connected, self.job.lang))
        pixels = self.annotator.wishes.max_pixels or DEFAULT_MAX_PIXELS
        print(TEXTS[self.job.lang]["image_tokens"].format(tokens=pixels // TOKEN_PIXELS))
        return code

    async def _connected(self) -> Asker:
        return await connected_asker(
            urls=self.urls,
            api_key=settings.api_key(self.settings[settings.VLLM_API_KEY]),
            model=self.model,
            in_flight=self.job.in_flight,
        )

    async def _connect(self) -> Asker:
        """Return who is asked. Raises NoServerError, UsageError."""
        asker = await self._connected()
        try:
            await self._settle(asker)
        except BaseException:
            await asker.aclose()
            raise
        return asker

    async def _settle(self, asker: Asker) -> None:
        lang, annotator, tokens = self.job.lang, self.annotator, None
        if CAPTION in annotator.wishes.prompt and isinstance(asker, FleetAsker):
            tokens = await asker.unguarded_tokens()
            if tokens is None:
                log.warning(CANNOT_TELL[lang])
        reports = asker.reports if isinstance(asker, FleetAsker) else []
        paths = [model.root for report in reports for model in report.models if model.root]
        annotator.settle(asker.model, paths, tokens or frozenset())
        told = annotator.convention
        pixels = annotator.wishes.max_pixels or DEFAULT_MAX_PIXELS
        values = {"model": told.model, "coords": told.coords, "family": told.family.name, "pixels": pixels}
        print(TEXTS[lang]["convention"].format(**values))


def parse(argv: Sequence[str]) -> Annotation | settings.Settings:
    """Read the command line; with --show-settings return the settings instead. Raises UsageError."""
    args = _parser().parse_args(argv)
    resolved = flags_of(args, SETTINGS)
    if args.show_settings:
        return resolved
    if not args.input or not args.output or not args.image_root:
        raise UsageError(
            "no input, no output or no image root is given",
            cure="analyze annotate --input rows.jsonl --image-root images --output labelled.jsonl",
        )
    output = Path(args.output)
    if output.suffix not in ENDINGS:
        raise UsageError(f"{output}: results are written as one of {', '.join(ENDINGS)}", cure=f"-o {output}.jsonl")
    if not Path(args.image_root).is_dir():
        raise InputError("is no folder of images", path=args.image_root, cure="--image-root FOLDER")
    lang = language(resolved[settings.ANALYZE_LANG])
    paths = paths_of(output, args.input)
    prompt_lang = prompt_language(paths, lang)
    prompt = _read_prompt(args.prompt) if args.prompt else default_prompt(prompt_lang)
    fields = dict(sampling(args.temperature, args.max_tokens))
    wishes = Wishes(
        root=args.image_root,
        prompt=prompt,
        prompt_lang=prompt_lang,
        fields=fields,
        coords=None if args.coords == "auto" else args.coords,
        max_pixels=args.max_pixels,
        by_path=args.image_transport == "file",
        constrained=args.constrained,
        workers=args.image_workers,
    )
    annotator = Annotator(wishes)
    asks = {
        "coords": args.coords,
        "max_pixels": args.max_pixels,
        "transport": args.image_transport,
        "constrained": args.constrained,
        **fields,
    }
    job = FileJob(
        name="annotate",
        label=TEXTS[lang]["label"],
        input=args.input,
        paths=paths,
        lang=lang,
        maker=Maker(args.image_root, (paths.failures, paths.answers), prompt, asks),
        lines=Lines(args.image_root, annotator.convention),
        limit=args.limit,
        in_flight=args.in_flight or args.max_concurrency,
        skip_bad=args.skip_bad,
        ordered=args.ordered and output.suffix == ".jsonl",
        **chosen(args),
        told={
            "settings": resolved.record(),
            "image_root": args.image_root,
            "prompt_lang": prompt_lang,
            "prompt": prompt,
            "prompt_sha256": sha256(prompt.encode("utf-8", "surrogatepass")).hexdigest(),
            "sampling": {"temperature": args.temperature, "max_tokens": args.max_tokens},
            "coords": args.coords,
            "max_pixels": args.max_pixels or DEFAULT_MAX_PIXELS,
            "image_transport": args.image_transport,
            "constrained": args.constrained,
        },
        ready=annotator.ready,
        around=annotator.around,
        finish=Ending(),
    )
    return Annotation(job, annotator, args.model, resolved, _urls(resolved, args.base_url), args.dry_run)


def _parser() -> Parser:
    parser = Parser("analyze.annotate", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.epilog = "analyze annotate export|preview|evaluate --help: what can be done with an output"
    add = parser.add_argument
    add("-i", "--input", metavar="FILE", help="rows with image_path (image, file_name, path), caption: .jsonl .csv ...")
    add(
        "-o",
        "--output",
        metavar="FILE",
        help="annotations: .jsonl, each saved as it comes; .json .csv .parquet: at the end",
    )
    add("--image-root", metavar="FOLDER", help="the folder that paths of images are relative to, and must be below")
    add("--model-name", "--model", dest="model", metavar="NAME", help="the model to ask; default: the one all report")
    add(
        "--max-concurrency",
        type=positive,
        default=MAX_CONCURRENCY,
        metavar="N",
        help=f"requests out at a time, in all ({MAX_CONCURRENCY})",
    )
    add(
        "--prompt", metavar="FILE", help="a prompt of your own; {caption} {scale} {corners} {width} {height} are filled"
    )
    add(
        "--coords",
        choices=("auto", *COORDS),
        default="auto",
        help="what the model's numbers measure; auto: by its name (Qwen2.5-VL: resized_px, others: norm1000)",
    )
    add(
        "--constrained",
        action="store_true",
        help="hold replies to the form by a JSON schema (rationales: 120 characters)",
    )
    add("--temperature", type=temperature, default=0.0, help="sampling temperature (0.0)")
    add(
        "--max-tokens", type=positive, default=MAX_TOKENS, metavar="N", help=f"tokens of a reply at most ({MAX_TOKENS})"
    )
    add(
        "--max-pixels",
        type=positive,
        metavar="N",
        help=f"pixels of an image as it is sent at most ({DEFAULT_MAX_PIXELS:,})",
    )
    add(
        "--image-transport",
        choices=("data", "file"),
        default="data",
        help="in the request, or as file:// path that servers may read (vLLM: --allowed-local-media-path)",
    )
    add("--image-workers", type=positive, metavar="N", help="processes that decode images (one a core)")
    add_job_flags(parser)
    add("--ordered", action="store_true", help="at the end, put the output into the order of the input")
    add("--limit", type=positive, metavar="N", help="only the first N rows")
    add("--dry-run", action="store_true", help="show what is asked of the first row and count the rest; ask nothing")
    add_settings(parser, SETTINGS, language())
    return parser


def _read_prompt(path: str) -> str:
    with input_errors(path), open(path, "rb") as file:
        encoding = text_encoding(file, path)
        return file.read().decode(encoding, strictness(encoding))


def _urls(resolved: settings.Settings, given: Sequence[str]) -> tuple[str, ...]:
    """Return the servers to ask: those that are named anywhere, else the seed's."""
    if settings.names_addresses(resolved, given):
        return tuple(settings.addresses(resolved, tuple(given)))
    return (SEED_ADDRESS,)


def command(argv: Sequence[str]) -> int:
    if argv and argv[0] in OTHER_COMMANDS:
        other: Callable[[Sequence[str]], int] = import_module(OTHER_COMMANDS[argv[0]]).command
        return other(argv[1:])
    parsed = parse(argv)
    if isinstance(parsed, settings.Settings):
        print(parsed.show())
        return EXIT_OK
    return parsed.told() if parsed.dry_run else parsed.run()


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(command, argv)
