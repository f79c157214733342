"""Two judges held against each other: agreement by hand, the same whichever side is the target."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from statistics import fmean
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyze.stats import Estimate, cluster_interval, cohen_kappa, gwet_ac1, krippendorff_alpha
from analyze.stats.intervals import t_quantile
from analyze.stats.jackknife import jackknife
from analyze.stats.second import Disagreement, SecondJudge
from analyze.stats.summary import summarise
from tests.stats.test_agreement import ABSTRACTORS
from tests.stats.test_check import audit, digits, mirror
from tests.stats.test_summary import CONFLICT, LOSS, TRUE, UNSCORED, WIN, record

Digits = tuple[int | None, int | None]
MIRRORED = {"win": "loss", "loss": "win", "tie": "tie"}


def judged(*pairs: tuple[Digits, Digits]) -> list[dict[str, Any]]:
    """Tasks of one pair each: what the first judge said of it in both orders, and what the second did."""
    return [record(f"t{n:02}", first) | {"audit": [audit("second", second)]} for n, (first, second) in enumerate(pairs)]


def second_of(*pairs: tuple[Digits, Digits]) -> SecondJudge:
    found = summarise(judged(*pairs)).second
    assert found is not None
    return found


def test_without_a_second_judge_there_is_nothing_to_say_of_one() -> None:
    assert summarise([record("a", WIN)]).second is None
    assert summarise([record("a", WIN) | {"audit": [audit("repeat", WIN)]}]).second is None


def test_agreement_on_outcomes_is_counted_by_hand() -> None:
    """Ten pairs: six alike, two of them ties; a win told a tie, twice; a win told a loss, twice."""
    found = second_of(
        *[(WIN, WIN)] * 2, *[(LOSS, LOSS)] * 2, *[(TRUE, CONFLICT)] * 2, *[(WIN, TRUE)] * 2, *[(WIN, LOSS)] * 2
    )
    assert (found.agreement.value, found.agreement.n, found.pairs) == (pytest.approx(0.6), 10, 10)
    # first: 6 wins, 2 ties, 2 losses; second: 2, 4, 4. By chance: (6·2 + 2·4 + 2·4)/100 = 0.28
    assert found.kappa.value == pytest.approx((0.6 - 0.28) / (1 - 0.28))
    assert (found.first.wins, found.first.ties, found.first.losses) == (6, 2, 2)
    assert (found.second.wins, found.second.ties, found.second.losses) == (2, 4, 4)
    assert (found.first.win_rate.value, found.second.win_rate.value) == (pytest.approx(0.7), pytest.approx(0.4))
    assert found.ac1 is None, "no outcome has more than 80 % of all"


def test_agreement_on_levels_is_of_what_was_said_of_a_and_b() -> None:
    """Single judgements, as shown: (5, 4), (1, 2), (3, 3), (4, 4)."""
    found = second_of(((5, 1), (4, 2)), ((3, 4), (3, 4)))
    first, second = [5, 1, 3, 4], [4, 2, 3, 4]
    assert found.levels_kappa.n == 4
    # squared distances 1 1 0 0; of all 4 · 4 pairings: 1+9+4+1 of the 5, 9+1+4+9 of the 1, 1+1+0+1, 0+4+1+0
    assert found.levels_kappa.value == pytest.approx(1 - 4 * 2 / 46)
    assert found.levels_kappa.value == cohen_kappa(first, second, "quadratic")
    assert found.levels_alpha.value == krippendorff_alpha(zip(first, second, strict=True), "ordinal")


def test_two_judges_that_always_take_the_first_agree_on_ties_and_get_no_credit_on_levels() -> None:
    found = second_of(*[(CONFLICT, CONFLICT)] * 5)
    assert found.agreement.value == 1
    assert found.kappa.value is found.levels_kappa.value is found.levels_alpha.value is None


def test_where_nearly_all_is_one_outcome_ac1_stands_beside_kappa() -> None:
    """Nine pairs won by both, one by the first only: 19 of 20 outcomes are wins."""
    found = second_of(*[(WIN, WIN)] * 9, (WIN, LOSS))
    assert found.kappa.value == 0 and found.ac1 is not None
    by_chance = (0.95 * 0.05 + 0.05 * 0.95) / 2
    assert found.ac1.value == pytest.approx((0.9 - by_chance) / (1 - by_chance))
    eighty = second_of(*[(WIN, WIN)] * 8, *[(LOSS, LOSS)] * 2)
    assert eighty.ac1 is None, "80 % is not more than 80 %"


def test_pairs_that_differ_are_listed_the_opposite_ones_first() -> None:
    found = second_of((WIN, TRUE), (LOSS, LOSS), (LOSS, WIN))
    assert found.disagreements == [
        Disagreement("t02", "rival-1", "loss", "win"),
        Disagreement("t00", "rival-1", "win", "tie"),
    ]
    assert [it.is_opposite for it in found.disagreements] == [True, False]


def test_what_one_judge_did_not_score_is_counted_and_enters_no_agreement() -> None:
    found = second_of((WIN, WIN), (UNSCORED, WIN), (WIN, (5, None)))
    assert (found.pairs, found.agreement.n, found.cells, found.failed_cells) == (3, 1, 6, 1)
    assert found.levels_kappa.n == 4, "single judgements that both gave: 2 + 1 + 1"
    nothing = second_of((WIN, (None, None)))
    assert nothing.agreement == nothing.kappa == nothing.levels_alpha == Estimate(None, None, None, 0)
    assert nothing.ac1 is None


def test_the_second_judge_enters_no_result_and_no_check_of_the_first() -> None:
    records = judged((WIN, LOSS), (TRUE, (None, None)))
    alone = summarise([one | {"audit": []} for one in records])
    assert replace(summarise(records), second=None) == alone


def test_tasks_of_one_group_are_one_observation() -> None:
    pairs = [(WIN, WIN), (LOSS, WIN)] * 6
    apart, together = judged(*pairs), judged(*pairs)
    for n, one in enumerate(together):
        one["group_id"] = f"g{n // 4}"
    wide, narrow = summarise(together).second, summarise(apart).second
    assert wide and narrow and wide.agreement.low and narrow.agreement.low
    assert wide.agreement.value == narrow.agreement.value
    grouped = summarise([one | {"group_id": "g"} for one in apart]).second
    assert grouped and grouped.kappa.low is None and grouped.agreement.low is None


# --- jackknife ---


def test_what_the_jackknife_leaves_out_is_a_cluster_and_its_scale_is_fishers() -> None:
    values = [0.1, 0.4, 0.35, 0.8, -0.2]
    found = jackknife([[value] for value in values], lambda units: math.tanh(fmean(units)))
    expected = cluster_interval(values, range(5))
    for one, other in ((found.value, expected.value), (found.low, expected.low), (found.high, expected.high)):
        assert one is not None and other is not None
        assert math.atanh(one) == pytest.approx(other)


@pytest.mark.parametrize(
    ("measure", "value", "se"),
    [
        (cohen_kappa, 0.7964094, 0.05891072),
        (lambda a, b: gwet_ac1(a, b, 3), 0.8493305, 0.04321747),
        (lambda a, b: krippendorff_alpha(zip(a, b, strict=True), "nominal"), 0.7972585, 0.05905473),
    ],
    ids=["kappa", "AC1", "alpha"],
)
def test_the_jackknife_has_the_standard_errors_that_gwet_publishes(measure: Any, value: float, se: float) -> None:
    found = jackknife([[each] for each in ABSTRACTORS], lambda units: measure(*zip(*units, strict=True)))
    assert found.value == pytest.approx(value, abs=5e-8)
    assert found.low and found.high
    half = (math.atanh(found.high) - math.atanh(found.low)) / 2 * (1 - value**2)
    assert half / t_quantile(0.975, 99) == pytest.approx(se, rel=0.1)


def test_the_jackknife_of_many_clusters_leaves_them_out_by_the_group(monkeypatch: pytest.MonkeyPatch) -> None:
    draw, looks = random.Random(3), 0
    clusters = [[draw.gauss(0.2, 0.3) for _ in range(draw.choice((1, 2, 5)))] for _ in range(1_500)]

    def statistic(units: list[float]) -> float:
        nonlocal looks
        looks += 1
        return math.tanh(fmean(units))

    found = jackknife(clusters, statistic)
    assert looks == 201
    monkeypatch.setattr("analyze.stats.jackknife.MOST_GROUPS", 1_500)
    whole = jackknife(clusters, statistic)
    assert found.value == pytest.approx(whole.value) and found.n == whole.n
    assert found.low and found.high and whole.low and whole.high
    assert found.high - found.low == pytest.approx(whole.high - whole.low, rel=0.15)


def test_agreement_that_one_task_alone_spoils_has_an_interval_that_ends_at_perfect() -> None:
    kappa = second_of(*[(WIN, WIN), (LOSS, LOSS)] * 4, (WIN, LOSS)).kappa
    assert kappa.value and kappa.low and kappa.low < kappa.value < 1 == kappa.high


# --- invariance ---

pairs_of_digits = st.lists(st.tuples(st.tuples(digits, digits), st.tuples(digits, digits)), min_size=1, max_size=8)


@settings(deadline=None, max_examples=50)
@given(pairs_of_digits)
def test_swapping_target_and_rival_mirrors_the_sides_and_no_agreement(run: list[tuple[Digits, Digits]]) -> None:
    straight = judged(*run)
    swapped = judged(*[((first[1], first[0]), second) for first, second in run])
    for one in swapped:
        one["audit"] = [mirror(each) for each in one["audit"]]
    a, b = summarise(straight).second, summarise(swapped).second
    assert a and b
    assert replace(a, first=b.first, second=b.second, disagreements=b.disagreements) == b
    for one, other in ((a.first, b.first), (a.second, b.second)):
        assert (one.wins, one.ties, one.losses) == (other.losses, other.ties, other.wins)
        if one.win_rate.value is not None:
            assert one.win_rate.value == 1 - (other.win_rate.value or 0)
    assert b.disagreements == [
        replace(it, first=MIRRORED[it.first], second=MIRRORED[it.second]) for it in a.disagreements
    ]


@settings(deadline=None, max_examples=25)
@given(pairs_of_digits, st.randoms())
def test_the_order_of_records_and_cells_changes_nothing(
    run: list[tuple[Digits, Digits]], shuffler: random.Random
) -> None:
    records = judged(*run)
    before = summarise(records).second
    shuffler.shuffle(records)
    for one in records:
        for it in (*one["audit"], *one["rivals"]):
            shuffler.shuffle(it["cells"])
    assert summarise(records).second == before
