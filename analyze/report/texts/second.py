"""What a second judge's verdicts say."""

from __future__ import annotations

from typing import Final

EN: Final[dict[str, str]] = {
    "second": "Would another judge say the same?",
    "second_lead": "{model} judged the comparisons of the audited tasks too, {pairs} of them, in both orders. It "
    "enters no result and decides nothing above: two judges that agree may be wrong together; where they do not, "
    "at least one of them is.",
    "second_kin": "By their names, both judges ({first}, {second}) belong to one family of models: they may share "
    "their errors, and agree for that. Take a second judge of another family.",
    "second_said": "The comparisons that both judged, from the target's side",
    "second_first": "First judge",
    "second_second": "Second judge",
    "second_agreement": "How far the two agree",
    "second_few": "These rest on {pairs} comparisons of {tasks} tasks, {n} of which differ. With so few, or nearly "
    "all of one outcome, the intervals of κ, AC1 and α are too narrow: take them for a rough guide.",
    "second_differ": "The second judge gives another outcome in {n} of {all}; opposite ones first.",
    "second_same": "Every comparison that both judged has the same outcome by both.",
    "second_row": "{rival}: {first} by the first judge, {second} by the second",
    "m_second": "Same outcome",
    "m_second_why": "Share of comparisons to which both give the same outcome: win, tie or loss.",
    "m_second_kappa": "κ of outcomes",
    "m_second_kappa_why": "The same beyond chance: 0 is chance, 1 is perfect.",
    "m_second_ac1": "AC1 of outcomes",
    "m_second_ac1_why": "Gwet's AC1: one outcome has more than 80% of all, and then κ is low though judges agree.",
    "m_second_levels": "Quadratic κ of levels",
    "m_second_levels_why": "Single judgements on their five levels; a disagreement counts by its distance, squared.",
    "m_second_alpha": "Ordinal α of levels",
    "m_second_alpha_why": "Krippendorff's α of the same judgements, by ranks.",
}

ZH: Final[dict[str, str]] = {
    "second": "换一个评审，结论一样吗？",
    "second_lead": "{model} 也评了受检任务的 {pairs} 次比较，同样按两种顺序。它不进入任何结果，也不影响上面的结论："
    "两个评审一致，仍可能一起错；不一致，则至少有一方错。",
    "second_kin": "从名称看，两个评审（{first}、{second}）属于同一模型家族，可能犯同样的错误，并因此一致。"
    "第二评审应选另一家族的模型。",
    "second_said": "两个评审都已判定的比较，以目标方案为准",
    "second_first": "第一评审",
    "second_second": "第二评审",
    "second_agreement": "两个评审的一致程度",
    "second_few": "以上数值只依据 {tasks} 个任务的 {pairs} 次比较，其中 {n} 次结果不同。数据这样少，"
    "或几乎全是同一种结果时，κ、AC1 和 α 的区间偏窄，只宜粗略参考。",
    "second_differ": "{all} 次比较中，第二评审有 {n} 次给出不同的结果；胜负相反者在前。",
    "second_same": "两个评审都已判定的比较，结果全部相同。",
    "second_row": "{rival}：第一评审判{first}，第二评审判{second}",
    "m_second": "结果相同",
    "m_second_why": "两个评审同判为胜、平或负的比较所占比例。",
    "m_second_kappa": "结果的 κ",
    "m_second_kappa_why": "扣除偶然之后的一致程度：0 等于碰巧，1 为完全一致。",
    "m_second_ac1": "结果的 AC1",
    "m_second_ac1_why": "Gwet 的 AC1：某一种结果超过 80% 时，评审再一致，κ 也偏低。",
    "m_second_levels": "五级判定的二次加权 κ",
    "m_second_levels_why": "单次判定；差距按平方计。",
    "m_second_alpha": "五级判定的有序 α",
    "m_second_alpha_why": "同样的单次判定，按名次计算的 Krippendorff α。",
}
