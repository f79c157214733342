"""The decisions of the fleet, for any order of events."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyze.errors import UsageError
from analyze.fleet import FIRST_REST_S, LAST_PROBE_S, LAST_REST_S, POLICIES, STRIKES, Fleet, Instance, Model
from analyze.watch import Sample

URLS = [f"http://h:{port}/v1" for port in (1, 2, 3, 4)]


def send(fleet: Fleet) -> Instance:
    instance = fleet.pick(0.0)
    assert instance is not None
    fleet.sent(instance, 0.0)
    return instance


def numbers(fleet: Fleet, picked: list[Instance]) -> list[int]:
    return [fleet.instances.index(instance) + 1 for instance in picked]


def test_one_at_a_time_is_the_strict_rotation():
    fleet, picked = Fleet(URLS), []
    for _ in range(9):
        picked.append(send(fleet))
        fleet.given_back(picked[-1], 0.0)
    assert numbers(fleet, picked) == [1, 2, 3, 4, 1, 2, 3, 4, 1]


@given(st.lists(st.one_of(st.none(), st.integers(0, 1000)), max_size=200))
def test_nobody_is_sent_work_while_another_has_less(events: list[int | None]):
    """None sends a request, a number ends one of those in flight."""
    fleet, out = Fleet(URLS), []
    for event in events:
        if event is None:
            loads = {i: i.in_flight for i in fleet.instances}
            chosen = send(fleet)
            out.append(chosen)
            assert loads[chosen] == min(loads.values())
        elif out:
            fleet.given_back(out.pop(event % len(out)), 0.0)
    for instance in out:
        fleet.given_back(instance, 0.0)
    assert [i.in_flight for i in fleet.instances] == [0, 0, 0, 0]


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from(["answered", "busy", "failed", "gone", "probe ok", "probe bad"]))
    )
)
def test_no_order_of_events_loses_an_instance_for_ever(events: list[tuple[int, str]]):
    fleet, now = Fleet(URLS), 0.0
    for number, event in events:
        now += 1.0
        instance = fleet.instances[number]
        if event == "answered":
            fleet.answered(instance, now)
        elif event == "busy":
            fleet.busy(instance, now)
        elif event in ("failed", "gone"):
            fleet.failed(instance, "x", now, gone=event == "gone")
        elif not instance.is_up:
            fleet.probed(instance, None if event == "probe ok" else "still bad", now)
    for instance in fleet.instances:
        assert instance.is_up or instance.probe_at <= now + LAST_PROBE_S
    for instance in fleet.instances:
        if not instance.is_up:
            fleet.probed(instance, None, now)
    assert fleet.up == fleet.instances
    assert all(fleet.pick(now + LAST_REST_S, avoid) for avoid in ([], fleet.instances))


def test_failures_in_a_row_put_an_instance_out_and_an_answer_in_between_clears_them():
    fleet = Fleet(URLS)
    first = fleet.instances[0]
    for _ in range(10):
        for _ in range(STRIKES - 1):
            assert not fleet.failed(first, "reset", 0.0)
        fleet.answered(first, 0.0)
    for _ in range(STRIKES - 1):
        fleet.failed(first, "reset", 0.0)
    assert fleet.failed(first, "reset", 0.0)
    assert first not in fleet.up and first.reason == "reset"


def test_an_address_where_nothing_listens_is_out_at_once():
    fleet = Fleet(URLS)
    assert fleet.failed(fleet.instances[2], "refused", 0.0, gone=True)
    assert len(fleet.up) == 3


def test_a_request_avoids_who_failed_it_as_long_as_another_is_up():
    fleet = Fleet(URLS[:2])
    first, second = fleet.instances
    assert fleet.pick(0.0, [first]) is second
    fleet.hold_out(second, "down", 0.0)
    assert fleet.pick(0.0, [first]) is first
    fleet.hold_out(first, "down", 0.0)
    assert fleet.pick(0.0) is None


def test_probes_grow_rarer_up_to_a_bound():
    fleet = Fleet(URLS[:1])
    (only,) = fleet.instances
    fleet.hold_out(only, "down", 0.0)
    waits, now = [], 0.0
    for _ in range(8):
        due = fleet.next_probe_at()
        assert due is not None and due == only.probe_at
        waits.append(due - now)
        now = due
        fleet.probed(only, "down", now)
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0]


def test_a_probe_is_no_answer_probes_grow_rarer_while_an_instance_only_looks_healthy():
    fleet = Fleet(URLS[:1])
    (only,) = fleet.instances
    waits, now = [], 0.0
    for _ in range(6):
        fleet.failed(only, "refused", now, gone=True)
        waits.append(only.probe_at - now)
        now = only.probe_at
        fleet.probed(only, None, now)
    fleet.answered(only, now)
    fleet.failed(only, "refused", now, gone=True)
    assert [*waits, only.probe_at - now] == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 0.5]


def test_a_busy_instance_is_passed_over_until_its_rest_ends():
    fleet = Fleet(URLS[:2])
    first, second = fleet.instances
    fleet.busy(first, 100.0)
    assert {fleet.pick(100.1), fleet.pick(100.2)} == {second}
    assert fleet.pick(100.2, [second]) is None and fleet.wakes_at([second]) == 100.0 + FIRST_REST_S
    fleet.busy(second, 100.2)
    assert fleet.pick(100.3) is None and fleet.wakes_at() == 100.5
    assert fleet.pick(100.5) is first


def test_rests_double_with_each_busy_answer_until_an_answer_comes():
    fleet = Fleet(URLS[:1])
    (only,) = fleet.instances
    rests, now = [], 100.0
    for _ in range(7):
        fleet.busy(only, now)
        fleet.busy(only, now + 0.1)  # asked before the rest began
        rests.append(only.rest_until - now)
        now = only.rest_until
    fleet.answered(only, now)
    fleet.busy(only, now)
    assert [*rests, only.rest_until - now] == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 0.5]


@pytest.mark.parametrize(("asked_for_s", "rest_s"), [(3.0, 3.0), (3600.0, LAST_REST_S), (None, FIRST_REST_S)])
def test_a_server_may_say_how_long_it_rests_within_bounds(asked_for_s, rest_s):
    fleet = Fleet(URLS[:1])
    fleet.busy(fleet.instances[0], 100.0, asked_for_s)
    assert fleet.wakes_at() == 100.0 + rest_s


def test_the_fleet_stands_still_from_when_the_last_instance_was_of_use():
    fleet = Fleet(URLS[:2])
    first, second = fleet.instances
    fleet.failed(first, "refused", 100.0, gone=True)
    assert fleet.standstill_since is None
    fleet.busy(second, 101.0)
    fleet.busy(second, 102.0)
    assert fleet.standstill_since == 101.0
    fleet.answered(first, 102.5)  # a late one
    fleet.hold_out(second, "down", 103.0)
    assert fleet.standstill_since == 101.0
    fleet.probed(first, None, 104.0)
    assert fleet.standstill_since is None


def test_busy_answers_with_a_long_silence_between_them_are_no_standstill():
    fleet = Fleet(URLS[:1])
    fleet.busy(fleet.instances[0], 100.0)
    fleet.busy(fleet.instances[0], 3700.0)
    assert fleet.standstill_since == 3700.0 and fleet.wakes_at() == 3700.0 + FIRST_REST_S


def test_no_address_and_an_unknown_policy_are_told():
    for wrong in (lambda: Fleet([]), lambda: Fleet(URLS, "random")):
        try:
            wrong()
        except UsageError as error:
            assert error.cure
        else:
            raise AssertionError("not told")


# -- policies ----------------------------------------------------------------------------------------------------------


def test_least_loaded_weighs_what_is_in_flight():
    fleet = Fleet(URLS[:2], "least_loaded")
    first, second = fleet.instances
    fleet.sent(first, 0.0, weight=1000.0)
    for _ in range(3):
        fleet.sent(second, 0.0, weight=100.0)
    assert fleet.pick(0.0) is second


def test_one_at_a_time_least_loaded_takes_turns_too():
    fleet = Fleet(URLS, "least_loaded")
    picked = []
    for _ in range(5):
        picked.append(fleet.pick(0.0))
        fleet.sent(picked[-1], 0.0, 5.0)
        fleet.given_back(picked[-1], 0.0, 5.0)
    assert numbers(fleet, picked) == [1, 2, 3, 4, 1]


@pytest.mark.parametrize("policy", ["round_robin", "least_loaded"])
def test_requests_of_others_that_wait_at_a_server_count_as_its_load(policy: str):
    fleet = Fleet(URLS[:2], policy)
    first, second = fleet.instances
    fleet.sent(first, 0.0)
    for _ in range(5):
        fleet.sent(second, 0.0)
    fleet.sampled(first, Sample(running=8, waiting=12, moving=(1.0,)), 0.0)
    assert fleet.pick(0.0) is second
    fleet.sampled(first, Sample(running=1, waiting=0, moving=(2.0,)), 0.0)
    assert fleet.pick(0.0) is first


@given(st.lists(st.tuples(st.floats(0.1, 1e6), st.booleans()), max_size=300), st.sampled_from(POLICIES))
def test_whatever_goes_out_comes_back_and_leaves_all_counters_at_zero(events: list[tuple[float, bool]], policy: str):
    fleet, out = Fleet(URLS, policy), []
    for weight, ends in events:
        instance = fleet.pick(0.0, prefix=(int(weight) % 5,))
        assert instance is not None
        fleet.sent(instance, 0.0, weight)
        out.append((instance, weight))
        if ends:
            instance, weight = out.pop(len(out) // 2)
            fleet.given_back(instance, 0.0, weight)
    for instance, weight in out:
        fleet.given_back(instance, 0.0, weight)
    assert [(i.in_flight, i.load) for i in fleet.instances] == [(0, 0.0)] * 4


def test_prefix_affinity_keeps_a_group_together_and_bounds_the_load():
    """Shuffled rows of 250 groups, 64 in flight: the acceptance test of anchor `routers`, 6."""
    fleet, dice, homes = Fleet(URLS, "prefix_affinity"), random.Random(1), {}
    rows = [group for group in range(250) for _ in range(12)]
    dice.shuffle(rows)
    at_home, out, worst = 0, [], 0.0
    for group in rows:
        instance = fleet.pick(0.0, prefix=(group,))
        assert instance is not None
        fleet.sent(instance, 0.0)
        out.append(instance)
        at_home += homes.setdefault(group, instance) is instance
        if len(out) == 64:
            worst = max(worst, max(i.in_flight for i in fleet.instances) / 16)
            fleet.given_back(out.pop(dice.randrange(64)), 0.0)
    assert (at_home - 250) / (len(rows) - 250) >= 0.85
    assert worst <= 1.32, "a quarter above the mean, and the one that is on its way"


def test_one_prefix_for_all_is_spread_evenly():
    fleet, out = Fleet(URLS, "prefix_affinity"), []
    asked = dict.fromkeys(fleet.instances, 0)
    for _ in range(4000):
        instance = fleet.pick(0.0, prefix=(7,))
        assert instance is not None
        fleet.sent(instance, 0.0)
        asked[instance] += 1
        out.append(instance)
        if len(out) == 64:
            fleet.given_back(out.pop(0), 0.0)
    assert max(asked.values()) - min(asked.values()) <= 0.05 * 4000 / 4


# -- coming back -------------------------------------------------------------------------------------------------------


def test_who_comes_back_is_given_one_request_then_one_more_after_each_answer():
    fleet = Fleet(URLS[:2])
    first, _ = fleet.instances
    fleet.failed(first, "refused", 0.0, gone=True)
    fleet.probed(first, None, 1.0)
    held = []
    for _ in range(5):
        picks = []
        while (instance := fleet.pick(1.0)) is first or len(picks) < 20:
            assert instance is not None
            fleet.sent(instance, 1.0)
            picks.append(instance)
        held.append(picks.count(first))
        for instance in picks:
            fleet.given_back(instance, 1.0)
        fleet.answered(first, 1.0)
    assert held == [1, 2, 3, 4, 5]


def test_one_failure_on_trial_puts_it_out_again():
    fleet = Fleet(URLS)
    first = fleet.instances[0]
    fleet.failed(first, "refused", 0.0, gone=True)
    fleet.probed(first, None, 1.0)
    assert fleet.failed(first, "reset", 1.0)


def test_on_trial_it_is_still_asked_when_there_is_nobody_else():
    fleet = Fleet(URLS[:1])
    (only,) = fleet.instances
    fleet.failed(only, "refused", 0.0, gone=True)
    fleet.probed(only, None, 1.0)
    fleet.sent(only, 1.0)
    assert fleet.pick(1.0) is only


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from(["take", "end", "busy", "look", "out", "back"])), max_size=200
    )
)
def test_in_a_bulk_run_no_server_stands_idle_while_another_has_more_than_its_window(events: list[tuple[int, str]]):
    """A row goes to the emptiest window, and to none that is full."""
    fleet, now = Fleet(URLS), 0.0
    for number, event in events:
        now += 0.3
        instance = fleet.instances[number]
        if event == "take":
            chosen = fleet.with_room(now)
            free = [i for i in fleet.instances if i.is_up and i.rest_until <= now and i.room() > 0]
            assert (chosen is None) == (not free) == (fleet.room(now) == 0)
            if chosen is not None:
                assert chosen.in_flight / chosen.window.size == min(i.in_flight / i.window.size for i in free)
                fleet.sent(chosen, now)
        elif event == "end" and instance.in_flight:
            fleet.given_back(instance, now)
            fleet.answered(instance, now)
        elif event == "busy":
            fleet.busy(instance, now)
        elif event == "look":
            running = min(8, instance.in_flight)
            fleet.sampled(instance, Sample(running, instance.in_flight - running, (now,)), now)
        elif event == "out":
            fleet.failed(instance, "refused", now, gone=True)
        elif event == "back" and not instance.is_up:
            fleet.probed(instance, None, now)


def test_a_death_is_counted_once_and_only_of_a_server_that_was_well():
    fleet = Fleet(URLS)
    first = fleet.instances[0]
    fleet.died(first, 0.5)
    fleet.answered(first, 1.0)
    fleet.died(first, 2.0)
    fleet.died(first, 3.0)
    assert (first.deaths, first.died_at) == (1, 2.0)


def test_a_server_that_was_well_and_refuses_connections_has_died():
    """Else a row lost at two of four servers would seem to have killed them, when the power failed for all."""
    fleet = Fleet(URLS)
    first, second, *_ = fleet.instances
    fleet.answered(first, 1.0)
    for instance in (first, second):
        fleet.failed(instance, "refused", 2.0, gone=True)
        fleet.failed(instance, "refused", 3.0, gone=True)
    assert (first.deaths, first.died_at) == (1, 2.0)
    assert (second.deaths, second.died_at) == (0, None), "it was never seen to be well"


def test_other_weights_under_the_same_name_are_another_model():
    model = Model("m", "/a", 8192)
    assert model.is_served_as(Model("m", "/a", 8192)) and model.is_served_as(Model("m"))
    assert not model.is_served_as(Model("m", "/b", 8192)) and not model.is_served_as(Model("m", "/a", 4096))
