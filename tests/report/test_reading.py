"""Records as they are read back."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from analyze.report.reading import read_run
from analyze.report.safe import visible_all

# Signs that are shown as they are, and one in a while that is not.
TEXTS = st.text(alphabet=st.one_of(st.sampled_from("ab模 \\\"'{}:,[]"), st.characters(codec="utf-8")), max_size=30)
NAMES = st.one_of(TEXTS, st.sampled_from(["x" * 199, "x" * 200, "x" * 201, "a\nb", "a\tb", "\\u0041"]))


def record(task: str, author: str, said: str, group: str | None) -> dict[str, Any]:
    """A task's record, as far as reading knows it."""
    cells = [{"reason": said}]
    return {
        "task_id": task,
        "group_id": group,
        "same_family": [author],
        "target": {"author": author, "code": said},
        "rivals": [{"author": author, "cells": cells, "issues": {"target": [], "rival": [said]}}],
        "audit": [{"probe": "same", "rival": author, "cells": cells}],
    }


@settings(deadline=None)
@given(st.builds(record, NAMES, NAMES, TEXTS, st.none() | NAMES), st.booleans())
@example(record("a\nb", "x", "", None), False)  # signs that a text may have, and a name may not
@example(record("x", "y" * 201, "", None), False)
@example(record("x", "y", "z" * 20_001, None), False)
@example(record("x", "y", "\x7f\x00\u202e", "\u200b"), True)
def test_every_text_is_made_visible_whichever_way_it_is_written(task: dict[str, Any], is_ascii: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        line = json.dumps(task, ensure_ascii=is_ascii)
        Path(folder, "per_task.jsonl").write_text(line + "\n", encoding="utf-8")
        assert read_run(Path(folder)).tasks == [visible_all(task)]
