"""Which tasks, pairs and sides check the judge: drawn by hash, and asked in full where an edit can be made."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyze.judge.audit import CLAIMS, COMMANDS, audit_cells, audit_of, audited_tasks
from analyze.judge.cells import Cell, cells_of
from analyze.judge.tasks import Task
from tests.judge.factory import task

A = "def a(x):\n    y = x\n    return y\n"
B = "def b(x):\n    # b\n    z = x\n    return z\n"
PROBES = ["repeat", "same", "injected", "authority", "dead_code", "no_comments", "renamed"]


def cells(target: str = A, rivals: tuple[str, ...] = (B,), *, max_code_chars: int = 1000, **keys: str) -> list[Cell]:
    return audit_cells(task(target=target, rivals=rivals, **keys), max_code_chars=max_code_chars)


def probes_of(found: list[Cell]) -> list[str]:
    return list(Counter(cell.probe for cell in found))


names = st.text(alphabet="abcdef", min_size=1, max_size=6)


@given(st.sets(names, max_size=30), st.sets(names, max_size=5), st.integers(0, 10), st.randoms())
def test_neither_order_nor_added_tasks_reshuffle_the_audited_ones(
    ids: set[str], added: set[str], count: int, shuffler: random.Random
) -> None:
    tasks = [task(task_id=name) for name in sorted(ids)]
    chosen = audited_tasks(tasks, count)
    assert len(chosen) == min(count, len(tasks))
    shuffler.shuffle(tasks)
    assert audited_tasks(tasks, count) == chosen
    more = audited_tasks(tasks + [task(task_id=name) for name in sorted(added - ids)], count)
    assert [one for one in more if one.task_id in ids] == [one for one in chosen if one in more]
    assert len([one for one in more if one not in chosen]) <= len(added - ids)


@pytest.mark.parametrize("count", [0, 1, 3, 4])
def test_twins_are_asked_on_twice_as_many_tasks_as_the_rest(count: int) -> None:
    asked = audit_of([task(task_id=str(n)) for n in range(6)], count, max_code_chars=1000)
    twins_only = [probes_of(found) == ["same"] for found in asked.values()]
    assert (twins_only.count(False), len(asked)) == (count, min(6, 2 * count))


def test_a_task_that_rules_decide_whole_is_not_audited() -> None:
    decided = [task(task_id="1", rivals=("return 1\n", "")), task(task_id="2", target="")]
    assert audited_tasks([*decided, task(task_id="3")], 3) == [task(task_id="3")]


def test_a_pair_that_is_equal_as_far_as_it_is_shown_checks_no_judge() -> None:
    alike = task(target="the same, one end", rivals=("the same, other end",), task_id="1")
    assert list(audit_of([alike, task(task_id="2")], 2, max_code_chars=8)) == ["2"]
    found = [cell for n in range(20) for cell in cells("aaaab", ("aaaac", "b"), max_code_chars=4, task_id=f"{n}")]
    assert {cell.rival.author for cell in found} == {"rival-2"}


def test_one_rival_is_drawn_of_those_that_no_rule_decides() -> None:
    drawn = {cell.rival.author for n in range(40) for cell in cells(rivals=(A, B, B + "#", ""), task_id=f"{n}")}
    assert drawn == {"rival-1", "rival-2", "rival-3"}  # rival-1 is identical: it is the control of equals
    for probe in ("repeat", "injected"):
        of_probe = [c for n in range(40) for c in cells(rivals=(A, B, B + "#", ""), task_id=f"{n}") if c.probe == probe]
        assert {cell.rival.author for cell in of_probe} == {"rival-2", "rival-3"}


def test_every_probe_is_asked_in_full_and_named_in_its_cells() -> None:
    found = cells()
    assert Counter(cell.probe for cell in found) == dict(zip(PROBES, (10, 2, 2, 2, 2, 2, 2), strict=True))
    assert len({cell.id for cell in found} | {cell.id for cell in cells_of(task(target=A, rivals=(B,)))}) == 24
    assert orjson.loads(found[0].id) == ["t", "rival-1", "target_first", 0, "repeat"]


def test_a_probe_shows_what_it_says() -> None:
    by_probe = {cell.probe: cell for cell in cells() if cell.order == "target_first"}
    codes = {probe: (cell.first.code, cell.second.code) for probe, cell in by_probe.items()}
    assert codes["repeat"] == (A, B)
    assert codes["same"] in ((A, A), (B, B))
    assert codes["no_comments"] == (A, B.replace("    # b\n", ""))
    assert codes["renamed"] == (A.replace("y", "v1"), B.replace("z", "v1"))
    for probe, said in (("injected", COMMANDS), ("authority", CLAIMS), ("dead_code", ("def unused_helper",))):
        edited = by_probe[probe].edited  # type: ignore[index]
        ours, its = codes[probe] if edited == "target" else codes[probe][::-1]
        assert its == (B if edited == "target" else A)
        assert any(sentence in ours for sentence in said)


@given(st.integers(0, 500))
def test_which_side_is_edited_hangs_on_the_code_not_on_being_the_target(number: int) -> None:
    pair = task(target=A, rivals=(B,), task_id=f"{number}")
    mirror = replace(pair, target=pair.rivals[0], rivals=(pair.target,))
    there, back = ({shown(cell) for cell in audit_cells(one, max_code_chars=1000)} for one in (pair, mirror))
    assert there == back


def shown(cell: Cell) -> tuple[str, int, str, str]:
    return cell.probe, cell.sample, cell.first.code, cell.second.code


def test_both_sides_and_all_sentences_get_their_turn() -> None:
    found = [cell for number in range(80) for cell in cells(task_id=f"{number}")]
    for probe in ("injected", "authority", "dead_code"):
        assert {cell.edited for cell in found if cell.probe == probe} == {"target", "rival"}
    text = "".join(cell.first.code for cell in found)
    assert [said for said in (*COMMANDS, *CLAIMS) if said not in text] == []


@pytest.mark.parametrize(
    ("keys", "missing"),
    [
        ({"language": "unknown"}, {"injected", "authority", "dead_code", "no_comments", "renamed"}),
        ({"language": "sql", "target": "SELECT 1", "rivals": ("SELECT 2 -- b",)}, {"dead_code", "renamed"}),
        ({"rivals": ("def b(x):\n    return x\n",)}, {"no_comments", "renamed"}),
        ({"target": A, "rivals": (f"{A}# b\n",)}, {"no_comments"}),
        ({"target": A.replace("\n", "\r\n"), "rivals": (B.replace("# b", "x"),)}, {"no_comments"}),
        ({"max_code_chars": 30}, {"injected", "authority", "dead_code", "no_comments", "renamed"}),
    ],
    ids=[
        "unknown language",
        "one without functions",
        "nothing to edit",
        "equal without comments",
        "no comments, other line ends",
        "code that is shown in part",
    ],
)
def test_what_cannot_be_edited_or_seen_whole_is_not_asked(keys: dict[str, object], missing: set[str]) -> None:
    found = probes_of(cells(**keys))  # type: ignore[arg-type]
    assert set(PROBES) - set(found) == missing


def test_an_edit_that_the_judge_would_not_see_whole_is_not_asked() -> None:
    found = probes_of(cells(max_code_chars=max(len(A), len(B))))
    assert found == ["repeat", "same", "no_comments"]


def test_sentences_favour_the_side_that_holds_them_in_both_languages() -> None:
    for sentences in (COMMANDS, CLAIMS):
        assert len(sentences) >= 3 and any(said.isascii() for said in sentences)
        assert not all(said.isascii() for said in sentences)
        assert all("\n" not in said and "*" not in said for said in sentences)


def test_the_audit_is_the_same_in_every_process() -> None:
    pairs: list[Task] = [task(target=A, rivals=(B,), task_id=f"{n}") for n in range(5)]
    assert [one.task_id for one in audited_tasks(pairs, 3)] == ["4", "3", "1"]
