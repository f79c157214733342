"""The round robin: rivals meet each other on the same terms as the target meets them, and nothing else changes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from analyze.judge.cells import cell_body, cells_of
from analyze.judge.folding import fold_task
from analyze.judge.robin import robin_cells
from tests.judge.factory import task, verdict

THREE = task(rivals=("return 2", "return 3", "return 4"))


def test_every_two_rivals_meet_in_both_orders() -> None:
    ids = [orjson.loads(cell.id) for cell in robin_cells(THREE)]
    assert ids == [
        ["t", second, order, 0, "robin", first]
        for first, second in (("rival-1", "rival-2"), ("rival-1", "rival-3"), ("rival-2", "rival-3"))
        for order in ("target_first", "rival_first")
    ]
    assert len({*map(str, ids), *(cell.id for cell in cells_of(THREE))}) == 12


def test_two_rivals_are_asked_just_as_if_one_of_them_were_the_target() -> None:
    first, second, _ = THREE.rivals
    asked = robin_cells(THREE)[:2]
    plain = cells_of(replace(THREE, target=first, rivals=(second,)))
    bodies = [[cell_body(cell, lang="en", max_code_chars=99) for cell in cells] for cells in (asked, plain)]
    assert bodies[0] == bodies[1]


@given(st.permutations(THREE.rivals))
def test_the_order_in_which_a_task_lists_its_rivals_changes_nothing(rivals: Any) -> None:
    listed = replace(THREE, rivals=tuple(rivals))
    assert [cell.id for cell in robin_cells(listed)] == [cell.id for cell in robin_cells(THREE)]


def test_what_rules_decide_and_what_is_cut_alike_is_not_asked_but_in_the_record() -> None:
    four = task(rivals=("same, one end", "", "same, one end\n", "same, other end"))
    cells = robin_cells(four, max_code_chars=5)
    assert cells == []
    entries = fold_task(four, {}, {}, max_code_chars=5, robin=cells)["round_robin"]
    told = [(it["first"][-1], it["second"][-1], it["outcome"], it["rule"], it["flags"]) for it in entries]
    assert told == [
        ("1", "2", "win", "rival_empty", []),
        ("1", "3", "tie", "identical", []),
        ("1", "4", "unscored", None, ["cut_alike"]),
        ("2", "3", "loss", "target_empty", []),
        ("2", "4", "loss", "target_empty", []),
        ("3", "4", "unscored", None, ["cut_alike"]),
    ]


def test_a_meeting_is_folded_from_the_side_of_the_first_and_changes_nothing_else() -> None:
    cells, plain = robin_cells(THREE), cells_of(THREE)
    replies = {cell.id: verdict(4) for cell in plain}
    without = fold_task(THREE, replies, {})
    replies |= dict(zip([cell.id for cell in cells], map(verdict, (5, 1, 1, 5, 4, 4)), strict=True))
    record = fold_task(THREE, replies, {}, robin=cells)
    told = [(it["outcome"], it["tie_kind"], it["score"]) for it in record["round_robin"]]
    assert told == [("win", None, 1.0), ("loss", None, 0.0), ("tie", "conflict", 0.5)]
    assert [cell["score"] for it in record["round_robin"] for cell in it["cells"]] == [1, 1, 0, 0, 0.75, 0.25]
    del record["round_robin"]
    assert record == without
