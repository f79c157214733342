"""A judge and an author of one family are recognised by their names."""

from __future__ import annotations

import pytest

from analyze.judge.families import families, same_family


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("Qwen/Qwen3-Coder-30B-A3B-Instruct", "qwen"),
        ("CodeQwen1.5-7B-Chat", "qwen"),
        ("QwQ-32B", "qwen"),
        ("meta-llama/Meta-Llama-3.1-8B-Instruct", "llama"),
        ("codellama/CodeLlama-34b", "llama"),
        ("deepseek-ai/DeepSeek-V3", "deepseek"),
        ("gpt-4o-mini", "gpt"),
        ("openai/o1-preview", "gpt"),
        ("o3-mini", "gpt"),
        ("claude-3-5-sonnet", "claude"),
        ("gemini-1.5-pro", "gemini"),
        ("google/gemma-2-9b-it", "gemma"),
        ("Mixtral-8x7B", "mistral"),
        ("mistralai/Codestral-22B-v0.1", "mistral"),
        ("THUDM/glm-4-9b-chat", "glm"),
        ("chatglm3-6b", "glm"),
        ("01-ai/Yi-1.5-34B", "yi"),
        ("microsoft/phi-4", "phi"),
        ("internlm2_5-7b-chat", "internlm"),
        ("Baichuan2-13B", "baichuan"),
        ("moonshotai/Kimi-K2", "kimi"),
        ("MiniMax-M1-80k", "minimax"),
        ("/models/team/Qwen2.5-7B/", "qwen"),
    ],
)
def test_a_name_says_its_family(name: str, family: str) -> None:
    assert families(name) == {family}


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("ollama/mistral", "mistral"),
        ("ollama_chat/qwen2.5-coder:7b", "qwen"),
        ("mistral:7b (Ollama)", "mistral"),
        ("ollama/llama3.1", "llama"),
        ("llama.cpp/gemma-2-9b-it-Q4_K_M.gguf", "gemma"),
        ("llama-cpp-python/phi-4", "phi"),
        ("llamafile/mixtral", "mistral"),
        ("gemini/gemma-3-27b-it", "gemma"),
        ("hosted_vllm/Qwen3-8B", "qwen"),
        ("openrouter/qwen/qwen3-coder", "qwen"),
        ("together_ai/deepseek-v3", "deepseek"),
        ("TheBloke/CodeLlama-13B-GGUF", "llama"),
        ("unsloth/gemma-2-9b-bnb-4bit", "gemma"),
        ("bartowski/Mistral-Small-GGUF", "mistral"),
        ("lmstudio-community/Qwen2.5-7B-GGUF", "qwen"),
        ("mlx-community/glm-4-9b-4bit", "glm"),
        ("nvidia/Qwen3-30B-A3B-FP4", "qwen"),
        ("RedHatAI/gemma-3-27b-it-quantized.w4a16", "gemma"),
    ],
)
def test_who_serves_or_re_uploads_a_model_is_not_its_family(name: str, family: str) -> None:
    assert families(name) == {family}


@pytest.mark.parametrize("name", ["ollama/my-judge", "ollama", "llama.cpp/model.gguf", "vllm/judge", "unsloth/judge"])
def test_a_runtime_alone_says_nothing(name: str) -> None:
    assert families(name) == frozenset()


def test_where_a_name_says_nothing_its_owner_does() -> None:
    assert families("Qwen/judge-v2") == {"qwen"}


@pytest.mark.parametrize("name", ["", "human", "model-a", "tiny-random", "dolphin", "Sophia", "yield", "/", "claus"])
def test_an_unknown_name_is_of_no_family(name: str) -> None:
    assert families(name) == frozenset()


def test_a_folder_far_up_says_nothing_of_the_model() -> None:
    assert families("/home/claude/models/gemma-2") == {"gemma"}


def test_a_distilled_model_is_kin_of_both() -> None:
    distilled = "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B"
    assert same_family(distilled, "qwen2.5-72b") and same_family("deepseek-chat", distilled)
    assert not same_family(distilled, "gpt-4o") and not same_family("human", "human")
