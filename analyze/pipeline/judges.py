"""Who is asked: the servers of the first judge, and of the second where one is named. Knows no cell and no file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from analyze import settings
from analyze.judge.tasks import Task
from analyze.per_task import inserted_texts
from analyze.pipeline.second_judge import are_kin, connected_second
from analyze.pipeline.told import Teller
from analyze.runs.askers import ClientAsker, FleetAsker, connected_asker
from analyze.tiny_model import DEMO_MODEL_NAME
from analyze.tokens import CANNOT_TELL, refuse_unguarded

DEMO_AUDIT_TASKS = 4
"""Audited tasks where none is said and the model is the demo's: its verdicts are noise, and a CPU has to write them."""


@dataclass(frozen=True, slots=True)
class Judges:
    """`first` is None where facts are measured instead of asking a model, `second` where none is named."""

    first: FleetAsker | ClientAsker | None = None
    second: FleetAsker | None = None

    @property
    def model(self) -> str | None:
        return self.first.model if self.first else None

    @property
    def second_model(self) -> str | None:
        return self.second.model if self.second else None

    @property
    def is_demo(self) -> bool:
        return self.model == DEMO_MODEL_NAME

    def to_audit(self, chosen: settings.Settings) -> int:
        """Return on how many tasks the judge is checked.

        The measured judge is not checked: it always says the same, reads no comment, and takes no orders.
        """
        if self.first is None:
            return 0
        is_said = chosen.resolved[settings.AUDIT_TASKS].source != "default"
        return chosen.count(settings.AUDIT_TASKS) if is_said or not self.is_demo else DEMO_AUDIT_TASKS


@asynccontextmanager
async def connected_judges(
    chosen: settings.Settings,
    client: Any,
    *,
    urls: Sequence[str],
    second_urls: tuple[str, ...],
    in_flight: int | None,
    tasks: Sequence[Task],
    say: Teller,
) -> AsyncIterator[Judges]:
    """Connect to the judges, and close the connections at the end; `client` is asked instead of `urls` if given.

    Raises NoServerError, UsageError where a model cannot be settled, and InputError where a text of a task holds what
    would be a control token of a model.
    """
    async with AsyncExitStack() as at_the_end:
        first = await connected_asker(client, urls=urls, model=chosen[settings.MODEL], in_flight=in_flight)
        await at_the_end.enter_async_context(aclosing(first))
        say.who_is_up("up", first)
        judges = Judges(first)
        if judges.is_demo:
            say("demo")
        if second_urls:
            second = await connected_second(second_urls, chosen[settings.SECOND_JUDGE_MODEL], in_flight)
            await at_the_end.enter_async_context(aclosing(second))
            say.who_is_up("second_up", second)
            judges = Judges(first, second)
            if are_kin(first.model, second.model):
                say("second_kin", first=first.model, second=second.model)
        for asker in (judges.first, judges.second):
            if asker is not None:
                await _guard(tasks, asker, say)
        yield judges


async def _guard(tasks: Sequence[Task], asker: FleetAsker | ClientAsker, say: Teller) -> None:
    """Raise InputError where a text to be inserted holds a control token of the model that would stay one."""
    tokens = await asker.unguarded_tokens()
    if tokens is None:
        say.also([CANNOT_TELL[say.lang]])
    refuse_unguarded(inserted_texts(tasks), tokens or (), asker.model)
