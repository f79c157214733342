"""The rows for a person, through the command."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyze.classify.labels import Label, Labels
from analyze.classify.review import Review, label_studio_view, workbook
from tests.classify.conftest import Command, sure, text_of


def sheet(path: Path) -> list[list[Any]]:
    import openpyxl

    return [[cell.value for cell in row] for row in openpyxl.load_workbook(path)["review"].iter_rows()]


def test_the_least_sure_rows_are_written_disagreements_first(known: Command) -> None:
    ended = known.run("--input", "q.jsonl", "--gold", "truth", "--review", "5")
    assert ended.code == 0, ended.err
    head, *body = sheet(known.folder / "out.jsonl.review.xlsx")
    assert head == ["id", "query", "label", "confidence", "gold", "status", "reviewed"]
    assert [row[0] for row in body] == ["r9", "r1", "r0", "r2", "r3"]
    assert {row[6] for row in body} == {None}
    tasks = json.loads((known.folder / "out.jsonl.review.labelstudio.json").read_text())
    assert [task["data"]["id"] for task in tasks] == ["r9", "r1", "r0", "r2", "r3"]
    assert tasks[0]["predictions"] == [
        {
            "model_version": "fake-model",
            "score": pytest.approx(0.91),
            "result": [{"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": ["medical"]}}],
        }
    ]
    assert "out.jsonl.review.xlsx" in ended.out
    without_gold = known.run("--input", "q.jsonl", "--review", "2")
    assert without_gold.code == 0
    assert [row[0] for row in sheet(known.folder / "out.jsonl.review.xlsx")[1:]] == ["r0", "r1"]


def test_what_a_person_fills_in_is_an_input_with_gold(known: Command) -> None:
    known.run("--input", "q.jsonl", "--review", "10")
    head, *body = sheet(known.folder / "out.jsonl.review.xlsx")
    with open(known.folder / "reviewed.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([head, *([*row[:6], "medical"] for row in body)])
    ended = known.run("--input", "reviewed.csv", "--gold", "reviewed", output="again.jsonl")
    assert "10 rows:" in ended.out and ended.code == 0, ended.err


def test_nothing_is_a_formula_and_no_digit_is_lost(classify: Command) -> None:
    import openpyxl

    classify.tokens = lambda body: sure("others", 0.7)
    told = [{"id": "007", "query": "=1+1"}, {"id": "12345678901234567890", "query": "http://a.b\x0b" + "字" * 40_000}]
    classify.write("q.jsonl", told)
    assert classify.run("--input", "q.jsonl", "--review", "9").code == 0
    book = openpyxl.load_workbook(classify.folder / "out.jsonl.review.xlsx")
    cells = {row[0].value: row for row in book["review"].iter_rows(min_row=2)}
    assert set(cells) == {"007", "12345678901234567890"}
    assert cells["007"][1].value == "=1+1" and cells["007"][1].data_type == "s"
    long = cells["12345678901234567890"][1]
    assert long.hyperlink is None and long.value.startswith("http://a.b␋字") and "⟨+24" in long.value
    assert not [c for row in book["review"].iter_rows() for c in row if c.data_type == "f"]


def test_the_persons_column_offers_the_labels_whatever_they_are(tmp_path: Path) -> None:
    import openpyxl

    names = ["a,b", '=HYPERLINK("x")', "长" * 300]
    path = tmp_path / "r.xlsx"
    record = {"id": "1", "query": "q", "label": "a,b", "confidence": 0.5, "status": "ok"}
    path.write_bytes(workbook([record], Labels(tuple(map(Label, names)))))
    book = openpyxl.load_workbook(path)
    (listed,) = book["review"].data_validations.dataValidation
    assert (listed.type, listed.formula1, str(listed.sqref)) == ("list", "labels!$A$1:$A$3", "G2")
    assert [(cell.value, cell.data_type) for (cell,) in book["labels"].iter_rows()] == [(name, "s") for name in names]


def test_several_labels_a_text_have_a_column_each(classify: Command) -> None:
    classify.reply = lambda body: '{"spa": true, "food": true}' if "eat" in text_of(body) else "no idea"
    classify.write("q.jsonl", [{"query": "eat"}, {"query": "nothing"}])
    flags = ["--labels", "spa,food", "--multi-label", "--review", "3", "--lenient"]
    assert classify.run("--input", "q.jsonl", *flags).code == 1
    head, *body = sheet(classify.folder / "out.jsonl.review.xlsx")
    assert head[-2:] == ["reviewed: spa", "reviewed: food"]
    assert [row[1] for row in body] == ["nothing"], "what could not be read; of the other nobody knows how sure it is"
    (task,) = json.loads((classify.folder / "out.jsonl.review.labelstudio.json").read_text())
    assert "predictions" not in task


@given(st.lists(st.text(min_size=1).filter(str.strip), min_size=2, max_size=5, unique=True), st.booleans())
def test_the_view_of_label_studio_is_xml_with_each_label(names: list[str], multi: bool) -> None:
    root = ElementTree.fromstring(label_studio_view(Labels(tuple(map(Label, names)), multi)))
    assert len([choice.attrib["value"] for choice in root.iter("Choice")]) == len(names)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans())), st.integers(1, 5))
def test_as_many_rows_as_are_wanted_are_chosen_and_the_most_urgent_of_all(
    told: list[tuple[float, bool]], wanted: int
) -> None:
    review = Review(wanted)
    for number, (confidence, differs) in enumerate(told):
        review.add((0, number), {"status": "ok", "confidence": confidence}, differs=differs)
    order = sorted(range(len(told)), key=lambda n: (not told[n][1], -told[n][0] if told[n][1] else told[n][0], n))
    assert [start for _, start in review.places] == order[:wanted]
