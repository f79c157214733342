"""Names for rows. A row's id is its own, else the SHA-256 of its content; duplicates are numbered in input order."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from analyze.records import CHAT_URL, Body, ChatRequest, Request, asked_of, to_json


class RowIds:
    """Gives out ids, never the same one twice: the second row named `a` is `a#2`."""

    def __init__(self) -> None:
        self._taken = _Hashes()
        self._count: dict[str, int] = {}  # of names that came more than once

    def __call__(self, own: str | None, content: object) -> str:
        """Return the id of a row with the id `own`, or without one and with this content."""
        name = own if own is not None else "sha256:" + sha256(to_json(content)).hexdigest()
        numbered = name
        while not self._taken.add(numbered):
            self._count[name] = count = self._count.get(name, 1) + 1
            numbered = f"{name}#{count}"
        return numbered


class _Hashes:
    """Which names there were, in 11 to 21 bytes each (a set of strings takes 130): 134 MB for ten million rows.

    Two names of ten million have the same 64-bit hash once in 400,000 such runs; the second is then numbered for
    nothing, and is as good a name.
    """

    def __init__(self) -> None:
        self._table = array("Q", bytes(8 * 1024))  # open addressing; 0 is free
        self._count = 0

    def add(self, name: str) -> bool:
        """Remember a name; return whether it is new."""
        if 4 * self._count >= 3 * len(self._table):
            self._grow()
        hashed = hash(name) & 0xFFFF_FFFF_FFFF_FFFF or 1
        place = self._place_of(hashed)
        if self._table[place] == hashed:
            return False
        self._table[place] = hashed
        self._count += 1
        return True

    def _place_of(self, hashed: int) -> int:
        table, mask = self._table, len(self._table) - 1
        place = hashed & mask
        while (there := table[place]) and there != hashed:
            place = (place + 1) & mask
        return place

    def _grow(self) -> None:
        old, self._table = self._table, array("Q", bytes(16 * len(self._table)))
        for hashed in old:
            if hashed:
                self._table[self._place_of(hashed)] = hashed


def request_of(item: ChatRequest | Mapping[str, Any], ids: RowIds) -> Request:
    """Turn what a user wrote into a request.

    `item` is a ChatRequest or `{"id"?, "group"?, "url"?, "body": {...}}`; a line of an OpenAI batch file
    (`custom_id` instead of `id`) is one of these. Raises ValueError naming what is missing or wrong.
    """
    own, group, url, body = _fields(item)
    row_id = _id_of(own, url, body, ids)
    custom_id = own if own is not None and own != row_id else None
    return Request(row_id, asked_of(body, url), url, body, custom_id, group)


def row_id_of(item: ChatRequest | Mapping[str, Any], ids: RowIds) -> str:
    """Return only the id of what `request_of` would return, at half the price. Raises ValueError as that does."""
    own, _, url, body = _fields(item)
    return _id_of(own, url, body, ids)


def _id_of(own: str | None, url: str, body: Body, ids: RowIds) -> str:
    return ids(own, None if own is not None else [url, body])


def _fields(item: ChatRequest | Mapping[str, Any]) -> tuple[str | None, str | None, str, Body]:
    if isinstance(item, ChatRequest):
        item = {"id": item.id, "group": item.group, "body": item.body()}
    if not isinstance(item, Mapping):
        raise ValueError(f"a request is a ChatRequest or an object with a body, not {type(item).__name__}")
    own, group = item.get("custom_id", item.get("id")), item.get("group")
    url, body = item.get("url"), item.get("body")
    url = CHAT_URL if url is None else url
    if not isinstance(body, dict):
        raise ValueError('it has no "body" object')
    if not isinstance(url, str) or not url.startswith("/v1/"):
        raise ValueError(f'"url" is {url!r}, not a path such as {CHAT_URL}')
    if own is not None and not isinstance(own, str):
        raise ValueError(f"its id is {own!r}, not a string")
    if body.get("stream"):
        raise ValueError('"stream" makes no sense in a batch; leave it out')
    return own, group, url, body
