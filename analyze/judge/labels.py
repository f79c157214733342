"""The dimensions of a comparison, with their names. Knows nothing of scores.

The order is fixed: prompts, schema, records and reports all follow it.
"""

from __future__ import annotations

from analyze.lang import Lang

DIMENSIONS: tuple[str, ...] = (
    "correctness",
    "robustness",
    "efficiency",
    "readability",
    "maintainability",
    "idiom",
    "security",
    "instruction_following",
)

DIMENSION_LABELS: dict[Lang, dict[str, str]] = {
    "en": {
        "correctness": "Correctness",
        "robustness": "Robustness",
        "efficiency": "Efficiency",
        "readability": "Readability",
        "maintainability": "Maintainability",
        "idiom": "Idiom",
        "security": "Security",
        "instruction_following": "Following the task",
    },
    "zh": {
        "correctness": "正确性",
        "robustness": "健壮性",
        "efficiency": "效率",
        "readability": "可读性",
        "maintainability": "可维护性",
        "idiom": "语言习惯",
        "security": "安全性",
        "instruction_following": "遵循要求",
    },
}
