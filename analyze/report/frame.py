"""What every page is made in: the template engine that escapes all, the style sheet. Knows no section of any page."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING
from unicodedata import bidirectional

from analyze.report.style import CODE_STACK, FONT_STACK, css_inks, css_variables

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup


@cache
def environment(package: str = "analyze.report") -> Environment:
    """Return the engine for the templates of a package: it escapes everything, and refuses names it was not given."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["isolate"] = isolated
    return made


def isolated(sentence: str, *names: str) -> Markup:
    """Return a sentence as markup in which names whose letters run to the left do not turn what stands beside them."""
    from markupsafe import Markup, escape

    turned = [name for name in names if any(bidirectional(sign) in ("R", "AL") for sign in name)]
    if not turned:
        return escape(sentence)
    pieces = re.split(f"({'|'.join(map(re.escape, turned))})", sentence)
    return Markup("").join(
        Markup("<bdi>{}</bdi>").format(piece) if at % 2 else escape(piece) for at, piece in enumerate(pieces)
    )


def css() -> Markup:
    """Return the style sheet of all pages, with the inks of their charts."""
    from markupsafe import Markup

    sheet = (files("analyze.report") / "templates" / "report.css").read_text(encoding="utf-8")
    fonts = f":root{{--sans:{FONT_STACK};--mono:{CODE_STACK}}}\n"
    return Markup(css_variables() + fonts + css_inks() + sheet)
