"""What reports say, in Chinese and in English: one module for each section of the page, and one lookup over all.

A module has two catalogues, `EN` and `ZH`, with the same keys; no two modules share a key. Knows no number, no markup.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from analyze.lang import Lang
from analyze.report.texts import (
    answer,
    banners,
    certainty,
    check,
    comparison,
    dimensions,
    facts,
    frame,
    issues,
    outcomes,
    robin,
    run,
    second,
    tasks,
    workbook,
)

SECTIONS: Final = (
    frame,
    banners,
    answer,
    check,
    second,
    outcomes,
    certainty,
    robin,
    dimensions,
    issues,
    facts,
    tasks,
    run,
    workbook,
    comparison,
)

TEXTS: Final[Mapping[Lang, Mapping[str, str]]] = {
    "en": {key: text for section in SECTIONS for key, text in section.EN.items()},
    "zh": {key: text for section in SECTIONS for key, text in section.ZH.items()},
}
