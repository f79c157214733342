"""Which rows are asked a second time at the end of a run."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from analyze.runs.tail import SHARE, Out, Tail


def tail(asked: int = 1000, usual_s: float = 1.0) -> Tail:
    made = Tail()
    made.asked = asked
    for lane in ("a", "b"):
        made.answered(lane, usual_s)
    return made


def test_the_row_that_has_been_out_longest_is_asked_again_where_a_server_stands_idle():
    rows = [Out("b", 8.0), Out("b", 5.0), Out("b", 7.0)]
    assert tail().slowest(rows, "a", now=10.0) is rows[1]


def test_a_row_that_takes_no_longer_than_usual_is_left_alone():
    assert tail().slowest([Out("b", 9.0)], "a", now=10.0) is None


def test_a_row_is_not_asked_again_where_it_already_is_nor_a_third_time():
    assert tail().slowest([Out("a", 0.0), Out("b", 0.0, asks=2)], "a", now=10.0) is None


def test_a_server_of_which_nothing_is_known_is_asked_nothing_again():
    assert tail().slowest([Out("b", 0.0)], "c", now=10.0) is None


@given(st.integers(0, 5000))
def test_second_asks_stay_a_small_share(asked: int):
    made, rows = tail(asked), [Out("b", 0.0) for _ in range(asked)]
    while (row := made.slowest(rows, "a", now=10.0)) is not None:
        row.asks += 1
        made.asked += 1
        made.again += 1
    assert made.again <= SHARE * made.asked
