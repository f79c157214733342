"""A reply is a verdict, or it says why not: nothing is repaired, guessed or defaulted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyze.judge.verdicts import ReplyError, parse_reply
from tests.judge.factory import reply, reply_text, verdict


def kind_of(text: str | None, finish_reason: str | None = "stop") -> str:
    with pytest.raises(ReplyError) as caught:
        parse_reply(text, finish_reason)
    return caught.value.kind


def test_a_reply_of_the_agreed_form_is_a_verdict() -> None:
    found = parse_reply(reply_text(4, 5), "stop")
    assert found.digit == 4
    assert set(found.dimensions.values()) == {5}
    assert found.issues_b == ("wrong_result", "crashes")
    assert found.reason == "因为 A"


@pytest.mark.parametrize("reason", ["length", "abort", "error", "tool_calls", None])
def test_a_reply_that_did_not_end_by_itself_is_truncated_even_if_it_looks_whole(reason: str | None) -> None:
    assert kind_of(reply_text(), reason) == "truncated"


def test_a_withheld_or_empty_reply_is_a_refusal() -> None:
    assert kind_of(reply_text(), "content_filter") == "refused"
    assert kind_of(None) == kind_of(" \n") == "refused"


@pytest.mark.parametrize(
    "text",
    [
        "A is better",
        "[]",
        "null",
        reply_text()[:-1],
        reply_text(overall=6),
        reply_text(extra=1),
        f"```\n{reply_text()}",
    ],
)
def test_anything_else_is_no_verdict(text: str) -> None:
    assert kind_of(text) == "schema"


def test_a_missing_key_is_named() -> None:
    incomplete = {key: value for key, value in reply().items() if key != "overall_reason"}
    with pytest.raises(ReplyError, match="overall_reason"):
        parse_reply(str(incomplete).replace("'", '"'), "stop")


@pytest.mark.parametrize("thought", ["<think>A first {…}</think>\n", "A is {\n</think>\n\n", "<think></think>"])
def test_thinking_before_the_reply_is_not_read_as_the_reply(thought: str) -> None:
    assert parse_reply(thought + reply_text(5), "stop") == verdict(5)


def test_the_end_of_a_thought_inside_a_string_is_text() -> None:
    assert parse_reply(reply_text(analysis_a="prints </think>{ and stops"), "stop").analysis_a.startswith("prints")


def test_thinking_without_a_reply_is_no_verdict() -> None:
    assert kind_of("<think>" + reply_text()) == "schema"


@given(st.text())
def test_any_text_is_a_verdict_or_a_reply_error(text: str) -> None:
    assert kind_of(text) in ("schema", "refused")


@pytest.mark.parametrize(
    ("overall", "dimension", "contradictory"), [(5, 1, True), (2, 4, True), (3, 5, False), (4, 3, False), (4, 5, False)]
)
def test_an_overall_verdict_against_its_own_dimensions_is_flagged(
    overall: int, dimension: int, contradictory: bool
) -> None:
    assert verdict(overall, dimension).contradictory is contradictory
