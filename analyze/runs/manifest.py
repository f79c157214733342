"""`run.json`: which run this is. Written whole at the start and at every end; compared before a run is continued.

While rows are still read it is written now and then too: who looks at a run, or at what is left of one that was killed,
is told how many rows there are.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from analyze._version import __version__
from analyze.errors import AnalyzeError, InputError, MixedRunError
from analyze.files import input_errors, write_whole
from analyze.records import from_json

FORMAT = 1

FIRST_ROWS_S = 1.0
ROWS_EVERY_S = 30.0
"""When the rows that are expected are written down: it takes two fsyncs, as many as the journal does in two seconds."""

Manifest = dict[str, Any]


def read_manifest(path: Path) -> Manifest | None:
    """Return the manifest at `path`, None if there is none. Raises InputError for one that cannot be read."""
    with input_errors(str(path)):
        try:
            raw = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
    try:
        manifest = from_json(raw)
        if not isinstance(manifest, dict) or manifest["format"] > FORMAT:
            raise ValueError(f"format {manifest.get('format')!r} is newer than this program knows")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"this is not a manifest that can be read ({error})",
            path=str(path),
            cure="move it away: the run continues from its journal",
        ) from error
    return dict(manifest)


def write_manifest(path: Path, manifest: Mapping[str, Any]) -> None:
    try:
        told = orjson.dumps(dict(manifest), option=orjson.OPT_INDENT_2)
    except TypeError:  # a path whose name is no UTF-8, which Python holds in lone surrogates
        told = json.dumps(dict(manifest), indent=2).encode()
    write_whole(path, told + b"\n")


@contextmanager
def rows_kept_current(
    path: Path, manifest: Manifest, rows: Callable[[], float | None], is_all_read: Callable[[], bool]
) -> Iterator[None]:
    """While the block runs, keep in the manifest how many `rows` the input has, as far as that is known: None, not at
    all. The last time is when all is read. `manifest` gets `rows_expected` in its `input`, and `path` holds it then.

    A manifest that cannot be written ends nothing: the journal will tell, and its next line is due before.
    """
    keeping = asyncio.create_task(_keep_rows_current(path, manifest, rows, is_all_read))
    try:
        yield
    finally:
        keeping.cancel()


async def _keep_rows_current(
    path: Path, manifest: Manifest, rows: Callable[[], float | None], is_all_read: Callable[[], bool]
) -> None:
    pause_s = FIRST_ROWS_S
    is_over = False
    while not is_over:
        await asyncio.sleep(pause_s)
        pause_s, is_over, expected = ROWS_EVERY_S, is_all_read(), rows()
        if expected is not None:
            manifest["input"] |= {"rows_expected": round(expected), "rows": round(expected) if is_over else None}
            with suppress(AnalyzeError):
                write_manifest(path, manifest)


def new_manifest(job: str, **fields: Any) -> Manifest:
    """Return the manifest of a run that begins now. Relative paths and commands in it are of its `folder`."""
    versions = {"analyze": __version__, "python": platform.python_version()}
    begins = {"started": utc_now(), "finished": None, "folder": current_folder()}
    return {"format": FORMAT, "job": job, "versions": versions, **begins, **fields}


def current_folder() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return None


def refuse_other_run(old: Manifest | None, new: Mapping[str, Any], keys: Mapping[str, str]) -> None:
    """Raise MixedRunError if the recorded run differs from this one in any of `keys` (key → what it is called)."""
    differing = [(name, (old or {})[key], new[key]) for key, name in keys.items() if _differs(old, new, key)]
    if differing:
        said = "; ".join(f"{name} was {before!r}, is {now!r}" for name, before, now in differing)
        raise MixedRunError(
            f"this output holds another run: {said}",
            cure="--update asks everything again that differs; or give another output",
        )


def is_other_run(old: Manifest | None, new: Mapping[str, Any], keys: Iterable[str]) -> bool:
    return any(_differs(old, new, key) for key in keys)


def _differs(old: Manifest | None, new: Mapping[str, Any], key: str) -> bool:
    return old is not None and old.get(key) not in (None, new[key])


def utc_now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
