"""What `data/tasks.jsonl` and the expectations beside it promise to whoever measures a judge with them."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest
from tasks_file import EXPECTATIONS, PAIRS, TASKS, TASKS_PATH, kinds, solutions

KINDS = {
    *("clean", "wrong", "slow", "unreadable", "unsafe"),
    *("empty", "identical", "over_engineered", "incomplete"),
}


def is_chinese(text: str) -> bool:
    return any("\u4e00" <= char <= "\u9fff" for char in text)


def test_every_line_has_the_documented_keys_in_their_order() -> None:
    for task in TASKS:
        assert list(task) == ["task_id", "prompt", "language", "tags", "group_id", "target", "rivals"]
        assert task["prompt"] and task["tags"]
        for solution in solutions(task):
            assert list(solution) in (["author", "code"], ["author", "code", "passed"])


def test_task_ids_are_unique_and_so_are_authors_within_a_task() -> None:
    assert len({task["task_id"] for task in TASKS}) == len(TASKS) >= 24
    for task in TASKS:
        authors = [solution["author"] for solution in solutions(task)]
        assert len(set(authors)) == len(authors), task["task_id"]


def test_each_task_has_three_to_five_rivals_of_the_same_few_authors() -> None:
    assert {task["target"]["author"] for task in TASKS} == {"model-a"}
    assert all(3 <= len(task["rivals"]) <= 5 for task in TASKS)
    assert len({rival["author"] for _, rival, _ in PAIRS}) == 5


def test_python_and_four_other_languages_have_three_tasks_or_more() -> None:
    languages = Counter(task["language"] for task in TASKS)
    assert languages["python"] >= 12
    assert all(languages[language] >= 3 for language in ("javascript", "cpp", "java", "rust"))


def test_at_least_half_of_the_prompts_are_chinese_and_a_third_english() -> None:
    chinese = sum(is_chinese(task["prompt"]) for task in TASKS)
    assert len(TASKS) / 2 <= chinese <= len(TASKS) * 2 / 3


def test_the_file_is_small_plain_text() -> None:
    raw = TASKS_PATH.read_bytes()
    assert len(raw) < 300_000 and raw.endswith(b"\n")
    for task in TASKS:
        for text in [task["prompt"], *(solution["code"] for solution in solutions(task))]:
            assert all(char in "\n\t" or (ord(char) >= 32 and ord(char) != 127) for char in text), task["task_id"]


def test_no_code_gives_its_author_away() -> None:
    authors = {solution["author"] for task in TASKS for solution in solutions(task)}
    for task in TASKS:
        for text in [task["prompt"], *(solution["code"] for solution in solutions(task))]:
            assert not [author for author in authors if author in text.lower()], task["task_id"]


def test_solutions_have_eight_to_sixty_lines() -> None:
    for task in TASKS:
        for solution, kind in zip(solutions(task), kinds(task), strict=True):
            lines = len(solution["code"].splitlines())
            assert 8 <= lines <= 60 or (kind == "empty" and lines == 0), (task["task_id"], solution["author"])


def test_passed_is_recorded_for_whole_tasks_and_absent_in_about_a_third() -> None:
    recorded = {"passed" in task["target"] for task in TASKS}
    absent = sum("passed" not in task["target"] for task in TASKS)
    assert recorded == {True, False} and len(TASKS) / 4 <= absent <= len(TASKS) / 2
    for task in TASKS:
        known = {"passed" in solution for solution in solutions(task) if solution["code"]}
        assert len(known) == 1, task["task_id"]


def test_variants_share_a_group() -> None:
    groups = Counter(task["group_id"] for task in TASKS if task["group_id"] is not None)
    assert groups and all(count >= 2 for count in groups.values())


def test_expectations_cover_every_pair_and_nothing_else() -> None:
    in_file = {task["task_id"]: {rival["author"] for rival in task["rivals"]} for task in TASKS}
    assert {task_id: set(entry["rivals"]) for task_id, entry in EXPECTATIONS.items()} == in_file


@pytest.mark.parametrize("field", ["outcome", "kind", "reason"])
def test_every_expectation_says_what_and_why(field: str) -> None:
    assert all(isinstance(expected[field], str) and expected[field] for _, _, expected in PAIRS)
    assert {expected["kind"] for _, _, expected in PAIRS} == KINDS
    assert {expected["outcome"] for _, _, expected in PAIRS} == {"win", "tie", "loss"}


def test_outcomes_are_balanced_and_no_author_has_only_one() -> None:
    outcomes = Counter(expected["outcome"] for _, _, expected in PAIRS)
    share = {outcome: count / len(PAIRS) for outcome, count in outcomes.items()}
    assert 0.40 <= share["win"] <= 0.50 and 0.25 <= share["loss"] <= 0.35 and 0.20 <= share["tie"] <= 0.30
    by_author: defaultdict[str, set[str]] = defaultdict(set)
    for _, rival, expected in PAIRS:
        by_author[rival["author"]].add(expected["outcome"])
    assert all(seen == {"win", "tie", "loss"} for seen in by_author.values())


def test_rule_cases_are_there_with_the_only_outcome_they_can_have() -> None:
    empty = [expected for _, rival, expected in PAIRS if not rival["code"]]
    same = [expected for task, rival, expected in PAIRS if rival["code"].split() == task["target"]["code"].split()]
    assert [(e["kind"], e["outcome"]) for e in empty] == [("empty", "win")]
    assert [(e["kind"], e["outcome"]) for e in same] == [("identical", "tie")]
