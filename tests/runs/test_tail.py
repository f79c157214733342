"""Which rows are asked a second time at the end of a run."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from analyze.runs.tail import SHARE, Out, Tail


def tail(asked: int = 1000, **usual_s: float) -> Tail:
    made = Tail()
    made.asked = asked
    for lane, latency_s in (usual_s or {"quick": 1.0, "slow": 20.0}).items():
        made.answered(lane, latency_s)
    return made


def test_the_row_of_a_slow_server_that_would_end_last_is_asked_again_where_one_stands_idle():
    rows = [Out("slow", 5.0), Out("slow", 8.0), Out("slow", 7.0)]
    assert tail().slowest(rows, "quick", now=10.0) is rows[1]


def test_a_row_that_its_slow_server_will_soon_have_done_is_left_alone():
    assert tail().slowest([Out("slow", 0.0)], "quick", now=19.0) is None


def test_a_long_answer_of_a_server_as_quick_as_the_idle_one_is_left_alone():
    assert tail(a=1.0, b=1.0, c=30.0).slowest([Out("a", 0.0)], "b", now=10.0) is None


def test_a_row_that_takes_longer_than_any_answer_has_is_asked_again():
    row = Out("a", 0.0)
    assert tail(a=1.0, b=1.0).slowest([row, Out("a", 9.5)], "b", now=10.0) is row


def test_a_row_of_a_server_that_never_answered_is_asked_again():
    row = Out("mute", 0.0)
    assert tail(b=1.0).slowest([row], "b", now=10.0) is row


def test_a_row_is_not_asked_again_where_it_already_is_nor_a_third_time():
    assert tail().slowest([Out("quick", 0.0), Out("slow", 9.0, asks=2)], "quick", now=10.0) is None


def test_a_server_of_which_nothing_is_known_is_asked_nothing_again():
    assert tail().slowest([Out("slow", 0.0)], "new", now=10.0) is None


@given(st.integers(0, 5000))
def test_second_asks_stay_a_small_share(asked: int):
    made, rows = tail(asked), [Out("slow", 9.0) for _ in range(asked)]
    while (row := made.slowest(rows, "quick", now=10.0)) is not None:
        row.asks += 1
        made.asked += 1
        made.again += 1
    assert made.again <= SHARE * made.asked
