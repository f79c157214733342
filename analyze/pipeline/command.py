"""`python -m analyze.pipeline`: arguments in, exit code out. Knows the flags, and nothing of what is done with them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from analyze import settings
from analyze.errors import EXIT_OK
from analyze.lang import language
from analyze.pipeline.steps import Choices, Pipeline
from analyze.runs.command import Parser, add_run_flags, add_settings, flags_of, run_command


def parse(argv: Sequence[str]) -> tuple[settings.Settings, Choices] | settings.Settings:
    """Read the command line; with --show-settings return the settings alone. Raises UsageError."""
    parser = Parser("analyze.pipeline", description="judge one target against N rivals per task, and write the report")
    add_settings(parser, settings.PIPELINE, language())
    add_run_flags(parser)
    parser.add_argument("--target", metavar="AUTHOR", help="judge this author, where tasks list `solutions`")
    parser.add_argument("--round-robin", action="store_true", help="judge rivals against each other too, and rank all")
    parser.add_argument("--force-new", action="store_true", help="move what is there to previous/ and start afresh")
    args = parser.parse_args(argv)
    chosen = flags_of(args, settings.PIPELINE)
    if args.show_settings:
        return chosen
    return chosen, Choices(
        base_urls=args.base_url,
        target=args.target,
        in_flight=args.in_flight,
        skip_bad=args.skip_bad,
        update=args.update,
        retry_failed=args.retry_failed,
        force_new=args.force_new,
        round_robin=args.round_robin,
    )


def command(argv: Sequence[str]) -> int:
    parsed = parse(argv)
    if isinstance(parsed, settings.Settings):
        print(parsed.show())
        return EXIT_OK
    return asyncio.run(Pipeline(*parsed).run()).exit_code


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(command, argv)
