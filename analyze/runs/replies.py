"""Is a structured answer what was asked for? A constraint is verified, never trusted. Knows nothing of any one schema.

A server may answer 200 with `finish_reason: "stop"` and still break the schema: old `guided_json` fields are ignored
silently, and so are `not` and `if` in a schema. Such a row is asked once more, and told what was wrong.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from analyze.errors import ConstraintIgnoredError
from analyze.inert import inert
from analyze.records import Answer, Body, Failure, FailureKind, Outcome, Request, from_json, to_json

RAW_SHOWN = 300
RAW_TOLD = 2000
PATTERN_SHOWN = 200

ONCE_MORE = (
    "That does not have the required form: {problem}. Give the whole answer again, in the form that is required."
)


Ask = Callable[[Request], Awaitable[Outcome]]
Around = Callable[[Ask], Ask]
"""Something done around each asking: to the request before, to the outcome after."""


def as_it_is(ask: Ask) -> Ask:
    return ask


async def ask_checked(ask: Ask, check: ReplyCheck, request: Request) -> Outcome:
    """Ask a row, and once more where its answer breaks the schema; raises as `ReplyCheck`."""
    first = check(request, await ask(request))
    again = _again(request, first)
    if again is None:
        return first
    second = check(again, await ask(again))
    told = second if isinstance(second, Answer) or second.raw is not None else first
    return replace(told, attempts=first.attempts + second.attempts)


def _again(request: Request, outcome: Outcome) -> Request | None:
    """Return the request that says what was wrong with its first answer; None where nothing was, or it is no chat.

    What the model said may repeat what it was shown: it comes back as text, never as control tokens.
    """
    messages = request.body.get("messages")
    if isinstance(outcome, Answer) or outcome.kind != "schema" or not isinstance(messages, list):
        return None
    reply = {"role": "assistant", "content": inert((outcome.raw or "")[:RAW_TOLD])}
    wish = {"role": "user", "content": ONCE_MORE.format(problem=inert(outcome.message))}
    return request._replace(body={**request.body, "messages": [*messages, reply, wish]})


Violation = Callable[[str], str | None]
"""Says what is wrong with the text of a reply; None where nothing is."""


class ReplyCheck:
    """Checks constrained answers: a schema (compiled once; jsonschema-rs: 0.7 us a reply), a pattern, or a choice."""

    def __init__(self) -> None:
        self._checks: dict[bytes, Violation] = {}
        self._verified: set[bytes] = set()  # constraints that some reply of this run has satisfied

    def __call__(self, request: Request, outcome: Outcome) -> Outcome:
        """Return the answer, or the failure that it is: declined, cut short, no JSON, against its constraint.

        Raises ConstraintIgnoredError when the first reply to one shows that the server does not apply it.
        """
        if isinstance(outcome, Failure) or (constraint := _constraint_of(request.body)) is None:
            return outcome
        kind, wanted = constraint
        key = to_json(constraint)
        if key not in self._checks:
            self._checks[key] = _CHECKS[kind](wanted)
        problem = _problem(outcome, self._checks[key])
        if problem is None:
            self._verified.add(key)
            return outcome
        failure, message = problem
        if key not in self._verified and self._is_ignored(failure, outcome.text, constraint):
            raise ConstraintIgnoredError(
                f"{outcome.instance or 'the server'} does not apply the {kind} of row {request.id}: {message}; "
                f"it said: {outcome.text[:RAW_SHOWN]!r}",
                cure="start vLLM with --structured-outputs-config (start_vllm.sh does), or check the model's support",
            )
        return Failure(
            outcome.id,
            outcome.asked,
            failure,
            message,
            outcome.instance,
            outcome.attempts,
            raw=outcome.text,
            custom_id=outcome.custom_id,
        )

    def _is_ignored(self, failure: FailureKind, text: str, constraint: tuple[str, Any]) -> bool:
        """Whether a reply shows that the server does not apply the constraint. Half a reply may show it too."""
        kind, wanted = constraint
        if failure == "truncated":
            return not _BEGINNINGS.get(kind, _any_text)(wanted, text)
        return failure == "schema" and not self._fits_loosely(text, kind, to_json(constraint))

    def _fits_loosely(self, text: str, kind: str, key: bytes) -> bool:
        """Whether the schema was applied and only a control character inside a string spoils the JSON.

        xgrammar lets them through where a string is bounded by maxLength: 9 of 60 replies at temperature 1.
        """
        if kind != "schema":
            return False
        try:
            value = json.loads(text, strict=False)
        except (ValueError, RecursionError):
            return False
        return self._checks[key](json.dumps(value)) is None


def _problem(answer: Answer, check: Violation) -> tuple[FailureKind, str] | None:
    """Return what is wrong with the first choice that is not as asked; None when all are."""
    for choice in answer.body.get("choices") or [{}]:
        message = choice.get("message") or {}
        if message.get("refusal"):
            return "refused", str(message["refusal"])
        if choice.get("finish_reason") != "stop":
            return "truncated", f"finish_reason is {choice.get('finish_reason')!r}, not 'stop'"
        violation = check(choice.get("text") or message.get("content") or "")
        if violation is not None:
            return "schema", violation
    return None


def _schema_check(schema: dict[str, Any]) -> Violation:
    import jsonschema_rs

    try:
        validator = jsonschema_rs.validator_for(schema)
    except (ValueError, jsonschema_rs.ReferencingError):
        validator = None  # not a schema: the server has said so, or applied its own idea of it

    def violation(text: str) -> str | None:
        try:
            value = from_json(text)
        except ValueError as error:
            return f"no JSON: {error}"
        broken = None if validator is None else next(validator.iter_errors(value), None)
        if broken is None:
            return None
        return f"{broken.message} at {'/'.join(map(str, broken.instance_path)) or 'the top'}"

    return violation


def _regex_check(pattern: str) -> Violation:
    try:
        compiled = re.compile(pattern)
    except re.error:  # in a dialect that Python does not read: the server's word has to do
        return lambda text: None
    return lambda text: None if compiled.fullmatch(text) else f"it does not match {pattern[:PATTERN_SHOWN]}"


def _choice_check(choices: list[str]) -> Violation:
    return lambda text: None if text in choices else f"it is none of {', '.join(map(repr, choices))[:PATTERN_SHOWN]}"


_CHECKS: dict[str, Callable[[Any], Violation]] = {
    "schema": _schema_check,
    "regex": _regex_check,
    "choice": _choice_check,
}


def _any_text(wanted: Any, text: str) -> bool:
    return True


def _begins_a_match(pattern: str, text: str) -> bool:
    import regex  # type: ignore[import-untyped]  # ships no types

    try:
        return regex.fullmatch(pattern, text, partial=True, timeout=1) is not None
    except (regex.error, TimeoutError):
        return True  # it cannot be told


def _begins_a_choice(choices: list[str], text: str) -> bool:
    return any(choice.startswith(text) for choice in choices)


_BEGINNINGS: dict[str, Callable[[Any, str], bool]] = {"regex": _begins_a_match, "choice": _begins_a_choice}
"""Says whether a text may be the beginning of what a constraint lets through."""


def _constraint_of(body: Body) -> tuple[str, Any] | None:
    """Return the kind of constraint of a body, and what it is; None without one that can be checked here."""
    wanted = body.get("response_format")
    if isinstance(wanted, Mapping) and wanted.get("type") == "json_schema":
        form = wanted.get("json_schema")
        schema = form.get("schema") if isinstance(form, Mapping) else None
        return ("schema", schema) if isinstance(schema, dict) else None
    constraint = body.get("structured_outputs")
    if not isinstance(constraint, Mapping):
        return None
    if isinstance(constraint.get("json"), dict):
        return "schema", constraint["json"]
    if isinstance(constraint.get("regex"), str):
        return "regex", constraint["regex"]
    if isinstance(constraint.get("choice"), list):
        return "choice", constraint["choice"]
    return None
