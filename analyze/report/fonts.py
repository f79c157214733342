"""Which font file draws which text: chosen by the glyphs it has, never by its name alone. Draws nothing.

    a font the user names  →  fonts of the system  →  the one packaged with zhplot  →  none, and a message says the cure

A picture with boxes for characters is worse than no picture, so what no font covers is left out, and said.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from analyze.errors import UsageError

_FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts")
_KINDS = frozenset({".ttf", ".otf", ".ttc"})

# Tried first, in this order: even sans-serif faces that read well large and small. 20 to 80 ms to open a font makes
# trying hundreds of them slow.
_PREFERRED = (
    "notosanscjk-regular",
    "notosanssc-regular",
    "notosanscjksc-regular",
    "sourcehansanssc-regular",
    "sourcehansanscn-regular",
    "wqy-microhei",
    "droidsansfallbackfull",
    "wqy-zenhei",
    "notosans-regular",
    "inter-regular",
    "liberationsans-regular",
    "dejavusans",
)
_MOST_TRIED = 60

# A font is taken if it has nearly all that is needed: one rare character must not send everything to a worse font.
_ENOUGH = 0.97


def check_font(path: str) -> None:
    """Raise UsageError where `path` is no font file that can be opened."""
    try:
        glyphs(path)
    except OSError as error:
        raise UsageError(
            f"FONT_PATH={path!r} cannot be read ({error.strerror or error})",
            cure="name a .ttf, .otf or .ttc file, or leave FONT_PATH unset",
        ) from error


def find_font(text: str, given: str | None = None) -> str | None:
    """Return the path of the first font that has the characters of `text`, or None where none has.

    Raises UsageError where `given` is no font. A `given` that lacks the characters is passed over.
    """
    needed = frozenset(character for character in text if not character.isspace())
    if given is not None:
        check_font(given)
    return next((path for path in _candidates(given) if _share(path, needed) >= _ENOUGH), None)


def covered(text: str, font: str) -> str:
    """Return `text` with a question mark for every character that `font` cannot draw."""
    have = glyphs(font)
    return "".join(character if ord(character) in have or character.isspace() else "?" for character in text)


def covers(text: str, font: str) -> bool:
    return all(ord(character) in glyphs(font) for character in text if not character.isspace())


@cache
def glyphs(path: str) -> frozenset[int]:
    """Return the code points that a font file has glyphs for. Raises OSError where it is no font."""
    from fontTools.ttLib import TTFont, TTLibError  # type: ignore[import-untyped]  # ships no types

    try:
        with TTFont(path, fontNumber=0, lazy=True) as font:
            return frozenset(font.getBestCmap() or {})
    except (TTLibError, AssertionError, KeyError, ValueError) as error:
        # fontTools asserts on headers it does not like, and a damaged table can surface as either of the others.
        raise OSError(f"not a font: {error}") from error


def may_embed(path: str) -> bool:
    """Tell whether a font's licence lets its glyphs travel in a file: `fsType` of its OS/2 table.

    Not if it is restricted (2), may not be cut down to what is used (0x100), or only as bitmaps (0x200). A font
    without the table says nothing against it. Source: OpenType specification, OS/2, fsType.
    """
    from fontTools.ttLib import TTFont

    with TTFont(path, fontNumber=0, lazy=True) as font:
        kind: int = font["OS/2"].fsType if "OS/2" in font else 0
    return kind & 0xF != 2 and not kind & 0x300


def _share(path: str, needed: frozenset[str]) -> float:
    try:
        have = glyphs(path)
    except OSError:
        return 0.0  # a damaged font among the system's is no reason to stop
    return sum(ord(character) in have for character in needed) / len(needed) if needed else 1.0


def _candidates(given: str | None) -> Iterator[str]:
    if given is not None:
        yield given
    system = _system_fonts()
    yield from system[:_MOST_TRIED]
    packaged = _packaged_font()
    if packaged is not None:
        yield packaged


@cache
def _system_fonts() -> list[str]:
    files = {path for folder in _FOLDERS for path in _files(Path(folder).expanduser())}

    def rank(path: Path) -> tuple[int, str]:
        stem = path.stem.lower()
        return (_PREFERRED.index(stem) if stem in _PREFERRED else len(_PREFERRED), str(path))

    return [str(path) for path in sorted(files, key=rank)]


def _files(folder: Path) -> Iterable[Path]:
    return (path for path in folder.rglob("*") if path.suffix.lower() in _KINDS)


def _packaged_font() -> str | None:
    """Return the font that zhplot ships, found without importing it: its import changes matplotlib's settings."""
    spec = importlib.util.find_spec("zhplot")
    if spec is None or spec.origin is None:
        return None
    found = sorted((Path(spec.origin).parent / "fonts").glob("*.ttf"))
    return str(found[0]) if found else None
