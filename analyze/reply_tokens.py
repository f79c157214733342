"""Which token a text is as the beginning of a model's reply: asked of the served model's own tokenizer.

    /tokenize     a chat ──> its tokens, up to where the reply begins
    /detokenize   those ──> the chat as one text
    /tokenize     that text with `A` behind it ──> the same tokens, and one more: it is that of `A`
A token depends on what stands before it, so `A` is never tokenized alone. Where the same tokens do not come back (some
tokenizers lose blanks or control tokens on the way) nothing is told. Knows no job, no socket and no retry.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from analyze.tokens import Post


async def reply_tokens(
    post: Post, model: str | None, body: Mapping[str, Any], texts: Sequence[str]
) -> list[int] | None:
    """Return the token that each of `texts` is as the beginning of a reply to the chat `body`.

    None where any of them is not one token of its own, or the server does not tell.
    """
    read = {name: body[name] for name in ("messages", "chat_template_kwargs") if name in body}
    prompt = _tokens(await post("/tokenize", {"model": model, **read}))
    told = await post("/detokenize", {"model": model, "tokens": prompt}) if prompt else None
    start = told.get("prompt") if told is not None else None
    if prompt is None or not isinstance(start, str):
        return None
    longer = []
    for text in texts:
        asked = {"model": model, "prompt": start + text, "add_special_tokens": False}
        longer.append(_tokens(await post("/tokenize", asked)) or [])
    return tokens_added(prompt, longer)


def tokens_added(prompt: Sequence[int], longer: Iterable[Sequence[int]]) -> list[int] | None:
    """Return the one token that each of `longer` has behind `prompt`; None where that is not so, or two are equal."""
    begun, ended = [*prompt], [[*tokens] for tokens in longer]
    if any(tokens[:-1] != begun for tokens in ended):
        return None
    added = [tokens[-1] for tokens in ended]
    return added if len({*added}) == len(added) else None


def _tokens(reply: Mapping[str, Any] | None) -> list[int] | None:
    ids = reply.get("tokens") if reply is not None else None
    return ids if isinstance(ids, list) and ids else None
