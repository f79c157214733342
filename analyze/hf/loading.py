"""From a folder, or a name on the Hugging Face hub, to a model: where it is to be, and what it takes.

Knows no request.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from analyze.errors import UsageError
from analyze.hf.model import Device, Model
from analyze.hf.tokenizing import hush

DEFAULT_CONTEXT = 8192
"""Tokens of prompt and answer, where the model takes as many; the same as of our servers."""


def device_of(environ: Mapping[str, str]) -> Device:
    """Return where a model is to be loaded: on the GPU where there is one, unless VLLM_DEVICE says otherwise.

    Raises UsageError where a GPU is asked for, or seems to be here, and cannot be used.
    """
    from analyze.servers.hardware import find_gpus

    wanted = environ.get("VLLM_DEVICE") or "auto"
    if wanted == "cpu":
        return "cpu"
    if find_gpus(environ):
        return "cuda"
    if wanted == "cuda":
        raise UsageError(
            "VLLM_DEVICE=cuda, but there is no sign of an NVIDIA GPU on this machine", cure="VLLM_DEVICE=cpu"
        )
    return "cpu"


def load(
    model: str,
    *,
    device: Device,
    name: str | None = None,
    max_model_len: int | None = None,
    needs_chat: bool = True,
) -> Model:
    """Load a model: a folder, or a name on the Hugging Face hub. It goes by `name`, else by what it was asked for as.

    On a GPU it has its own precision; on the CPU float32, in which padding changes nothing (in bfloat16 12 of 64
    answers) and which every CPU computes fast. Raises UsageError where it cannot be loaded, or is no chat model.
    """
    try:
        torch, transformers, xgrammar = map(import_module, ("torch", "transformers", "xgrammar"))
    except ImportError as error:
        raise UsageError(f"the engine hf cannot work here: {error}", cure="pip install -e '.[hf]'") from error
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError(
            f"there is a GPU, but torch {torch.__version__} cannot use it",
            cure="install a torch for CUDA (pytorch.org/get-started), or VLLM_DEVICE=cpu",
        )
    hush(transformers)
    dtype = "auto" if device == "cuda" else torch.float32
    try:  # code that comes with a model is not run, and nobody is asked whether it may be
        tokenizer = transformers.AutoTokenizer.from_pretrained(model, trust_remote_code=False)
        unplaced = transformers.AutoModelForCausalLM.from_pretrained(model, dtype=dtype, trust_remote_code=False)
        network = unplaced.to(device)
    except torch.OutOfMemoryError as error:
        raise UsageError(
            f"{model} is too large for this GPU: {error}",
            cure="a smaller --model; --engine fleet spreads one over several GPUs (--tensor-parallel-size)",
        ) from error
    except Exception as error:  # somebody's files, which may be broken in any way
        raise UsageError(
            f"{model} cannot be loaded: {error}",
            cure="--model is a folder with a model, or a name on the Hugging Face hub, if that can be reached",
        ) from error
    if tokenizer.chat_template is None and needs_chat:
        raise UsageError(f"{model} has no chat template", cure="--model must be one that is made for chats")
    config = network.config.get_text_config()
    stops = _stops(tokenizer, network.generation_config)
    pad = next((token for token in (tokenizer.pad_token_id, *stops) if token is not None), 0)
    # A model's own taste in sampling (Qwen2.5: top_p 0.8, repetition_penalty 1.05) stays out, as on our servers.
    network.generation_config = transformers.GenerationConfig(eos_token_id=[*stops], pad_token_id=pad)
    vocabulary = xgrammar.TokenizerInfo.from_huggingface(
        tokenizer, vocab_size=config.vocab_size, stop_token_ids=[*stops]
    )
    return Model(
        name=name or model,
        device=device,
        context=_context(model, getattr(config, "max_position_embeddings", None), max_model_len),
        stops=stops,
        pad=pad,
        tokenizer=tokenizer,
        network=network.eval(),
        compiler=xgrammar.GrammarCompiler(vocabulary),
        words=vocabulary.decoded_vocab,
    )


def _stops(tokenizer: Any, config: Any) -> tuple[int, ...]:
    """Return what ends an answer: to the tokenizer one token, to the model perhaps several."""
    own = config.eos_token_id
    several = own if isinstance(own, list) else [own]
    return tuple(dict.fromkeys(token for token in (tokenizer.eos_token_id, *several) if token is not None))


def _context(model: str, longest: int | None, wanted: int | None) -> int:
    if wanted is not None and longest is not None and wanted > longest:
        raise UsageError(f"{model} takes {longest} tokens, not {wanted}", cure=f"--max-model-len {longest}, or less")
    return wanted or min(DEFAULT_CONTEXT, longest or DEFAULT_CONTEXT)
