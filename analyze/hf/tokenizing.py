"""Between texts and the tokens of a model's own tokenizer: prompts, and what each token of an answer says.

Knows no model; transformers is imported when a tokenizer is looked for.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from analyze.records import Body


def body_tokens(tokenizer: Any, body: Body) -> list[int]:
    """Return the tokens of a chat, or of plain text. Raises whatever the tokenizer's chat template raises of it."""
    if "prompt" in body:
        return [*tokenizer(body["prompt"])["input_ids"]]
    return chat_tokens(tokenizer, body)


def chat_tokens(tokenizer: Any, body: Body) -> list[int]:
    """Return the tokens of a request's prompt. Raises whatever the model's chat template raises of it."""
    wishes = body.get("chat_template_kwargs") or {}
    encoded = tokenizer.apply_chat_template(
        body["messages"], tokenize=True, add_generation_prompt=True, return_dict=True, **wishes
    )
    return [*encoded["input_ids"]]


def tokenizer_at_hand(model: str) -> Any:
    """Return the tokenizer of a chat model that is on this machine, None of any other; nothing is downloaded."""
    try:
        if not os.path.isdir(model):  # before transformers is imported, which takes seconds
            cached = import_module("huggingface_hub").try_to_load_from_cache(model, "tokenizer_config.json")
            if not isinstance(cached, str):
                return None
        transformers = import_module("transformers")
        hush(transformers)
        tokenizer = transformers.AutoTokenizer.from_pretrained(model, local_files_only=True, trust_remote_code=False)
    except Exception:  # noqa: BLE001 - somebody's files, which may be broken in any way
        return None
    return tokenizer if tokenizer.chat_template is not None else None


def hush(transformers: Any) -> None:
    """Keep warnings off the console, and bars where there is no terminal."""
    transformers.utils.logging.set_verbosity_error()
    if not os.isatty(2):
        transformers.utils.logging.disable_progress_bar()


def token_texts(tokenizer: Any, tokens: Sequence[int], others: Sequence[Sequence[int]]) -> list[list[str]]:
    """Return what each token, and each of the others that could have stood there, adds to the text before it.

    A token that leaves a character unfinished adds nothing; the one that ends it, the whole character: together they
    are the text. Tokens are decoded behind the whole characters before them, since some begin with a blank that is lost
    at the beginning of a text.
    """
    texts, last, finished = [], 0, 0  # where the last whole characters begin, and end
    for step, (token, alternatives) in enumerate(zip(tokens, others, strict=True)):
        before, begun = tokens[last:finished], tokens[finished:step]
        ends = [[*before, *begun, one] for one in (token, *alternatives)]
        sofar, *decoded = tokenizer.batch_decode([before, *ends], clean_up_tokenization_spaces=False)
        texts.append(["" if text.endswith("\ufffd") else text[len(sofar) :] for text in decoded])
        if texts[-1][0]:
            last, finished = finished, step + 1
    return texts
