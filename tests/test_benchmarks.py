"""The simulated servers keep their promises, the ideal is what one works out by hand, a long run keeps its memory."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from math import inf
from pathlib import Path
from statistics import fmean
from typing import Any

import aiohttp
import orjson
import pytest

from analyze.servers import load_of
from benchmarks import (
    command,
    first_request,
    ideal,
    inference,
    journaling,
    memory,
    report,
    results,
    resume,
    scale,
    soak,
    workloads,
)
from benchmarks.engine import BLOCK_TOKENS, Engine, Profile, Sequence, sequence_of
from benchmarks.results import Section, Verdict
from benchmarks.rig import Failed, Server, running

# A step is 10 ms, whatever is in it; a prompt token 1 ms more.
STEP_S, TOKEN_S = 0.010, 0.001
TWO_SLOTS = Profile(STEP_S, 0.0, 0.0, slots=2)


def run(engine: Engine) -> list[tuple[float, list[Any]]]:
    """Run all steps; return when each ends and the owners of what it finished."""
    now, ends = 0.0, []
    while (duration := engine.begin()) is not None:
        now += duration
        ends.append((round(now, 6), [sequence.owner for sequence in engine.end()]))
    return ends


# -- the engine ----------------------------------------------------------------------------------------------------


def test_no_more_run_than_there_are_slots_and_the_others_wait_their_turn() -> None:
    engine = Engine(TWO_SLOTS)
    for owner, tokens in (("a", 3), ("b", 1), ("c", 1)):
        engine.add(Sequence(1, tokens, owner=owner))
    assert run(engine) == [(0.01, ["b"]), (0.02, ["c"]), (0.03, ["a"])]


def test_a_step_costs_its_sequences_and_the_prompt_tokens_computed_in_it() -> None:
    engine = Engine(Profile(step_s=0.1, sequence_s=0.01, prefill_token_s=0.001))
    engine.add(Sequence(5, 2))
    engine.add(Sequence(7, 1))
    assert engine.begin() == pytest.approx(0.1 + 2 * 0.01 + 12 * 0.001)
    engine.end()
    assert engine.begin() == pytest.approx(0.1 + 0.01)


def test_a_prompt_larger_than_the_token_budget_takes_several_steps_and_decodes_go_on_beside_it() -> None:
    engine = Engine(Profile(STEP_S, 0.0, 0.0, token_budget=100))
    engine.add(Sequence(1, 3, owner="short"))
    engine.add(Sequence(250, 1, owner="long"))
    assert run(engine) == [(0.01, []), (0.02, []), (0.03, ["short", "long"])]


def test_a_prompt_that_begins_like_an_earlier_one_costs_only_what_is_new_in_it() -> None:
    engine = Engine(Profile(0.0, 0.0, TOKEN_S))
    beginning, size = b"x" * 4 * 10 * BLOCK_TOKENS, 10 * BLOCK_TOKENS
    engine.add(sequence_of(beginning, 1))
    assert engine.begin() == pytest.approx(size * TOKEN_S)
    engine.end()
    engine.add(sequence_of(beginning + b"y" * 20, 1))
    assert engine.begin() == pytest.approx(5 * TOKEN_S)
    assert engine.counters.cache_hit_tokens == size


def test_the_cache_forgets_what_was_not_used_for_longest() -> None:
    engine = Engine(Profile(0.0, 0.0, TOKEN_S, cache_tokens=2 * BLOCK_TOKENS))
    first, second, third = (letter * 4 * BLOCK_TOKENS for letter in (b"a", b"b", b"c"))
    costs = []
    for prompt in (first, second, first, third, first, second):
        engine.add(sequence_of(prompt, 1))
        costs.append(round((engine.begin() or 0) / TOKEN_S))
        engine.end()
    assert costs == [16, 16, 1, 16, 1, 16]


def test_an_aborted_request_frees_its_slot() -> None:
    engine = Engine(TWO_SLOTS)
    unwanted = Sequence(1, 1000, owner="unwanted")
    for sequence in (unwanted, Sequence(1, 2, owner="a"), Sequence(1, 1, owner="b")):
        engine.add(sequence)
    engine.begin()
    engine.abort(unwanted)
    engine.end()
    assert run(engine) == [(0.01, ["a", "b"])]


# -- the ideal -----------------------------------------------------------------------------------------------------


def test_the_ideal_of_one_queue_is_that_of_greedy_servers() -> None:
    """Two servers with one slot: 3 | 1 + 1, then the 2 goes to whoever is free first; in all 4 steps, not 5."""
    profiles = [Profile(STEP_S, 0.0, 0.0, slots=1)] * 2
    assert ideal.central_queue([Sequence(1, n) for n in (3, 1, 1, 2)], profiles) == pytest.approx(4 * STEP_S)


def test_the_ideal_gives_a_slow_server_less() -> None:
    """Twelve rows of one step: the one that is three times slower does three of them while the other does nine."""
    profile = Profile(STEP_S, 0.0, 0.0, slots=1)
    assert ideal.central_queue([Sequence(1, 1) for _ in range(12)], [profile, profile.slower(3)]) == pytest.approx(0.09)


def test_lists_placed_by_hand_are_as_slow_as_the_longest_of_them() -> None:
    profiles = [Profile(STEP_S, 0.0, 0.0, slots=1)] * 2
    assert ideal.placed([[Sequence(1, 4), Sequence(1, 3)], [Sequence(1, 1)]], profiles) == pytest.approx(7 * STEP_S)


# -- the server ----------------------------------------------------------------------------------------------------


@contextmanager
def served(server: Server) -> Iterator[str]:
    with running([server]) as fleet:
        yield fleet.urls[0]


async def ask(session: aiohttp.ClientSession, url: str, tokens: int, text: str = "hello") -> dict[str, Any]:
    body = workloads.row("a", text, tokens)["body"]
    async with session.post(url + "/chat/completions", json=body) as reply:
        assert reply.status == 200, await reply.text()
        answer: dict[str, Any] = await reply.json()
        return answer


async def metrics(session: aiohttp.ClientSession, url: str) -> dict[str, float]:
    async with session.get(url.removesuffix("/v1") + "/metrics") as reply:
        lines = (await reply.text()).splitlines()
    return {line.partition("{")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


def loads(told: dict[str, float]) -> tuple[float, float]:
    return told["vllm:num_requests_running"], told["vllm:num_requests_waiting"]


async def told(session: aiohttp.ClientSession, url: str, is_so: Callable[[dict[str, float]], bool]) -> dict[str, float]:
    """Return what the server says of itself as soon as it says this."""
    async with asyncio.timeout(60):
        while not is_so(found := await metrics(session, url)):  # noqa: ASYNC110 - a process of its own
            await asyncio.sleep(0.01)
        return found


async def test_a_server_says_what_it_is_and_how_it_is_under_vllms_names() -> None:
    with served(Server(TWO_SLOTS)) as url:
        async with aiohttp.ClientSession() as session:
            await asyncio.gather(*(ask(session, url, 20) for _ in range(5)))
            done = await metrics(session, url)
            asked = [asyncio.create_task(ask(session, url, 100_000)) for _ in range(5)]  # for a quarter of an hour
            busy = await told(session, url, lambda it: loads(it) == (2, 3) and it["vllm:kv_cache_usage_perc"] > 0)
            load = await asyncio.to_thread(load_of, "127.0.0.1", int(url.removesuffix("/v1").rpartition(":")[2]))
            async with session.get(url + "/models") as reply:
                card = (await reply.json())["data"][0]
            for task in asked:
                task.cancel()
    assert load is not None and load.running == 2
    assert done["vllm:generation_tokens_total"] == 100 < busy["vllm:generation_tokens_total"]
    assert 0 < done["vllm:prompt_tokens_total"] < busy["vllm:prompt_tokens_total"]
    assert loads(done) == (0, 0) and 0 < busy["vllm:kv_cache_usage_perc"] < 1
    assert done["vllm:request_success_total"] == done["simulated:posts_total"] == 5
    assert busy["vllm:request_success_total"] == 5 and busy["simulated:posts_total"] == 10
    assert {"id", "root", "max_model_len"} <= set(card)


async def test_an_answer_has_the_length_that_its_prompt_ends_with_else_max_tokens() -> None:
    with served(Server(Profile(0.001, 0.0, 0.0))) as url:
        async with aiohttp.ClientSession() as session:
            told = await ask(session, url, 7)
            async with session.post(url + "/completions", json={"prompt": "hello", "max_tokens": 5}) as reply:
                limited = await reply.json()
    assert told["usage"]["completion_tokens"] == 7
    assert limited["usage"]["completion_tokens"] == 5 and limited["choices"][0]["text"]


async def test_a_stream_comes_token_by_token() -> None:
    with served(Server(TWO_SLOTS)) as url:
        async with aiohttp.ClientSession() as session:
            body = {**workloads.row("a", "hello", 20)["body"], "stream": True}
            async with session.post(url + "/chat/completions", json=body) as reply:
                arrived = [line async for line in reply.content if line.strip()]
            body = {**workloads.row("a", "hello", 100_000)["body"], "stream": True}
            async with session.post(url + "/chat/completions", json=body) as reply:
                first = await reply.content.readline()
                at_work = await metrics(session, url)
    assert len(arrived) == 21 and arrived[-1].strip() == b"data: [DONE]"
    assert b"yes " in first and loads(at_work) == (1, 0), "the first is here long before the last"


async def test_a_request_whose_client_goes_is_aborted() -> None:
    with served(Server(TWO_SLOTS)) as url:
        async with aiohttp.ClientSession() as session:
            asked = [asyncio.create_task(ask(session, url, 100_000)) for _ in range(3)]
            await told(session, url, lambda it: loads(it) == (2, 1))
            for task in asked:
                task.cancel()
            await told(session, url, lambda it: loads(it) == (0, 0) and it["simulated:aborted_total"] == 3)


async def test_steps_take_their_time_and_late_timers_do_not_add_up() -> None:
    with served(Server(TWO_SLOTS)) as url:
        async with aiohttp.ClientSession() as session:
            quickest_s = inf
            for _ in range(20):  # a machine that stands still may make it late, but hardly each time
                started = time.monotonic()
                await ask(session, url, 300)
                quickest_s = min(quickest_s, time.monotonic() - started)
                if quickest_s < 4.5:
                    break
    assert 2.99 <= quickest_s < 4.5


async def test_a_server_resets_fails_and_hangs_when_it_is_told_to() -> None:
    async def comes(session: aiohttp.ClientSession, url: str, wanted: list[object], late_s: float = inf) -> None:
        """Ask one thing after the other, so that something is always out, until this has come, and nothing else."""
        seen: list[object] = []
        while seen != wanted:
            began = time.monotonic()
            outcome: object = "reset"
            with suppress(aiohttp.ClientError, OSError):
                async with session.post(url + "/chat/completions", json=workloads.row("a", "hello", 10)["body"]) as it:
                    outcome = it.status
            outcome = "late" if time.monotonic() - began > late_s else outcome
            seen += [outcome] if seen[-1:] != [outcome] else []
            assert seen == wanted[: len(seen)]

    faults = ("500:1-4", "hang:1-6", "reset:1")
    with running([Server(TWO_SLOTS, faults=(fault,)) for fault in faults]) as fleet:
        async with aiohttp.ClientSession() as session, asyncio.timeout(120):
            breaks, hangs, resets = fleet.urls
            await asyncio.gather(
                comes(session, breaks, [200, 500, 200]),
                comes(session, hangs, [200, "late", 200], late_s=3.0),
                comes(session, resets, [200, "reset"]),
            )


# -- results, and the long run -------------------------------------------------------------------------------------


def test_a_section_that_is_measured_again_replaces_only_itself(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "BLOCKS", tmp_path / "results.json")
    for name, reached in (("one", "1.2"), ("two", "0.9"), ("one", "1.3")):
        verdict = Verdict(f"what {name} measures", "≥ 1", reached, float(reached) >= 1)
        results.save(name, Section(f"Title {name}", f"text {reached}", [verdict]), took_s=1.0)
    text = results.render(["two", "one", "three"], ["openai==3"])
    assert text.index("## Title two") < text.index("## Title one") and "1.2" not in text
    assert "| what one measures | ≥ 1 | 1.3 | yes |" in text
    assert "| what two measures | ≥ 1 | 0.9 | **no** |" in text


def test_memory_does_not_grow_with_the_rows_of_a_run() -> None:
    """A short version of `python -m benchmarks soak`. A row of 1 kB that is kept would show as 4 MiB."""
    seen = soak.measured(5_000, 1_000)
    assert seen[5_000] - seen[1_000] < 4


# -- a million rows, in short --------------------------------------------------------------------------------------


def test_a_command_is_seen_to_use_time_and_memory_and_to_fail(tmp_path: Path) -> None:
    """However late it is looked at: it ends when that was done."""
    at_work, seen = tmp_path / "at work", tmp_path / "seen"

    def progress() -> float:
        if was_at_work:
            seen.touch()
        was_at_work.extend([True] * at_work.exists())
        return 0.0

    was_at_work: list[bool] = []
    work = "began = time.process_time()\nwhile time.process_time() < began + 1: pass"
    wait = f"Path({str(at_work)!r}).touch()\nwhile not Path({str(seen)!r}).exists(): time.sleep(0.01)"
    busy = f"import time; from pathlib import Path; kept = b'x' * 50_000_000\n{work}\n{wait}"
    ran = command.run([sys.executable, "-c", busy], progress=progress)
    assert ran.wall_s > ran.cpu_s >= 1 and ran.peak > 50e6
    assert max(look.rss for look in ran.looks) > 50e6  # not the last one: it may be of a process that is letting go
    assert 0 < ran.looks[-1].cpu_s <= ran.cpu_s
    with pytest.raises(Failed, match="ended with 3: that was wrong so is the cure"):
        command.run(
            [sys.executable, "-c", "print('more'); print('that was wrong\\nso is the cure'); raise SystemExit(3)"]
        )


def test_what_had_been_seen_when_a_share_was_done() -> None:
    looks = [command.Look(at_s=at, cpu_s=at / 2, rss=10 * at, done=done) for at, done in ((1, 0), (2, 30), (3, 100))]
    ran = command.Ran(looks=looks)
    assert [ran.at(share).at_s for share in (0.1, 0.3, 0.5, 1.0)] == [2, 2, 3, 3]
    assert fmean(scale.by_tenths(ran, rows=10)) == pytest.approx(1000 * 1.5 / 10)


def test_a_finished_run_that_was_made_has_nothing_left_and_lines_as_a_real_one(tmp_path: Path) -> None:
    with running([Server()]) as fleet:
        requests, answers = resume.finished_run(300, tmp_path, fleet.urls)
        before = answers.read_bytes()
        command.run(command.batch(requests, answers, fleet.urls))
    assert fleet.posts == resume.REALLY_ASKED and answers.read_bytes() == before
    assert before.count(b"\n") == 300 == len(set(resume.keyed(requests)))
    assert not list(resume.left_by_hand(requests, answers))


def test_the_first_request_is_seen_however_the_input_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_request, "PATIENCE_S", 300.0)
    taken, _ = first_request.measured(2_000_000, 1, with_peer=False)
    assert {first_request.SMALL, first_request.PLAIN, first_request.PIPE, first_request.GZIP} <= taken.keys()
    assert all(0 < first.at_s < first_request.PATIENCE_S for [first] in taken.values())


def test_a_run_is_looked_at_from_its_first_to_its_last_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of rows that take five seconds in all: whoever looks may be kept waiting."""
    monkeypatch.setattr(memory, "Server", partial(Server, delay_s=0.8))
    ran = memory.asked(400, 4_000)
    assert 0 < ran.at(0.5).at_s < ran.looks[-1].at_s and ran.at(1.0).rss <= ran.peak


def test_recording_is_measured_beside_a_script_by_hand() -> None:
    taken = journaling.measured(1_000, 1)
    assert taken.keys() == {"journal", "by-hand"}
    assert all(times["wall_s"] > 0 for rounds in taken.values() for times in rounds)


# -- reports -------------------------------------------------------------------------------------------------------


def test_a_run_to_report_on_has_as_many_judgements_as_are_asked_for_and_says_the_same_again(tmp_path: Path) -> None:
    for name in ("once", "again"):
        report.write(tmp_path / name, 60, "zh")
    once, again = ((tmp_path / name / "per_task.jsonl").read_bytes() for name in ("once", "again"))
    records = [orjson.loads(line) for line in once.splitlines()]
    assert once == again
    assert sum(len(rival["cells"]) for record in records for rival in record["rivals"]) >= 60


def test_inference_is_planned_without_asking_and_each_round_asks_every_row(tmp_path: Path) -> None:
    (planned,) = inference.planning(tmp_path, 200, 1)
    assert not (tmp_path / "planned").exists() and planned.cpu_s > 0
    assert len(inference.asking(tmp_path, 40, 2)) == 2
    for number in range(2):
        extracted = (tmp_path / f"asked-{number}" / "results" / "extract").glob("*.jsonl")
        assert sum(path.read_bytes().count(b"\n") for path in extracted) == 40
