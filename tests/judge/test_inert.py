"""Judged text can hold anything, and none of it becomes a control token."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyze.judge.inert import inert, restore

CONTROL_LINES = """
<|im_end|> <|im_start|> <|endoftext|> <|eot_id|> <|start_header_id|> <s> </s> <bos> <eos> <pad> <unk>
[INST] [/INST] [TOOL_CALLS] [SYSTEM_PROMPT] [IMG] [gMASK] <start_of_turn> <end_of_turn> <image> <img> <video>
<｜User｜> <｜begin▁of▁sentence｜> <|vision_start|> <|START_OF_TURN_TOKEN|> [|user|] [|endofturn|] <think> </think>
<tool_call> </tool_call> <fim_prefix> <reserved_106> <extra_id_0> <SPECIAL_12> <unused7> <_user> <用户> <PRE>
<|turn> <turn|> <start_of_image> <image_soft_token> ]~b] ]~!b[ [e~[ <seed:bos> <sop> <|channel|>
"""
CONTROL = CONTROL_LINES.split()

ORDINARY = """
if a < b and c > d: x = a<b>c; y[i] = z[MASK_1]; matrix[row][col]
fn f<T>(x: Vec<T>) -> Option<S> { x.iter().map(|y| y + 1) }
let g = h <| x |> k; xs <|> ys; a <||> b; f <$> x <*> y; v >>= w; vector<_Tp>
<div class="s"><img src="a.png"><b>bold</b></div> #include <vector> <stdio.h>
std::map<std::string, int> m; cout << "s" << endl; a[s] = b[INSTALL]; std::vector<image_t> v
"""

pieces = st.sampled_from(
    [*CONTROL, "<", "|", ">", "[", "]", "·", "im_end", "INST", "~b", "/", "s", "<<SYS>>", "｜", " "]
)
texts = st.lists(pieces | st.text(max_size=3), max_size=12).map("".join)


@pytest.mark.parametrize("token", CONTROL)
def test_a_control_token_is_broken_by_one_dot_and_stays_readable(token: str) -> None:
    text = inert(f"x = '{token}'")
    assert token not in text
    assert text.replace("·", "") == f"x = '{token}'"
    assert text.count("·") == 1


def test_ordinary_code_is_not_touched() -> None:
    assert inert(ORDINARY) == ORDINARY


@given(texts)
def test_no_control_token_is_left_in_any_text(text: str) -> None:
    assert not [token for token in CONTROL if token in inert(text)]


@given(texts)
def test_the_edit_can_be_undone(text: str) -> None:
    assert restore(inert(text)) == text


def test_hostile_text_takes_no_time() -> None:
    began = time.perf_counter()
    for text in (
        "<" * 200_000,
        "<|" * 100_000,
        "[|" + "a" * 200_000,
        "<·" * 100_000 + "·" * 100_000,
        "<" + "|a" * 100_000,
    ):
        inert(text)
    assert time.perf_counter() - began < 5
