"""How sure the judge was: read from one token, whatever the tokenisation, and only where it cannot be misread."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyze.judge.probabilities import LOGPROBS, reading, verdict_only
from tests.judge.factory import reply_text

VERDICT = {"1": 0.05, "2": 0.05, "3": 0.1, "4": 0.7, "5": 0.1}


def token(text: str, logprob: float = 0.0, top: dict[str, float] | None = None) -> dict[str, Any]:
    """One token as OpenAI's API tells of it; `top` maps the texts listed for its place to their probabilities."""
    listed = [(other, math.log(p) if p > 0 else -9999.0) for other, p in (top or {text: 1.0}).items()]
    return {
        "token": text,
        "logprob": logprob,
        "bytes": list(text.encode()),
        "top_logprobs": [{"token": other, "logprob": value, "bytes": list(other.encode())} for other, value in listed],
    }


def body(tokens: list[dict[str, Any]] | None) -> dict[str, Any]:
    text = "".join(one["token"] for one in tokens or ())
    message = {"role": "assistant", "content": text}
    logprobs = None if tokens is None else {"content": tokens}
    return {"choices": [{"index": 0, "message": message, "logprobs": logprobs, "finish_reason": "stop"}]}


def cut(text: str, places: list[int]) -> list[str]:
    edges = [0, *sorted({place % len(text) for place in places} - {0}), len(text)]
    return [text[start:end] for start, end in pairwise(edges)]


def reply_tokens(digit: str, shares: dict[str, float], *, at: str = "{}", **others: float) -> list[dict[str, Any]]:
    """A reply, its verdict's token written as `at`, whose place lists `shares` of the digits and `others` as they are.

    `at` may hold what stands about the digit: '"{}' is a token with the quote before it.
    """
    start, end = at.split("{}")
    text = reply_text(int(digit))
    place = text.rindex(f'"overall":"{digit}"') + len('"overall":"')
    top = {f"{start}{each}{end}": share for each, share in shares.items()} | others
    before, after = text[: place - len(start)], text[place + 1 + len(end) :]
    written = token(f"{start}{digit}{end}", math.log(shares[digit]), top)
    return [*map(token, cut(before, list(range(0, len(before), 5)))), written, *([token(after)] if after else [])]


def read(tokens: list[dict[str, Any]] | None) -> Any:
    return reading(verdict_only(body(tokens)))


def test_the_probabilities_of_the_five_digits_are_read_at_the_verdict() -> None:
    found = read(reply_tokens("4", VERDICT))
    assert found.digit == 4
    assert found.probabilities == pytest.approx(tuple(VERDICT.values()))
    assert found.legal_mass == pytest.approx(1.0)
    assert found.lean == pytest.approx(sum(p * (int(digit) - 3) / 4 for digit, p in VERDICT.items()))


def test_they_are_made_to_sum_to_one_and_the_legal_mass_says_what_they_had() -> None:
    found = read(reply_tokens("4", {digit: p * 0.8 for digit, p in VERDICT.items()}, A=0.2))
    assert found.probabilities == pytest.approx(tuple(VERDICT.values()))
    assert found.legal_mass == pytest.approx(0.8)


def test_a_server_that_masks_before_it_reports_lists_impossible_tokens_too() -> None:
    """vLLM 0.32 says -9999 of what the schema forbids."""
    assert read(reply_tokens("4", {"4": 0.6, "5": 0.4, "1": 0.0, "2": 0.0, "3": 0.0, "%": 0.0})).legal_mass == 1.0


@given(places=st.lists(st.integers(0, 5000), max_size=300), digit=st.sampled_from("12345"))
def test_the_token_is_found_whatever_the_cut_between_tokens(places: list[int], digit: str) -> None:
    text = '<think>it could say "overall": "1"</think>\n' + reply_text(int(digit)) + "\n"
    tokens = [token(piece) for piece in cut(text, places)]
    (kept,) = verdict_only(body(tokens))["choices"][0]["logprobs"]["content"]
    at = text.rindex('"overall":"') + len('"overall":"')
    assert kept in tokens and kept["token"] in text[max(0, at - len(kept["token"])) : at + len(kept["token"])]
    assert digit in kept["token"]
    found = reading(verdict_only(body(tokens)))
    if found is not None:
        assert found.digit == int(digit) and kept["token"].count(digit) == 1


@pytest.mark.parametrize("at", ["{}", '"{}', '{}"', ':"{}', '"{}"', '"{}"}', ' "{}'])
def test_a_token_may_hold_what_stands_about_the_digit(at: str) -> None:
    tokens = reply_tokens("4", VERDICT, at=at) if at != ' "{}' else spaced(at)
    assert read(tokens).probabilities == pytest.approx(tuple(VERDICT.values()))


def spaced(at: str) -> list[dict[str, Any]]:
    text = reply_text(4).replace('"overall":"4"}', "")
    top = {at.format(digit): share for digit, share in VERDICT.items()}
    return [token(text), token('"overall":'), token(at.format(4), math.log(0.7), top), token('"}')]


@pytest.mark.parametrize(
    ("at", "others"),
    [
        ('"{}', {'"': 0.1}),  # the digit would come in the next token
        (':"{}', {":": 0.1}),
        ("{}", {'4"': 0.1}),  # another way to write a digit
        ('{}"', {"5": 0.1}),
    ],
)
def test_nothing_is_read_where_the_verdict_might_have_begun_otherwise(at: str, others: dict[str, float]) -> None:
    shares = {digit: p * 0.9 for digit, p in VERDICT.items()}
    assert read(reply_tokens("4", shares, at=at, **others)) is None
    hardly = {other: 0.001 for other in others}
    assert read(reply_tokens("4", {digit: p * 0.999 for digit, p in VERDICT.items()}, at=at, **hardly)) is not None


def test_digits_that_are_not_listed_count_as_nothing_where_they_cannot_matter() -> None:
    sure = {"4": 0.95, "5": 0.0495, "3": 0.0005}
    assert read(reply_tokens("4", sure)).probabilities[:2] == (0.0, 0.0)
    unsure = {"4": 0.3, "5": 0.3, "A": 0.1, "B": 0.1, "C": 0.1}
    assert read(reply_tokens("4", unsure)) is None, "1 to 3 may have 10 % between them"


def test_a_token_with_another_number_in_it_is_not_read() -> None:
    start, end = reply_text(4).split(',"overall_reason"')
    assert read([token(start), token(',"overall_reason"' + end)]).probabilities == (0, 0, 0, 1, 0)
    assert read([token(start[:-1]), token(start[-1] + ',"overall_reason"' + end.replace("因为", "1 "))]) is None


@pytest.mark.parametrize("value", [None, "-0.1", 0.5, 12.0, float("nan")])
def test_what_is_no_log_probability_is_not_read(value: Any) -> None:
    """Servers may be told to report logits in their place."""
    tokens = reply_tokens("4", VERDICT)
    for one in tokens:
        for entry in (one, *one["top_logprobs"]):
            entry["logprob"] = value
    assert read(tokens) is None


def test_tokens_told_as_ids_are_not_read() -> None:
    """As of vLLM with --return-tokens-as-token-ids."""
    tokens = reply_tokens("4", VERDICT)
    for one in tokens:
        for entry in one["top_logprobs"]:
            entry["token"], entry["bytes"] = "token_id:19", list(b"token_id:19")
    assert read(tokens) is None


def test_bytes_may_be_left_out() -> None:
    tokens = reply_tokens("4", VERDICT)
    for one in tokens:
        for entry in (one, *one["top_logprobs"]):
            del entry["bytes"]
    assert read(tokens).digit == 4


@pytest.mark.parametrize(
    "logprobs",
    [None, {}, {"content": None}, {"content": []}, {"content": [None]}, {"content": [{}]}, {"content": ["4"]}, [], "x"],
)
def test_a_reply_without_usable_log_probabilities_is_no_error(logprobs: Any) -> None:
    made = body([])
    made["choices"][0]["logprobs"] = logprobs
    assert reading(made) is None
    assert reading(verdict_only(made)) is None
    assert verdict_only(made)["choices"][0]["message"] == made["choices"][0]["message"]


@pytest.mark.parametrize("made", [{}, {"choices": []}, {"choices": None}, {"choices": [None]}])
def test_a_body_without_choices_is_no_error(made: dict[str, Any]) -> None:
    assert verdict_only(made) == made
    assert reading(made) is None


def test_what_is_kept_is_small_and_still_an_openai_body() -> None:
    from openai.types.chat import ChatCompletion

    tokens = reply_tokens("4", VERDICT)
    kept = verdict_only(body(tokens))
    ChatCompletion.model_validate({"id": "1", "object": "chat.completion", "created": 1, "model": "m", **kept})
    assert len(json.dumps(kept["choices"][0]["logprobs"])) < 800
    assert verdict_only(kept) == kept
    assert LOGPROBS["top_logprobs"] >= 5


@given(
    masses=st.lists(st.floats(1e-6, 1.0), min_size=5, max_size=5),
    other=st.floats(0, 1),
    digit=st.sampled_from("12345"),
)
def test_probabilities_are_a_distribution_and_turn_with_the_sides(
    masses: list[float], other: float, digit: str
) -> None:
    total = math.fsum(masses) + other
    shares = {str(n): mass / total for n, mass in enumerate(masses, 1)}
    found = read(reply_tokens(digit, shares, A=other / total))
    if found is None:
        return
    assert math.fsum(found.probabilities) == pytest.approx(1.0)
    turned = {str(6 - int(n)): share for n, share in shares.items()}
    mirrored = read(reply_tokens(str(6 - int(digit)), turned, A=other / total))
    assert mirrored.probabilities == pytest.approx(found.probabilities[::-1])
    assert mirrored.lean == pytest.approx(-found.lean)
    assert -0.5 <= found.lean <= 0.5 and 0 < found.legal_mass <= 1
