"""What a round robin says, in words and rows: who stands where, who beat whom, whether one order can be right.

Knows the numbers of the round robin; no markup and no file. Nothing of it where none was asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analyze.report.numbers import NONE, p_value, signed, signed_span

if TYPE_CHECKING:
    from analyze.stats.robin import Meeting, RoundRobin
    from analyze.stats.summary import Summary

Texts = Mapping[str, str]
_REASONS = {
    "few_tasks": "robin_few_tasks",
    "not_connected": "robin_not_connected",
    "order_decides": "robin_order_decides",
}


@dataclass(frozen=True, slots=True)
class RobinView:
    """`standings`: author, strength, interval, tasks. `met`: an author, and its wins · ties · losses against each."""

    sentences: list[str]
    standings: list[tuple[str, str, str, str]]
    authors: list[str]
    met: list[tuple[str, list[str]]]


def robin_view(summary: Summary, t: Texts) -> RobinView | None:
    found = summary.round_robin
    if found is None:
        return None
    # The strongest first, then who has no strength: a table whose upper right is won shows the ranking at a glance.
    authors = [it.author for it in found.standings] + [it.author for it in found.left_out]
    counts = {names: text for meeting in found.meetings for names, text in _counts(meeting)}
    return RobinView(
        sentences=list(_sentences(found, t)),
        standings=[
            (it.author, signed(it.strength.value), signed_span(it.strength), str(it.tasks)) for it in found.standings
        ],
        authors=authors,
        met=[(author, [counts.get((author, other), NONE) for other in authors]) for author in authors],
    )


def _counts(meeting: Meeting) -> Iterator[tuple[tuple[str, str], str]]:
    yield (meeting.first, meeting.second), f"{meeting.wins} · {meeting.ties} · {meeting.losses}"
    yield (meeting.second, meeting.first), f"{meeting.losses} · {meeting.ties} · {meeting.wins}"


def _sentences(found: RoundRobin, t: Texts) -> Iterator[str]:
    from analyze.stats.robin import LEAST_TASKS

    if found.standings:
        yield _order(found, t)
    if found.first is not None:
        span = f" ({signed_span(found.first)})" if found.first.low is not None else ""
        yield t["robin_first"].format(effect=signed(found.first.value) + span)
    if any(it.strength.low is None for it in found.standings):
        yield t["robin_no_interval"]
    if found.left_out:
        why = [t[_REASONS[it.reason]].format(author=it.author, n=it.tasks, least=LEAST_TASKS) for it in found.left_out]
        yield t["robin_left_out" if found.standings else "robin_nobody"].format(reasons=t["joint"].join(why))


def _order(found: RoundRobin, t: Texts) -> str:
    """Say whether the meetings bear the ranking out."""
    decided, against = found.decided, found.contradictions
    if not decided:
        return t["robin_unsure"].format(all=len(found.meetings))
    if not against:
        return t["robin_holds"].format(n=len(decided), all=len(found.meetings))
    pairs = [t["robin_beats"].format(winner=it.winner, loser=it.loser, p=p_value(it.p_holm)) for it in against]
    return t["robin_contradicted"].format(pairs=t["joint"].join(pairs))
