"""What a notebook shows of a run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from analyze.lang import LANGS, Lang
from analyze.report import gather
from analyze.report.brief import Brief
from tests.report import factory
from tests.report.factory import hostile_tasks
from tests.report.test_report import Outline


def brief_of(folder: Path, lang: Lang = "en") -> Brief:
    return Brief.of(gather(folder, lang=lang))


@pytest.mark.parametrize("lang", LANGS)
def test_it_says_the_answer_the_judges_state_and_a_row_for_each_rival_in_less_than_30_kb(tmp_path: Path, lang: Lang):
    brief = brief_of(factory.run_of(tmp_path / "run"), lang)
    page = brief.html({"report": tmp_path / "run" / "report.html"})
    assert brief.said.headline in page and brief.said.detail in page
    assert all(flag in page for flag in brief.flags)
    assert [row[0] for row in brief.rows[1:]] == sorted(factory.RIVALS)
    assert page.count("<tr>") == 1 + len(brief.rows)
    assert len(page.encode()) < 30_000


def test_many_rivals_with_long_names_stay_small_and_are_counted(tmp_path: Path, monkeypatch: Any):
    many = {f"rival-{n}-{'x' * 300}": 0.1 for n in range(40)}
    monkeypatch.setattr(factory, "RIVALS", many)
    brief = brief_of(factory.run_of(tmp_path / "run", count=2))
    assert brief.more == "and 28 more"
    assert len(brief.html({}).encode()) < 30_000


def test_hostile_names_are_text_in_both_forms(tmp_path: Path):
    brief = brief_of(factory.write_run(tmp_path / "run", hostile_tasks()))
    files = {"report": Path("</a><script>alert(1)</script>/report.html")}
    page, text = brief.html(files), brief.markdown(files)
    outline = Outline(page)
    assert outline.open == [] and outline.handlers == []
    assert "script" not in outline.tags
    assert not re.search(r"(?<!\\)<(script|img)", text)


def test_it_brings_no_colour_of_its_own_and_asks_for_nothing(tmp_path: Path):
    page = brief_of(factory.run_of(tmp_path / "run")).html({})
    assert "color:" not in page and "background" not in page
    assert all(address.startswith("data:") for address in Outline(page).addresses)


def test_a_run_without_a_verdict_says_so_and_has_no_chart(tmp_path: Path):
    brief = brief_of(factory.write_run(tmp_path / "run", []))
    assert "<img" not in brief.html({})
    assert brief.said.headline in brief.markdown({})
