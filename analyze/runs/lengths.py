"""How long an answer will be, judged by the answers that the same job has had. Pure: knows no server and no clock.

Several ways of guessing run side by side: every answer is first guessed by each of them, then learned. The one that
missed by least is believed, and only if it beats the plain mean clearly: else nothing tells the lengths, and that is
said. What is believed changes only after 64, 128, 256 ... answers, because whoever sorts by it has to sort again.

Short answers come back first, so the first guesses are low. They serve to tell longer from shorter, not to promise.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

from analyze.records import Request

FIRST_ANSWERS = 64
"""Answers before history is believed. By chance alone a way of guessing hardly ever explains a tenth of so many."""

CLEARLY = 0.9
"""Share of the plain mean's squared error that a way of guessing may leave."""

BYTES_A_TOKEN = 4

PREFILL_WEIGHT = 1 / 20
"""What a prompt token costs, in generated tokens: 0.02 ms on a large GPU, against 0.2-0.5 ms for one more token of
one of many sequences that are decoded together."""

UNKNOWN_TOKENS = 256.0
"""Expected of an answer of which nothing is known."""

SHARE_OF_LIMIT = 0.5
"""Of max_tokens, expected before there is history."""

MOST_LIMIT = 1_000_000
"""Limits above this say nothing more, and may be too large for a float."""

NONE_SEEN = -1

LIMITS = ("max_completion_tokens", "max_tokens", "max_output_tokens")

Way = Callable[[str, int | None, int], tuple[Hashable, int]]

WAYS: tuple[Way, ...] = (
    lambda url, limit, prompt: ((0,), 1),
    lambda url, limit, prompt: ((1, url), 1),
    lambda url, limit, prompt: ((2, url, limit is None), limit or 1),
    lambda url, limit, prompt: ((3, url, prompt), 1),
    lambda url, limit, prompt: ((4, url, limit is None, prompt), limit or 1),
)
"""Ways of guessing, the simplest first: from a URL, a limit of tokens and the size of a prompt in powers of two, which
requests are alike, and what the length of their answers is counted in."""


class Lengths:
    """Expects the output tokens of requests. `version` counts how often expectations have changed."""

    def __init__(self) -> None:
        self.version = 0
        self._answers = 0
        self._next_look = FIRST_ANSWERS
        self._tokens: dict[Hashable, float] = {}  # answered, by whom a request is alike
        self._scale: dict[Hashable, float] = {}  # the sum of what they were counted in
        self._missed = [0.0] * len(WAYS)  # squared errors
        self._believed: int | None = None  # the way of guessing
        self._rates: dict[Hashable, float] = {}  # tokens by scale, as of the last look
        self._mean = UNKNOWN_TOKENS
        self._first_limit: int | None = NONE_SEEN
        self._limits_vary = False

    @property
    def tells(self) -> bool:
        """Whether one answer can be expected to be longer than another."""
        return self._believed is not None or (self._limits_vary and not self._has_history)

    @property
    def _has_history(self) -> bool:
        return self._answers >= FIRST_ANSWERS

    def cost(self, request: Request, prompt_len_bytes: int) -> float:
        """Return what a request is expected to cost, prompt included, in generated tokens."""
        return prompt_len_bytes * (PREFILL_WEIGHT / BYTES_A_TOKEN) + self.expected(request, prompt_len_bytes)

    def expected(self, request: Request, prompt_len_bytes: int) -> float:
        """Return the expected output tokens; where nothing `tells`, the mean so far, for want of anything better.

        Every request that is to be asked should come by here before the first answer: it shows whether limits vary.
        """
        limit = _limit(request)
        if limit != self._first_limit and not self._limits_vary:
            self._see(limit)
        if self._believed is not None:
            key, scale = WAYS[self._believed](request.url, limit, prompt_len_bytes.bit_length())
            rate = self._rates.get(key)
            tokens = self._mean if rate is None else rate * scale
        elif limit is not None and not self._has_history:
            return limit * SHARE_OF_LIMIT
        else:
            tokens = self._mean
        return tokens if limit is None else min(tokens, limit)

    def learn(self, request: Request, prompt_len_bytes: int, completion_tokens: int) -> None:
        """Take note of how long an answer was."""
        told = self.tells
        limit, prompt = _limit(request), prompt_len_bytes.bit_length()
        plain = self._tokens.get((0,), 0.0) / max(1, self._answers)
        for number, way in enumerate(WAYS):
            key, scale = way(request.url, limit, prompt)
            tokens, scales = self._tokens.get(key, 0.0), self._scale.get(key, 0.0)
            if self._answers:
                guess = tokens / scales * scale if scales else plain
                self._missed[number] += (completion_tokens - guess) ** 2
            self._tokens[key], self._scale[key] = tokens + completion_tokens, scales + scale
        self._answers += 1
        if self._answers >= self._next_look:
            self._look_again()
            if self.tells or told:
                self.version += 1

    def _look_again(self) -> None:
        self._next_look *= 2
        self._mean = self._tokens[(0,)] / self._answers
        best = min(range(len(WAYS)), key=self._missed.__getitem__)
        self._believed = best if self._missed[best] < CLEARLY * self._missed[0] else None
        self._rates = {key: tokens / self._scale[key] for key, tokens in self._tokens.items()}

    def _see(self, limit: int | None) -> None:
        if self._first_limit == NONE_SEEN:
            self._first_limit = limit
            return
        self._limits_vary = True
        if not self._has_history:
            self.version += 1


def _limit(request: Request) -> int | None:
    for name in LIMITS:
        limit = request.body.get(name)
        if isinstance(limit, int) and limit > 0:
            return min(limit, MOST_LIMIT)
    return None
