"""The reply that is asked for: a JSON schema with reasoning before verdicts. Knows nothing of prompts or scores.

    requirements -> analysis_a, analysis_b -> dimensions {evidence, verdict} -> strengths, weaknesses -> issues
    -> overall_reason -> overall

A verdict is one digit: 5 A much better, 4 A slightly, 3 equal, 2 B slightly, 1 B much better.

Every string is bounded, so that even a model with random weights comes to an end. The form of the bound was found
by walking xgrammar 0.2.8 with random legal tokens, 200 walks a form, vocabularies of 2,048 and 131,072 tokens:

* `maxLength` compiles to a class that admits control characters: "stop", but no JSON.
* xgrammar applies `pattern` to the text between the quotes as it stands, before escapes are read. So a double
  quote and a backslash must be excluded, else the string can end, or start an escape, in its middle.
* A repetition of more than 128 takes another path in xgrammar: one walk in five ends in a token that the mask allows
  and the matcher then rejects (HTTP 500), or the schema does not compile. Up to 120: 200 of 200 walks are valid.
* The negated class `[^"\\\\x00-\\x1f]` lets broken UTF-8 through (6 of 200). The positive class does not.
* One class, repeated: a mask in 60 us. A group of two classes, `([…]|[…]){1,n}`, compiles at once, but then every
  token of several characters is tried at run time: 250 ms a mask, up to 10 s, with the large vocabulary.

Equal patterns are compiled once: the whole schema takes 3 s of CPU with 131,072 tokens, once a server, 0.2 s with
the tiny model's; `maxLength` 120 alone takes as long.

Legal are printable ASCII without `"` and `\\`, and U+00A1..U+D7FF and U+F900..U+FFFD: every living script, but no
control character, no private use, nothing above U+FFFF, so a character is at most three bytes.
"""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Any

import orjson

from analyze.judge.issues import ISSUES
from analyze.judge.labels import DIMENSIONS

VERDICTS = ("1", "2", "3", "4", "5")
ANALYSIS_CHARS = 120
EVIDENCE_CHARS = 60
REQUIREMENT_CHARS = 60
PHRASE_CHARS = 40
REASON_CHARS = 120

_CHARACTER = "[ !#-\\[\\]-~\u00a1-\ud7ff\uf900-\ufffd]"


@cache
def reply_schema() -> dict[str, Any]:
    """Return the JSON schema of a reply. One object for all cells: treat it as read-only."""
    properties = {
        "requirements": _strings(1, 3, REQUIREMENT_CHARS),
        "analysis_a": _string(ANALYSIS_CHARS),
        "analysis_b": _string(ANALYSIS_CHARS),
        "dimensions": _object({name: _object(_dimension()) for name in DIMENSIONS}),
        "strengths_a": _strings(0, 3, PHRASE_CHARS),
        "weaknesses_a": _strings(0, 3, PHRASE_CHARS),
        "strengths_b": _strings(0, 3, PHRASE_CHARS),
        "weaknesses_b": _strings(0, 3, PHRASE_CHARS),
        "issues_a": _issues(),
        "issues_b": _issues(),
        "overall_reason": _string(REASON_CHARS),
        "overall": {"type": "string", "enum": list(VERDICTS)},
    }
    return _object(properties)


@cache
def schema_sha256() -> str:
    """Return the SHA-256 of the schema, as the manifest of a run records it."""
    return hashlib.sha256(orjson.dumps(reply_schema())).hexdigest()


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _dimension() -> dict[str, Any]:
    return {"evidence": _string(EVIDENCE_CHARS), "verdict": {"type": "string", "enum": list(VERDICTS)}}


def _string(most: int) -> dict[str, Any]:
    return {"type": "string", "pattern": f"^{_CHARACTER}{{1,{most}}}$"}


def _strings(least: int, most: int, chars: int) -> dict[str, Any]:
    return {"type": "array", "items": _string(chars), "minItems": least, "maxItems": most}


def _issues() -> dict[str, Any]:
    return {"type": "array", "items": {"type": "string", "enum": list(ISSUES)}, "minItems": 0, "maxItems": 4}
