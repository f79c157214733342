"""What the summary pages of file jobs share: banners, when and how a run was made, a small chart, a style sheet.

Knows the manifest of a run and the texts it is given; no job and no record.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from analyze.report import numbers
from analyze.report.frame import css
from analyze.report.svg import Drawing, inline
from analyze.tiny_model import DEMO_MODEL_NAME

if TYPE_CHECKING:
    from markupsafe import Markup

Record = Mapping[str, Any]
Texts = Mapping[str, str]
Row = tuple[str, str | None]


def banners(run: Record, t: Texts) -> list[tuple[str, str, str]]:
    """Return what must be known before anything else: kind, title and text of each."""
    found = []
    if run.get("model") == DEMO_MODEL_NAME:
        found.append(("demo", t["demo_title"], t["demo_text"]))
    if run and not run.get("finished"):
        found.append(("unfinished", t["unfinished_title"], t["unfinished_text"]))
    return found


def when_rows(run: Record, t: Texts) -> list[Row]:
    """Return when a run began and ended, and how long it took; None where that is not known."""
    seconds = run.get("seconds")
    return [
        (t["run_started"], run.get("started")),
        (t["run_finished"], run.get("finished")),
        (t["run_seconds"], None if seconds is None else numbers.tenths(seconds)),
    ]


def tokens_row(prompt_tokens: int, completion_tokens: int, t: Texts) -> Row:
    told = {"prompt": f"{prompt_tokens:,}", "completion": f"{completion_tokens:,}"}
    return t["run_tokens"], t["run_tokens_text"].format(**told)


def sampling_row(run: Record, t: Texts) -> Row:
    return t["run_sampling"], _pairs(run.get("sampling"), t)


def made_rows(run: Record, t: Texts) -> list[Row]:
    """Return what a run was made with: versions of programs, and the command."""
    return [
        (t["run_versions"], _pairs(run.get("versions"), t)),
        (t["run_command"], shlex.join(map(str, run.get("command") or [])) or None),
    ]


def _pairs(values: Record | None, t: Texts) -> str | None:
    return t["comma"].join(f"{name} {value}" for name, value in (values or {}).items()) or None


def small(drawing: Drawing) -> Markup:
    """Return a chart as markup. The shapes are our own; their texts are escaped there."""
    from markupsafe import Markup

    return Markup(inline(drawing, "chart small"))


@cache
def page_css(package: str) -> Markup:
    """Return the style sheet of all pages, and behind it that of a job's own."""
    from markupsafe import Markup

    own = (files(package) / "templates" / "page.css").read_text(encoding="utf-8")
    return css() + Markup(own)
