"""The summary page: one file, in both languages, that says what came of the rows and how they were asked."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from analyze.infer.extracting import Extracted
from analyze.infer.page import Material, page
from analyze.infer.page_texts import TEXTS as PAGE_TEXTS
from analyze.infer.results import Results
from analyze.infer.tasks import Task
from analyze.infer.telling import TEXTS as CONSOLE_TEXTS
from analyze.lang import LANGS
from tests.infer.conftest import TASK, Infer, questions


def material(evil: list[str]) -> Material:
    """Return a run in which whoever could say anything said something evil."""
    extracted, results = Extracted(is_first=False), Results()
    task = Task(evil[1], Path("configs/x/task_config.py"), "0" * 64, *([None] * 4))  # type: ignore[arg-type]
    for number in range(40):
        kind = "invalid" if number % 9 == 0 else None
        record = {
            "id": f"{number}",
            "index": number,
            "source": {"file": evil[0] * 3, "row": number},
            "messages": [{"role": "user", "content": evil[number % 2] * 5}],
            "response": None if kind else evil[number % 2] * 20,
            "finish_reason": "length" if number % 4 else "stop",
            "usage": {"prompt": 10, "completion": 3 ** (number % 9)},
            "status": "error" if kind else "ok",
            "error": evil[0] * 9 if kind else None,
            "failed": kind,
        }
        status = "no_reply" if kind else ("ok", "none", "error")[number % 3]
        answer = f"{evil[0]} {number}" * 4 if status == "ok" else None
        told = {"answer": answer, "extract_status": status, "extract_error": evil[1]}
        extracted.add(record, told)
        results.add(record, told)
    run = {
        "model": evil[0] * 9,
        "files": [f"{evil[1]}{number}" for number in range(30)],
        "sampling": {"stop": evil, "temperature": 0.5},
        "sampling_layers": [{"from": evil[0], "values": {"stop": evil}}],
        "instances": [{"url": evil[0], "answers": 7, "failures": 1}],
        "counts": {"rejected": 3},
        "command": ["python", "-m", "analyze.infer", *evil],
        "versions": {"analyze": evil[1]},
        "seconds": 12.5,
    }
    return Material(run, task, extracted, results, {evil[0]: 1 / 3, "n": evil}, evil[1] * 9)


def test_what_others_say_stays_text_on_the_page() -> None:
    evil = ["<script>alert(1)</script>\u202e", "</title><img src=x onerror=alert(2)>{{ 7*7 }}"]
    for lang in LANGS:
        shown = page(material(evil), lang)
        assert "<script>" not in shown and "<img" not in shown and "\u202e" not in shown and "49" not in shown
        assert "&lt;script&gt;" in shown and page(material(evil), lang) == shown


@pytest.mark.parametrize("texts", [PAGE_TEXTS, CONSOLE_TEXTS])
def test_both_languages_say_the_same_things(texts: dict[str, dict[str, str]]) -> None:
    assert texts["en"].keys() == texts["zh"].keys()
    for key, english in texts["en"].items():
        places = [sorted(re.findall(r"\{(\w+)", text)) for text in (english, texts["zh"][key])]
        assert places[0] == places[1], key


@pytest.mark.parametrize(("lang", "title"), [("en", "Inference"), ("zh", "批量推理")])
def test_the_page_says_what_came_of_the_rows_and_how_they_were_asked(infer: Infer, lang: str, title: str) -> None:
    evaluate = "def evaluate(rows):\n    return {'<b>mean</b>': 1 / 3, 'rows': len(rows)}\n"
    infer.task(TASK + evaluate, rows=[*questions(3), {"question": "bad <img src=x>"}, {"none": 1}])
    for server in infer.servers:
        server.refuse = lambda body: 400 if "bad" in str(body) else None
    ended = infer.run("--lang", lang, "--max_tokens", "77")
    assert (ended.code == 1 and "1 rejected" in ended.out) or "拒收 1" in ended.out
    page = (infer.folder / "out/report.html").read_text(encoding="utf-8")
    assert f"<title>{title} · mine</title>" in page and f'lang="{PAGE_TEXTS[lang]["html_lang"]}"' in page  # type: ignore[index]
    assert "0.3333" in page and "&lt;b&gt;mean&lt;/b&gt;" in page and "<img src=x>" not in page
    assert "question 0" in page and "77" in page and "rejected.jsonl" in page and "400" in page
    assert not re.search(r"""(?:src|href)=["']?https?:|@import|url\(http|<script""", page)


def test_answers_are_counted_on_the_page_where_some_come_twice(infer: Infer) -> None:
    infer.task(rows=questions(4))
    infer.run()
    assert 'id="answers"' not in (infer.folder / "out/report.html").read_text()
    infer.reply = lambda body: "answer: yes"
    infer.run("--rerun")
    assert 'id="answers"' in (infer.folder / "out/report.html").read_text()


def test_a_page_of_the_tiny_model_says_that_it_is_noise(infer: Infer) -> None:
    infer.task(rows=questions(1))
    for server in infer.servers:
        server.model = "tiny-random"
    ended = infer.run()
    assert ended.code == 0 and "noise" in ended.out
    assert "these replies are noise" in (infer.folder / "out/report.html").read_text()
