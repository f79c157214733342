"""Numbers as people read them on a console. Knows no sentence."""

from __future__ import annotations

from collections.abc import Sequence
from unicodedata import combining, east_asian_width

from analyze.lang import Lang

UNITS: dict[Lang, tuple[str, str, str, str]] = {
    "en": (" s", " min", " h", " d"),
    "zh": (" 秒", " 分钟", " 小时", " 天"),
}


def short(number: float) -> str:
    """Return a number by its first digits: 0.42, 8.1, 87, 874, 1.2k, 41k, 412k, 1.2M."""
    if number < 0.995:
        return f"{number:.2g}"
    for ending in ("", "k", "M"):
        if number < 9.95 and (ending or number % 1):
            return f"{number:.1f}{ending}"
        if number < 999.5:
            return f"{number:.0f}{ending}"
        number /= 1000
    return f"{number:,.0f}G"


def percent(share: float) -> str:
    """Return a share in percent: only nothing is 0 %, only all is 100 %."""
    if 0 < share < 0.005:
        return "<1 %"
    if 0.995 < share < 1:
        return ">99 %"
    return f"{share:.0%}".replace("%", " %")


def clock(seconds: float) -> str:
    """Return a time as a watch shows it: 01:15, 1:21:07, 2d03:10."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days}d{hour:02}:{minute:02}"
    return f"{hour}:{minute:02}:{second:02}" if hour else f"{minute:02}:{second:02}"


def span(seconds: float, lang: Lang) -> str:
    """Return a time in words: 42 s, 1 min 46 s, 12 min, 1 h 52 min, 2 d 3 h."""
    a_second, a_minute, an_hour, a_day = UNITS[lang]
    if seconds < 59.5:
        return f"{seconds:.0f}{a_second}"
    if seconds < 600:
        minute, second = divmod(round(seconds), 60)
        return f"{minute}{a_minute}" + (f" {second}{a_second}" if second else "")
    hours, minute = divmod(round(seconds / 60), 60)
    if not hours:
        return f"{minute}{a_minute}"
    if hours < 24:
        return f"{hours}{an_hour}" + (f" {minute}{a_minute}" if minute else "")
    days, hour = divmod(round(seconds / 3600), 24)
    return f"{days}{a_day}" + (f" {hour}{an_hour}" if hour else "")


def width(text: str) -> int:
    """Return the columns that a text takes on a terminal."""
    return sum(0 if combining(c) else 2 if east_asian_width(c) in "FW" else 1 for c in text)


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as lines in which the first column is aligned to the left, the others to the right."""
    widths = [max(width(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        gaps = [" " * (wanted - width(cell)) for cell, wanted in zip(row, widths, strict=True)]
        cells = [row[0] + gaps[0], *(gap + cell for gap, cell in zip(gaps[1:], row[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return lines
