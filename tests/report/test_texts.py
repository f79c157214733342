"""The two catalogues say the same, each in its own language."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import analyze.report
from analyze.report.texts import SECTIONS, TEXTS

ROOT = Path(analyze.report.__file__).parent
HAN = re.compile(r"[\u4e00-\u9fff]")
# Names of programs, files, formats and units, which Chinese writes in Latin letters too.
NAMES = {
    "A",
    "κ",
    "n",
    "1vN",
    "GPU",
    "vLLM",
    "lizard",
    "ruff",
    "bandit",
    "Python",
    "apt",
    "install",
    "fonts",
    "noto",
    "cjk",
}
NAMES |= {"Wilcoxon", "Krippendorff", "Benjamini", "Hochberg", "Gwet", "AC1", "SHA"}
NAMES |= {"Clopper", "Pearson", "Bradley", "Terry"}
NAMES |= {"p", "Holm", "pip", "zhplot", "FONT", "PATH", "AUDIT", "TASKS", "zh", "CN", "analyze", "report"}


def fields(text: str) -> set[str]:
    return set(re.findall(r"{(\w*)}", text))


def test_every_sentence_stands_in_one_section_only_and_there_in_both_languages():
    assert [section.__name__ for section in SECTIONS if section.EN.keys() != section.ZH.keys()] == []
    assert sum(len(section.EN) for section in SECTIONS) == len(TEXTS["en"])


@pytest.mark.parametrize("key", TEXTS["en"])
def test_a_sentence_has_the_same_places_to_fill_in_both_languages(key: str):
    assert fields(TEXTS["en"][key]) == fields(TEXTS["zh"][key])


def test_english_has_no_chinese_in_it():
    assert [key for key, text in TEXTS["en"].items() if HAN.search(text)] == []


def test_chinese_has_no_english_in_it_but_names():
    left = {key: set(re.findall(r"[A-Za-z1]+", re.sub(r"{\w*}", "", text))) for key, text in TEXTS["zh"].items()}
    foreign = {key: {word for word in words if not word.isdigit()} - NAMES for key, words in left.items()}
    assert {key: words for key, words in foreign.items() if words} == {}


def test_every_sentence_is_said_somewhere():
    catalogues = {Path(section.__file__) for section in SECTIONS}
    paths = {path for path in ROOT.rglob("*") if path.suffix in {".py", ".j2"}} - catalogues
    source = "".join(path.read_text() for path in paths)
    # Some are looked up by a name that is put together: kind_{kind}, order_{order}, {kind}_{side} …
    families = r"(kind|order|rule|flag|engine|answer|check|state|tie|analysis|strengths|weaknesses|run|cloud|m|fact)_"
    families += "|(at|probe|measure|family|unqualified|unproven|compare|shown)_"
    names = [key for key in TEXTS["en"] if not re.match(families, key)]
    unsaid = [key for key in names if not re.search(rf"""\bt\.{key}\b|["']{key}["'}}]|{{{key}}}""", source)]
    assert unsaid == []


def test_templates_ask_for_no_sentence_that_is_not_there():
    asked = {key for path in ROOT.rglob("*.j2") for key in re.findall(r"\bt\.(\w+)", path.read_text())}
    assert asked - TEXTS["en"].keys() == set()
