"""Which row an instance asks next: groups stay together, nobody goes without, nothing is lost."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from itertools import count, cycle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyze.records import CHAT_URL, Request
from analyze.runs import backlog as module
from analyze.runs.backlog import Backlog

LANES = "abcd"


def row(number: int, prompt: str = "", *, group: str | None = None, limit: int | None = None) -> Request:
    options = {} if limit is None else {"max_tokens": limit}
    body = {"messages": [{"role": "user", "content": f"{prompt} row {number}"}], **options}
    return Request(str(number), "asked", CHAT_URL, body, group=group)


def text(size: int, seed: object) -> str:
    return "".join(random.Random(repr(seed)).choices("abcdefgh ", k=size))


def filled(rows: Iterable[Request]) -> Backlog:
    backlog = Backlog()
    for request in rows:
        backlog.add(request)
    return backlog


def drained(backlog: Backlog, lanes: Iterable[str] = LANES) -> Iterator[tuple[str, Request]]:
    """Take all rows, the lanes in turn."""
    turn = cycle(lanes)
    while len(backlog):
        lane = next(turn)
        request = backlog.take(lane)
        assert request is not None
        yield lane, request


def ids(backlog: Backlog, lanes: Iterable[str] = LANES) -> list[int]:
    return [int(request.id) for _, request in drained(backlog, lanes)]


def share_at_home(placed: Iterable[tuple[str, str]]) -> float:
    """Return the share of rows that went to the lane which had most of their group."""
    lanes = defaultdict(Counter)
    for lane, group in placed:
        lanes[group][lane] += 1
    return sum(max(counts.values()) for counts in lanes.values()) / sum(sum(c.values()) for c in lanes.values())


PROMPTS = ["", *(text(300, "S") + text(size, size) for size in (200, 400, 600, 2_000))]
steps = st.one_of(
    st.tuples(
        st.just("add"),
        st.sampled_from(PROMPTS),
        st.sampled_from([None, None, "g", "h"]),
        st.sampled_from([None, 10, 500]),
    ),
    st.tuples(st.just("take"), st.sampled_from(LANES)),
    st.tuples(st.just("let_go"), st.sampled_from(LANES)),
    st.tuples(st.just("heard"), st.integers(0, 500)),
)


@given(st.lists(steps, max_size=200), st.integers(2, 9))
def test_every_row_is_taken_exactly_once_and_no_lane_goes_without_while_one_waits(taken_steps, crowd):
    backlog, waiting, taken, number = Backlog(), {}, [], count()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CROWD_ROWS", crowd)
        for kind, *details in taken_steps:
            if kind == "add":
                prompt, group, limit = details
                request = row(next(number), prompt, group=group, limit=limit)
                waiting[request.id] = request
                backlog.add(request)
            elif kind == "take":
                request = backlog.take(*details)
                assert (request is None) == (not waiting)
                if request is not None:
                    assert waiting.pop(request.id) is request
                    taken.append(request)
            elif kind == "let_go":
                backlog.let_go(*details)
            elif taken:
                for _ in range(40):
                    backlog.heard(taken[-1], *details)
            assert len(backlog) == len(waiting)
        for _, request in drained(backlog):
            assert waiting.pop(request.id) is request
    assert not waiting
    assert backlog.take("a") is None


@given(st.lists(st.integers(0, 5), max_size=120), st.lists(st.sampled_from(LANES), min_size=120, max_size=120))
def test_while_a_group_waits_no_group_is_shared_by_two_lanes(groups, lanes):
    backlog = filled(row(number, group=f"g{group}") for number, group in enumerate(groups))
    lane_of, untouched = {}, {f"g{group}" for group in groups}
    for lane in lanes:
        request = backlog.take(lane)
        if request is None or not untouched:
            break
        untouched.discard(request.group)
        assert lane_of.setdefault(request.group, lane) == lane


@given(st.integers(0, 40), st.lists(st.sampled_from(LANES), min_size=1, max_size=8))
def test_where_nothing_tells_the_length_it_is_first_come_first_served(rows, lanes):
    assert ids(filled(row(n, text(n * 37, n)) for n in range(rows)), lanes) == list(range(rows))


@given(st.lists(st.integers(1, 4_000), max_size=40))
def test_where_max_tokens_tells_the_longest_is_first_and_ties_keep_the_order_of_the_input(limits):
    taken = ids(filled(row(number, limit=limit) for number, limit in enumerate(limits)))
    assert [limits[number] for number in taken] == sorted(limits, reverse=True)


def test_what_waits_is_sorted_anew_once_answers_tell_that_long_prompts_have_long_answers():
    backlog = filled(row(number, text(10 * 2**number, number)) for number in range(10))
    for number in range(64):
        backlog.heard(row(number, text(10 * 2 ** (number % 10), "heard")), 2 ** (number % 10))
    assert ids(backlog) == list(reversed(range(10)))


def test_the_group_with_most_work_is_opened_first():
    rows = [row(n, group="small", limit=100) for n in range(3)] + [row(n, group="big", limit=90) for n in range(3, 9)]
    assert ids(filled(rows), "a") == [3, 4, 5, 6, 7, 8, 0, 1, 2]


def test_prompts_that_share_at_least_half_their_beginning_are_one_group():
    shared, other = text(1_200, "S"), text(1_200, "T")
    rows = [row(n, (shared if n % 2 else other) + text(500, n)) for n in range(40)]
    placed = [(lane, "ST"[int(request.id) % 2]) for lane, request in drained(filled(rows), "ab")]
    assert share_at_home(placed) == 1


@pytest.mark.parametrize(("shared", "own"), [(400, 100), (700, 1_000)])
def test_prompts_that_share_too_little_are_no_group(shared: int, own: int):
    """Too little is less than two blocks, or less than half of the prompt."""
    rows = [row(n, text(shared, "S") + text(own, n)) for n in range(40)]
    assert ids(filled(rows), "ab") == list(range(40))


def test_rows_that_come_later_join_the_open_group():
    backlog = filled([row(0, group="g"), row(1, group="g"), row(2, group="other")])
    assert backlog.take("a").id == "0"
    backlog.add(row(3, group="g"))
    assert [backlog.take("b").id, backlog.take("a").id, backlog.take("a").id] == ["2", "1", "3"]


def test_a_finished_group_has_its_later_rows_on_the_same_lane():
    backlog = filled([row(0, group="g"), row(1, group="h")])
    assert [backlog.take("a").id, backlog.take("b").id] == ["0", "1"]
    for late in (row(2, group="h"), row(3, group="g"), row(4, group="new")):
        backlog.add(late)
    assert [backlog.take("a").id, backlog.take("b").id] == ["3", "2"]


def test_the_later_rows_of_a_finished_group_go_elsewhere_rather_than_let_a_lane_stand_idle():
    backlog = filled([row(0, group="g")])
    assert backlog.take("a").id == "0"
    backlog.add(row(1, group="g"))
    assert backlog.take("b").id == "1"


@given(st.integers(2, 50))
def test_a_lane_without_work_steals_at_most_half_and_both_go_on_in_order(rows):
    backlog = filled(row(number, group="g") for number in range(rows))
    taken = {"a": [int(backlog.take("a").id)], "b": []}
    if rows > 2:
        stolen = (rows - 1) // 2
        taken["b"] = [int(backlog.take("b").id) for _ in range(stolen)]
        taken["a"] += [int(backlog.take("a").id) for _ in range(rows - 1 - stolen)]
    assert all(mine == sorted(mine) for mine in taken.values())
    assert sorted(taken["a"] + taken["b"] + ids(backlog)) == list(range(rows))


def test_the_last_row_is_stolen_too():
    backlog = filled(row(number, group="g") for number in range(2))
    assert [backlog.take("a").id, backlog.take("b").id, backlog.take("a")] == ["0", "1", None]


def test_the_longest_rows_of_one_giant_group_are_first_on_all_lanes_where_max_tokens_tells():
    limits = random.Random(1).sample(range(1, 9_000), 1_000)
    taken = ids(filled(row(number, group="g", limit=limit) for number, limit in enumerate(limits)))
    longest = sorted(range(1_000), key=lambda number: -limits[number])
    assert len(set(taken[:500]) & set(longest[:500])) >= 490
    assert len(set(taken[:50]) & set(longest[:50])) >= 45


def test_it_is_first_come_first_served_again_when_answers_show_that_limits_told_nothing():
    backlog, chance = filled(row(number, limit=100 + number) for number in range(50)), random.Random(1)
    for number in range(64):
        backlog.heard(row(number, limit=chance.randrange(500, 9_000)), chance.randrange(100))
    assert ids(backlog) == list(range(50))


def test_what_is_stolen_comes_from_the_group_with_the_most_left():
    backlog = filled([*(row(n, group="g") for n in range(4)), *(row(n, group="h") for n in range(4, 20))])
    assert [backlog.take("a").group, backlog.take("b").group, backlog.take("c").group] == ["g", "h", "h"]


def test_rows_may_be_taken_for_no_lane_in_particular():
    backlog = filled([row(0)])
    assert backlog.take(None).id == "0"
    for late in (row(1, group="g"), row(2, group="g"), row(3, group="h")):
        backlog.add(late)
    assert [backlog.take("a").id, backlog.take(None).id, backlog.take("a").id] == ["1", "3", "2"]


def test_what_a_lane_has_goes_to_the_others_when_it_is_out():
    backlog = filled(row(number, group="g") for number in range(6))
    backlog.take("a")
    backlog.let_go("a")
    assert [int(backlog.take("b").id) for _ in range(5)] == [1, 2, 3, 4, 5]


def test_the_later_rows_of_a_lane_that_is_out_wait_for_nobody():
    backlog = filled([row(0, group="g")])
    backlog.take("a")
    backlog.add(row(1, group="g"))
    backlog.let_go("a")
    backlog.add(row(2, group="g"))
    assert [backlog.take("b").id, backlog.take("b").id] == ["1", "2"]


def test_one_giant_group_is_worked_through_by_all_lanes_alike():
    backlog = filled(row(number, group="g") for number in range(4_000))
    share = Counter(lane for lane, _ in drained(backlog))
    assert share == dict.fromkeys(LANES, 1_000)


def test_a_preamble_of_the_whole_job_does_not_hide_the_groups_beyond_it():
    shared = text(2_000, "preamble")
    rows = [row(n, shared + text(700, n % 200) + text(200, ("own", n))) for n in range(2_400)]
    random.Random(1).shuffle(rows)
    placed = [(lane, str(int(request.id) % 200)) for lane, request in drained(filled(rows))]
    assert share_at_home(placed) >= 0.95


def test_a_preamble_over_rows_that_share_nothing_else_leaves_the_longest_first():
    rows = [row(n, text(1_000, "preamble") + text(300, n), limit=100 + n) for n in range(2_000)]
    assert ids(filled(rows))[0] >= 1_900


def test_enough_is_read_ahead_at_so_many_rows_or_so_many_bytes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "LOOK_AHEAD_ROWS", 3)
    monkeypatch.setattr(module, "LOOK_AHEAD_BYTES", 10_000)
    backlog = filled([row(0), row(1)])
    assert not backlog.is_full
    backlog.add(row(2))
    assert backlog.is_full
    backlog.take("a")
    assert not backlog.is_full
    backlog.add(row(3, "x" * 10_000))
    backlog.take("a")
    assert backlog.is_full
    assert ids(backlog) == [2, 3]
    assert not backlog.is_full


@pytest.mark.parametrize("named", [True, False])
def test_shuffled_groups_are_served_almost_as_if_placed_by_hand(named: bool):
    """250 groups of 12 over 4 equal lanes of 16 slots, answers of varying length; a group's first row on a lane is
    dear, for it computes the shared beginning."""

    def makespan(hand_out, free) -> float:
        chance, warm, now, busy, tie = random.Random(4), set(), 0.0, [], count()
        seconds = {number: chance.expovariate(1.0) + 0.2 for number in range(3_000)}
        while free or busy:
            for lane in [lane for lane in free]:
                request = hand_out(lane)
                if request is None:
                    continue
                free.remove(lane)
                number = int(request.id)
                cold = (lane, number % 250) not in warm
                warm.add((lane, number % 250))
                heappush(busy, (now + seconds[number] + 4 * cold, next(tie), lane))
            if not busy:
                break
            now, _, lane = heappop(busy)
            free.append(lane)
        return now

    rows = [row(n, text(900, n % 250), group=f"g{n % 250}" if named else None) for n in range(3_000)]
    by_hand = {lane: [r for r in sorted(rows, key=lambda r: int(r.id) % 250)] for lane in LANES}
    by_hand = {lane: iter([r for r in by_hand[lane] if LANES[int(r.id) % 250 % 4] == lane]) for lane in LANES}
    random.Random(5).shuffle(rows)
    backlog, placed = filled(rows), []

    def take(lane: str) -> Request | None:
        request = backlog.take(lane)
        if request is not None:
            placed.append((lane, str(int(request.id) % 250)))
        return request

    best = makespan(lambda lane: next(by_hand[lane], None), list(LANES * 16))
    ours = makespan(take, list(LANES * 16))
    assert len(placed) == 3_000
    assert share_at_home(placed) >= 0.95
    assert ours <= 1.03 * best
