"""What the banners and flags at the top say: what to know before any number."""

from __future__ import annotations

from typing import Final

EN: Final[dict[str, str]] = {
    "demo_title": "Demo: these verdicts are noise",
    "demo_text": "They come from a tiny random model, so that the whole chain can be tried without a GPU. "
    "No sentence or number on this page says anything about the code.",
    "measured_title": "No model was asked",
    "measured_text": "Solutions were compared by measured facts alone: complexity, size, lint and security findings, "
    "recorded tests. What only a reader of the code could see is not in these numbers.",
    "unqualified_title": "Judge not qualified",
    "unqualified_text": "{reasons}. Read the numbers below as the judge's habits before "
    "reading them as facts about code.",
    "unproven_title": "Judge not proven",
    "unproven_text": "There is not enough evidence that this judge can be believed. Lacking: {reasons}.",
    "family_target": "Judge and target of one family",
    "family_rival": "Judge and a rival of one family",
    "family_text": "By their names, the judge {judge} and {authors} belong to one family of models. Judges favour "
    "their own kind: have these results confirmed by a judge of another family.",
    "row_insufficient": "{coverage} judged: {measure} between {low} and {high}, whatever the rest would have said",
    "flag_insufficient": "too little judged",
    "flag_few": "few tasks: {n}",
    "flag_few_groups": "few tasks: {all} in {n} groups",
    "unfinished_title": "Unfinished run",
    "unfinished_text": "This run has not finished. The same command continues it; these are the records so far.",
}

ZH: Final[dict[str, str]] = {
    "demo_title": "演示：以下判定只是噪声",
    "demo_text": "判定来自一个随机生成的微型模型，只为在没有 GPU 的机器上走通整条流程。"
    "本页任何文字和数字都不说明代码的好坏。",
    "measured_title": "没有询问任何模型",
    "measured_text": "仅凭测得的事实比较：复杂度、规模、静态检查与安全检查结果、记录的测试结果。"
    "只有读懂代码才能看出的差别，不在这些数字里。",
    "unqualified_title": "评审不合格",
    "unqualified_text": "{reasons}。下面的数字首先反映评审的习惯，其次才谈得上代码。",
    "unproven_title": "评审未经证实",
    "unproven_text": "还没有足够的证据说明这个评审可信。还缺：{reasons}。",
    "family_target": "评审与目标同属一个模型家族",
    "family_rival": "评审与某个对手同属一个模型家族",
    "family_text": "从名称看，评审 {judge} 与 {authors} 属于同一模型家族。评审往往偏爱同类，"
    "请用另一家族的评审来印证这些结果。",
    "row_insufficient": "已判定 {coverage}：无论其余结果如何，{measure}在 {low} 与 {high} 之间",
    "flag_insufficient": "判定不足",
    "flag_few": "任务较少：{n}",
    "flag_few_groups": "任务较少：{all} 个，分属 {n} 组",
    "unfinished_title": "运行未完成",
    "unfinished_text": "本次运行尚未结束，用同一条命令即可继续；这里是目前为止的记录。",
}
