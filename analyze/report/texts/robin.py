"""What the round robin says."""

from __future__ import annotations

from typing import Final

EN: Final[dict[str, str]] = {
    "robin": "Round robin",
    "robin_lead": "All authors against each other, on the same tasks and by the same rules; it enters no other number "
    "here. Strength: log-odds of winning a judgement, a tie half, by Bradley and Terry; 0 is the mean of those ranked, "
    "and 0.69 above another means winning two of three against it. Intervals by bootstrap over tasks.",
    "robin_strengths": "Strengths, the strongest first",
    "robin_met": "Wins, ties and losses of each row against each column",
    "h_strength": "Strength",
    "h_tasks": "Tasks",
    "robin_holds": "One order fits: significant meetings are {n} of {all}, and none contradicts it (sign-flip test "
    "over tasks, by Holm).",
    "robin_unsure": "No meeting of two is significant (sign-flip test over tasks, by Holm for {all} meetings): nothing "
    "here speaks for one order, or against it.",
    "robin_contradicted": "No one order fits. Significant against the order by strength: {pairs}. Read the table of "
    "meetings, not the ranking.",
    "robin_beats": "{winner} beats {loser} ({p}, by Holm)",
    "robin_first": "Being shown first adds {effect}.",
    "robin_no_interval": "A strength has no interval where some draw of tasks leaves an author without a win, or "
    "without a loss, or leaves it to the order who wins.",
    "robin_left_out": "Not ranked: {reasons}.",
    "robin_nobody": "Nobody can be ranked: {reasons}.",
    "robin_few_tasks": "{author}, judged on {n} tasks ({least} are needed)",
    "robin_not_connected": "{author}, who never won, or never lost, against the others",
    "robin_order_decides": "{author}: who is shown first decides so much that no finite strength fits",
    "probe_robin": "Between rivals",
}

ZH: Final[dict[str, str]] = {
    "robin": "循环赛",
    "robin_lead": "所有作者在相同任务上按相同规则两两比较；这里的结果不计入其他任何数字。实力：单次判定获胜的对数胜算"
    "（平局按一半计），按 Bradley 与 Terry 的模型；0 为参与排名者的均值，比另一方高 0.69 即三次中胜两次。"
    "区间由对任务的自助抽样得出。",
    "robin_strengths": "实力，强者在前",
    "robin_met": "每行对每列的胜、平、负",
    "h_strength": "实力",
    "h_tasks": "任务数",
    "robin_holds": "可以排成一个次序：{n} 组显著的对局都不与之矛盾（以任务为单位的符号翻转检验，"
    "按 {all} 组对局作 Holm 校正）。",
    "robin_unsure": "没有一组对局是显著的（以任务为单位的符号翻转检验，按 {all} 组对局作 Holm 校正）："
    "既不能支持、也不能否定某个次序。",
    "robin_contradicted": "排不成一个次序。与实力次序显著矛盾的有：{pairs}。请看对局表，不要看排名。",
    "robin_beats": "{winner} 胜过 {loser}（{p}，经 Holm 校正）",
    "robin_first": "排在前面使对数胜算增加 {effect}。",
    "robin_no_interval": "若某次抽样使某位作者没有胜局或没有负局，或胜负全由先后次序决定，则相应的实力没有区间。",
    "robin_left_out": "未参与排名：{reasons}。",
    "robin_nobody": "无法排名：{reasons}。",
    "robin_few_tasks": "{author}，只在 {n} 个任务上得到判定（至少需要 {least} 个）",
    "robin_not_connected": "{author}，对其余各方从未胜过，或从未负过",
    "robin_order_decides": "{author}：胜负多由先后次序决定，求不出有限的实力",
    "probe_robin": "对手之间",
}
