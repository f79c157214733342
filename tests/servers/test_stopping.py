"""How long requests in flight are waited for."""

from __future__ import annotations

import pytest

from analyze.servers import Load, stopping
from analyze.servers.processes import Record
from analyze.servers.texts import SILENT

RECORD = Record(1, "boot/1", 1, "127.0.0.1", 8001, (8001,), (), "m", ("vllm",), "log", started=1000.0)


@pytest.mark.parametrize(
    ("told", "looks"),
    [
        ([Load(3, 1), Load(1, 0), Load(0, 0)], 3),
        ([Load(3, 1), None, None, Load(0, 0)], 4),  # too busy to answer in time
        ([None], 1),
    ],
)
def test_requests_that_were_seen_are_waited_for_until_they_are_seen_to_be_gone(
    monkeypatch: pytest.MonkeyPatch, told: list[Load | None], looks: int
) -> None:
    left = iter(told)
    monkeypatch.setattr(stopping, "load_of", lambda *place, timeout_s: next(left))
    monkeypatch.setattr(stopping.processes, "alive", lambda record: True)
    stopping._drain([RECORD], 600, SILENT)
    assert len(told) - len([*left]) == looks


def test_requests_of_a_server_that_has_died_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    alive = iter([True, False])
    monkeypatch.setattr(stopping, "load_of", lambda *place, timeout_s: Load(3, 1))
    monkeypatch.setattr(stopping.processes, "alive", lambda record: next(alive))
    stopping._drain([RECORD], 600, SILENT)
