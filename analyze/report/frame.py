"""What every page is made in: the template engine that escapes all, the style sheet. Knows no section of any page."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from analyze.report.style import CODE_STACK, FONT_STACK, css_inks, css_variables

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup


@cache
def environment(package: str = "analyze.report") -> Environment:
    """Return the engine for the templates of a package: it escapes everything, and refuses names it was not given."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def css() -> Markup:
    """Return the style sheet of all pages, with the inks of their charts."""
    from markupsafe import Markup

    sheet = (files("analyze.report") / "templates" / "report.css").read_text(encoding="utf-8")
    fonts = f":root{{--sans:{FONT_STACK};--mono:{CODE_STACK}}}\n"
    return Markup(css_variables() + fonts + css_inks() + sheet)
