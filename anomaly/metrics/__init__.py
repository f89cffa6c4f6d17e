"""How good a ranking and its p-values are.

In: labels, scores and p-values as arrays or Polars frames.
Out: figures with their intervals, as plain dicts (`evaluate`, `uniformity`) and numbers (`auroc`, ...).
"""

from anomaly.metrics.calibration import uniformity
from anomaly.metrics.evaluate import evaluate
from anomaly.metrics.intervals import clopper_pearson, wilson
from anomaly.metrics.matching import event_key, match_labels
from anomaly.metrics.ranking import at_budget, at_count, auroc, average_precision, rank_curve

__all__ = [
    "at_budget",
    "at_count",
    "auroc",
    "average_precision",
    "clopper_pearson",
    "evaluate",
    "event_key",
    "match_labels",
    "rank_curve",
    "uniformity",
    "wilson",
]
