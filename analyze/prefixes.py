"""Which prompts begin alike: hashes of their beginnings, and a map from beginnings to whatever is to be found again.

    content ──> chain: h1, h2, h3 ...     one hash a block, each over everything before it
    PrefixMap: h1 ─> a   h2 ─> a   h3 ─> b     the longest known beginning of a prompt tells its value
It knows no tokens and no servers: blocks are bytes, so a shared beginning is found a little late, never too early.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Generic, TypeVar

from analyze.records import to_json

BLOCK = 256
"""Bytes a hash stands for: about 64 tokens, four blocks of vLLM's prefix cache."""

MOST_BLOCKS = 256
"""Blocks of a prompt that are looked at. Prompts that agree in 64 KiB are taken to agree; it costs 40 us by then."""

PROMPT_FIELDS = ("messages", "prompt", "input")

T = TypeVar("T")


def has_prompt(body: Mapping[str, Any]) -> bool:
    """Whether there is anything for a model to read in a request."""
    return not body.keys().isdisjoint(PROMPT_FIELDS)


def prompt_bytes(body: Mapping[str, Any]) -> bytes:
    """Return what the model reads of a request, in reading order, whatever the other fields are."""
    for name in PROMPT_FIELDS:
        if name in body:
            return to_json(body[name])
    return to_json(body)


def common_start(one: bytes, other: bytes) -> bytes:
    """Return what both begin with."""
    differs = (at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return one[: next(differs, len(other))]


def chain(content: bytes) -> tuple[int, ...]:
    """Return one hash for each full block, over all blocks up to it: prompts that begin alike have chains that do.

    Hashes hold within one process only.
    """
    known, hashes = 0, []
    for end in range(BLOCK, min(len(content), BLOCK * MOST_BLOCKS) + 1, BLOCK):
        known = hash((known, content[end - BLOCK : end]))
        hashes.append(known)
    return tuple(hashes)


class PrefixMap(Generic[T]):
    """Values by beginnings of chains: at most `most` of them, of which the latest, nearly half, are never forgotten.

    Two generations: the younger takes what is remembered, and what is remembered again; when it has half of `most`,
    the elder is dropped. An ordered dict would cost thrice as much a beginning. A chain is remembered from its start,
    so whatever is known has all its beginnings known.
    """

    def __init__(self, most: int = 200_000) -> None:
        self._most_young = max(1, most // 2)
        self._young: dict[int, T] = {}
        self._old: dict[int, T] = {}

    def __len__(self) -> int:
        return len(self._young.keys() | self._old.keys())

    def known(self, keys: Sequence[int]) -> list[T]:
        """Return the values of the known beginnings of this chain, the shortest first."""
        young, old = self._young, self._old
        values = []
        for key in keys:
            if key in young:
                values.append(young[key])
            elif key in old:
                values.append(old[key])
            else:
                break
        return values

    def longest(self, keys: Sequence[int]) -> tuple[T | None, int]:
        """Return the value of the longest known beginning of this chain, and that beginning's length in blocks."""
        values = self.known(keys)
        return (values[-1], len(values)) if values else (None, 0)

    def remember(self, keys: Sequence[int], value: T, *, start: int = 0, keep: bool = False) -> None:
        """Set `value` for the beginnings longer than `start` blocks; shorter ones are only kept from being forgotten.

        With `keep`, what is known already keeps its value too.
        """
        if len(self._young) + len(keys) > self._most_young:
            self._old, self._young = self._young, {}
            keys = keys[: self._most_young]
        young, old = self._young, self._old
        if keep:
            start = len(keys)
        for key in islice(keys, start):
            if key not in young:
                young[key] = old.get(key, value)
        for key in islice(keys, start, None):
            young[key] = value
