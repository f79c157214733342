"""Is a structured answer what was asked for? A constraint is verified, never trusted. Knows nothing of any one schema.

A server may answer 200 with `finish_reason: "stop"` and still break the schema: old `guided_json` fields are ignored
silently, and so are `not` and `if` in a schema. Such a row is asked once more, and told what was wrong.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from analyze.errors import ConstraintIgnoredError
from analyze.inert import inert
from analyze.records import Answer, Body, Failure, FailureKind, Outcome, Request, from_json, to_json

RAW_SHOWN = 300
RAW_TOLD = 2000

ONCE_MORE = "That does not follow the required JSON schema: {problem}. Give the whole answer again, as JSON that does."


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


class ReplyCheck:
    """Checks structured answers against their schemas. A schema is compiled once (jsonschema-rs: 0.7 us a reply)."""

    def __init__(self) -> None:
        self._validators: dict[bytes, Any] = {}
        self._verified: set[bytes] = set()  # schemas that some reply of this run has satisfied

    def __call__(self, request: Request, outcome: Outcome) -> Outcome:
        """Return the answer, or the failure that it is: declined, cut short, no JSON, against its schema.

        Raises ConstraintIgnoredError when the first reply to a schema shows that the server does not apply it.
        """
        if isinstance(outcome, Failure) or (schema := _schema_of(request.body)) is None:
            return outcome
        key = to_json(schema)
        problem = self._problem(outcome, key, schema)
        if problem is None:
            self._verified.add(key)
            return outcome
        kind, message = problem
        if kind == "schema" and key not in self._verified and not self._fits_loosely(outcome.text, key, schema):
            raise ConstraintIgnoredError(
                f"{outcome.instance or 'the server'} does not apply the schema of row {request.id}: {message}; "
                f"it said: {outcome.text[:RAW_SHOWN]!r}",
                cure="start vLLM with --structured-outputs-config (start_vllm.sh does), or check the model's support",
            )
        return Failure(
            outcome.id,
            outcome.asked,
            kind,
            message,
            outcome.instance,
            outcome.attempts,
            raw=outcome.text,
            custom_id=outcome.custom_id,
        )

    def _problem(self, answer: Answer, key: bytes, schema: dict[str, Any]) -> tuple[FailureKind, str] | None:
        """Return what is wrong with the first choice that is not as asked; None when all are."""
        for choice in answer.body.get("choices") or [{}]:
            message = choice.get("message") or {}
            if message.get("refusal"):
                return "refused", str(message["refusal"])
            if choice.get("finish_reason") != "stop":
                return "truncated", f"finish_reason is {choice.get('finish_reason')!r}, not 'stop'"
            try:
                value = from_json(choice.get("text") or message.get("content") or "")
            except ValueError as error:
                return "schema", f"no JSON: {error}"
            violation = self._violation(key, schema, value)
            if violation is not None:
                return "schema", violation
        return None

    def _fits_loosely(self, text: str, key: bytes, schema: dict[str, Any]) -> bool:
        """Whether the schema was applied and only a control character inside a string spoils the JSON.

        xgrammar lets them through where a string is bounded by maxLength: 9 of 60 replies at temperature 1.
        """
        try:
            value = json.loads(text, strict=False)
        except (ValueError, RecursionError):
            return False
        return self._violation(key, schema, value) is None

    def _violation(self, key: bytes, schema: dict[str, Any], value: object) -> str | None:
        import jsonschema_rs

        if key not in self._validators:
            try:
                self._validators[key] = jsonschema_rs.validator_for(schema)
            except (ValueError, jsonschema_rs.ReferencingError):
                self._validators[key] = None  # not a schema: the server has said so, or applied its own idea of it
        validator = self._validators[key]
        error = None if validator is None else next(validator.iter_errors(value), None)
        return None if error is None else f"{error.message} at {'/'.join(map(str, error.instance_path)) or 'the top'}"


def _schema_of(body: Body) -> dict[str, Any] | None:
    wanted = body.get("response_format")
    if isinstance(wanted, Mapping) and wanted.get("type") == "json_schema":
        form = wanted.get("json_schema")
        schema = form.get("schema") if isinstance(form, Mapping) else None
        return schema if isinstance(schema, dict) else None
    constraint = body.get("structured_outputs")
    schema = constraint.get("json") if isinstance(constraint, Mapping) else None
    return schema if isinstance(schema, dict) else None
