"""How rows are asked, whoever answers."""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterator

from analyze.core import Fate
from analyze.records import CHAT_URL, Answer, Outcome, Request
from analyze.runs.askers import OneLane
from analyze.runs.runner import Stop, outcomes


class Echo(OneLane):
    """Answers everything at once."""

    async def ask(self, request: Request, lane: Hashable = None, *, fate: Fate | None = None) -> Outcome:
        return Answer(request.id, request.asked, {})

    async def aclose(self) -> None:
        """Nothing to close."""


async def test_rows_are_asked_while_a_long_stretch_of_finished_ones_is_passed_over():
    read_until: list[float] = []

    def chunks() -> Iterator[list[Request]]:
        yield [Request("new", "asked", CHAT_URL, {})]
        for _ in range(100):
            time.sleep(0.01)  # reading what turns out to be answered
            yield []
        read_until.append(time.monotonic())

    answered = [time.monotonic() async for _ in outcomes(chunks(), Echo(4))]
    assert len(answered) == 1 and answered[0] < read_until[0] - 0.5


async def test_a_stop_is_heard_while_finished_rows_are_passed_over():
    stop, passed = Stop(), []

    def chunks() -> Iterator[list[Request]]:
        for number in range(1000):
            time.sleep(0.01)
            passed.append(number)
            if number == 10:
                stop.request()
            yield []

    assert [outcome async for outcome in outcomes(chunks(), Echo(4), stop=stop)] == []
    assert len(passed) < 50 and stop.cut_short
