"""`--mode label-read`: each label has a letter, and how probable the letters are is read."""

from __future__ import annotations

import asyncio
import csv
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyze.classify.labels import Label, Labels
from analyze.classify.letters import LEAST_MASS, LETTERS, Letters, likeliest
from analyze.classify.prompts import packaged
from analyze.errors import UsageError
from analyze.records import Body
from analyze.reply_tokens import reply_tokens
from tests.classify.conftest import MEDICAL, Command, letters, text_of

READ = ("--mode", "label-read")


class Tells:
    """Every letter is the token of its code."""

    async def reply_tokens(self, body: Body, texts: Sequence[str]) -> list[int] | None:
        return [*map(ord, texts)]


def learned(count: int) -> Letters:
    known = Letters(Labels(tuple(Label(f"label {number}") for number in range(count))))
    asyncio.run(known.learn(Tells()))
    return known


def told(probabilities: Mapping[str, float]) -> Body:
    return {"choices": [{"message": {"content": "?"}, "logprobs": {"content": letters(**probabilities)}}]}


def read(body: Body) -> list[Any]:
    """A model that is sure of what it says."""
    right, wrong = ("A", "B") if MEDICAL.search(text_of(body)) else ("B", "A")
    return letters(**{right: 0.9, wrong: 0.05})


# -- reading -------------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(1e-6, 1.0), min_size=2, max_size=len(LETTERS)), st.floats(0.0, 1.0))
def test_probabilities_are_of_the_labels_alone_and_the_mass_is_of_all_that_could_be_said(
    weights: list[float], elsewhere: float
) -> None:
    total = math.fsum(weights) + elsewhere
    probabilities = dict(zip(LETTERS, (weight / total for weight in weights), strict=False))
    sure = learned(len(weights)).read(told(probabilities))
    assert math.fsum(sure.probabilities.values()) == pytest.approx(1, abs=1e-6)
    assert sure.mass == pytest.approx(math.fsum(weights) / total) and (sure.mass or 0) <= 1
    assert sure.value == pytest.approx(max(probabilities.values())), "what the model gave to that letter"
    best = max(range(len(weights)), key=lambda number: weights[number])
    assert sure.probabilities[likeliest(sure.probabilities)] == pytest.approx(sure.probabilities[f"label {best}"])


@pytest.mark.parametrize(
    "body", [{}, {"choices": []}, {"choices": [{"logprobs": None}]}, told({"A": 0.9}), told({"A": 7.0, "B": 3.0})]
)
def test_a_reply_that_does_not_tell_every_letters_probability_is_not_read(body: Body) -> None:
    with pytest.raises(ValueError, match="told"):
        learned(2).read(body)


def tokens_of(words: Mapping[str, list[int]]) -> list[int] | None:
    """What a tokenizer says that reads the chat `x` as `words` has it, and so what stands behind it."""

    async def post(path: str, body: Mapping[str, Any], /) -> Mapping[str, Any] | None:
        if path == "/detokenize":
            return {"prompt": "<user>x<reply>"}
        return {"tokens": words[body.get("prompt", "").removeprefix("<user>x<reply>")]}

    return asyncio.run(reply_tokens(post, "m", {"messages": []}, ["A", "B"]))


def test_a_letter_is_the_token_that_it_adds_to_the_chat_or_it_is_not_read() -> None:
    assert tokens_of({"": [1, 2], "A": [1, 2, 7], "B": [1, 2, 8]}) == [7, 8]
    assert tokens_of({"": [1, 2], "A": [1, 2, 7, 9], "B": [1, 2, 8]}) is None, "two tokens"
    assert tokens_of({"": [1, 2], "A": [1, 7], "B": [1, 2, 8]}) is None, "it runs into what stands before"
    assert tokens_of({"": [1, 2], "A": [1, 2, 0], "B": [1, 2, 0]}) is None, "both unknown"
    assert tokens_of({"": [1, 2], "A": [1, 2], "B": [1, 2, 8]}) is None, "nothing"


def test_there_are_letters_for_36_labels() -> None:
    assert learned(36)
    with pytest.raises(UsageError, match="for 36 labels, and there are 37"):
        learned(37)


# -- as users type it ----------------------------------------------------------------------------------------------


def test_a_text_is_given_its_likeliest_label_with_probabilities_and_their_mass(classify: Command) -> None:
    classify.write("q.txt", "What is pneumonia?\nthe moon")
    classify.reply, classify.tokens = lambda body: "A", read
    ended = classify.run("--input", "q.txt", *READ)
    assert ended.code == 0, ended.err
    assert classify.labels() == {"What is pneumonia?": "medical", "the moon": "others"}
    row = next(row for row in classify.lines() if row["label"] == "medical")
    assert (row["confidence"], row["label_mass"], row["confidence_kind"]) == (0.9, 0.95, "label_read")
    assert row["probabilities"] == pytest.approx({"medical": 0.9 / 0.95, "others": 0.05 / 0.95}, abs=1e-6)
    for body in classify.bodies:
        assert body["logprob_token_ids"] == [65, 66] and body["max_tokens"] == 1 and body["temperature"] == 0
        assert "structured_outputs" not in body and not body["chat_template_kwargs"]["enable_thinking"]
    page = (classify.folder / "out.jsonl.report.html").read_text()
    assert "letter was among all" in page and "letters are read" in page and "95%" in page


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("labels", [[], ["--labels", "health,money,travel"], ["--prompt", "own.txt"]])
def test_options_come_before_the_text_and_are_the_same_for_all(classify: Command, lang: str, labels: list[str]) -> None:
    classify.write("own.txt", "Is this about medicine? {query} Say so.")
    classify.write("q.txt", "zebra\nzebu")
    classify.tokens = lambda body: letters(A=0.9, B=0.05, C=0.01)
    ended = classify.run("--input", "q.txt", *READ, "--lang", lang, *labels)
    assert ended.code == 0, ended.err
    shared, names = set(), ("health", "money", "travel") if "--labels" in labels else ("medical", "others")
    for body in classify.bodies:
        content = body["messages"][0]["content"]
        before, _, after = content.partition("zebra" if "zebra" in content else "zebu")
        assert all(f"{letter}. {name}" in before for letter, name in zip("ABC", names, strict=False))
        assert len(after) < 100 and ("etter" in after or "字母" in after), "a few words that ask for the letter"
        shared.add(before)
    assert len(shared) == 1 and len(classify.bodies) == 2


@pytest.mark.parametrize("suffix", ["", ".zh"])
def test_the_packaged_prompt_for_letters_says_of_the_labels_what_the_other_one_says(suffix: str) -> None:
    plain, lettered = packaged(f"classify_prompt{suffix}.txt"), packaged(f"classify_letters{suffix}.txt")
    said = [line for line in plain.splitlines() if line.startswith("- ") or "? ->" in line or "？ ->" in line]
    for line in said:
        assert line.replace('{"label": "medical"}', "A").replace('{"label": "others"}', "B") in lettered
    assert len(said) >= 8


def test_a_model_that_wants_something_else_gives_no_label_and_is_not_asked_again(classify: Command) -> None:
    classify.write("q.txt", "odd\nfine")
    classify.reply = lambda body: "Sure"
    classify.tokens = lambda body: letters(A=0.08, B=0.02) if "odd" in text_of(body) else letters(A=0.4, B=0.2)
    ended = classify.run("--input", "q.txt", *READ)
    assert ended.code == 1 and len(classify.bodies) == 2
    assert classify.labels() == {"fine": "medical"}
    (failed,) = classify.lines("out.jsonl.failed.jsonl")
    assert (failed["label"], failed["status"], failed["raw_output"]) == (None, "invalid", "Sure")
    assert (failed["confidence"], failed["label_mass"]) == (None, 0.1) and failed["label_mass"] < LEAST_MASS
    assert failed["probabilities"] == {"medical": 0.8, "others": 0.2}
    assert "wanted something else" in failed["error"] and "0.1 together" in failed["error"]


def test_a_server_that_does_not_tell_them_stops_the_run_at_its_first_reply(classify: Command) -> None:
    classify.write("q.txt", "\n".join(f"text {number}" for number in range(50)))
    classify.tokens = lambda body: [{"token": "A", "logprob": -0.1, "top_logprobs": []}]
    ended = classify.run("--input", "q.txt", *READ, "--batch-size", "2")
    assert ended.code == 4 and "logprob_token_ids" in ended.err and "leave out --mode label-read" in ended.err
    assert classify.lines() == [] and len(classify.bodies) <= 4


def test_a_server_that_does_not_show_its_tokenizer_is_not_asked(classify: Command) -> None:
    classify.write("q.txt", "text")
    for server in classify.servers:
        server.statuses["/tokenize"] = 404
    ended = classify.run("--input", "q.txt", *READ)
    assert ended.code == 2 and "/tokenize" in ended.err and classify.bodies == []


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--multi-label"], "--multi-label wants several"),
        (["--lenient"], "--lenient is for replies"),
        (["--temperature", "0.5"], "--temperature is for replies"),
        (["--max-tokens", "9"], "--max-tokens is for replies"),
        (["--labels", ",".join(f"l{number}" for number in range(37))], "letters for 36 labels"),
    ],
)
def test_what_could_do_nothing_is_refused(classify: Command, flags: list[str], said: str) -> None:
    classify.write("q.txt", "text")
    ended = classify.run("--input", "q.txt", *READ, *flags)
    assert ended.code == 2 and said in ended.err and "→" in ended.err and classify.bodies == []


def test_the_other_mode_over_the_same_output_is_no_silent_mixture(classify: Command) -> None:
    classify.write("q.txt", "one\ntwo")
    assert classify.run("--input", "q.txt").code == 0
    classify.tokens = read
    ended = classify.run("--input", "q.txt", *READ)
    assert ended.code == 2 and "--update" in ended.err
    assert classify.run("--input", "q.txt", *READ, "--update").code == 0
    assert {row["confidence_kind"] for row in classify.lines()} == {"label_read"}


def test_gold_holds_against_the_truth_what_is_recorded_as_confidence(known: Command) -> None:
    """All ten texts are called medical with a probability of 0.63 and 0.07 left for the other: six are."""
    known.tokens = lambda body: letters(A=0.63, B=0.07)
    ended = known.run("--input", "q.jsonl", *READ, "--gold", "truth", "--abstain-below", "0.7", output="out.csv")
    assert ended.code == 0, ended.err
    with open(known.folder / "out.csv", encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {(row["label"], row["status"], row["label_mass"]) for row in rows} == {("", "abstained", "0.7")}
    assert "calibration error 0.030" in ended.out, "60% right, 63% stated; among the labels alone it would be 90%"
