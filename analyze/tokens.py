"""Asks a served model's own tokenizer whether the text guard (`inert`) covers all control tokens the model has.

    /detokenize   every id of the vocabulary, a line each ──> the tokens that look like control tokens
    /tokenize     a chat that holds them all, guarded ──> those among them that are tokens still: `unguarded_tokens`
Normally there are none, and then no text needs a look. Where there are some, a text that holds one must not be sent:
`refuse_unguarded` says which, and what to do. It is about tokens, not texts, so its cost is that of the vocabulary,
once a run: 19 requests of 30 ms for 262,144 tokens, for one row as for ten million.

A control token is taken for one by its look: a word of two letters or more that begins and ends with a bracket or a
bar. A token that looks otherwise, or holds white space, is not found here (`/nothink` of GLM is on the guard's list).
HTML's own tags are tokens of some models (Gemma), which mean nothing to them. Knows no job, no socket and no retry.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Protocol

from analyze.errors import InputError
from analyze.inert import folded, inert
from analyze.lang import Lang

IDS_A_REQUEST = 16_384
IDS_AT_MOST = 2**21
"""Eight times the largest vocabulary in use: there an end is put to a server that has words for every number."""

CANNOT_TELL: Mapping[Lang, str] = {
    "en": "this server does not show its tokenizer (/tokenize, /detokenize): that inserted text holds no control "
    "tokens of this model rests on the list of known ones",
    "zh": "该服务器未提供分词接口（/tokenize、/detokenize）：插入文本中不含此模型的控制 token，仅由已知 token 列表保证",
}
"""For whoever gets None from `unguarded_tokens`."""

_READ_FIELDS = (
    "messages",
    "prompt",
    "tools",
    "chat_template",
    "chat_template_kwargs",
    "add_generation_prompt",
    "continue_final_message",
)
"""The fields of a request that its prompt is made of."""

_LOOKS_LIKE_CONTROL = re.compile(r"[<>\[\]|｜]\S*\w\w\S*[<>\[\]|｜]")
_HTML_TAG = re.compile(
    r"</?(?:a|abbr|article|aside|b|big|blockquote|body|br|button|caption|center|cite|code|col|colgroup|dd|del|details|div|"
    r"dl|dt|em|figcaption|figure|font|footer|form|h[1-6]|head|header|hr|html|i|input|ins|kbd|label|legend|li|link|main|"
    r"mark|meta|nav|ol|option|p|pre|q|samp|script|section|select|small|span|strike|strong|style|sub|summary|sup|table|"
    r"tbody|td|textarea|tfoot|th|thead|title|tr|tt|u|ul|var)/?>"
)


class Post(Protocol):
    async def __call__(self, path: str, body: Mapping[str, Any], /) -> Mapping[str, Any] | None:
        """Send JSON to `path` of a server, which stands beside /v1. None for all that is not a good answer in JSON."""


async def unguarded_tokens(post: Post, model: str | None) -> frozenset[str] | None:
    """Return the control tokens of the served model that are tokens even after `inert`; None if it cannot be told."""
    try:
        candidates = await _control_tokens(post, model)
        if not candidates:
            return frozenset()
        guarded = await _tokens_of_chat(post, model, inert(" ".join(sorted(candidates))))
        beyond = Counter(guarded)
        beyond.subtract(await _tokens_of_chat(post, model, "x"))
    except _CannotTell:
        return None
    return frozenset(token for token in candidates if beyond[token] > 0)


async def prompt_tokens(post: Post, model: str | None, body: Mapping[str, Any]) -> list[int] | None:
    """Return the tokens of a request's prompt as the served model reads it; None if the server does not tell."""
    read = {name: body[name] for name in _READ_FIELDS if name in body}
    reply = await post("/tokenize", {"model": body.get("model", model), **read})
    tokens = reply.get("tokens") if reply is not None else None
    return tokens if isinstance(tokens, list) else None


def unguarded_in(text: str, tokens: Collection[str], own: str = "") -> str | None:
    """Return the first of `tokens` that `text` holds more often than `own`, its author's part; however disguised."""
    if not tokens:
        return None
    seen, meant = folded(text), folded(own)
    plain = {token: folded(token) for token in sorted(tokens)}
    return next((token for token in plain if seen.count(plain[token]) > meant.count(plain[token])), None)


def refuse_unguarded(texts: Iterable[tuple[str, str]], tokens: Collection[str], model: str | None) -> None:
    """Raise InputError at the first text that holds one of `tokens`. `texts`: what each is called, and itself."""
    for name, text in texts if tokens else ():
        token = unguarded_in(text, tokens)
        if token is not None:
            raise InputError(unguarded_message(token, model, name), cure=unguarded_cure(token))


def unguarded_message(token: str, model: str | None, name: str = "it") -> str:
    return f"{name} holds {token}, a control token of {model or 'the model'} that is not on the text guard's list"


def unguarded_cure(token: str) -> str:
    return f"write it as {token[:1]}·{token[1:]} in the input, or ask another model; and report the token, please"


class _CannotTell(Exception):
    """The server does not say, or says what makes no sense."""


async def _control_tokens(post: Post, model: str | None) -> set[str]:
    """Return what looks like a control token in the whole vocabulary."""
    line_end = _ids(await post("/tokenize", {"model": model, "prompt": "\n", "add_special_tokens": False}))

    async def words(first: int, count: int) -> list[str] | None:
        """Return what so many tokens read, one behind the other; None where the server refuses, or fails."""
        ids = [id for token in range(first, first + count) for id in (token, *line_end)]
        reply = await post("/detokenize", {"model": model, "tokens": ids})
        return None if reply is None else str(reply.get("prompt", "")).split()

    between = await post("/detokenize", {"model": model, "tokens": line_end * 2})
    if between is None or str(between.get("prompt", "x")).strip():
        raise _CannotTell  # words would run together
    found: set[str] = set()
    first, count, refused = 0, IDS_A_REQUEST, IDS_AT_MOST + 1
    while count and first < IDS_AT_MOST:
        read = await words(first, count)
        if read is None:  # some tokenizers refuse a number beyond the last token's
            refused, count = min(refused, first + count), count // 2
            continue
        if not read and count == IDS_A_REQUEST:
            break  # others have nothing to say to it; to a few, of a vocabulary's end, any may say nothing but spaces
        found.update(word for word in read if _LOOKS_LIKE_CONTROL.fullmatch(word) and not _HTML_TAG.fullmatch(word))
        first += count
        if first >= refused:
            raise _CannotTell  # it takes what it refused before: a failure, and others may pass for the end
    if not first or await post("/detokenize", {"model": model, "tokens": line_end}) is None:
        raise _CannotTell  # it has nothing to say to any number any more
    if first < IDS_AT_MOST and await words(first, max(count, 1)):
        raise _CannotTell  # what passed for the end was a failure
    return found


async def _tokens_of_chat(post: Post, model: str | None, text: str) -> list[str]:
    messages = [{"role": "user", "content": text}]
    reply = await post("/tokenize", {"model": model, "messages": messages, "return_token_strs": True})
    strings = reply.get("token_strs") if reply is not None else None
    if not isinstance(strings, list):
        raise _CannotTell
    return strings


def _ids(reply: Mapping[str, Any] | None) -> list[int]:
    ids = reply.get("tokens") if reply is not None else None
    if not isinstance(ids, list) or not ids:
        raise _CannotTell
    return ids
