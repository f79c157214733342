"""What the served model's own tokenizer says of the text guard, and what becomes of texts that it does not guard."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer

from analyze.errors import InputError
from analyze.tokens import IDS_A_REQUEST, Post, refuse_unguarded, unguarded_in, unguarded_tokens
from tests.test_inert import CONTROL, KINDS, tokenizer


class Server:
    """Answers /tokenize and /detokenize as vLLM does, over a tokenizer of ours."""

    def __init__(self, tokenizer: Tokenizer, *, refuses_beyond: bool = False) -> None:
        self._tokenizer, self._refuses_beyond = tokenizer, refuses_beyond
        self.asked: list[str] = []

    async def __call__(self, path: str, body: Mapping[str, Any], /) -> Mapping[str, Any] | None:
        self.asked.append(path)
        assert body["model"] == "m"
        if path == "/detokenize":
            if self._refuses_beyond and max(body["tokens"]) >= self._tokenizer.get_vocab_size():
                return None
            return {"prompt": self._tokenizer.decode(body["tokens"], skip_special_tokens=False)}
        assert path == "/tokenize"
        text = body.get("prompt") or f"<|im_start|>user\n{body['messages'][0]['content']}<|im_end|>\n"
        encoded = self._tokenizer.encode(text, add_special_tokens=False)
        strings = encoded.tokens if body.get("return_token_strs") else None
        return {"tokens": encoded.ids, "token_strs": strings, "count": len(encoded.ids)}


def served(kind: str, *more: str) -> Tokenizer:
    made = Tokenizer.from_str(tokenizer(kind).to_str())
    made.add_tokens([AddedToken(token, normalized=False) for token in more])
    return made


def asked(post: Post) -> frozenset[str] | None:
    return asyncio.run(unguarded_tokens(post, "m"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("refuses_beyond", [False, True])
def test_all_tokens_of_known_families_are_guarded_and_html_is_not_meant(kind: str, refuses_beyond: bool) -> None:
    server = Server(served(kind, "<table>", "</td>", "<h1>", "|--|", "[i]", "<odd"), refuses_beyond=refuses_beyond)
    assert asked(server) == frozenset()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("refuses_beyond", [False, True])
def test_a_control_token_that_the_guard_does_not_know_is_found(kind: str, refuses_beyond: bool) -> None:
    odd = ["<odd-one>", "[turn:over]", "|||USER|||", ">>NEXT<<", "]next["]
    assert asked(Server(served(kind, *odd), refuses_beyond=refuses_beyond)) == set(odd)


@pytest.mark.parametrize("refuses_beyond", [False, True])
def test_a_large_vocabulary_is_seen_to_its_end_in_few_requests(refuses_beyond: bool) -> None:
    words = [f"word{number}" for number in range(IDS_A_REQUEST + 1000)]
    server = Server(served(KINDS[0], *words, "<odd-one>"), refuses_beyond=refuses_beyond)
    assert asked(server) == {"<odd-one>"}
    assert len(server.asked) < (30 if refuses_beyond else 10)


def test_what_a_template_itself_writes_is_not_held_against_the_guard() -> None:
    tokens = served("BPE, NFKC")
    assert asked(Server(tokens)) == frozenset()
    assert tokens.encode("<|im_start|>").ids  # it is in every chat


@pytest.mark.parametrize("kept", [(), ("/tokenize",), ("/detokenize",)])
def test_a_server_that_does_not_show_its_tokenizer_is_no_error(kept: tuple[str, ...]) -> None:
    server = Server(served(KINDS[0]))

    async def post(path: str, body: Mapping[str, Any], /) -> Mapping[str, Any] | None:
        return await server(path, body) if path in kept else None

    assert asked(post) is None


@pytest.mark.parametrize("reply", [{}, {"tokens": []}, {"tokens": "x", "prompt": 3}, {"tokens": [1], "prompt": ""}])
def test_replies_that_make_no_sense_are_no_error(reply: dict[str, Any]) -> None:
    async def post(path: str, body: Mapping[str, Any], /) -> Mapping[str, Any] | None:
        return reply

    assert asked(post) is None


def test_a_tokenizer_that_has_no_line_end_is_no_error() -> None:
    async def post(path: str, body: Mapping[str, Any], /) -> Mapping[str, Any] | None:
        return {"tokens": [0], "prompt": "<unk>" * len(body.get("tokens", ())), "token_strs": ["<unk>"]}

    assert asked(post) is None


def test_a_server_that_never_comes_to_an_end_is_not_asked_for_ever() -> None:
    async def post(path: str, body: Mapping[str, Any], /) -> Mapping[str, Any] | None:
        return {"tokens": [1], "prompt": "word" * (len(body.get("tokens", ())) > 2), "token_strs": ["word"]}

    assert asked(post) == frozenset()


def failing(server: Server, times: range, reply: Mapping[str, Any] | None) -> Post:
    """A server that gives another reply to these of its requests, counted from 0."""
    counted = itertools.count()

    async def post(path: str, body: Mapping[str, Any], /) -> Mapping[str, Any] | None:
        return reply if next(counted) in times else await server(path, body)

    return post


@pytest.mark.parametrize("refuses_beyond", [False, True])
@pytest.mark.parametrize("times", [range(3, 4), range(3, 5), range(3, 18), range(3, 19), range(3, 40)])
@pytest.mark.parametrize("reply", [None, {"prompt": ""}, {}])
def test_a_scan_that_fails_in_its_middle_says_nothing_though_all_is_well_at_its_end(
    refuses_beyond: bool, times: range, reply: Mapping[str, Any] | None
) -> None:
    words = [f"word{number}" for number in range(3 * IDS_A_REQUEST)]
    server = Server(served(KINDS[0], *words, "<odd-one>"), refuses_beyond=refuses_beyond)
    assert asked(failing(server, times, reply)) in (None, {"<odd-one>"})


def test_a_token_of_spaces_near_the_end_of_the_vocabulary_is_not_taken_for_the_end() -> None:
    server = Server(served(KINDS[0], *(" " * n for n in range(2, 40)), "<odd-one>"), refuses_beyond=True)
    assert asked(server) == {"<odd-one>"}


def test_the_text_that_holds_an_unguarded_token_is_named_with_the_cure() -> None:
    texts = [("task two-sum, model-a", "a < odd"), ("task two-sum, model-b", "print('<odd-one>')")]
    refuse_unguarded(texts, frozenset(), "m")
    with pytest.raises(InputError) as caught:
        refuse_unguarded(texts, {"<odd-one>"}, "m")
    assert caught.value.exit_code == 2
    assert "task two-sum, model-b holds <odd-one>, a control token of m" in str(caught.value)
    assert "write it as <·odd-one> in the input" in str(caught.value)
    refuse_unguarded([("x", "print('<·odd-one>')")], {"<odd-one>"}, "m")


def test_an_unguarded_token_is_seen_through_its_disguises() -> None:
    for text in ("<odd-one>", "＜odd-one＞", "<odd\u200b-one>"):
        assert unguarded_in(text, {"<odd-one>", "<other>"}) == "<odd-one>"
    assert unguarded_in("<odd-one>", {"<odd-one>"}, own="<odd-one>") is None
    assert unguarded_in("<odd one>", {"<odd-one>"}) is None
    assert len(CONTROL) > 150
