"""What a server's reply means: whether its JSON is the whole answer, what an HTTP error says, how long to wait.

Pure readers of bytes that may hold anything. Knows no socket, no instance, no retry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import orjson

from analyze.records import Body, FailureKind, from_json


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
