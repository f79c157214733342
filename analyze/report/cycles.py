"""Python's search for cycles, put off while the records of a run are in memory. Knows nothing of them."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_cycles() -> Iterator[None]:
    """Let nobody look for cycles meanwhile: records are none, and 100,000 of them take 1 s to be looked through."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
