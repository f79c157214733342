"""What is wrong with a row is told with something to do about it."""

from __future__ import annotations

from pathlib import Path

import pytest

from analyze.errors import InputError
from analyze.runs.inputs import Bad, Input
from analyze.runs.rows import Rows


class Lacking:
    """A template that asks for what no row has."""

    def request(self, row: object, number: int) -> dict[str, object]:
        raise ValueError("the template asks for what the row lacks")

    def unusable(self, bad: Bad, number: int) -> dict[str, object]:
        raise ValueError(bad.reason)


@pytest.mark.parametrize(
    ("name", "template", "cure"),
    [
        ("t.csv", None, "--template prompt.j2"),
        ("t.jsonl", None, "correct the line, or"),
        ("t.csv", Lacking(), "correct the line or the template, or"),
    ],
    ids=["table without a template", "requests", "template"],
)
def test_the_cure_is_where_the_fault_may_be(tmp_path: Path, name: str, template: Lacking | None, cure: str) -> None:
    (tmp_path / name).write_text('"text"\n"hello"\n')
    with pytest.raises(InputError) as told:
        list(Rows(Input(tmp_path / name), template=template).chunks())
    assert cure in str(told.value)
