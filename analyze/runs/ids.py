"""Names for rows. A row's id is its own, else the SHA-256 of its content; duplicates are numbered in input order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

from analyze.records import CHAT_URL, Body, ChatRequest, Request, asked_of, to_json
from analyze.runs.index import Index


class Fields(NamedTuple):
    """What a row says, checked: its own id if it has one, the group it names, what is asked, and the row itself."""

    own: str | None
    group: str | None
    url: str
    body: Body
    row: Any = None


class RowIds:
    """Gives out ids, never the same one twice: the second row named `a` is `a#2`."""

    def __init__(self) -> None:
        self._taken = Index()
        self._count: dict[str, int] = {}  # of names that came more than once

    def __call__(self, names: Sequence[str]) -> list[str]:
        """Return the ids of rows that are so named. How rows are grouped into calls makes no difference."""
        return list(names) if self._taken.add_all(names) else [*map(self._one, names)]

    def _one(self, name: str) -> str:
        numbered = name
        while not self._taken.add(numbered):
            self._count[name] = count = self._count.get(name, 1) + 1
            numbered = f"{name}#{count}"
        return numbered


def fields_of(item: ChatRequest | Mapping[str, Any]) -> Fields:
    """Check what a user wrote: a ChatRequest or `{"id"?, "group"?, "url"?, "body": {...}}`.

    A line of an OpenAI batch file (`custom_id` instead of `id`) is one of these. Raises ValueError naming what is
    missing or wrong.
    """
    if type(item) is not dict:  # asked first: nearly all are, and asking for a Mapping takes half of the time in here
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
    return Fields(own, group, url, body, item.get("row"))


def requests_of(rows: Sequence[Fields], ids: RowIds) -> list[Request]:
    """Name rows, and what each asks. Raises ValueError, giving out no names, for a body that is nested too deeply."""
    asked = [asked_of(row.body, row.url) for row in rows]
    named = ids([row.own if row.own is not None else content_id([row.url, row.body]) for row in rows])
    return [
        Request(row_id, what, url, body, own if own is not None and own != row_id else None, group, row)
        for row_id, what, (own, group, url, body, row) in zip(named, asked, rows, strict=True)
    ]


def content_id(value: object) -> str:
    """Return the name of a row without one: the SHA-256 of what it says. What is made of a row is no part of it: under
    another prompt it is the same row, which asks something else."""
    return id_of_json(to_json(value))


def id_of_json(as_json: bytes) -> str:
    """Return the `content_id` of what stands here as JSON."""
    return f"sha256:{sha256(as_json).hexdigest()}"
