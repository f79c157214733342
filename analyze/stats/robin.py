"""The round robin: a ranking of all authors, target included, from meetings of every two of them. Opens no file.

    records ─► meetings (who met whom on which task) ─► win table, strengths with intervals, what contradicts them

It enters no headline. Strengths are of these authors against each other, by Bradley and Terry, with what being shown
first adds. They assume that who beats whom follows from one number each: `contradictions` are the meetings, each tested
on its own, that say otherwise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from analyze.errors import UsageError
from analyze.stats.bootstrap import cluster_bootstrap
from analyze.stats.hypotheses import holm, sign_flip_test
from analyze.stats.intervals import Estimate, numbered
from analyze.stats.models import bradley_terry
from analyze.stats.pairs import POINTS, Pair, Record, by_order, cluster_sums, lean, order_means, over_tasks, task_means

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Reason = Literal["few_tasks", "not_connected", "order_decides"]

LEAST_TASKS = 5
"""On fewer an author is not ranked: not even winning all of them would differ from chance."""
SIGNIFICANT = 0.05
_ALIKE = 1e-6  # strengths that differ by less are one, but for rounding


@dataclass(frozen=True, slots=True)
class Standing:
    """An author's strength, in log-odds; those of all who are ranked have the mean 0. `tasks`: on how many it met."""

    author: str
    strength: Estimate
    tasks: int


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An author without a strength: on too few tasks, or never won (or never lost) against those who are ranked.

    Or `order_decides`: where who is shown first tells who wins (every time, or among those who are alike), no finite
    strengths fit, and nobody has one.
    """

    author: str
    tasks: int
    reason: Reason


@dataclass(frozen=True, slots=True)
class Meeting:
    """Two authors on their common tasks, from the side of `first`. `score` is the graded mean, 1 = first much better.

    `p_value` is the sign-flip test of score = 0.5 on clusters, `p_holm` the same adjusted for the number of meetings;
    both None where nothing was scored.
    """

    first: str
    second: str
    wins: int
    ties: int
    losses: int
    unscored: int
    score: Estimate
    p_value: float | None
    p_holm: float | None

    @property
    def winner(self) -> str | None:
        """Who is significantly the better one of the two."""
        if self.p_holm is None or self.p_holm > SIGNIFICANT or self.score.value is None:
            return None
        return self.first if self.score.value > 0.5 else self.second

    @property
    def loser(self) -> str | None:
        return {self.first: self.second, self.second: self.first}.get(self.winner or "")


@dataclass(frozen=True, slots=True)
class RoundRobin:
    """`standings` has the strongest first. `first`: what being shown first adds, in log-odds; None without standings.

    `meetings` has every two authors that share a task, by their names.
    """

    authors: list[str]
    standings: list[Standing]
    left_out: list[LeftOut]
    first: Estimate | None
    meetings: list[Meeting]

    @property
    def decided(self) -> list[Meeting]:
        """The significant meetings of two who are ranked: what a ranking can be held against."""
        ranked = {standing.author for standing in self.standings}
        return [it for it in self.meetings if it.winner and {it.first, it.second} <= ranked]

    @property
    def contradictions(self) -> list[Meeting]:
        """Those of them whose winner is not the stronger one: who beat each other in a circle are equally strong."""
        strength = {standing.author: standing.strength.value or 0.0 for standing in self.standings}
        return [it for it in self.decided if strength[it.winner or ""] - strength[it.loser or ""] < _ALIKE]


@dataclass(frozen=True, slots=True)
class _Game:
    """One task on which two met. `points` are those of `first`, shown first and shown second; None if unscored."""

    first: str
    second: str
    task_id: str
    cluster: Hashable
    outcome: str
    score: float | None
    points: tuple[float, float] | None

    def turned(self) -> _Game:
        outcome = {"win": "loss", "loss": "win"}.get(self.outcome, self.outcome)
        score = None if self.score is None else 1 - self.score
        points = None if self.points is None else (1 - self.points[1], 1 - self.points[0])
        return replace(self, first=self.second, second=self.first, outcome=outcome, score=score, points=points)


def round_robin(records: Sequence[Record], pairs: Sequence[Pair]) -> RoundRobin | None:
    """Return the round robin of sorted records whose `pairs` these are; None where none was asked for."""
    if not any("round_robin" in record for record in records):
        return None
    games = [_sorted_names(game) for game in (*_against_targets(pairs), *_between_rivals(records, pairs))]
    authors = sorted({author for game in games for author in (game.first, game.second)})
    tasks = {author: _tasks_of(author, games) for author in authors}
    enough = [author for author in authors if tasks[author] >= LEAST_TASKS]
    ranked = _connected(enough, _tables(enough, games))
    strengths, first = _strengths(ranked, games)
    undecided = set(ranked) if any(strength.value is None for strength in strengths) else set()
    if undecided:
        ranked, strengths, first = [], [], None
    standings = [Standing(author, strength, tasks[author]) for author, strength in zip(ranked, strengths, strict=True)]
    return RoundRobin(
        authors=authors,
        standings=sorted(standings, key=lambda it: (-(it.strength.value or 0.0), it.author)),
        left_out=[
            LeftOut(author, tasks[author], _why(author, enough, undecided))
            for author in authors
            if author not in ranked
        ],
        first=first,
        meetings=_meetings(games),
    )


def _why(author: str, enough: Collection[str], undecided: Collection[str]) -> Reason:
    if author in undecided:
        return "order_decides"
    return "not_connected" if author in enough else "few_tasks"


# --- who met whom ---


def _against_targets(pairs: Sequence[Pair]) -> Iterator[_Game]:
    for pair in pairs:
        target = str(pair.target["author"])
        yield _game(target, pair.author, pair.task_id, pair.cluster, pair.record)


def _between_rivals(records: Sequence[Record], pairs: Sequence[Pair]) -> Iterator[_Game]:
    clusters = {pair.task_id: pair.cluster for pair in pairs}
    for record in records:
        task_id = str(record["task_id"])
        for met in record.get("round_robin") or ():
            yield _game(str(met["first"]), str(met["second"]), task_id, clusters[task_id], met)


def _game(first: str, second: str, task_id: str, cluster: Hashable, met: Record) -> _Game:
    """Return a meeting; one that a rule decides counts as decided so in either order."""
    outcome, points = met["outcome"], None
    if outcome != "unscored":
        means = order_means(by_order(met["cells"]))
        points = (POINTS[outcome], POINTS[outcome]) if means is None else (_points(means[0]), _points(means[1]))
    return _Game(first, second, task_id, cluster, outcome, met["score"], points)


def _points(score: float) -> float:
    return (lean(score) + 1) / 2


def _sorted_names(game: _Game) -> _Game:
    return game if game.first < game.second else game.turned()


def _tasks_of(author: str, games: Sequence[_Game]) -> int:
    return len({game.task_id for game in games if game.points and author in (game.first, game.second)})


def _meetings(games: Sequence[_Game]) -> list[Meeting]:
    met: dict[tuple[str, str], list[_Game]] = {}
    for game in games:
        met.setdefault((game.first, game.second), []).append(game)
    found = [_meeting(*names, met[names]) for names in sorted(met)]
    adjusted = iter(holm([it.p_value for it in found if it.p_value is not None]))
    return [it if it.p_value is None else replace(it, p_holm=next(adjusted)) for it in found]


def _meeting(first: str, second: str, games: Sequence[_Game]) -> Meeting:
    import numpy as np

    outcomes = Counter(game.outcome for game in games)
    tasks, clusters = numbered([game.task_id for game in games]), numbered([game.cluster for game in games])
    means = task_means(np.array([game.score for game in games], dtype=float), tasks, clusters)
    p_value = sign_flip_test(cluster_sums(means)) if len(means) else None
    return Meeting(
        first,
        second,
        wins=outcomes["win"],
        ties=outcomes["tie"],
        losses=outcomes["loss"],
        unscored=outcomes["unscored"],
        score=over_tasks(means),
        p_value=p_value,
        p_holm=p_value,
    )


# --- strengths ---


def _tables(authors: Sequence[str], games: Sequence[_Game]) -> dict[Hashable, NDArray[np.float64]]:
    """Return for each cluster the wins that `bradley_terry` takes: [i shown first, or second][i][j]."""
    import numpy as np

    index = {author: number for number, author in enumerate(authors)}
    tables: dict[Hashable, NDArray[np.float64]] = {}
    for game in games:
        i, j = index.get(game.first), index.get(game.second)
        if game.points is None or i is None or j is None:
            continue
        table = tables.setdefault(game.cluster, np.zeros((2, len(authors), len(authors))))
        for order, points in enumerate(game.points):
            table[order, i, j] += points
            table[1 - order, j, i] += 1 - points
    return tables


def _connected(authors: Sequence[str], tables: dict[Hashable, NDArray[np.float64]]) -> list[str]:
    """Return the largest group in which everybody won, and lost, against the others, directly or through them."""
    from scipy.sparse.csgraph import connected_components  # type: ignore[import-untyped]  # SciPy ships no types

    if not tables:
        return []
    won = sum(tables.values()).sum(axis=0) > 0  # type: ignore[union-attr]
    _, labels = connected_components(won, connection="strong")
    groups: dict[int, list[str]] = {}
    for author, label in zip(authors, labels, strict=True):
        groups.setdefault(int(label), []).append(author)
    largest = min(groups.values(), key=lambda group: (-len(group), group))
    return largest if len(largest) > 1 else []


def _strengths(authors: Sequence[str], games: Sequence[_Game]) -> tuple[list[Estimate], Estimate | None]:
    """Return the strengths of connected authors and what being shown first adds, with bootstrap intervals."""
    import numpy as np

    if not authors:
        return [], None
    tables = _tables(authors, games)
    rows = np.array([table.ravel() for table in tables.values()])
    *strengths, first = _bootstrapped(len(authors), rows.tobytes(), len(rows))
    return strengths, first


@lru_cache(maxsize=4)  # a run is summed up for the console, the pictures and the pages: seconds each time
def _bootstrapped(players: int, data: bytes, clusters: int) -> tuple[Estimate, ...]:
    """Return each strength and the order's effect; the tables of `clusters` come as bytes, to be looked up by.

    Every number is drawn with the same seed, so the draws are the same, and each is fitted once.
    """
    import numpy as np

    rows = np.frombuffer(data).reshape(clusters, -1)
    fits: dict[bytes, list[float]] = {}

    def fit(drawn: Any) -> list[float]:
        table = drawn.sum(axis=0)
        key = table.tobytes()
        if key not in fits:
            fits[key] = _fit(table.reshape(2, players, players))
        return fits[key]

    def number(at: int) -> Callable[[Any], float]:
        return lambda drawn: fit(drawn)[at]

    return tuple(cluster_bootstrap(rows, range(clusters), number(at)) for at in range(players + 1))


def _fit(wins: NDArray[np.float64]) -> list[float]:
    """Return the strengths and the order's effect; NaN where there are none: a draw of tasks may leave somebody
    without win or loss, or the order to decide.
    """
    try:
        found = bradley_terry(wins, order_effect=True)
    except UsageError:
        return [float("nan")] * (len(wins[0]) + 1)
    return [*found.strengths, found.first if found.first is not None else float("nan")]
