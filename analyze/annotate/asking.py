"""Between the plan and the servers: images are prepared ahead of the requests, and replies are read behind them.

    what is left ──> `ready`: images in worker processes, as many ahead as fit in memory ──> requests with a picture
    request ──> `around`: not asked where there is no picture; a reply without a list of objects is a failure
What is read ahead is bounded by its bytes (`runs.backlog.LOOK_AHEAD_BYTES`), so that 64 MiB of pictures, some 200,
stand ready: no request waits for one as long as the processes keep up. Knows no file format.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Collection, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

from analyze.annotate import prompts
from analyze.annotate.families import Coords, family_of
from analyze.annotate.images import Spec, Trouble
from analyze.annotate.parsing import parse_reply
from analyze.annotate.pool import Pool
from analyze.annotate.records import Convention, Picture
from analyze.annotate.sizing import DEFAULT_MAX_PIXELS
from analyze.errors import UsageError
from analyze.inert import inert
from analyze.lang import Lang
from analyze.records import Failure, FailureKind, Outcome, Request
from analyze.runs.replies import Ask
from analyze.runs.runner import Chunks
from analyze.tokens import unguarded_cure, unguarded_in, unguarded_message

AHEAD = 2
"""Images given to the workers at a time, for each of them: one in work, one that waits."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the command line says of images and replies. `coords`, `max_pixels`: None where that is left to us."""

    root: str
    prompt: str
    prompt_lang: Lang
    fields: dict[str, Any]
    coords: Coords | None = None
    max_pixels: int | None = None
    by_path: bool = False
    constrained: bool = False
    workers: int | None = None


@dataclass(slots=True)
class Annotator:
    """What goes on around the asking of one run. Settle it before anything is asked, close it in the end."""

    wishes: Wishes
    convention: Convention = field(default_factory=Convention)
    _pool: Pool | None = None
    _fields: dict[str, Any] = field(default_factory=dict)
    _prompt: str = ""
    _unguarded: Collection[str] = ()

    def settle(self, model: str | None, paths: Sequence[str], unguarded: Collection[str]) -> None:
        """Learn which model answers; `paths` are those it is loaded from, as far as servers tell.

        `unguarded`: control tokens that a caption must not hold (`tokens`). Raises UsageError where sizes would differ.
        """
        wishes, told = self.wishes, self.convention
        told.model, told.family = model, family_of(model, *paths)
        told.coords = wishes.coords or told.family.coords
        if wishes.by_path and told.coords == "resized_px" and wishes.max_pixels is None:
            raise UsageError(
                f"{model} gives boxes in pixels of the image as it is resized, which the server does here, unseen",
                cure="leave out --image-transport file, or name the server's own limit with --max-pixels",
            )
        self._prompt = prompts.for_model(
            wishes.prompt, told.coords, wishes.prompt_lang, is_y_first=told.family.is_y_first
        )
        told.prompt_sha = sha256(self._prompt.encode("utf-8", "surrogatepass")).hexdigest()
        self._fields = {**wishes.fields, **(prompts.constraint(told.coords) if wishes.constrained else {})}
        self._unguarded = unguarded if prompts.CAPTION in self._prompt else ()
        spec = Spec(wishes.root, told.family.factor, wishes.max_pixels or DEFAULT_MAX_PIXELS, wishes.by_path)
        self._pool = Pool(spec, wishes.workers)

    def close(self) -> None:
        if self._pool is not None:
            self._pool.close()

    # -- before ------------------------------------------------------------------------------------------------

    async def ready(self, chunks: Chunks) -> AsyncIterator[list[Request]]:
        """Yield the requests with their images, in the order in which these are prepared."""
        assert self._pool is not None, "the model is not settled"
        waiting: set[asyncio.Task[Request]] = set()
        at_once = AHEAD * self._pool.workers
        try:
            async for chunk in _each(chunks):
                for request in chunk:
                    waiting.add(asyncio.create_task(self._ready(request)))
                    if len(waiting) >= at_once:
                        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                        yield [task.result() for task in done]
                yield []
            while waiting:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                yield [task.result() for task in done]
        finally:
            for task in waiting:
                task.cancel()

    async def _ready(self, request: Request) -> Request:
        assert self._pool is not None
        picture: Picture = request.row
        if picture.problem is not None:
            return request
        made = await self._pool.prepare(picture.name)
        row = replace(picture, made=made)
        if isinstance(made, Trouble):
            return request._replace(row=row)
        size = made.size if self.convention.coords == "original_px" else made.sent
        messages = prompts.messages(self._prompt, made.url, size, picture.caption)
        # The image itself is in the body only: a record has no need of it, and there are many.
        return request._replace(
            body={"messages": messages, **self._fields}, row=replace(row, made=replace(made, url=""))
        )

    # -- around ------------------------------------------------------------------------------------------------

    def around(self, ask: Ask) -> Ask:
        """Ask what can be asked, and tell a reply without a list of objects from an answer (`runs.replies.Around`)."""

        async def asked(request: Request) -> Outcome:
            picture: Picture = request.row
            if (problem := self._problem(picture)) is not None:
                return Failure(request.id, request.asked, "invalid", problem)
            outcome = await ask(request)
            if isinstance(outcome, Failure) or "response_format" in request.body:
                return outcome  # a constraint is checked behind this
            reply = parse_reply(outcome.text, finish_reason=outcome.finish_reason)
            is_cut = "truncated" in reply.flags
            if reply.error is None and not is_cut:
                return outcome
            reason = reply.error or "it was cut off: there may be more objects than it lists"
            kind: FailureKind = "truncated" if is_cut else "schema"
            told = Failure(outcome.id, outcome.asked, kind, reason, outcome.instance, outcome.attempts)
            return replace(told, raw=outcome.text, custom_id=outcome.custom_id)

        return asked

    def _problem(self, picture: Picture) -> str | None:
        if picture.problem is not None:
            return picture.problem
        if isinstance(picture.made, Trouble):
            return picture.made.message
        token = unguarded_in(inert(picture.caption or ""), self._unguarded)
        if token is None:
            return None
        return f"{unguarded_message(token, self.convention.model)}; {unguarded_cure(token)}"


async def _each(chunks: Chunks) -> AsyncIterator[Sequence[Request]]:
    """Yield chunks of either kind; between those that are at hand, let others go on."""
    if isinstance(chunks, AsyncIterable):
        async for chunk in chunks:
            yield chunk
        return
    for chunk in chunks:
        yield chunk
        await asyncio.sleep(0)
