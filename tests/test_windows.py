"""The window of an instance finds its size, whatever the server is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from analyze.windows import BLIND, FIRST, LEAST, MOST, Window


def settle(window: Window, slots: int, looks: int = 60) -> list[int]:
    """Look at a server that runs `slots` at once and lets the rest wait, while rows are plenty; return the sizes."""
    sizes = []
    for _ in range(looks):
        running = min(slots, window.size)
        window.seen(running, window.size - running, window.size)
        sizes.append(window.size)
    return sizes


@given(st.integers(1, 500))
def test_it_keeps_every_slot_busy_and_about_as_many_waiting(slots: int):
    sizes = settle(Window(), slots)
    assert 1.5 * slots <= max(sizes[-1], FIRST) <= max(FIRST, 2 * slots + LEAST)
    assert max(sizes) <= max(FIRST, 4 * slots), "no more than the last doubling too many, ever"


def test_a_server_of_256_slots_is_found_out_in_a_few_looks():
    assert settle(Window(), 256)[:5] == [32, 64, 128, 256, 512]


def test_a_server_that_can_run_fewer_for_a_while_is_given_fewer_and_then_more_again():
    window = Window()
    settle(window, 64)
    assert settle(window, 20)[-1] <= 2 * 20 + LEAST
    assert settle(window, 64)[-1] >= 1.5 * 64


def test_prompts_that_wait_to_be_taken_in_do_not_make_it_smaller():
    window = Window()
    for running in (1, 4, 9, 12):
        window.seen(running, waiting=FIRST - running, in_flight=FIRST)
    assert window.size >= FIRST


def test_it_does_not_grow_while_rows_are_few():
    window = Window()
    for _ in range(10):
        window.seen(running=5, waiting=0, in_flight=5)
    assert window.size == FIRST


def test_it_does_not_grow_while_what_was_sent_has_not_arrived():
    window = Window()
    window.seen(running=3, waiting=0, in_flight=FIRST)
    assert window.size == FIRST


def test_it_makes_room_for_the_requests_of_others():
    window = Window()
    settle(window, 64)
    before = window.size
    window.seen(running=64, waiting=64 + 40, in_flight=before)
    assert window.size == before - 40


def test_a_refusal_halves_it_and_no_number_of_them_closes_it():
    window = Window()
    sizes = []
    for _ in range(6):
        window.refused()
        sizes.append(window.size)
    assert sizes == [8, 4, 2, 1, 1, 1]


def test_a_server_that_does_not_tell_has_a_fixed_size():
    window = Window()
    window.unseen()
    assert window.size == BLIND


@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 2000), st.integers(0, 2000), st.booleans())))
def test_no_server_brings_it_out_of_bounds(looks: list[tuple[int, int, int, bool]]):
    window = Window()
    for running, waiting, in_flight, refuses in looks:
        if refuses:
            window.refused()
        window.seen(running, waiting, in_flight)
        assert 1 <= window.size <= MOST
