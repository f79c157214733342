"""Label reads (`--mode label-read`): each label has a letter in the prompt, and how probable the letters are is read.

    A. medical  B. others  ─► one token, free of any constraint ─► A 0.90, B 0.05, whatever else 0.05

    probabilities   p(label) = exp(l) / Σ exp(l), l: the letters' log-probabilities ─► medical 0.947, others 0.053
    label mass      Σ exp(l)                                                        ─► 0.95
    confidence      p(label) · label mass: what the model gave to that letter       ─► 0.90

Under a constraint a model cannot say that no label fits; here it can, and the label mass tells. Nothing is guessed:
with a mass below LEAST_MASS a text has no label. vLLM's own /v1/systemone reads labels in this way, for a few models.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase, digits
from typing import Any, Protocol

from analyze.classify.labels import Labels
from analyze.classify.prompts import NO_THINKING, sampling
from analyze.classify.reading import Confidence
from analyze.errors import ConstraintIgnoredError, UsageError
from analyze.records import Answer, Body, Failure, Outcome, Request
from analyze.runs.replies import Ask

LETTERS = ascii_uppercase + digits
"""What labels can be called. Small letters are not among them: models mean the same by them as by capitals."""

LEAST_MASS = 0.5
"""Below it the model more probably wanted something else than any of the labels."""

FIELDS: Mapping[str, Any] = {
    **sampling(temperature=0.0, max_tokens=1),
    "logprobs": True,
    "return_tokens_as_token_ids": True,
}
"""Of a request, which gets the tokens when it is sent: what is asked is the same whatever tokenizer a model has."""

TOKEN = "token_id:{}"
"""How a server writes a token by its number (`return_tokens_as_token_ids`): two tokens may read alike."""


class TellsTokens(Protocol):
    """Whoever can say what tokens a reply would begin with."""

    async def reply_tokens(self, body: Body, texts: Sequence[str]) -> list[int] | None:
        """Return the token that each of `texts` is as the beginning of a reply to a chat; None where any is not one
        token of its own, or nobody tells."""


@dataclass(frozen=True, slots=True)
class NoOption(Failure):
    """The model more probably wanted something else than any label. `sure`: how the labels stand to each other."""

    sure: Confidence | None = None


class Letters:
    """The letters of some labels. It goes around each asking (`runs.replies.Around`) and reads the replies.

    `learn` has to be called before. Raises UsageError where the labels cannot be read so.
    """

    def __init__(self, labels: Labels) -> None:
        if labels.multi:
            raise UsageError(
                "--mode label-read reads one label a text, and --multi-label wants several",
                cure="leave out one of the two",
            )
        if len(labels.names) > len(LETTERS):
            raise UsageError(
                f"--mode label-read has letters for {len(LETTERS)} labels, and there are {len(labels.names)}",
                cure="leave out --mode label-read",
            )
        self._names = labels.names
        self._tokens: list[int] = []

    async def learn(self, asker: TellsTokens) -> None:
        """Find out which tokens the letters are. Raises UsageError where they cannot be read of this model."""
        body = {"messages": [{"role": "user", "content": "x"}], **NO_THINKING}
        tokens = await asker.reply_tokens(body, LETTERS[: len(self._names)])
        if tokens is None:
            raise UsageError(
                "--mode label-read needs letters that are one token each, and a server that tells which (/tokenize, "
                "/detokenize): this model's are not, or nobody tells",
                cure="leave out --mode label-read",
            )
        self._tokens = tokens

    def __call__(self, ask: Ask) -> Ask:
        async def asked(request: Request) -> Outcome:
            """Raises ConstraintIgnoredError where the letters' probabilities are not told."""
            outcome = await ask(request._replace(body={**request.body, "logprob_token_ids": self._tokens}))
            if isinstance(outcome, Failure):
                if outcome.kind == "invalid" and "logprob" in outcome.message:
                    raise _not_told(outcome, outcome.message)
                return outcome
            try:
                sure = self.read(outcome.body)
            except ValueError as error:
                raise _not_told(outcome, str(error)) from None
            return outcome if _mass(sure) >= LEAST_MASS else _no_option(outcome, sure)

        return asked

    def read(self, body: Body) -> Confidence:
        """Return how probable each label is by a reply. Raises ValueError where it does not tell."""
        told = _told(body)
        logs = [told.get(TOKEN.format(token)) for token in self._tokens]
        found = [value for value in logs if isinstance(value, int | float)]
        if len(found) < len(self._names):
            raise ValueError(f"it told those of {len(found)} of {len(self._names)}")
        mass = math.fsum(map(math.exp, (min(value, 1.0) for value in found)))
        if not mass <= 1.001:
            raise ValueError("what it told are no log-probabilities (--logprobs-mode of the server)")
        most = max(found)
        weights = [math.exp(value - most) for value in found]
        total = math.fsum(weights)
        probabilities = {name: weight / total for name, weight in zip(self._names, weights, strict=True)}
        mass = min(mass, 1.0)
        return Confidence("label_read", max(probabilities.values()) * mass, probabilities, mass)


def likeliest(probabilities: Mapping[str, float]) -> str:
    """Return the label that is given: of several that are equally probable the first."""
    return max(probabilities, key=lambda name: probabilities[name])


def _told(body: Body) -> dict[str, Any]:
    """Return the log-probabilities of the first token's alternatives, by token."""
    try:
        first = body["choices"][0]["logprobs"]["content"][0]
        return {one["token"]: one["logprob"] for one in first["top_logprobs"]}
    except (KeyError, IndexError, TypeError):
        return {}


def _mass(sure: Confidence) -> float:
    return sure.mass or 0.0


def _not_told(outcome: Outcome, problem: str) -> ConstraintIgnoredError:
    return ConstraintIgnoredError(
        f"{outcome.instance or 'the server'} does not tell the log-probabilities of the letters' tokens "
        f"(logprob_token_ids): {problem}",
        cure="serve the model with a newer vLLM (0.32 does), or leave out --mode label-read",
    )


def _no_option(answer: Answer, sure: Confidence) -> NoOption:
    told = (
        f"the model wanted something else than any of the labels: their probabilities come to {_mass(sure):.2g} "
        f"together, less than {LEAST_MASS:g}"
    )
    return NoOption(
        answer.id,
        answer.asked,
        "refused",
        told,
        answer.instance,
        answer.attempts,
        raw=answer.text,
        custom_id=answer.custom_id,
        sure=sure,
    )
