"""Foreign text is harmless wherever it is shown."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyze.report.safe import code_span, cut, markdown, name, spreadsheet, visible, visible_all

ANY_TEXT = st.text(alphabet=st.characters(codec=None), max_size=80)


@settings(deadline=None)
@given(ANY_TEXT)
def test_visible_text_can_always_be_written_and_has_no_sign_that_hides_or_reorders(text: str):
    shown = visible(text)
    shown.encode()
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]", shown)


def test_an_escape_sequence_is_shown_as_a_picture():
    assert visible("\x1b[31mred\x00") == "␛[31mred␀"


def test_a_direction_mark_is_named():
    assert visible("a\u202eb") == "a⟨U+202E⟩b"


def test_a_megabyte_is_cut_and_the_rest_is_counted():
    assert visible("x" * 1_000_000, 10) == "x" * 10 + " … ⟨+999990⟩"


def test_cutting_twice_still_counts_all_that_is_left_out():
    assert cut(cut("x" * 1000, 100), 10) == "x" * 10 + " … ⟨+990⟩"


def test_a_name_is_one_short_line():
    assert name("a\nb\t\x1b") == "a␊b␉␛"
    assert len(name("x" * 1_000_000)) < 250


def test_names_that_are_cut_alike_are_still_two():
    long = "x" * 30_000
    assert len({name(long), name(long + "y"), name(long + "z")}) == 3
    record = visible_all({"task_id": long, "rivals": [{"author": long + "y"}], "same_family": [long + "y"]})
    assert record["rivals"][0]["author"] == record["same_family"][0] != record["task_id"]


def test_what_is_said_of_a_rival_is_no_name_of_one():
    said = {"analysis": {"target": "x", "rival": "y" * 1000}, "issues": {"target": [], "rival": ["z" * 1000]}}
    assert visible_all(said) == said
    assert len(visible_all({"probe": "same", "rival": "y" * 1000})["rival"]) < 250


def test_every_text_of_a_record_is_made_visible_its_keys_too():
    assert visible_all({"a\x00": ["\x1b", {"b": 1, "c": None}]}) == {"a␀": ["␛", {"b": 1, "c": None}]}


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\t1", "\r1", "  =1", "＝1"])
def test_a_cell_that_could_run_is_quoted(text: str):
    assert spreadsheet(text) == "'" + text


def test_an_ordinary_cell_is_left_alone():
    assert spreadsheet("model-a") == "model-a"


@settings(deadline=None)
@given(ANY_TEXT)
def test_markdown_of_foreign_text_has_no_bare_sign_that_means_anything(text: str):
    shown = markdown(text)
    assert "\n" not in shown
    assert not re.search(r"(?<!\\)(?:\\\\)*[`*_<>\[\]|]", shown)
    assert "@\u2060" in shown or "@" not in shown


@pytest.mark.parametrize("address", ["https://evil.example", "http://evil.example", "www.evil.example"])
def test_an_address_in_markdown_is_no_link(address: str):
    assert not re.search(r"https?://|www\.", markdown(address))


@settings(deadline=None)
@given(ANY_TEXT)
def test_a_code_span_cannot_be_left_from_inside(text: str):
    span = code_span(text)
    fence = re.match("`+", span)
    assert fence is not None
    inside = span[len(fence[0]) : -len(fence[0])]
    assert span.endswith(fence[0])
    assert fence[0] not in re.findall("`+", inside)
    assert "\n" not in span
    assert not re.search(r"(?<!\\)\|", span)
