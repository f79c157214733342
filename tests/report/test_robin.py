"""The round robin in a report: who stands where and whether that can be believed, and no word of it unasked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from analyze.lang import LANGS, Lang
from analyze.report import build_pages
from analyze.report.robin import RobinView, robin_view
from analyze.report.texts import TEXTS
from analyze.stats.summary import summarise
from tests.report import factory
from tests.stats.test_robin import LOSS, TIE, UNSCORED, WIN, by_odds, run


def view(records: list[dict[str, Any]], lang: Lang = "en") -> RobinView:
    found = robin_view(summarise(records), TEXTS[lang])
    assert found is not None
    return found


def test_the_table_has_every_meeting_from_both_sides_the_strongest_first():
    found = view(by_odds())
    assert [author for author, *_ in found.standings] == found.authors == ["target", "rival-1", "rival-2"]
    assert [strength for _, strength, *_ in found.standings] == ["+0.69", "+0.00", "−0.69"]
    assert found.met == [
        ("target", ["—", "10 · 0 · 5", "12 · 0 · 3"]),
        ("rival-1", ["5 · 0 · 10", "—", "10 · 0 · 5"]),
        ("rival-2", ["3 · 0 · 12", "5 · 0 · 10", "—"]),
    ]


def test_one_order_is_said_to_fit_or_not_or_that_nothing_tells():
    fits = view(run(*[(WIN, WIN, WIN)] * 12, (TIE, LOSS, TIE), (LOSS, TIE, LOSS))).sentences[0]
    assert fits.startswith("One order fits: significant meetings are 3 of 3, ")
    circle = view(run(*[(WIN, LOSS, WIN)] * 8)).sentences[0]
    assert circle.startswith("No one order fits. ") and "rival-2 beats target (p\u00a0=\u00a00.023, by Holm)" in circle
    nothing = view(run(*[(WIN, LOSS, WIN)] * 5)).sentences[0]
    assert nothing.startswith("No meeting of two is significant")


def test_who_is_not_ranked_is_named_with_the_reason():
    one = view(run(*[(WIN, WIN, WIN), (WIN, WIN, LOSS)] * 3)).sentences[-1]
    assert one == "Not ranked: target, who never won, or never lost, against the others."
    few = view(run(*[(TIE, TIE, TIE)] * 2, *[(TIE, UNSCORED, UNSCORED)] * 4)).sentences[-1]
    assert few == "Not ranked: rival-2, judged on 2 tasks (5 are needed)."
    nobody = view(run(*[(UNSCORED, UNSCORED, UNSCORED)] * 3))
    assert nobody.standings == [] and nobody.sentences[-1].startswith("Nobody can be ranked: ")


@pytest.mark.parametrize("lang", LANGS)
def test_a_round_robin_has_its_own_section_in_page_and_markdown(tmp_path: Path, lang: Lang):
    t, found = TEXTS[lang], view(by_odds(), lang)
    folder = factory.write_run(tmp_path / "run", by_odds())
    build_pages(folder, lang=lang)
    page = (folder / "report.html").read_text(encoding="utf-8")
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert f"## {t['robin']}\n" in text and page.count('href="#robin"') == 1
    section = page[page.index('id="robin"') : page.index('id="dimensions"')]
    assert found.sentences[0] in section
    for cells in (cells for _, cells in found.met):
        assert " | ".join(cells) in text
        assert "".join(f'<td class="num">{cell}</td>' for cell in cells) in section
    assert t["differences_met"] in page and t["differences_lead"] not in page


@pytest.mark.parametrize("lang", LANGS)
def test_without_a_round_robin_nothing_ranks_the_rivals(tmp_path: Path, lang: Lang):
    records = by_odds()
    for record in records:
        del record["round_robin"]
    folder = factory.write_run(tmp_path / "run", records)
    build_pages(folder, lang=lang)
    for name in ("report.html", "report.md"):
        text = (folder / name).read_text(encoding="utf-8")
        assert TEXTS[lang]["robin"] not in text and TEXTS[lang]["robin_strengths"] not in text
