"""What pages say of a second judge: how far it agrees with the first, and where it does not."""

from __future__ import annotations

import csv
import random
import re
from pathlib import Path
from typing import Any

import pytest

from analyze.lang import LANGS, Lang
from analyze.report import build_pages
from analyze.report.second import MOST_DISAGREEMENTS, second_view
from analyze.report.tables import COLUMNS, SECOND_COLUMNS
from analyze.report.texts import TEXTS
from analyze.stats.summary import summarise
from tests.report import factory
from tests.report.test_findings import judged

ORDERS = ("target_first", "rival_first")


def judged_twice(first: list[float], second: list[float | None]) -> list[dict[str, Any]]:
    """Tasks that a second judge judged too, both of them the same in both orders; 1 is a clear win."""
    draw, tasks = random.Random(2), judged(first)
    for task, value in zip(tasks, second, strict=True):
        cells = [factory.cell(task["task_id"], "model-b", order, value, "en", draw) for order in ORDERS]
        for it, order in zip(cells, ORDERS, strict=True):
            for one in (it, task["rivals"][0]["cells"][ORDERS.index(order)]):  # digits are of A and B as shown
                if one["score"] is not None:
                    one["digit"] = round(1 + 4 * (one["score"] if order == "target_first" else 1 - one["score"]))
        task["audit"].append({"probe": "second", "rival": "model-b", "edited": None, "cells": cells})
    return tasks


def run(folder: Path, tasks: list[dict[str, Any]], *, same_family: bool = False) -> Path:
    second = {"same_family": same_family, "instances": [{"url": "http://second:8001/v1", "answers": 4}]}
    manifest = factory.manifest(second_model="GLM-4.6", second_judge=second)
    return factory.write_run(folder, tasks, run=manifest)


def pages(folder: Path, lang: Lang = "en") -> tuple[str, str]:
    build_pages(folder, lang=lang)
    page, text = ((folder / name).read_text(encoding="utf-8") for name in ("report.html", "report.md"))
    return page, text


@pytest.mark.parametrize("lang", LANGS)
def test_both_judges_stand_side_by_side_before_any_result(tmp_path: Path, lang: Lang) -> None:
    t = TEXTS[lang]
    folder = run(tmp_path / "run", judged_twice([1.0] * 6 + [0.0] * 4, [1.0] * 5 + [0.5] + [0.0] * 3 + [1.0]))
    for page in pages(folder, lang):
        assert page.index(t["second"]) < page.index(t["outcomes_lead"] if "<html" in page else f"## {t['outcomes']}\n")
        assert "GLM-4.6" in page and "Qwen3-30B-A3B-Instruct-2507" in page
        assert "6 · 0 · 4" in page and "6 · 1 · 3" in page
        for measure in ("m_second", "m_second_kappa", "m_second_levels", "m_second_alpha"):
            assert t[measure] in page
        assert t["m_second_ac1"] not in page
        assert "80% (" in page or ">80%<" in page or "| 80% |" in page
        assert t["second_differ"].format(n=2, all=10) in page
        assert t["second_few"].format(pairs=10, tasks=10, n=2) in page


def test_of_many_comparisons_it_is_not_said_that_they_are_few() -> None:
    tasks = judged_twice([1.0, 0.0] * 60, [1.0, 0.5] * 60)
    view = second_view(factory.manifest(), summarise(tasks), TEXTS["en"])
    assert view is not None and view.few is None


def test_pairs_that_differ_are_linked_to_their_tasks_the_opposite_ones_first(tmp_path: Path) -> None:
    page, text = pages(run(tmp_path / "run", judged_twice([1.0, 1.0, 0.0], [0.5, 0.0, 0.0])))
    listed = re.findall(r'<li><a class="name" href="#task-\w+">(task-\d+)</a> <span class="soft">(model-b: .*?)<', page)
    assert listed == [
        ("task-01", "model-b: win by the first judge, loss by the second"),
        ("task-00", "model-b: win by the first judge, tie by the second"),
    ]
    assert text.index("- `task-01` model") < text.index("- `task-00` model")


@pytest.mark.parametrize("lang", LANGS)
def test_what_the_second_judge_said_of_a_pair_stands_in_its_task(tmp_path: Path, lang: Lang) -> None:
    tasks, t = judged_twice([1.0], [0.0]), TEXTS[lang]
    tasks[0]["audit"][-1]["cells"][1]["reason"] = "the rival is shorter"
    page, _ = pages(run(tmp_path / "run", tasks), lang)
    said = f"{t['second_second']}{t['colon']}{t['order_rival_first']}</span> <b>{t['said_0']}</b></p>"
    assert f'{said}\n<p class="said">the rival is shorter</p>' in page


def test_a_long_list_is_cut_and_the_rest_is_counted(tmp_path: Path) -> None:
    count = MOST_DISAGREEMENTS + 3
    for page in pages(run(tmp_path / "run", judged_twice([1.0] * count, [0.0] * count))):
        assert page.count("win by the first judge, loss by the second") == MOST_DISAGREEMENTS
        assert "and 3 more" in page


def test_judges_that_never_differ_are_said_not_to(tmp_path: Path) -> None:
    for page in pages(run(tmp_path / "run", judged_twice([1.0, 0.0], [1.0, 0.0]))):
        assert TEXTS["en"]["second_same"] in page


def test_where_nearly_all_is_one_outcome_ac1_is_shown(tmp_path: Path) -> None:
    for page in pages(run(tmp_path / "run", judged_twice([1.0] * 9 + [0.0], [1.0] * 10))):
        assert TEXTS["en"]["m_second_ac1"] in page


@pytest.mark.parametrize("lang", LANGS)
def test_judges_of_one_family_are_said_to_be_on_the_page(tmp_path: Path, lang: Lang) -> None:
    tasks = judged_twice([1.0, 0.0], [1.0, 0.0])
    said = TEXTS[lang]["second_kin"].format(first="Qwen3-30B-A3B-Instruct-2507", second="GLM-4.6")
    page, _ = pages(run(tmp_path / "kin", tasks, same_family=True), lang)
    assert f'<p class="note">{said}</p>' in page
    assert said not in pages(run(tmp_path / "other", tasks), lang)[0]


def test_what_it_failed_to_judge_is_counted(tmp_path: Path) -> None:
    folder = run(tmp_path / "run", judged_twice([1.0, 1.0], [1.0, None]))
    view = second_view(factory.manifest(), summarise(judged_twice([1.0, 1.0], [1.0, None])), TEXTS["en"])
    assert view is not None and view.lines[-1].value == "2 of 4" and view.lines[0].n == "1"
    assert "2 of 4" in pages(folder)[0]


def test_its_servers_and_model_stand_with_how_the_run_was_made(tmp_path: Path) -> None:
    for page in pages(run(tmp_path / "run", judged_twice([1.0], [1.0]))):
        assert TEXTS["en"]["run_second_model"] in page and "http://second:8001/v1" in page


def test_the_csv_has_its_columns_in_the_row_over_all_and_none_without_it(tmp_path: Path) -> None:
    folder = run(tmp_path / "run", judged_twice([1.0] * 6 + [0.0] * 4, [1.0] * 5 + [0.5] + [0.0] * 3 + [1.0]))
    pages(folder)
    with open(folder / "summary.csv", encoding="utf-8-sig", newline="") as file:
        *rivals, overall = csv.DictReader(file)
    assert (overall["second_judge_pairs"], overall["second_judge_agreement"]) == ("10", "0.800000")
    assert overall["second_judge_kappa"] and not overall["second_judge_ac1"]
    assert [{row[name] for name in SECOND_COLUMNS} for row in rivals] == [{""}]

    alone = factory.write_run(tmp_path / "alone", judged([1.0, 0.0]))
    for page in pages(alone):
        assert TEXTS["en"]["second"] not in page and "econd judge" not in page
    header = (alone / "summary.csv").read_text(encoding="utf-8-sig").splitlines()[0]
    assert tuple(header.split(",")) == COLUMNS


def test_what_its_name_holds_is_text(tmp_path: Path) -> None:
    manifest = factory.manifest(second_model=factory.HOSTILE["markup"], second_judge={"same_family": True})
    folder = factory.write_run(tmp_path / "run", judged_twice([1.0], [0.0]), run=manifest)
    page, text = pages(folder)
    assert "<img" not in page
    assert not re.search(r"(?<!\\)<img", re.sub(r"`[^`]*`", "", text))
