"""Folding: verdicts become wins, three kinds of ties, losses and unscored pairs, whatever the order they come in."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyze.judge.audit import audit_cells
from analyze.judge.cells import Cell, cells_of
from analyze.judge.folding import fold_task, outcome_of
from analyze.judge.issues import ISSUES
from analyze.judge.labels import DIMENSIONS
from analyze.judge.probabilities import Reading
from analyze.judge.tasks import Task
from analyze.judge.verdicts import CellFailure, Reply, Verdict
from tests.judge.factory import facts_json, task, verdict

FAILED = CellFailure("truncated", "cut")


def fold_pair(first: Reply, second: Reply, **options: Any) -> dict[str, Any]:
    """Fold a task of one rival from its replies, target first and rival first."""
    pair = task()
    replies = dict(zip([cell.id for cell in cells_of(pair)], (first, second), strict=True))
    record = fold_task(pair, replies, {}, **options)["rivals"][0]
    assert isinstance(record, dict)
    return record


@pytest.mark.parametrize(
    ("target_first", "rival_first", "outcome", "tie_kind", "score"),
    [
        (5, 1, "win", None, 1.0),
        (4, 2, "win", None, 0.75),
        (1, 5, "loss", None, 0.0),
        (2, 5, "loss", None, 0.125),
        (3, 3, "tie", "true", 0.5),
        (3, 1, "tie", "weak", 0.75),
        (2, 3, "tie", "weak", 0.375),
        (5, 5, "tie", "conflict", 0.5),
        (4, 5, "tie", "conflict", 0.375),
        (1, 1, "tie", "conflict", 0.5),
    ],
)
def test_both_orders_must_agree_for_a_win_or_a_loss(
    target_first: int, rival_first: int, outcome: str, tie_kind: str | None, score: float
) -> None:
    record = fold_pair(verdict(target_first), verdict(rival_first))
    assert (record["outcome"], record["tie_kind"], record["score"]) == (outcome, tie_kind, score)
    assert record["dimensions"] == dict.fromkeys(DIMENSIONS, score)
    assert record["rule"] is None


@pytest.mark.parametrize("replies", [(FAILED, verdict(1)), (verdict(5), FAILED), (FAILED, FAILED)])
def test_a_pair_with_a_failed_judgement_is_unscored_never_a_tie_or_a_loss(replies: tuple[Reply, Reply]) -> None:
    record = fold_pair(*replies)
    assert record["outcome"] == "unscored"
    assert record["score"] is None and record["tie_kind"] is None and record["dimensions"] == {}
    failed = [cell for cell in record["cells"] if cell["status"] == "failed"]
    assert failed and all(cell["failure"] == {"kind": "truncated", "message": "cut"} for cell in failed)
    assert all(cell["score"] is None for cell in failed)


def test_a_cell_that_was_not_asked_leaves_its_pair_unscored() -> None:
    record = fold_task(task(rivals=("a", "b")), {}, {})
    assert record["unscored"] == 2 and record["score"] is None
    assert record["rivals"][0]["cells"][0]["failure"]["kind"] == "missing"


@pytest.mark.parametrize(
    ("target", "rival", "rule", "outcome", "score"),
    [
        ("", "x", "target_empty", "loss", 0.0),
        ("x", "", "rival_empty", "win", 1.0),
        ("", " ", "both_empty", "tie", 0.5),
        ("x = 1\n", "x = 1  \r\n\r\n", "identical", "tie", 0.5),
    ],
)
def test_rules_decide_without_a_judge(target: str, rival: str, rule: str, outcome: str, score: float) -> None:
    (record,) = fold_task(task(target=target, rivals=(rival,)), {}, {})["rivals"]
    assert (record["rule"], record["outcome"], record["score"]) == (rule, outcome, score)
    assert record["tie_kind"] == ("true" if outcome == "tie" else None)
    assert record["cells"] == [] and record["dimensions"] == {} and record["flags"] == []


def test_what_was_said_of_a_letter_is_told_of_the_side_behind_it() -> None:
    record = fold_pair(
        verdict(5, issues_a=["too_long"], issues_b=["crashes"], analysis_a="t1", analysis_b="r1"),
        verdict(1, issues_a=["wrong_result", "crashes"], issues_b=[], analysis_a="r2", analysis_b="t2"),
    )
    assert record["issues"] == {"target": ["too_long"], "rival": ["wrong_result", "crashes"]}
    assert record["strengths"]["target"] == ["strengths of a", "strengths of b"]
    assert [cell["analysis"] for cell in record["cells"]] == [
        {"target": "t1", "rival": "r1"},
        {"target": "t2", "rival": "r2"},
    ]
    assert [cell["score"] for cell in record["cells"]] == [1.0, 1.0]


def test_a_contradictory_verdict_and_cut_code_are_flagged() -> None:
    assert fold_pair(verdict(5, 1), verdict(3))["flags"] == ["contradictory"]
    assert fold_pair(verdict(5), verdict(3), max_code_chars=8)["flags"] == []
    assert fold_pair(verdict(5), verdict(3), max_code_chars=7)["flags"] == ["code_cut"]


def test_a_record_carries_facts_and_the_instance_that_answered() -> None:
    pair = task()
    first, second = cells_of(pair)
    record = fold_task(
        pair,
        {first.id: verdict(5), second.id: verdict(1)},
        {"target": facts_json(lines=3)},
        instances={first.id: "http://localhost:8001/v1"},
    )
    assert record["target"]["facts"] == facts_json(lines=3) and record["rivals"][0]["facts"] is None
    assert [cell["instance"] for cell in record["rivals"][0]["cells"]] == ["http://localhost:8001/v1", None]
    assert (record["wins"], record["ties"], record["losses"], record["unscored"]) == (1, 0, 0, 0)


def test_several_samples_count_by_their_mean_in_each_order() -> None:
    pair = task()
    digits = {("target_first", 0): 5, ("target_first", 1): 2, ("rival_first", 0): 3, ("rival_first", 1): 2}
    cells = cells_of(pair, samples=2)
    replies: dict[str, Reply] = {cell.id: verdict(digits[cell.order, cell.sample]) for cell in cells}
    (record,) = fold_task(pair, replies, {}, samples=2)["rivals"]
    assert record["outcome"] == "win" and record["score"] == (0.625 + 0.625) / 2
    replies[cells[-1].id] = FAILED
    assert fold_task(pair, replies, {}, samples=2)["unscored"] == 1


digits = st.integers(1, 5)
phrases = st.lists(st.sampled_from(["short", "clear", "慢"]), max_size=3)
codes = st.lists(st.sampled_from(list(ISSUES)), max_size=4)
verdicts = st.builds(
    lambda overall, issues, praise, **named: replace(
        verdict(overall, **issues, **praise), dimensions=named["dimensions"], reason=f"r{overall}"
    ),
    digits,
    st.fixed_dictionaries({"issues_a": codes, "issues_b": codes}),
    st.fixed_dictionaries({f"{kind}_{side}": phrases for kind in ("strengths", "weaknesses") for side in "ab"}),
    dimensions=st.fixed_dictionaries({name: digits for name in DIMENSIONS}),
)
replies_of_a_cell = verdicts | st.just(FAILED)
sources = st.sampled_from(["", "return 1", "return 1 ", "return 2", "x" * 99])


def swapped(pair: Task) -> Task:
    """Return the task with target and rival changed round."""
    return replace(pair, target=pair.rivals[0], rivals=(pair.target,))


MIRRORED = {"win": "loss", "loss": "win", "tie": "tie", "unscored": "unscored"}
MIRRORED_RULE = {"target_empty": "rival_empty", "rival_empty": "target_empty"}


@given(sources, sources, replies_of_a_cell, replies_of_a_cell)
def test_swapping_target_and_rival_mirrors_everything(target: str, rival: str, first: Reply, second: Reply) -> None:
    pair = task(target=target, rivals=(rival,))
    facts = {"target": facts_json(max_complexity=30, loop_depth=3), "rival-1": facts_json(code_lines=90)}
    straight = _folded(pair, [first, second], facts)
    mirror = _folded(
        swapped(pair), [second, first], facts
    )  # what was shown as A is shown as A again, in the other order
    assert mirror["outcome"] == MIRRORED[straight["outcome"]]
    assert mirror["tie_kind"] == straight["tie_kind"]
    assert mirror["rule"] == MIRRORED_RULE.get(straight["rule"], straight["rule"])
    assert mirror["score"] == (None if straight["score"] is None else 1 - straight["score"])
    assert mirror["dimensions"] == {name: 1 - score for name, score in straight["dimensions"].items()}
    assert mirror["flags"] == straight["flags"]
    assert (
        mirror["confirmed"] == straight["confirmed"]
        and mirror["contradicted"].keys() == straight["contradicted"].keys()
    )
    for dimension, said in straight["contradicted"].items():
        facts = [{"name": one["name"], "target": one["rival"], "rival": one["target"]} for one in said["facts"]]
        assert mirror["contradicted"][dimension] == {"verdict": 1 - said["verdict"], "facts": facts}
    for said in ("issues", "strengths", "weaknesses"):
        assert mirror[said] == {"target": straight[said]["rival"], "rival": straight[said]["target"]}


def _folded(pair: Task, replies: list[Reply], facts: dict[str, Any]) -> dict[str, Any]:
    ids = [cell.id for cell in cells_of(pair)]
    (record,) = fold_task(pair, dict(zip(ids, replies, strict=False)), facts, max_code_chars=50)["rivals"]
    assert isinstance(record, dict)
    return record


@given(st.lists(replies_of_a_cell, min_size=6, max_size=6), st.randoms())
def test_the_order_in_which_replies_arrive_changes_no_byte(replies: list[Reply], shuffler: random.Random) -> None:
    three = task(rivals=("a", "b", "c"))
    arrived = list(zip([cell.id for cell in cells_of(three)], replies, strict=True))
    first = orjson.dumps(fold_task(three, dict(arrived), {}))
    shuffler.shuffle(arrived)
    assert orjson.dumps(fold_task(three, dict(arrived) | {"other task": FAILED}, {})) == first


@given(st.lists(replies_of_a_cell, min_size=6, max_size=6))
def test_every_rival_ends_as_exactly_one_outcome(replies: list[Reply]) -> None:
    three = task(rivals=("a", "b", "c"))
    record = fold_task(three, dict(zip([cell.id for cell in cells_of(three)], replies, strict=True)), {})
    assert record["wins"] + record["ties"] + record["losses"] + record["unscored"] == 3
    whole = [all(isinstance(reply, Verdict) for reply in replies[n : n + 2]) for n in (0, 2, 4)]
    assert record["unscored"] == whole.count(False)
    assert (record["score"] is None) == (not any(whole))


def test_two_means_on_the_same_side_decide_and_nothing_else_does() -> None:
    assert outcome_of(0.51, 0.51) == ("win", None)
    assert outcome_of(0.49, 0.0) == ("loss", None)
    assert outcome_of(0.5, 0.5) == ("tie", "true")
    assert outcome_of(0.5, 1.0) == outcome_of(0.0, 0.5) == ("tie", "weak")
    assert outcome_of(0.0, 1.0) == ("tie", "conflict")


def sure(digit: int, *probabilities: float) -> Reading:
    one, two, three, four, five = probabilities
    return Reading(digit, (one, two, three, four, five), 0.9)


def test_where_all_probabilities_of_a_pair_are_known_it_has_an_expected_score() -> None:
    pair = task()
    first, second = (cell.id for cell in cells_of(pair))
    replies: dict[str, Reply] = {first: verdict(5), second: verdict(2)}
    readings = {first: sure(5, 0, 0, 0.2, 0.2, 0.6), second: sure(2, 0.1, 0.5, 0.2, 0.2, 0)}
    (record,) = fold_task(pair, replies, {}, readings=readings)["rivals"]
    assert record["expected"] == pytest.approx((0.2 * 0.5 + 0.2 * 0.75 + 0.6 + 0.1 + 0.5 * 0.75 + 0.1 + 0.2 * 0.25) / 2)
    assert record["score"] == 0.875, "what was written stays what counts"
    assert record["cells"][0]["probabilities"] == {"1": 0, "2": 0, "3": 0.2, "4": 0.2, "5": 0.6}
    assert record["cells"][0]["legal_mass"] == 0.9
    (record,) = fold_task(pair, replies, {}, readings={first: readings[first]})["rivals"]
    assert record["expected"] is None and record["cells"][1]["probabilities"] is None
    assert record["cells"][1]["legal_mass"] is None and record["score"] == 0.875


def test_a_reading_of_another_digit_than_the_verdict_is_none() -> None:
    pair = task()
    first, second = (cell.id for cell in cells_of(pair))
    readings = {first: sure(4, 0, 0, 0, 1, 0), second: sure(1, 1, 0, 0, 0, 0)}
    record = fold_task(pair, {first: verdict(5), second: FAILED}, {}, readings=readings)["rivals"][0]
    assert [cell["probabilities"] for cell in record["cells"]] == [None, None] and record["expected"] is None


masses = st.lists(st.floats(0.01, 1), min_size=5, max_size=5)


@given(masses, masses, digits, digits)
def test_swapping_target_and_rival_mirrors_the_expected_score(
    a: list[float], b: list[float], said: int, said_then: int
) -> None:
    pair, turned = task(), swapped(task())
    told = [sure(digit, *(mass / sum(of) for mass in of)) for digit, of in ((said, a), (said_then, b))]
    verdicts = [verdict(said), verdict(said_then)]
    records = []
    for sides, way in ((pair, 1), (turned, -1)):
        ids = [cell.id for cell in cells_of(sides)]
        readings = dict(zip(ids, told[::way], strict=True))
        records += fold_task(sides, dict(zip(ids, verdicts[::way], strict=True)), {}, readings=readings)["rivals"]
    assert records[1]["expected"] == pytest.approx(1 - records[0]["expected"])
    assert 0 <= records[0]["expected"] <= 1


AUDITED = task(target="def a(x):\n    y = x\n    return y\n", rivals=("def b(x):\n    # b\n    z = x\n    return z\n",))
WITHOUT_AUDIT = {"target", "rivals", "wins", "ties", "losses", "unscored", "score"}


PROBES = audit_cells(AUDITED, max_code_chars=1000)


def audited(pair: Task, replies: dict[str, Reply], probes: Sequence[Cell] = PROBES) -> dict[str, Any]:
    return fold_task(pair, replies, {}, audit=probes)


def test_what_checks_the_judge_stands_apart_in_the_record() -> None:
    record = audited(AUDITED, {cell.id: verdict(5) for cell in PROBES})
    assert {entry["probe"]: (entry["edited"], len(entry["cells"])) for entry in record["audit"]} == {
        "repeat": (None, 10),
        "same": (None, 2),
        "injected": ("target", 2),
        "authority": ("target", 2),
        "dead_code": ("target", 2),
        "no_comments": ("both", 2),
        "renamed": ("both", 2),
    }
    assert {entry["rival"] for entry in record["audit"]} == {"rival-1"}
    assert record["unscored"] == 1 and record["score"] is None, "only the plain cells make an outcome"
    told = record["audit"][0]["cells"][0]
    assert (told["id"], told["order"], told["sample"]) == (PROBES[0].id, "target_first", 0)
    assert (told["status"], told["digit"], told["score"]) == ("ok", 5, 1.0)
    assert fold_task(AUDITED, {}, {})["audit"] == []


@given(st.lists(replies_of_a_cell, min_size=2, max_size=2), st.lists(replies_of_a_cell, min_size=22, max_size=22))
def test_probes_enter_no_outcome_score_issue_or_count(plain: list[Reply], probes: list[Reply]) -> None:
    answered = dict(zip([cell.id for cell in cells_of(AUDITED)], plain, strict=True))
    with_probes = audited(AUDITED, answered | dict(zip([cell.id for cell in PROBES], probes, strict=True)))
    without = fold_task(AUDITED, answered, {})
    assert {key: with_probes[key] for key in WITHOUT_AUDIT} == {key: without[key] for key in WITHOUT_AUDIT}
    statuses = [cell["status"] for entry in with_probes["audit"] for cell in entry["cells"]]
    assert statuses.count("failed") == sum(not isinstance(reply, Verdict) for reply in probes)


MIRRORED_PROBES = audit_cells(swapped(AUDITED), max_code_chars=1000)


@given(st.randoms())
def test_swapping_target_and_rival_mirrors_the_audit_too(shuffler: random.Random) -> None:
    """The same code is edited and shown in the same places, so what was said of A and B is the same."""
    said = {shown(cell): verdict(shuffler.randint(1, 5)) for cell in PROBES}
    straight = audited(AUDITED, {cell.id: said[shown(cell)] for cell in PROBES})["audit"]
    replies: dict[str, Reply] = {cell.id: said[shown(cell)] for cell in MIRRORED_PROBES}
    mirror = audited(swapped(AUDITED), replies, MIRRORED_PROBES)["audit"]
    assert [entry["probe"] for entry in mirror] == [entry["probe"] for entry in straight]
    for here, there in zip(straight, mirror, strict=True):
        assert there["edited"] == {"target": "rival", "rival": "target"}.get(here["edited"], here["edited"])
        scores = {(cell["order"], cell["sample"]): cell["score"] for cell in here["cells"]}
        for cell in there["cells"]:
            if here["probe"] == "same":  # one solution against itself has no sides to change
                assert cell["score"] == scores[cell["order"], cell["sample"]]
            else:
                order = "rival_first" if cell["order"] == "target_first" else "target_first"
                assert cell["score"] == 1 - scores[order, cell["sample"]]


def shown(cell: Cell) -> tuple[str, int, str, str]:
    """What the judge sees of a cell, and which repetition it is."""
    return cell.probe, cell.sample, cell.first.code, cell.second.code


@given(st.randoms())
def test_the_order_in_which_probes_are_answered_changes_no_byte(shuffler: random.Random) -> None:
    ids = [cell.id for cell in (*cells_of(AUDITED), *PROBES)]
    arrived: list[tuple[str, Reply]] = [(row, verdict(shuffler.randint(1, 5))) for row in ids]
    first = orjson.dumps(audited(AUDITED, dict(arrived)))
    shuffler.shuffle(arrived)
    assert orjson.dumps(audited(AUDITED, dict(arrived))) == first


def with_facts(score_of: tuple[int, int], *, max_code_chars: int = 1000, **worse: Any) -> dict[str, Any]:
    """Fold one pair whose target was measured worse than its rival in some respect."""
    pair = task()
    replies = dict(zip([cell.id for cell in cells_of(pair)], map(verdict, score_of), strict=True))
    facts = {"target": facts_json(**worse), "rival-1": facts_json()}
    (record,) = fold_task(pair, replies, facts, max_code_chars=max_code_chars)["rivals"]
    assert isinstance(record, dict)
    return record


def test_a_verdict_against_the_measured_facts_is_recorded_with_their_values() -> None:
    praised = with_facts((5, 1), max_complexity=30)
    assert praised["contradicted"] == {
        "readability": {"verdict": 1.0, "facts": [{"name": "complexity", "target": 30, "rival": 3}]}
    }
    assert praised["confirmed"] == []
    blamed = with_facts((2, 4), max_complexity=30)
    assert blamed["contradicted"] == {} and blamed["confirmed"] == ["readability"]


def test_equal_contradicts_no_fact_and_no_fact_contradicts_a_verdict() -> None:
    sayings = [(3, 3), (5, 5), (5, 4), (3, 5)]  # equal; orders that contradict each other; only one takes a side
    for record in (*(with_facts(said, max_complexity=30) for said in sayings), with_facts((5, 1))):
        assert record["contradicted"] == {} and record["confirmed"] == []


def test_facts_of_code_that_the_judge_saw_in_part_are_held_against_nobody() -> None:
    assert with_facts((5, 1), max_complexity=30, max_code_chars=5)["contradicted"] == {}


def test_an_unscored_pair_is_held_against_nothing() -> None:
    record = fold_task(task(), {}, {"target": facts_json(max_complexity=30), "rival-1": facts_json()})["rivals"][0]
    assert record["contradicted"] == {} and record["confirmed"] == []
