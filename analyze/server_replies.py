"""What a server's reply means: is its JSON the whole answer, what does an error say, what do /models and /metrics tell.

Pure readers of bytes that may hold anything. Knows no socket, no instance, no retry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import isfinite
from typing import Any

import orjson

from analyze.fleet import Model
from analyze.records import Body, FailureKind, from_json
from analyze.watch import Sample


def whole_body(raw: bytes, url: str) -> Body:
    """Return the JSON object that answers a request to `url` (as `/v1/chat/completions`).

    Raises ValueError, saying why, where it is none: not JSON, an error in place of an answer, an answer that lacks
    what the URL's answers consist of, or a generation that the server aborted.
    """
    body = from_json(raw)
    if not isinstance(body, dict):
        raise ValueError("no JSON object")
    if body.get("error") is not None:
        raise ValueError(f"an error in place of an answer: {error_message(raw)}")
    if not isinstance(body.get("usage") or {}, dict):
        raise ValueError("usage is no object")
    for ending, check in _CHECKS.items():
        if url.endswith(ending):
            check(body)
            break
    return body


def _chat(body: Body) -> None:
    for choice in _objects(body, "choices"):
        message = choice.get("message")
        if not isinstance(message, dict) or not isinstance(message.get("content") or "", str):
            raise ValueError("a choice without a message")
        _finished(choice)


def _completion(body: Body) -> None:
    for choice in _objects(body, "choices"):
        if not isinstance(choice.get("text"), str):
            raise ValueError("a choice without a text")
        _finished(choice)


def _finished(choice: Body) -> None:
    if choice.get("finish_reason") == "abort":
        raise ValueError("the server aborted the generation")


def _embeddings(body: Body) -> None:
    _objects(body, "data")


def _response(body: Body) -> None:
    if not isinstance(body.get("output"), list):
        raise ValueError("no output")


_CHECKS: dict[str, Callable[[Body], None]] = {  # the first ending that fits counts
    "/chat/completions": _chat,
    "/completions": _completion,
    "/embeddings": _embeddings,
    "/responses": _response,
}


ANSWERED_IN_JSON = frozenset(_CHECKS)
"""Paths after the base URL whose answers `whole_body` knows."""


def _objects(body: Body, name: str) -> list[dict[str, Any]]:
    found = body.get(name)
    if not isinstance(found, list) or not found or not all(isinstance(item, dict) for item in found):
        raise ValueError(f"no {name}")
    return found


def kind_of_refusal(status: int, raw: bytes) -> tuple[FailureKind, str]:
    """Return the kind of failure that an HTTP error is, and the server's own words."""
    message = error_message(raw) or f"HTTP {status}"
    if status in (401, 403):
        return "refused", message
    if status >= 500 or status in (408, 429):
        return "server", f"HTTP {status}: {message}"
    too_long = "maximum context length" in message or "maximum model length" in message
    return ("too_long" if too_long else "invalid"), message


def error_message(raw: bytes) -> str:
    """Return the message in an error's JSON, else the first 500 bytes as they are."""
    try:
        error = orjson.loads(raw)
    except orjson.JSONDecodeError:
        error = None
    if isinstance(error, dict):
        error = error.get("error", error.get("detail", error))
    if isinstance(error, dict):
        error = error.get("message")
    return error if isinstance(error, str) else raw[:500].decode(errors="replace")


def retry_after_s(headers: Iterable[tuple[str, str]]) -> float | None:
    """Return Retry-After in seconds, None where it is missing, a date, or not a time to come."""
    text = next((value for name, value in headers if name.lower() == "retry-after"), "")
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if seconds > 0 else None


def models_of(raw: bytes) -> tuple[Model, ...]:
    """Return the models that /v1/models lists, by name. Raises ValueError where it lists none as OpenAI does."""
    try:
        cards = orjson.loads(raw)["data"]
        found = (Model(str(card["id"]), card.get("root"), card.get("max_model_len")) for card in cards)
        return tuple(sorted(found, key=lambda model: model.name))
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        raise ValueError("/models is not what an OpenAI server says") from None


_RUNNING, _WAITING = b"vllm:num_requests_running", b"vllm:num_requests_waiting"
_KV_CACHE = (b"vllm:kv_cache_usage_perc", b"vllm:gpu_cache_usage_perc")  # its name since vLLM 0.10, and before
_PREEMPTED = b"vllm:num_preemptions_total"
_MOVING = (b"vllm:generation_tokens_total", b"vllm:prompt_tokens_total", *_KV_CACHE)
_WANTED = frozenset((_RUNNING, _WAITING, _PREEMPTED, *_MOVING))


def sample_of(raw: bytes) -> Sample | None:
    """Return what vLLM's /metrics says, summed over its engines; None where it is no vLLM.

    Only six of some 500 lines are wanted, once a second from each server: a full parser takes 4 ms, this under one.
    """
    sums: dict[bytes, float] = {}
    kv_cache: list[float] = []
    for line in raw.split(b"\n"):
        if line.startswith(b"vllm:"):
            series, _, value = line.rpartition(b" ")
            name = series.partition(b"{")[0]
            if name in _WANTED:
                number = _number(value)
                sums[name] = sums.get(name, 0.0) + (number or 0.0)
                if number is not None and name in _KV_CACHE:
                    kv_cache.append(number)
    if _RUNNING not in sums:
        return None
    moving = tuple(sums[name] for name in _MOVING if name in sums)
    preempted = int(sums[_PREEMPTED]) if _PREEMPTED in sums else None
    return Sample(int(sums[_RUNNING]), int(sums.get(_WAITING, 0)), moving, max(kv_cache, default=None), preempted)


def _number(text: bytes) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if isfinite(value) else None
