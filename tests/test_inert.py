"""Inserted text can hold anything, and none of it becomes a control token: held over tokenizers of every kind."""

from __future__ import annotations

import re
import time
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from analyze.inert import Own, inert, inert_joined, restore

CONTROL_OF_FAMILIES = """
qwen: <|im_end|> <|im_start|> <|endoftext|> <|object_ref_start|> <|box_end|> <|vision_start|> <|image_pad|>
    <tool_call> </tool_call> <tool_response> </tool_response> <think> </think> <|fim_prefix|> <|repo_name|>
    <|file_sep|> <ref> </ref> <box> </box> <quad> <img> </img> <imgpad>
llama: <s> </s> <unk> [INST] [/INST] <<SYS>> <</SYS>> <|eot_id|> <|start_header_id|> <|python_tag|> <|eom_id|>
    <|header_start|> <|eot|> <PRE> <MID> <SUF> <EOT> <|reserved_special_token_0|>
mistral: [TOOL_CALLS] [SYSTEM_PROMPT] [/SYSTEM_PROMPT] [AVAILABLE_TOOLS] [TOOL_RESULTS] [TOOL_CONTENT] [IMG]
    [IMG_BREAK] [IMG_END] [PREFIX] [SUFFIX] [MIDDLE] [THINK] [/THINK] [ARGS] [CALL_ID] [AUDIO] [BEGIN_AUDIO]
    [control_8] [MODEL_SETTINGS] <SPECIAL_20>
deepseek: <｜User｜> <｜begin▁of▁sentence｜> <｜tool▁calls▁begin｜> <｜fim▁hole｜> <｜▁pad▁｜> ｜DSML｜ <|EOT|>
    <｜tool_calls_begin｜> <｜latest_reminder｜>
gemma: <bos> <eos> <pad> <mask> <start_of_turn> <end_of_turn> <start_of_image> <image_soft_token> <unused7> <|turn>
    <turn|> <|channel> <channel|> <|tool_call> <tool_call|> <|"|> <start_function_call> <end_function_call> [@BOS@]
    [multimodal] <2mass> <audio_soft_token>
glm: [gMASK] [sMASK] [MASK] <sop> <eop> <|user|> <|observation|> <arg_key> </arg_value> <|begin_of_box|> /nothink
phi: <|end|> <|placeholder1|> <|dummy_0|> <|im_sep|>
kimi: <|im_middle|> <|tool_calls_section_begin|> <|tool_call_argument_begin|> <|media_pad|> [BOS] [EOS] [PAD] [UNK]
    [EOT] [start_header_id] [end_header_id]
harmony: <|start|> <|message|> <|channel|> <|constrain|> <|call|> <|return|>
cohere: <BOS_TOKEN> <EOS_TOKEN> <PAD> <UNK> <CLS> <SEP> <MASK_TOKEN> <EOP_TOKEN> <|START_OF_TURN_TOKEN|>
    <|CHATBOT_TOKEN|> <|START_ACTION|>
minimax: ]~b] ]~!b[ [e~[ ]!p~[ ]!d~[ ]<]speech[>[ ]<]minimax[>[ <minimax:tool_call> </minimax:tool_call> <mm:think>
baichuan: <reserved_106> <_user> <_bot> <_system>
internlm: <|action_start|> <|plugin|> [UNUSED_TOKEN_145] <TOKENS_UNUSED_1> <eoh> <eoa> <IMG_CONTEXT>
exaone: [|system|] [|user|] [|assistant|] [|endofturn|] [unused0] <|thought|>
starcoder: <fim_prefix> <fim-middle> <filename> <reponame> <repo_name> <file_sep> <gh_stars> <issue_start>
    <issue_comment> <jupyter_code> <empty_output> <commit_before> <commit_msg> <commit_after> <pr_status> <EMAIL>
falcon: >>TITLE<< >>QUESTION<< >>ANSWER<< >>MIDDLE<<
others: <用户> <AI> <extra_id_0> <SPECIAL_12> <seed:bos> <seed:think> </seed:tool_call> <ifm|tool_calls> <mask:1>
    <|plamo:end_tool_name:plamo|> <dots_function_call> <longcat_tool_call> <function_calls> <tool_calls> <so_start>
    <ovis_image_start> <fake_token_around_image> <row_1_col_2> <global-img> <patch_start> <im_patch> <image> </image>
    <video> <audio> <video_placeholder> <slice> <asr_text> <image_id> |||IP_ADDRESS||| |||EMAIL_ADDRESS||| <loc_12>
    <|startofprev|> <|0.00|> <|/ref|> <|kimi_k25_video_placeholder|> <tile_3> <end_of_utterance> <mask_1> <unk_3>
"""
CONTROL = [token for token in CONTROL_OF_FAMILIES.split() if not re.fullmatch(r"[a-z]+:", token)]

ORDINARY = """
if a < b and c > d: x = a<b>c; y[i] = z[MASK_1]; matrix[row][col]; a[b]>>(c)<<2; 1<|x; path/no/think.py; x >>TITLE
fn f<T>(x: Vec<T>) -> Option<S> { x.iter().map(|y| y + 1) }; List<object> o; Array<string|number> p; <K, V>
let g = h <| x |> k; xs <|> ys; a <||> b; f <$> x <*> y; v >>= w; vector<_Tp>; numeric_limits<uint32_t>
<div class="s"><img src="a.png"><b>bold</b></div> #include <vector> <stdio.h> <table><tr><td>1</td></tr></table>
std::map<std::string, int> m; cout << "s" << endl; a[s] = b[INSTALL]; std::vector<image_t> v; 你好，（世界）！×²ﬁ
"""

SPARE_PARTS = [
    "<",
    "|",
    ">",
    "[",
    "]",
    "·",
    "im_end",
    "INST",
    "~b",
    "/",
    "s",
    "｜",
    " ",
    "＜",
    "＞",
    "［",
    "\u200b",
    "\u0301",
]
pieces = st.sampled_from([*CONTROL, *SPARE_PARTS]) | st.text(max_size=3)
disguises = st.sampled_from(
    [
        lambda token: token,
        lambda token: token.replace("<", "＜").replace(">", "﹥").replace("|", "｜"),
        lambda token: "".join(chr(ord(char) + 0xFEE0) if "!" <= char <= "~" else char for char in token),
        lambda token: "\u200b".join(token),
        lambda token: token[:1] + "\u0001\ufe0f\u00ad" + token[1:],
        lambda token: token.replace("M", "\U0001d40c").replace("fi", "ﬁ").replace("K", "\u212a"),
    ]
)
disguised = st.builds(lambda disguise, token: disguise(token), disguises, st.sampled_from(CONTROL))
texts = st.lists(pieces | disguised, max_size=12).map("".join)


@pytest.mark.parametrize("token", CONTROL)
def test_a_control_token_is_broken_by_a_dot_and_stays_readable(token: str) -> None:
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
    assert restore(restore(inert(inert(text)))) == text


# -- over tokenizers ---------------------------------------------------------------------------------------------

KINDS = [
    "byte-level BPE",
    "byte-level BPE, NFC",
    "BPE, NFKC",
    "BPE, accents and controls stripped",
    "Unigram, Nmt and NFKC",
]


@cache
def tokenizer(kind: str) -> Tokenizer:
    """A small tokenizer that knows every control token of every family."""
    made: Any
    if kind.startswith("Unigram"):
        made = Tokenizer(models.Unigram([("\ufffd", 0.0), *((char, -1.0) for char in {*ORDINARY, "▁"})], unk_id=0))
        made.pre_tokenizer, made.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
        made.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC()])
    else:
        made = Tokenizer(models.BPE())
        made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
        if "NFC" in kind:
            made.normalizer = normalizers.NFC()
        elif "NFKC" in kind:
            made.normalizer = normalizers.NFKC()
        elif "stripped" in kind:
            steps = [normalizers.BertNormalizer(lowercase=False), normalizers.NFKD(), normalizers.StripAccents()]
            made.normalizer = normalizers.Sequence(steps)
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
        made.train_from_iterator([ORDINARY, *CONTROL], trainer)
    # A tokenizer finds a token either in the text itself or in the normalised text; half are of each kind.
    made.add_tokens([AddedToken(token, normalized=index % 2 == 0) for index, token in enumerate(CONTROL)])
    return made


def control_tokens(kind: str, text: str) -> list[str]:
    """The control tokens of a chat whose one message holds `text`."""
    made = tokenizer(kind)
    known = {made.token_to_id(token) for token in CONTROL}
    ids = made.encode(f"<|im_start|>user\n{text}\n<|im_end|>\n<|im_start|>assistant\n", add_special_tokens=False).ids
    return [made.id_to_token(id) for id in ids if id in known]


@pytest.mark.parametrize("kind", KINDS)
def test_without_the_guard_text_does_become_control_tokens(kind: str) -> None:
    assert control_tokens(kind, "x") == ["<|im_start|>", "<|im_end|>", "<|im_start|>"]
    missed = [token for token in CONTROL if len(control_tokens(kind, token)) == 3]
    assert not missed


@pytest.mark.parametrize("kind", KINDS)
def test_every_known_control_token_is_plain_text_once_guarded(kind: str) -> None:
    assert control_tokens(kind, inert(" ".join(CONTROL))) == control_tokens(kind, "x")
    assert control_tokens(kind, inert("".join(CONTROL))) == control_tokens(kind, "x")


@pytest.mark.parametrize("kind", KINDS)
@given(text=texts)
@settings(deadline=None)
def test_the_control_tokens_of_a_prompt_are_those_of_a_benign_one(kind: str, text: str) -> None:
    assert control_tokens(kind, inert(text)) == control_tokens(kind, "x")


# -- pieces ------------------------------------------------------------------------------------------------------


def test_own_text_stays_as_written_and_what_is_inserted_does_not() -> None:
    token = "<|im_end|>"
    assert inert_joined([Own(token), token, Own(token)]) == f"{token}<·|im_end|>{token}"


@pytest.mark.parametrize("split", range(1, len("<|im_end|>")))
def test_pieces_make_no_token_together(split: int) -> None:
    a, b = "<|im_end|>"[:split], "<|im_end|>"[split:]
    for pair in ((a, b), (Own(a), b), (a, Own(b)), (a, "", b)):
        assert inert_joined(pair) == "<·|im_end|>"
    assert inert_joined((Own(a), "", Own(b))) == "<|im_end|>"


@given(st.lists(st.tuples(st.booleans(), texts), max_size=4))
def test_pieces_without_own_ones_are_as_one_text(parts: list[tuple[bool, str]]) -> None:
    whole = "".join(text for _, text in parts)
    assert inert_joined([text for _, text in parts]) == inert(whole)
    assert inert_joined([Own(text) for _, text in parts]) == whole


# -- time --------------------------------------------------------------------------------------------------------

MILLION = 1_000_000
HOSTILE = {
    "openers": "<" * MILLION,
    "bars": "<|" * (MILLION // 2),
    "an endless token": "[|" + "a" * MILLION,
    "dots": "<·" * (MILLION // 4) + "·" * (MILLION // 2),
    "full-width openers": "＜｜" * (MILLION // 2),
    "near misses": ("<" + "a" * 20 + "_tool_call") * (MILLION // 31),
    "tokens": "<|a|>" * (MILLION // 5),
    "slashes": "</" * (MILLION // 2),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_megabyte_takes_a_second_or_two(name: str) -> None:
    began = time.process_time()
    inert(HOSTILE[name])
    assert time.process_time() - began < 5
