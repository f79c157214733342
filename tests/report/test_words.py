"""The words of a run: whole terms, kept negations, one unit of counting."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyze.lang import LANGS, Lang
from analyze.report import build_pages, wording
from analyze.report.prose import Prose
from analyze.report.words import Word, judged, tokens, words_of
from analyze.stats.issues import count_issues
from tests.report import factory


def pair(**changes: Any) -> dict[str, Any]:
    return {
        "author": "b",
        "outcome": "win",
        "issues": {"target": [], "rival": []},
        "strengths": {"target": [], "rival": []},
        "weaknesses": {"target": [], "rival": []},
        "cells": [],
        **changes,
    }


def tasks(*pairs: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"task_id": "t", "target": {"author": "a"}, "rivals": list(pairs)}]


def words(heard: Sequence[dict[str, Any]], lang: Lang) -> list[Word]:
    prose = Prose()
    for task in heard:
        prose.hear(task)
    issues = count_issues(rival["issues"] for _, rival in judged(heard))
    return words_of(issues, prose.words[lang], lang)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("圈复杂度过高", {"圈复杂度", "过高"}),
        ("没有文档字符串", {"没有文档字符串"}),
        ("变量名不清晰", {"变量名", "不清晰"}),
        ("没有处理边界条件", {"边界条件"}),
    ],
)
def test_chinese_terms_stay_whole_and_negations_stay_with_what_they_deny(text: str, words: set[str]):
    assert tokens([text], "zh") == words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("No docstring, and it's not idiomatic.", {"no docstring", "not idiomatic"}),
        ("Lacks any validation of the input", {"lacks validation", "input"}),
        ("uses O(n) dict.get(x_1) calls", {"calls"}),
    ],
)
def test_english_words_are_lower_case_without_code_and_keep_negations(text: str, words: set[str]):
    assert tokens([text], "en") == words


def test_a_text_counts_for_its_own_language_only():
    said = tasks(pair(strengths={"target": ["没有 docstring", "no tests"], "rival": []}))
    assert [word.text for word in words(said, "en")] == ["no tests"]
    assert words(said, "zh") == []


@settings(deadline=None)
@given(
    st.lists(st.text(st.sampled_from("no any 不没有 清晰 数字，.\n(xy'’"), max_size=40), max_size=5),
    st.sampled_from(LANGS),
)
def test_texts_cut_together_have_the_words_of_each(texts: list[str], lang: Lang):
    assert tokens(texts, lang) == set().union(*(tokens([text], lang) for text in texts))


@settings(deadline=None)
@given(st.text(max_size=200), st.sampled_from(LANGS))
def test_any_text_can_be_cut(text: str, lang: Lang):
    assert all(tokens([text], lang))


def test_a_negation_denies_nothing_in_the_next_text():
    assert tokens(["there is no", "docstring"], "en") == {"docstring"}
    assert tokens(["这里没有", "文档字符串"], "zh") == {"这里", "文档字符串"}


def test_what_was_not_judged_has_no_words():
    unscored = pair(outcome="unscored", issues={"target": ["crashes"], "rival": []})
    assert words(tasks(unscored), "en") == []


def test_issues_have_words_in_both_languages_whatever_was_written():
    named = tasks(pair(issues={"target": ["missed_edge_case"], "rival": []}))
    assert [word.text for word in words(named, "zh")] == ["遗漏边界情况"]
    assert [word.text for word in words(named, "en")] == ["missed edge case"]


def test_an_issue_is_of_the_side_that_has_it_more_often():
    counted = words(
        tasks(
            pair(issues={"target": ["crashes"], "rival": ["too_long"]}),
            pair(issues={"target": ["poor_naming"], "rival": ["poor_naming"]}),
        ),
        "en",
    )
    assert {word.text: word.kind for word in counted} == {
        "crashes": "tag_target",
        "too long": "tag_rival",
        "poor naming": "tag_even",
    }


def test_issues_stand_before_words_and_each_by_its_count():
    said = [pair(strengths={"target": ["readable", "tested"], "rival": []}) for _ in range(3)]
    said.append(pair(strengths={"target": ["tested"], "rival": []}, issues={"target": ["crashes"], "rival": []}))
    counted = [(word.text, word.count) for word in words(tasks(*said), "en")]
    assert counted == [("crashes", 1), ("tested", 4), ("readable", 3)]


def test_an_unknown_issue_of_another_version_is_shown_by_its_code():
    assert words(tasks(pair(issues={"target": ["new_code"], "rival": []})), "zh")[0].text == "new_code"


def test_of_a_large_run_words_are_counted_in_some_tasks_and_the_page_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(5)
    tasks = [factory.task(number, draw) for number in range(20)]
    folder = factory.write_run(tmp_path / "run", tasks)
    pages, written = {}, folder / "per_task.jsonl"
    for most in (20, 8):
        monkeypatch.setattr(wording, "MOST_TASKS", most)
        build_pages(folder, lang="en")
        pages[most] = (folder / "report.html").read_text()
    assert "of the 20 tasks" not in pages[20]
    assert pages[8].count("counted in 8 of the 20 tasks, drawn at random") == 2
    assert 'id="issues"' in pages[8] and issues_of(pages[8]) == issues_of(pages[20])  # those are of all tasks
    written.write_text("".join(reversed(written.read_text().splitlines(keepends=True))))
    build_pages(folder, lang="en")
    assert (folder / "report.html").read_text() == pages[8]


def issues_of(page: str) -> str:
    return page.partition('<section id="issues">')[2].partition("</section>")[0]
