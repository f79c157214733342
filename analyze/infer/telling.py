"""What an inference says on the console, in both languages. Knows no file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analyze.console import printable
from analyze.errors import in_language
from analyze.infer.extracting import Extracted
from analyze.infer.sampling import Sampling
from analyze.infer.tasks import Task
from analyze.lang import Lang
from analyze.records import to_json

SHA_CHARS = 12
SHOWN_CHARS = 200
MOST_FIGURES = 20

TEXTS: dict[Lang, dict[str, str]] = {
    "en": {
        "label": "Inferring",
        "nothing_left": "every row has its record: nobody is asked, and nothing is started",
        "task": "task:     {path} (sha256 {sha})",
        "sampling": "sampling: {values}",
        "rows": "rows:     {rows:,} of {files:,} file(s), cut into {tasks:,} task(s)",
        "problem": "⚠ not read to its end: {problem}",
        "reject": "  {reason}",
        "moved": "earlier results were moved to {path}",
        "earlier": "rows that the input no longer holds: {count:,}; their replies are kept in {path}",
        "later": "results/extract and report.html are made when all rows are asked; --extract_only makes them now",
        "extracted": "extracted: {ok:,} answers of {replies:,} replies ({none:,} had none, {errors:,} errors): {path}",
        "cut": "⚠ replies that were cut at max_tokens: {count:,}",
        "error": "  extract_answer, row {row} of {file}: {error}",
        "changed": "answers that differ from the extraction before: {count:,}: {path}",
        "unchanged": "no answer differs from the extraction before",
        "text": "as text:  {path}",
        "figures": "evaluation:",
        "figure": "  {name}: {value}",
        "evaluate": "⚠ {problem}",
        "page": "report:   {path}",
    },
    "zh": {
        "label": "推理",
        "nothing_left": "每一行都已有记录: 无需提问，也不启动任何服务",
        "task": "任务:     {path}（sha256 {sha}）",
        "sampling": "采样:     {values}",
        "rows": "数据:     {files:,} 个文件共 {rows:,} 行，分为 {tasks:,} 个任务",
        "problem": "⚠ 未能读完: {problem}",
        "reject": "  {reason}",
        "moved": "此前的结果已移到 {path}",
        "earlier": "输入中已没有的行: {count:,}，其回复保留在 {path}",
        "later": "results/extract 和 report.html 在全部请求完成后生成；用 --extract_only 可立即生成",
        "extracted": "提取:     {replies:,} 条回复中提取出 {ok:,} 个答案（无答案 {none:,}，出错 {errors:,}）: {path}",
        "cut": "⚠ 因 max_tokens 被截断的回复: {count:,}",
        "error": "  extract_answer，{file} 第 {row} 行: {error}",
        "changed": "与上次提取不同的答案: {count:,}: {path}",
        "unchanged": "答案与上次提取完全相同",
        "text": "文本:     {path}",
        "figures": "评测:",
        "figure": "  {name}: {value}",
        "evaluate": "⚠ {problem}",
        "page": "报告:     {path}",
    },
}


def told(key: str, lang: Lang, **values: Any) -> str:
    """Return one sentence, harmless to a terminal."""
    return printable(TEXTS[lang][key].format(**values))


def task_lines(task: Task, sampling: Sampling, lang: Lang) -> list[str]:
    """Return which code will be run, and how replies are sampled: each value with where it comes from."""
    held: dict[str, list[str]] = {}
    for name, value in sampling.values.items():
        held.setdefault(sampling.source(name), []).append(f"{name} {to_json(value).decode()}")
    values = "; ".join(f"{', '.join(named)} ({layer})" for layer, named in held.items())
    return [told("task", lang, path=task.path, sha=task.sha256[:SHA_CHARS]), told("sampling", lang, values=values)]


def extracted_lines(found: Extracted, lang: Lang, *, path: Any, changed: Any) -> list[str]:
    """Return what came of the extraction, and what differs from the one before."""
    replies = found.rows - found.failed
    said = [told("extracted", lang, ok=found.ok, replies=replies, none=found.none, errors=found.errors, path=path)]
    if found.cut:
        said.append(told("cut", lang, count=found.cut))
    for one in found.examples:
        source = one["source"]
        error = in_language(str(one["extract_error"]), lang)[:SHOWN_CHARS]
        said.append(told("error", lang, file=source["file"], row=source["row"], error=error))
    if found.changed:
        said.append(told("changed", lang, count=found.changed, path=changed))
    elif not found.is_first:
        said.append(told("unchanged", lang))
    return said


def figure_lines(figures: Mapping[str, Any], lang: Lang) -> list[str]:
    """Return what the task's own evaluation came to."""
    rows = [told("figure", lang, name=name, value=shown(value)) for name, value in list(figures.items())[:MOST_FIGURES]]
    return [told("figures", lang), *rows]


def shown(value: Any) -> str:
    """Return a figure as it is read: four digits of a share are enough."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return (value if isinstance(value, str) else to_json(value).decode())[:SHOWN_CHARS]
