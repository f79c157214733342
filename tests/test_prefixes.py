"""Which prompts begin alike, and what is remembered of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyze.prefixes import BLOCK, MOST_BLOCKS, PrefixMap, chain, common_start, prompt_bytes

contents = st.binary(max_size=5 * BLOCK)


def common(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


@given(contents, contents, contents)
def test_chains_agree_for_as_many_full_blocks_as_the_contents_do(shared, one, other):
    one, other = shared + one, shared + other
    alike = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    assert common(chain(one), chain(other)) == alike // BLOCK
    assert len(chain(one)) == len(one) // BLOCK


def test_a_block_counts_only_where_everything_before_it_is_alike():
    assert common(chain(b"a" * BLOCK + b"same" * BLOCK), chain(b"b" * BLOCK + b"same" * BLOCK)) == 0


def test_endless_prompts_have_chains_that_end():
    assert len(chain(b"x" * BLOCK * (MOST_BLOCKS + 9))) == MOST_BLOCKS


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"model": "m", "messages": [{"role": "system", "content": "s"}]}, b'[{"role":"system","content":"s"}]'),
        ({"prompt": "once", "max_tokens": 4}, b'"once"'),
        ({"input": ["a", "b"], "model": "m"}, b'["a","b"]'),
        ({"query": "q", "documents": []}, b'{"query":"q","documents":[]}'),
    ],
)
def test_the_prompt_is_what_the_model_reads_whatever_the_other_fields_are(body: dict[str, Any], expected: bytes):
    assert prompt_bytes(body) == expected


def test_a_prompt_with_a_lone_surrogate_has_a_beginning_too():
    assert prompt_bytes({"prompt": "\ud800"}) == b'"\\ud800"'


def test_the_longest_known_beginning_tells():
    known: PrefixMap[str] = PrefixMap()
    known.remember((1, 2, 3), "first")
    known.remember((1, 2, 4, 5), "second")
    assert known.longest((1, 2, 4, 9)) == ("second", 3)
    assert known.longest((1, 2, 3, 9)) == ("first", 3)
    assert known.longest((7,)) == (None, 0)
    assert known.longest(()) == (None, 0)


def test_what_is_known_is_kept_on_demand():
    known: PrefixMap[str] = PrefixMap()
    known.remember((1, 2), "first")
    known.remember((1, 2, 3), "second", keep=True)
    assert known.longest((1, 2)) == ("first", 2)
    assert known.longest((1, 2, 3)) == ("second", 3)


def test_a_value_can_be_set_from_some_block_on():
    known: PrefixMap[str] = PrefixMap()
    known.remember((1, 2, 3), "first")
    known.remember((1, 2, 3, 4), "second", start=2)
    assert known.longest((1, 2)) == ("first", 2)
    assert known.longest((1, 2, 3)) == ("second", 3)


def test_the_oldest_is_forgotten_and_the_latest_half_is_not():
    known: PrefixMap[int] = PrefixMap(most=100)
    for number in range(1_000):
        known.remember((number,), number)
        assert len(known) <= 100
        assert all(known.longest((late,)) == (late, 1) for late in range(max(0, number - 48), number + 1))
    assert known.longest((0,)) == (None, 0)


def test_a_beginning_that_is_used_again_and_again_is_never_forgotten():
    known: PrefixMap[str] = PrefixMap(most=100)
    for number in range(1_000):
        known.remember((-1, -2, number), "preamble" if number == 0 else "other", keep=True)
    assert known.longest((-1, -2)) == ("preamble", 2)


@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=6), max_size=60), st.integers(1, 30), st.booleans())
def test_there_are_never_more_values_than_allowed_and_no_gaps_in_a_chain(paths, most, keep):
    known: PrefixMap[int] = PrefixMap(most)
    for number, path in enumerate(paths):
        known.remember([hash(tuple(path[:end])) for end in range(1, len(path) + 1)], number, keep=keep)
        assert len(known) <= max(2, most)
    for path in paths:
        keys = [hash(tuple(path[:end])) for end in range(1, len(path) + 1)]
        value, length = known.longest(keys)
        assert (value is None) == (length == 0)
        assert all(known.longest((key,)) == (None, 0) for key in keys[length:])


@given(st.binary(), st.binary(), st.binary())
def test_what_two_texts_begin_with_is_all_of_it(start: bytes, one: bytes, other: bytes) -> None:
    found = common_start(start + one, start + other)
    assert (start + one).startswith(found) and (start + other).startswith(found)
    longer = (start + one)[: len(found) + 1]
    assert longer == found or not (start + other).startswith(longer)
