"""What is said of how sure the judge was."""

from __future__ import annotations

from typing import Final

EN: Final[dict[str, str]] = {
    "sure": "How sure the judge was",
    "sure_lead": "Before it writes a word, a language model gives every possible next word a probability. Where the "
    "verdict stands, those of the five verdicts were read, on the tasks on which the judge is checked. The score by "
    "probabilities counts all five, each by its probability; the graded score counts the one that was written. Both "
    "are of the same comparisons; no result above rests on the first, which lies nearer to 0.5: a smaller standard "
    "error alone is no gain. Worth: how many times the tasks the graded score would need to tell the two sides apart "
    "as clearly, where it does so.",
    "h_sure": "Score by probabilities",
    "h_se": "Standard error",
    "h_worth": "Worth, × tasks",
    "sure_read": "Read in {read} of {cells} judgements ({share}).",
    "sure_masked": "The server reported only what the format of the reply allows, so the five verdicts have 100% "
    "between them: how far the judge would have kept to the format by itself is not known.",
    "sure_open": "The five verdicts had {mass} between them on average, before they were made to add up to 100%; the "
    "rest went to words that are no verdict.",
    "sure_tested": "On {n} comparisons in which exactly one solution passed its recorded tests, the judge gave the "
    "side that it favoured {stated} on average; that side had passed in {right} (95% interval {interval}). Level by "
    "level of certainty, the two are {error} points apart on average; in few comparisons some of that is chance.",
}

ZH: Final[dict[str, str]] = {
    "sure": "评审有多确定",
    "sure_lead": "语言模型每写一个词之前，会给所有可能的下一个词各定一个概率。这里读取的是写判定之处五种判定的概率，"
    "仅限用来检查评审的那些任务。"
    "按概率的得分把五种判定按各自的概率都计入；分级得分只计写下的那一种。两者取自同样的对比，以上结果都不依据前者。"
    "前者更靠近 0.5，因此标准误较小本身不算收获。“相当于”：在分级得分能分出高下之处，"
    "它要分得同样清楚所需任务数的倍数。",
    "h_sure": "按概率的得分",
    "h_se": "标准误",
    "h_worth": "相当于（× 任务）",
    "sure_read": "{cells} 次评审中读到 {read} 次（{share}）。",
    "sure_masked": "服务器只报告回复格式允许的内容，因此五种判定合计为 100%："
    "评审若不受约束会在多大程度上遵守格式，无从得知。",
    "sure_open": "折算为合计 100% 之前，五种判定平均合计 {mass}；其余概率落在并非判定的词上。",
    "sure_tested": "在恰有一方通过已记录测试的 {n} 次对比中，评审平均给它偏向的一方 {stated} 的概率；"
    "该方确实通过测试的占 {right}（95% 区间 {interval}）。按确定程度逐级比较，两者平均相差 {error} 个百分点；"
    "对比较少时，其中一部分出于偶然。",
}
