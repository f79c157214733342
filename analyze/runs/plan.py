"""What is left to ask: the input on one side, what the journal knows on the other. No sockets, no files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from analyze.errors import MixedRunError
from analyze.records import TRANSIENT, Request
from analyze.runs.journal import Seen

SHOWN = 3


class Plan:
    """Sorts rows into done and left. Counts as it goes: `read`, `done`, `failed_before` (kept as they are)."""

    def __init__(self, seen: Mapping[str, Seen], *, retry_failed: bool = False) -> None:
        self._seen = seen
        self._retry_failed = retry_failed
        self.read = self.done = self.failed_before = 0

    def left(self, requests: Iterable[Request]) -> Iterator[Request]:
        """Yield the requests that no record answers: the new ones, and failures that may end better this time.

        Raises MixedRunError at a row that was recorded with other content.
        """
        for request in requests:
            self.read += 1
            known = self._seen.get(request.id)
            if known is None:
                yield request
            elif known.asked != request.asked:
                raise mixed([request.id])
            elif known.failed is None:
                self.done += 1
            elif known.failed in TRANSIENT or self._retry_failed:
                yield request
            else:
                self.failed_before += 1


def changed_ids(requests: Iterable[Request], seen: Mapping[str, Seen]) -> list[str]:
    """Return the ids that are recorded with another content than they have now."""
    return [r.id for r in requests if r.id in seen and seen[r.id].asked != r.asked]


def mixed(ids: list[str]) -> MixedRunError:
    """Return the error for rows whose recorded answers belong to another question."""
    named = ", ".join(ids[:SHOWN]) + (f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else "")
    return MixedRunError(
        f"{len(ids)} row(s) were recorded with another content, prompt, schema or sampling: {named}",
        cure="--update asks them again and retires the old lines; or give another output",
    )
