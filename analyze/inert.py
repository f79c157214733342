"""Keeps inserted text from becoming control tokens of a chat template. Knows no job and no server.

A tokenizer turns `<|im_end|>` in a user's text into the token that ends the message, so judged code could close its
own message and speak as the system. `inert` puts one middle dot behind the bracket that opens such a token:
`<·|im_end|>`. What cannot be one stays as it is, to the character.

Why a visible dot: tokenizers with an NFKC-like normaliser drop zero-width characters and fold full-width ones, and
the token would be whole again; U+00B7 has no decomposition. A dot that is already there gets a second one, so the
edit can be undone exactly (`restore`), and the judge is told what it means. For the same reason text is looked at as
the most thorough of normalisers would leave it: `＜|im_end|＞` and `<|im\\u200b_end|>` are tokens too.

The forms are those of the families in use: a word in angle or square brackets that begins or ends with a bar (Qwen,
Llama 3, Phi, Gemma, GLM, Kimi, EXAONE, Harmony; DeepSeek's bar is full-width), and listed names (Llama 2, Mistral,
Gemma, GLM, Baichuan, Cohere, Nemotron, MiniMax, StarCoder, image and fill-in-the-middle tokens). Whether the list is
enough for the model served is what `tokens` asks that server's own tokenizer.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable

_DOT = "·"
_BAR = "[|｜]"
_INSIDE = r"/?[\w▁][^\s<>\[\]]{0,80}+"  # no control token holds white space; the bound keeps hostile input linear

# One word in brackets, in its own case: <S> is a type parameter, <s> is a token.
_ANGLE_NAMES = "|".join(
    (
        r"s|bos|eos|eot|eod|eop|eom|sop|eoa|eoh|pad|unk|unk_\d+|mask|mask[:_]\d+|cls|sep|AI|用户|_(?:user|bot|system|start|end)",
        r"(?:BOS|EOS|PAD|UNK|CLS|SEP|MASK|EOP)(?:_TOKEN)?|PRE|MID|SUF|EOT|NAME|EMAIL|KEY|PASSWORD|2mass",
        r"unused_?\d+|reserved_\w+|extra_id_\d+|SPECIAL_\d+|special_?\d+|TOKENS_UNUSED_\d+",
        r"start_of_\w+|end_of_\w+|begin_of_\w+|(?:start|end)_function_\w+|(?:dots_|longcat_)?(?:tool|function)_calls?|tool_\w+",
        r"think\w*|arg_(?:key|value|type)|(?:seed|minimax|mm|atem|ifm)[:|][\w:]+",
        r"fim[_-]\w+|repo_?name|filename|file_sep|gh_stars|empty_output|(?:issue|jupyter|pr)_\w+|commit_(?:before|msg|after)",
        r"img|imgpad|global-img|IMG_\w+|im_(?:patch|col|start|end|newline)|fake_token_around_image|row_\d+_col_\d+|tile_\w+",
        r"(?:image|video|audio)(?:_(?:soft_token|token|pad|start|end|newline|placeholder|id|bos|eos|patch))?",
        r"box|quad|ref|slice|sound|speech|placeholder|asr_text|ovis_\w+|so_(?:start|end|embedding)|loc_?\d+|seg\d+",
        r"patch_(?:start|end|newline|index_\d+)",
    )
)
_SQUARE_NAMES = (
    r"INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_\w+|IMG\w*|AUDIO|BEGIN_AUDIO|PREFIX|SUFFIX|MIDDLE|ARGS|CALL_ID|THINK|"
    r"MODEL_SETTINGS|REF|[gs]?MASK|BOS|EOS|EOT|PAD|UNK|CLS|SEP|(?:start|end)_header_id|multimodal|@BOS@|"
    r"control_\d+|unused_?\d+|UNUSED_TOKEN_\d+|extra_id_\d+"
)
_FALCON_NAMES = "TITLE|ABSTRACT|INTRODUCTION|SUMMARY|COMMENT|ANSWER|QUESTION|DOMAIN|PREFIX|SUFFIX|MIDDLE|[A-Z]+_ADDRESS"
_OPENERS = (
    ("<", rf'{_BAR}(?:{_INSIDE}|"{_BAR})>|{_INSIDE}(?<={_BAR})>|/?(?:{_ANGLE_NAMES})>|/?SYS>>'),
    (r"\[", rf"{_BAR}{_INSIDE}\]|{_INSIDE}(?<={_BAR})\]|/?(?:{_SQUARE_NAMES})\]|e~\["),
    (r"\]", r"~!?b[\[\]]|![pd]~\[|<\]\w{1,40}\[>\["),
    ("｜", "DSML[|｜]"),
    (r"\|", r"DSML[|｜]|\|\|[A-Z]+_ADDRESS\|\|\|"),
    (">", rf">(?:{_FALCON_NAMES})<<"),
    ("/", r"no_?think"),
)


def _opener_before(dot: str) -> re.Pattern[str]:
    """Match an opener and `dot`; the one group that took part holds the rest of the token."""
    return re.compile("|".join(f"{opener}{dot}(?=({_DOT}*(?:{rest})))" for opener, rest in _OPENERS))


_BARE = _opener_before("")
_DOTTED = _opener_before(_DOT)
_TO_FOLD = re.compile(r"[^\t\n\r -~]")


class Own(str):
    """Text that its author answers for: `inert_joined` leaves it as written."""

    __slots__ = ()


def inert(text: str) -> str:
    """Return `text` with a middle dot in everything that a chat template's tokenizer could read as a control token."""
    places = _places(text, _BARE)
    return _dotted(text, [start for start, _ in places]) if places else text


def inert_joined(pieces: Iterable[str]) -> str:
    """Return the joined pieces with a dot in every control token that does not lie in `Own` pieces alone.

    Two inserted pieces that make a token together, or with the text around them, make none.
    """
    texts = list(pieces)
    text = "".join(texts)
    places = _places(text, _BARE)
    if not places:
        return text
    starts, ends, at = [], [], 0  # of what is inserted
    for piece in texts:
        if piece and not isinstance(piece, Own):
            starts.append(at)
            ends.append(at + len(piece))
        at += len(piece)
    return _dotted(text, [start for start, end in places if bisect_right(ends, start) < bisect_right(starts, end - 1)])


def restore(text: str) -> str:
    """Undo `inert`."""
    kept, at = [], 0
    for start, _ in _places(text, _DOTTED):
        kept.append(text[at : start + 1])
        at = start + 1 + len(_DOT)
    return "".join((*kept, text[at:]))


def folded(text: str) -> str:
    """Return `text` as the most thorough normaliser would see it: compatibility forms, accents, invisibles undone."""
    return text.translate(_FOLDS) if _TO_FOLD.search(text) else text


class _Folds(dict[int, str]):
    """What is left of a character; of one that is not seen, nothing."""

    def __missing__(self, code: int) -> str:
        plain = unicodedata.normalize("NFKD", chr(code))
        kept = "".join(char for char in plain if unicodedata.category(char) not in ("Cc", "Cf", "Mn", "Me"))
        self[code] = chr(code) if chr(code) in "\t\n\r" else kept
        return self[code]


_FOLDS = _Folds()


def _places(text: str, pattern: re.Pattern[str]) -> list[tuple[int, int]]:
    """Return where the tokens of `pattern` begin and end, as they are seen after folding, in `text` itself."""
    seen = folded(text)
    found = [(match.start(), match.end(match.lastindex or 0)) for match in pattern.finditer(seen)]
    if seen is text or not found:
        return found
    origins = [index for index, char in enumerate(text) for _ in _FOLDS[ord(char)]]
    return [(origins[start], origins[end - 1] + 1) for start, end in found]


def _dotted(text: str, starts: Iterable[int]) -> str:
    kept, at = [], 0
    for start in starts:
        kept.append(text[at : start + 1])
        at = start + 1
    return _DOT.join((*kept, text[at:]))
