"""A fleet of fakes with few slots, a client that notices in two seconds what takes ten in earnest."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analyze.core import Core
from tests.fake_vllm import FakeVLLM
from tests.faults.paths import PATHS, Event, Run, Story

TIMES_S = {
    "analyze.watch.POLL_S": 0.1,
    "analyze.watch.SILENT_S": 2.5,  # a machine that has other things to do may run no fake server for a second
    "analyze.watch.STALLED_S": 2.5,
    "analyze.watch.WARMING": 1,
    "analyze.fleet.FIRST_PROBE_S": 0.1,
    "analyze.fleet.LAST_PROBE_S": 0.3,
    "analyze.fleet.LAST_REST_S": 0.5,
    "analyze.lookout.PROBE_TIMEOUT_S": 0.5,
    "analyze.lookout.EXAMINE_TIMEOUT_S": 0.5,
    "analyze.lookout.EXAMINE_AGAIN_S": 0.1,
    "analyze.lookout.GENERATION_TIMEOUT_S": 0.5,
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark these tests: they wait, mostly, and so do those of real servers, beside which they are run."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker("faults")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in TIMES_S.items():
        monkeypatch.setattr(name, value)


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> list[Core]:
    """Every core that the test makes."""
    made: list[Core] = []
    original = Core.__init__

    def remember(core: Core, *args: Any, **options: Any) -> None:
        original(core, *args, **options)
        made.append(core)

    monkeypatch.setattr(Core, "__init__", remember)
    return made


@pytest.fixture
def servers(fake: Callable[..., FakeVLLM]) -> list[FakeVLLM]:
    """Four servers of four slots: 16 requests at a time, 800 a second, if client and machine can."""
    return [fake(slots=4, delay_s=0.02) for _ in range(4)]


@pytest.fixture
def run(
    servers: list[FakeVLLM], cores: list[Core], caplog: pytest.LogCaptureFixture
) -> Callable[[str, int, dict[int, Event]], Run]:
    """Asks `rows` on a path while the events come to pass, and sees to it that every counter is back at zero."""

    def go(path: str, rows: int, events: dict[int, Event]) -> Run:
        outcomes = PATHS[path]([server.url for server in servers], rows, Story(events))
        assert set(outcomes) == set(range(rows)), "every row has an outcome"
        core = cores[-1]
        all_are_back_at_zero(core)
        return Run(outcomes, servers, core, [record.getMessage() for record in caplog.records])

    return go


def until(happened: Callable[[], object]) -> None:
    """Wait for what the client does in threads of its own."""
    give_up_at = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < give_up_at, "it did not come to that"
        time.sleep(0.01)


def all_are_back_at_zero(core: Core) -> None:
    """What is in flight ends within a moment after the last outcome: the losers of a race, streams closed early."""
    deadline = time.monotonic() + 60
    while any(instance.in_flight for instance in core.fleet.instances) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [(instance.in_flight, instance.load) for instance in core.fleet.instances] == [(0, 0)] * len(
        core.fleet.instances
    )
