"""How answers are made: what a request may wish for, checked. What cannot be granted is refused, not ignored. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from analyze.records import Body

GRANTED = {
    "model",
    "messages",
    "prompt",
    "max_tokens",
    "min_tokens",
    "n",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repetition_penalty",
    "stop",
    "structured_outputs",
    "logprobs",
    "top_logprobs",
    "logprob_token_ids",
    "return_tokens_as_token_ids",
    "chat_template_kwargs",
}
"""The fields of a request that are honoured; one that has others is refused."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How answers are made. Rows that are answered together have it in common.

    `max_tokens` None: as many as fit. `temperature` 0: the likeliest token, always. `top_logprobs` None: log-
    probabilities are not wanted. `token_ids`: whose they are wanted, if not of the likeliest tokens; `as_ids`: tokens
    are called by their numbers. `top_k` 0: all tokens. `n`: answers a row.
    """

    max_tokens: int | None = None
    temperature: float = 1.0
    regex: str | None = None
    top_logprobs: int | None = None
    token_ids: tuple[int, ...] = ()
    as_ids: bool = False
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    min_tokens: int = 0
    stop: tuple[str, ...] = ()
    n: int = 1

    @classmethod
    def of(cls, body: Body) -> Sampling:
        """Read it from a request. Raises ValueError for what cannot be granted."""
        refused = sorted(body.keys() - GRANTED)
        constraint = body.get("structured_outputs") or {}
        refused += sorted(f"structured_outputs.{name}" for name in constraint.keys() - {"regex"})
        refused += sorted(set(map(_kind, _parts(body))) - {"text"})
        if refused:
            raise ValueError(f"the engine hf cannot grant {', '.join(refused)}")
        temperature, max_tokens = body.get("temperature"), body.get("max_tokens")
        if temperature is not None and temperature < 0:
            raise ValueError(f"the temperature is {temperature}, less than 0")
        stop, n = body.get("stop") or (), int(body.get("n") or 1)
        made = cls(
            None if max_tokens is None else int(max_tokens),
            1.0 if temperature is None else float(temperature),
            constraint.get("regex"),
            int(body.get("top_logprobs") or 0) if body.get("logprobs") else None,
            tuple(map(int, body.get("logprob_token_ids") or ())),
            bool(body.get("return_tokens_as_token_ids")),
            top_p=float(body.get("top_p", 1.0)),
            top_k=max(0, int(body.get("top_k", 0))),
            min_p=float(body.get("min_p", 0.0)),
            repetition_penalty=float(body.get("repetition_penalty", 1.0)),
            min_tokens=int(body.get("min_tokens", 0)),
            stop=(stop,) if isinstance(stop, str) else tuple(stop),
            n=n,
        )
        if n > 1 and (made.temperature == 0 or made.top_logprobs is not None):
            raise ValueError("several answers a row need a temperature above 0, and come without log-probabilities")
        return made


def _parts(body: Body) -> list[Any]:
    """Return the parts of all messages that come in parts: a template may drop an image and say nothing."""
    contents = (message.get("content") for message in body.get("messages") or ())
    return [part for content in contents if isinstance(content, list) for part in content]


def _kind(part: Any) -> str:
    if isinstance(part, dict):
        return str(part.get("type"))
    return "text" if isinstance(part, str) else type(part).__name__
