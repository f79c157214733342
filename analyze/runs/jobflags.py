"""The flags that every file job understands, and what of a FileJob they say. Knows no job."""

from __future__ import annotations

import argparse
import re
from datetime import datetime, timedelta
from typing import TypedDict

from analyze.lang import Lang, is_lang
from analyze.runs.command import LOG_JSON, add_run_flags
from analyze.runs.filejob import Paths
from analyze.runs.manifest import read_manifest
from analyze.runs.session import Limits


def add_job_flags(parser: argparse.ArgumentParser, *, skips_bad: bool = False) -> None:
    """Add what bounds, repeats and tells a run. `skips_bad`: the job goes on without unusable lines anyway.

    Each bound ends the run in good order, with exit code 4 where work is left.
    """
    add_run_flags(parser, skips_bad=skips_bad)
    add = parser.add_argument
    time_limit = parser.add_mutually_exclusive_group()
    time_limit.add_argument(
        "--until", type=seconds_until, metavar="HH:MM", help="stop at this time of day, in good order"
    )
    time_limit.add_argument(
        "--max-time", type=duration_s, metavar="6h", help="stop after this long: 90s, 30m, 6h, 1h30m"
    )
    add("--max-error-rate", type=_share, metavar="5%", help="stop when more rows than this fail, of 50 and more")
    add(LOG_JSON, action="store_true", help="tell the progress in lines of JSON")


class Chosen(TypedDict):
    """The fields of a FileJob that say the same in every job."""

    limits: Limits
    update: bool
    retry_failed: bool
    log_json: bool


def chosen(args: argparse.Namespace) -> Chosen:
    """Return what the flags of `add_job_flags` say of a job."""
    return Chosen(
        limits=Limits(args.max_time or args.until, args.max_error_rate),
        update=args.update,
        retry_failed=args.retry_failed,
        log_json=args.log_json,
    )


def prompt_language(paths: Paths, lang: Lang) -> Lang:
    """Return the language of a prompt of ours: that of the recorded run, whatever the console speaks today."""
    recorded = (read_manifest(paths.manifest) or {}).get("prompt_lang")
    return recorded if isinstance(recorded, str) and is_lang(recorded) else lang


def seconds_until(text: str, now: datetime | None = None) -> float:
    """Return the seconds from `now` to the next time that the clock on the wall shows `text` (HH:MM)."""
    now = now or datetime.now()
    try:
        hour, minute = map(int, text.split(":"))
        then = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time of day such as 08:00") from None
    if then <= now:
        then += timedelta(days=1)
    return then.timestamp() - now.timestamp()  # of local times: right on the day the clocks change too


def duration_s(text: str) -> float:
    """Return the seconds that `6h`, `90m` or `1h30m` are."""
    found = re.fullmatch(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text)
    counts = [int(count or 0) for count in found.groups()] if found else [0] * 4
    seconds = sum(count * unit for count, unit in zip(counts, (86400, 3600, 60, 1), strict=True))
    if seconds <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no time such as 90s, 30m, 6h or 1h30m")
    return float(seconds)


def _share(text: str) -> float:
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = -1
    if not 0 <= share < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share such as 5% or 0.05")
    return share
