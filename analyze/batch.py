"""`python -m analyze.batch -i requests.jsonl -o answers.jsonl`: the OpenAI Batch file format, over a fleet.

What a file job does is `runs.filejob`'s. Knows nothing of what the requests are about.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from analyze import settings
from analyze.errors import EXIT_OK, UsageError
from analyze.lang import Lang, language
from analyze.runs.askers import Asker, FleetAsker, connected_asker
from analyze.runs.command import Parser, add_settings, flags_of, positive, run_command
from analyze.runs.dry import dry_run, served
from analyze.runs.filejob import FileJob, paths_of, run
from analyze.runs.jobflags import add_job_flags, chosen
from analyze.runs.rows import Shard
from analyze.tokens import CANNOT_TELL

if TYPE_CHECKING:
    from analyze.runs.templates import Template

log = logging.getLogger(__name__)

SETTINGS = (*settings.ADDRESSES, settings.MODEL, settings.ANALYZE_LANG)

LABEL: dict[Lang, str] = {"en": "Asking", "zh": "推理"}


@dataclass(frozen=True, slots=True)
class Batch:
    """One invocation, checked."""

    job: FileJob
    template: Template | None
    settings: settings.Settings
    base_urls: tuple[str, ...]
    dry_run: bool

    async def connect(self) -> Asker:
        """Return who is asked. Raises NoServerError, UsageError."""
        asker = await connected_asker(
            urls=settings.addresses(self.settings, self.base_urls),
            api_key=settings.api_key(self.settings[settings.VLLM_API_KEY]),
            model=self.settings[settings.MODEL],
            in_flight=self.job.in_flight,
        )
        if self.template is not None and isinstance(asker, FleetAsker):
            await _guard(self.template, asker, self.job.lang)
        return asker


async def _guard(template: Template, asker: FleetAsker, lang: Lang) -> None:
    """Have rows refused that would put a control token of the served model into the prompt."""
    tokens = await asker.unguarded_tokens()
    if tokens is None:
        log.warning(CANNOT_TELL[lang])
    template.refuse(tokens or frozenset(), asker.model)


def parse(argv: Sequence[str]) -> Batch | settings.Settings:
    """Read the command line; with --show-settings return the settings instead of a job. Raises UsageError."""
    lang = language()
    parser = Parser("analyze.batch", description=__doc__.splitlines()[0] if __doc__ else None)
    add = parser.add_argument
    add(
        "-i",
        "--input-file",
        metavar="FILE",
        help="requests, one OpenAI batch line each (.jsonl, also .gz and .zst; - is standard input), "
        "or with --template rows (.jsonl .json .csv .tsv .parquet)",
    )
    add("-o", "--output-file", metavar="FILE", help="answers (.jsonl)")
    add("--template", metavar="FILE", help="a Jinja template of the prompt, filled with the fields of each row")
    add("--body", type=_body, metavar="JSON", default={}, help="with --template: further fields of each request")
    add_job_flags(parser)
    add("--limit", type=positive, metavar="N", help="only the first N rows of the input")
    add("--shard", type=_shard, metavar="I/N", help="only the Ith of N parts of the input, as for one of N boxes")
    add("--dedupe", action="store_true", help="ask once what several rows ask alike, and answer each of them")
    add("--ordered", action="store_true", help="put the finished output in the input's order")
    add("--dry-run", action="store_true", help="show the first request, count rows and tokens; ask nothing")
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
    if args.body and not args.template:
        raise UsageError("--body is for --template; requests have bodies of their own", cure="--template prompt.j2")
    template, lang = _template(args), language(resolved[settings.ANALYZE_LANG])
    job = FileJob(
        name="batch",
        label=LABEL[lang],
        input=args.input_file,
        paths=paths_of(output, args.input_file),
        lang=lang,
        maker=template,
        limit=args.limit,
        shard=args.shard,
        in_flight=args.in_flight,
        skip_bad=args.skip_bad,
        dedupe=args.dedupe,
        ordered=args.ordered,
        **chosen(args),
        told={"settings": resolved.record()},
    )
    return Batch(job, template, resolved, tuple(args.base_url), args.dry_run)


def _template(args: argparse.Namespace) -> Template | None:
    if not args.template:
        return None
    from analyze.runs.templates import Template  # brings jinja2, which takes 15 ms

    return Template(args.template, args.body)


def _shard(text: str) -> Shard:
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise argparse.ArgumentTypeError(f"{text!r} is no part such as 1/4")
    return Shard(int(number), int(count))


def _body(text: str) -> dict[str, Any]:
    try:
        body = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"no JSON: {error}") from None
    if not isinstance(body, dict) or "messages" in body:
        raise argparse.ArgumentTypeError('no object of fields such as {"max_tokens": 256}')
    return body


def command(argv: Sequence[str]) -> int:
    parsed = parse(argv)
    if isinstance(parsed, settings.Settings):
        print(parsed.show())
        return EXIT_OK
    if parsed.dry_run:
        return dry_run(parsed.job, served(parsed.connect, parsed.job.lang))
    return asyncio.run(run(parsed.job, parsed.connect))


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(command, argv)


if __name__ == "__main__":
    sys.exit(main())
