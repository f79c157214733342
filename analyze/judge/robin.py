"""The round robin: rivals against each other on the tasks they share. Knows no reply and no arithmetic.

    task -> every two of its rivals -> both orders, as the target and a rival are asked

Every two rivals stand in the order of their names, so the order in which a task lists them changes nothing. These
judgements enter no headline: they are for a ranking, which the target's own meetings cannot give.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from analyze.judge.cells import ORDERS, Cell, is_asked
from analyze.judge.tasks import Solution, Task


def rival_pairs(task: Task) -> Iterator[tuple[Solution, Solution]]:
    """Yield every two rivals of a task."""
    return combinations(sorted(task.rivals, key=lambda rival: rival.author), 2)


def robin_cells(task: Task, *, max_code_chars: int | None = None) -> list[Cell]:
    """Return the judgements between a task's rivals: the first of two stands for the target's side."""
    return [
        Cell(task, second, order, probe="robin", shown=(first, second))
        for first, second in rival_pairs(task)
        if is_asked(first, second, max_code_chars)
        for order in ORDERS
    ]
