"""What the answer says, in one sentence and its tiles."""

from __future__ import annotations

from typing import Final

EN: Final[dict[str, str]] = {
    "answer_better": "{target} does better than its rivals",
    "answer_worse": "{target} does worse than its rivals",
    "answer_equal": "No clear difference between {target} and its rivals",
    "answer_better_one": "{target} does better than {rival}",
    "answer_worse_one": "{target} does worse than {rival}",
    "answer_equal_one": "No clear difference between {target} and {rival}",
    "answer_none": "Nothing could be judged, so there is no answer",
    "answer_detail": "It wins {rate} of its comparisons, 95% interval {interval}, a tie counting half: "
    "{pairs} comparisons on {tasks} tasks.",
    "answer_detail_none": "{pairs} comparisons on {tasks} tasks were planned; none has verdicts from both orders.",
    "answer_too_few": "The interval leaves out 50%, but {n} tasks are too few to name a side: were all of them to go "
    "one way, the sign-flip test would still have {p}.",
    "answer_unconfirmed": "The interval leaves out 50%, but the sign-flip test over tasks does not confirm a side: "
    "graded score {score}, {p}.",
    "answer_coverage": "Only {coverage} of the comparisons could be judged: whatever the others would have said, "
    "the graded score lies between {low} and {high}.",
    "win_rate": "Win rate",
    "win_rate_label": "Dots with 95% intervals: win rate of the target overall and against each rival, line at 50%.",
    "rival_better": "rival better",
    "target_better": "target better",
    "tile_wtl": "win · tie · loss",
    "tile_decided": "of those decided",
    "tile_coverage": "judged",
    "tile_score": "graded score",
}

ZH: Final[dict[str, str]] = {
    "answer_better": "{target} 优于对手",
    "answer_worse": "{target} 不如对手",
    "answer_equal": "{target} 与对手没有明确差别",
    "answer_better_one": "{target} 优于 {rival}",
    "answer_worse_one": "{target} 不如 {rival}",
    "answer_equal_one": "{target} 与 {rival} 没有明确差别",
    "answer_none": "没有任何可用的判定，因此没有结论",
    "answer_detail": "在 {tasks} 个任务、{pairs} 次比较中，胜率为 {rate}，95% 区间 {interval}，平局按一半计。",
    "answer_detail_none": "计划了 {tasks} 个任务、{pairs} 次比较，没有一次在两种顺序下都得到判定。",
    "answer_too_few": "区间虽不含 50%，但 {n} 个任务太少，不足以分出高下：即使全都偏向同一方，符号翻转检验也只有 {p}。",
    "answer_unconfirmed": "区间虽不含 50%，但以任务为单位的符号翻转检验没有印证：分级得分 {score}，{p}。",
    "answer_coverage": "只有 {coverage} 的比较得到判定：无论其余结果如何，分级得分必在 {low} 与 {high} 之间。",
    "win_rate": "胜率",
    "win_rate_label": "点与 95% 区间：目标总体及对各对手的胜率，参考线在 50%。",
    "rival_better": "对手更好",
    "target_better": "目标更好",
    "tile_wtl": "胜 · 平 · 负",
    "tile_decided": "分出胜负者中",
    "tile_coverage": "已判定",
    "tile_score": "分级得分",
}
