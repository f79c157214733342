"""Names for rows. A row's id is its own, else the SHA-256 of its content; duplicates are numbered in input order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from analyze.records import CHAT_URL, ChatRequest, Request, asked_of, to_json


class RowIds:
    """Gives out ids, never the same one twice: the second row named `a` is `a#2`."""

    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()

    def __call__(self, own: str | None, content: object) -> str:
        """Return the id of a row with the id `own`, or without one and with this content."""
        name = own if own is not None else "sha256:" + sha256(to_json(content)).hexdigest()
        numbered = name
        while numbered in self._taken:
            self._taken[name] += 1
            numbered = f"{name}#{self._taken[name]}"
        self._taken[numbered] = 1
        return numbered


def request_of(item: ChatRequest | Mapping[str, Any], ids: RowIds) -> Request:
    """Turn what a user wrote into a request.

    `item` is a ChatRequest or `{"id"?, "group"?, "url"?, "body": {...}}`; a line of an OpenAI batch file
    (`custom_id` instead of `id`) is one of these. Raises ValueError naming what is missing or wrong.
    """
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
    row_id = ids(own, [url, body])
    custom_id = own if own is not None and own != row_id else None
    return Request(row_id, asked_of(body, url), url, body, custom_id, group)
