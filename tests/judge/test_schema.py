"""The agreed form of a reply: bounded, reasoning first, and within what structured output servers can do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from analyze.judge.issues import ISSUES
from analyze.judge.labels import DIMENSION_LABELS, DIMENSIONS
from analyze.judge.schema import reply_schema, schema_sha256
from analyze.judge.verdicts import ReplyError, verdict_from_json
from tests.judge.factory import reply


def parts(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        yield schema
        for value in schema.values():
            yield from parts(value)


def test_reasoning_stands_before_every_verdict() -> None:
    keys = list(reply_schema()["properties"])
    assert keys[0] == "requirements" and keys[-2:] == ["overall_reason", "overall"]
    assert keys.index("analysis_b") < keys.index("dimensions") < keys.index("strengths_a")
    for name, dimension in reply_schema()["properties"]["dimensions"]["properties"].items():
        assert name in DIMENSIONS
        assert list(dimension["properties"]) == ["evidence", "verdict"]


def test_only_keywords_that_servers_honour_are_used() -> None:
    used = {key for part in parts(reply_schema()) if "type" in part for key in part}
    assert used <= {
        "type", "properties", "required", "additionalProperties", "items", "minItems", "maxItems", "enum", "pattern"
    }  # fmt: skip


def test_every_string_is_bounded_below_the_repetition_that_servers_mishandle() -> None:
    for part in parts(reply_schema()):
        if part.get("type") == "string" and "enum" not in part:
            assert 1 <= int(re.search(r"\{1,(\d+)\}\$$", part["pattern"])[1]) <= 120


@pytest.mark.parametrize("bad", ['"', "\\", "\n", "\t", "\x00", "\x1f", "\x7f", "\x85", "\ue000", "😀", "", "x" * 121])
def test_a_string_that_could_break_the_json_or_run_on_is_not_legal(bad: str) -> None:
    with pytest.raises(ReplyError):
        verdict_from_json(reply(analysis_a=bad))


@pytest.mark.parametrize(
    "good", ["x" * 120, "好" * 120, "它返回 -1（应为 0）；见 `f(x)`。「空」", "naïve – “quoted” ≤ 3"]
)
def test_what_people_write_is_legal(good: str) -> None:
    assert verdict_from_json(reply(analysis_a=good)).analysis_a == good


def test_the_digest_is_the_same_in_every_process() -> None:
    assert re.fullmatch(r"[0-9a-f]{64}", schema_sha256())


def test_every_issue_and_dimension_has_a_label_in_both_languages() -> None:
    assert all(label.en and label.zh and label.en != label.zh for label in ISSUES.values())
    assert len({label.zh for label in ISSUES.values()}) == len({label.en for label in ISSUES.values()}) == len(ISSUES)
    assert list(DIMENSION_LABELS["en"]) == list(DIMENSION_LABELS["zh"]) == list(DIMENSIONS)
