"""Image annotation: a vision-language model names the objects in a file of images, with boxes. See `command`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analyze.annotate.parsing import parse_reply

__all__ = ["parse_reply"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from analyze.annotate import parsing

        return getattr(parsing, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
