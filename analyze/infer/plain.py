"""Values that a task's code gives, as JSON: also those of numpy, pandas and the standard library. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import orjson

from analyze.records import to_json

_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS


def plain_json(value: object) -> bytes:
    """Return a value as JSON: an array is a list, a date its ISO text, a Decimal its text; what is no number (NaN, NaT)
    is null. Raises TypeError, ValueError for all that has no such form, a set or bytes for two."""
    try:
        return to_json(value)
    except (TypeError, ValueError):
        return orjson.dumps(value, default=_plain, option=_OPTIONS)


def plain(row: Mapping[str, Any]) -> tuple[Mapping[str, Any], bytes]:
    """Return a row as its record will hold it, the very same where that is what it is, and as JSON.

    Raises as `plain_json` does.
    """
    try:
        return row, to_json(row)
    except (TypeError, ValueError):
        held = dict(orjson.loads(plain_json(row)))
        return held, to_json(held)


def _plain(value: Any) -> Any:
    """Return what stands for a value that orjson does not know. Raises TypeError where nothing does."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Decimal):
        return str(value)
    if type(value).__name__ == "NAType":  # pandas'
        return None
    if hasattr(value, "isoformat"):  # Timestamp, and NaT, which is not equal to itself
        return value.isoformat() if value == value else None
    if type(value).__module__.partition(".")[0] == "numpy" and hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")
