"""Who has stopped is told apart from who works hard, over days of simulated servers."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from analyze.fleet import Fleet, Instance
from analyze.watch import POLL_S, PREFILL_FLOOR, SILENT_S, STALLED_S, WARMING, Sample, Watch

DAY_S = 24 * 3600.0


def stopped(watch: Watch, now: float, *, prompt: int = 0, has_answered: bool = True) -> str | None:
    return watch.stopped(now, longest_prompt_tokens=prompt, has_answered=has_answered)


def first_time(judge: Callable[[float], str | None], until_s: float = 300.0) -> float | None:
    """Return the second at which the judgement first is that it has stopped."""
    return next((now / 10 for now in range(int(until_s * 10)) if judge(now / 10)), None)


def test_a_frozen_server_is_noticed_within_seconds():
    watch = Watch()
    watch.began(0.0)
    noticed = first_time(lambda now: stopped(watch, now))
    assert noticed is not None and SILENT_S < noticed < SILENT_S + 1


def test_an_engine_that_generates_nothing_is_noticed_though_its_web_server_answers():
    watch = Watch()
    watch.began(0.0)

    def judge(now: float) -> str | None:
        watch.sampled(Sample(4, 0, (7.0, 7.0)), now)
        return stopped(watch, now)

    noticed = first_time(judge)
    assert noticed is not None and STALLED_S < noticed < STALLED_S + 1


def test_a_server_that_answers_is_alive_however_long_its_looks_take():
    watch = Watch()
    watch.began(0.0)

    def judge(now: float) -> str | None:
        if now % 4 == 0:
            watch.answered(now)
        return stopped(watch, now)

    assert first_time(judge) is None


def test_a_long_prompt_is_granted_the_time_to_take_it_in():
    watch = Watch()
    watch.began(0.0)

    def judge(now: float) -> str | None:
        watch.sampled(Sample(4, 0, (7.0,)), now)
        return stopped(watch, now, prompt=100_000)

    noticed = first_time(judge)
    assert noticed is not None and noticed >= 100_000 / PREFILL_FLOOR


def test_a_server_without_metrics_may_take_its_time():
    watch = Watch()
    watch.began(0.0)

    def judge(now: float) -> str | None:
        watch.heard(now)
        return stopped(watch, now)

    assert first_time(judge) is None


def test_the_first_answer_may_take_longer():
    watch = Watch()
    watch.began(0.0)

    def judge(now: float) -> str | None:
        watch.sampled(Sample(4, 0, (7.0,)), now)
        return stopped(watch, now, has_answered=False)

    noticed = first_time(judge)
    assert noticed is not None and noticed > STALLED_S * WARMING


def test_a_stream_that_waits_for_its_reader_does_not_speak_against_a_server_that_has_nothing_to_do():
    watch = Watch()
    watch.began(0.0)

    def judge(now: float) -> str | None:
        watch.sampled(Sample(0, 0, (7.0,)), now)
        return watch.stopped(now, longest_prompt_tokens=0, has_answered=True, is_awaited=False)

    assert first_time(judge) is None


def test_time_spent_idle_or_asleep_is_no_silence():
    watch = Watch()
    watch.began(0.0)
    watch.answered(1.0)
    watch.began(5000.0)
    assert stopped(watch, 5001.0) is None
    watch.overslept(3600.0)
    assert stopped(watch, 8601.0) is None


def test_who_was_taken_for_stopped_and_came_back_is_given_more_time_up_to_a_minute():
    watch, noticed = Watch(), []
    for _ in range(6):
        watch.began(0.0)
        noticed.append(first_time(lambda now: stopped(watch, now)))
        watch.was_wrong()
    assert [round(second or 0) for second in noticed] == [5, 10, 20, 40, 60, 60]


class Engine:
    """A server in simulated time: it generates, takes in long prompts, is slow to be looked at, and stands still."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.tokens = 0.0
        self.pause_until = self.deaf_until = 0.0

    def lives(self, now: float) -> None:
        """One second: now and then a long prefill, a pause of the engine, a web server that is busy."""
        if self.dice.random() < 1 / 600 and now > self.pause_until + 30:
            self.pause_until = now + self.dice.uniform(1, 8)  # a kernel is compiled
        if self.dice.random() < 1 / 300 and now > self.deaf_until + 5:
            self.deaf_until = now + self.dice.uniform(0.5, 3)  # tokenising prompts of 100k tokens
        if now >= self.pause_until:
            self.tokens += self.dice.uniform(100, 2000)


@pytest.mark.parametrize("seed", range(3))
def test_no_server_is_taken_for_stopped_in_a_day_of_hard_work(seed: int):
    """Long prefills, pauses, a network that fails for all at once for half an hour in all, a client that sleeps."""
    dice = random.Random(seed)
    fleet = Fleet([f"http://h:{port}/v1" for port in (1, 2, 3, 4)])
    engines = {instance: Engine(dice) for instance in fleet.instances}
    for instance in fleet.instances:
        for _ in range(64):
            fleet.sent(instance, 0.0)
        fleet.answered(instance, 0.0)
    now = network_back = 0.0
    while now < DAY_S:
        now += POLL_S
        if dice.random() < 1 / 7200:
            now += (slept_s := dice.uniform(10, 1000))
            for instance in fleet.instances:
                instance.watch.overslept(slept_s)
        if dice.random() < 1 / 3600:
            network_back = now + dice.uniform(1, 300)
        fleet.excuse_shared_stall(now)
        for instance, engine in engines.items():
            engine.lives(now)
            if now >= max(network_back, engine.deaf_until):
                fleet.sampled(instance, Sample(64, 0, (engine.tokens,)), now)
                if dice.random() < 0.5 and now >= engine.pause_until:
                    fleet.answered(instance, now)
            reason = stopped(instance.watch, now)
            assert reason is None or not fleet.hung(instance, reason, now), (now, reason)


def test_when_all_seem_to_have_stopped_all_of_them_stay_in():
    fleet = Fleet([f"http://h:{port}/v1" for port in (1, 2, 3, 4)])
    for instance in fleet.instances:
        fleet.sent(instance, 0.0)
    for now in range(60):
        fleet.excuse_shared_stall(float(now))
        assert [stopped(instance.watch, float(now)) for instance in fleet.instances] == [None] * 4


def test_whatever_the_others_do_half_of_the_servers_stay_in():
    fleet = Fleet([f"http://h:{port}/v1" for port in (1, 2, 3, 4)])
    assert [fleet.hung(instance, "silent", 10.0) for instance in fleet.instances] == [True, True, False, False]


def test_servers_that_cannot_be_reached_do_not_count_for_the_half():
    fleet = Fleet([f"http://h:{port}/v1" for port in (1, 2, 3, 4)])
    for instance in fleet.instances[:2]:
        fleet.failed(instance, "refused", 1.0, gone=True)
    assert [fleet.hung(instance, "silent", 10.0) for instance in fleet.instances[2:]] == [True, False]


def test_the_only_server_is_never_given_up_for_being_silent():
    (only,) = (fleet := Fleet(["http://h:1/v1"])).instances
    assert isinstance(only, Instance) and not fleet.hung(only, "silent", 10.0)


def test_when_all_engines_stand_still_together_all_of_them_stay_in():
    fleet = Fleet([f"http://h:{port}/v1" for port in (1, 2, 3, 4)])
    for instance in fleet.instances:
        fleet.sent(instance, 0.0)
    for now in range(60):
        fleet.excuse_shared_stall(float(now))
        for instance in fleet.instances:
            fleet.sampled(instance, Sample(4, 0, (7.0,)), float(now))
            assert stopped(instance.watch, float(now)) is None
