"""How sure the judge was, on every page where something was read, in both languages, and on none where nothing was."""

from __future__ import annotations

import csv
import random
from pathlib import Path
from typing import Any

import pytest

from analyze.lang import LANGS, Lang
from analyze.report import build_pages
from analyze.report.texts import TEXTS
from tests.report import factory


def told(*, legal_mass: float = 1.0, tested: bool = True, count: int = 12) -> list[dict[str, Any]]:
    """Tasks whose judge gave its digit 60 % and each other one 10 %."""
    draw = random.Random(5)
    tasks = [factory.task(n, draw) for n in range(count)]
    for one in tasks:
        if not tested:
            one["target"]["passed"] = None
        for rival in one["rivals"]:
            for cell in rival["cells"]:
                if cell["digit"] is not None:
                    cell["digit"] = round(1 + 4 * cell["score"])
                    if cell["order"] == "rival_first":
                        cell["digit"] = 6 - cell["digit"]
                    cell["probabilities"] = {str(n): 0.6 if n == cell["digit"] else 0.1 for n in range(1, 6)}
                    cell["legal_mass"] = legal_mass
            if rival["score"] is not None:
                rival["expected"] = 0.5 + 0.5 * (rival["score"] - 0.5)
    return tasks


def pages(folder: Path, tasks: list[dict[str, Any]], lang: Lang) -> tuple[str, str]:
    factory.write_run(folder, tasks)
    build_pages(folder, lang=lang)
    page, text = (folder / "report.html").read_text("utf-8"), (folder / "report.md").read_text("utf-8")
    return page, text


@pytest.mark.parametrize("lang", LANGS)
def test_the_score_by_probabilities_stands_beside_the_graded_one_in_plain_words(tmp_path: Path, lang: Lang) -> None:
    page, text = pages(tmp_path / "run", told(count=48), lang)
    t = TEXTS[lang]
    for said in (page, text):
        assert said.index(t["win_rate"]) < said.index(t["sure"]) and t["sure_lead"].split("。")[0][:40] in said
        assert t["sure_masked"][:20] in said
        assert t["sure_tested"].split("{")[1].split("}")[1].strip() in said
        assert "log" not in said[said.index(t["sure"]) :][:1500]
    (row,) = [line for line in text.splitlines() if line.startswith("| `模型-丁`") and "| 1.0 |" in line]
    assert row.count("|") == 9, "what only lies nearer to the middle is worth no more"


@pytest.mark.parametrize("lang", LANGS)
def test_where_nothing_was_read_no_page_speaks_of_it(tmp_path: Path, lang: Lang) -> None:
    for said in pages(tmp_path / "run", [factory.task(n, random.Random(5)) for n in range(4)], lang):
        assert TEXTS[lang]["sure"] not in said


def test_what_the_five_verdicts_had_between_them_is_said_where_it_is_known(tmp_path: Path) -> None:
    for said in pages(tmp_path / "run", told(legal_mass=0.93, tested=False), "en"):
        assert "The five verdicts had 93% between them" in said
        assert "100% between them:" not in said and "passed its recorded tests, the judge gave" not in said


def test_the_table_has_it_for_each_rival_and_over_all(tmp_path: Path) -> None:
    pages(tmp_path / "run", told(), "en")
    rows = list(csv.DictReader((tmp_path / "run/summary.csv").read_text("utf-8-sig").splitlines()))
    assert [row["author"] for row in rows][-1] == "*" and len(rows) == 5
    for row in rows:
        assert float(row["expected"]) == pytest.approx(0.5 + (float(row["score"]) - 0.5) / 2, abs=1e-6)
        assert float(row["expected_low"]) < float(row["expected"]) < float(row["expected_high"])
        assert row["expected_n"] == row["score_n"]
    pages(tmp_path / "other", [factory.task(0, random.Random(5))], "en")
    rows = list(csv.DictReader((tmp_path / "other/summary.csv").read_text("utf-8-sig").splitlines()))
    assert {(row["expected"], row["expected_n"]) for row in rows} == {("", "0")}
