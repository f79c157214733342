"""One file that ends a linter takes no findings from the others."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from analyze.facts import linters
from analyze.facts.bounded import GaveUp
from analyze.facts.records import Finding


@given(st.lists(st.booleans(), max_size=70))
def test_whoever_ends_the_tool_is_found_and_everybody_else_is_served(culprit: list[bool]) -> None:
    names = [f"s{number:04d}.py" for number in range(len(culprit))]
    guilty = {name for name, is_guilty in zip(names, culprit, strict=True) if is_guilty}
    runs = 0

    def run(some: Sequence[str]) -> linters.Findings:
        nonlocal runs
        runs += 1
        if guilty & set(some):
            raise GaveUp("over 2 s of CPU")
        return {name: [Finding(1, "F401", name)] for name in some}

    found = linters._by_halves(names, run)
    assert list(found) == names
    assert {name for name, result in found.items() if isinstance(result, str)} == guilty
    assert runs <= 1 + 2 * 7 * len(guilty)  # 70 files: at most seven halvings for each
