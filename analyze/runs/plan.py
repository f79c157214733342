"""What is left to ask: the input on one side, what is known of its rows on the other. No sockets, no files."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from analyze.errors import MixedRunError
from analyze.records import TRANSIENT, Request
from analyze.runs.account import Account
from analyze.runs.duplicates import Duplicates
from analyze.runs.seen import Seen, short

T = TypeVar("T")

SHOWN = 3

CHUNK_ROWS = 500
CHUNK_S = 0.005
"""Rows are handled by the chunk, at a third of the price; whoever gives them slowly is not waited for longer."""


class Plan:
    """Sorts rows into done and left, and accounts for them."""

    def __init__(
        self,
        seen: Seen,
        account: Account,
        *,
        retry_failed: bool = False,
        duplicates: Duplicates | None = None,
        update: bool = False,
    ) -> None:
        """`duplicates` takes the rows that ask what another row asks; with `update` rows that changed are left."""
        self._seen, self._account = seen, account
        self._retry_failed, self._duplicates, self._update = retry_failed, duplicates, update

    def left_of(self, requests: Sequence[Request]) -> list[Request]:
        """Return those of a chunk that no record answers: the new ones, and failures that may end better this time.

        Raises MixedRunError for rows that were recorded with other content, unless they are to be asked anew.
        """
        account = self._account
        account.read += len(requests)
        are_answered = self._seen.are_answered(requests)
        not_answered = [request for request, is_so in zip(requests, are_answered, strict=True) if not is_so]
        account.were_answered(len(requests) - len(not_answered))
        left: list[Request] = []
        changed: list[str] = []
        for request in not_answered:
            known = self._seen.get(request.id)
            if known is None:
                left.append(request)
            elif known.asked != short(request.asked):
                if self._update:
                    left.append(request)
                else:
                    changed.append(request.id)
            elif known.failed is not None:
                account.found(known.failed)
                if self._retry_failed or known.failed in TRANSIENT:
                    left.append(request)
        if changed:
            raise mixed(changed)
        return left if self._duplicates is None else self._first(left, requests, self._duplicates)

    def _first(self, left: list[Request], all_rows: Sequence[Request], duplicates: Duplicates) -> list[Request]:
        first = duplicates.first_of(all_rows)
        for row in left:
            if row.id not in first:
                duplicates.set_aside(row)
        return [row for row in left if row.id in first]


def changed_rows(chunks_of_requests: Iterable[Sequence[Request]], seen: Seen) -> Iterator[str]:
    """Yield the ids of rows that were recorded with another content than they have now."""
    for chunk in chunks_of_requests:
        for request, known in zip(chunk, seen.get_many([row.id for row in chunk]), strict=True):
            if known is not None and known.asked != short(request.asked):
                yield request.id


def chunks(items: Iterable[T]) -> Iterator[list[T]]:
    """Yield items by the chunk."""
    chunk: list[T] = []
    until = time.monotonic() + CHUNK_S
    for item in items:
        chunk.append(item)
        if len(chunk) == CHUNK_ROWS or time.monotonic() > until:
            yield chunk
            chunk, until = [], time.monotonic() + CHUNK_S
    if chunk:
        yield chunk


def mixed(ids: Sequence[str]) -> MixedRunError:
    """Return the error for rows whose recorded answers belong to another question."""
    named = ", ".join(ids[:SHOWN]) + (f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else "")
    return MixedRunError(
        f"{len(ids)} row(s) were recorded with another content, prompt, schema or sampling: {named}",
        cure="--update asks them again and retires the old lines; or give another output",
    )
