"""What servers were used for is told as it was, and nothing is told of what nobody measured."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyze.fleet import Fleet
from analyze.usage import Use
from analyze.watch import POLL_S, Sample

URLS = ["http://h:1/v1", "http://h:2/v1"]


def used(fleet: Fleet, now: float) -> list[Use]:
    return [fleet.uses(now)[url] for url in URLS]


@given(st.lists(st.tuples(st.integers(0, 1), st.booleans(), st.floats(0.0, 50.0)), min_size=1, max_size=100))
def test_idle_time_and_requests_in_flight_are_what_they_were_at_every_moment(events: list[tuple[int, bool, float]]):
    """Against counting over all moments: a request is sent or ends, then some time passes."""
    fleet, now = Fleet(URLS), 10.0
    held: list[tuple[float, list[int]]] = []
    for number, is_sent, pause in events:
        instance = fleet.instances[number]
        if is_sent:
            fleet.sent(instance, now)
        elif instance.in_flight:
            fleet.given_back(instance, now)
        held.append((now, [i.in_flight for i in fleet.instances]))
        now += pause
    if any(i.in_flight for i in fleet.instances):
        held.append((now, [0, 0]))
    last = max((n for n, (_, loads) in enumerate(held) if any(loads)), default=None)
    first = next((n for n, (_, loads) in enumerate(held) if any(loads)), None)
    moments = [] if first is None or last is None else held[first : last + 2]
    for number, use in enumerate(used(fleet, now)):
        spans = [(after - at, loads[number]) for (at, loads), (after, _) in pairwise(moments)]
        seconds = sum(span for span, _ in spans)
        assert use.seconds == pytest.approx(seconds)
        assert use.idle_s == pytest.approx(sum(span for span, load in spans if not load), abs=1e-6)
        assert use.in_flight_mean * seconds == pytest.approx(sum(span * load for span, load in spans), abs=1e-6)
        assert use.in_flight_most == max((loads[number] for _, loads in moments), default=0)


def test_the_time_before_the_first_request_and_after_the_last_reply_is_nobodys():
    fleet = Fleet(URLS)
    first, second = fleet.instances
    fleet.sent(first, 100.0)
    fleet.given_back(first, 110.0)
    uses = used(fleet, 500.0)
    assert [(use.seconds, use.idle) for use in uses] == [(10.0, 0.0), (10.0, 1.0)]
    fleet.sent(second, 110.0)
    assert used(fleet, 120.0)[0].idle == 0.5, "while a reply is due, the run goes on"


def test_nothing_asked_is_nothing_used():
    assert [(use.seconds, use.idle, use.out) for use in used(Fleet(URLS), 9.0)] == [(0.0, 0.0, 0.0)] * 2


def test_what_a_server_does_not_tell_is_not_zero():
    fleet = Fleet(URLS)
    first, second = fleet.instances
    for instance in (first, second):
        fleet.sent(instance, 0.0)
    fleet.sampled(first, None, 1.0)
    fleet.sampled(second, Sample(3, 1, ()), 1.0)
    silent, old = used(fleet, 2.0)
    assert (silent.running_mean, silent.running_most, silent.waiting_mean, silent.kv_cache_most) == (None,) * 4
    assert (old.running_mean, old.running_most, old.waiting_most) == (3.0, 3, 1)
    assert (old.kv_cache_mean, old.kv_cache_most, old.preempted) == (None,) * 3


def test_means_are_over_time_not_over_looks():
    """While a window finds its size, a server is looked at five times as often."""
    fleet = Fleet(URLS)
    first = fleet.instances[0]
    fleet.sent(first, 0.0)
    fleet.sampled(first, Sample(8, 0, (), 0.5), 1.0)
    for n in range(1, 6):
        fleet.sampled(first, Sample(2, 4, (), 0.1), 1.0 + n / 5)
    use = used(fleet, 2.0)[0]
    assert use.running_mean == pytest.approx(5.0) and use.waiting_mean == pytest.approx(2.0)
    assert use.kv_cache_mean == pytest.approx(0.3) and use.kv_cache_most == 0.5
    assert use.observed_s == pytest.approx(2 * POLL_S)


def test_a_pause_without_looks_is_not_observed():
    fleet = Fleet(URLS)
    first = fleet.instances[0]
    fleet.sent(first, 0.0)
    fleet.sampled(first, Sample(8, 0, ()), 1.0)
    fleet.given_back(first, 1.0)
    fleet.sent(first, 1000.0)
    fleet.sampled(first, Sample(4, 0, ()), 1001.0)
    use = used(fleet, 1001.0)[0]
    assert use.running_mean == pytest.approx(6.0) and use.observed_s == pytest.approx(2 * POLL_S)


def test_preemptions_are_those_of_this_run_though_the_server_was_restarted():
    fleet = Fleet(URLS)
    first = fleet.instances[0]
    fleet.sent(first, 0.0)
    for second, counter in enumerate((1000, 1003, 1010, 2, 5)):
        fleet.sampled(first, Sample(8, 0, (), 1.0, counter), float(second))
    assert used(fleet, 5.0)[0].preempted == 10 + 5


def test_the_time_out_is_counted_and_why():
    fleet = Fleet(URLS)
    first, second = fleet.instances
    fleet.hold_out(second, "connection refused", 0.0)
    fleet.sent(first, 10.0)
    fleet.probed(second, None, 30.0)
    assert used(fleet, 50.0)[1].out == 0.5
    fleet.failed(second, "connection reset", 50.0, gone=True)
    use = used(fleet, 110.0)[1]
    assert use.is_out and use.reason == "connection reset" and use.out_s == 20.0 + 60.0
    assert not used(fleet, 110.0)[0].is_out


def test_who_came_back_before_the_run_began_was_not_out():
    fleet = Fleet(URLS)
    first, second = fleet.instances
    fleet.hold_out(second, "connection refused", 0.0)
    fleet.probed(second, None, 5.0)
    fleet.sent(first, 6.0)
    assert used(fleet, 10.0)[1].out == 0.0


def test_who_is_out_from_the_start_is_out_for_the_whole_run_and_no_longer():
    fleet = Fleet(URLS)
    first, second = fleet.instances
    fleet.hold_out(second, "connection refused", 0.0)
    fleet.sent(first, 1000.0)
    fleet.given_back(first, 1010.0)
    use = used(fleet, 2000.0)[1]
    assert (use.out, use.idle) == (1.0, 1.0)
