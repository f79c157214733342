"""The page in a real browser: quiet, alone, and no wider than the window."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from analyze.annotate.page import page as annotate_page
from analyze.classify.page import page as classify_page
from analyze.infer.page import page as infer_page
from analyze.lang import LANGS, Lang
from analyze.report import build_pages, compare_runs
from tests.annotate.test_page import material as annotated
from tests.annotate.test_page import sheet
from tests.classify.test_page import EVIL
from tests.classify.test_page import material as classified
from tests.infer.test_page import material as inferred
from tests.report import factory

CHROMIUM = shutil.which("chromium")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH: apt install chromium"),
]

WIDTHS = (390, 768, 1440)
SCHEMES = ("light", "dark")
A4_PX = 688  # between margins of 14 mm
LONGEST_MS = 180_000  # against a hang, on a machine that does other things too


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"], timeout=LONGEST_MS
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A report in each language, and one of hostile content."""
    folder = tmp_path_factory.mktemp("browser")
    made = {}
    for lang in LANGS:
        made[lang] = build_pages(factory.run_of(folder / lang), lang=lang)["report"]
    made["hostile"] = build_pages(factory.write_run(folder / "hostile", factory.hostile_tasks()), lang="zh")["report"]
    others = {"compare": factory.run_of(folder / "other", seed=4)}
    changed = [task | {"target": task["target"] | {"code": "x = 1"}} for task in factory.hostile_tasks()]
    others["compare hostile"] = factory.write_run(folder / "other hostile", changed)
    for (name, other), run in zip(others.items(), ("zh", "hostile"), strict=True):
        made[name] = compare_runs(folder / run, other, lang="zh").paths["compare"]
    for lang in LANGS:
        made[f"classify_{lang}"] = folder / f"classify_{lang}.html"
        made[f"classify_{lang}"].write_text(classify_page(classified(lang, EVIL)), encoding="utf-8")
        made[f"infer_{lang}"] = folder / f"infer_{lang}.html"
        made[f"infer_{lang}"].write_text(infer_page(inferred(EVIL), lang), encoding="utf-8", errors="replace")
    made["annotate"] = folder / "annotate.html"
    made["annotate"].write_text(annotate_page(annotated("zh")), encoding="utf-8")
    made["contact sheet"] = folder / "sheet.html"
    made["contact sheet"].write_text(sheet("en"), encoding="utf-8")
    return made


def opened(browser: Any, path: Path, width: int, scheme: str = "light") -> tuple[Any, list[str], list[str]]:
    """Open a page; return it with what its console said and what it asked the network for."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.set_default_timeout(LONGEST_MS)
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    return page, said, [url for url in asked if url != path.as_uri() and not url.startswith("data:")]


@pytest.mark.parametrize(
    "name",
    [
        *LANGS,
        "hostile",
        "compare",
        "compare hostile",
        "annotate",
        "contact sheet",
        *(f"{job}_{lang}" for job in ("classify", "infer") for lang in LANGS),
    ],
)
@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_is_quiet_alone_and_no_wider_than_the_window(
    browser: Any, pages: dict[str, Path], name: str, width: int
):
    page, said, asked = opened(browser, pages[name], width)
    page.evaluate("for (const it of document.querySelectorAll('details')) it.open = true")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert (said, asked) == ([], [])
    page.close()


@pytest.fixture(scope="module")
def axe() -> str:
    """The script of axe-core, run in the page by the browser: no file is asked for, and the page's policy holds."""
    return (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [*LANGS, "hostile", "infer_en"])
@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (768, "dark"), (1440, "light"), (1440, "dark")])
def test_axe_finds_nothing_serious(browser: Any, pages: dict[str, Path], axe: str, name: str, scheme: str, width: int):
    page, said, asked = opened(browser, pages[name], width, scheme)
    page.evaluate("for (const it of [...document.querySelectorAll('details')].slice(0, 12)) it.open = true")
    page.evaluate(axe)
    found = page.evaluate("axe.run({resultTypes: ['violations']}).then(it => it.violations)")
    serious = [
        (it["id"], [node["html"][:160] for node in it["nodes"]][:3])
        for it in found
        if it["impact"] in ("serious", "critical")
    ]
    assert serious == []
    assert (said, asked) == ([], [])
    page.close()


@pytest.mark.parametrize("lang", LANGS)
def test_following_a_link_to_a_task_opens_it(browser: Any, pages: dict[str, Path], lang: Lang):
    page, _, _ = opened(browser, pages[lang], 1440)
    link = page.locator("#contradictions a").first
    link.click()
    page.locator("details.task[open]").first.wait_for()  # a script of the page opens it, a moment later
    assert page.locator("details.task[open]").count() == 1
    page.close()


@pytest.mark.parametrize("width", WIDTHS)
def test_one_of_the_two_drawings_of_a_chart_is_shown_and_its_text_can_be_read(
    browser: Any, pages: dict[str, Path], width: int
):
    page, _, _ = opened(browser, pages["en"], width)
    shown = page.evaluate(
        "[...document.querySelectorAll('svg.chart')].filter(it => it.getClientRects().length)"
        ".map(it => it.getBoundingClientRect().width / it.viewBox.baseVal.width)"
    )
    assert len(shown) == 7
    assert min(shown) * 12 >= 11, "the smallest text is 12 px at natural size"
    page.close()


def test_dark_follows_the_readers_system(browser: Any, pages: dict[str, Path]):
    grounds = []
    for scheme in SCHEMES:
        page, _, _ = opened(browser, pages["en"], 1440, scheme)
        grounds.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        page.close()
    assert grounds == ["rgb(255, 255, 255)", "rgb(20, 23, 28)"]


def test_printed_the_page_is_light_and_fits_its_paper(browser: Any, pages: dict[str, Path]):
    page, _, _ = opened(browser, pages["en"], 800, "dark")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator("nav").is_hidden()
    assert page.pdf(format="A4")[:4] == b"%PDF"
    page.close()


@pytest.mark.parametrize("lang", LANGS)
def test_printed_the_page_is_that_of_a_desk_and_its_folded_tables_are_open(
    browser: Any, pages: dict[str, Path], lang: Lang
):
    page, _, _ = opened(browser, pages[lang], A4_PX)
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth") <= A4_PX
    assert not page.locator("svg.narrow").first.is_visible()
    assert page.locator("table.check .wanted").first.is_visible()
    assert all(table.is_visible() for table in page.locator("details.table table").all())
    assert not page.locator("details.task pre").first.is_visible()
    page.close()


@pytest.mark.parametrize("name", [*LANGS, "compare"])
def test_on_a_phone_no_name_stands_a_letter_a_line(browser: Any, pages: dict[str, Path], name: str):
    page, _, _ = opened(browser, pages[name], 390)
    page.evaluate("for (const it of document.querySelectorAll('details.table')) it.open = true")
    narrowest = page.evaluate(
        "Math.min(...[...document.querySelectorAll('.scroll tbody th, .scroll td.name')]"
        ".filter(it => it.getClientRects().length).map(it => it.getBoundingClientRect().width))"
    )
    assert narrowest >= 90
    page.close()
