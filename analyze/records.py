"""What flows through a run: requests, answers, failures. Frozen and typed; knows nothing of files or sockets."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Literal, NamedTuple, get_args

import orjson

FailureKind = Literal[
    "invalid",  # the server refused the request as malformed (4xx)
    "too_long",  # prompt and answer do not fit the model's context
    "refused",  # no permission (401, 403), or the model declined
    "truncated",  # a structured answer was cut (finish_reason is not "stop")
    "schema",  # a structured answer is no JSON, or breaks its schema
    "server",  # no instance could answer: connections failed, or 5xx
    "timeout",  # no answer within the time given
    "poison",  # it was in flight each time that instances died
    "cancelled",  # interrupted before an answer came
]
FAILURE_KINDS: tuple[FailureKind, ...] = get_args(FailureKind)
TRANSIENT: frozenset[FailureKind] = frozenset({"server", "timeout", "cancelled"})
"""Failures that say something of the servers or the moment, not of the request: the next run asks again."""

CHAT_URL = "/v1/chat/completions"
COMPLETIONS_URL = "/v1/completions"

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One chat request as a user writes it; what is not given is left to the run.

    `options` are further fields of the OpenAI body: temperature, max_tokens, response_format ...
    `group` names requests that share a long prompt prefix.
    """

    messages: Sequence[Mapping[str, Any]]
    id: str | None = None
    group: str | None = None
    model: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def body(self) -> Body:
        model = {} if self.model is None else {"model": self.model}
        return {**model, "messages": [dict(message) for message in self.messages], **self.options}


class Request(NamedTuple):
    """One OpenAI request on its way: `id` is the row's, `asked` the SHA-256 of what is asked. Made for every row."""

    id: str
    asked: str
    url: str
    body: Body
    custom_id: str | None = None  # the row's own id, where it differs from `id` (duplicates are numbered)
    group: str | None = None
    row: Any = None  # what the row itself says, for whoever writes its record


@dataclass(frozen=True, slots=True)
class Answer:
    """A request that was answered. `body` is the server's reply, `instance` who gave it, `latency_s` in seconds."""

    id: str
    asked: str
    body: Body
    instance: str | None = None
    attempts: int = 1
    latency_s: float = 0.0
    custom_id: str | None = None

    @property
    def text(self) -> str:
        """The first choice's text; empty where there is none (embeddings, tool calls)."""
        choice = self._choice
        return str(choice.get("text") or (choice.get("message") or {}).get("content") or "")

    @property
    def reasoning(self) -> str | None:
        """What a thinking model thought, kept apart from its answer by the server (`reasoning_content` by old ones)."""
        message = self._choice.get("message") or {}
        thought = message.get("reasoning", message.get("reasoning_content"))
        return None if thought is None else str(thought)

    @property
    def finish_reason(self) -> str | None:
        return self._choice.get("finish_reason")

    @property
    def usage(self) -> Mapping[str, Any]:
        return self.body.get("usage") or {}

    @property
    def _choice(self) -> Mapping[str, Any]:
        choices = self.body.get("choices") or [{}]
        return choices[0] or {}


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that was not answered, and why. `raw` is the reply that could not be used, where there was one."""

    id: str
    asked: str
    kind: FailureKind
    message: str
    instance: str | None = None
    attempts: int = 0
    status_code: int | None = None
    raw: str | None = None
    custom_id: str | None = None

    @property
    def transient(self) -> bool:
        return self.kind in TRANSIENT


Outcome = Answer | Failure


def to_json(value: object) -> bytes:
    """Return `value` as one line of JSON. Lone surrogates, which UTF-8 cannot hold, are written as escapes.

    Raises ValueError for NaN and for nesting that no reader would take.
    """
    try:
        return orjson.dumps(value)
    except (TypeError, orjson.JSONEncodeError):
        try:
            return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
        except RecursionError:
            raise ValueError("nested too deeply") from None


def from_json(text: str | bytes) -> Any:
    """Read JSON as models and servers write it: lone surrogates and NaN too, which a strict reader refuses.

    Raises ValueError for everything that cannot be read, nesting without end included.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        try:
            return json.loads(text)
        except RecursionError:
            raise ValueError("nested too deeply") from None


def asked_of(body: Mapping[str, Any], url: str = CHAT_URL, sample: int = 0) -> str:
    """Return the SHA-256 (hex) of what a request asks: its URL, its body, its sample number.

    Never of addresses, concurrency or position, so that those may change between two runs. The order of the body's
    own fields does not matter; inside them it does, since a schema is answered in the order of its properties.
    """
    return sha256(to_json([url, {name: body[name] for name in sorted(body)}, sample])).hexdigest()
