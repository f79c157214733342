"""The summary page and the overlays: what is on them, and that nothing foreign does anything there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from analyze.annotate.labelled import Boxed, Labelled
from analyze.annotate.page import Material, page
from analyze.annotate.page_texts import TEXTS
from analyze.annotate.preview import INKS, contact_sheet, draw, font_for, sample
from analyze.annotate.results import Results
from analyze.lang import LANGS, Lang
from analyze.report.fonts import covers, find_font

EVIL = "<script>alert(1)</script>\u202e{{7*7}}"


def results() -> Results:
    found = Results()
    for number in range(40):
        objects = [{"name": f"{EVIL} {many % 3}", "bbox": [0, 0, 1, 1]} for many in range(number % 13)]
        bad = number % 5 == 0
        row = {"id": f"{number}", "image_path": EVIL, "objects": objects, "annotations_error": bad, "error": EVIL}
        found.add(row | {"status": "missing" if bad else "ok", "flags": ["clipped", "deduplicated:3"]})
    return found


def material(lang: Lang) -> Material:
    run = {"model": EVIL, "prompt": EVIL, "input": {"path": EVIL}, "image_root": EVIL}
    return Material(run, results(), lang, EVIL, files=[EVIL])


def sheet(lang: Lang) -> str:
    """A contact sheet of images that are not there."""
    told = {"path": EVIL, "names": [EVIL], "flags": "clipped"}
    shown = [told | {"file": None, "trouble": EVIL}] * 2
    return contact_sheet(Path(EVIL), shown, 7, lang, has_font=False)


@pytest.mark.parametrize("lang", LANGS)
def test_the_page_says_all_of_it_and_runs_nothing(lang: Lang) -> None:
    found, html = results(), page(material(lang))
    assert "<script" not in html and "{{7*7}}" in html and not re.search(r'="https?:', html)
    t = TEXTS[lang]
    assert t["headline"].format(n="32", all="40", objects=f"{found.objects}") in html
    assert t["s_missing"] in html and t["f_clipped"] in html and t["f_deduplicated"] in html
    assert t["unfinished_title"] in html
    assert page(Material({}, Results(), lang, "o.jsonl"))


def test_both_languages_have_the_same_texts_and_fill_in_the_same_values() -> None:
    assert TEXTS["en"].keys() == TEXTS["zh"].keys()
    for key, english in TEXTS["en"].items():
        assert sorted(re.findall(r"\{\w+\}", english)) == sorted(re.findall(r"\{\w+\}", TEXTS["zh"][key])), key


def test_boxes_are_drawn_where_they_are_with_names_in_chinese() -> None:
    one = Boxed("红细胞", (100, 50, 300, 150))
    font = find_font("红细胞0123456789")
    assert font is not None
    blank = Image.new("RGB", (200, 100), "white")
    drawn = [
        draw(blank.copy(), Labelled("p", (400, 200), (boxed,), {}), font, {boxed.name: INKS[0]})
        for boxed in (one, Boxed("x", one.box))
    ]
    assert drawn[0].getpixel((100, 25)) == drawn[0].getpixel((50, 50)) != (255, 255, 255)
    assert drawn[0].getpixel((100, 50)) == (255, 255, 255)
    assert ImageChops.difference(*drawn).getbbox(), "the name is drawn"


def test_a_name_that_no_font_has_does_not_keep_the_others_from_being_drawn() -> None:
    font = font_for(["红细胞", "cat", "\ue000\ue001\ue002"], None)
    assert font is not None and covers("红细胞cat", font)
    assert font_for(["\ue000\ue001\ue002"] * 3, None) is None


def test_a_sample_is_the_same_each_time_and_no_more_than_there_is() -> None:
    images = [Labelled(f"{number}.jpg", (1, 1), (), {}) for number in range(100)]
    chosen, total = sample(images, 10)
    assert total == 100 and len(chosen) == 10 and sample(reversed(images), 10)[0] == chosen
    assert len(sample(images[:3], 10)[0]) == 3
