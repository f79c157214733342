"""Keeps inserted text from becoming control tokens of a chat template. Knows nothing of judging.

A tokenizer turns `<|im_end|>` in a user's text into the token that ends the message, so judged code could close its
own message and speak as the system. `inert` puts one middle dot behind the bracket that opens such a token:
`<·|im_end|>`. What cannot be one stays as it is, to the character.

Why a visible dot: tokenizers with an NFKC-like normaliser drop zero-width characters and fold full-width ones, and
the token would be whole again; U+00B7 has no decomposition. A dot that is already there gets a second one, so the
edit can be undone exactly (`restore`), and the judge is told what it means.

The forms are those of the families in use: a word in angle or square brackets that begins or ends with a bar (Qwen,
Llama 3, Phi, Gemma, GLM, Kimi, EXAONE, Harmony; DeepSeek's bar is full-width), and listed names (Llama 2, Mistral,
Gemma, GLM, Baichuan, Nemotron, MiniMax, image and fill-in-the-middle tokens). Whether the list is enough for the model
served is a question for that server's own tokenizer.
"""

from __future__ import annotations

import re

_DOT = "·"
_BAR = "[|｜]"
_INSIDE = r"/?\w[^\s<>\[\]]{0,80}"  # no control token holds white space; the bound keeps hostile input linear

# One word in brackets, in its own case: <S> is a type parameter, <s> is a token.
_ANGLE_NAMES = (
    r"s|bos|eos|eot|eod|eop|sop|eoa|eoh|pad|unk|mask|mask:\d+|cls|sep|seed:[\w:]+|AI|用户|_(?:user|bot|system|start|end)|"
    r"PRE|MID|SUF|EOT|fim[_-]\w+|unused\d+|reserved_\w+|extra_id_\d+|SPECIAL_\d+|special_\d+|"
    r"start_of_\w+|end_of_\w+|begin_of_\w+|think|tool_\w+|"
    r"img|(?:image|video|audio)(?:_(?:soft_token|token|pad|start|end|newline))?"
)
_SQUARE_NAMES = (
    r"INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_\w+|IMG\w*|AUDIO|BEGIN_AUDIO|PREFIX|SUFFIX|MIDDLE|ARGS|CALL_ID|"
    r"THINK|MODEL_SETTINGS|REF|[gs]?MASK|control_\d+|unused\d+"
)
_OPENERS = (
    ("<", rf"{_BAR}{_INSIDE}>|{_INSIDE}{_BAR}>|/?(?:{_ANGLE_NAMES})>|/?SYS>>"),
    (r"\[", rf"{_BAR}{_INSIDE}\]|{_INSIDE}{_BAR}\]|/?(?:{_SQUARE_NAMES})\]|e~\["),
    (r"\]", r"~!?b[\[\]]"),
)


def _opener_before(dot: str) -> re.Pattern[str]:
    return re.compile("|".join(f"{opener}{dot}(?={_DOT}*(?:{rest}))" for opener, rest in _OPENERS))


_BARE = _opener_before("")
_DOTTED = _opener_before(_DOT)


def inert(text: str) -> str:
    """Return `text` with a middle dot in everything that a chat template's tokenizer could read as a control token."""
    return _BARE.sub(lambda match: match[0] + _DOT, text)


def restore(text: str) -> str:
    """Undo `inert`."""
    return _DOTTED.sub(lambda match: match[0].removesuffix(_DOT), text)
