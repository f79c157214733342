"""Names of rows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from analyze.runs.ids import RowIds


@given(st.lists(st.sampled_from(["a", "b", "a#2", "a#2#2", "c"]), max_size=60))
def test_no_name_is_given_twice_and_the_first_of_each_keeps_its_own(wanted: list[str]):
    ids = RowIds()
    given_out = [named for name in wanted for named in ids([name])]
    assert len(set(given_out)) == len(wanted)
    assert given_out[:1] == wanted[:1]
    assert all(name == own or name.startswith(f"{own}#") for name, own in zip(given_out, wanted, strict=True))


def test_many_names_are_all_remembered():
    ids = RowIds()
    names = [f"row-{number}" for number in range(20_000)]
    assert ids(names) == names
    assert ids(names) == [f"{name}#2" for name in names]


@given(st.lists(st.sampled_from(["a", "b", "a#2", "a#2#2", "c"]), max_size=30), st.integers(1, 9))
def test_rows_get_the_same_names_however_many_are_named_at_a_time(wanted: list[str], size: int):
    one_by_one, some = RowIds(), RowIds()
    given_out = [named for name in wanted for named in one_by_one([name])]
    chunks = [wanted[start : start + size] for start in range(0, len(wanted), size)]
    assert [named for chunk in chunks for named in some(chunk)] == given_out
