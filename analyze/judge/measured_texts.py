"""What the measured judge says, in English and Chinese. Knows no score: it puts into words what was told.

Every sentence keeps to the reply schema: short, no quotation mark, no backslash. Values and names go into it, never
a word of the judged code. A penalty is the weight of the findings on a dimension.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from analyze.judge.labels import DIMENSION_LABELS
from analyze.judge.schema import EVIDENCE_CHARS
from analyze.lang import Lang

if TYPE_CHECKING:
    from analyze.facts.records import Facts
    from analyze.judge.measured import Told

# At most 22 characters each: a phrase holds the name, two numbers of six digits, and 40 characters in all.
NAMES: dict[Lang, dict[str, str]] = {
    "en": {
        "tests": "recorded tests",
        "syntax": "syntax",
        "loop_depth": "loop depth",
        "complexity": "max complexity",
        "density": "tokens per line",
        "code_lines": "code lines",
        "function_lines": "longest function",
        "parameters": "most parameters",
        "copied_lines": "copied lines",
        "correctness_remarks": "bug penalty",
        "robustness_remarks": "robustness penalty",
        "efficiency_remarks": "efficiency penalty",
        "readability_remarks": "readability penalty",
        "maintainability_remarks": "upkeep penalty",
        "idiom_remarks": "idiom penalty",
        "security_remarks": "security penalty",
        "instruction_following_remarks": "unfinished penalty",
    },
    "zh": {
        "tests": "已记录测试",
        "syntax": "语法",
        "loop_depth": "循环嵌套层数",
        "complexity": "最大圈复杂度",
        "density": "每行词元数",
        "code_lines": "代码行数",
        "function_lines": "最长函数行数",
        "parameters": "最多参数个数",
        "copied_lines": "重复代码行数",
        "correctness_remarks": "缺陷扣分",
        "robustness_remarks": "健壮性扣分",
        "efficiency_remarks": "效率扣分",
        "readability_remarks": "可读性扣分",
        "maintainability_remarks": "可维护性扣分",
        "idiom_remarks": "语言习惯扣分",
        "security_remarks": "安全扣分",
        "instruction_following_remarks": "未完成扣分",
    },
}
# What the two values of `tests` and `syntax` are called: (false, true).
STATES: dict[Lang, dict[str, tuple[str, str]]] = {
    "en": {"tests": ("failed", "passed"), "syntax": ("invalid", "valid")},
    "zh": {"tests": ("未通过", "通过"), "syntax": ("无效", "有效")},
}
SENTENCES: dict[Lang, dict[str, str]] = {
    "en": {
        "pair": "{name} {a} against {b}",
        "alike": "{pair}: alike",
        "phrase": "{name} {a} vs {b}",
        "state": "{name} {a}",
        "nothing": "no measured fact",
        "requirement_tests": "passes the recorded tests where there are any",
        "requirement_facts": "valid, small and simple by measure",
        "requirement_findings": "if Python, no findings of ruff and bandit",
        "size": "{lines} code lines, functions: {functions}",
        "complexity": "max complexity {value}",
        "findings": "findings of ruff and bandit: {value}",
        "tests": "tests {value}",
        "decided": "decided by {names}",
        "equal": "the measured facts do not tell the two apart",
        "and": "; ",
        "comma": ", ",
    },
    "zh": {
        "pair": "{name} {a} 对 {b}",
        "alike": "{pair}，相当",
        "phrase": "{name} {a}，对方 {b}",
        "state": "{name}{a}",
        "nothing": "无可测量的事实",
        "requirement_tests": "若有测试记录，须通过测试",
        "requirement_facts": "按测量结果语法有效、短小、简单",
        "requirement_findings": "若为 Python，ruff 与 bandit 无告警",
        "size": "代码 {lines} 行，函数 {functions} 个",
        "complexity": "最大圈复杂度 {value}",
        "findings": "ruff 与 bandit 告警 {value} 条",
        "tests": "测试{value}",
        "decided": "决定因素：{names}",
        "equal": "测量到的事实不足以区分二者",
        "and": "；",
        "comma": "、",
    },
}


def requirements(lang: Lang) -> list[str]:
    return [SENTENCES[lang][f"requirement_{part}"] for part in ("tests", "facts", "findings")]


def analysis(passed: bool | None, facts: Facts, lang: Lang) -> str:
    """Return one line on one side: size, complexity, findings, tests, as far as known."""
    say = SENTENCES[lang]
    parts = [say["size"].format(lines=facts.code_lines, functions=facts.functions)]
    if facts.max_complexity is not None:
        parts.append(say["complexity"].format(value=facts.max_complexity))
    if facts.linted and facts.scanned:
        parts.append(say["findings"].format(value=len(facts.lint) + len(facts.security)))
    if passed is not None:
        parts.append(say["tests"].format(value=STATES[lang]["tests"][passed]))
    return say["and"].join(parts)


def evidence(told: Sequence[Told], lang: Lang) -> str:
    """Return the values that made the verdict of one dimension, the weightiest first, as many as fit."""
    say = SENTENCES[lang]
    if not told:
        return say["nothing"]
    ordered = sorted(told, key=lambda one: -abs(one.points))
    if not ordered[0].points:
        return say["alike"].format(pair=_filled("pair", ordered[0], lang))
    text = _filled("pair", ordered[0], lang)
    for one in ordered[1:]:
        longer = text + say["and"] + _filled("pair", one, lang)
        if one.points and len(longer) <= EVIDENCE_CHARS:
            text = longer
    return text


def strengths(told: Sequence[Told], lang: Lang) -> list[str]:
    """Return a phrase for each thing that speaks for A."""
    return [_phrase(one, lang) for one in told if one.points > 0]


def weaknesses(told: Sequence[Told], lang: Lang) -> list[str]:
    """Return a phrase for each thing that speaks against A."""
    return [_phrase(one, lang) for one in told if one.points < 0]


def overall_reason(dimensions: Sequence[str], lang: Lang) -> str:
    """Say which dimensions decided; none: that the two are equal."""
    say = SENTENCES[lang]
    if not dimensions:
        return say["equal"]
    labels = [DIMENSION_LABELS[lang][dimension].lower() for dimension in dimensions[:3]]
    return say["decided"].format(names=say["comma"].join(labels))


def _phrase(one: Told, lang: Lang) -> str:
    return _filled("state" if one.name in STATES[lang] else "phrase", one, lang)


def _filled(form: str, one: Told, lang: Lang) -> str:
    a, b = _value(one.name, one.a, lang), _value(one.name, one.b, lang)
    return SENTENCES[lang][form].format(name=NAMES[lang][one.name], a=a, b=b)


def _value(name: str, value: float, lang: Lang) -> str:
    return STATES[lang][name][bool(value)] if name in STATES[lang] else f"{value:g}"
