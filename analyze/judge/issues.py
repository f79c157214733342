"""The fixed list of issues a judge may name in a solution, with English and Chinese labels.

A closed list, so that the same fault counts as the same fault across tasks, judges and languages. Adding a code
changes the schema, and with it what every cell asks.
"""

from __future__ import annotations

from typing import NamedTuple


class IssueLabel(NamedTuple):
    """The name of an issue, one per language of `analyze.lang`."""

    en: str
    zh: str


ISSUES: dict[str, IssueLabel] = {
    "wrong_result": IssueLabel("wrong result", "结果错误"),
    "missed_edge_case": IssueLabel("missed edge case", "遗漏边界情况"),
    "incomplete": IssueLabel("incomplete", "实现不完整"),
    "ignores_instruction": IssueLabel("ignores the task", "未遵循要求"),
    "crashes": IssueLabel("crashes", "运行崩溃"),
    "no_input_validation": IssueLabel("no input validation", "缺少输入校验"),
    "swallowed_error": IssueLabel("swallowed error", "吞掉异常"),
    "resource_leak": IssueLabel("resource leak", "资源泄漏"),
    "race_condition": IssueLabel("race condition", "竞态条件"),
    "slow_algorithm": IssueLabel("slow algorithm", "算法低效"),
    "wasteful_memory": IssueLabel("wasteful memory use", "浪费内存"),
    "hard_to_read": IssueLabel("hard to read", "难以阅读"),
    "poor_naming": IssueLabel("poor naming", "命名不当"),
    "too_long": IssueLabel("too long", "代码过长"),
    "too_complex": IssueLabel("too complex", "过于复杂"),
    "duplicated_code": IssueLabel("duplicated code", "重复代码"),
    "no_structure": IssueLabel("no structure", "缺乏结构"),
    "missing_docs": IssueLabel("missing documentation", "缺少文档"),
    "misleading_comment": IssueLabel("misleading comment", "误导性注释"),
    "hard_coded_value": IssueLabel("hard-coded value", "硬编码"),
    "global_state": IssueLabel("global state", "依赖全局状态"),
    "not_idiomatic": IssueLabel("not idiomatic", "不合语言习惯"),
    "unsafe_call": IssueLabel("unsafe call", "不安全调用"),
    "injection_risk": IssueLabel("injection risk", "注入风险"),
    "weak_crypto": IssueLabel("weak cryptography", "弱加密"),
}
