"""What every format yields: a row and its number, or why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

RAW_CHARS = 2000
LONGEST_ROW = 1 << 28  # bytes of one line: a file without line ends must not fill the memory
NO_TEXT = "neither UTF-8 nor GB18030 text"


@dataclass(frozen=True, slots=True)
class Bad:
    """A row that cannot be used: why, and the first 2,000 characters of what was there."""

    reason: str
    raw: str


Row = tuple[int, Any]
"""A number from 1, of the line (in JSON arrays and Parquet: of the row), and what the row holds, or a Bad."""
