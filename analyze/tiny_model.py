"""Write a tiny random-weight Qwen3 text model that vLLM and transformers both load: `python -m analyze.tiny_model OUT`.

It lets the whole chain run on a machine without a GPU. Its weights are random, so its verdicts are noise.
Nothing is downloaded: the tokenizer is trained on the sources of Python's own standard library, so the same
Python with the same libraries writes the same bytes. Importing this module costs nothing; torch, tokenizers
and transformers are imported when a model is written. Knows nothing of servers.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import sysconfig
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from analyze.errors import AnalyzeError, ServerError, UsageError
from analyze.files import sync_folder

DEMO_MODEL_NAME = "tiny-random"
"""The name this model is served under. Whoever gets answers from a model of this name holds noise."""

RECIPE = 1
"""Raised when the files below would come out differently, so that a model of an older recipe is not used again."""

MAX_TOKENS = 8192
VOCABULARY = 2048
SEED = 0
SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")  # ids 0, 1, 2
PAD_ID, END_ID = 0, 2

# Content is a string, or a list of parts of which the text ones count: both are valid OpenAI messages.
CHAT_TEMPLATE = """\
{%- for message in messages -%}
<|im_start|>{{ message['role'] }}
{% if message['content'] is string %}{{ message['content'] }}\
{% else %}{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}\
{% endif %}<|im_end|>
{% endfor -%}
{%- if add_generation_prompt -%}<|im_start|>assistant
{% endif -%}
"""


def folder_name() -> str:
    return f"{DEMO_MODEL_NAME}-{RECIPE}"


def write_model(out: Path) -> Path:
    """Write the model to the folder `out`, whole or not at all; a folder that is there is left as it is.

    Takes about 5 s and 1 MB. Raises ServerError where torch or transformers cannot be used, OSError from the disk.
    """
    if out.exists():
        return out
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f".{out.name}.{secrets.token_hex(4)}.part")
    try:
        _write_files(part)
        try:
            part.rename(out)
        except OSError:
            if not out.exists():  # else another process was first, with the same bytes
                raise
    except ImportError as error:
        raise ServerError(
            f"the tiny model cannot be written: {error}",
            cure="pip install -e '.[cpu]'; a torchvision that does not load must go: pip uninstall torchvision",
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    sync_folder(out.parent)
    return out


def _write_files(folder: Path) -> None:
    torch, transformers = import_module("torch"), import_module("transformers")
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=trained_tokenizer(),
        eos_token=SPECIAL_TOKENS[END_ID],
        pad_token=SPECIAL_TOKENS[PAD_ID],
        padding_side="left",
        model_max_length=MAX_TOKENS,
        clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE,
    ).save_pretrained(folder)
    config = transformers.Qwen3Config(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=MAX_TOKENS,
        tie_word_embeddings=False,
        initializer_range=0.02,
        bos_token_id=None,
        eos_token_id=END_ID,
        pad_token_id=PAD_ID,
    )
    with torch.random.fork_rng(devices=[]):  # a caller's own random numbers stay as they were
        torch.manual_seed(SEED)
        model = transformers.Qwen3ForCausalLM(config).to(torch.bfloat16)
    model.generation_config = transformers.GenerationConfig(eos_token_id=END_ID, pad_token_id=PAD_ID)
    model.save_pretrained(folder)


def trained_tokenizer(special_tokens: Sequence[str] = SPECIAL_TOKENS) -> Any:
    """Return a tokenizer of VOCABULARY tokens, the special ones first (a `tokenizers.Tokenizer`)."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    library = Path(sysconfig.get_paths()["stdlib"])
    sources = [str(path) for path in sorted(library.glob("*.py")) + sorted(library.glob("json/*.py"))]
    if not sources:
        raise ServerError(f"no Python sources under {library} to train a tokenizer on", cure="use a complete Python")
    tokenizer = Tokenizer(models.BPE())
    # Digit by digit: an integer in constrained JSON then never meets a token that holds several digits.
    digits, byte_level = pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(special_tokens),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train(sources, trainer)
    return tokenizer


def main(argv: list[str]) -> int:
    """Write the model to `argv[0]` and print where it is."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # it warns of a class default that ours replaces
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    try:
        if len(argv) != 1 or argv[0].startswith("-"):
            raise UsageError("one folder is wanted", cure="python -m analyze.tiny_model OUT")
        print(write_model(Path(argv[0])))
    except AnalyzeError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
