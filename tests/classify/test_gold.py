"""Labels held against true ones, through the command."""

from __future__ import annotations

import re
from typing import Any

import pytest

from analyze.classify.gold import Held, read_gold
from analyze.classify.labels import Label, Labels
from tests.classify.conftest import Command, gold_rows, text_of


def test_known_errors_are_found_counted_and_listed(known: Command) -> None:
    ended = known.run("--input", "q.jsonl", "--gold", "truth")
    assert ended.code == 0, ended.err
    said = ended.out.splitlines()
    assert "against the true labels in 'truth', 10 rows:" in said
    # po 0.7, pe 0.5·0.6 + 0.5·0.4 = 0.5; MCC (3·4 − 1·2)/√(5·6·5·4)
    assert "  accuracy 70.0% (95% interval 39.7% – 89.2%), κ 0.400, MCC 0.408" in said
    assert [line.split() for line in said if line.startswith("    medical")] == [
        ["medical", "80.0%", "66.7%", "72.7%", "6", "5"],
        ["medical", "4", "2", "0"],
    ]
    assert said[-1].startswith("10 rows read: 10 ok")
    listed = known.lines("out.jsonl.disagreements.jsonl")
    assert [(row["id"], row["gold"], row["label"]) for row in listed] == [
        ("r9", "others", "medical"),
        ("r1", "medical", "others"),
        ("r0", "medical", "others"),
    ], "the surest first"


def test_gold_that_came_or_changed_later_counts_and_nothing_is_asked_again(known: Command) -> None:
    assert known.run("--input", "q.jsonl").code == 0
    asked = len(known.bodies)
    corrected = [{**row, "truth": "others" if row["id"] in ("r0", "r1") else row["truth"]} for row in gold_rows()]
    corrected[9]["truth"] = "medical"
    known.write("q.jsonl", corrected)
    ended = known.run("--input", "q.jsonl", "--gold", "truth")
    assert len(known.bodies) == asked
    assert "accuracy 100.0%" in ended.out and "disagreements" not in ended.out
    assert not (known.folder / "out.jsonl.disagreements.jsonl").exists()


def test_gold_that_is_missing_empty_or_no_label_is_said_and_counted(known: Command) -> None:
    told = gold_rows()
    del told[2]["truth"]
    told[3]["truth"] = " "
    told[4]["truth"] = "Medical"
    known.write("q.jsonl", told)
    ended = known.run("--input", "q.jsonl", "--gold", "truth")
    assert "8 rows:" in ended.out and "  rows without a true label, counted nowhere here: 2" in ended.out
    assert "true labels that are none of the labels, never right: 1 ('Medical' 1)" in ended.out
    assert "accuracy 50.0%" in ended.out and "(another label)" in ended.out
    none = known.run("--input", "q.jsonl", "--gold", "nothing")
    assert none.code == 0 and "no row has a true label in 'nothing'" in none.out


def test_a_text_without_a_label_is_wrong(known: Command) -> None:
    ended = known.run("--input", "q.jsonl", "--gold", "truth", "--abstain-below", "0.6")
    assert "  accuracy 70.0%" in ended.out, "the two that are not given were wrong anyway"
    assert "  with a label: 80.0%" in ended.out
    assert [row["id"] for row in known.lines("out.jsonl.disagreements.jsonl")] == ["r9"]


def test_several_labels_a_text_are_held_against_several(classify: Command) -> None:
    classify.reply = lambda body: '{"spa": %s, "food": true}' % ("true" if "spa" in text_of(body) else "false")
    texts = [("spa", ["spa", "food"]), ("eat", []), ("drink", ["food"]), ("spa too", ["spa", "pool"])]
    classify.write("q.jsonl", [{"text": text, "gold": gold} for text, gold in texts])
    flags = ["--query-field", "text", "--labels", "spa,food", "--multi-label", "--gold", "gold"]
    ended = classify.run("--input", "q.jsonl", *flags)
    assert ended.code == 0, ended.err
    assert "all labels right 50.0%" in ended.out and "Hamming loss 0.250" in ended.out
    head, spa, food, mean = (
        line.split() for line in ended.out.splitlines() if re.match("    (label|spa|food|mean of)", line)
    )
    assert head[-2:] == ["κ", "MCC"] and spa[-2:] == ["1.000", "1.000"], "spa is right in every text"
    assert food[-2:] == ["0.000", "n/a"] and mean[-2:] == ["0.500", "1.000"], "food is always said: that tells nothing"
    page = (classify.folder / "out.jsonl.report.html").read_text()
    assert "mean κ of labels" in page and '<th scope="col" class="num">MCC</th>' in page
    assert "'pool' 1" in ended.out and "disagreements.jsonl (2)" in ended.out


def test_figures_speak_chinese(known: Command) -> None:
    said = known.run("--input", "q.jsonl", "--gold", "truth", "--lang", "zh").out
    assert "准确率 70.0%（95% 区间 39.7% – 89.2%）" in said and "真实标签（行）与给出的标签（列）" in said


def test_a_label_that_steers_a_terminal_is_written_out(classify: Command) -> None:
    classify.write("q.jsonl", [{"query": "one", "truth": "\x1b[2Jred"}])
    ended = classify.run("--input", "q.jsonl", "--gold", "truth")
    assert "\x1b" not in ended.out and "x1b[2Jred" in ended.out


MANY = Labels((Label("a"), Label("b")), multi=True)
ONE = Labels((Label("1"), Label("true"), Label("a")))


@pytest.mark.parametrize(
    ("value", "labels", "read"),
    [
        ("a", ONE, "a"),
        (" a ", ONE, "a"),
        (1, ONE, "1"),
        (True, ONE, "true"),
        (["a"], ONE, "a"),
        (None, ONE, None),
        ("", ONE, None),
        ([], MANY, ()),
        (["a", "b"], MANY, ("a", "b")),
        ('["a", "b"]', MANY, ("a", "b")),
        ("a; b", MANY, ("a", "b")),
        ("[]", MANY, ()),
        ("", MANY, None),
        ("[a", MANY, ("[a",)),
    ],
)
def test_gold_is_read_as_tables_and_json_write_it(value: Any, labels: Labels, read: Any) -> None:
    assert read_gold(value, labels) == read


def test_how_sure_an_abstained_row_was_counts_for_calibration() -> None:
    held = Held(ONE)
    base = {"id": "r", "confidence": 0.4, "probabilities": {"1": 0.3, "true": 0.3, "a": 0.4}, "gold": "a"}
    held.add((0, 0), {**base, "label": None, "status": "abstained", "raw_output": '{"label": "a"}'})
    found = held.evaluation()
    assert found.calibration.ece == pytest.approx(0.6)
    assert [it.accuracy.n for it in found.cutoffs[:2]] == [1, 0] and found.cutoffs[1].right_lost == 1
