"""Fixtures that several test folders share."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
import pytest

from analyze import settings
from tests.fake_vllm import FakeVLLM

# The machine may be busy: an example that takes long is no failure, nor are those that take long to make.
hypothesis.settings.register_profile(
    "no deadline", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("no deadline")

# A shell that runs the tests in the background has them ignore Ctrl-C, and with them every process that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

SETTINGS = [setting.env for setting in settings.PIPELINE] + ["VLLM_PRESET"]
PROXIES = ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"]


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test sees the defaults, in English, whatever the shell that runs it has set."""
    for name in (*SETTINGS, *PROXIES):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ANALYZE_LANG", "en")


@pytest.fixture
def fake() -> Iterator[Callable[..., FakeVLLM]]:
    """Starts fake servers, and stops them at the end of the test."""
    started: list[FakeVLLM] = []

    def start(**options: Any) -> FakeVLLM:
        started.append(FakeVLLM(**options))
        return started[-1]

    yield start
    for server in started:
        if server._thread.is_alive():
            server.stop()


@pytest.fixture
def fleet(fake: Callable[..., FakeVLLM]) -> list[FakeVLLM]:
    """Four fake servers."""
    return [fake() for _ in range(4)]
