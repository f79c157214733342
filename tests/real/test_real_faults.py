"""What real vLLM servers do when they die, stop, end or are full, and that no row is lost by it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from urllib.request import urlopen

import openai
import pytest

from analyze import Answer, ChatRequest, MultiVLLMClient, ask_many
from analyze.records import Outcome
from analyze.tiny_model import DEMO_MODEL_NAME
from tests.faults.conftest import all_are_back_at_zero
from tests.real.conftest import RealFleet, running

pytestmark = pytest.mark.vllm

LONGEST_UNNOTICED_S = 300
"""Seconds are usual; four servers, this process and whoever else share the machine."""


def hello(number: int) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"Hello number {number}!"}]


def rows(count: int) -> list[ChatRequest]:
    """Rows of 64 tokens."""
    return [ChatRequest(hello(n), id=str(n), options={"max_tokens": 64}) for n in range(count)]


def ask(count: int, urls: list[str], events: dict[int, Callable[[], object]]) -> list[Outcome]:
    """Ask `count` rows. Events happen after so many outcomes."""
    outcomes = asked(count, urls, events)
    assert sorted(int(outcome.id) for outcome in outcomes) == list(range(count))
    return outcomes


def asked(
    count: int,
    urls: list[str],
    events: dict[int, Callable[[], object]],
    is_enough: Callable[[list[Outcome]], bool] = lambda outcomes: False,
) -> list[Outcome]:
    outcomes: list[Outcome] = []
    with closing(ask_many(rows(count), MultiVLLMClient(urls))) as stream:
        for outcome in stream:
            outcomes.append(outcome)
            events.get(len(outcomes), lambda: None)()
            if is_enough(outcomes):
                break
    return outcomes


def kinds(outcomes: list[Outcome]) -> Counter[str]:
    return Counter(
        "ok" if isinstance(outcome, Answer) else f"{outcome.kind}: {outcome.message}" for outcome in outcomes
    )


def metrics(url: str, *names: str) -> tuple[float, ...]:
    with urlopen(url.removesuffix("/v1") + "/metrics", timeout=120) as reply:
        lines = reply.read().decode().splitlines()
    return tuple(
        sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"vllm:{name}{{")) for name in names
    )


def test_servers_that_end_in_the_middle_one_after_another_cost_no_row(real_fleet: RealFleet, caplog):
    """One is killed, the engine of one is killed, one ends in good order: the fourth does the rest."""
    ends = {20: real_fleet.kill, 120: real_fleet.kill_engine, 220: real_fleet.end_in_good_order}
    ending = list(enumerate(ends.items(), start=1))
    try:
        outcomes = ask(400, real_fleet.urls, {after: partial(end, number) for number, (after, end) in ending})
    finally:
        for number, _ in ending:
            real_fleet.clear_away(number)
    assert kinds(outcomes) == {"ok": 400}
    assert all(f"{real_fleet.urls[number]} is out" in caplog.text for number, _ in ending)


@pytest.mark.parametrize("fault", ["stop", "stop_engine"])
def test_a_server_that_stops_costs_no_row_and_is_taken_back_when_it_goes_on(fault: str, real_fleet: RealFleet, caplog):
    """Connections stay open either way; with `stop_engine` /health goes on saying 200, /metrics the same numbers."""
    url = real_fleet.urls[1]
    noticed_after_s: list[float] = []
    those_it_held = {str(number) for number in range(200)}  # and others; they may be queued elsewhere when it is back

    def answers_again(outcomes: list[Outcome]) -> bool:
        return f"{url} is back" in caplog.text and sum(outcome.instance == url for outcome in outcomes[-200:]) >= 20

    def is_enough(outcomes: list[Outcome]) -> bool:
        return answers_again(outcomes) and those_it_held <= {outcome.id for outcome in outcomes}

    def stop() -> None:
        getattr(real_fleet, fault)(1)
        threading.Thread(target=watch, args=[time.monotonic()]).start()

    def watch(stopped_at: float) -> None:
        while f"{url} is out" not in caplog.text and time.monotonic() < stopped_at + LONGEST_UNNOTICED_S:
            time.sleep(0.1)
        noticed_after_s.append(time.monotonic() - stopped_at)
        time.sleep(1)
        real_fleet.go_on(1)

    try:
        outcomes = asked(6000, real_fleet.urls, {20: stop}, is_enough)
    finally:
        real_fleet.go_on(1)
    print(f"noticed after {noticed_after_s[0]:.1f} s")
    assert kinds(outcomes) == {"ok": len(outcomes)}
    assert those_it_held <= {outcome.id for outcome in outcomes}
    assert noticed_after_s[0] < LONGEST_UNNOTICED_S, "not a wait for the request timeout, which is ten minutes"
    assert f"{url} is back" in caplog.text
    assert answers_again(outcomes)
    assert caplog.text.count(f"{url} is out") == 1


def test_a_stream_of_an_engine_that_dies_never_passes_for_a_whole_one(real_fleet: RealFleet):
    """vLLM ends such a stream in good order: an error as its last event, then [DONE]."""
    url = real_fleet.urls[1]
    (before,) = metrics(url, "generation_tokens_total")

    def kill() -> None:
        """Kill it while each of the six that it serves at once has said about fifty of its 700 tokens."""
        while metrics(url, "generation_tokens_total") < (before + 300,):
            time.sleep(0.05)
        real_fleet.kill_engine(1)

    def stream(client: MultiVLLMClient, number: int) -> str | None:
        reason = None
        try:
            for chunk in client.chat.completions.create(
                model=DEMO_MODEL_NAME,
                messages=hello(number),
                max_tokens=700,
                stream=True,
                extra_body={"ignore_eos": True},
            ):
                reason = chunk.choices[0].finish_reason
        except openai.APIError:
            return "raised"
        return reason

    with MultiVLLMClient(real_fleet.urls) as client, ThreadPoolExecutor(41) as pool:
        killing = pool.submit(kill)
        ends = Counter(pool.map(lambda number: stream(client, number), range(40)))
        killing.result()
        core = client._client._transport._core
        all_are_back_at_zero(core)
    assert set(ends) == {"raised", "length"}
    assert ends["raised"] <= 6, "those that had said something; the rest of its ten waited for a slot"


def test_a_row_that_kills_engines_is_found_out_before_the_last_one(real_fleet: RealFleet):
    """vLLM 0.32 on the CPU dies of a seed whose prompt is taken in by more than one step."""
    poison = ChatRequest(
        [{"role": "user", "content": "word " * 3500}], id="poison", options={"max_tokens": 8, "seed": 1}
    )
    outcomes = {outcome.id: outcome for outcome in ask_many([*rows(200), poison], MultiVLLMClient(real_fleet.urls))}
    end = outcomes.pop("poison")
    if isinstance(end, Answer):
        pytest.skip("this vLLM survives it")
    time.sleep(2)  # a server ends itself a moment after its engine
    alive = [number for number in range(4) if real_fleet.is_up(number)]
    for number in {0, 1, 2, 3} - {*alive}:
        real_fleet.clear_away(number)
    assert kinds(list(outcomes.values())) == {"ok": 200}
    assert end.kind == "poison"
    assert alive


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealFleet]:
    """A server that refuses what exceeds eight requests, and takes prompts in by 32 tokens a step."""
    flags = ("--max-num-queued-reqs", "8", "--max-num-batched-tokens", "32")
    with running(tmp_path_factory.mktemp("limited"), 1, *flags) as fleet:
        yield fleet


def test_admission_limits_cost_no_row_and_put_nobody_out(limited: RealFleet, caplog):
    outcomes = ask(200, limited.urls, {})
    assert kinds(outcomes) == {"ok": 200}
    assert metrics(limited.urls[0], "admission_rejections_total") > (0,), "the limit was met"
    with MultiVLLMClient(limited.urls) as client, ThreadPoolExecutor(32) as pool:

        def single(number: int) -> int:
            reply = client.chat.completions.create(model=DEMO_MODEL_NAME, messages=hello(number), max_tokens=32)
            return len(reply.choices)

        assert sum(pool.map(single, range(64))) == 64
    assert "is out" not in caplog.text


def test_a_long_prefill_moves_the_cache_usage_step_by_step(limited: RealFleet):
    """It is what tells a long prefill from an engine that has stopped: no token is counted before the last step.

    A prefill takes a second, for which whoever looks may be kept waiting: then there is another one to look at.
    """
    url, seen, number = limited.urls[0], set[float](), 0
    with MultiVLLMClient(limited.urls) as client, ThreadPoolExecutor(1) as pool:
        while len(seen) < 3:
            seen, number = set(), number + 1
            assert number <= 20
            before = metrics(url, "prompt_tokens_total", "generation_tokens_total")
            asked = pool.submit(
                client.chat.completions.create,
                model=DEMO_MODEL_NAME,
                messages=[{"role": "user", "content": f"{number} " + "word " * 3500}],  # none is in the prefix cache
                max_tokens=1,
            )
            while not asked.done():
                *tokens, usage = metrics(url, "prompt_tokens_total", "generation_tokens_total", "kv_cache_usage_perc")
                if tuple(tokens) == before:
                    seen.add(usage)
            assert asked.result().usage.prompt_tokens > 2000
