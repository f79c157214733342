"""What is said of wins, ties, losses and the graded score."""

from __future__ import annotations

from typing import Final

EN: Final[dict[str, str]] = {
    "outcomes": "Wins, ties, losses",
    "outcomes_lead": "A win needs both orders to favour the target, a loss needs both to favour the rival; "
    "everything else is a tie, and says which kind.",
    "rivals_rest": "Charts show the first {n} rivals, tables all of them.",
    "outcomes_caption": "Comparisons per rival, from the target's side. Win rate: wins plus half the ties, over "
    "the judged.",
    "outcomes_label": "Stacked bars: share of wins, ties and losses of the target against each rival.",
    "rival": "Rival",
    "pairs": "Pairs",
    "win": "win",
    "loss": "loss",
    "tie": "tie",
    "unscored": "not judged",
    "tie_true": "tie: both orders say equal",
    "tie_weak": "tie: one order says equal",
    "tie_conflict": "tie: orders contradict",
    "short_tie_true": "equal",
    "short_tie_weak": "one equal",
    "short_tie_conflict": "conflict",
    "h_wins": "Wins",
    "h_ties": "Ties",
    "h_losses": "Losses",
    "h_unscored": "Not judged",
    "h_by_rule": "By rule",
    "h_interval": "95% interval",
    "score": "Graded score",
    "score_lead": "The mean of the five-step verdicts: 1 the target is much better, 0.5 equal, 0 the rival is much "
    "better. Whiskers are 95% intervals. A dot is filled where a side is named: the intervals of win rate and score "
    "leave out the line, and the sign-flip test, adjusted for the number of rivals, confirms it.",
    "score_label": "Dots with 95% intervals: mean graded score of the target against each rival, line at 0.5.",
    "score_caption": "Graded score and tests. Adjusted: the sign-flip test over tasks, by Holm for the number of "
    "rivals. Equal: shown to lie within 0.05 of 0.5",
    "score_ahead": "Beside the sign test, with fewer than 30 tasks: in how many the target is ahead, of those that are "
    "not level, and the exact interval of that share (Clopper and Pearson)",
    "score_tests": "Graded score and tests",
    "score_detectable": "With so many tasks, a difference of {effect} or more would be found 4 times in 5 (80% power).",
    "h_p": "p",
    "h_p_adjusted": "p, adjusted",
    "h_wilcoxon": "Wilcoxon",
    "h_sign": "Sign test",
    "h_equal": "Equal",
    "h_detectable": "Detectable",
    "h_score": "Score",
    "yes": "yes",
    "sensitivity": "What order, length and comments have to do with it",
    "sensitivity_lead": "A model of the verdicts, not a result: log-odds that being shown first, being as much longer "
    "as is usual here, and being as much more commented as is usual, add to a solution. 0 is no effect.",
    "s_position": "Shown first",
    "s_length": "Longer code",
    "s_comments": "More comments",
    "s_equal": "Graded score at equal length and order, by the model",
    "s_no_overlap": "cannot be told: one side is nearly always the longer one",
    "h_effect": "Effect",
    "differences": "Rivals among themselves",
    "differences_lead": "By how much the target scores higher against the second than against the first on their "
    "common tasks: above 0 the first is the harder rival. The two never met; this does not rank them. "
    "Adjusted: the sign-flip test over tasks, by Holm for the number of pairs of rivals.",
    "differences_met": "By how much the target scores higher against the second than against the first on their "
    "common tasks: above 0 the first is the harder rival for the target. How the two did against each other stands "
    "under round robin. Adjusted: the sign-flip test over tasks, by Holm for the number of pairs of rivals.",
    "h_first": "First",
    "h_second": "Second",
    "h_advantage": "Advantage of the first",
    "differences_rest": "The {n} largest of {all}.",
    "h_n": "n",
}

ZH: Final[dict[str, str]] = {
    "outcomes": "胜、平、负",
    "outcomes_lead": "两种顺序都偏向目标才算胜，都偏向对手才算负，其余都是平局，并注明是哪一种。",
    "rivals_rest": "图中只有前 {n} 个对手，表格中是全部。",
    "outcomes_caption": "与各对手的比较，以目标方案为准。胜率：（胜 + 平的一半）÷ 已判定。",
    "outcomes_label": "堆叠条形图：目标对各对手的胜、平、负比例。",
    "rival": "对手",
    "pairs": "比较",
    "win": "胜",
    "loss": "负",
    "tie": "平",
    "unscored": "未判定",
    "tie_true": "平：两种顺序都说相当",
    "tie_weak": "平：一种顺序说相当",
    "tie_conflict": "平：两种顺序相互矛盾",
    "short_tie_true": "相当",
    "short_tie_weak": "一次相当",
    "short_tie_conflict": "矛盾",
    "h_wins": "胜",
    "h_ties": "平",
    "h_losses": "负",
    "h_unscored": "未判定",
    "h_by_rule": "按规则",
    "h_interval": "95% 区间",
    "score": "分级得分",
    "score_lead": "五级判定的均值：1 为目标好得多，0.5 为相当，0 为对手好得多。"
    "横线是 95% 区间。实心点表示分出高下：胜率与得分的区间都不含中线，且按对手个数校正的符号翻转检验予以印证。",
    "score_label": "点与 95% 区间：目标对各对手的平均得分，参考线在 0.5。",
    "score_caption": "分级得分与检验。校正：以任务为单位的符号翻转检验，按对手个数作 Holm 校正。"
    "相当：已证明与 0.5 相差不到 0.05",
    "score_ahead": "任务少于 30 个时，符号检验旁是：分出高下的任务中目标领先的个数，及该比例的精确区间"
    "（Clopper 与 Pearson）",
    "score_tests": "分级得分与检验",
    "score_detectable": "任务有这么多时，{effect} 及以上的差别五次中能看出四次（检验功效 80%）。",
    "h_p": "p",
    "h_p_adjusted": "p（校正）",
    "h_wilcoxon": "Wilcoxon",
    "h_sign": "符号检验",
    "h_equal": "相当",
    "h_detectable": "可察觉差别",
    "h_score": "得分",
    "yes": "是",
    "sensitivity": "先后、长短与注释的影响",
    "sensitivity_lead": "这是对判定的建模，并非结果：排在前面、比通常更长、或注释占比比通常更高，"
    "使一个方案的对数胜算增加多少。0 为没有影响。",
    "s_position": "排在前面",
    "s_length": "代码更长",
    "s_comments": "注释更多",
    "s_equal": "长短与先后相同时的分级得分（模型推算）",
    "s_no_overlap": "无法推算：几乎总是同一方更长",
    "h_effect": "影响",
    "differences": "对手之间",
    "differences_lead": "在共同的任务上，目标对后者的得分比对前者高出多少：大于 0 表示前者更难对付。"
    "两者从未直接比较，不能据此排名。校正：以任务为单位的符号翻转检验，按对手的对数作 Holm 校正。",
    "differences_met": "在共同的任务上，目标对后者的得分比对前者高出多少：大于 0 表示对目标而言前者更难对付。"
    "两者之间的直接比较见循环赛一节。校正：以任务为单位的符号翻转检验，按对手的对数作 Holm 校正。",
    "h_first": "前者",
    "h_second": "后者",
    "h_advantage": "前者的优势",
    "differences_rest": "共 {all} 项，此处是差别最大的 {n} 项。",
    "h_n": "n",
}
