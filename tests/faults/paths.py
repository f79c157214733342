"""The four ways a user has to many servers, brought to one shape: rows in, what became of each out.

Each asks `rows` questions, `IN_FLIGHT` at a time (the bulk path as many as it likes), and calls `Story.told` after
each outcome, which is when faults happen.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from analyze import Answer, AsyncMultiVLLMClient, ChatRequest, MultiVLLMClient, ask_many
from analyze.core import Core
from tests.fake_vllm import FakeVLLM

IN_FLIGHT = 24

Event = Callable[[], object]


class Story:
    """What happens after how many outcomes. While it happens no other outcome is told, so that rows are left for it."""

    def __init__(self, events: dict[int, Event]) -> None:
        self._events = dict(events)
        self._count = 0
        self._lock = threading.Lock()

    def told(self) -> None:
        with self._lock:
            self._count += 1
            event = self._events.pop(self._count, None)
            if event is not None:
                event()


def question(row: int) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"row {row}"}]


def row_of(body: dict[str, Any]) -> int | None:
    """The row that a server was asked; None of a probe."""
    messages = body.get("messages")
    return int(messages[0]["content"].removeprefix("row ")) if messages else None


def ask_sync(urls: list[str], rows: int, story: Story) -> dict[int, str]:
    def ask(row: int) -> str:
        try:
            reply = client.chat.completions.create(model="fake-model", messages=question(row))
            return str(reply.choices[0].message.content)
        except Exception as error:  # noqa: BLE001 - whatever a user would see is the outcome
            return type(error).__name__
        finally:
            story.told()

    with MultiVLLMClient(urls) as client, ThreadPoolExecutor(IN_FLIGHT) as pool:
        return dict(enumerate(pool.map(ask, range(rows))))


def ask_async(urls: list[str], rows: int, story: Story) -> dict[int, str]:
    async def ask(client: AsyncMultiVLLMClient, row: int) -> str:
        reply = await client.chat.completions.create(model="fake-model", messages=question(row))
        return str(reply.choices[0].message.content)

    return asyncio.run(_ask_all(urls, rows, story, ask))


def ask_streams(urls: list[str], rows: int, story: Story) -> dict[int, str]:
    async def ask(client: AsyncMultiVLLMClient, row: int) -> str:
        stream = await client.chat.completions.create(model="fake-model", messages=question(row), stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    return asyncio.run(_ask_all(urls, rows, story, ask))


async def _ask_all(urls: list[str], rows: int, story: Story, ask: Callable[..., Any]) -> dict[int, str]:
    slots = asyncio.Semaphore(IN_FLIGHT)

    async def one(row: int) -> str:
        async with slots:
            try:
                return str(await ask(client, row))
            except Exception as error:  # noqa: BLE001 - whatever a user would see is the outcome
                return type(error).__name__
            finally:
                await asyncio.to_thread(story.told)

    async with AsyncMultiVLLMClient(urls) as client:
        return dict(enumerate(await asyncio.gather(*(one(row) for row in range(rows)))))


def ask_bulk(urls: list[str], rows: int, story: Story) -> dict[int, str]:
    def requests() -> Iterator[ChatRequest]:
        for row in range(rows):
            yield ChatRequest(question(row), id=str(row))

    outcomes: dict[int, str] = {}
    for outcome in ask_many(requests(), MultiVLLMClient(urls)):
        assert int(outcome.id) not in outcomes, "one outcome a row"
        outcomes[int(outcome.id)] = outcome.text if isinstance(outcome, Answer) else outcome.kind
        story.told()
    return outcomes


PATHS = {"sync": ask_sync, "async": ask_async, "stream": ask_streams, "bulk": ask_bulk}


@dataclass
class Run:
    """What became of the rows, and what the client then thought of the servers."""

    outcomes: dict[int, str]
    servers: list[FakeVLLM]
    core: Core
    said: list[str] = field(repr=False)

    @property
    def lost(self) -> dict[int, str]:
        return {row: outcome for row, outcome in self.outcomes.items() if outcome != "hello"}

    @property
    def asked(self) -> Counter[int | None]:
        """How often each row reached a server."""
        return Counter(row_of(body) for server in self.servers for body in server.bodies)

    @property
    def extra(self) -> int:
        """How many asks more than rows there were."""
        return self.asked.total() - len(self.outcomes)

    @property
    def thrown_out(self) -> list[int]:
        """The numbers of the servers that were put out at any time, once each."""
        return [n for n, server in enumerate(self.servers) if any(f"{server.url} is out" in line for line in self.said)]

    @property
    def returns(self) -> int:
        return sum("is back" in line for line in self.said)
