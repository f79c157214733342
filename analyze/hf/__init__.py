"""Hugging Face transformers as an engine: answers what a vLLM server would, in this process, on the CPU or one GPU.

    ask ──> rows that wait ──> a batch of one sampling, alike in length ──> generate, in a thread ──> chat completions
                                                   └─ it broke: both halves, until the row that breaks it is alone

Answers have the shape of vLLM's, log-probabilities included, and constraints are xgrammar's, as vLLM's are. The words
need not be the same: kernels differ, and in bfloat16, which is usual on a GPU, so does a row from batch to batch.
Whatever a request wishes for that cannot be granted here is refused, not ignored. Knows no job. torch, transformers and
xgrammar are imported when a model is loaded.
"""

from analyze.hf.asker import HfAsker
from analyze.hf.loading import device_of, load
from analyze.hf.model import Device, Model
from analyze.hf.sampling import Sampling
from analyze.hf.tokenizing import body_tokens, chat_tokens, token_texts, tokenizer_at_hand

__all__ = [
    "Device",
    "HfAsker",
    "Model",
    "Sampling",
    "body_tokens",
    "chat_tokens",
    "device_of",
    "load",
    "token_texts",
    "tokenizer_at_hand",
]
