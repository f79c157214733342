"""The one visual language of every chart and page: inks, sizes, fonts. Knows no data and draws nothing.

    win   blue     the target is better          colours of Okabe and Ito: told apart with any colour vision,
    loss  orange   a rival is better             and in grey, because blue is the darker of the two
    tie   greys    the darker, the less sure     a hue is a side; what takes no side has none
    open  outline  not judged                    absent data is drawn empty, not small

Rules: every value is labelled where it stands, every estimate has its interval drawn, every axis has its
line of "no difference", and nothing is said by colour alone. Text meets 4.5:1 on its ground in both themes.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Ink(NamedTuple):
    """One colour by day and by night, as #rrggbb."""

    light: str
    dark: str


INKS: Final[dict[str, Ink]] = {
    "paper": Ink("#ffffff", "#14171c"),
    "panel": Ink("#f6f7f9", "#1c2027"),
    "text": Ink("#1b1f24", "#e6e9ee"),
    "muted": Ink("#5a6472", "#9aa5b4"),
    "grid": Ink("#dfe3e8", "#323945"),
    "axis": Ink("#8b95a3", "#6d7887"),
    "win": Ink("#0b67a8", "#5bb3ea"),
    "loss": Ink("#b54d07", "#f29a4b"),
    "tie_true": Ink("#d9dee4", "#3f4752"),
    "tie_weak": Ink("#bec6cf", "#525b67"),
    "tie_conflict": Ink("#9aa4b0", "#646e7b"),
    "on_win": Ink("#ffffff", "#0d1117"),
    "on_loss": Ink("#ffffff", "#0d1117"),
    "on_tie": Ink("#1b1f24", "#f2f4f7"),
}

# Chart text in px at natural size.
TEXT_PX: Final = 13
SMALL_PX: Final = 12

# Drawn twice, and a page shows the one that fits: scaled down to a phone, 13 px text would be 6 px. The wide one is
# shown at 736 px (a tablet) to 912 px (the page's column), its text at 12 to 15 px.
WIDE_PX: Final = 800
NARROW_PX: Final = 340

FONT_STACK: Final = (
    'system-ui, -apple-system, "Segoe UI", "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", "Noto Sans SC", '
    '"WenQuanYi Micro Hei", "Droid Sans Fallback", sans-serif'
)
CODE_STACK: Final = (
    'ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", "Noto Sans Mono CJK SC", "Noto Sans SC", '
    "monospace"
)


def css_variables() -> str:
    """Return the inks as CSS custom properties, light by default, dark where the reader's system asks for it."""
    light = "".join(f"--{name}:{ink.light};" for name, ink in INKS.items())
    dark = "".join(f"--{name}:{ink.dark};" for name, ink in INKS.items())
    return f":root{{{light}}}\n@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}\n"


def css_inks() -> str:
    """Return the classes that drawings use on a page: `f-` fills, `s-` strokes, in the page's theme."""
    return "".join(f".f-{name}{{fill:var(--{name})}}.s-{name}{{stroke:var(--{name})}}" for name in INKS) + "\n"


def css_inks_alone() -> str:
    """Return the same classes for a drawing that stands alone, light, in plain colours.

    Many viewers outside browsers know neither CSS variables nor colour schemes.
    """
    return "".join(f".f-{name}{{fill:{ink.light}}}.s-{name}{{stroke:{ink.light}}}" for name, ink in INKS.items())
