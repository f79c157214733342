"""How sure the judge was: the probabilities of the five verdicts, read where a reply says which. Knows no server.

    log-probabilities of all tokens ──> verdict_only: of the one that holds the digit ──> reading: {1..5: p}

A server tells of every token it writes, when asked, how probable it and the next best were: 630 kB for a reply of
1,500 tokens. What is kept is the one token in which the overall verdict stands, in the body where it was found, so
that the body stays what OpenAI clients read.

vLLM 0.32 masks what the schema forbids before it takes log-probabilities, whatever its --logprobs-mode (`raw` is before
the temperature, not before the mask): the five digits then have all the mass. Other servers may tell of the
distribution without the mask; the legal mass, what the five digits have of it together, says how far.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from analyze.judge.schema import VERDICTS

LOGPROBS: dict[str, Any] = {"logprobs": True, "top_logprobs": 5}
"""What is asked for. Five are the five digits, where the schema is applied first; and as many as servers give: vLLM and
OpenAI give 20, several others 5. Each more is 60 bytes a token, and 0.02 ms of the server's time."""

MOST_UNKNOWN = 0.01
"""Of the legal mass: what may be elsewhere and still be a verdict. A score, 0 to 1, is wrong by no more than that."""

_OVERALL = re.compile(rb'"overall"\s*:\s*"([1-5])"')
_DIGITS = frozenset(b"0123456789")


@dataclass(frozen=True, slots=True)
class Reading:
    """The probabilities of the digits 1 to 5, their sum 1, at the place where the reply says `digit`.

    `legal_mass` is what the five had together before they were made to sum to 1.
    """

    digit: int
    probabilities: tuple[float, float, float, float, float]
    legal_mass: float

    @property
    def lean(self) -> float:
        """The expected verdict: Σ p·(d − 3)/4, from -1/2, B much better, to 1/2, A much better."""
        one, two, _, four, five = self.probabilities
        return ((five - one) * 2 + (four - two)) / 4


def verdict_only(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a reply's body with the log-probabilities of the overall verdict's token alone; with none if it has none.

    The token is found in the bytes of all tokens, whatever the cut between them: it is the one with the digit after
    the last `"overall":`. No string of a reply can hold that (the schema excludes double quotes), and what a model
    thinks comes before it. A body of which no more than one token is left stays as it is.
    """
    choice = _first_choice(body)
    if choice is None or choice.get("logprobs") is None or len(content := _content(choice)) == 1:
        return dict(body)
    found = _verdict_token(content)
    kept = None if found is None else {"content": [found]}
    return {**body, "choices": [{**choice, "logprobs": kept}, *body["choices"][1:]]}


def reading(body: Mapping[str, Any]) -> Reading | None:
    """Return what a body from `verdict_only` says of the five digits; None where it says nothing that is sure.

    A digit's token is the written one with another digit in its place. Nothing is read where more than 1 % of the
    legal mass may be elsewhere and a verdict all the same: in digits that are not listed (each has at most what the
    least of the listed has), or in tokens that begin the verdict otherwise (`"` where `"4` was written); where a
    token holds more than its digit's one number; nor from numbers that are no log-probabilities.
    """
    choice = _first_choice(body)
    content = [] if choice is None else _content(choice)
    if len(content) != 1 or (text := _text(content[0])) is None:
        return None
    numbers = [place for place, byte in enumerate(text) if byte in _DIGITS]
    masses = _masses(content[0], text)
    if len(numbers) != 1 or masses is None:
        return None
    before, digit, after = text[: numbers[0]], text[numbers[0] : numbers[0] + 1].decode(), text[numbers[0] + 1 :]
    tokens = [before + verdict.encode() + after for verdict in VERDICTS]
    legal = [masses.get(token, 0.0) for token in tokens]
    legal_mass = math.fsum(legal)
    if digit not in VERDICTS or _unknown(masses, tokens, before) > MOST_UNKNOWN * legal_mass or not legal_mass:
        return None
    one, two, three, four, five = (mass / legal_mass for mass in legal)
    return Reading(int(digit), (one, two, three, four, five), min(1.0, legal_mass))


def _unknown(masses: Mapping[bytes, float], tokens: Sequence[bytes], before: bytes) -> float:
    """Return the most that may be verdicts besides the listed tokens of the five."""
    unlisted = sum(token not in masses for token in tokens)
    hidden = min(unlisted * min(masses.values()), max(0.0, 1 - math.fsum(masses.values())))
    begun = tuple(before + verdict.encode() for verdict in VERDICTS)
    otherwise = [
        mass
        for token, mass in masses.items()
        if token and token not in tokens and (before.startswith(token) or token.startswith(begun))
    ]
    return hidden + math.fsum(otherwise)


def _masses(entry: Mapping[str, Any], text: bytes) -> dict[bytes, float] | None:
    """Return the probability of each text that is listed for a place; None where the numbers are none."""
    masses: dict[bytes, float] = {}
    alternatives = entry.get("top_logprobs")
    for alternative in alternatives if isinstance(alternatives, list) else ():
        token, mass = _text(alternative), _probability(alternative)
        if token is None or mass is None:
            return None
        masses[token] = masses.get(token, 0.0) + mass
    written = _probability(entry)
    if written is None:
        return None
    masses.setdefault(text, written)
    return masses if math.fsum(masses.values()) < 1.001 else None


def _probability(entry: Mapping[str, Any]) -> float | None:
    value = entry.get("logprob")
    return math.exp(value) if isinstance(value, int | float) and value < 0.001 else None


def _verdict_token(content: Sequence[Any]) -> Mapping[str, Any] | None:
    texts = [_text(entry) for entry in content]
    known = [text for text in texts if text is not None]
    if len(known) < len(texts):
        return None
    places = [found.start(1) for found in _OVERALL.finditer(b"".join(known))]
    if not places:
        return None
    token: Mapping[str, Any] = content[bisect_right(list(accumulate(map(len, known))), places[-1])]
    return token


def _text(entry: Any) -> bytes | None:
    """Return the bytes of a token; None for what is no token. Servers may leave the bytes out."""
    if not isinstance(entry, Mapping):
        return None
    listed, token = entry.get("bytes"), entry.get("token")
    try:
        return bytes(listed) if isinstance(listed, list) else token.encode(errors="replace")  # type: ignore[union-attr]
    except (AttributeError, TypeError, ValueError):
        return None


def _content(choice: Mapping[str, Any]) -> Sequence[Any]:
    logprobs = choice.get("logprobs")
    content = logprobs.get("content") if isinstance(logprobs, Mapping) else None
    return content if isinstance(content, list) else []


def _first_choice(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    choices = body.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, Mapping) else None
