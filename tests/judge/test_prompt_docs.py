"""The documentation shows the prompts that are sent; `python -m tests.judge.test_prompt_docs` renews what it shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from analyze.judge.cells import cell_body, cells_of
from analyze.judge.prompts import PROMPT_VERSION
from analyze.judge.tasks import read_tasks
from analyze.lang import LANGS, Lang
from analyze.per_task import MAX_CODE_CHARS

ROOT = Path(__file__).parents[2]
SHOWN = "split-string"  # short in all its parts
INTRO: dict[Lang, str] = {
    "en": """# What the judge is asked

One question in full, as it is sent: task `{task}` of [data/tasks.jsonl](../data/tasks.jsonl), the target first (as A).
The templates are `analyze/judge/prompts/{version}.en.*.txt`; the reply has to follow the schema of
`analyze/judge/schema.py`. The mark behind `solution A` is the SHA-256 of the task's id and both solutions, so it is
always the same for a question, and no solution can hold its own. Authors and recorded test results are not told.
""",
    "zh": """# 评审模型收到的提问

以下是一次提问的完整内容：[data/tasks.jsonl](../data/tasks.jsonl) 中的任务 `{task}`，目标解答在前（即 A）。
模板文件为 `analyze/judge/prompts/{version}.zh.*.txt`；回复须符合 `analyze/judge/schema.py` 中的 JSON Schema。
`solution A` 后的标记是任务编号与两份解答的 SHA-256：同一提问的标记始终相同，而解答自身无法包含它。
作者与已记录的测试结果不会告知评审模型。
""",
}


def page(lang: Lang) -> str:
    (task,) = [task for task in read_tasks(ROOT / "data/tasks.jsonl") if task.task_id == SHOWN]
    body = cell_body(cells_of(task)[0], lang=lang, max_code_chars=MAX_CODE_CHARS)
    parts = [INTRO[lang].format(task=SHOWN, version=PROMPT_VERSION)]
    for message in body["messages"]:
        assert "`````" not in message["content"]
        parts.append(f"## {message['role']}\n\n`````text\n{message['content'].rstrip()}\n`````\n")
    return "\n".join(parts)


def place(lang: Lang) -> Path:
    return ROOT / f"docs/judge-prompt.{lang}.md"


@pytest.mark.parametrize("lang", LANGS)
def test_the_documentation_shows_the_prompt_that_is_sent(lang: Lang) -> None:
    assert place(lang).read_text(encoding="utf-8") == page(lang)


if __name__ == "__main__":
    for one in LANGS:
        place(one).write_text(page(one), encoding="utf-8")
