"""Over how many GPUs can a model be spread? Only where they divide its attention heads. Standard library only.

vLLM gives each GPU an equal number of heads, and fails minutes after the start where that is none (vllm#414, #4232).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from analyze.errors import UsageError

MOST_GPUS = 16


def attention_heads(model: str, environ: Mapping[str, str] = os.environ) -> int | None:
    """Return how many attention heads a model has: of a folder, or of what was downloaded from the Hugging Face hub.

    None where it is not here yet, or does not say.
    """
    for folder in (Path(model), *_downloaded(model, environ)):
        try:
            config = json.loads((folder / "config.json").read_bytes())
        except (OSError, ValueError):
            continue
        for part in (config.get("text_config"), config.get("llm_config"), config):
            if isinstance(part, dict) and isinstance(heads := part.get("num_attention_heads"), int):
                return heads
    return None


def _downloaded(model: str, environ: Mapping[str, str]) -> list[Path]:
    home = environ.get("HF_HOME") or os.path.join(os.path.expanduser("~"), ".cache", "huggingface")
    hub = Path(environ.get("HF_HUB_CACHE") or os.path.join(home, "hub"))
    name = f"models--{model.replace('/', '--')}"
    return sorted((hub / name / "snapshots").glob("*")) if model.count("/") == 1 else []


def refuse_uneven(model: str, heads: int | None, size: int, gpus: int) -> None:
    """Raise UsageError where `size` GPUs do not divide the heads of a model, naming what works with `gpus` of them."""
    if not heads or heads % size == 0:
        return
    fitting = [str(one) for one in range(1, MOST_GPUS + 1) if heads % one == 0]
    here = max(one for one in range(1, max(1, min(size, gpus)) + 1) if heads % one == 0)
    raise UsageError(
        f"{model} has {heads} attention heads, which {size} GPUs cannot share equally; these can: {', '.join(fitting)}",
        cure=f"TENSOR_PARALLEL_SIZE={here}, without GPU_GROUPS: as many instances of that size as there are GPUs for",
    )
