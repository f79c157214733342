"""Rates, intervals, tests, agreement: arrays in, numbers out. Knows nothing of models, servers or files.

intervals   mean_se, cluster_se, cluster_interval, rate_interval, wilson, clopper_pearson, share
hypotheses  sign_flip_test, wilcoxon_pratt, sign_test, tost, minimum_detectable_effect, holm, benjamini_hochberg
agreement   cohen_kappa, gwet_ac1, krippendorff_alpha
bootstrap   cluster_bootstrap: for what has no formula
models      bradley_terry, length_sensitivity
calibration expected_calibration_error, corrected_rate, brier_score, reliability, temperature_scaling, cutoffs
classification  single_label, multi_label, matthews: predicted labels held against true ones

These read what a run has recorded, and need nothing but it:

pairs       the records of per_task.jsonl -> pairs and probes, sorted; what goes together; estimates over them
check       pairs and probes -> JudgeCheck: may the judge be believed?
second      pairs judged by another judge too -> SecondJudge: where do the two agree?
jackknife   intervals of what is no mean, over clusters
issues      the issues of pairs -> how often each was named for either side
expected    pairs -> scores from the judge's own probabilities; was it as often right as it was sure?
adjusted    pairs -> results without the judge's habits, by models and calibration
robin       pairs and meetings of rivals -> RoundRobin: strengths of all authors, and what contradicts them
summary     the records -> Summary: every number of a report
"""

from analyze.stats.agreement import cohen_kappa, gwet_ac1, krippendorff_alpha
from analyze.stats.bootstrap import cluster_bootstrap
from analyze.stats.calibration import corrected_rate, expected_calibration_error
from analyze.stats.classification import matthews, multi_label, single_label
from analyze.stats.hypotheses import (
    benjamini_hochberg,
    holm,
    minimum_detectable_effect,
    sign_flip_test,
    sign_test,
    tost,
    wilcoxon_pratt,
)
from analyze.stats.intervals import (
    Estimate,
    MeanSE,
    clopper_pearson,
    cluster_interval,
    cluster_se,
    mean_se,
    rate_interval,
    wilson,
)
from analyze.stats.models import Sensitivity, Strengths, bradley_terry, length_sensitivity

__all__ = [
    "Estimate",
    "MeanSE",
    "Sensitivity",
    "Strengths",
    "benjamini_hochberg",
    "bradley_terry",
    "clopper_pearson",
    "cluster_bootstrap",
    "cluster_interval",
    "cluster_se",
    "cohen_kappa",
    "corrected_rate",
    "expected_calibration_error",
    "gwet_ac1",
    "holm",
    "krippendorff_alpha",
    "length_sensitivity",
    "matthews",
    "mean_se",
    "minimum_detectable_effect",
    "multi_label",
    "rate_interval",
    "sign_flip_test",
    "sign_test",
    "single_label",
    "tost",
    "wilcoxon_pratt",
    "wilson",
]
