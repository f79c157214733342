"""What a reply says: its label, or why it has none, and how sure the model was. Pure; knows no server and no file.

    {"label": "medical"}               ─► medical
    log-probabilities of its tokens    ─► medical 0.93, others 0.07

Nothing is guessed: a reply that is not of the agreed form has no label. Only where a user asks for it (`lenient`) is a
label looked for in free text, and what is found there is flagged.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analyze.classify.labels import Labels
from analyze.records import from_json

Label = str | list[str]
"""One label, or with several a text all that it has."""


@dataclass(frozen=True, slots=True)
class Confidence:
    """How sure a model was. `probabilities` by label; with several labels a text, of each that the text has it.

    `mass`: the share of all that the model might have said that is one of the labels; None where that is not told,
    because whoever told it had been kept from saying anything else.
    """

    kind: str
    value: float
    probabilities: Mapping[str, float]
    mass: float | None = None


def label_of(text: str, labels: Labels) -> Label | None:
    """Return the label that a reply of the agreed form gives; None of any other."""
    try:
        value = from_json(text)
    except ValueError:
        return None
    if not isinstance(value, dict):
        return None
    if labels.multi:
        told = [value.get(name) for name in labels.names]
        good = all(isinstance(one, bool) for one in told)
        return [name for name, is_so in zip(labels.names, told, strict=True) if is_so] if good else None
    label = value.get("label")
    return label if isinstance(label, str) and label in labels.names else None


def label_in_text(text: str, labels: Labels) -> Label | None:
    """Return the label that free text names, as a whole word in whatever case; None where it names none, or several.

    Where words are written without blanks between them (属于医疗类, 属于medical类), there are no whole words: there a
    label is named wherever it stands, but for what denies it (非医疗). Of names within names the longest counts.
    """
    by_length = sorted(labels.names, key=len, reverse=True)
    named = {found[0].lower() for found in re.finditer("|".join(map(_named, by_length)), text, re.IGNORECASE)}
    found = [name for name in labels.names if name.lower() in named]
    if labels.multi:
        return found or None
    return found[0] if len(found) == 1 else None


_UNSPACED = r"\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_LETTER = rf"[^\W{_UNSPACED}]"  # of a word that ends at a blank


def _named(name: str) -> str:
    """Return the pattern of a name that is no part of a longer word."""
    before, after = (
        "" if re.match(f"[{_UNSPACED}]", edge) else look
        for edge, look in zip((name[0], name[-1]), (f"(?<!{_LETTER})", f"(?!{_LETTER})"), strict=True)
    )
    return f"(?<![非不无未]){before}{re.escape(name)}{after}"


# -- how sure ------------------------------------------------------------------------------------------------------


MOST_UNTOLD = 0.01
"""What part of all may lead to labels nobody knows, before a confidence would mean nothing."""


def confidence_of(tokens: object, labels: Labels) -> Confidence | None:
    """Return how sure the model was of a constrained reply, from `choices[0].logprobs.content`; None if it tells not.

    Under a constraint, log-probabilities are of what the constraint lets through, so they tell how the labels stand to
    each other, not how much the model would rather have said something else.
    """
    if not isinstance(tokens, Sequence) or not tokens:
        return None
    try:
        read = [_Token(_bytes(one), _probability(one["logprob"]), _others(one)) for one in tokens]
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    return _of_several(read, labels) if labels.multi else _of_one(read, labels)


@dataclass(frozen=True, slots=True)
class _Token:
    """A token of a reply. `others`: what else could have stood there, and how probable that was.

    Tokens are bytes, for a character may be several tokens. Not every server tells those of an unfinished one: vLLM
    0.32 tells none (`bytes` are of the decoded text), and the whole character where it ends.
    """

    text: bytes
    probability: float
    others: Sequence[tuple[bytes, float]]


def _bytes(token: Mapping[str, Any]) -> bytes:
    told = token.get("bytes")
    return bytes(told) if isinstance(told, list) else str(token["token"]).encode("utf-8", "surrogatepass")


def _others(token: Mapping[str, Any]) -> list[tuple[bytes, float]]:
    """Return the alternatives without the token itself, which is among them unless it was not one of the likeliest."""
    found = [(_bytes(one), _probability(one["logprob"])) for one in token.get("top_logprobs") or ()]
    text, own = _bytes(token), _probability(token["logprob"])
    itself = next((one for one in found if one[0] == text and math.isclose(one[1], own, rel_tol=1e-3)), None)
    if itself is not None:
        found.remove(itself)
    return found


def _probability(logprob: object) -> float:
    value = float(logprob) if isinstance(logprob, int | float) else -math.inf
    return math.exp(min(0.0, value)) if value == value else 0.0


def _of_one(tokens: Sequence[_Token], labels: Labels) -> Confidence | None:
    """Follow the reply's tokens; what else could have stood at each goes to the labels it could still have become.

    A label is seldom one token: `m`, `me` and `medical` may all lead to the same one, and count for it together. What
    leads to several labels is shared among them. Tokens that leave open just what the reply's own left open are other
    spellings of the same beginning, and tell nothing. Of an unfinished character without bytes nobody knows which label
    it leads to, if more than one goes on with such a character.
    """
    replies = {name: labels.reply([name]).encode() for name in labels.names}
    masses, open_to, sofar, path, untold = dict.fromkeys(labels.names, 0.0), list(labels.names), b"", 1.0, 0.0
    for token in tokens:
        if not sofar and token.text and not token.text.strip():
            continue
        still = _open(replies, open_to, sofar, token.text)
        same = token.probability
        for text, probability in token.others:
            fitting = _open(replies, open_to, sofar, text)
            if not text and len(fitting) > 1:
                untold += path * probability
            elif fitting == still:
                same += probability
            else:
                for name in fitting:
                    masses[name] += path * probability / len(fitting)
        open_to, sofar, path = still, sofar + token.text, path * same
        if len(open_to) < 2:
            break
    if len(open_to) != 1:
        return None
    masses[open_to[0]] += path
    total = math.fsum(masses.values())
    if total <= 0 or untold > MOST_UNTOLD * (total + untold):
        return None
    probabilities = {name: mass / total for name, mass in masses.items()}
    return Confidence("sequence", probabilities[open_to[0]], probabilities)


def _open(replies: Mapping[str, bytes], names: Sequence[str], sofar: bytes, text: bytes) -> list[str]:
    """Return those of `names` whose replies may go on with a token. Without bytes it begins, or goes on with, a
    character that is several."""
    if text:
        return [name for name in names if replies[name].startswith(sofar + text)]
    return [name for name in names if replies[name][len(sofar) : len(sofar) + 1] >= b"\x80"]


def _of_several(tokens: Sequence[_Token], labels: Labels) -> Confidence | None:
    """Read, where each label's `true` or `false` begins, how probable either was. The least sure one counts."""
    text = b"".join(token.text for token in tokens)
    probabilities: dict[str, float] = {}
    at, starts = 0, []
    for token in tokens:
        starts.append(at)
        at += len(token.text)
    for name, place in zip(labels.names, _values(text), strict=False):
        here = next((i for i, start in enumerate(starts) if start <= place < start + len(tokens[i].text)), None)
        if here is None:
            return None
        before = text[starts[here] : place]
        could = [(tokens[here].text, tokens[here].probability), *tokens[here].others]
        yes, no = _sum(could, before, b"true"), _sum(could, before, b"false")
        if yes + no <= 0:
            return None
        probabilities[name] = yes / (yes + no)
    if len(probabilities) < len(labels.names):
        return None
    return Confidence("sequence", min(max(p, 1 - p) for p in probabilities.values()), probabilities)


def _values(text: bytes) -> list[int]:
    return [found.start(1) for found in re.finditer(rb'": (true|false)', text)]


def _sum(others: Sequence[tuple[bytes, float]], before: bytes, word: bytes) -> float:
    """Add up what could have stood there and begins with `before` and then `word`, or a part of it."""
    return math.fsum(
        probability
        for text, probability in others
        if text.startswith(before)
        and (rest := text[len(before) :])
        and (word.startswith(rest) or rest.startswith(word))
    )
