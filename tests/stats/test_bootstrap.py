"""The bootstrap agrees with formulas where there are some, and draws clusters, not rows."""

from __future__ import annotations

import csv
import gzip
import random
from pathlib import Path

import numpy as np
import pytest

from analyze.errors import UsageError
from analyze.stats import cluster_bootstrap, cluster_interval, mean_se

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "judge" / "alpaca_eval" / "verdicts.csv.gz"


def clustered(tasks: int = 60, rows: int = 5) -> tuple[list[float], list[int]]:
    draw = random.Random(3)
    levels = [draw.gauss(0, 1) for _ in range(tasks)]
    return [level + draw.gauss(0, 1) for level in levels for _ in range(rows)], [
        task for task in range(tasks) for _ in range(rows)
    ]


def test_a_mean_has_the_interval_of_its_formula_and_not_that_of_rows() -> None:
    values, tasks = clustered()
    drawn, formula = cluster_bootstrap(values, tasks, np.mean), cluster_interval(values, tasks)
    assert drawn.value == pytest.approx(formula.value)
    assert drawn.low is not None and drawn.high is not None and formula.low is not None and formula.high is not None
    assert drawn.high - drawn.low == pytest.approx(formula.high - formula.low, rel=0.1)
    assert drawn.high - drawn.low > 1.5 * 2 * 1.96 * mean_se(values).se


def test_a_statistic_of_two_columns_sees_whole_rows() -> None:
    values, tasks = clustered()
    rows = [(value, value + 0.01 * n) for n, value in enumerate(values)]
    estimate = cluster_bootstrap(rows, tasks, lambda drawn: float(np.corrcoef(drawn.T)[0, 1]))
    assert estimate.low is not None and estimate.value is not None and estimate.high is not None
    assert -1 <= estimate.low < estimate.value < estimate.high <= 1


def test_order_and_global_random_state_change_nothing_the_seed_does() -> None:
    values, tasks = clustered(20)
    order = list(range(len(values)))
    random.Random(1).shuffle(order)
    first = cluster_bootstrap(values, tasks, np.mean)
    np.random.seed(7)
    assert cluster_bootstrap([values[i] for i in order], [f"t{tasks[i]}" for i in order], np.mean) == first
    assert cluster_bootstrap(values, tasks, np.mean, seed=1) != first


def test_where_nothing_can_vary_there_is_no_interval() -> None:
    assert cluster_bootstrap([], [], np.mean).value is None
    for values, tasks in (([1.0, 2.0], ["t", "t"]), ([1.0, 1.0, 1.0], [1, 2, 3])):
        estimate = cluster_bootstrap(values, tasks, np.mean)
        assert estimate.value == np.mean(values) and estimate.low is None
    assert cluster_bootstrap([1.0, 2.0], [1, 2], lambda rows: float("nan")).value is None
    with pytest.raises(UsageError):
        cluster_bootstrap([1.0], [], np.mean)


@pytest.mark.skipif(not SHARED.exists(), reason=f"the published judgements are not here: {SHARED}")
def test_published_standard_errors_are_those_of_the_bootstrap() -> None:
    """All 57 were within 6 %; four of them here."""
    scores: dict[str, list[float]] = {"claude-2": [], "gemma-7b-it": [], "NullModel": [], "gpt-3.5-turbo-0301": []}
    with gzip.open(SHARED, "rt", newline="") as file:
        for row in csv.DictReader(file):
            if row["model"] in scores and row["preference"]:
                scores[row["model"]].append((float(row["preference"]) or 1.5) - 1)
    for values in scores.values():
        estimate = cluster_bootstrap(values, range(len(values)), np.mean)
        assert estimate.low is not None and estimate.high is not None
        assert (estimate.high - estimate.low) / (2 * 1.96) == pytest.approx(mean_se(values).se, rel=0.06)
