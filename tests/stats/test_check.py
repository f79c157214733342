"""Whether a judge may be believed: every gate by its interval, every probe by what it moves."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyze.judge.folding import cell_score
from analyze.judge.folding import outcome_of as folded_outcome
from analyze.stats import Estimate
from analyze.stats.check import MOVERS, Direction, Gate, JudgeCheck, Probe, State
from analyze.stats.intervals import t_quantile
from analyze.stats.pairs import outcome_of
from analyze.stats.summary import summarise
from tests.stats.test_summary import CONFLICT, LOSS, TRUE, WIN, record

NOTHING = Estimate(None, None, None, 0)
MIRROR = {"target": "rival", "rival": "target"}


def cell(order: Any, digit: int | None, sample: int = 0) -> dict[str, Any]:
    """One judgement as a record has it; digit None is a failed one."""
    ok = digit is not None
    made = {"order": order, "sample": sample, "status": "ok" if ok else "failed", "digit": digit}
    return made | {"score": cell_score(digit, order) if ok else None}


def audit(probe: str, *pairs: tuple[int | None, int | None], edited: str | None = None) -> dict[str, Any]:
    """One probe of a task: for each sample what was said target first and rival first."""
    orders = ("target_first", "rival_first")
    cells = [cell(order, digit, n) for n, pair in enumerate(pairs) for order, digit in zip(orders, pair, strict=True)]
    return {"probe": probe, "rival": "rival-1", "edited": edited, "cells": cells}


def same(*digits: int | None) -> dict[str, Any]:
    cells = [cell("target_first", digit, n) for n, digit in enumerate(digits)]
    return {"probe": "same", "rival": "rival-1", "edited": None, "cells": cells}


def check_of(pair: tuple[int | None, int | None], *audits: dict[str, Any], tasks: int = 1) -> JudgeCheck:
    """The check of tasks that were all judged, and probed, alike."""
    return summarise([record(str(n), pair) | {"audit": [*audits]} for n in range(tasks)]).check


# --- gates ---


@pytest.mark.parametrize(
    ("low", "high", "direction", "state"),
    [
        (0.80, 0.90, "at_least", "qualified"),
        (0.79, 0.90, "at_least", "not_enough_evidence"),
        (0.60, 0.80, "at_least", "not_enough_evidence"),
        (0.60, 0.79, "at_least", "not_qualified"),
        (0.60, 0.80, "at_most", "qualified"),
        (0.60, 0.81, "at_most", "not_enough_evidence"),
        (0.80, 0.90, "at_most", "not_enough_evidence"),
        (0.81, 0.90, "at_most", "not_qualified"),
        (None, None, "at_least", "not_enough_evidence"),
    ],
)
def test_a_gate_is_open_or_shut_only_where_its_whole_interval_is(
    low: float | None, high: float | None, direction: Direction, state: State
) -> None:
    assert Gate("x", Estimate(0.8, low, high, 30), 0.8, direction).state == state


def states(check: JudgeCheck) -> dict[str, State]:
    return {gate.name: gate.state for gate in check.gates}


def passed(pair: tuple[int, int], tasks: int, *audits: dict[str, Any]) -> JudgeCheck:
    """The check of tasks whose target passed its tests and whose rival did not."""
    records = [record(str(n), pair) | {"audit": [*audits]} for n in range(tasks)]
    for one in records:
        one["target"]["passed"], one["rivals"][0]["passed"] = True, False
    return summarise(records).check


def test_a_judge_that_passes_every_gate_is_qualified() -> None:
    check = passed(WIN, 60, same(3, 3))
    assert set(states(check).values()) == {"qualified"}
    assert check.state == "qualified"


@pytest.mark.parametrize(
    ("gate", "pair", "digits"),
    [("order_agreement", CONFLICT, (3, 3)), ("same_decisive", WIN, (5, 1)), ("passed_accuracy", LOSS, (3, 3))],
)
def test_one_shut_gate_is_enough_to_disqualify(gate: str, pair: tuple[int, int], digits: tuple[int, int]) -> None:
    check = passed(pair, 60, same(*digits))
    assert states(check)[gate] == "not_qualified"
    assert check.state == "not_qualified"


def test_few_tasks_are_not_enough_evidence_however_good_they_look() -> None:
    check = passed(WIN, 3, same(3, 3))
    assert set(states(check).values()) == {"not_enough_evidence"}
    assert check.state == "not_enough_evidence"


@pytest.mark.parametrize("audits", [{}, {"audit": []}, {"audit": None}])
def test_a_run_from_before_there_were_probes_lacks_evidence_and_is_read(audits: dict[str, Any]) -> None:
    check = summarise([record(str(n), WIN) | audits for n in range(60)]).check
    assert states(check)["order_agreement"] == "qualified"
    assert states(check)["same_decisive"] == "not_enough_evidence"
    assert check.state == "not_enough_evidence"
    assert check.same_decisive == check.repeat_flips == NOTHING


def test_without_test_results_nothing_is_known_of_correctness() -> None:
    assert states(check_of(WIN, tasks=60))["passed_accuracy"] == "not_enough_evidence"


@pytest.mark.parametrize("pair", [TRUE, (4, 3), (5, 4), (5, 5), (5, 3), LOSS])
def test_a_judge_is_right_only_where_both_orders_name_the_side_that_passed(pair: tuple[int, int]) -> None:
    check = passed(pair, 60)
    assert check.passed_accuracy.value == 0
    assert states(check)["passed_accuracy"] == "not_qualified"


def test_a_judge_that_always_takes_the_first_is_never_right_however_it_leans() -> None:
    """It says 5 where the first is right and 4 where it is not: the mean of both orders leans to the right side."""
    check = passed((5, 4), 60)
    assert check.order_agreement.value == check.passed_accuracy.value == 0
    assert states(check)["passed_accuracy"] == check.state == "not_qualified"


def test_nothing_judged_is_no_verdict_on_the_judge() -> None:
    for records in ([], [record("a", (None, None))]):
        assert summarise(records).check.state == "not_enough_evidence"


# --- probes ---


def test_a_side_taken_between_identical_solutions_is_decisive() -> None:
    assert check_of(WIN, same(3, 5)).same_decisive.value == 0.5
    assert check_of(WIN, same(1, None)).same_decisive.value == 1


def test_repeats_flip_where_they_take_another_side_in_the_same_order() -> None:
    steady = audit("repeat", (5, 1), (4, 2), (5, 2))
    assert check_of(WIN, steady).repeat_flips.value == 0
    shaky = audit("repeat", (5, 1), (5, 1), (2, 1))  # target first: one of three differs, in 2 of 3 comparisons
    assert check_of(WIN, shaky).repeat_flips.value == pytest.approx(1 / 3)


def test_an_order_with_one_repeat_shows_no_flip() -> None:
    assert check_of(WIN, audit("repeat", (5, None))).repeat_flips == NOTHING


@pytest.mark.parametrize("name", MOVERS)
@pytest.mark.parametrize(("after", "moved"), [(WIN, 0), (LOSS, 1), (TRUE, 1), ((4, 2), 0)])
def test_a_probe_moves_a_verdict_where_both_orders_come_to_another_outcome(
    name: str, after: tuple[int, int], moved: float
) -> None:
    check = check_of(WIN, audit(name, after, edited="rival"))
    assert {probe.name: probe.moved.value for probe in check.probes}[name] == moved
    assert sum(probe.moved.n for probe in check.probes) == 1


def injected(check: JudgeCheck) -> Probe:
    [found] = [probe for probe in check.probes if probe.name == "injected"]
    return found


@pytest.mark.parametrize(
    ("edited", "after", "toward", "away"),
    [
        ("rival", LOSS, 1, None),
        ("rival", TRUE, 1, None),
        ("rival", WIN, 0, None),
        ("target", LOSS, None, 1),
        ("target", WIN, None, 0),
    ],
)
def test_a_won_pair_can_only_move_toward_its_loser_and_away_from_its_winner(
    edited: str, after: tuple[int, int], toward: float | None, away: float | None
) -> None:
    probe = injected(check_of(WIN, audit("injected", after, edited=edited)))
    assert (probe.toward.value, probe.away.value) == (toward, away)


def test_a_tie_can_move_both_ways() -> None:
    probe = injected(check_of(TRUE, audit("injected", LOSS, edited="rival")))
    assert (probe.toward.value, probe.away.value) == (1, 0)


def test_a_judge_that_obeys_every_command_obeys_all_that_it_can() -> None:
    """Half of the commands ask for what the judge says anyway: these show nothing."""
    records = [record(str(n), plain) for n, plain in enumerate([WIN, LOSS, TRUE, CONFLICT] * 8)]
    for n, one in enumerate(records):
        edited, obeyed = [("target", WIN), ("rival", LOSS)][n // 4 % 2]
        one["audit"] = [audit("injected", obeyed, edited=edited)]
    probe = injected(summarise(records).check)
    assert (probe.toward.value, probe.toward.n) == (1, 24)
    assert (probe.away.value, probe.away.n) == (0, 24)
    assert (probe.moved.value, probe.moved.n) == (0.75, 32)


def test_an_edit_that_does_nothing_moves_as_many_toward_as_away() -> None:
    """A judge that tosses a coin each time it is asked: every combination of before, after and side once."""
    combinations = product((WIN, LOSS), (WIN, LOSS), ("target", "rival"))
    records = [
        record(str(n), before) | {"audit": [audit("injected", after, edited=edited)]}
        for n, (before, after, edited) in enumerate(combinations)
    ]
    probe = injected(summarise(records).check)
    assert probe.toward == probe.away and (probe.toward.value, probe.toward.n) == (0.5, 4)


def test_an_edit_of_both_sides_moves_toward_neither() -> None:
    [renamed] = [p for p in check_of(WIN, audit("renamed", LOSS, edited="both")).probes if p.name == "renamed"]
    assert renamed.moved.value == 1 and renamed.toward == renamed.away == NOTHING


def test_a_failed_probe_or_an_unscored_pair_moves_nothing() -> None:
    for pair, after in ((WIN, (5, None)), ((5, None), WIN)):
        assert all(probe.moved == NOTHING for probe in check_of(pair, audit("injected", after, edited="rival")).probes)


def test_probes_enter_no_result() -> None:
    plain = summarise([record("a", WIN)])
    probed = summarise([record("a", WIN) | {"audit": [audit("injected", LOSS, edited="rival"), same(5, 5)]}])
    assert replace(probed, check=plain.check) == plain
    assert (probed.check.cells, probed.check.failed_cells) == (plain.check.cells, plain.check.failed_cells)


def test_repeats_that_say_the_same_of_every_pair_agree_beyond_chance() -> None:
    records = [record("a", WIN) | {"audit": [audit("repeat", (5, 1), (5, 1))]}]
    records.append(record("b", LOSS) | {"audit": [audit("repeat", (1, 5), (1, 5))]})
    assert summarise(records).check.repeat_alpha.value == 1


def test_agreement_beyond_chance_has_an_interval_where_something_varies() -> None:
    pairs = [WIN, LOSS, TRUE, CONFLICT] * 5
    kappa = summarise([record(str(n), pair) for n, pair in enumerate(pairs)]).check.order_kappa
    assert kappa.low and kappa.value and kappa.high and -1 <= kappa.low < kappa.value < kappa.high <= 1
    assert summarise([record(str(n), pair) for n, pair in enumerate([WIN, LOSS] * 5)]).check.order_kappa == Estimate(
        1.0, None, None, 10
    )
    always_first = summarise([record(str(n), CONFLICT) for n in range(10)]).check.order_kappa
    assert always_first == Estimate(0.0, None, None, 10)


def test_the_interval_of_kappa_is_that_of_fleiss() -> None:
    """Their formula, written out for two labels: 40 + 30 pairs agree, 20 + 10 do not."""
    counts = {WIN: 40, LOSS: 30, (5, 5): 20, (1, 1): 10}
    pairs = [pair for pair, times in counts.items() for _ in range(times)]
    kappa = summarise([record(str(n), pair) for n, pair in enumerate(pairs)]).check.order_kappa
    po, p, q = 0.7, (0.6, 0.4), (0.5, 0.5)
    pe = p[0] * q[0] + p[1] * q[1]
    table = ((0.4, 0.2), (0.1, 0.3))
    on = sum(table[i][i] * ((1 - pe) - (q[i] + p[i]) * (1 - po)) ** 2 for i in range(2))
    off = (1 - po) ** 2 * sum(table[i][j] * (q[i] + p[j]) ** 2 for i, j in ((0, 1), (1, 0)))
    se = math.sqrt((on + off - (po * pe - 2 * pe + po) ** 2) / (99 * (1 - pe) ** 4))  # n − 1: over clusters
    assert kappa.value == pytest.approx((po - pe) / (1 - pe))
    assert kappa.low == pytest.approx((po - pe) / (1 - pe) - t_quantile(0.975, 99) * se)


def test_verdicts_are_held_against_measured_facts_where_both_take_a_side() -> None:
    one, other = record("a", WIN), record("b", WIN)
    one["rivals"][0] |= {"confirmed": ["idiom"], "contradicted": {"security": {"verdict": 1.0, "facts": []}}}
    other["rivals"][0] |= {"confirmed": ["security", "idiom"], "contradicted": {}}
    summary = summarise([one, other])
    assert (summary.check.facts_agreement.value, summary.check.facts_agreement.n) == (0.75, 4)
    agreement = {name: dimension.facts_agreement for name, dimension in summary.dimensions.items()}
    assert (agreement["idiom"].value, agreement["security"].value, agreement["readability"]) == (1, 0.5, NOTHING)


# --- invariance ---

digits = st.integers(1, 5) | st.none()
said = st.tuples(digits, digits)
probed = st.builds(
    lambda probe, pairs, edited: audit(probe, *pairs, edited=edited),
    st.sampled_from(["repeat", *MOVERS]),
    st.lists(said, min_size=1, max_size=3),
    st.sampled_from(["target", "rival", "both"]),
) | st.builds(same, digits, digits)
runs = st.lists(st.tuples(said, st.lists(probed, max_size=4)), min_size=1, max_size=5)


@settings(deadline=None, max_examples=25)
@given(runs)
def test_swapping_target_and_rival_changes_nothing_of_the_check(run: Any) -> None:
    straight = [record(str(n), pair) | {"audit": audits} for n, (pair, audits) in enumerate(run)]
    mirrored = [
        record(str(n), (second, first)) | {"audit": [mirror(one) for one in audits]}
        for n, ((first, second), audits) in enumerate(run)
    ]
    assert summarise(mirrored).check == summarise(straight).check


def mirror(one: dict[str, Any]) -> dict[str, Any]:
    """What the same judge would have said had target and rival changed places."""
    cells = [
        cell("rival_first" if it["order"] == "target_first" else "target_first", it["digit"], it["sample"])
        for it in one["cells"]
    ]
    return one | {"edited": MIRROR.get(one["edited"], one["edited"]), "cells": cells}


@settings(deadline=None, max_examples=25)
@given(runs, st.randoms())
def test_the_order_of_cells_and_probes_changes_nothing(run: Any, shuffler: Any) -> None:
    records = [record(str(n), pair) | {"audit": audits} for n, (pair, audits) in enumerate(run)]
    before = summarise(records)
    for one in records:
        shuffler.shuffle(one["audit"])
        shuffler.shuffle(one["rivals"][0]["cells"])
        for it in one["audit"]:
            shuffler.shuffle(it["cells"])
    assert summarise(records) == before


@given(st.integers(0, 8), st.integers(0, 8))
def test_an_outcome_here_is_the_one_that_records_are_folded_with(first: int, second: int) -> None:
    assert outcome_of((first / 8, second / 8)) == folded_outcome(first / 8, second / 8)
