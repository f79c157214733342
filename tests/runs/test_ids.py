"""Names of rows."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from analyze.runs.ids import RowIds


@given(st.lists(st.sampled_from(["a", "b", "a#2", "a#2#2", "c"]), max_size=60))
def test_no_name_is_given_twice_and_the_first_of_each_keeps_its_own(wanted: list[str]):
    ids = RowIds()
    given_out = [ids(name, None) for name in wanted]
    assert len(set(given_out)) == len(wanted)
    assert given_out[:1] == wanted[:1]
    assert all(name == own or name.startswith(f"{own}#") for name, own in zip(given_out, wanted, strict=True))


def test_many_names_are_all_remembered():
    ids = RowIds()
    names = [f"row-{number}" for number in range(20_000)]
    assert [ids(name, None) for name in names] == names
    assert Counter(ids(name, None) for name in names) == Counter(f"{name}#2" for name in names)
