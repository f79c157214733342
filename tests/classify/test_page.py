"""The summary page: what is on it, and that nothing foreign does anything there."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from analyze.classify.gold import Held
from analyze.classify.labels import Label, Labels
from analyze.classify.page import Material, page
from analyze.classify.page_texts import TEXTS
from analyze.classify.results import Results
from analyze.lang import LANGS, Lang
from tests.classify.conftest import Command, gold_rows

EVIL = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "\u202eevil</style>{{7*7}}",
    "a" * 200,
    "长" * 90,
]

Row = dict[str, Any]


class Seen(HTMLParser):
    """The elements of a page, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.urls: list[str] = []
        self.handlers: list[str] = []
        self.ids: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            self.handlers += [name] if name.startswith("on") else []
            self.urls += [value or ""] if name in ("href", "src", "action") else []
            self.ids += [value or ""] if name == "id" else []

    def handle_data(self, data: str) -> None:
        self.text += data


def record(number: int, names: list[str], *, failed: bool = False) -> Row:
    label = names[number % len(names)]
    p = 0.4 + 0.59 * (number % 10) / 10
    probabilities = {name: p if name == label else (1 - p) / (len(names) - 1) for name in names}
    return {
        "query": f"{EVIL[number % 2]} {number}",
        "label": None if failed else label,
        "raw_output": EVIL[1],
        "status": "invalid" if failed else "ok",
        "error": EVIL[0] if failed else None,
        "confidence": None if failed else p,
        "probabilities": None if failed else probabilities,
        "usage": {"prompt": 100, "cached": 80, "completion": 5},
        "flags": [],
        "id": str(number),
        "gold": names[(number + (number % 3 == 0)) % len(names)],
        "failed": "schema" if failed else None,
    }


def material(lang: Lang, names: list[str], rows: int = 60) -> Material:
    labels, results = Labels(tuple(map(Label, names))), Results()
    held = Held(labels)
    told = [record(n, names, failed=n % 9 == 0) for n in range(rows)]
    differing = []
    for n, one in enumerate(told):
        results.add(one)
        if held.add((0, n), one):
            differing.append(one)
    run = {
        "model": EVIL[0],
        "prompt": f"{EVIL[2]} {{query}}",
        "finished": "2026-01-01T00:00:00Z",
        "settings": {"A": "b"},
    }
    run["instances"] = [{"url": "http://h:1/v1", "answers": 5, "seconds": 2.0, "idle_s": 0.5, "prompt_tokens": 90}]
    return Material(run, results, labels, lang, EVIL[1], "gold", held.evaluation(), differing, (EVIL[1],))


def test_both_languages_say_the_same_things() -> None:
    en, zh = TEXTS["en"], TEXTS["zh"]
    assert list(en) == list(zh)
    for key in en:
        assert sorted(re.findall(r"{\w+}", en[key])) == sorted(re.findall(r"{\w+}", zh[key])), key


@pytest.mark.parametrize("lang", LANGS)
def test_what_texts_labels_and_replies_say_is_shown_and_does_nothing(lang: Lang) -> None:
    html = page(material(lang, EVIL))
    seen = Seen(html)
    assert not {"script", "img", "iframe", "object"} & set(seen.tags)
    assert seen.handlers == [] and "{{7*7}}" in seen.text and "<script>alert(1)</script>" in seen.text
    assert all(url.startswith(("#", "data:", "%")) for url in seen.urls), "its own parts, and files beside it"
    assert "\u202e" not in html and "default-src 'none'" in html
    assert "nan" not in re.sub(r"[a-z]*nan[a-z]+", "", seen.text)


@pytest.mark.parametrize("names", [["a", "b"], [f"label {n}" for n in range(40)], EVIL])
def test_every_link_to_a_section_leads_to_one_and_every_section_has_a_link(names: list[str]) -> None:
    seen = Seen(page(material("en", names)))
    links = [url[1:] for url in seen.urls if url.startswith("#")]
    assert sorted(links) == sorted(set(seen.ids) - {"answer"}) and "confusion" in links


def test_every_chart_has_a_table_in_its_section() -> None:
    html = page(material("en", ["a", "b", "c"]))
    sections = [part for part in html.split("<section")[1:] if "<svg" in part]
    assert len(sections) == 5
    assert all("<table" in part for part in sections)


def test_the_page_of_a_run_tells_its_figures_and_how_it_was_run(known: Command) -> None:
    known.write("q.jsonl", [*gold_rows(), {"id": "bad", "query": " ", "truth": "others"}])
    ended = known.run("--input", "q.jsonl", "--gold", "truth", "--temperature", "0.5")
    assert ended.code == 1 and "report:   out.jsonl.report.html" in ended.out
    text = Seen((known.folder / "out.jsonl.report.html").read_text(encoding="utf-8")).text
    assert "63.6% of 11 texts have the label that people gave them" in text
    for told in ("fake-model", "temperature 0.5", "the text is empty", "Query: {query}", "unusable text", "text 9"):
        assert told in text, told
    assert "Unfinished" not in text


def test_without_gold_the_page_says_that_nobody_knows_how_often_labels_are_right(classify: Command) -> None:
    classify.write("q.txt", "one\ntwo")
    assert classify.run("--input", "q.txt", "--lang", "zh").code == 0
    text = Seen((classify.folder / "out.jsonl.report.html").read_text(encoding="utf-8")).text
    assert "2 条文本中，2 条有标签" in text and "未提供真实标签" in text and "没有概率信息" in text


def test_the_page_of_a_run_that_was_stopped_says_so(classify: Command) -> None:
    classify.write("q.txt", "\n".join(f"text {n}" for n in range(50)))
    for server in classify.servers:
        server.delay_s = 0.2
    ended = classify.run("--input", "q.txt", "--batch-size", "1", "--max-time", "1s")
    assert ended.code == 4, ended.err
    assert "Unfinished run" in (classify.folder / "out.jsonl.report.html").read_text(encoding="utf-8")
