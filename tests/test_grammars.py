"""Every JSON schema that we ask for, walked with random legal tokens through the library that vLLM holds replies with.

A token that the mask allows and the matcher then rejects is HTTP 500 for the row. A string that may repeat a class more
than 128 times brings such tokens about (xgrammar 0.2.8).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
import pytest

from analyze.annotate.families import COORDS
from analyze.annotate.prompts import constraint
from analyze.judge.schema import reply_schema
from analyze.tiny_model import trained_tokenizer

WALKS, MOST_TOKENS = 60, 400

SCHEMAS: dict[str, Mapping[str, Any]] = {
    "judge": reply_schema(),
    **{f"boxes in {one}": constraint(one)["response_format"]["json_schema"]["schema"] for one in COORDS},
}


@pytest.fixture(scope="module")
def vocabulary() -> Any:
    """What xgrammar knows of a tokenizer."""
    import transformers
    import xgrammar

    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=trained_tokenizer())
    return xgrammar.TokenizerInfo.from_huggingface(tokenizer)


@pytest.mark.parametrize("name", SCHEMAS)
def test_no_token_that_is_allowed_is_then_rejected(name: str, vocabulary: Any) -> None:
    import xgrammar

    grammar = xgrammar.GrammarCompiler(vocabulary).compile_json_schema(orjson.dumps(SCHEMAS[name]).decode())
    size, draw = vocabulary.vocab_size, np.random.default_rng(1)
    mask = xgrammar.allocate_token_bitmask(1, size)
    for _ in range(WALKS):
        matcher = xgrammar.GrammarMatcher(grammar)
        walked: list[int] = []
        while not matcher.is_terminated() and len(walked) < MOST_TOKENS:
            matcher.fill_next_token_bitmask(mask)
            allowed = np.flatnonzero(np.unpackbits(mask.numpy().view(np.uint8).ravel(), bitorder="little")[:size])
            walked.append(int(draw.choice(allowed)))
            assert matcher.accept_token(walked[-1]), vocabulary.decoded_vocab[walked[-1]]
