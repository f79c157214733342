"""`run.json`: which run this is. Written whole at the start and at every end; compared before a run is continued."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from analyze._version import __version__
from analyze.errors import InputError, MixedRunError
from analyze.files import write_whole

FORMAT = 1

Manifest = dict[str, Any]


def read_manifest(path: Path) -> Manifest | None:
    """Return the manifest at `path`, None if there is none. Raises InputError for one that cannot be read."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        manifest = orjson.loads(raw)
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
    write_whole(path, orjson.dumps(dict(manifest), option=orjson.OPT_INDENT_2) + b"\n")


def new_manifest(job: str, **fields: Any) -> Manifest:
    versions = {"analyze": __version__, "python": platform.python_version()}
    return {"format": FORMAT, "job": job, "versions": versions, "started": utc_now(), "finished": None, **fields}


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
