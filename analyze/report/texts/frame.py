"""What every page says around its sections: titles, punctuation, words that many of them use."""

from __future__ import annotations

from typing import Final

EN: Final[dict[str, str]] = {
    "html_lang": "en",
    "title": "1vN code quality",
    "subject": "{target} against {n} rivals",
    "subject_one": "{target} against {rival}",
    "a_target": "the target",
    "nav": "Sections",
    "none": "—",
    "table": "Table",
    "and_more": "and {n} more",
    "overall": "all rivals",
    "of": "of",
    "joint": "; ",
    "gap": " ",
    "list_joint": ", ",
    "colon": ": ",
    "stop": ".",
}

ZH: Final[dict[str, str]] = {
    "html_lang": "zh-CN",
    "title": "1vN 代码质量",
    "subject": "{target} 对比 {n} 个对手",
    "subject_one": "{target} 对比 {rival}",
    "a_target": "目标方案",
    "nav": "章节",
    "none": "—",
    "table": "表格",
    "and_more": "另有 {n} 项",
    "overall": "全部对手",
    "of": "/",
    "joint": "；",
    "gap": "",
    "list_joint": "、",
    "colon": "：",
    "stop": "。",
}
