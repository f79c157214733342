"""What is said of the dimensions."""

from __future__ import annotations

from typing import Final

EN: Final[dict[str, str]] = {
    "dimensions": "Dimensions",
    "dimensions_lead": "The same score, asked for each aspect of the code on its own.",
    "dimensions_label": "Dots with 95% intervals: mean score of the target per dimension, line at 0.5.",
    "dimensions_caption": "Each dimension over all rivals",
    "dimensions_per_rival": "Dimensions per rival",
    "dimensions_rivals": "Score per dimension and rival. A triangle marks p below 0.05, adjusted by Benjamini and "
    "Hochberg over rivals and dimensions: for exploring, no proof",
    "halo": "Judged as one: {pairs}. These dimensions rank the solutions alike (rank correlation above 0.9), so they "
    "are one opinion and not several.",
    "halo_pair": "{first} and {second} ({rho})",
    "correlations": "Rank correlation between dimensions",
    "corrected": "Corrected for its errors about recorded tests, the judge finds the target the more correct one in "
    "{rate} of the pairs in which one is.",
    "h_wtl": "Win · tie · loss",
    "h_facts": "Agrees with facts",
    "h_dimension": "Dimension",
}

ZH: Final[dict[str, str]] = {
    "dimensions": "分维度",
    "dimensions_lead": "同样的得分，对代码的每个方面分别询问。",
    "dimensions_label": "点与 95% 区间：目标在各维度的平均得分，参考线在 0.5。",
    "dimensions_caption": "各维度（全部对手）",
    "dimensions_per_rival": "各对手的分维度得分",
    "dimensions_rivals": "各维度、各对手的得分。三角表示 p 小于 0.05，按 Benjamini 与 Hochberg 对全部对手和维度校正："
    "仅供探索，不作证明",
    "halo": "混为一谈：{pairs}。这些维度对方案的排序几乎一样（秩相关大于 0.9），只算一种意见。",
    "halo_pair": "{first}与{second}（{rho}）",
    "correlations": "维度之间的秩相关",
    "corrected": "按评审对已记录测试结果的误判校正之后，在确有高下的比较中，目标更正确的占 {rate}。",
    "h_wtl": "胜 · 平 · 负",
    "h_facts": "与事实相符",
    "h_dimension": "维度",
}
