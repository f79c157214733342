"""What is left to ask: the input on one side, what the journal knows on the other. No sockets, no files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from analyze.errors import MixedRunError
from analyze.records import TRANSIENT, Request
from analyze.runs.journal import Seen

SHOWN = 3


class Plan:
    """Sorts rows into done and left; `done` counts the answered ones it has passed."""

    def __init__(self, seen: Mapping[str, Seen], *, retry_failed: bool = False) -> None:
        self._seen = seen
        self._retry_failed = retry_failed
        self.done = 0

    def left(self, requests: Iterable[Request]) -> Iterator[Request]:
        """Yield the requests that no record answers: the new ones, and failures that may end better this time.

        Raises MixedRunError at a row that was recorded with other content.
        """
        for request in requests:
            known = self._seen.get(request.id)
            if known is None:
                yield request
            elif known.asked != request.asked:
                raise mixed([request.id])
            elif known.failed is None:
                self.done += 1
            elif known.failed in TRANSIENT or self._retry_failed:
                yield request


def stale(
    requests: Iterable[Request], seen: Mapping[str, Seen], *, retry_failed: bool = False
) -> tuple[list[str], list[str]]:
    """Return the ids recorded with another content than they have now, and those whose failure is to be tried again."""
    changed, again = [], []
    for request in requests:
        known = seen.get(request.id)
        if known is None:
            continue
        if known.asked != request.asked:
            changed.append(request.id)
        elif known.failed is not None and (retry_failed or known.failed in TRANSIENT):
            again.append(request.id)
    return changed, again


def mixed(ids: list[str]) -> MixedRunError:
    """Return the error for rows whose recorded answers belong to another question."""
    named = ", ".join(ids[:SHOWN]) + (f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else "")
    return MixedRunError(
        f"{len(ids)} row(s) were recorded with another content, prompt, schema or sampling: {named}",
        cure="--update asks them again and retires the old lines; or give another output",
    )
