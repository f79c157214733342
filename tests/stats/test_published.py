"""Numbers that others published come out of our functions, from the verdicts that they published with them.

The data lies beside the checkout, in ../shared/data/judge; `published.json` there has the rules. Where it is missing
these tests are skipped.
"""

from __future__ import annotations

import csv
import gzip
import json
import re
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import pytest

from analyze.stats import cluster_interval, cohen_kappa, mean_se, rate_interval

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "judge"
pytestmark = pytest.mark.skipif(not SHARED.exists(), reason=f"the published judgements are not here: {SHARED}")

ANNOTATOR = "weighted_alpaca_eval_gpt4_turbo"


class Run(NamedTuple):
    """One judge run of LLMBar: what it should have said, and what it said in either order."""

    gold: list[str]
    ab: list[str]
    ba: list[str]


def rows(path: str) -> list[dict[str, str]]:
    with gzip.open(SHARED / path, "rt", newline="") as file:
        return list(csv.DictReader(file))


def published(path: str) -> list[dict[str, str]]:
    with open(SHARED / path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def leaderboard() -> dict[str, list[float]]:
    """Every model's scores against the one baseline: how much rather the judge would have its answer, 0 to 1."""
    scores: dict[str, list[float]] = defaultdict(list)
    for row in rows("alpaca_eval/verdicts.csv.gz"):
        preference = float(row["preference"] or "nan") or 1.5
        if 1 <= preference <= 2:
            scores[row["model"]].append(preference - 1)
    return scores


@pytest.fixture(scope="module")
def runs() -> dict[tuple[str, str, str], Run]:
    read: dict[tuple[str, str, str], Run] = defaultdict(lambda: Run([], [], []))
    for row in rows("llmbar/judgements.csv.gz"):
        run = read[row["dataset"], row["judge"], row["strategy"]]
        run.gold.append(row["gold"])
        run.ab.append(row["winner_order_ab"])
        run.ba.append(row["winner_order_ba"])
    return read


def test_every_row_of_the_alpaca_eval_leaderboard_is_reproduced(leaderboard: dict[str, list[float]]) -> None:
    reproduced = 0
    for row in published(f"alpaca_eval/published_{ANNOTATOR}_leaderboard.csv"):
        scores = leaderboard.get(row[""])
        if scores is None:
            continue
        estimate = mean_se(scores)
        assert 100 * estimate.mean == pytest.approx(float(row["win_rate"]), abs=1e-6), row[""]
        assert 100 * estimate.se == pytest.approx(float(row["standard_error"]), abs=1e-6), row[""]
        counts = [
            sum(s > 0.5 for s in scores),
            sum(s < 0.5 for s in scores),
            sum(s == 0.5 for s in scores),
            len(scores),
        ]
        assert counts == [int(float(row[key])) for key in ("n_wins", "n_wins_base", "n_draws", "n_total")], row[""]
        reproduced += 1
    about = json.loads((SHARED / "published.json").read_text())["alpaca_eval"]
    assert reproduced == about["must_match"][ANNOTATOR] == 57


def test_all_499_runs_of_llmbar_are_reproduced(runs: dict[tuple[str, str, str], Run]) -> None:
    statistics = published("llmbar/published_statistics.csv")
    assert len(statistics) == len(runs) == 499
    for row in statistics:
        gold, ab, ba = runs[row["dataset"], row["judge"], row["strategy"]]
        right_ab = [said == truth for said, truth in zip(ab, gold, strict=True)]
        right_ba = [said == truth for said, truth in zip(ba, gold, strict=True)]
        counted = {
            "correct_False": sum(right_ab),
            "correct_True": sum(right_ba),
            "correct_both": sum(a and b for a, b in zip(right_ab, right_ba, strict=True)),
            "equal": sum(a == b for a, b in zip(ab, ba, strict=True)),
        }
        for key, count in counted.items():
            assert re.match(r"(\d+) / (\d+) = ", row[key]).groups() == (str(count), str(len(gold))), (row, key)
        kappa = cohen_kappa([said == "1" for said in ab], [said == "1" for said in ba])
        if row["kappa_agreement"] in ("", "nan"):
            assert kappa is None, row
        else:
            assert kappa == pytest.approx(float(row["kappa_agreement"]), abs=1e-12), row


# --- mistakes of others, which are not ours ---


def test_the_kappas_with_gold_that_llmbar_published_are_not_reproduced(runs: dict[tuple[str, str, str], Run]) -> None:
    """Its script maps the verdict "2" to 0 and leaves gold 1 and 2, so that a faultless judge is near 0."""
    wrong = 0
    for row in published("llmbar/published_statistics.csv"):
        gold, ab, _ = runs[row["dataset"], row["judge"], row["strategy"]]
        theirs = cohen_kappa([1 if said == "1" else 0 for said in ab], [int(truth) for truth in gold])
        ours = cohen_kappa([said == "1" for said in ab], [truth == "1" for truth in gold])
        assert theirs == pytest.approx(float(row["kappa_False"]), abs=1e-9)
        wrong += ours is None or abs(ours - float(row["kappa_False"])) > 0.01
    assert wrong > 400


def test_copies_of_rows_narrow_intervals_over_rows_and_leave_ours_alone(leaderboard: dict[str, list[float]]) -> None:
    """Arena-Hard counts a strong verdict as three rows and bootstraps rows: an interval too narrow by a factor √3."""
    scores = leaderboard["claude-2"]
    copied, items = scores * 3, [*range(len(scores))] * 3
    assert mean_se(copied).se == pytest.approx(mean_se(scores).se / 3**0.5, rel=0.01)
    for interval in (cluster_interval, rate_interval):
        once, thrice = interval(scores, range(len(scores))), interval(copied, items)
        assert (thrice.low, thrice.high) == pytest.approx((once.low, once.high), abs=1e-9)


def test_unjudged_items_are_left_out_and_not_counted_as_zero(leaderboard: dict[str, list[float]]) -> None:
    """WildBench divides by all items, those without a verdict too: the mean of what was judged shrinks."""
    short = [scores for scores in leaderboard.values() if len(scores) < 805]
    assert short
    for scores in short:
        assert mean_se(scores).n == len(scores)
        assert mean_se(scores).mean > mean_se([*scores, *[0.0] * (805 - len(scores))]).mean
