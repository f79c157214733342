"""Push a large batch of LLM work through several vLLM servers on your own GPUs, and get results you can trust.

The public names are loaded when they are first used: `import analyze` is instant and pulls in nothing heavy.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from analyze._version import __version__

if TYPE_CHECKING:
    from analyze.multi_vllm import AsyncMultiVLLMClient, MultiVLLMClient, create_multi_vllm_client
    from analyze.per_task import analyze_task, analyze_tasks_concurrent, analyze_tasks_parallel
    from analyze.pipeline import arun_pipeline, run_pipeline
    from analyze.records import Answer, ChatRequest, Failure
    from analyze.runs.asking import aask_many, ask_many

_HOMES = {
    "MultiVLLMClient": "multi_vllm",
    "AsyncMultiVLLMClient": "multi_vllm",
    "create_multi_vllm_client": "multi_vllm",
    "ask_many": "runs.asking",
    "aask_many": "runs.asking",
    "ChatRequest": "records",
    "Answer": "records",
    "Failure": "records",
    "run_pipeline": "pipeline",
    "arun_pipeline": "pipeline",
    "analyze_task": "per_task",
    "analyze_tasks_parallel": "per_task",
    "analyze_tasks_concurrent": "per_task",
}

__all__ = [
    "Answer",
    "AsyncMultiVLLMClient",
    "ChatRequest",
    "Failure",
    "MultiVLLMClient",
    "__version__",
    "aask_many",
    "analyze_task",
    "analyze_tasks_concurrent",
    "analyze_tasks_parallel",
    "arun_pipeline",
    "ask_many",
    "create_multi_vllm_client",
    "run_pipeline",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'analyze' has no attribute {name!r}")
    value = getattr(import_module(f"analyze.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
