"""Foreign text made harmless and visible: for people, for Markdown, for spreadsheets. Knows no file of ours.

What models and inputs say is data. HTML is escaped by the template engine; here are the dangers that escaping
leaves: signs that cannot be seen, signs that reorder their neighbours, a megabyte in one field, and the two
formats that have no escaping of their own that readers honour.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

# Longest text that enters a report at all; a page cuts further where it has less room.
MOST_CHARS = 20_000

_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls, ANSI escapes among them; tab and newline stay
    "\u061c\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069"  # direction marks reorder code under the reader's eyes
    "\u2028\u2029\ufeff\ud800-\udfff"  # line separators that are no newline; half characters
    "\ufffe\uffff"  # no XML can hold these, so no workbook and no SVG
    "\U000e0000-\U000e007f]"  # tags: a text within the text that no reader sees
)


_CUT = re.compile(r" … ⟨\+(\d+)⟩\Z")


def _picture(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    return "\ufffd" if 0xD800 <= code <= 0xDFFF else f"⟨U+{code:04X}⟩"


def visible(text: str, limit: int = MOST_CHARS) -> str:
    """Return `text` cut at `limit` characters with a mark, every invisible or reordering sign shown as a picture."""
    if len(text) <= limit and text.isprintable():  # most texts: 7 million of them in 100,000 judgements
        return text
    return _INVISIBLE.sub(_picture, cut(text, limit).replace("\r\n", "\n"))


def cut(text: str, limit: int) -> str:
    """Return at most `limit` characters of `text`, and how many are left out, by an earlier cut too."""
    if len(text) <= limit:
        return text
    earlier = _CUT.search(text)
    whole = earlier.start() + int(earlier[1]) if earlier else len(text)
    return f"{text[:limit]} … ⟨+{whole - limit}⟩"


# What a report says again and again, and tells apart: the values of these keys are names, and no longer than this.
NAMES = frozenset({"author", "task_id", "group_id", "same_family"})
NAMES_OF_ROWS = NAMES | {"rival"}
NAME_CHARS = 200


def name(text: str) -> str:
    """Return a name as `visible` would, on one line and short; two that are cut alike are told apart by a digest."""
    if is_name(text):
        return text
    line = visible(text).replace("\n", "␊").replace("\t", "␉")
    if len(line) <= NAME_CHARS:
        return line
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{line[:NAME_CHARS]}#{digest} … ⟨+{len(text) - NAME_CHARS}⟩"


def is_name(value: Any) -> bool:
    """Tell whether `name` would leave a value as it is."""
    return not isinstance(value, str) or (len(value) <= NAME_CHARS and value.isprintable())


def visible_all(value: Any, *, are_names: bool = False) -> Any:
    """Return a JSON value with `visible` applied to every text in it, keys too, and `name` to what names something."""
    match value:
        case str():
            return name(value) if are_names else visible(value)
        case list():
            return [visible_all(item, are_names=are_names) for item in value]
        case dict():
            # A rival is named by its author where it is not what is said of it, beside what is said of the target.
            names = NAMES if "target" in value else NAMES_OF_ROWS
            return {visible(key): visible_all(item, are_names=key in names) for key, item in value.items()}
        case _:
            return value


# A colon before // and the dot of www. begin links on some hosts; elsewhere they read better as they are.
_MARKDOWN = re.compile(r"[\\`*_{}\[\]<>()#+!|~$&^\"']|:(?=//)|(?<=www)\.", re.IGNORECASE)


def markdown(text: str, limit: int = 300) -> str:
    """Return `text` for the inside of a line of Markdown, to show as itself: no markup, HTML, cell, link or mention.

    A mention cannot be escaped, because hosts look for it in the finished page; a word joiner after the sign stops it.
    """
    line = " ".join(visible(text, limit).split())
    return _MARKDOWN.sub(r"\\\g<0>", line).replace("@", "@\u2060").replace("\\#", "\\#\u2060")


def code_span(text: str, limit: int = 120) -> str:
    """Return `text` as a Markdown code span that may stand in a table, with a fence longer than any in the text."""
    line = " ".join(visible(text, limit).split()) or " "
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    pad = " " if line[0] == "`" or line[-1] == "`" else ""
    return f"{fence}{pad}{line}{pad}{fence}".replace("|", "\\|")


_FORMULA = re.compile(r"\s*[=+\-@＝＋－＠\t\r]")


def spreadsheet(text: str) -> str:
    """Return `text` as a cell that no spreadsheet runs as a formula: one that could begin one gets a leading quote."""
    return f"'{text}" if _FORMULA.match(text) else text
