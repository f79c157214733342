"""Which family of models a name speaks of: a judge favours its own kin. Knows names, and nothing else of a model.

Names are all there is to go by (`Qwen/Qwen3-8B`, `gpt-4o-mini`, `/models/my-llama`). A model distilled from one family
into another is of both. Who serves or re-uploads a model is not its family: of `ollama/mistral` and `gemini/gemma-3`
the part behind the slash tells. No known word in a name means that nothing is known, not that the two are strangers.
"""

from __future__ import annotations

import re

# Family: the words that name it. Words of up to three letters must stand alone, longer ones may be part of another.
_WORDS = {
    "baichuan": "baichuan",
    "claude": "claude anthropic",
    "cohere": "cohere c4ai aya",
    "deepseek": "deepseek",
    "doubao": "doubao",
    "ernie": "ernie wenxin",
    "exaone": "exaone",
    "falcon": "falcon",
    "gemini": "gemini",
    "gemma": "gemma",
    "glm": "glm chatglm codegeex zhipu",
    "gpt": "gpt chatgpt openai o1 o3 o4",
    "granite": "granite",
    "grok": "grok",
    "hunyuan": "hunyuan",
    "internlm": "internlm",
    "kimi": "kimi moonshot",
    "llama": "llama vicuna",
    "minimax": "minimax",
    "mistral": "mistral mixtral ministral codestral devstral magistral mathstral pixtral",
    "nemotron": "nemotron",
    "olmo": "olmo",
    "phi": "phi",
    "qwen": "qwen qwq qvq tongyi",
    "starcoder": "starcoder santacoder bigcode",
    "yi": "yi",
}
_PATTERNS = {
    family: re.compile("|".join(rf"(?<![a-z]){word}(?![a-z])" if len(word) <= 3 else word for word in words.split()))
    for family, words in _WORDS.items()
}
# Programs that serve any family's models. Their names hold a family's: no other host's or re-uploader's does.
_RUNTIMES = re.compile(r"(?<![a-z])ollama|llama[._-]?cpp|llamafile|llama[._-]?swap")


def families(model: str) -> frozenset[str]:
    """Return the families that a model's name speaks of: the last part of a path, else the part before it."""
    parts = _RUNTIMES.sub("", model.lower()).rstrip("/").split("/")[-2:]
    return _families_in(parts[-1]) or _families_in(parts[0])


def _families_in(name: str) -> frozenset[str]:
    return frozenset(family for family, pattern in _PATTERNS.items() if pattern.search(name))


def same_family(judge: str, author: str) -> bool:
    """Tell whether two names speak of one family."""
    return not families(judge).isdisjoint(families(author))
