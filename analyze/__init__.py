"""Push a large batch of LLM work through several vLLM servers on your own GPUs, and get results you can trust."""

from analyze._version import __version__

__all__ = ["__version__"]
