"""A vLLM engine as arithmetic: what a step holds, how long it takes, what it finishes. No clock, no socket, no text.

    waiting, first come first served ── a slot is free ──> running: prompt in chunks, then a token a step ──> finished

    step time = step_s + sequence_s x sequences in the step + prefill_token_s x prompt tokens computed in it

Slots, token budget, chunks and the prefix cache (hashes of whole blocks, the longest unused go first) are as in vLLM's
scheduler. It knows no preemption, no swapping, no speculation, and an attention that costs the same at any length.
The simulated servers and the ideal schedule share it, so that an ideal is never another model's.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence as Many
from dataclasses import dataclass, field, replace
from typing import Any

BLOCK_TOKENS = 16  # vLLM's on a GPU
BYTES_A_TOKEN = 4  # English text, and near enough for code


@dataclass(frozen=True, slots=True)
class Profile:
    """What a server can do: the constants of its step time, in seconds, and its limits."""

    step_s: float
    sequence_s: float
    prefill_token_s: float
    slots: int = 64  # max_num_seqs
    token_budget: int = 2048  # max_num_batched_tokens
    cache_tokens: int = 400_000

    def slower(self, times: float) -> Profile:
        """Return this server with every step `times` as long."""
        return replace(
            self,
            step_s=self.step_s * times,
            sequence_s=self.sequence_s * times,
            prefill_token_s=self.prefill_token_s * times,
        )


@dataclass(slots=True, eq=False)
class Sequence:
    """One request inside an engine. `owner` is whoever waits for it."""

    prompt_tokens: int
    output_tokens: int
    blocks: Many[int] = ()  # hashes of the prompt's whole blocks, each including all before it
    owner: Any = None
    computed: int = 0  # prompt tokens, cached ones included
    chunk: int = 0  # prompt tokens in the current step
    generated: int = 0

    @property
    def prefilled(self) -> bool:
        return self.computed >= self.prompt_tokens


def blocks_of(text: bytes) -> list[int]:
    """Return the hashes of the whole blocks of a prompt; equal prefixes give equal beginnings."""
    size, before, hashes = BLOCK_TOKENS * BYTES_A_TOKEN, 0, []
    for start in range(0, len(text) - size + 1, size):
        before = hash((before, text[start : start + size]))
        hashes.append(before)
    return hashes


def sequence_of(text: bytes, output_tokens: int, owner: Any = None) -> Sequence:
    return Sequence(max(1, len(text) // BYTES_A_TOKEN), max(1, output_tokens), blocks_of(text), owner)


@dataclass(slots=True)
class Counters:
    """What an engine has done so far, as its metrics tell it."""

    prompt_tokens: int = 0
    generated_tokens: int = 0
    finished: int = 0
    aborted: int = 0
    cache_queried_tokens: int = 0
    cache_hit_tokens: int = 0


@dataclass(slots=True)
class Engine:
    """`begin` a step, let its time pass, `end` it. Requests come (`add`) and go (`abort`) at any time between."""

    profile: Profile
    waiting: deque[Sequence] = field(default_factory=deque)
    running: list[Sequence] = field(default_factory=list)
    counters: Counters = field(default_factory=Counters)
    _batch: list[Sequence] = field(default_factory=list)
    _cache: OrderedDict[int, None] = field(default_factory=OrderedDict)

    @property
    def free_slots(self) -> int:
        return self.profile.slots - len(self.running) - len(self.waiting)

    @property
    def kv_usage(self) -> float:
        held = sum(s.computed + s.generated for s in self.running)
        return min(1.0, held / self.profile.cache_tokens)

    def add(self, sequence: Sequence) -> None:
        self.waiting.append(sequence)

    def abort(self, sequence: Sequence) -> None:
        """Forget a request that nobody waits for any more; its slot is free from the next step on."""
        for queue in (self.running, self.waiting, self._batch):
            if sequence in queue:
                queue.remove(sequence)
        self.counters.aborted += 1

    def begin(self) -> float | None:
        """Decide what the next step holds and return how long it takes, None when there is nothing to do."""
        profile = self.profile
        budget, prefill = profile.token_budget, 0
        self._batch = []
        for sequence in self.running:
            if budget <= 0:
                break
            if sequence.prefilled:
                sequence.chunk = 0
                budget -= 1
            else:
                prefill += self._take_chunk(sequence, budget)
                budget -= sequence.chunk
            self._batch.append(sequence)
        while self.waiting and budget > 0 and len(self.running) < profile.slots:
            sequence = self.waiting.popleft()
            self._look_up(sequence)
            prefill += self._take_chunk(sequence, budget)
            budget -= sequence.chunk
            self.running.append(sequence)
            self._batch.append(sequence)
        if not self._batch:
            return None
        return profile.step_s + profile.sequence_s * len(self._batch) + profile.prefill_token_s * prefill

    def end(self) -> list[Sequence]:
        """Count what the step has done and return the requests it finished."""
        finished = []
        for sequence in self._batch:
            sequence.computed += sequence.chunk
            self.counters.prompt_tokens += sequence.chunk
            if sequence.prefilled:
                sequence.generated += 1
                self.counters.generated_tokens += 1
                if sequence.generated >= sequence.output_tokens:
                    finished.append(sequence)
        self._batch = []
        for sequence in finished:
            self.running.remove(sequence)
        self.counters.finished += len(finished)
        return finished

    def _take_chunk(self, sequence: Sequence, budget: int) -> int:
        sequence.chunk = min(sequence.prompt_tokens - sequence.computed, budget)
        first, last = sequence.computed // BLOCK_TOKENS, (sequence.computed + sequence.chunk) // BLOCK_TOKENS
        for block in sequence.blocks[first:last]:
            self._cache[block] = None
            self._cache.move_to_end(block)
        while len(self._cache) * BLOCK_TOKENS > self.profile.cache_tokens:
            self._cache.popitem(last=False)
        return sequence.chunk

    def _look_up(self, sequence: Sequence) -> None:
        """Take from the cache what it holds of the prompt; the last token is always computed, as vLLM does."""
        hits = 0
        for block in sequence.blocks:
            if block not in self._cache:
                break
            self._cache.move_to_end(block)
            hits += 1
        sequence.computed = min(hits * BLOCK_TOKENS, sequence.prompt_tokens - 1)
        self.counters.cache_queried_tokens += sequence.prompt_tokens
        self.counters.cache_hit_tokens += sequence.computed
        self.counters.prompt_tokens += sequence.computed
