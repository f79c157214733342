"""How long answers are expected to be: right where the job's history tells it, silent where it does not."""

from __future__ import annotations

import random
from collections.abc import Callable
from statistics import correlation

import pytest

from analyze.records import CHAT_URL, Request
from analyze.runs.lengths import FIRST_ANSWERS, Lengths

EMBEDDINGS = "/v1/embeddings"


def request(limit: object = None, url: str = CHAT_URL, name: str = "max_tokens") -> Request:
    return Request("id", "asked", url, {} if limit is None else {name: limit})


Job = Callable[[random.Random], tuple[Request, int, int]]
"""Makes one row of a job: the request, the bytes of its prompt, and how long its answer will be."""


def by_limit(chance: random.Random) -> tuple[Request, int, int]:
    limit = chance.randrange(50, 2_000)
    return request(limit), 1_000, min(limit, round(limit * chance.lognormvariate(-0.7, 0.5)))


def by_prompt(chance: random.Random) -> tuple[Request, int, int]:
    size = round(chance.lognormvariate(8, 1.5))
    return request(4_096), size, min(4_096, round(size / 10 * chance.lognormvariate(0, 0.5)))


def by_both(chance: random.Random) -> tuple[Request, int, int]:
    limit, size = chance.choice([500, 1_000, 4_000]), chance.choice([1_000, 100_000])
    return request(limit), size, round(limit * (0.1 if size < 10_000 else 0.8) * chance.uniform(0.5, 1.2))


def by_url(chance: random.Random) -> tuple[Request, int, int]:
    url, tokens = chance.choice([(EMBEDDINGS, 0), (CHAT_URL, 300)])
    return request(url=url), 1_000, tokens


def by_nothing(chance: random.Random) -> tuple[Request, int, int]:
    return request(1_000), round(chance.lognormvariate(7, 1)), min(1_000, round(chance.expovariate(1 / 300)))


def by_false_limits(chance: random.Random) -> tuple[Request, int, int]:
    return request(chance.randrange(500, 9_000)), 1_000, min(500, round(chance.expovariate(1 / 100)))


def after(job: Job, answers: int, seed: int = 1) -> Lengths:
    lengths, chance = Lengths(), random.Random(seed)
    for _ in range(answers):
        asked, size, tokens = job(chance)
        lengths.expected(asked, size)
        lengths.learn(asked, size, tokens)
    return lengths


@pytest.mark.parametrize("job", [by_limit, by_prompt, by_both, by_url])
def test_what_tells_the_length_is_found_in_the_history(job: Job):
    lengths, chance = after(job, 256), random.Random(2)
    rows = [job(chance) for _ in range(500)]
    expected = [lengths.expected(asked, size) for asked, size, _ in rows]
    assert lengths.tells
    assert correlation(expected, [tokens for *_, tokens in rows]) > 0.6


@pytest.mark.parametrize("job", [by_nothing, by_false_limits])
def test_ignorance_is_admitted_where_neither_limit_nor_prompt_tells(job: Job):
    ignorant = [not after(job, 512, seed).tells for seed in range(20)]
    assert sum(ignorant) >= 19


def test_nothing_is_told_before_there_are_answers():
    lengths = Lengths()
    for size in (10, 1_000, 100_000):
        lengths.expected(request(100), size)
    assert not lengths.tells
    assert lengths.version == 0


def test_limits_that_vary_tell_something_before_there_are_answers():
    lengths = Lengths()
    lengths.expected(request(100), 10)
    long = lengths.expected(request(1_000), 10)
    assert lengths.tells
    assert lengths.version == 1
    assert lengths.expected(request(100), 10) < long


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "max_output_tokens"])
def test_every_name_of_the_limit_is_understood(name: str):
    assert Lengths().expected(request(10, name=name), 100) <= 10


@pytest.mark.parametrize("limit", ["many", None, -1, 0, 1.5, [], 10**400])
def test_limits_that_are_none_do_no_harm(limit: object):
    lengths = Lengths()
    assert 0 < lengths.expected(request(limit), 100) < 1e7
    lengths.learn(request(limit), 100, 5)


def test_no_more_is_expected_than_the_limit_allows():
    lengths = after(by_prompt, 256)
    assert lengths.expected(request(7), 1_000_000) == 7


def test_expectations_change_only_after_64_128_256_answers():
    lengths, chance, changes = Lengths(), random.Random(1), []
    probe = by_prompt(random.Random(3))
    for answers in range(1, 600):
        before, version = lengths.expected(*probe[:2]), lengths.version
        lengths.learn(*by_prompt(chance))
        if lengths.version != version:
            changes.append(answers)
        else:
            assert lengths.expected(*probe[:2]) == before
    assert changes == [FIRST_ANSWERS, 128, 256, 512]


def test_where_nothing_tells_there_is_no_reason_to_sort_again():
    assert after(by_nothing, 1_000).version == 0


def test_a_longer_prompt_costs_more_but_less_than_as_long_an_answer():
    lengths = Lengths()
    short, long = lengths.cost(request(), 400), lengths.cost(request(), 4_400)
    assert short < long < short + 1_000
