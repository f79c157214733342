"""What every command says where it cannot go on is something to do."""

from __future__ import annotations

import shlex
import subprocess
import sys

import pytest


@pytest.mark.parametrize("typed", ["python -m analyze.batch", "python -m analyze batch", "python -m analyze runs"])
def test_the_help_that_wrong_use_points_to_is_a_command_that_can_be_typed(typed: str) -> None:
    words = [sys.executable, *shlex.split(typed)[1:]]
    refused = subprocess.run([*words, "--no-such-flag"], capture_output=True, text=True)
    assert refused.returncode == 2
    cure = shlex.split(refused.stderr.rpartition("→ ")[2])
    words = [sys.executable, *cure[1:]] if cure[0] == "python" else [sys.executable, "-m", *cure]
    shown = subprocess.run(words, capture_output=True, text=True)
    assert shown.returncode == 0 and shown.stdout.startswith("usage: ")
