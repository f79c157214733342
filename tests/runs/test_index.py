"""The compact map of names to numbers behaves as a dict does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyze.runs import index
from analyze.runs.index import Index

names = st.text(max_size=3)
numbers = st.integers(0, 2**64 - 1)
steps = st.one_of(
    st.tuples(st.just("set"), names, numbers),
    st.tuples(st.just("add"), names, numbers),
    st.tuples(st.just("add_all"), st.lists(names, max_size=9), numbers),
)


@given(st.lists(steps, max_size=60))
def test_it_knows_what_a_dict_knows(made):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "FEWEST_FRESH", 4)
        compact, plain = Index(), dict[str, int]()
        for kind, what, number in made:
            if kind == "set":
                compact[what] = plain[what] = number
                continue
            if kind == "add":
                assert compact.add(what) == (what not in plain)
                plain.setdefault(what, 0)
                continue
            are_all_new = len(set(what)) == len(what) and plain.keys().isdisjoint(what)
            assert compact.add_all(what) == are_all_new
            plain |= dict.fromkeys(what, 0) if are_all_new else {}
        wanted = [*plain, "never there", *reversed(plain)]
        assert list(compact.get_many(wanted)) == [plain.get(name) for name in wanted]
        assert [compact.get(name) for name in wanted] == [plain.get(name) for name in wanted]


def test_ten_thousand_names_keep_their_numbers_through_many_merges(monkeypatch):
    monkeypatch.setattr(index, "FEWEST_FRESH", 16)
    compact = Index()
    for number in range(10_000):
        compact[f"row-{number}"] = number
    assert list(compact.get_many([f"row-{number}" for number in range(10_000)])) == list(range(10_000))
