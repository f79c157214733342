"""What is written of a row: a line of `results/infer`.

    {"index", "task", "source": {"file", "row"}, "org_data", "messages" | "prompt", "response", "responses"?,
     "reasoning"?, "finish_reason", "usage", "status", "error",
     and what a run must know (`runs.lines`): "id", "asked", "failed", "instance", "attempts", "latency_s"}
`status` is `ok`, or `error` with the reason in `error` and its kind in `failed`; `response` is then null. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from analyze.infer.rows import Asked
from analyze.records import Answer, Failure, Outcome, Request
from analyze.runs.lines import RecordLines
from analyze.runs.replies import Ask
from analyze.tokens import unguarded_cure, unguarded_in, unguarded_message

Record = dict[str, Any]

FIRST = "index"
PROMPTS = ("messages", "prompt")
PlaceOf = Callable[[int], Mapping[str, Any]]
"""Says of a row by its place among all: index, task, source."""


def lines(place_of: PlaceOf) -> RecordLines:
    """Return how records are written."""

    def fields(request: Request, outcome: Outcome) -> Mapping[str, Any]:
        row: Asked = request.row
        prompt = {name: request.body[name] for name in PROMPTS if name in request.body}
        told = _answered(outcome) if isinstance(outcome, Answer) else _failed(outcome)
        return {**place_of(row.at), "org_data": row.org_data, **prompt, **told}

    return RecordLines(FIRST, fields)


READ_ONLY = RecordLines(FIRST, lambda request, outcome: {})
"""For whoever reads records and writes none."""


def _answered(answer: Answer) -> Record:
    usage = answer.usage
    told: Record = {"response": answer.text}
    choices = answer.body.get("choices") or []
    if len(choices) > 1:
        told["responses"] = [_text(choice) for choice in choices]
    if answer.reasoning is not None:
        told["reasoning"] = answer.reasoning
    tokens = {"prompt": usage.get("prompt_tokens"), "completion": usage.get("completion_tokens")}
    return {**told, "finish_reason": answer.finish_reason, "usage": tokens, "status": "ok", "error": None}


def _text(choice: Mapping[str, Any]) -> str:
    return str(choice.get("text") or (choice.get("message") or {}).get("content") or "")


def _failed(failure: Failure) -> Record:
    raw = {} if failure.raw is None else {"raw_output": failure.raw}
    return {
        "response": None,
        **raw,
        "finish_reason": None,
        "usage": None,
        "status": "error",
        "error": failure.message,
    }


class Guard:
    """Goes around an asking (`runs.replies.Around`): a chat that holds a control token of the model is not asked."""

    def __init__(self) -> None:
        self._tokens: Collection[str] = ()
        self._model: str | None = None

    def refuse(self, tokens: Collection[str], model: str | None) -> None:
        """Refuse from now on every chat that holds one of these control tokens of the model: see `tokens`."""
        self._tokens, self._model = tokens, model

    def __call__(self, ask: Ask) -> Ask:
        async def asked(request: Request) -> Outcome:
            if self._tokens and (token := self._token_in(request)) is not None:
                problem = f"{unguarded_message(token, self._model)}; {unguarded_cure(token)}"
                return Failure(request.id, request.asked, "invalid", problem)
            return await ask(request)

        return asked

    def _token_in(self, request: Request) -> str | None:
        texts = (message.get("content") for message in request.body.get("messages") or ())
        return unguarded_in("\n".join(text for text in texts if isinstance(text, str)), self._tokens)
