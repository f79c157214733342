"""What is said of the judge, and that it is said before any result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from analyze.lang import LANGS, Lang
from analyze.report import build_pages
from analyze.report.judging import banners, check_state, flags, gate_lines, habit_lines, probe_lines
from analyze.report.texts import TEXTS
from analyze.stats.summary import Summary, summarise
from tests.report import factory
from tests.report.test_findings import judged

EN = TEXTS["en"]


def good(count: int = 60, **changes: Any) -> list[dict[str, Any]]:
    """Tasks whose judge passes every gate: orders agree, twins are equal, the passing side is found correct."""
    tasks = judged([1.0] * count)
    for task in tasks:
        task["target"]["passed"], task["rivals"][0]["passed"] = True, False
        for audit in task["audit"]:
            audit["rival"] = task["rivals"][0]["author"]
            if audit["probe"] == "same":
                audit["cells"] = [cell | {"digit": 3, "score": 0.5, "status": "ok"} for cell in audit["cells"]]
        task["rivals"][0] |= changes
    return tasks


def follows_position(count: int = 60) -> list[dict[str, Any]]:
    tasks = good(count, outcome="tie", tie_kind="conflict", score=0.5)
    for task in tasks:
        task["rivals"][0]["cells"][1] |= {"score": 0.0, "digit": 5}
    return tasks


def kinds(summary: Summary, **run: Any) -> list[str]:
    return [banner.kind for banner in banners(factory.manifest(**run), summary, EN)]


def test_a_judge_that_passes_every_gate_needs_no_banner():
    summary = summarise(good())
    assert check_state(summary) == "ok"
    assert kinds(summary) == []
    assert [flag.text for flag in flags(factory.manifest(), summary, EN)] == ["Judge: qualified"]


def test_a_judge_that_follows_position_is_not_qualified_and_why():
    summary = summarise(follows_position())
    assert check_state(summary) == "bad"
    [banner] = banners(factory.manifest(), summary, EN)
    assert banner.kind == "unqualified"
    assert "Only 0% of the verdicts survive swapping" in banner.text


def test_a_judge_that_nothing_is_known_of_is_not_proven_and_why():
    tasks = good()
    for task in tasks:
        task["target"]["passed"], task["audit"] = None, []
    summary = summarise(tasks)
    assert check_state(summary) == "unknown"
    [banner] = banners(factory.manifest(), summary, EN)
    assert banner.kind == "unproven"
    assert banner.text.endswith(
        "Lacking: solutions shown beside themselves (AUDIT_TASKS says on how many tasks); "
        "recorded tests that only one solution of a pair passed."
    )


@pytest.mark.parametrize(("count", "state"), [(34, "unknown"), (35, "ok")])
def test_as_few_tasks_as_the_banner_says_open_every_gate(count: int, state: str):
    assert check_state(summarise(good(count))) == state


@pytest.mark.parametrize(
    ("count", "lang", "said"),
    [
        (34, "en", "Lacking: at least 35 audited tasks (34 without one exception reach 10.2%, at most 10% is wanted)."),
        (34, "zh", "还缺：至少 35 个受检任务（34 个即使毫无例外也到 10.2%，要求不高于 10%）。"),
        (
            15,
            "en",
            "Lacking: at least 16 tasks (15 without one exception reach 79.6%, at least 80% is wanted); at least 35",
        ),
        (11, "en", "; at least 12 tasks with tests that only one side passed (11 without one exception reach 74.1%, "),
    ],
)
def test_too_few_tasks_for_a_flawless_judge_are_said_with_how_many_it_takes(count: int, lang: Lang, said: str):
    [banner] = banners(factory.manifest(), summarise(good(count)), TEXTS[lang])
    assert said in banner.text


def test_a_gate_that_a_flawed_judge_might_pass_takes_more_tasks():
    tasks = good()
    for task in tasks[:9]:
        task["rivals"][0]["cells"][1] |= {"score": 0.0, "digit": 5}
    [banner] = banners(factory.manifest(), summarise(tasks), EN)
    assert banner.text.endswith("Lacking: more tasks (Agreement between orders: 74–92%, at least 80% is wanted).")


def test_nothing_judged_is_no_verdict_on_the_judge():
    assert check_state(summarise([])) == "unknown"


def test_a_demo_says_so_whatever_its_judge_check():
    assert kinds(summarise(follows_position()), demo=True) == ["demo"]


def test_a_run_without_a_model_says_so_and_has_nothing_to_qualify():
    summary = summarise(good())
    assert kinds(summary, engine="measured") == ["measured"]
    assert check_state(summary, measured=True) == "none"
    assert [line for line in gate_lines(summary, EN, measured=True) if line.wanted or line.reason] == []


def test_an_unfinished_run_says_so():
    assert kinds(summarise(good()), finished=None) == ["unfinished"]


@pytest.mark.parametrize(
    ("kin", "title"),
    [(["model-a"], "Judge and target of one family"), (["model-b"], "Judge and a rival of one family")],
)
def test_kinship_of_the_judge_stands_on_the_headline(kin: list[str], title: str):
    summary, run = summarise(good()), factory.manifest(same_family=kin)
    [banner] = banners(run, summary, EN)
    assert banner.title == title and f"{run['model']} and {kin[0]} belong to one family" in banner.text
    assert [flag.text for flag in flags(run, summary, EN)] == ["Judge: qualified", title]


def test_too_little_judged_stands_on_the_headline():
    tasks = good()
    for task in tasks[:6]:
        task["rivals"][0] |= {"outcome": "unscored", "score": None, "dimensions": {}}
    assert "too little judged" in [flag.text for flag in flags(factory.manifest(), summarise(tasks), EN)]


def test_a_rival_of_whom_too_little_was_judged_has_its_bounds_in_its_row(tmp_path: Path):
    tasks = good(24)
    for task in tasks[:6]:
        task["rivals"][0] |= {"outcome": "unscored", "score": None, "dimensions": {}}
    folder = factory.write_run(tmp_path / "run", tasks)
    build_pages(folder, lang="en")
    page, text = ((folder / name).read_text(encoding="utf-8") for name in ("report.html", "report.md"))
    said = "75% judged: win rate between 75% and 100%, whatever the rest would have said"
    assert f'model-b<span class="why lacking">{said}</span></th>' in page
    assert 'model-b<span class="why lacking">75% judged: graded score between 0.75 and 1.00' in page
    assert f"| `model-b` *{said}* |" in text


def test_few_tasks_are_marked():
    assert [flag.text for flag in flags(factory.manifest(), summarise(good(29)), EN)][-1] == "few tasks: 29"


def test_every_habit_has_a_line_and_every_probe_that_was_tried():
    summary = summarise(good())
    assert len(habit_lines(summary, EN)) == 7
    assert len(habit_lines(summarise([]), EN)) == 6, "without probes none of them failed"
    assert [line.name for line in probe_lines(summary, EN)] == [*factory.EDITED]
    assert probe_lines(summarise([]), EN) == []


def test_an_edit_of_one_side_is_shown_toward_it_and_away_and_one_of_both_is_not(tmp_path: Path):
    folder = factory.write_run(tmp_path / "run", good())
    build_pages(folder, lang="en")
    lines = {line.name: line for line in probe_lines(summarise(good()), EN)}
    assert [name for name, line in lines.items() if line.is_sided] == ["injected", "authority", "dead_code"]
    # All 60 were won by the target: none could move further its way, none further from the rival.
    assert (lines["injected"].toward.n, lines["injected"].away.n) == (60, 0)
    assert (lines["authority"].toward.n, lines["authority"].away.n) == (0, 60)
    page, text = ((folder / name).read_text(encoding="utf-8") for name in ("report.html", "report.md"))
    assert "Toward the edited side" in page and "Away from it" in page
    assert "| Moved | n | Toward the edited side | n | Away from it | n |" in text


@pytest.mark.parametrize("lang", LANGS)
@pytest.mark.parametrize(("tasks", "state"), [(good(), "ok"), (follows_position(), "bad"), (good(6), "unknown")])
def test_the_state_of_the_judge_stands_on_every_page_before_any_result(
    tmp_path: Path, lang: Lang, tasks: list[dict[str, Any]], state: str
):
    folder = factory.write_run(tmp_path / "run", tasks)
    build_pages(folder, lang=lang)
    t = TEXTS[lang]
    said = f"{t['judge']}{t['colon']}{t[f'check_{state}']}"
    page, text = ((folder / name).read_text(encoding="utf-8") for name in ("report.html", "report.md"))
    assert page.index(said) < page.index('class="headline"') < page.index('id="check"') < page.index('id="win_rate"')
    assert said in page[page.index('id="tasks"') :]
    assert text.index(said) < text.index(f"## {t['check']}") < text.index(f"## {t['outcomes']}")
    qualified = {"ok": "qualified", "bad": "not_qualified", "unknown": "not_enough_evidence"}[state]
    assert f",{qualified}\n" in (folder / "summary.csv").read_text(encoding="utf-8-sig")
