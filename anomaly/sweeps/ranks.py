"""Who is better than whom over many data sets: mean ranks, Friedman and Nemenyi, Wilcoxon, and a bootstrap of means.

Shapes: D data sets, C competitors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import friedmanchisquare, rankdata, studentized_range, wilcoxon

from anomaly.errors import AnomalyError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Float = NDArray[np.float64]

LEVEL = 0.05


@dataclass(frozen=True)
class Ranks:
    """Ranks over the data sets.

    Attributes
    ----------
    mean : (C,) mean rank, 1 is best
    friedman : p-value of the hypothesis that all are alike; None with fewer than 3 competitors or 2 sets
    distance : difference of mean ranks that is significant at 5% (Nemenyi); None as above
    apart : (C, C) p-values of the pairs (Nemenyi); None as above
    """

    mean: Float
    friedman: float | None
    distance: float | None
    apart: Float | None


def rank(figures_DC: Float) -> Ranks:
    """Return the ranks of figures, higher is better; a missing figure (NaN) ranks last on its set, ties share."""
    filled = np.where(np.isnan(figures_DC), -np.inf, figures_DC)
    ranks = np.stack([rankdata(-row) for row in filled]) if len(filled) else np.zeros((0, figures_DC.shape[1]))
    D, C = ranks.shape
    mean = ranks.mean(0) if D else np.full(C, np.nan)
    if C < 3 or D < 2 or np.ptp(ranks) == 0:
        return Ranks(mean, None, None, None)
    distance = float(studentized_range.ppf(1 - LEVEL, C, np.inf) * np.sqrt(C * (C + 1) / (12 * D)))
    return Ranks(mean, float(friedmanchisquare(*ranks.T).pvalue), distance, _nemenyi(ranks))


def groups(mean: Float, apart: Float) -> list[tuple[int, int]]:
    """Return the runs (first, last) of competitors, best first, of whom no two differ; the longest ones alone."""
    order = np.argsort(mean, kind="stable")
    runs: list[tuple[int, int]] = []
    for first in range(len(order)):
        last = first
        while last + 1 < len(order) and apart[order[first], order[last + 1]] >= LEVEL:
            last += 1
        if last > first and (not runs or last > runs[-1][1]):
            runs.append((first, last))
    return runs


def signed_rank(figures: Float, others: Float) -> float | None:
    """Return the p-value of Wilcoxon's signed-rank test on the sets that both have; None where it says nothing."""
    both = ~(np.isnan(figures) | np.isnan(others))
    difference = figures[both] - others[both]
    if np.count_nonzero(difference) < 5:
        return None
    return float(wilcoxon(difference, zero_method="zsplit").pvalue)


def holm(p_values: list[float | None]) -> list[float | None]:
    """Return p-values that hold together (Holm 1979); None stays None."""
    known = sorted((p, k) for k, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for place, (p, k) in enumerate(known):
        highest = max(highest, min(1.0, p * (len(known) - place)))
        adjusted[k] = highest
    return adjusted


def mean_interval(figures: Float, *, n_bootstrap: int = 2000, random_state: int = 0) -> tuple[float, float, float]:
    """Return the mean over data sets and its 95% bootstrap interval, sets resampled; NaN where there is none.

    Of one set there is no interval: drawn again and again it is always the same.
    """
    values = figures[~np.isnan(figures)]
    if len(values) < 2:
        return float(values.mean()) if len(values) else float("nan"), float("nan"), float("nan")
    rng = np.random.default_rng(random_state)
    drawn = values[rng.integers(0, len(values), (n_bootstrap, len(values)))].mean(1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(values.mean()), float(low), float(high)


def _nemenyi(ranks_DC: Float) -> Float:
    try:
        from scikit_posthocs import posthoc_nemenyi_friedman
    except ImportError as error:
        raise AnomalyError("the leaderboard's tests need scikit-posthocs: pip install 'anomaly[sweep]'") from error
    pairs: Float = np.array(posthoc_nemenyi_friedman(-ranks_DC), np.float64)
    return pairs
