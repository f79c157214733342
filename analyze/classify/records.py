"""What is written of a text: its record, as a line of the output. The three keys of the seed come first, always.

    {"query", "label", "raw_output",
     "status", "error", "confidence", "confidence_kind", "probabilities", "label_mass", "flags", "finish_reason",
     "usage", "gold"?, "index", and what a run must know (`runs.lines`): "id", "asked", "failed", "instance", ...}

`status` is `ok`, `abstained` (a label was given, but not surely enough), or why there is none: `invalid`, `truncated`,
`too_long`, `error`. A text without a label has `null` there, never a guess. `invalid` is also where a model wanted
to say something else than any label (`letters`); then there are probabilities and their mass, but no confidence.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from analyze.classify.labels import Labels
from analyze.classify.letters import Letters, NoOption, likeliest
from analyze.classify.prompts import messages
from analyze.classify.reading import Confidence, Label, confidence_of, label_in_text, label_of
from analyze.inert import inert
from analyze.records import Answer, Failure, Outcome, Request
from analyze.runs.ids import content_id
from analyze.runs.inputs import Bad
from analyze.runs.lines import RecordLines
from analyze.runs.replies import Ask
from analyze.tokens import unguarded_cure, unguarded_in, unguarded_message

FIRST = "query"
GUESSED = "label found in free text"

_STATUS = {"schema": "invalid", "truncated": "truncated", "too_long": "too_long"}
_IDS = ("custom_id", "id")
_GOLD = "gold"


@dataclass(frozen=True, slots=True)
class Text:
    """One row: the text, what it was called by people (`gold`), and its place in the input, from 0.

    `problem` says why it cannot be asked about: it is not, and has a failure in its place.
    """

    query: str
    index: int
    gold: Any = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Maker:
    """Makes the request of a row (`runs.rows.RequestMaker`)."""

    prompt: str
    fields: Mapping[str, Any]
    query_field: str = FIRST
    gold_field: str | None = None

    def request(self, row: Any, number: int) -> Mapping[str, Any]:
        """Return the request of one row: a text, or an object that has one."""
        own, gold, query = None, None, row
        if isinstance(row, Mapping):
            own, gold, query = self._id(row), row.get(self.gold_field or _GOLD), row.get(self.query_field)
        if isinstance(query, str) and query.strip():
            body = {"messages": messages(self.prompt, query), **self.fields}
            return {"id": own or content_id(query), "body": body, "row": Text(query, number - 1, gold)}
        return self._unasked(row, own, Text("" if query is None else str(query), number - 1, gold, self._problem(row)))

    def unusable(self, bad: Bad, number: int) -> Mapping[str, Any]:
        return self._unasked(bad.raw, None, Text(bad.raw, number - 1, problem=bad.reason))

    def _unasked(self, row: Any, own: str | None, text: Text) -> Mapping[str, Any]:
        return {"id": own or content_id(row), "body": {"unusable": row}, "row": text}

    def _problem(self, row: Any) -> str:
        if isinstance(row.get(self.query_field) if isinstance(row, Mapping) else row, str):
            return "the text is empty"
        if not isinstance(row, Mapping):
            return f"a row must be a text, or an object that has one, not {type(row).__name__}"
        has = ", ".join(map(str, row))
        return f"it has no text in {self.query_field!r}; it has: {has} (--query-field names another)"

    def _id(self, row: Mapping[str, Any]) -> str | None:
        own = next((row[name] for name in _IDS if row.get(name) is not None), None)
        return None if own is None else str(own)


def lines(labels: Labels, abstain_below: float | None = None, letters: Letters | None = None) -> RecordLines:
    """Return how records are written. `abstain_below`: a label that is less sure than this is not given.

    `letters`: what reads the label, where it is not the reply that says it.
    """

    def fields(request: Request, outcome: Outcome) -> Mapping[str, Any]:
        text: Text = request.row
        told = _answered(outcome, labels, abstain_below, letters) if isinstance(outcome, Answer) else _failed(outcome)
        gold = {} if text.gold is None else {"gold": text.gold}
        return {"query": text.query, **told, **gold, "index": text.index}

    return RecordLines(FIRST, fields)


def _answered(answer: Answer, labels: Labels, abstain_below: float | None, letters: Letters | None) -> dict[str, Any]:
    label, flags, sure = _read(answer, labels) if letters is None else _read_letter(answer, letters)
    abstained = abstain_below is not None and sure is not None and sure.value < abstain_below
    return {
        "label": None if abstained else label,
        "raw_output": answer.text,
        "status": "abstained" if abstained else "ok",
        "error": None,
        **_how_sure(sure),
        "flags": flags,
        "finish_reason": answer.finish_reason,
        "usage": _usage(answer),
    }


Read = tuple[Label | None, list[str], Confidence | None]
"""A label, its flags, and how sure the model was."""


def _read(answer: Answer, labels: Labels) -> Read:
    choice = (answer.body.get("choices") or [{}])[0]
    sure = confidence_of((choice.get("logprobs") or {}).get("content"), labels)
    return *_label(answer.text, labels), sure


def _read_letter(answer: Answer, letters: Letters) -> Read:
    sure = letters.read(answer.body)
    return likeliest(sure.probabilities), [], sure


def _failed(failure: Failure) -> dict[str, Any]:
    unwanted = failure if isinstance(failure, NoOption) else None
    return {
        "label": None,
        "raw_output": None if failure.kind == "invalid" else failure.raw,
        "status": "invalid" if unwanted else _STATUS.get(failure.kind, "error"),
        "error": failure.message,
        **_how_sure(unwanted.sure if unwanted else None),
        "confidence": None,
        "flags": [],
        "finish_reason": None,
        "usage": None,
    }


def _label(text: str, labels: Labels) -> tuple[Label | None, list[str]]:
    label = label_of(text, labels)
    if label is not None:
        return label, []
    return label_in_text(text, labels), [GUESSED]


def _how_sure(sure: Confidence | None) -> dict[str, Any]:
    if sure is None:
        return {"confidence": None, "confidence_kind": "none", "probabilities": None, "label_mass": None}
    rounded = {name: round(value, 6) for name, value in sure.probabilities.items()}
    return {
        "confidence": round(sure.value, 6),
        "confidence_kind": sure.kind,
        "probabilities": rounded,
        "label_mass": None if sure.mass is None else round(sure.mass, 6),
    }


def _usage(answer: Answer) -> dict[str, Any]:
    usage = answer.usage
    details = usage.get("prompt_tokens_details") or {}
    return {
        "prompt": usage.get("prompt_tokens"),
        "cached": details.get("cached_tokens"),
        "completion": usage.get("completion_tokens"),
    }


class Asking:
    """Goes around an asking (`runs.replies.Around`): what cannot be asked about is not, and what has no label fails."""

    def __init__(self, labels: Labels, letters: Letters | None = None) -> None:
        self.labels, self.letters = labels, letters
        self._unguarded: tuple[Collection[str], str | None] = (), None

    def refuse(self, tokens: Collection[str], model: str | None) -> None:
        """Refuse from now on every text that holds one of these control tokens of the model: see `tokens`."""
        self._unguarded = tokens, model

    def _problem(self, text: Text) -> str | None:
        tokens, model = self._unguarded
        token = unguarded_in(inert(text.query), tokens)
        return text.problem if token is None else f"{unguarded_message(token, model)}; {unguarded_cure(token)}"

    def __call__(self, ask: Ask) -> Ask:
        async def asked(request: Request) -> Outcome:
            text: Text = request.row
            if (problem := self._problem(text)) is not None:
                return Failure(request.id, request.asked, "invalid", problem, raw=text.query)
            if self.letters is not None:
                return await self.letters(ask)(request)
            outcome = await ask(request)
            if isinstance(outcome, Failure) or "structured_outputs" in request.body:
                return outcome  # a constraint is checked behind this
            if _label(outcome.text, self.labels)[0] is not None:
                return outcome
            told = Failure(outcome.id, outcome.asked, "schema", "it names no label, or several", outcome.instance)
            return replace(told, attempts=outcome.attempts, raw=outcome.text, custom_id=outcome.custom_id)

        return asked
