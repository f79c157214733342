"""Who is asked (`runs.askers`): rows wait, and are answered in batches of one sampling, alike in length.

Knows no job.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from analyze.core import Fate
from analyze.hf.model import Device, Model
from analyze.hf.sampling import Sampling
from analyze.prefixes import prompt_bytes
from analyze.records import CHAT_URL, COMPLETIONS_URL, Answer, Body, Failure, FailureKind, Outcome, Request
from analyze.reply_tokens import reply_tokens
from analyze.runs.askers import OneLane
from analyze.tokens import unguarded_tokens

BATCH_SIZES: Mapping[Device, int] = {"cpu": 8, "cuda": 32}
"""Rows that are answered together. Tiny model, two cores: rows of 600 to 800 tokens 19/s by 1, 61/s by 8, 44/s by 32;
short ones 104, 380 and 515/s. 32 of 800 tokens take 0.3 GB more than 8, which a real model multiplies. Nobody has
measured 32 on a GPU; what is too much for its memory is halved."""

WINDOW = 4
"""Batches that are out at a time: one that is generated, and rows to choose the next one's from, alike in length."""

GATHER_S = 0.01
"""How long a batch that is not full waits for more rows: they come one by one, all within a millisecond or two."""


@dataclass(slots=True, eq=False)
class _Row:
    """A row that waits. `size` is what its prompt's length in tokens goes by."""

    request: Request
    sampling: Sampling
    size: int
    reply: asyncio.Future[Outcome]
    since: float = field(default_factory=time.monotonic)


class HfAsker(OneLane):
    """Answers rows with a loaded model (`runs.askers.Asker`), `batch_size` at a time; `in_flight` may wait here."""

    def __init__(
        self,
        model: Model,
        *,
        batch_size: int | None = None,
        in_flight: int | None = None,
        on_batch: Callable[[Sequence[str]], object] = lambda ids: None,
    ) -> None:
        """`on_batch` is told the ids of the rows that are generated next."""
        self._on_batch = on_batch
        suits = batch_size or BATCH_SIZES[model.device]
        super().__init__(in_flight or WINDOW * suits)
        self.batch_size = min(suits, self.in_flight)
        self._model = model
        self.model = model.name
        self._waiting: list[_Row] = []  # in the order in which they came
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="analyze-hf")
        self._is_closed = threading.Event()
        self._serving: asyncio.Task[None] | None = None

    async def ask(self, request: Request, lane: Hashable = None, *, fate: Fate | None = None) -> Outcome:
        if request.url not in (CHAT_URL, COMPLETIONS_URL):
            return _failure(request, "invalid", f"the engine hf is asked for chats only, not {request.url}")
        try:
            sampling = Sampling.of(request.body)
        except (ValueError, TypeError, AttributeError) as error:
            return _failure(request, "invalid", str(error))
        reply: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Row(request, sampling, len(prompt_bytes(request.body)), reply))
        self._arrived.set()
        if self._serving is None:
            self._serving = asyncio.create_task(self._serve())
        return await reply

    async def reply_tokens(self, body: Body, texts: Sequence[str]) -> list[int] | None:
        """Return the token that each of `texts` is as the beginning of a reply to a chat (`reply_tokens`)."""
        return await reply_tokens(self._post, self.model, body, texts)

    async def unguarded_tokens(self) -> frozenset[str] | None:
        """Return the control tokens of the model that inserted text could become; None where that cannot be told."""
        return await unguarded_tokens(self._post, self.model)

    async def _post(self, path: str, body: Mapping[str, Any], /) -> Mapping[str, Any] | None:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._model.tokenizing, path, body)

    async def aclose(self) -> None:
        """End, within a token of what is generated."""
        self._is_closed.set()
        if self._serving is not None:
            self._serving.cancel()
            with suppress(asyncio.CancelledError):
                await self._serving
        self._thread.shutdown()

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._arrived.wait()
            if len(self._waiting) < self.batch_size:
                await asyncio.sleep(GATHER_S)
            if not (batch := self._next_batch()):
                continue
            self._on_batch([row.request.id for row in batch])
            try:
                outcomes = await loop.run_in_executor(self._thread, self._outcomes, batch)
            except Exception as error:  # noqa: BLE001 - a bug of ours: whoever waits raises it
                _give_up(batch, error)
                continue
            for row, outcome in zip(batch, outcomes, strict=True):
                if not row.reply.done():
                    row.reply.set_result(outcome)

    def _next_batch(self) -> list[_Row]:
        """Take the row that has waited longest, and those most alike in length that are sampled as it is."""
        self._waiting = [row for row in self._waiting if not row.reply.done()]  # a second Ctrl-C cancels them
        batch: list[_Row] = []
        if self._waiting:
            first = self._waiting[0]
            alike = sorted((r for r in self._waiting if r.sampling == first.sampling), key=lambda row: row.size)
            start = min(alike.index(first), max(0, len(alike) - self.batch_size))
            batch = alike[start : start + self.batch_size]
            self._waiting = [row for row in self._waiting if row not in batch]
        if not self._waiting:
            self._arrived.clear()
        return batch

    # -- in the thread ---------------------------------------------------------------------------------------------

    def _outcomes(self, batch: Sequence[_Row]) -> list[Outcome]:
        """Return an outcome for each row, in their order."""
        sampling = batch[0].sampling
        try:
            grammar = None if sampling.regex is None else self._model.compiler.compile_regex(sampling.regex)
        except RuntimeError as error:
            return [_failure(row.request, "invalid", f"no grammar: {error}") for row in batch]
        prompts = [self._prompt(row) for row in batch]
        fitting = [(row, prompt) for row, prompt in zip(batch, prompts, strict=True) if not isinstance(prompt, Failure)]
        answered = iter(self._generated(fitting, grammar))
        return [prompt if isinstance(prompt, Failure) else next(answered) for prompt in prompts]

    def _prompt(self, row: _Row) -> list[int] | Failure:
        try:
            prompt = self._model.prompt(row.request.body)
        except Exception as error:  # noqa: BLE001 - a model's own template, which may raise anything
            return _failure(row.request, "invalid", f"the model's chat template: {error}")
        answer, context = row.sampling.max_tokens, self._model.context
        if len(prompt) + (answer or 1) <= context:
            return prompt
        told = f"the maximum context length is {context} tokens; the prompt has {len(prompt)}, the answer {answer or 1}"
        return _failure(row.request, "too_long", told)

    def _generated(self, rows: Sequence[tuple[_Row, list[int]]], grammar: Any) -> list[Outcome]:
        """Return an outcome for each row. Where a batch breaks, or is too much for the memory, it is halved."""
        if not rows:
            return []
        try:
            prompts = [prompt for _, prompt in rows]
            bodies = self._model.generate(prompts, rows[0][0].sampling, grammar, self._is_closed.is_set)
            return [_answer(row, body) for (row, _), body in zip(rows, bodies, strict=True)]
        except Exception as error:  # noqa: BLE001 - the border to somebody's model, which may raise anything
            problem = f"{type(error).__name__}: {error}"
        if len(rows) == 1:
            return [_failure(rows[0][0].request, "server", problem)]
        half = len(rows) // 2
        return [*self._generated(rows[:half], grammar), *self._generated(rows[half:], grammar)]


def _answer(row: _Row, body: Body) -> Answer:
    return Answer(row.request.id, row.request.asked, body, latency_s=round(time.monotonic() - row.since, 4))


def _failure(request: Request, kind: FailureKind, message: str) -> Failure:
    return Failure(request.id, request.asked, kind, message, attempts=1)


def _give_up(batch: Sequence[_Row], error: Exception) -> None:
    for row in batch:
        if not row.reply.done():
            row.reply.set_exception(error)
