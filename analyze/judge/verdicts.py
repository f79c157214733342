"""Turns the text of a reply into a verdict, or says why it is none. Knows nothing of tasks, orders or servers.

Everything here speaks of A and B, as the judge saw them; who A was is a matter of the cell (`folding`). A reply is
complete, valid and unrefused, or it is a ReplyError: nothing is repaired, guessed or defaulted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import orjson

from analyze.errors import AnalyzeError
from analyze.judge.labels import DIMENSIONS
from analyze.judge.schema import reply_schema

if TYPE_CHECKING:
    from jsonschema_rs import Validator

ReplyErrorKind = Literal["truncated", "schema", "refused"]

_THOUGHT = re.compile(r".*?</think>\s*(?=\{)", re.DOTALL)


class ReplyError(AnalyzeError):
    """A reply that is no verdict. `kind` says in which way."""

    def __init__(self, kind: ReplyErrorKind, message: str) -> None:
        super().__init__(message)
        self.kind: ReplyErrorKind = kind


@dataclass(frozen=True, slots=True)
class Verdict:
    """One valid reply. Digits run from 1 (B much better) over 3 (equal) to 5 (A much better)."""

    digit: int
    dimensions: Mapping[str, int]
    requirements: tuple[str, ...]
    analysis_a: str
    analysis_b: str
    evidence: Mapping[str, str]
    strengths_a: tuple[str, ...]
    weaknesses_a: tuple[str, ...]
    strengths_b: tuple[str, ...]
    weaknesses_b: tuple[str, ...]
    issues_a: tuple[str, ...]
    issues_b: tuple[str, ...]
    reason: str

    @property
    def contradictory(self) -> bool:
        """The overall verdict names one side, the mean of the dimensions the other. Equal contradicts nothing."""
        lean = sum(self.dimensions.values()) - 3 * len(self.dimensions)
        return lean * (self.digit - 3) < 0


@dataclass(frozen=True, slots=True)
class CellFailure:
    """A judgement that did not come about: the request failed, or its reply was no verdict."""

    kind: str
    message: str


Reply = Verdict | CellFailure


def parse_reply(text: str | None, finish_reason: str | None) -> Verdict:
    """Return the verdict in a reply's text. Thinking before the JSON object is passed over.

    Raises ReplyError: `refused` for a filtered or empty reply, `truncated` for one that did not end by itself,
    `schema` for one that is no JSON of the agreed form.
    """
    if finish_reason == "content_filter":
        raise ReplyError("refused", "the reply was withheld by a content filter")
    if finish_reason != "stop":
        raise ReplyError("truncated", f"the reply ended with finish_reason {finish_reason!r}, not 'stop'")
    if text is None or not text.strip():
        raise ReplyError("refused", "the reply is empty")
    return verdict_from_json(_json_object(_without_thought(text)))


def verdict_from_json(reply: object) -> Verdict:
    """Return the verdict in a parsed reply. Raises ReplyError `schema` where it is not of the agreed form."""
    error = next(_validator().iter_errors(reply), None)
    if error is not None:
        path = ".".join(str(step) for step in error.instance_path) or "the reply"
        raise ReplyError("schema", f"{path}: {error.message[:200]}")
    return _verdict(reply)  # type: ignore[arg-type]  # the validator has just shown that it is an object


def _verdict(reply: Mapping[str, Any]) -> Verdict:
    dimensions = reply["dimensions"]
    return Verdict(
        digit=int(reply["overall"]),
        dimensions={name: int(dimensions[name]["verdict"]) for name in DIMENSIONS},
        requirements=tuple(reply["requirements"]),
        analysis_a=reply["analysis_a"],
        analysis_b=reply["analysis_b"],
        evidence={name: dimensions[name]["evidence"] for name in DIMENSIONS},
        strengths_a=tuple(reply["strengths_a"]),
        weaknesses_a=tuple(reply["weaknesses_a"]),
        strengths_b=tuple(reply["strengths_b"]),
        weaknesses_b=tuple(reply["weaknesses_b"]),
        issues_a=tuple(reply["issues_a"]),
        issues_b=tuple(reply["issues_b"]),
        reason=reply["overall_reason"],
    )


def _without_thought(text: str) -> str:
    """Drop a reasoning model's thinking. Some templates open `<think>` in the prompt, so only its end is looked for.

    A reply that begins with its object is left alone: there `</think>` is text inside a string.
    """
    text = text.strip()
    return text if text.startswith("{") else _THOUGHT.sub("", text, count=1)


def _json_object(text: str) -> object:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ReplyError("schema", f"the reply is no JSON: {error}") from None


@cache
def _validator() -> Validator:
    from jsonschema_rs import validator_for

    return validator_for(reply_schema())
