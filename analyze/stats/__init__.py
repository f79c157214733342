"""Rates, intervals, tests, agreement: arrays in, numbers out. Knows nothing of models, servers or files.

intervals   mean_se, cluster_interval, rate_interval, wilson
hypotheses  sign_flip_test, holm
agreement   cohen_kappa
summary     the records of per_task.jsonl -> Summary
"""

from analyze.stats.agreement import cohen_kappa
from analyze.stats.hypotheses import holm, sign_flip_test
from analyze.stats.intervals import Estimate, MeanSE, cluster_interval, cluster_se, mean_se, rate_interval, wilson

__all__ = [
    "Estimate",
    "MeanSE",
    "cluster_interval",
    "cluster_se",
    "cohen_kappa",
    "holm",
    "mean_se",
    "rate_interval",
    "sign_flip_test",
    "wilson",
]
