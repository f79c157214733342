"""How sure a model was, whatever its tokens are."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyze.classify.labels import Label, Labels, read_labels
from analyze.classify.reading import confidence_of

Token = dict[str, Any]


def token(text: str, *others: tuple[str, float]) -> Token:
    """A token as OpenAI tells it; what could have stood there with its probability, itself first."""
    told = others or ((text, 1.0),)
    top = [{"token": other, "logprob": math.log(p) if p else -9999.0} for other, p in told]
    return {"token": text, "logprob": dict((one["token"], one["logprob"]) for one in top)[text], "top_logprobs": top}


# What vLLM 0.32 on the CPU says of the tiny model: tokens that the grammar forbids are there, with -9999.
SEEN = [
    token("{", ("{", 1.0), ("<|im_start|>", 0.0)),
    token('"'),
    token("la", ("la", 0.51), ("l", 0.49)),
    token("be", ("be", 0.5), ("b", 0.5)),
    token("l"),
    token('": "', ('": "', 0.6), ('"', 0.4)),
    token("other", ("other", 0.2), ("m", 0.1), ("o", 0.2), ("ot", 0.2), ("me", 0.1)),
    token('s"}'),
    token("<|im_end|>"),
]


def test_all_tokens_that_lead_to_a_label_count_for_it() -> None:
    sure = confidence_of(SEEN, read_labels(None))
    assert sure is not None and sure.kind == "sequence" and sure.mass is None
    assert sure.probabilities == pytest.approx({"medical": 0.2 / 0.8, "others": 0.6 / 0.8})
    assert sure.value == pytest.approx(0.75)


@given(st.data())
def test_probabilities_are_those_the_model_had_however_its_reply_is_cut_into_tokens(data: st.DataObject) -> None:
    """Labels that differ in their first letter: all is decided where that letter stands."""
    names = data.draw(st.lists(st.sampled_from("abcdefgh"), min_size=2, max_size=5, unique=True))
    labels = Labels(tuple(Label(name * 3) for name in names))
    weights = data.draw(st.lists(st.integers(1, 100), min_size=len(names), max_size=len(names)))
    wanted = {f"{name * 3}": weight / sum(weights) for name, weight in zip(names, weights, strict=True)}
    chosen = data.draw(st.sampled_from(sorted(wanted)))
    reply = labels.reply([chosen])
    start = reply.index(chosen)
    cuts = sorted({0, start, *data.draw(st.sets(st.integers(1, len(reply) - 1))), len(reply)})
    tokens = []
    for begin, end in itertools.pairwise(cuts):
        others = [(other[0] if other != chosen else reply[begin:end], p) for other, p in wanted.items()]
        tokens.append(token(reply[begin:end], *(others if begin == start else ())))
    sure = confidence_of(tokens, labels)
    assert sure is not None and sure.value == pytest.approx(wanted[chosen])
    assert sure.probabilities == pytest.approx(wanted) and math.fsum(sure.probabilities.values()) == pytest.approx(1)


def test_each_of_several_labels_has_a_probability_of_its_own() -> None:
    labels = read_labels("a,b", multi=True)
    tokens = [
        token('{"a":'),
        token(" true", (" true", 0.3), (" t", 0.3), (" ", 0.2), (" f", 0.2)),
        token(', "b": '),
        token("f", ("f", 0.9), ("true", 0.1)),
        token("alse}"),
    ]
    sure = confidence_of(tokens, labels)
    assert sure is not None
    assert sure.probabilities == pytest.approx({"a": 0.6 / 0.8, "b": 0.1})
    assert sure.value == pytest.approx(0.75)


def unfinished(*cuts: tuple[bytes, float], told: bool) -> Token:
    """A token that is part of a character, the first of what could have stood there; vLLM does not tell its bytes."""
    top = [{"token": "", "logprob": math.log(p), "bytes": [*cut] if told else []} for cut, p in cuts]
    return {**top[0], "top_logprobs": top}


def test_labels_whose_characters_are_several_tokens_count_where_the_tokens_bytes_are_told() -> None:
    """医疗 and 其他 begin with the same byte."""
    rest = "医".encode()[2:]
    first, other = ("医".encode()[1:2], 0.7), ("其".encode()[1:2], 0.3)
    last = {"token": "医", "logprob": 0.0, "bytes": [*rest], "top_logprobs": []}
    tokens = [token('{"label": "'), unfinished((b"\xe5", 1.0), told=True), unfinished(first, other, told=True), last]
    sure = confidence_of([*tokens, token('疗"}')], read_labels("医疗,其他"))
    assert sure is not None and sure.probabilities == pytest.approx({"医疗": 0.7, "其他": 0.3})


def test_where_they_are_not_told_there_is_no_confidence_instead_of_one_of_a_hundred_percent() -> None:
    tokens = [token('{"label": "'), unfinished((b"\xe5", 1.0), told=False)]
    tokens += [unfinished((b"\x8c", 0.7), (b"\x85", 0.3), told=False), token("医"), token('疗"}')]
    assert confidence_of(tokens, read_labels("医疗,其他")) is None


def test_an_unfinished_character_that_only_one_label_goes_on_with_counts_for_it() -> None:
    tokens = [token('{"label": "'), token("o", ("o", 0.6), ("", 0.4)), token('thers"}')]
    sure = confidence_of(tokens, read_labels("医疗,others"))
    assert sure is not None and sure.probabilities == pytest.approx({"医疗": 0.4, "others": 0.6})


@pytest.mark.parametrize("content", [None, [], "text", [{"token": "{"}], [{}], 3, [token("no"), token("reply")]])
def test_what_tells_nothing_gives_no_confidence(content: object) -> None:
    assert confidence_of(content, read_labels(None)) is None
