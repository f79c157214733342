"""The tiny model: the same bytes each time, whole or absent, a chat template for what OpenAI clients send."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from analyze.errors import ServerError
from analyze.tiny_model import MAX_TOKENS, write_model

from .test_real_vllm import needs_vllm


@pytest.mark.vllm
@needs_vllm
def test_two_runs_write_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        subprocess.run([sys.executable, "-m", "analyze.tiny_model", str(tmp_path / name)], check=True, timeout=600)

    first, second = ({file.name: file.read_bytes() for file in (tmp_path / name).iterdir()} for name in ("a", "b"))
    assert first == second and {"config.json", "model.safetensors", "tokenizer.json"} <= first.keys()
    assert sum(map(len, first.values())) < 1_000_000
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b"}, "no half-made folder is left"


@pytest.mark.vllm
@needs_vllm
def test_the_chat_template_takes_text_and_parts(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(write_model(tmp_path / "model"))
    parts = [{"type": "text", "text": "你"}, {"type": "text", "text": "好"}]
    messages = [{"role": "system", "content": "a\n b "}, {"role": "user", "content": parts}]

    shown = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)

    assert shown == "<|im_start|>system\na\n b <|im_end|>\n<|im_start|>user\n你好<|im_end|>\n<|im_start|>assistant\n"
    assert tokenizer.decode(tokenizer.encode("你好, 1234\n\t\x00")) == "你好, 1234\n\t\x00"
    assert tokenizer.model_max_length == MAX_TOKENS


def test_a_model_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    assert write_model(tmp_path / "model") == tmp_path / "model" and not list((tmp_path / "model").iterdir())


def test_where_it_cannot_be_written_nothing_is_left_and_the_cure_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)  # importing it now fails, as where it is not installed

    with pytest.raises(ServerError, match="cannot be written") as error:
        write_model(tmp_path / "model")
    assert error.value.cure and not list(tmp_path.iterdir())


def test_importing_it_imports_nothing_heavy() -> None:
    program = (
        "import sys, analyze.servers, analyze.tiny_model; print({'torch', 'transformers', 'openai'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
